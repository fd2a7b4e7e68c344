//! Reading a transaction.

use super::fields::{MAX_CATEGORY_BYTES, MAX_MERCHANT_BYTES};
use super::json::{Value, member_hash};
use super::{fingerprint, known_fields, read_members};
use crate::reject::{Fault, RejectCode};
use crate::{Amount, Currency, Location, LocationSource, Transaction};

known_fields! {
    TX_ID = "tx_id",
    AGENT_ID = "agent_id",
    USER_ID = "user_id",
    MANDATE_ID = "mandate_id",
    MERCHANT = "merchant",
    MERCHANT_CATEGORY = "merchant_category",
    AMOUNT = "amount",
    AMOUNT_MINOR = "amount_minor",
    CURRENCY = "currency",
    COUNTRY = "country",
    LAT = "lat",
    LNG = "lng",
    LOCATION_SOURCE = "location_source",
    TX_TIME = "tx_time",
    RECORD_TIME = "record_time",
    PAYMENT_ID = "payment_id",
}

/// Reads one transaction; borrows from `record` wherever the text has no escapes.
///
/// Exactly one of `amount` and `amount_minor` must be given: neither is a missing `amount`, both an
/// invalid one. Amounts in minor units are refused for currencies that ISO 4217 gives none.
///
/// # Errors
/// The first fault, in the order of the field table.
pub fn parse_transaction(record: &[u8], base_currency: Currency) -> Result<Transaction<'_>, Fault> {
    // The sum of the attributes' hashes, so that their order does not matter.
    let mut attributes = 0_u64;
    let mut attribute = |key: &str, value: Value<'_>| {
        // One that is null counts as absent, as every optional field does.
        if !value.is_missing() {
            attributes = attributes.wrapping_add(member_hash(key, &value));
        }
    };
    let mut fields = Fields::new(&FIELDS);
    read_members(record, &mut fields, &mut attribute)?;
    // An attribute too, whatever it holds, but one that decisions repeat.
    let payment_id = fields.get(PAYMENT_ID);
    attribute(payment_id.name, payment_id.value);
    let tx_id = fields.get(TX_ID).id()?;
    let agent_id = fields.get(AGENT_ID).id()?;
    let user_id = fields.get(USER_ID).id()?;
    let mandate_id = fields.get(MANDATE_ID).optional_id()?;
    let merchant = fields.get(MERCHANT).required_text(MAX_MERCHANT_BYTES)?;
    let merchant_category = fields.get(MERCHANT_CATEGORY).optional_text(MAX_CATEGORY_BYTES)?;
    let currency = fields.get(CURRENCY).currency(base_currency);
    let amount = amount(&fields, currency.as_ref().ok().copied())?;
    let mut transaction = Transaction {
        tx_id,
        agent_id,
        user_id,
        mandate_id,
        merchant,
        merchant_category,
        amount,
        currency: currency?,
        country: fields.get(COUNTRY).country()?,
        location: location(&fields)?,
        location_source: location_source(&fields)?,
        tx_time: fields.get(TX_TIME).time()?,
        record_time: fields.get(RECORD_TIME).optional_time()?,
        payment_id: payment_id.text(),
        fingerprint: 0,
    };
    transaction.fingerprint = fingerprint::fingerprint(&transaction, attributes);
    Ok(transaction)
}

/// The amount, in whichever of its two forms; `currency` is `None` where it is at fault itself.
fn amount(fields: &Fields<'_>, currency: Option<Currency>) -> Result<Amount, Fault> {
    let (amount, amount_minor) = (fields.get(AMOUNT), fields.get(AMOUNT_MINOR));
    match (amount.value.is_missing(), amount_minor.value.is_missing()) {
        (false, true) => amount.amount(),
        (true, false) => amount_minor.amount_minor(currency),
        (true, true) => {
            let message = "amount is required, or amount_minor in its place; found neither".to_owned();
            Err(Fault::new(RejectCode::MissingField, Some("amount"), message))
        }
        (false, false) => {
            Err(amount.fault(RejectCode::InvalidAmount, "given alone, without amount_minor beside it"))
        }
    }
}

fn location(fields: &Fields<'_>) -> Result<Option<Location>, Fault> {
    let (lat, lng) = (fields.get(LAT), fields.get(LNG));
    match (lat.value.is_missing(), lng.value.is_missing()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(Location { lat_e7: lat.angle_e7(90)?, lng_e7: lng.angle_e7(180)? })),
        (true, false) => Err(lat.fault(RejectCode::InvalidLocation, "given together with lng")),
        (false, true) => {
            lat.angle_e7(90)?;
            Err(lng.fault(RejectCode::InvalidLocation, "given together with lat"))
        }
    }
}

fn location_source(fields: &Fields<'_>) -> Result<Option<LocationSource>, Fault> {
    let names = [
        ("agent", LocationSource::Agent),
        ("principal", LocationSource::Principal),
        ("delivery", LocationSource::Delivery),
    ];
    fields.get(LOCATION_SOURCE).optional_name(&names, "agent, principal, delivery or null")
}
