//! Reading a mandate or its tombstone.

use std::borrow::Cow;

use super::fields::{Field, MAX_CATEGORY_BYTES, MAX_MERCHANT_BYTES};
use super::json::Value;
use super::{Slots, read_members};
use crate::reject::Fault;
use crate::{CapPeriod, Currency, Mandate, MandateRecord, MandateStatus};

#[derive(Default)]
struct Fields<'a> {
    mandate_id: Value<'a>,
    agent_id: Value<'a>,
    user_id: Value<'a>,
    scope_merchant: Value<'a>,
    allowed_merchants: Value<'a>,
    allowed_categories: Value<'a>,
    max_amount: Value<'a>,
    max_amount_period: Value<'a>,
    per_transaction_max: Value<'a>,
    max_uses: Value<'a>,
    currency: Value<'a>,
    authorized_tps: Value<'a>,
    valid_from: Value<'a>,
    valid_to: Value<'a>,
    status: Value<'a>,
    updated_at: Value<'a>,
    deleted: Value<'a>,
}

impl<'a> Slots<'a> for Fields<'a> {
    fn slot(&mut self, key: &str) -> Option<&mut Value<'a>> {
        Some(match key {
            "mandate_id" => &mut self.mandate_id,
            "agent_id" => &mut self.agent_id,
            "user_id" => &mut self.user_id,
            "scope_merchant" => &mut self.scope_merchant,
            "allowed_merchants" => &mut self.allowed_merchants,
            "allowed_categories" => &mut self.allowed_categories,
            "max_amount" => &mut self.max_amount,
            "max_amount_period" => &mut self.max_amount_period,
            "per_transaction_max" => &mut self.per_transaction_max,
            "max_uses" => &mut self.max_uses,
            "currency" => &mut self.currency,
            "authorized_tps" => &mut self.authorized_tps,
            "valid_from" => &mut self.valid_from,
            "valid_to" => &mut self.valid_to,
            "status" => &mut self.status,
            "updated_at" => &mut self.updated_at,
            "deleted" => &mut self.deleted,
            _ => return None,
        })
    }

    /// Unknown fields stay in the record itself; nothing in Weir reads them.
    fn attribute(&mut self, _key: &str, _value: Value<'a>) {}
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
    let mut fields = Fields::default();
    read_members(record, &mut fields)?;
    let mandate_id = Field::new("mandate_id", fields.mandate_id).id()?.into_owned();
    if Field::new("deleted", fields.deleted).flag()? {
        let updated_at = Field::new("updated_at", fields.updated_at).optional_time()?;
        return Ok(MandateRecord::Deleted { mandate_id, updated_at });
    }
    let text =
        |field: Field<'_>, bytes_max| Ok::<_, Fault>(field.optional_text(bytes_max)?.map(Cow::into_owned));
    Ok(MandateRecord::State(Box::new(Mandate {
        mandate_id,
        agent_id: Field::new("agent_id", fields.agent_id).id()?.into_owned(),
        user_id: Field::new("user_id", fields.user_id).id()?.into_owned(),
        scope_merchant: text(Field::new("scope_merchant", fields.scope_merchant), MAX_MERCHANT_BYTES)?,
        allowed_merchants: Field::new("allowed_merchants", fields.allowed_merchants)
            .optional_texts(MAX_MERCHANT_BYTES)?,
        allowed_categories: Field::new("allowed_categories", fields.allowed_categories)
            .optional_texts(MAX_CATEGORY_BYTES)?,
        max_amount: Field::new("max_amount", fields.max_amount).optional_limit()?,
        max_amount_period: period(&fields)?,
        per_transaction_max: Field::new("per_transaction_max", fields.per_transaction_max)
            .optional_limit()?,
        max_uses: Field::new("max_uses", fields.max_uses).optional_count()?,
        currency: Field::new("currency", fields.currency).currency(base_currency)?,
        authorized_tps: Field::new("authorized_tps", fields.authorized_tps).optional_rate()?,
        valid_from: Field::new("valid_from", fields.valid_from).optional_time()?,
        valid_to: Field::new("valid_to", fields.valid_to).optional_time()?,
        status: status(&fields)?,
        updated_at: Field::new("updated_at", fields.updated_at).optional_time()?,
    })))
}

fn period(fields: &Fields<'_>) -> Result<CapPeriod, Fault> {
    let names = [
        ("lifetime", CapPeriod::Lifetime),
        ("day", CapPeriod::Day),
        ("week", CapPeriod::Week),
        ("month", CapPeriod::Month),
    ];
    let field = Field::new("max_amount_period", fields.max_amount_period);
    Ok(field.optional_name(&names, "lifetime, day, week or month")?.unwrap_or_default())
}

fn status(fields: &Fields<'_>) -> Result<MandateStatus, Fault> {
    let names = [
        ("active", MandateStatus::Active),
        ("paused", MandateStatus::Paused),
        ("revoked", MandateStatus::Revoked),
    ];
    let field = Field::new("status", fields.status);
    Ok(field.optional_name(&names, "active, paused or revoked")?.unwrap_or_default())
}
