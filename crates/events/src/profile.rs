//! An agent's standing.

use std::borrow::Cow;

use serde::Serialize;

use crate::score::RiskLevel;
use crate::{Amount, Risk, Timestamp};

/// A record of topic `weir.risk-scores`, key `["user_id","agent_id"]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RiskProfile<'a> {
    /// The agent.
    pub agent_id: Cow<'a, str>,
    /// Its user.
    pub user_id: Cow<'a, str>,
    /// The row of the `risk` view and its score.
    pub lifetime: Measures,
    /// What held at `as_of`.
    pub current: Current,
    /// Decisions by action in the 24 hours up to `as_of`.
    pub actions_24h: ActionCounts,
    /// Ids of the episodes that are open.
    pub open_episodes: Vec<String>,
    /// The least `tx_time` seen.
    #[serde(serialize_with = "printed")]
    pub first_seen: Timestamp,
    /// Transactions accepted.
    pub payments_seen: u64,
}

impl RiskProfile<'_> {
    /// The same, with ids of its own.
    #[must_use]
    pub fn into_owned(self) -> RiskProfile<'static> {
        let (agent_id, user_id) = (self.agent_id.into_owned().into(), self.user_id.into_owned().into());
        RiskProfile { agent_id, user_id, ..self }
    }
}

/// The measures that make up a composite risk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Measures {
    /// Peak (lifetime) or present number of transactions in the burst window.
    pub burst_score: i64,
    /// Spend over caps, in the base currency.
    #[serde(serialize_with = "printed")]
    pub replay_over_amount: Amount,
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
    #[serde(serialize_with = "printed")]
    pub composite_risk: Risk,
    /// 0 to 100.
    pub risk_score: u8,
    /// Level of the score.
    pub risk_level: RiskLevel,
}

/// The measures in force at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Current {
    /// The `tx_time` of the agent's latest transaction.
    #[serde(serialize_with = "printed")]
    pub as_of: Timestamp,
    /// The measures then.
    #[serde(flatten)]
    pub measures: Measures,
}

/// Decisions by action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ActionCounts {
    /// Allowed.
    pub allow: u64,
    /// Challenged.
    pub challenge: u64,
    /// Held for review.
    pub review: u64,
    /// Blocked.
    pub block: u64,
}

fn printed<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
