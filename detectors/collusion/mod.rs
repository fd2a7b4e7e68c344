//! Collusion: agents of one user that pay like amounts within seconds of each other.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_events::decision::Fact;
use weir_events::time::{DAY_US, MINUTE_US};
use weir_events::view::{Column, Kind, Row, Value, View};
use weir_events::{Action, Amount, Plain, Span};

use crate::timeline::UserPayment;
use crate::{
    Bound, Bounds, Detector, EpisodeKey, Explain, Held, Nothing, Payment, Points, Reached, Reason, Seat,
    Tier, Tiers, UserTimeline,
};

#[cfg(test)]
mod tests;

/// View `collusion`: pairs of agents of one user with at least `min_pairs` coordinated pairs of
/// transactions.
pub const VIEW: View = View {
    name: "collusion",
    columns: &[
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "agent_a", kind: Kind::Text },
        Column { name: "agent_b", kind: Kind::Text },
        Column { name: "coordinated_pair_count", kind: Kind::Int },
        Column { name: "coordinated_total_amount", kind: Kind::Decimal },
    ],
    sort: &[0, 1, 2],
    sql: include_str!("view.sql"),
};

/// Length of the window in which the signal counts pairs.
pub const SIGNAL_WINDOW_US: i64 = 10 * MINUTE_US;
/// Greatest difference of a pair's amounts for the signal, in percent of the larger.
pub const SIGNAL_DIFFERENCE_PERCENT: i128 = 7;
/// Least number of paired transactions of both agents for the signal.
pub const SIGNAL_MIN_PAIRED: usize = 2;
/// Least share of an agent's transactions that are paired, in percent, for the agent with fewer.
pub const SIGNAL_MIN_SHARE_PERCENT: usize = 60;

/// Section `[detectors.collusion]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The farthest that the two transactions of a pair may be apart, inclusive.
    pub max_gap: Span,
    /// Their amounts differ by less than this, in the base currency.
    pub max_amount_difference: Plain,
    /// Pairs from which two agents are reported by the view.
    pub min_pairs: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self { max_gap: Span::seconds(10), max_amount_difference: Plain(Amount::units(10)), min_pairs: 2 }
    }
}

impl Params {
    /// Paired transactions of both agents that the signal asks for: those of the view, but one pair
    /// alone never makes a signal.
    fn min_paired(&self) -> usize {
        usize::try_from(self.min_pairs).unwrap_or(usize::MAX).max(SIGNAL_MIN_PAIRED)
    }

    fn amounts_match(&self, a: Amount, b: Amount) -> bool {
        a.0.abs_diff(b.0) < self.max_amount_difference.0.0.unsigned_abs()
    }

    /// The signal asks more than the view: unlike amounts within the view's difference are usual
    /// among small payments.
    fn amounts_match_closely(&self, a: Amount, b: Amount) -> bool {
        let difference = i128::try_from(a.0.abs_diff(b.0)).unwrap_or(i128::MAX);
        self.amounts_match(a, b)
            && difference.saturating_mul(100) <= a.max(b).0.saturating_mul(SIGNAL_DIFFERENCE_PERCENT)
    }
}

/// Coordinated pairs of two agents of a user over all history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairTotal {
    /// Numbers of the two agents within their user, the lesser first.
    pub agents: (u32, u32),
    /// Pairs of transactions.
    pub pairs: u64,
    /// Sum of both amounts over the pairs, in the base currency.
    pub amount: Amount,
}

/// State per user.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// Sorted by agents.
    totals: Vec<PairTotal>,
}

impl State {
    /// Pairs of agents that the view reports.
    pub fn reported(&self, params: &Params) -> impl Iterator<Item = &PairTotal> {
        let min_pairs = params.min_pairs;
        self.totals.iter().filter(move |total| total.pairs >= min_pairs)
    }

    /// Pairs that an agent is in, over the view's rows.
    #[must_use]
    pub fn pairs_of(&self, agent: u32, params: &Params) -> u64 {
        let of_agent = |total: &&PairTotal| total.agents.0 == agent || total.agents.1 == agent;
        self.reported(params).filter(of_agent).map(|total| total.pairs).sum()
    }

    fn add(&mut self, a: u32, b: u32, amount: Amount, bounds: &Bounds, reached: &mut Reached) {
        let agents = (a.min(b), a.max(b));
        match self.totals.binary_search_by_key(&agents, |total| total.agents) {
            Ok(at) => {
                if let Some(total) = self.totals.get_mut(at) {
                    total.pairs += 1;
                    total.amount = total.amount.plus(amount);
                }
            }
            Err(_) if self.totals.len() >= bounds.user_pairs_max => reached.mark(Bound::UserPairs),
            Err(at) => self.totals.insert(at, PairTotal { agents, pairs: 1, amount }),
        }
    }
}

/// Row of the view for a pair of agents with these ids.
#[must_use]
pub fn row(user_id: &str, agent_a: &str, agent_b: &str, total: &PairTotal) -> Row {
    let (first, second) = if agent_a < agent_b { (agent_a, agent_b) } else { (agent_b, agent_a) };
    vec![
        Value::Text(user_id.to_owned()),
        Value::Text(first.to_owned()),
        Value::Text(second.to_owned()),
        Value::Int(i64::try_from(total.pairs).unwrap_or(i64::MAX)),
        Value::Decimal(total.amount),
    ]
}

/// What an observation found.
#[derive(Debug, Default)]
pub struct Found {
    /// Partners of the strongest window, and their paired transactions.
    partners: usize,
    paired: usize,
    share_percent: usize,
    evidence: Spending,
}

/// A user's agents and spend, as evidence.
#[derive(Debug, Default)]
struct Spending {
    agents_10m: usize,
    spend_10m: Amount,
    agents_24h: usize,
    spend_24h: Amount,
}

/// The detector.
#[derive(Debug)]
pub struct Collusion;

const RING: usize = 0;
const PAIRS: usize = 1;

impl Detector for Collusion {
    const NAME: &'static str = "collusion";
    const TIERS: &'static [Tier] = &[
        Tier { name: "ring", floor: None, points: Points::Weighted { cap: 120 } },
        Tier { name: "pairs", floor: None, points: Points::Weighted { cap: 120 } },
    ];
    const TIER_NAMES: &'static [&'static str] = &["ring", "pairs"];
    const FLOOR: Action = Action::Review;
    const EPISODE: EpisodeKey = EpisodeKey::User;
    const WEIGHT: Option<Amount> = Some(Amount::units(30));
    const VIEWS: &'static [View] = &[VIEW];

    type Params = Params;
    type Agent = Nothing;
    type User = State;
    type Ledger = Nothing;
    type Use = Nothing;
    type Found = Found;

    fn episode_window_us(_: &Params) -> i64 {
        SIGNAL_WINDOW_US
    }

    #[inline(always)]
    fn observe(
        params: &Params,
        payment: &Payment<'_>,
        seat: &mut Seat<'_, Self>,
        tiers: &mut Tiers,
    ) -> Found {
        let Some(amount) = payment.base_amount.filter(|_| !payment.late) else { return Found::default() };
        let own = UserPayment::new(payment.time_us, payment.agent, Some(amount));
        let mut partners = SmallVec::<[u32; 4]>::new();
        let around = seat.user_payments.window(own.time_us + params.max_gap.0, 2 * params.max_gap.0);
        let others = around.filter(|other| other.agent != own.agent);
        for (scanned, other) in others.enumerate() {
            if scanned >= seat.bounds.pair_scan_max {
                seat.reached.mark(Bound::PairScan);
                break;
            }
            let Some(theirs) = other.amount().filter(|&theirs| params.amounts_match(amount, theirs)) else {
                continue;
            };
            seat.user.add(own.agent, other.agent, amount.plus(theirs), seat.bounds, seat.reached);
            if params.amounts_match_closely(amount, theirs) && !partners.contains(&other.agent) {
                partners.push(other.agent);
            }
        }
        if partners.is_empty() {
            return Found::default();
        }
        let mut strongest = None;
        for (judged, end_us) in seat.user_payments.window_ends(own.time_us, SIGNAL_WINDOW_US).enumerate() {
            if judged >= seat.bounds.windows_judged_max {
                seat.reached.mark(Bound::WindowsJudged);
                break;
            }
            let window = Window { params, timeline: seat.user_payments, end_us };
            strongest = strongest.max(window.judge(&own, &partners));
        }
        let Some(judged) = strongest else { return Found::default() };
        let tier = if judged.ring { RING } else { PAIRS };
        let beyond_first = i128::try_from(judged.paired).unwrap_or(i128::MAX) - 1;
        tiers.push(Held { tier, measure: Amount::units(beyond_first) });
        Found {
            partners: judged.partners,
            paired: judged.paired,
            share_percent: judged.share_percent,
            evidence: Spending::of(seat.user_payments, own.time_us),
        }
    }

    fn explain(params: &Params, _: &Payment<'_>, found: &Found, held: Held, out: &mut Explain<'_>) -> Reason {
        out.count("measure", found.paired);
        out.count("threshold", params.min_paired());
        out.count("partners", found.partners);
        out.count("paired_percent", found.share_percent);
        out.count("active_agents_10m", found.evidence.agents_10m);
        out.fact("spend_10m", Fact::Decimal(found.evidence.spend_10m));
        out.count("active_agents_24h", found.evidence.agents_24h);
        out.fact("spend_24h", Fact::Decimal(found.evidence.spend_24h));
        let (agents, paired) = (found.partners + 1, found.paired);
        match held.tier {
            RING => out.reason(format_args!(
                "{agents} agents of this person paid nearly the same amounts within seconds of each other, {paired} times in ten minutes."
            )),
            _ => out.reason(format_args!(
                "Two agents of this person paid nearly the same amounts within seconds of each other, {paired} times in ten minutes."
            )),
        }
    }

    fn check(params: &Params) -> Option<(&'static str, String)> {
        if params.max_gap.0 > SIGNAL_WINDOW_US {
            return Some(("max_gap", "must be at most 10m, the window of the signal".to_owned()));
        }
        if params.max_amount_difference.0 < Amount::ZERO {
            return Some(("max_amount_difference", "must not be negative".to_owned()));
        }
        (params.min_pairs == 0).then(|| ("min_pairs", "must be at least 1".to_owned()))
    }

    fn sql_parameters(params: &Params) -> Vec<(&'static str, Value)> {
        vec![
            ("collusion_max_gap_us", Value::Int(params.max_gap.0)),
            ("collusion_max_amount_difference", Value::Decimal(params.max_amount_difference.0)),
            ("collusion_min_pairs", Value::Int(i64::try_from(params.min_pairs).unwrap_or(i64::MAX))),
        ]
    }
}

/// What one window says of an agent; ordered by strength: tier, then measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Judged {
    ring: bool,
    paired: usize,
    share_percent: usize,
    partners: usize,
}

/// One window of the signal over a user's payments.
struct Window<'a> {
    params: &'a Params,
    timeline: &'a UserTimeline,
    end_us: i64,
}

impl Window<'_> {
    /// Judges the agent of `own` against each of `partners`, with whom `own` is in a pair.
    fn judge(&self, own: &UserPayment, partners: &[u32]) -> Option<Judged> {
        let mut judged: Option<Judged> = None;
        let (ours, all) = self.of_agents(own.agent, partners);
        for theirs in all.chunk_by(|a, b| a.agent == b.agent) {
            // The pair that `own` is in must itself lie in the window.
            if !self.paired(theirs, std::slice::from_ref(own)).any(|paired| paired) {
                continue;
            }
            let count = |side: &[UserPayment], other: &[UserPayment]| {
                self.paired(side, other).filter(|&yes| yes).count()
            };
            let paired = count(&ours, theirs).min(count(theirs, &ours));
            let fewer = ours.len().min(theirs.len());
            if paired < self.params.min_paired() || paired * 100 < fewer * SIGNAL_MIN_SHARE_PERCENT {
                continue;
            }
            let share_percent = (paired * 100).checked_div(fewer).unwrap_or_default();
            judged = Some(match judged {
                None => Judged { ring: false, paired, share_percent, partners: 1 },
                Some(before) => Judged {
                    ring: true,
                    paired: before.paired.max(paired),
                    share_percent: before.share_percent.max(share_percent),
                    partners: before.partners + 1,
                },
            });
        }
        judged
    }

    /// Payments of `agent`, and those of its partners, one partner after the other; each in time order. The
    /// window is gone over once, however many partners there are.
    fn of_agents(&self, agent: u32, partners: &[u32]) -> (SmallVec<[UserPayment; 16]>, SmallVec<[UserPayment; 16]>) {
        let mut sorted: SmallVec<[u32; 4]> = partners.into();
        sorted.sort_unstable();
        let (mut ours, mut theirs) = (SmallVec::new(), SmallVec::<[UserPayment; 16]>::new());
        for payment in self.timeline.window(self.end_us, SIGNAL_WINDOW_US) {
            if payment.agent == agent {
                ours.push(*payment);
            } else if sorted.binary_search(&payment.agent).is_ok() {
                theirs.push(*payment);
            }
        }
        // Keeps the order of time.
        theirs.sort_by_key(|payment| payment.agent);
        (ours, theirs)
    }

    /// For each payment of `side` whether it is in a pair with one of `other`; both in time order.
    fn paired<'p>(
        &'p self,
        side: &'p [UserPayment],
        other: &'p [UserPayment],
    ) -> impl Iterator<Item = bool> + 'p {
        let gap_us = self.params.max_gap.0;
        let mut rest = other;
        side.iter().map(move |payment| {
            while let Some((first, after)) = rest.split_first()
                && first.time_us < payment.time_us - gap_us
            {
                rest = after;
            }
            let Some(amount) = payment.amount() else { return false };
            let near = rest.iter();
            near.take_while(|theirs| theirs.time_us <= payment.time_us + gap_us)
                .filter_map(|theirs| theirs.amount())
                .any(|theirs| self.params.amounts_match_closely(amount, theirs))
        })
    }
}

impl Spending {
    fn of(timeline: &UserTimeline, end_us: i64) -> Self {
        let (agents_10m, spend_10m) = timeline.spending(end_us, SIGNAL_WINDOW_US);
        let (agents_24h, spend_24h) = timeline.spending(end_us, DAY_US);
        Self { agents_10m, spend_10m, agents_24h, spend_24h }
    }
}
