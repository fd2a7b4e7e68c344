//! The JSON Schema (draft 2020-12) of every topic, and owned mirrors of the records that Weir writes.
//!
//! The engine writes decisions and alerts from borrowed parts, so their shape is code; the mirrors here
//! state it a second time as plain types, for readers and for the schemas. A test holds the two equal.
//! Lengths in a schema count characters, those of the codec bytes: the codec is the stricter.

use std::collections::BTreeMap;

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use crate::alert::{AlertState, Recommended};
use crate::reject::{Origin, OriginalEncoding};
use crate::score::RiskLevel;
use crate::{Action, CapPeriod, LocationSource, MandateStatus, RejectCode};

/// An id: 1 to 128 bytes, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Id(
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"))] pub String,
);

/// An exact decimal, printed without exponent or trailing zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Decimal(#[schemars(regex(pattern = r"^-?(0|[1-9][0-9]*)(\.[0-9]{0,7}[1-9])?$"))] pub String);

/// A time in UTC with six digits of fraction, such as `2026-05-05T14:01:00.000000Z`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Time(
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"))]
    pub  String,
);

/// RFC 3339 with upper-case T and Z or an offset, years 2000 to 2099, no second 60.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TimeInput(
    #[schemars(
        extend("format" = "date-time"),
        regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$")
    )]
    pub String,
);

/// An ISO 4217 alpha-3 code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CurrencyCode(#[schemars(regex(pattern = "^[A-Z]{3}$"))] pub String);

/// An ISO 3166-1 alpha-2 code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Country(#[schemars(regex(pattern = "^[A-Z]{2}$"))] pub String);

/// A merchant: 1 to 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Merchant(#[schemars(length(min = 1, max = 256))] pub String);

/// A merchant category: a label or a four-digit ISO 18245 code, 1 to 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Category(#[schemars(length(min = 1, max = 64))] pub String);

/// A decimal below 10^15 with at most 8 decimals in value, as a string or a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DecimalInput {
    /// In JSON's grammar for numbers.
    Text(#[schemars(regex(pattern = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"))] String),
    /// Read from its text, never through a float.
    Number(serde_json::Number),
}

/// A payment attempt: topic `weir.transactions`, key `user_id`. Fields not named here are kept as attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [
    {"required": ["amount"], "properties": {"amount": {"type": ["string", "number"]}}},
    {"required": ["amount_minor"], "properties": {"amount_minor": {"type": "integer"}}},
]))]
pub struct TransactionInput {
    /// Unique within its user; a repeat counts once.
    pub tx_id: Id,
    /// With `user_id`, the agent's identity.
    pub agent_id: Id,
    /// The person who pays.
    pub user_id: Id,
    /// The mandate the agent presents.
    pub mandate_id: Option<Id>,
    /// Who is paid.
    pub merchant: Merchant,
    /// What the merchant sells.
    pub merchant_category: Option<Category>,
    /// Above 0; or `amount_minor` in its place.
    pub amount: Option<DecimalInput>,
    /// Above 0, in minor units of the currency by ISO 4217.
    #[schemars(range(min = 1))]
    pub amount_minor: Option<u64>,
    /// By default the configured `base_currency`.
    pub currency: Option<CurrencyCode>,
    /// Where the payment is made.
    pub country: Option<Country>,
    /// Degrees, together with `lng`; rounded half-even to 1e-7.
    #[schemars(range(min = -90, max = 90))]
    pub lat: Option<f64>,
    /// Degrees, together with `lat`; rounded half-even to 1e-7.
    #[schemars(range(min = -180, max = 180))]
    pub lng: Option<f64>,
    /// Whose position it is; by default the agent's.
    pub location_source: Option<LocationSource>,
    /// Event time.
    pub tx_time: TimeInput,
    /// When the platform recorded it.
    pub record_time: Option<TimeInput>,
}

/// A mandate's complete current state, or its tombstone: topic `weir.mandates`, key `mandate_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("anyOf" = [
    {"required": ["agent_id", "user_id"], "properties": {"agent_id": {"type": "string"}, "user_id": {"type": "string"}}},
    {"required": ["deleted"], "properties": {"deleted": {"const": true}}},
]))]
pub struct MandateInput {
    /// Key of the topic; the newest record of an id wins.
    pub mandate_id: Id,
    /// The agent that holds it.
    pub agent_id: Option<Id>,
    /// The user who granted it.
    pub user_id: Option<Id>,
    /// The one merchant allowed; null: any.
    pub scope_merchant: Option<Merchant>,
    /// Further merchants allowed.
    pub allowed_merchants: Option<Vec<Merchant>>,
    /// Merchant categories allowed; null: any.
    pub allowed_categories: Option<Vec<Category>>,
    /// The cap over `max_amount_period`.
    pub max_amount: Option<DecimalInput>,
    /// By default `lifetime`.
    pub max_amount_period: Option<CapPeriod>,
    /// The most that one payment may be.
    pub per_transaction_max: Option<DecimalInput>,
    /// Number of uses; 1: single use.
    pub max_uses: Option<u64>,
    /// By default the configured `base_currency`.
    pub currency: Option<CurrencyCode>,
    /// A rate in transactions per second that the user agreed to.
    #[schemars(range(min = 0))]
    pub authorized_tps: Option<f64>,
    /// First instant of validity, inclusive.
    pub valid_from: Option<TimeInput>,
    /// Last instant of validity, inclusive.
    pub valid_to: Option<TimeInput>,
    /// By default `active`.
    pub status: Option<MandateStatus>,
    /// When this state was set.
    pub updated_at: Option<TimeInput>,
    /// True in a tombstone: the mandate is unknown from here on.
    pub deleted: Option<bool>,
}

/// The outcome for one transaction: topic `weir.decisions`, key `user_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRecord {
    /// Version of this shape.
    pub schema_version: u32,
    /// The transaction.
    pub tx_id: Id,
    /// Its attribute `payment_id`, where that is a string.
    pub payment_id: Option<String>,
    /// Its agent.
    pub agent_id: Id,
    /// Its user.
    pub user_id: Id,
    /// The mandate it presented.
    pub mandate_id: Option<Id>,
    /// Its merchant, card numbers masked.
    pub merchant: String,
    /// Its category, card numbers masked.
    pub merchant_category: Option<String>,
    /// Its amount, in `currency`.
    pub amount: Decimal,
    /// Its currency.
    pub currency: CurrencyCode,
    /// Its country.
    pub country: Option<Country>,
    /// Its event time.
    pub tx_time: Time,
    /// What to do with it.
    pub action: Action,
    /// Whether there is any signal.
    pub flagged: bool,
    /// 0 to 100, rounded half up.
    #[schemars(range(max = 100))]
    pub risk_score: u8,
    /// From the score before rounding.
    pub risk_level: RiskLevel,
    /// The sum of the points of the signals.
    pub composite_risk: Decimal,
    /// `none`, `floor:detector.tier` or `score:level`.
    pub decided_by: String,
    /// Strongest first.
    pub signals: Vec<SignalRecord>,
    /// One per signal, in their order.
    pub reasons: Vec<ReasonRecord>,
    /// The presented mandate; null where none was or it is unknown.
    pub mandate: Option<StandingRecord>,
    /// Whether the transaction was older than the watermark, or its clock ahead.
    pub late: bool,
    /// Digest of the configuration that decided.
    pub config_digest: String,
}

/// One detector's finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalRecord {
    /// Name of the detector.
    pub detector: String,
    /// Its strongest tier that holds.
    pub tier: String,
    /// Its part of the composite risk.
    pub points: Decimal,
    /// `detector:` and the first transaction of the run.
    pub episode_id: String,
    /// Measure, threshold, baseline and what else speaks for the finding.
    pub evidence: BTreeMap<String, FactRecord>,
}

/// A value of evidence. Decimals, figures and times are strings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FactRecord {
    /// A count.
    Count(i64),
    /// Yes or no.
    Flag(bool),
    /// Text, a decimal, a figure or a time.
    Text(String),
    /// Names, such as weaker tiers that hold too.
    Names(Vec<String>),
    /// Nothing known.
    Absent,
}

/// Why, in words that can be read aloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonRecord {
    /// `detector.tier`.
    pub code: String,
    /// The words.
    pub text: String,
}

/// How the presented mandate stood before the transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandingRecord {
    /// Active, paused or revoked.
    pub status: MandateStatus,
    /// Its cap, in its own currency.
    pub max_amount: Option<Decimal>,
    /// Reserved under the cap before this transaction.
    pub spent_before: Decimal,
    /// What the cap leaves; never below zero.
    pub remaining: Option<Decimal>,
}

/// An episode that opened, grew worse or closed: topic `weir.alerts`, key `["user_id","agent_id"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertRecord {
    /// `detector:` and the first transaction of the run.
    pub episode_id: String,
    /// Name of the detector.
    pub detector: String,
    /// The strongest tier so far.
    pub tier: String,
    /// What happened to the episode.
    pub state: AlertState,
    /// Agent of the latest signal.
    pub agent_id: Id,
    /// The user.
    pub user_id: Id,
    /// Mandate of the latest signal.
    pub mandate_id: Option<Id>,
    /// First transaction of the run.
    pub first_tx: Id,
    /// Latest transaction with a signal.
    pub last_tx: Id,
    /// Transactions with a signal.
    pub transactions: u64,
    /// Their amounts together, in the base currency.
    pub amount: Decimal,
    /// The advice.
    pub recommended: Recommended,
}

/// An agent's standing: topic `weir.risk-scores`, key `["user_id","agent_id"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RiskProfileRecord {
    /// The agent.
    pub agent_id: Id,
    /// Its user.
    pub user_id: Id,
    /// The row of the `risk` view and its score.
    pub lifetime: MeasuresRecord,
    /// What held at `as_of`.
    pub current: CurrentRecord,
    /// Decisions by action in the 24 hours up to `as_of`.
    pub actions_24h: ActionCountsRecord,
    /// Ids of the episodes that are open.
    pub open_episodes: Vec<String>,
    /// The least `tx_time` seen.
    pub first_seen: Time,
    /// Transactions accepted.
    pub payments_seen: u64,
}

/// The measures that make up a composite risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeasuresRecord {
    /// Number of transactions in the burst window.
    pub burst_score: i64,
    /// Spend over caps, in the base currency.
    pub replay_over_amount: Decimal,
    /// Transactions outside a mandate's scope.
    pub scope_violations: i64,
    /// Coordinated pairs the agent is in.
    pub collusion_pairs: i64,
    /// Categories in the cross-merchant window.
    pub cross_merchant_categories: i64,
    /// 1 when the cadence is regular.
    pub cadence_regular: i64,
    /// 1 when the agent moved.
    pub geo_moved: i64,
    /// The weighted sum.
    pub composite_risk: Decimal,
    /// 0 to 100.
    #[schemars(range(max = 100))]
    pub risk_score: u8,
    /// Level of the score.
    pub risk_level: RiskLevel,
}

/// The measures in force at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CurrentRecord {
    /// The `tx_time` of the agent's latest transaction.
    pub as_of: Time,
    /// Number of transactions in the burst window.
    pub burst_score: i64,
    /// Spend over caps, in the base currency.
    pub replay_over_amount: Decimal,
    /// Transactions outside a mandate's scope.
    pub scope_violations: i64,
    /// Coordinated pairs the agent is in.
    pub collusion_pairs: i64,
    /// Categories in the cross-merchant window.
    pub cross_merchant_categories: i64,
    /// 1 when the cadence is regular.
    pub cadence_regular: i64,
    /// 1 when the agent moved.
    pub geo_moved: i64,
    /// The weighted sum.
    pub composite_risk: Decimal,
    /// 0 to 100.
    #[schemars(range(max = 100))]
    pub risk_score: u8,
    /// Level of the score.
    pub risk_level: RiskLevel,
}

/// Decisions by action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionCountsRecord {
    /// Allowed.
    pub allow: u64,
    /// Challenged.
    pub challenge: u64,
    /// Held for review.
    pub review: u64,
    /// Blocked.
    pub block: u64,
}

/// A record that could not be used: topic `weir.rejects`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectRecord {
    /// Version of this shape.
    pub schema_version: u32,
    /// Why; the names are stable.
    pub code: RejectCode,
    /// The field at fault, where there is one.
    pub field: Option<String>,
    /// What a person can do about it.
    pub message: String,
    /// Where the record came from.
    pub origin: Origin,
    /// At most the first 64 KiB of the record, card numbers masked.
    pub original: String,
    /// How `original` is to be read.
    pub original_encoding: OriginalEncoding,
    /// Length of the whole record in bytes.
    pub original_bytes: u64,
    /// SHA-256 of the whole masked record.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// Every schema: the name of its file in `schemas/` and its text.
#[must_use]
pub fn all() -> Vec<(&'static str, String)> {
    let schemas = [
        ("transaction.json", schema_for!(TransactionInput)),
        ("mandate.json", schema_for!(MandateInput)),
        ("decision.json", schema_for!(DecisionRecord)),
        ("risk-profile.json", schema_for!(RiskProfileRecord)),
        ("alert.json", schema_for!(AlertRecord)),
        ("reject.json", schema_for!(RejectRecord)),
    ];
    schemas.map(|(name, schema)| (name, format!("{:#}\n", schema.to_value()))).into()
}
