//! One payment attempt by an agent.

use std::borrow::Cow;

use crate::{Amount, Currency, Location, LocationSource, Timestamp};

/// A parsed transaction that borrows from the input wherever the text needed no unescaping.
///
/// Every value is already checked against SPEC 2: ids are 1–128 bytes without control characters,
/// the amount is above zero and below 1e15 with at most 8 decimals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// Unique within its user; a repeat counts once.
    pub tx_id: Cow<'a, str>,
    /// With `user_id`, the agent's identity.
    pub agent_id: Cow<'a, str>,
    /// The person who pays.
    pub user_id: Cow<'a, str>,
    /// The mandate the agent presents, if any.
    pub mandate_id: Option<Cow<'a, str>>,
    /// As sent; compared byte for byte by the views, normalized by the signals.
    pub merchant: Cow<'a, str>,
    /// A label or a four-digit ISO 18245 code, as sent.
    pub merchant_category: Option<Cow<'a, str>>,
    /// Above zero.
    pub amount: Amount,
    /// The payment's own currency.
    pub currency: Currency,
    /// ISO 3166 alpha-2, upper case.
    pub country: Option<[u8; 2]>,
    /// Where, if known.
    pub location: Option<Location>,
    /// Whose position; `None` counts as the agent's.
    pub location_source: Option<LocationSource>,
    /// Event time.
    pub tx_time: Timestamp,
    /// When the platform recorded it.
    pub record_time: Option<Timestamp>,
    /// The attribute `payment_id`, where it is a string.
    pub payment_id: Option<Cow<'a, str>>,
    /// Hash of every parsed value but `record_time`, attributes included: two transactions with one
    /// `tx_id` and one fingerprint are one transaction sent twice.
    pub fingerprint: u64,
}

impl Transaction<'_> {
    /// The time that the watermark and the memory of repeats go by: the lesser of `tx_time` and
    /// `record_time`.
    #[must_use]
    pub fn watermark_time(&self) -> Timestamp {
        self.record_time.map_or(self.tx_time, |recorded| recorded.min(self.tx_time))
    }
}
