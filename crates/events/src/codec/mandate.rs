//! Reading a mandate or its tombstone.

use std::borrow::Cow;

use super::fields::{Field, MAX_CATEGORY_BYTES, MAX_MERCHANT_BYTES};
use super::{known_fields, read_members};
use crate::reject::Fault;
use crate::{CapPeriod, Currency, Mandate, MandateRecord, MandateStatus};

known_fields! {
    MANDATE_ID = "mandate_id",
    AGENT_ID = "agent_id",
    USER_ID = "user_id",
    SCOPE_MERCHANT = "scope_merchant",
    ALLOWED_MERCHANTS = "allowed_merchants",
    ALLOWED_CATEGORIES = "allowed_categories",
    MAX_AMOUNT = "max_amount",
    MAX_AMOUNT_PERIOD = "max_amount_period",
    PER_TRANSACTION_MAX = "per_transaction_max",
    MAX_USES = "max_uses",
    CURRENCY = "currency",
    AUTHORIZED_TPS = "authorized_tps",
    VALID_FROM = "valid_from",
    VALID_TO = "valid_to",
    STATUS = "status",
    UPDATED_AT = "updated_at",
    DELETED = "deleted",
}

/// Reads one mandate, or the tombstone `{"mandate_id": …, "deleted": true}`, of which only the id and
/// `updated_at` count.
///
/// Limits may be 0, which allows nothing. `authorized_tps` is rounded half-even to 1e-8. A mandate
/// whose `valid_from` is after its `valid_to` is accepted: no transaction is ever in date under it.
///
/// # Errors
/// The first fault, in the order of the field table.
pub fn parse_mandate(record: &[u8], base_currency: Currency) -> Result<MandateRecord, Fault> {
    let mut fields = Fields::new(&FIELDS);
    // Unknown fields stay in the record itself; nothing in Weir reads them.
    read_members(record, &mut fields, |_, _| {})?;
    let mandate_id = fields.get(MANDATE_ID).id()?.into_owned();
    if fields.get(DELETED).flag()? {
        let updated_at = fields.get(UPDATED_AT).optional_time()?;
        return Ok(MandateRecord::Deleted { mandate_id, updated_at });
    }
    let text =
        |field: Field<'_>, bytes_max| Ok::<_, Fault>(field.optional_text(bytes_max)?.map(Cow::into_owned));
    Ok(MandateRecord::State(Box::new(Mandate {
        mandate_id,
        agent_id: fields.get(AGENT_ID).id()?.into_owned(),
        user_id: fields.get(USER_ID).id()?.into_owned(),
        scope_merchant: text(fields.get(SCOPE_MERCHANT), MAX_MERCHANT_BYTES)?,
        allowed_merchants: fields.get(ALLOWED_MERCHANTS).optional_texts(MAX_MERCHANT_BYTES)?,
        allowed_categories: fields.get(ALLOWED_CATEGORIES).optional_texts(MAX_CATEGORY_BYTES)?,
        max_amount: fields.get(MAX_AMOUNT).optional_limit()?,
        max_amount_period: period(&fields)?,
        per_transaction_max: fields.get(PER_TRANSACTION_MAX).optional_limit()?,
        max_uses: fields.get(MAX_USES).optional_count()?,
        currency: fields.get(CURRENCY).currency(base_currency)?,
        authorized_tps: fields.get(AUTHORIZED_TPS).optional_rate()?,
        valid_from: fields.get(VALID_FROM).optional_time()?,
        valid_to: fields.get(VALID_TO).optional_time()?,
        status: status(&fields)?,
        updated_at: fields.get(UPDATED_AT).optional_time()?,
    })))
}

fn period(fields: &Fields<'_>) -> Result<CapPeriod, Fault> {
    let names = [
        ("lifetime", CapPeriod::Lifetime),
        ("day", CapPeriod::Day),
        ("week", CapPeriod::Week),
        ("month", CapPeriod::Month),
    ];
    let field = fields.get(MAX_AMOUNT_PERIOD);
    Ok(field.optional_name(&names, "lifetime, day, week or month")?.unwrap_or_default())
}

fn status(fields: &Fields<'_>) -> Result<MandateStatus, Fault> {
    let names = [
        ("active", MandateStatus::Active),
        ("paused", MandateStatus::Paused),
        ("revoked", MandateStatus::Revoked),
    ];
    let field = fields.get(STATUS);
    Ok(field.optional_name(&names, "active, paused or revoked")?.unwrap_or_default())
}
