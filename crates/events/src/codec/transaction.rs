//! Reading a transaction.

use std::borrow::Cow;

use super::fields::{Field, MAX_CATEGORY_BYTES, MAX_MERCHANT_BYTES};
use super::json::{Value, member_hash};
use super::{Slots, fingerprint, read_members};
use crate::reject::{Fault, RejectCode};
use crate::{Amount, Currency, Location, LocationSource, Transaction};

#[derive(Default)]
struct Fields<'a> {
    tx_id: Value<'a>,
    agent_id: Value<'a>,
    user_id: Value<'a>,
    mandate_id: Value<'a>,
    merchant: Value<'a>,
    merchant_category: Value<'a>,
    amount: Value<'a>,
    amount_minor: Value<'a>,
    currency: Value<'a>,
    country: Value<'a>,
    lat: Value<'a>,
    lng: Value<'a>,
    location_source: Value<'a>,
    tx_time: Value<'a>,
    record_time: Value<'a>,
    payment_id: Option<Cow<'a, str>>,
    /// Sum of the hashes of the attributes, so that their order does not matter.
    attributes: u64,
}

impl<'a> Slots<'a> for Fields<'a> {
    fn slot(&mut self, key: &str) -> Option<&mut Value<'a>> {
        Some(match key {
            "tx_id" => &mut self.tx_id,
            "agent_id" => &mut self.agent_id,
            "user_id" => &mut self.user_id,
            "mandate_id" => &mut self.mandate_id,
            "merchant" => &mut self.merchant,
            "merchant_category" => &mut self.merchant_category,
            "amount" => &mut self.amount,
            "amount_minor" => &mut self.amount_minor,
            "currency" => &mut self.currency,
            "country" => &mut self.country,
            "lat" => &mut self.lat,
            "lng" => &mut self.lng,
            "location_source" => &mut self.location_source,
            "tx_time" => &mut self.tx_time,
            "record_time" => &mut self.record_time,
            _ => return None,
        })
    }

    fn attribute(&mut self, key: &str, value: Value<'a>) {
        // An attribute that is null counts as absent, as every optional field does.
        if value.is_missing() {
            return;
        }
        self.attributes = self.attributes.wrapping_add(member_hash(key, &value));
        if let ("payment_id", Value::String(text)) = (key, value) {
            self.payment_id = Some(text.unescaped());
        }
    }
}

/// Reads one transaction; borrows from `record` wherever the text has no escapes.
///
/// Exactly one of `amount` and `amount_minor` must be given: neither is a missing `amount`, both an
/// invalid one. Amounts in minor units are refused for currencies that ISO 4217 gives none.
///
/// # Errors
/// The first fault, in the order of the field table.
pub fn parse_transaction(record: &[u8], base_currency: Currency) -> Result<Transaction<'_>, Fault> {
    let mut fields = Fields::default();
    read_members(record, &mut fields)?;
    let tx_id = Field::new("tx_id", fields.tx_id).id()?;
    let agent_id = Field::new("agent_id", fields.agent_id).id()?;
    let user_id = Field::new("user_id", fields.user_id).id()?;
    let mandate_id = Field::new("mandate_id", fields.mandate_id).optional_id()?;
    let merchant = Field::new("merchant", fields.merchant).required_text(MAX_MERCHANT_BYTES)?;
    let merchant_category =
        Field::new("merchant_category", fields.merchant_category).optional_text(MAX_CATEGORY_BYTES)?;
    let currency = Field::new("currency", fields.currency).currency(base_currency);
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
        country: Field::new("country", fields.country).country()?,
        location: location(&fields)?,
        location_source: location_source(&fields)?,
        tx_time: Field::new("tx_time", fields.tx_time).time()?,
        record_time: Field::new("record_time", fields.record_time).optional_time()?,
        payment_id: fields.payment_id,
        fingerprint: 0,
    };
    transaction.fingerprint = fingerprint::fingerprint(&transaction, fields.attributes);
    Ok(transaction)
}

/// The amount, in whichever of its two forms; `currency` is `None` where it is at fault itself.
fn amount(fields: &Fields<'_>, currency: Option<Currency>) -> Result<Amount, Fault> {
    let amount = Field::new("amount", fields.amount);
    match (fields.amount.is_missing(), fields.amount_minor.is_missing()) {
        (false, true) => amount.amount(),
        (true, false) => Field::new("amount_minor", fields.amount_minor).amount_minor(currency),
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
    let (lat, lng) = (Field::new("lat", fields.lat), Field::new("lng", fields.lng));
    match (fields.lat.is_missing(), fields.lng.is_missing()) {
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
    Field::new("location_source", fields.location_source)
        .optional_name(&names, "agent, principal, delivery or null")
}
