//! What Weir decided about one transaction, and why.
//!
//! The engine fills a [`Verdict`], which owns its memory and is reused from record to record, so
//! that a steady stream allocates nothing. [`Decision`] borrows a transaction and its verdict and
//! is what is published: the one definition of the record's shape, its order and its schema.

use std::fmt::{self, Write as _};
use std::ops::Range;

use schemars::JsonSchema;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};

use crate::mask::Masked;
use crate::score::RiskLevel;
use crate::{Amount, MandateStatus, Printed, Risk, Timestamp, Transaction};

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

impl Serialize for Decision<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (tx, verdict) = (self.transaction, self.verdict);
        let mut out = serializer.serialize_struct("Decision", 24)?;
        out.serialize_field("schema_version", &SCHEMA_VERSION)?;
        out.serialize_field("tx_id", &*tx.tx_id)?;
        out.serialize_field("payment_id", &tx.payment_id.as_deref().map(Masked))?;
        out.serialize_field("agent_id", &*tx.agent_id)?;
        out.serialize_field("user_id", &*tx.user_id)?;
        out.serialize_field("mandate_id", &tx.mandate_id.as_deref())?;
        out.serialize_field("merchant", &Masked(&tx.merchant))?;
        out.serialize_field("merchant_category", &tx.merchant_category.as_deref().map(Masked))?;
        out.serialize_field("amount", tx.amount.printed().as_str())?;
        out.serialize_field("currency", tx.currency.as_str())?;
        out.serialize_field(
            "country",
            &tx.country.as_ref().map(|code| std::str::from_utf8(code).unwrap_or("??")),
        )?;
        out.serialize_field("tx_time", tx.tx_time.printed().as_str())?;
        out.serialize_field("action", verdict.action.name())?;
        out.serialize_field("flagged", &!verdict.signals.is_empty())?;
        out.serialize_field("risk_score", &verdict.risk_score)?;
        out.serialize_field("risk_level", verdict.risk_level.name())?;
        out.serialize_field("composite_risk", verdict.composite.printed().as_str())?;
        out.serialize_field("decided_by", &Settled(verdict))?;
        out.serialize_field("signals", &Signals(verdict))?;
        out.serialize_field("reasons", &Reasons(verdict))?;
        out.serialize_field("mandate", &verdict.mandate.as_ref().map(Standing))?;
        out.serialize_field("late", &verdict.late)?;
        out.serialize_field("config_digest", self.config_digest)?;
        out.end()
    }
}

/// Serializes anything by its `Display`, as a string.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Serializers escape piece by piece what they format themselves, so short texts are put
        // together here first.
        let mut short = Short::default();
        match write!(short, "{}", self.0) {
            Ok(()) => serializer.serialize_str(short.text()),
            Err(_) => serializer.collect_str(&self.0),
        }
    }
}

/// A text on the stack; writing fails when it is full.
struct Short {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl Short {
    const BYTES_MAX: usize = 64;

    fn text(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }
}

impl Default for Short {
    fn default() -> Self {
        Self { bytes: [0; Self::BYTES_MAX], length: 0 }
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let end = self.length + piece.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(piece.as_bytes());
        self.length = end;
        Ok(())
    }
}

struct Settled<'a>(&'a Verdict);

impl Serialize for Settled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.decided_by {
            DecidedBy::None => serializer.serialize_str("none"),
            DecidedBy::Score(level) => serializer.collect_str(&format_args!("score:{}", level.name())),
            DecidedBy::Floor(at) => match self.0.signals.get(at) {
                Some(signal) => {
                    serializer.collect_str(&format_args!("floor:{}.{}", signal.detector, signal.tier))
                }
                None => serializer.serialize_str("none"),
            },
        }
    }
}

struct Signals<'a>(&'a Verdict);

impl Serialize for Signals<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.0.signals.len()))?;
        for signal in &self.0.signals {
            out.serialize_element(&OneSignal { verdict: self.0, signal })?;
        }
        out.end()
    }
}

struct OneSignal<'a> {
    verdict: &'a Verdict,
    signal: &'a Signal,
}

impl Serialize for OneSignal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { verdict, signal } = *self;
        let mut out = serializer.serialize_struct("Signal", 5)?;
        out.serialize_field("detector", signal.detector)?;
        out.serialize_field("tier", signal.tier)?;
        out.serialize_field("points", signal.points.printed().as_str())?;
        let first_tx = verdict.text(&signal.episode);
        out.serialize_field("episode_id", &Shown(format_args!("{}:{first_tx}", signal.detector)))?;
        out.serialize_field("evidence", &Evidence { verdict, signal })?;
        out.end()
    }
}

struct Evidence<'a> {
    verdict: &'a Verdict,
    signal: &'a Signal,
}

impl Serialize for Evidence<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for (name, fact) in self.verdict.facts.get(self.signal.evidence.clone()).unwrap_or_default() {
            out.serialize_key(name)?;
            match fact {
                Fact::Count(count) => out.serialize_value(count)?,
                Fact::Decimal(amount) => out.serialize_value(amount.printed().as_str())?,
                Fact::Figure(figure) => out.serialize_value(&Shown(format_args!("{figure:.6}")))?,
                Fact::Time(time) => out.serialize_value(time.printed().as_str())?,
                Fact::Flag(flag) => out.serialize_value(flag)?,
                Fact::Text(range) => out.serialize_value(&Masked(self.verdict.text(range)))?,
                Fact::Name(name) => out.serialize_value(name)?,
                Fact::Absent => out.serialize_value(&())?,
            }
        }
        if self.signal.also != 0 {
            out.serialize_entry("also", &Also(self.signal))?;
        }
        out.end()
    }
}

struct Also<'a>(&'a Signal);

impl Serialize for Also<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bits = self.0.also;
        let names = self.0.tiers.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        serializer.collect_seq(names.map(|(_, name)| name))
    }
}

struct Reasons<'a>(&'a Verdict);

impl Serialize for Reasons<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.signals.iter().map(|signal| Reason { verdict: self.0, signal }))
    }
}

struct Reason<'a> {
    verdict: &'a Verdict,
    signal: &'a Signal,
}

impl Serialize for Reason<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Reason", 2)?;
        out.serialize_field("code", &Shown(format_args!("{}.{}", self.signal.detector, self.signal.tier)))?;
        out.serialize_field("text", &Masked(self.verdict.text(&self.signal.reason)))?;
        out.end()
    }
}

struct Standing<'a>(&'a MandateStanding);

impl Serialize for Standing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("MandateStanding", 4)?;
        out.serialize_field("status", &self.0.status)?;
        let (cap, remaining) =
            (self.0.max_amount.map(Amount::printed), self.0.remaining().map(Amount::printed));
        out.serialize_field("max_amount", &cap.as_ref().map(Printed::as_str))?;
        out.serialize_field("spent_before", self.0.spent_before.printed().as_str())?;
        out.serialize_field("remaining", &remaining.as_ref().map(Printed::as_str))?;
        out.end()
    }
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
