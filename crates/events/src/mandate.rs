//! A user's authorization of an agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Amount, Currency, Timestamp};

/// The complete current state of one mandate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mandate {
    /// Key of the topic; the newest record of an id wins.
    pub mandate_id: String,
    /// The agent that holds it.
    pub agent_id: String,
    /// The user who granted it.
    pub user_id: String,
    /// The one merchant allowed; `None`: any.
    pub scope_merchant: Option<String>,
    /// Further merchants allowed; `None`: no list.
    pub allowed_merchants: Option<Vec<String>>,
    /// Merchant categories allowed; `None`: any.
    pub allowed_categories: Option<Vec<String>>,
    /// The cap over `max_amount_period`, in `currency`.
    pub max_amount: Option<Amount>,
    /// What the cap is counted over.
    pub max_amount_period: CapPeriod,
    /// The most that one payment may be, in `currency`.
    pub per_transaction_max: Option<Amount>,
    /// The number of uses allowed; 1: single use.
    pub max_uses: Option<u64>,
    /// Currency of the caps.
    pub currency: Currency,
    /// A rate in transactions per second that the user agreed to.
    pub authorized_tps: Option<Amount>,
    /// First instant of validity, inclusive.
    pub valid_from: Option<Timestamp>,
    /// Last instant of validity, inclusive.
    pub valid_to: Option<Timestamp>,
    /// Whether it may be used.
    pub status: MandateStatus,
    /// When this state was set; orders mandates among transactions in a replay.
    pub updated_at: Option<Timestamp>,
}

/// The span a cap is counted over. Calendar periods are UTC; weeks are ISO weeks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapPeriod {
    /// All uses ever.
    #[default]
    Lifetime,
    /// A calendar day.
    Day,
    /// An ISO week, Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
}

/// Whether a mandate may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MandateStatus {
    /// In force.
    #[default]
    Active,
    /// Suspended by the user for now.
    Paused,
    /// Withdrawn for good.
    Revoked,
}

impl MandateStatus {
    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Revoked => "revoked",
        }
    }
}

/// One record of the mandates topic or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MandateRecord {
    /// The new complete state.
    State(Box<Mandate>),
    /// A tombstone: the mandate is unknown from here on.
    Deleted {
        /// Which.
        mandate_id: String,
        /// When, where the file says so.
        updated_at: Option<Timestamp>,
    },
}

impl MandateRecord {
    /// The key of the record.
    #[must_use]
    pub fn mandate_id(&self) -> &str {
        match self {
            Self::State(mandate) => &mandate.mandate_id,
            Self::Deleted { mandate_id, .. } => mandate_id,
        }
    }

    /// When the record says it was made.
    #[must_use]
    pub fn updated_at(&self) -> Option<Timestamp> {
        match self {
            Self::State(mandate) => mandate.updated_at,
            Self::Deleted { updated_at, .. } => *updated_at,
        }
    }
}
