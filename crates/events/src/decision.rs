//! What Weir decided about one transaction, and why.
//!
//! The engine fills a [`Verdict`], which owns its memory and is reused from record to record, so
//! that a steady stream allocates nothing. [`Decision`] borrows a transaction and its verdict and
//! is what is published; [`Decision::write`] is the one definition of the record's shape and order.

use std::fmt;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::score::RiskLevel;
use crate::{Amount, MandateStatus, Risk, Timestamp, Transaction};

/// Version of the decision record's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// What to do with a transaction, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Proceed.
    #[default]
    Allow,
    /// The person confirms, never the agent.
    Challenge,
    /// Do not authorize or capture until released.
    Review,
    /// Refuse.
    Block,
}

impl Action {
    /// Every action, weakest first.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Challenge, Self::Review, Self::Block];

    /// The name in records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Challenge => "challenge",
            Self::Review => "review",
            Self::Block => "block",
        }
    }
}

/// What settled the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DecidedBy {
    /// Nothing spoke against the transaction.
    #[default]
    None,
    /// The floor of the verdict's signal at this position.
    Floor(usize),
    /// The score's level.
    Score(RiskLevel),
}

/// A value in a signal's evidence.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A count.
    Count(i64),
    /// A decimal, in base currency unless the name says otherwise; printed as a string.
    Decimal(Amount),
    /// A figure that is a float by nature (deviation, distance); printed as a string of six decimals.
    Figure(f64),
    /// A point in event time.
    Time(Timestamp),
    /// Yes or no.
    Flag(bool),
    /// Text in the verdict's arena; masked when printed.
    Text(Range<usize>),
    /// Names known to the code, such as other tiers that hold.
    Name(&'static str),
    /// Nothing known, such as a baseline not yet learned.
    Absent,
}

/// One detector's finding, with its evidence and its reason in the verdict's arenas.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// Name of the detector.
    pub detector: &'static str,
    /// Name of its tier.
    pub tier: &'static str,
    /// The least action this tier asks for; [`Action::Allow`] is `none`.
    pub floor: Action,
    /// Points towards the composite risk.
    pub points: Risk,
    /// The measure that the points follow from.
    pub measure: Amount,
    /// Position in the table of detectors and tiers, the last key of the order.
    pub rank: u16,
    /// First transaction of the episode, in the arena of texts.
    pub episode: Range<usize>,
    /// Evidence, in the arena of facts.
    pub evidence: Range<usize>,
    /// Tiers of this detector that hold too, weaker than `tier`, as bits by position in its table.
    pub also: u16,
    /// Names of the detector's tiers, for `also`.
    pub tiers: &'static [&'static str],
    /// Reason, in the arena of texts.
    pub reason: Range<usize>,
}

/// How the presented mandate stood before the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MandateStanding {
    /// Active, paused or revoked.
    pub status: MandateStatus,
    /// The cap, in the mandate's currency.
    pub max_amount: Option<Amount>,
    /// Reserved under the cap before this transaction, in the cap's period and currency.
    pub spent_before: Amount,
}

impl MandateStanding {
    /// What the cap leaves before this transaction; never below zero.
    #[must_use]
    pub fn remaining(&self) -> Option<Amount> {
        self.max_amount.map(|cap| cap.minus(self.spent_before).max(Amount::ZERO))
    }
}

/// The engine's judgement of one transaction; reused, so that filling it allocates nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// Sum of the points of the signals.
    pub composite: Risk,
    /// 0 to 100, rounded half up.
    pub risk_score: u8,
    /// From the unrounded score.
    pub risk_level: RiskLevel,
    /// What settled the action.
    pub decided_by: DecidedBy,
    /// Strongest first: by floor, points, then the table of detectors.
    pub signals: Vec<Signal>,
    /// Whether the transaction was older than the watermark or its clock was ahead.
    pub late: bool,
    /// The presented mandate; `None` when none was presented or it is unknown.
    pub mandate: Option<MandateStanding>,
    /// Arena of evidence.
    pub facts: Vec<(&'static str, Fact)>,
    /// Arena of texts.
    pub text: String,
}

impl Verdict {
    /// Empties the verdict and keeps its memory.
    pub fn clear(&mut self) {
        self.action = Action::Allow;
        self.composite = Risk::ZERO;
        self.risk_score = 0;
        self.risk_level = RiskLevel::Normal;
        self.decided_by = DecidedBy::None;
        self.signals.clear();
        self.late = false;
        self.mandate = None;
        self.facts.clear();
        self.text.clear();
    }

    /// Appends `text` to the arena and returns where it lies.
    pub fn store(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// Appends formatted text to the arena and returns where it lies.
    pub fn store_fmt(&mut self, text: fmt::Arguments<'_>) -> Range<usize> {
        let start = self.text.len();
        // Writing into a String cannot fail.
        let _ = fmt::Write::write_fmt(&mut self.text, text);
        start..self.text.len()
    }

    /// The text at `range` of the arena.
    #[must_use]
    pub fn text(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }
}

/// The published decision on one transaction: topic `weir.decisions`, key `user_id`.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// What was decided about.
    pub transaction: &'a Transaction<'a>,
    /// What was decided.
    pub verdict: &'a Verdict,
    /// Digest of the deciding configuration.
    pub config_digest: &'a str,
}

/// What readers of decisions outside the engine need of one, such as `weir evaluate`.
#[derive(Debug, Clone, Deserialize)]
pub struct DecisionSummary {
    /// The transaction.
    pub tx_id: String,
    /// Its agent.
    pub agent_id: String,
    /// Its user.
    pub user_id: String,
    /// Its event time, as printed.
    pub tx_time: String,
    /// The action.
    pub action: Action,
    /// The signals' detectors and tiers.
    pub signals: Vec<SignalSummary>,
}

/// Detector and tier of one signal.
#[derive(Debug, Clone, Deserialize)]
pub struct SignalSummary {
    /// Name of the detector.
    pub detector: String,
    /// Name of the tier.
    pub tier: String,
}
