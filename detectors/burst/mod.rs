//! Burst: more payments in a minute than the agent's own measure allows, or equal ones by machine.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_events::decision::Fact;
use weir_events::time::{DAY_US, HOUR_US, SECOND_US};
use weir_events::view::{Column, Kind, Row, Value, View};
use weir_events::{Action, Amount, Span, Timestamp};

use crate::timeline::AgentPayment;
use crate::{
    AgentTimeline, Bound, Detector, Explain, Held, Nothing, Outcome, Payment, Points, Reason, Seat, Terms,
    Tier, Tiers,
};

#[cfg(test)]
mod tests;

/// View `burst`: agents that made at least `min_count` payments within the window.
pub const VIEW: View = View {
    name: "burst",
    columns: &[
        Column { name: "agent_id", kind: Kind::Text },
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "peak_burst_count", kind: Kind::Int },
        Column { name: "burst_start", kind: Kind::Time },
        Column { name: "burst_end", kind: Kind::Time },
    ],
    sort: &[0, 1],
    sql: include_str!("view.sql"),
};

/// Length of the window of tier `pace`.
pub const PACE_WINDOW_US: i64 = 8 * SECOND_US;
/// Least number of payments in that window for `pace`.
pub const PACE_MIN_COUNT: usize = 10;
/// Least number of payments in the window for `machine`.
pub const MACHINE_MIN_COUNT: usize = 6;
/// Least number of equal ones among them.
pub const MACHINE_MIN_EQUAL: usize = 5;
/// Least share of equal ones among them, in percent.
pub const MACHINE_MIN_EQUAL_PERCENT: usize = 80;
/// How far behind the watermark a clean burst must lie before it teaches.
pub const LEARNING_DELAY_US: i64 = HOUR_US;
/// Least time between two lessons.
pub const LEARNING_INTERVAL_US: i64 = DAY_US;

/// Clean bursts that can wait to teach; further ones teach nothing.
pub const LESSONS_MAX: usize = 64;

/// Section `[detectors.burst]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Length of the window, both ends included.
    pub window: Span,
    /// Payments in the window from which it is a burst; the least threshold of an agent.
    pub min_count: u32,
    /// The greatest threshold that an agent can learn.
    pub max_threshold: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { window: Span::seconds(60), min_count: 5, max_threshold: 60 }
    }
}

/// State per agent; most never pay often enough to have any.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    bursts: Option<Box<Bursts>>,
}

/// What an agent's bursts have left.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Bursts {
    /// The view: greatest count of at least `min_count`, and where such counts begin and end.
    peak: u32,
    start_us: i64,
    end_us: i64,
    /// Learned threshold; 0: none yet.
    learned: u32,
    /// Watermark of the last lesson.
    learned_at_us: Option<i64>,
    run: Option<Run>,
    /// Clean bursts that will teach once they lie far enough behind the watermark, in order of time;
    /// at most [`LESSONS_MAX`].
    lessons: SmallVec<[Lesson; 1]>,
}

/// The run of burst signals that is open.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Run {
    last_us: i64,
    peak: u32,
    clean: bool,
}

/// What a clean burst has to teach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Lesson {
    last_us: i64,
    peak: u32,
}

impl State {
    /// Row of the view, if the agent has one.
    #[must_use]
    pub fn row(&self, agent_id: &str, user_id: &str) -> Option<Row> {
        let bursts = self.bursts.as_deref().filter(|bursts| bursts.peak > 0)?;
        Some(vec![
            Value::Text(agent_id.to_owned()),
            Value::Text(user_id.to_owned()),
            Value::Int(i64::from(bursts.peak)),
            Value::Time(Timestamp(bursts.start_us)),
            Value::Time(Timestamp(bursts.end_us)),
        ])
    }

    /// The peak of the view; 0 without a row.
    #[must_use]
    pub fn peak(&self) -> u32 {
        self.bursts.as_ref().map_or(0, |bursts| bursts.peak)
    }

    /// The learned threshold; 0: none yet.
    fn learned(&self) -> u32 {
        self.bursts.as_ref().map_or(0, |bursts| bursts.learned)
    }

    fn note_count(&mut self, end_us: i64, count: usize, params: &Params) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count < params.min_count {
            return;
        }
        let bursts = self.bursts.get_or_insert_default();
        (bursts.start_us, bursts.end_us) = match bursts.peak {
            0 => (end_us, end_us),
            _ => (bursts.start_us.min(end_us), bursts.end_us.max(end_us)),
        };
        bursts.peak = bursts.peak.max(count);
    }
}

impl Bursts {

    /// Keeps what a clean burst will teach, in order of time.
    fn note_lesson(&mut self, lesson: Lesson) {
        if self.lessons.len() < LESSONS_MAX {
            let at = self.lessons.partition_point(|earlier| earlier.last_us <= lesson.last_us);
            self.lessons.insert(at, lesson);
        }
    }

    /// Closes a run that has ended and learns from a clean one that lies far enough back.
    fn learn(&mut self, payment: &Payment<'_>, params: &Params) {
        if let Some(run) = self.run
            && payment.time_us - run.last_us > params.window.0
        {
            self.run = None;
            if run.clean {
                self.note_lesson(Lesson { last_us: run.last_us, peak: run.peak.min(params.max_threshold) });
            }
        }
        if self.lessons.is_empty() {
            return;
        }
        let rested = self.learned_at_us.is_none_or(|at| payment.watermark_us - at >= LEARNING_INTERVAL_US);
        let is_ripe = |lesson: &&Lesson| payment.watermark_us - lesson.last_us > LEARNING_DELAY_US;
        let ripe = self.lessons.iter().take_while(is_ripe).count();
        let spent = self.lessons.drain(..if rested { ripe } else { 0 });
        if let Some(lesson) = spent.max_by_key(|lesson| lesson.peak) {
            let old = self.learned.max(params.min_count);
            let grown = lesson.peak.saturating_add(1).min(old.saturating_add(old / 2));
            self.learned = grown.max(old).min(params.max_threshold);
            self.learned_at_us = Some(payment.watermark_us);
        }
    }
}

/// What an observation found.
#[derive(Debug, Default)]
pub struct Found {
    equal: usize,
    pace: usize,
    threshold: usize,
    pace_threshold: usize,
    learned: usize,
}

/// The detector.
#[derive(Debug)]
pub struct Burst;

const MACHINE: usize = 0;
const PACE: usize = 1;
const RATE: usize = 2;
const RATE_BOUNDED: usize = 3;

impl Detector for Burst {
    const NAME: &'static str = "burst";
    const TIERS: &'static [Tier] = &[
        Tier { name: "machine", floor: Some(Action::Review), points: Points::Weighted { cap: 50 } },
        Tier { name: "pace", floor: Some(Action::Challenge), points: Points::Weighted { cap: 50 } },
        Tier { name: "rate", floor: Some(Action::Challenge), points: Points::Weighted { cap: 50 } },
        Tier { name: "rate_bounded", floor: Some(Action::Allow), points: Points::Weighted { cap: 20 } },
    ];
    const TIER_NAMES: &'static [&'static str] = &["machine", "pace", "rate", "rate_bounded"];
    const WEIGHT: Option<Amount> = Some(Amount::units(5));
    const VIEWS: &'static [View] = &[VIEW];

    type Params = Params;
    type Agent = State;
    type User = Nothing;
    type Ledger = Nothing;
    type Use = Nothing;
    type Found = Found;

    fn episode_window_us(params: &Params) -> i64 {
        params.window.0
    }

    #[inline(always)]
    fn observe(
        params: &Params,
        payment: &Payment<'_>,
        seat: &mut Seat<'_, Self>,
        tiers: &mut Tiers,
    ) -> Found {
        if payment.late {
            return Found::default();
        }
        let (state, timeline) = (&mut *seat.agent, seat.payments);
        if let Some(bursts) = state.bursts.as_deref_mut() {
            bursts.learn(payment, params);
        }
        let (time_us, window_us) = (payment.time_us, params.window.0);
        if is_quiet(params, timeline, time_us) {
            return Found::default();
        }
        let learned = state.learned().max(params.min_count) as usize;
        let mut found = Found {
            learned,
            threshold: learned.max(authorized(payment, window_us)),
            pace_threshold: PACE_MIN_COUNT.max(authorized(payment, PACE_WINDOW_US)),
            ..Found::default()
        };
        let rate = if payment.bounded() { RATE_BOUNDED } else { RATE };
        // Of the windows that hold the payment, the greatest count by tier; one window unless the
        // payment is out of order.
        let mut most = [0_usize; 4];
        for (judged, end_us) in timeline.window_ends(time_us, window_us.max(PACE_WINDOW_US)).enumerate() {
            let after_us = end_us - time_us;
            let count = timeline.count(end_us, window_us);
            if after_us <= window_us {
                state.note_count(end_us, count, params);
            }
            if judged >= seat.bounds.windows_judged_max {
                seat.reached.mark(Bound::WindowsJudged);
                continue;
            }
            // Each figure only where its window holds the payment and could matter.
            let in_window = if after_us <= window_us { count } else { 0 };
            let crowded = window_us < PACE_WINDOW_US || count >= found.pace_threshold;
            let pace = if after_us <= PACE_WINDOW_US && crowded {
                timeline.count(end_us, PACE_WINDOW_US)
            } else {
                0
            };
            let equal =
                if in_window >= MACHINE_MIN_COUNT { equal_payments(timeline, end_us, window_us) } else { 0 };
            let machine = equal >= MACHINE_MIN_EQUAL && equal * 100 >= count * MACHINE_MIN_EQUAL_PERCENT;
            found.equal = if machine { found.equal.max(equal) } else { found.equal };
            found.pace = found.pace.max(pace);
            for (tier, holds) in [
                (MACHINE, machine),
                (PACE, pace >= found.pace_threshold),
                (rate, in_window >= found.threshold),
            ] {
                if let Some(most) = most.get_mut(tier).filter(|most| holds && count > **most) {
                    *most = count;
                }
            }
        }
        for (tier, &count) in most.iter().enumerate().filter(|&(_, &count)| count > 0) {
            tiers.push(Held { tier, measure: Amount::units(i128::try_from(count).unwrap_or(i128::MAX)) });
        }
        found
    }

    fn explain(
        params: &Params,
        payment: &Payment<'_>,
        found: &Found,
        held: Held,
        out: &mut Explain<'_>,
    ) -> Reason {
        let seconds = params.window.0 / SECOND_US;
        match held.tier {
            MACHINE => {
                out.fact("measure", count_of(held));
                out.count("equal", found.equal);
                out.count("threshold", MACHINE_MIN_COUNT);
            }
            PACE => {
                out.count("measure", found.pace);
                out.count("threshold", found.pace_threshold);
                out.fact("count", count_of(held));
            }
            _ => {
                out.fact("measure", count_of(held));
                out.count("threshold", found.threshold);
            }
        }
        out.count("baseline", found.learned);
        out.fact("window_seconds", Fact::Count(seconds));
        let count = held.measure;
        match held.tier {
            MACHINE => out.reason(format_args!(
                "The agent made {count} payments within {seconds} seconds, and {} of them were for the same amount at the same merchant.",
                found.equal
            )),
            PACE => out.reason(format_args!(
                "The agent made {} payments within {} seconds.",
                found.pace,
                PACE_WINDOW_US / SECOND_US
            )),
            RATE => out.reason(format_args!(
                "The agent made {count} payments within {seconds} seconds; fewer than {} are usual for it.",
                found.threshold
            )),
            _ => out.reason(format_args!(
                "The agent made {count} payments within {seconds} seconds, inside a mandate that limits {}.",
                if payment.mandate.is_some_and(|terms| terms.max_amount().is_some()) { "what it can spend" } else { "where it can pay" }
            )),
        }
    }

    fn settle(_: &Params, payment: &Payment<'_>, seat: &mut Seat<'_, Self>, outcome: &Outcome<'_>) {
        let signals = &outcome.verdict.signals;
        let burst = signals.iter().find(|signal| signal.detector == Self::NAME);
        let running = seat.agent.bursts.as_ref().is_some_and(|bursts| bursts.run.is_some());
        if payment.late || (!running && burst.is_none()) {
            return;
        }
        let harmless =
            signals.iter().all(|signal| signal.detector == Self::NAME && signal.tier == "rate_bounded");
        let clean = harmless && payment.bounded();
        let bursts = seat.agent.bursts.get_or_insert_default();
        let run = bursts.run.get_or_insert(Run { last_us: payment.time_us, peak: 0, clean: true });
        run.clean &= clean;
        if let Some(burst) = burst {
            let count = burst.measure.0 / Amount::units(1).0;
            run.last_us = run.last_us.max(payment.time_us);
            run.peak = run.peak.max(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    #[inline]
    fn touch(state: &State) -> i64 {
        state.bursts.as_ref().map_or(0, |bursts| bursts.start_us ^ i64::from(bursts.learned))
    }

    fn agent_row(_: &Params, state: &State, agent_id: &str, user_id: &str) -> Option<Row> {
        state.row(agent_id, user_id)
    }

    fn check(params: &Params) -> Option<(&'static str, String)> {
        if params.min_count == 0 {
            return Some(("min_count", "must be at least 1".to_owned()));
        }
        if params.max_threshold < params.min_count {
            return Some(("max_threshold", "must be at least `min_count`".to_owned()));
        }
        None
    }

    fn sql_parameters(params: &Params) -> Vec<(&'static str, Value)> {
        vec![
            ("burst_window_us", Value::Int(params.window.0)),
            ("burst_min_count", Value::Int(i64::from(params.min_count))),
        ]
    }
}

/// The measure of a tier as the count it is.
fn count_of(held: Held) -> Fact {
    Fact::Count(i64::try_from(held.measure.0 / Amount::units(1).0).unwrap_or(i64::MAX))
}

/// One more than the payments that the mandate's authorized rate makes in `window_us`; 0 without one.
fn authorized(payment: &Payment<'_>, window_us: i64) -> usize {
    let rate = payment.usable.and_then(Terms::authorized_tps);
    rate.map_or(0, |tps| {
        let payments = tps.scaled(i128::from(window_us)).0 / Amount::units(i128::from(SECOND_US)).0;
        usize::try_from(payments).unwrap_or(usize::MAX).saturating_add(1)
    })
}

/// The usual case: nothing is later than the payment, so that one window alone holds it, and that has too
/// few payments for the view and for every tier.
fn is_quiet(params: &Params, timeline: &AgentTimeline, time_us: i64) -> bool {
    let few = MACHINE_MIN_COUNT.min(PACE_MIN_COUNT).min(params.min_count as usize);
    let window_us = params.window.0.max(PACE_WINDOW_US);
    timeline.is_newest(time_us) && timeline.count(time_us, window_us) < few
}

/// The size of the largest group of payments equal in amount and merchant in a window, if it is more
/// than half of it; else some smaller number.
fn equal_payments(timeline: &AgentTimeline, end_us: i64, window_us: i64) -> usize {
    let window = timeline.window(end_us, window_us);
    // A group of four fifths is a majority, so a majority vote finds it in one pass.
    let (candidate, _) =
        window.clone().fold((0, 0_usize), |(candidate, lead), payment: &AgentPayment| {
            match (lead, payment.equal_key == candidate) {
                (0, _) => (payment.equal_key, 1),
                (_, true) => (candidate, lead + 1),
                (_, false) => (candidate, lead - 1),
            }
        });
    window.filter(|payment| payment.equal_key == candidate).count()
}
