//! Cadence: payments as regular as a clock.

use ethnum::U256;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_events::decision::Fact;
use weir_events::view::{Column, Kind, Row, Value, View};
use weir_events::{Action, Amount};

use crate::{Detector, Explain, Held, Nothing, Payment, Points, Reason, Seat, Tier, Tiers, nearest};

#[cfg(test)]
mod tests;

/// View `cadence`: agents whose gaps between payments are short and even over all history.
pub const VIEW: View = View {
    name: "cadence",
    columns: &[
        Column { name: "agent_id", kind: Kind::Text },
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "mean_gap", kind: Kind::Float },
        Column { name: "stddev_gap", kind: Kind::Float },
        Column { name: "sample_size", kind: Kind::Int },
    ],
    sort: &[0, 1],
    sql: include_str!("view.sql"),
};

/// The signal looks at the latest gaps, up to this many.
pub const SIGNAL_GAPS_MAX: usize = 20;
/// Greatest deviation over mean for the signal, in percent: fast random arrivals have about 100.
pub const SIGNAL_VARIATION_PERCENT_MAX: u128 = 15;

/// Two of n gaps that differ by d make n·Σg² − (Σg)² at least n·d²/2. So with two that are this many
/// times the greatest deviation apart, no run that the signal looks at is even.
const UNEVEN_DEVIATIONS: u64 = 7;
const _: () = assert!(UNEVEN_DEVIATIONS.pow(2) >= 2 * (SIGNAL_GAPS_MAX as u64 - 1));

const SECOND_US: f64 = 1e6;

/// Section `[detectors.cadence]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Gaps from which an agent is looked at.
    pub min_gaps: u64,
    /// Their sample standard deviation is below this.
    pub max_stddev_seconds: f64,
    /// Their mean is below this.
    pub max_mean_seconds: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { min_gaps: 10, max_stddev_seconds: 1.0, max_mean_seconds: 30.0 }
    }
}

impl Params {
    fn limits(&self) -> Limits {
        Limits { stddev_us: microseconds(self.max_stddev_seconds), mean_us: self.mean_us() }
    }

    fn mean_us(&self) -> u64 {
        microseconds(self.max_mean_seconds)
    }

    /// No run of gaps that the signal looks at is as long as this, for its mean would be too great.
    fn run_us(&self) -> u64 {
        self.mean_us().saturating_mul(SIGNAL_GAPS_MAX as u64)
    }
}

/// What deviation and mean are below, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Limits {
    stddev_us: u64,
    mean_us: u64,
}

fn microseconds(seconds: f64) -> u64 {
    nearest(seconds * SECOND_US)
}

fn square(gap_us: u64) -> u128 {
    u128::from(gap_us) * u128::from(gap_us)
}

/// State per agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    payments: u64,
    first_us: i64,
    last_us: i64,
    /// Sum of the squares of the gaps, in square microseconds.
    squares: u128,
    /// The latest distinct times, the latest last: at most one more than the gaps that the signal
    /// looks at, and none that lies too far back for a run of them.
    latest_us: SmallVec<[i64; 2]>,
}

/// Number, sum and sum of squares of gaps in microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Gaps {
    count: u64,
    sum: u64,
    squares: u128,
}

impl Gaps {
    /// `n·Σg² − (Σg)²`, which is n(n−1) times the sample variance.
    fn spread(&self) -> U256 {
        let sum = U256::from(self.sum);
        U256::from(self.count) * U256::from(self.squares) - sum * sum
    }

    fn is_even(&self, limits: Limits) -> bool {
        let short = u128::from(self.sum) < u128::from(limits.mean_us) * u128::from(self.count);
        let even = || self.is_even_narrow(limits.stddev_us).unwrap_or_else(|| self.is_even_wide(limits.stddev_us));
        short && even()
    }

    /// `None` where 64 bits do not suffice, which takes more gaps than the signal looks at, or limits
    /// of another order than the defaults.
    fn is_even_narrow(&self, limit_us: u64) -> Option<bool> {
        let spread = self.count.checked_mul(u64::try_from(self.squares).ok()?)?;
        let spread = spread.checked_sub(self.sum.checked_mul(self.sum)?)?;
        let pairs = self.count.checked_mul(self.count - 1)?;
        Some(spread < limit_us.checked_mul(limit_us)?.checked_mul(pairs)?)
    }

    fn is_even_wide(&self, limit_us: u64) -> bool {
        let (count, limit) = (U256::from(self.count), U256::from(limit_us));
        self.spread() < limit * limit * count * (count - 1)
    }

    fn spread_narrow(&self) -> Option<u128> {
        u128::from(self.count).checked_mul(self.squares)?.checked_sub(u128::from(self.sum).pow(2))
    }

    /// Whether deviation over mean is at most [`SIGNAL_VARIATION_PERCENT_MAX`]; for the few gaps that
    /// the signal looks at, whose sums are short.
    fn is_steady(&self) -> bool {
        let spread =
            self.spread_narrow().and_then(|spread| spread.checked_mul(u128::from(self.count) * 10_000));
        let limit = u128::from(self.sum)
            .pow(2)
            .checked_mul(SIGNAL_VARIATION_PERCENT_MAX.pow(2) * u128::from(self.count - 1));
        spread.zip(limit).is_some_and(|(spread, limit)| spread <= limit)
    }

    fn mean_seconds(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "the last step of a printed figure")]
        let (sum, count) = (self.sum as f64, self.count as f64);
        sum / count / SECOND_US
    }

    fn stddev_seconds(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "the last step of a printed figure")]
        let count = self.count as f64;
        libm::sqrt(self.spread().as_f64() / (count * (count - 1.0))) / SECOND_US
    }
}

impl State {
    fn gaps(&self) -> Gaps {
        let sum = u64::try_from(self.last_us - self.first_us).unwrap_or_default();
        Gaps { count: self.payments.saturating_sub(1), sum, squares: self.squares }
    }

    /// Whether the view has a row for the agent.
    #[must_use]
    pub fn is_regular(&self, params: &Params) -> bool {
        let gaps = self.gaps();
        gaps.count >= params.min_gaps && gaps.count >= 2 && gaps.is_even(params.limits())
    }

    /// Row of the view, if the agent has one.
    #[must_use]
    pub fn row(&self, params: &Params, agent_id: &str, user_id: &str) -> Option<Row> {
        let gaps = self.gaps();
        self.is_regular(params).then(|| {
            vec![
                Value::Text(agent_id.to_owned()),
                Value::Text(user_id.to_owned()),
                Value::Float(gaps.mean_seconds()),
                Value::Float(gaps.stddev_seconds()),
                Value::Int(i64::try_from(gaps.count).unwrap_or(i64::MAX)),
            ]
        })
    }

    /// Takes a payment in between its neighbours in time.
    fn add(&mut self, time_us: i64, before: Option<i64>, after: Option<i64>) {
        let square_of = |from: i64, to: i64| square(to.abs_diff(from));
        if let (Some(before), Some(after)) = (before, after) {
            self.squares = self.squares.saturating_sub(square_of(before, after));
        }
        self.squares += before.map_or(0, |before| square_of(before, time_us));
        self.squares += after.map_or(0, |after| square_of(time_us, after));
        (self.first_us, self.last_us) = match self.payments {
            0 => (time_us, time_us),
            _ => (self.first_us.min(time_us), self.last_us.max(time_us)),
        };
        self.payments += 1;
    }

    fn note_latest(&mut self, time_us: i64, run_us: u64) {
        let latest_us = &mut self.latest_us;
        let last_us = latest_us.last().copied();
        // Nothing up to this is in a run that ends at the latest payment or at a later one.
        let before_us = last_us.map_or(time_us, |last_us| last_us.max(time_us)).saturating_sub_unsigned(run_us);
        if last_us.is_none_or(|last_us| last_us < time_us) {
            let gone = latest_us.iter().take_while(|&&earlier_us| earlier_us <= before_us).count();
            let gone = gone.max(latest_us.len().saturating_sub(SIGNAL_GAPS_MAX));
            if gone > 0 {
                latest_us.drain(..gone);
            }
            latest_us.push(time_us);
        } else if time_us > before_us
            && let Err(at) = latest_us.binary_search(&time_us)
        {
            if latest_us.len() <= SIGNAL_GAPS_MAX {
                latest_us.insert(at, time_us);
            } else if at > 0 {
                latest_us.remove(0);
                latest_us.insert(at - 1, time_us);
            }
        }
    }

    /// The longest run of the latest gaps that is even and steady, as of the latest payment.
    fn regular_run(&self, params: &Params) -> Option<Gaps> {
        let least = params.min_gaps.min(SIGNAL_GAPS_MAX as u64);
        let &latest_us = self.latest_us.last().filter(|_| self.latest_us.len() as u64 > least)?;
        let limits = params.limits();
        // The usual case: payments too far apart, however evenly.
        let short = |(count, earlier_us): (u64, &i64)| latest_us.abs_diff(*earlier_us) < limits.mean_us * count;
        if !(least..).zip(self.latest_us.iter().rev().skip(least as usize)).any(short) {
            return None;
        }
        let uneven_us = limits.stddev_us.saturating_mul(UNEVEN_DEVIATIONS);
        let gaps_us = self.latest_us.windows(2).map(gap_us);
        let (mut run, mut shortest, mut longest) = (Gaps::default(), u64::MAX, 0);
        for gap in gaps_us.clone().rev() {
            (shortest, longest) = (shortest.min(gap), longest.max(gap));
            if longest - shortest >= uneven_us {
                break;
            }
            run = Gaps { count: run.count + 1, sum: run.sum + gap, squares: run.squares + square(gap) };
        }
        // From the longest run down, without its earliest gap each time.
        for gap in gaps_us.clone().skip(gaps_us.len() - run.count as usize) {
            if run.count < least || (run.is_even(limits) && run.is_steady()) {
                break;
            }
            run = Gaps { count: run.count - 1, sum: run.sum - gap, squares: run.squares - square(gap) };
        }
        (run.count >= least).then_some(run)
    }
}

/// The gap between two times that follow one another.
fn gap_us(times_us: &[i64]) -> u64 {
    if let &[earlier_us, later_us] = times_us { later_us.abs_diff(earlier_us) } else { 0 }
}

/// The detector.
#[derive(Debug)]
pub struct Cadence;

impl Detector for Cadence {
    const NAME: &'static str = "cadence";
    const TIERS: &'static [Tier] =
        &[Tier { name: "regular", floor: Some(Action::Challenge), points: Points::Weighted { cap: 40 } }];
    const TIER_NAMES: &'static [&'static str] = &["regular"];
    const WEIGHT: Option<Amount> = Some(Amount::units(40));
    const VIEWS: &'static [View] = &[VIEW];

    type Params = Params;
    type Agent = State;
    type User = Nothing;
    type Ledger = Nothing;
    type Use = Nothing;
    type Found = Option<(f64, f64, u64)>;

    #[inline(always)]
    fn observe(
        params: &Params,
        payment: &Payment<'_>,
        seat: &mut Seat<'_, Self>,
        tiers: &mut Tiers,
    ) -> Option<(f64, f64, u64)> {
        let at = payment.at?;
        let (before, after) = (seat.payments.time_before(at), seat.payments.time_at(at + 1));
        seat.agent.add(payment.time_us, before, after);
        seat.agent.note_latest(payment.time_us, params.run_us());
        let run = seat.agent.regular_run(params)?;
        tiers.push(Held { tier: 0, measure: Amount::units(1) });
        Some((run.mean_seconds(), run.stddev_seconds(), run.count))
    }

    fn explain(
        params: &Params,
        _: &Payment<'_>,
        found: &Option<(f64, f64, u64)>,
        _: Held,
        out: &mut Explain<'_>,
    ) -> Reason {
        let (mean, stddev, gaps) = found.unwrap_or_default();
        out.fact("measure", Fact::Figure(stddev));
        out.fact("threshold", Fact::Figure(params.max_stddev_seconds));
        out.fact("mean_seconds", Fact::Figure(mean));
        out.fact("gaps", Fact::Count(i64::try_from(gaps).unwrap_or(i64::MAX)));
        out.reason(format_args!(
            "The agent's last {} payments came about {mean:.1} seconds apart, as regular as a clock.",
            gaps + 1
        ))
    }

    #[inline]
    fn touch(state: &State) -> i64 {
        state.latest_us.last().copied().unwrap_or_default() ^ state.last_us
    }

    fn agent_row(params: &Params, state: &State, agent_id: &str, user_id: &str) -> Option<Row> {
        state.row(params, agent_id, user_id)
    }

    fn check(params: &Params) -> Option<(&'static str, String)> {
        let in_range = |seconds: f64| (0.0..=1e9).contains(&seconds);
        if !in_range(params.max_stddev_seconds) {
            return Some(("max_stddev_seconds", "must lie between 0 and 1e9".to_owned()));
        }
        if !in_range(params.max_mean_seconds) {
            return Some(("max_mean_seconds", "must lie between 0 and 1e9".to_owned()));
        }
        (params.min_gaps < 2)
            .then(|| ("min_gaps", "must be at least 2, for a deviation needs two gaps".to_owned()))
    }

    fn sql_parameters(params: &Params) -> Vec<(&'static str, Value)> {
        let int = |value: u64| Value::Int(i64::try_from(value).unwrap_or(i64::MAX));
        vec![
            ("cadence_min_gaps", int(params.min_gaps)),
            ("cadence_max_stddev_us", int(params.limits().stddev_us)),
            ("cadence_max_mean_us", int(params.limits().mean_us)),
        ]
    }
}
