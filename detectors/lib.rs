//! The detectors of Weir.
//!
//! Each detector is one folder: `mod.rs` (parameters, state, [`Detector::observe`]), `view.sql`
//! (the definition of its view, written independently of the Rust), `README.md` (what it catches
//! and how it is evaded) and `tests.rs`. The one ordered table of them all is `table!` below; a
//! new detector is one folder and one line there.
//!
//! Everything here is pure: no clock, no randomness, no I/O. A detector sees a [`Payment`], keeps
//! state per agent, user, ledger (mandate and user) and use (mandate, agent and user), and reports
//! the tiers that hold. Which tier counts, what it scores and what it asks for is decided by the
//! caller from [`Tier`] and the configuration.

pub mod bounds;
pub mod hash;
pub mod names;
pub mod payment;
pub mod risk;
mod slim;
pub mod terms;
pub mod timeline;

#[cfg(test)]
mod testing;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_events::decision::Fact;
use weir_events::view::{Row, View};
use weir_events::{Action, Amount, Verdict};

pub use bounds::{Bound, Bounds, Reached};
pub use payment::Payment;
pub use terms::Terms;
pub use timeline::{AgentTimeline, UserTimeline};

/// Points of a tier whose floor is `block` and whose points follow from that alone.
pub const BLOCK_POINTS: Amount = Amount::units(50);

/// One tier of a detector.
#[derive(Debug, Clone, Copy)]
pub struct Tier {
    /// Second part of the reason code.
    pub name: &'static str,
    /// The least action; `None`: the detector's own [`Detector::FLOOR`].
    pub floor: Option<Action>,
    /// How points follow from the measure.
    pub points: Points,
}

/// How the points of a tier follow from its measure.
#[derive(Debug, Clone, Copy)]
pub enum Points {
    /// The detector's weight × the measure, at most this cap.
    Weighted {
        /// Default of the tier's cap, in whole points.
        cap: i128,
    },
    /// [`BLOCK_POINTS`] when the tier's floor is `block`, else nothing.
    ByFloor,
}

/// Whose run of signals makes an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpisodeKey {
    /// One agent's.
    Agent,
    /// One agent's under one mandate.
    Use,
    /// One user's, over all agents.
    User,
}

/// A tier that holds for a payment, with the measure its points come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Position in [`Detector::TIERS`].
    pub tier: usize,
    /// The measure in force.
    pub measure: Amount,
}

/// The tiers that hold.
pub type Tiers = SmallVec<[Held; 4]>;

/// A detector's states for the entities of one payment, and the timelines it may read.
///
/// The payment itself already stands in both timelines unless it is late.
#[derive(Debug)]
pub struct Seat<'a, D: Detector + ?Sized> {
    /// The agent's state.
    pub agent: &'a mut D::Agent,
    /// The user's state.
    pub user: &'a mut D::User,
    /// State of the presented mandate and the user; `None` without a mandate id.
    pub ledger: Option<&'a mut D::Ledger>,
    /// State of the presented mandate, the agent and the user; `None` without a mandate id.
    pub usage: Option<&'a mut D::Use>,
    /// The agent's on-time payments.
    pub payments: &'a AgentTimeline,
    /// The user's on-time payments, over all agents.
    pub user_payments: &'a UserTimeline,
    /// Configured maxima.
    pub bounds: &'a Bounds,
    /// Which of them the agent, its user or the mandate has reached.
    pub reached: &'a mut Reached,
}

/// What came of a payment, told to every detector after the decision.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// The decided action.
    pub action: Action,
    /// The verdict with its signals.
    pub verdict: &'a Verdict,
}

impl Outcome<'_> {
    /// Whether `detector` raised `tier`.
    #[must_use]
    pub fn raised(&self, detector: &str, tier: &str) -> bool {
        self.verdict.signals.iter().any(|signal| signal.detector == detector && signal.tier == tier)
    }
}

/// Writes the evidence and the reason of one signal into a verdict's arenas.
#[derive(Debug)]
pub struct Explain<'a> {
    verdict: &'a mut Verdict,
}

impl<'a> Explain<'a> {
    /// Explains into `verdict`.
    pub fn new(verdict: &'a mut Verdict) -> Self {
        Self { verdict }
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: &'static str, fact: Fact) {
        self.verdict.facts.push((name, fact));
    }

    /// Adds a count.
    pub fn count(&mut self, name: &'static str, count: usize) {
        self.fact(name, Fact::Count(i64::try_from(count).unwrap_or(i64::MAX)));
    }

    /// Adds a text, which is masked when printed.
    pub fn text(&mut self, name: &'static str, text: &str) {
        let range = self.verdict.store(text);
        self.fact(name, Fact::Text(range));
    }

    /// Adds several texts as one, separated by `, `.
    pub fn texts<'t>(&mut self, name: &'static str, texts: impl IntoIterator<Item = &'t str>) {
        let start = self.verdict.text.len();
        for text in texts {
            if self.verdict.text.len() > start {
                self.verdict.text.push_str(", ");
            }
            self.verdict.text.push_str(text);
        }
        let end = self.verdict.text.len();
        self.fact(name, Fact::Text(start..end));
    }

    /// Stores the reason's text.
    pub fn reason(&mut self, text: fmt::Arguments<'_>) -> std::ops::Range<usize> {
        self.verdict.store_fmt(text)
    }
}

/// Where in a verdict's arena of texts a reason stands.
pub type Reason = std::ops::Range<usize>;

/// Where the rows of views go.
pub type Rows = Vec<Row>;

/// A detector: what it keeps, what it reports, and the views that define it.
pub trait Detector {
    /// First part of every reason code, name of the folder and of the configuration section.
    const NAME: &'static str;
    /// Tiers, strongest first.
    const TIERS: &'static [Tier];
    /// Names of [`Self::TIERS`], in order.
    const TIER_NAMES: &'static [&'static str];
    /// Floor of the tiers that name none of their own.
    const FLOOR: Action = Action::Allow;
    /// Whether the tiers are given as one wildcard floor in the configuration.
    const EPISODE: EpisodeKey = EpisodeKey::Agent;
    /// Default weight of a unit of measure, in units of 1e-8 point; `None`: no weighted tier.
    const WEIGHT: Option<Amount> = None;
    /// Views, in the order they are computed.
    const VIEWS: &'static [View] = &[];

    /// Configuration section `[detectors.NAME]`.
    type Params: fmt::Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned;
    /// State per agent.
    type Agent: fmt::Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned;
    /// State per user.
    type User: fmt::Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned;
    /// State per mandate and user.
    type Ledger: fmt::Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned;
    /// State per mandate, agent and user.
    type Use: fmt::Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned;
    /// What one observation found, for [`Self::explain`].
    type Found: Default;

    /// After how long without a signal an episode closes, in microseconds.
    fn episode_window_us(_params: &Self::Params) -> i64 {
        weir_events::time::DAY_US
    }

    /// Takes a payment in and reports the tiers that hold, in any order.
    ///
    /// To be `#[inline(always)]`: [`observe_all`] is its one caller on the hot path, and where it is
    /// inlined the seat need not be built.
    fn observe(
        params: &Self::Params,
        payment: &Payment<'_>,
        seat: &mut Seat<'_, Self>,
        tiers: &mut Tiers,
    ) -> Self::Found;

    /// Writes the evidence of the tier that was chosen and returns its reason, fit to be read aloud.
    fn explain(
        params: &Self::Params,
        payment: &Payment<'_>,
        found: &Self::Found,
        held: Held,
        out: &mut Explain<'_>,
    ) -> Reason;

    /// Learns from what was decided.
    fn settle(
        _params: &Self::Params,
        _payment: &Payment<'_>,
        _seat: &mut Seat<'_, Self>,
        _outcome: &Outcome<'_>,
    ) {
    }

    /// Reads the parts of a state that the next payment will read, so that they are near by then. What
    /// it gives stands for nothing.
    #[inline]
    fn touch(_state: &Self::Agent) -> i64 {
        0
    }

    /// The row of the detector's view for an agent, if it has one: where the view has a row per agent.
    fn agent_row(
        _params: &Self::Params,
        _state: &Self::Agent,
        _agent_id: &str,
        _user_id: &str,
    ) -> Option<Row> {
        None
    }

    /// What is wrong with the parameters, as `(key, message)`.
    fn check(_params: &Self::Params) -> Option<(&'static str, String)> {
        None
    }

    /// Parameters of the views' SQL, by name.
    fn sql_parameters(_params: &Self::Params) -> Vec<(&'static str, weir_events::view::Value)> {
        Vec::new()
    }
}

/// State that a detector does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A row of the table of detectors.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// See [`Detector::NAME`].
    pub name: &'static str,
    /// See [`Detector::TIERS`].
    pub tiers: &'static [Tier],
    /// See [`Detector::TIER_NAMES`].
    pub tier_names: &'static [&'static str],
    /// See [`Detector::FLOOR`].
    pub floor: Action,
    /// See [`Detector::EPISODE`].
    pub episode: EpisodeKey,
    /// See [`Detector::WEIGHT`].
    pub weight: Option<Amount>,
    /// See [`Detector::VIEWS`].
    pub views: &'static [View],
}

/// What the caller of [`observe_all`] does with the tiers that a detector reports.
pub trait Judge {
    /// Chooses among `tiers` of the detector at `position` of [`TABLE`]; `explain` writes the
    /// evidence of the chosen one.
    fn judge(
        &mut self,
        position: usize,
        tiers: &Tiers,
        reached: Reached,
        explain: &mut dyn FnMut(Held, &mut Explain<'_>) -> Reason,
    );
}

/// The states and timelines of the entities of one payment.
#[derive(Debug)]
pub struct Entities<'a> {
    /// The agent.
    pub agent: &'a mut AgentStates,
    /// Its user.
    pub user: &'a mut UserStates,
    /// Presented mandate and user.
    pub ledger: Option<&'a mut LedgerStates>,
    /// Presented mandate, agent and user.
    pub usage: Option<&'a mut UseStates>,
    /// The agent's on-time payments.
    pub payments: &'a AgentTimeline,
    /// The user's on-time payments.
    pub user_payments: &'a UserTimeline,
    /// Configured maxima.
    pub bounds: &'a Bounds,
    /// Bounds that these entities have reached.
    pub reached: &'a mut Reached,
}

/// The one ordered table of detectors. Its order is the last key of the order of signals.
macro_rules! table {
    ($($field:ident: $detector:ty,)*) => {
        $(pub mod $field;)*

        /// Configuration of every detector: `[detectors.NAME]`.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Params {
            $(#[doc = concat!("Section `[detectors.", stringify!($field), "]`.")]
              pub $field: <$detector as Detector>::Params,)*
        }

        /// State of every detector for one agent.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        pub struct AgentStates {
            $(#[doc = concat!("State of `", stringify!($field), "`.")]
              pub $field: <$detector as Detector>::Agent,)*
        }

        /// State of every detector for one user.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        pub struct UserStates {
            $(#[doc = concat!("State of `", stringify!($field), "`.")]
              pub $field: <$detector as Detector>::User,)*
        }

        /// State of every detector for one mandate and user.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        pub struct LedgerStates {
            $(#[doc = concat!("State of `", stringify!($field), "`.")]
              pub $field: <$detector as Detector>::Ledger,)*
        }

        /// State of every detector for one mandate, agent and user.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        pub struct UseStates {
            $(#[doc = concat!("State of `", stringify!($field), "`.")]
              pub $field: <$detector as Detector>::Use,)*
        }

        /// Every detector, in order.
        pub const TABLE: &[Entry] = &[$(Entry {
            name: <$detector>::NAME,
            tiers: <$detector>::TIERS,
            tier_names: <$detector>::TIER_NAMES,
            floor: <$detector>::FLOOR,
            episode: <$detector>::EPISODE,
            weight: <$detector>::WEIGHT,
            views: <$detector>::VIEWS,
        },)*];

        impl AgentStates {
            /// Reads what the next payment will read; what it gives stands for nothing.
            #[inline]
            #[must_use]
            pub fn touch(&self) -> i64 {
                0 $(^ <$detector>::touch(&self.$field))*
            }
        }

        /// Episode windows in microseconds, in the order of [`TABLE`].
        #[must_use]
        pub fn episode_windows_us(params: &Params) -> [i64; TABLE.len()] {
            [$(<$detector>::episode_window_us(&params.$field),)*]
        }

        /// Lets every detector observe a payment and hands what it found to `judge`.
        #[inline]
        pub fn observe_all(params: &Params, payment: &Payment<'_>, on: &mut Entities<'_>, judge: &mut impl Judge) {
            let mut position = 0;
            let mut tiers = Tiers::new();
            $(
                observe::<$detector>(position, &params.$field, payment, &mut seat!(on, $field), &mut tiers, judge);
                position += 1;
            )*
            let _ = position;
        }

        /// Lets the detector at one position of [`TABLE`] observe a payment, as [`observe_all`] does.
        pub fn observe_one(
            position: usize,
            params: &Params,
            payment: &Payment<'_>,
            on: &mut Entities<'_>,
            judge: &mut impl Judge,
        ) {
            let mut at = 0;
            let mut tiers = Tiers::new();
            $(
                if position == at {
                    observe::<$detector>(at, &params.$field, payment, &mut seat!(on, $field), &mut tiers, judge);
                }
                at += 1;
            )*
            let _ = at;
        }

        /// Tells every detector what was decided.
        #[inline]
        pub fn settle_all(params: &Params, payment: &Payment<'_>, on: &mut Entities<'_>, outcome: &Outcome<'_>) {
            $(<$detector>::settle(&params.$field, payment, &mut seat!(on, $field), outcome);)*
        }

        /// The first parameter that is wrong, as `(section, key, message)`.
        #[must_use]
        pub fn check_all(params: &Params) -> Option<(&'static str, &'static str, String)> {
            $(if let Some((key, message)) = <$detector>::check(&params.$field) {
                return Some((stringify!($field), key, message));
            })*
            None
        }

        /// The row of a view for an agent, if the view has a row per agent and one for this.
        #[must_use]
        pub fn agent_row(
            view: &View,
            params: &Params,
            states: &AgentStates,
            agent_id: &str,
            user_id: &str,
        ) -> Option<Row> {
            $(if <$detector as Detector>::VIEWS.iter().any(|own| own.name == view.name) {
                return <$detector>::agent_row(&params.$field, &states.$field, agent_id, user_id);
            })*
            None
        }

        /// Parameters of every view's SQL.
        #[must_use]
        pub fn sql_parameters(params: &Params) -> Vec<(&'static str, weir_events::view::Value)> {
            let mut all = Vec::new();
            $(all.extend(<$detector>::sql_parameters(&params.$field));)*
            all
        }
    };
}

/// Lets one detector observe a payment and hands what it found to `judge`.
fn observe<D: Detector>(
    position: usize,
    params: &D::Params,
    payment: &Payment<'_>,
    seat: &mut Seat<'_, D>,
    tiers: &mut Tiers,
    judge: &mut impl Judge,
) {
    let found = D::observe(params, payment, seat, tiers);
    if !tiers.is_empty() {
        let mut explain = |held: Held, out: &mut Explain<'_>| D::explain(params, payment, &found, held, out);
        judge.judge(position, tiers, *seat.reached, &mut explain);
        tiers.clear();
    }
}

/// The whole number nearest to one that is not negative, halves up: `round` without the call, which at
/// every payment would cost more than what it rounds.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "in range"
)]
fn nearest(value: f64) -> u64 {
    let whole = value as i64;
    whole.saturating_add((value - whole as f64 >= 0.5).into()) as u64
}

/// The part of the entities that one detector sees.
macro_rules! seat {
    ($on:expr, $field:ident) => {
        Seat {
            agent: &mut $on.agent.$field,
            user: &mut $on.user.$field,
            ledger: $on.ledger.as_mut().map(|states| &mut states.$field),
            usage: $on.usage.as_mut().map(|states| &mut states.$field),
            payments: $on.payments,
            user_payments: $on.user_payments,
            bounds: $on.bounds,
            reached: &mut *$on.reached,
        }
    };
}

table! {
    scope: scope::Scope,
    replay: replay::Replay,
    mandate: mandate::Presence,
    burst: burst::Burst,
    collusion: collusion::Collusion,
    cross_merchant: cross_merchant::CrossMerchant,
    cadence: cadence::Cadence,
    geo_stationarity: geo_stationarity::GeoStationarity,
    input: input::Input,
}
