//! Episodes, told when they open, grow worse and close.

use schemars::JsonSchema;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::Amount;

/// What an alert says of its episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The first signal whose tier has a floor.
    Opened,
    /// A stronger tier than any before.
    Escalated,
    /// No signal within the detector's window.
    Closed,
}

/// What an operator is advised to do; Weir never writes mandates itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recommended {
    /// Pause the mandate that the episode runs under.
    PauseMandate,
    /// Nothing.
    None,
}

/// A record of topic `weir.alerts`, key `["user_id","agent_id"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Name of the detector.
    pub detector: &'static str,
    /// The strongest tier so far.
    pub tier: &'static str,
    /// What happened to the episode.
    pub state: AlertState,
    /// Agent of the latest signal.
    pub agent_id: String,
    /// The user.
    pub user_id: String,
    /// Mandate of the latest signal, if any.
    pub mandate_id: Option<String>,
    /// First transaction of the run; with the detector, the episode's id.
    pub first_tx: String,
    /// Latest transaction with a signal.
    pub last_tx: String,
    /// Transactions with a signal.
    pub transactions: u64,
    /// Their amounts together, in the base currency; those without a rate count nothing.
    pub amount: Amount,
    /// The advice.
    pub recommended: Recommended,
}

impl Serialize for Alert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Alert", 12)?;
        out.serialize_field("episode_id", &format_args!("{}:{}", self.detector, self.first_tx))?;
        out.serialize_field("detector", self.detector)?;
        out.serialize_field("tier", self.tier)?;
        out.serialize_field("state", &self.state)?;
        out.serialize_field("agent_id", &self.agent_id)?;
        out.serialize_field("user_id", &self.user_id)?;
        out.serialize_field("mandate_id", &self.mandate_id)?;
        out.serialize_field("first_tx", &self.first_tx)?;
        out.serialize_field("last_tx", &self.last_tx)?;
        out.serialize_field("transactions", &self.transactions)?;
        out.serialize_field("amount", self.amount.printed().as_str())?;
        out.serialize_field("recommended", &self.recommended)?;
        out.end()
    }
}
