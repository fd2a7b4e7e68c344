//! Geo-stationarity: an agent does not travel, so one that moves is suspect.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_events::decision::Fact;
use weir_events::time::HOUR_US;
use weir_events::view::{Column, Kind, Row, Value, View};
use weir_events::{Action, Amount, Location, LocationSource};

use crate::{Detector, Explain, Held, Nothing, Payment, Points, Reason, Seat, Tier, Tiers, nearest};

mod sphere;
#[cfg(test)]
mod tests;

use sphere::{circular_median, distance_m};

/// View `geo_stationarity`: agents whose located payments spread over more than a degree.
pub const VIEW: View = View {
    name: "geo_stationarity",
    columns: &[
        Column { name: "agent_id", kind: Kind::Text },
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "tx_count", kind: Kind::Int },
        Column { name: "lat_stddev", kind: Kind::Float },
        Column { name: "lng_stddev", kind: Kind::Float },
        Column { name: "lat_range", kind: Kind::Float },
        Column { name: "lng_range", kind: Kind::Float },
    ],
    sort: &[0, 1],
    sql: include_str!("view.sql"),
};

/// Located payments that fix an agent's home.
pub const HOME_PAYMENTS: usize = 5;
/// The greatest radius that an agent can learn.
pub const RADIUS_M_MAX: u32 = 400_000;
/// How far behind the watermark a payment must lie before its distance teaches.
pub const LEARNING_DELAY_US: i64 = HOUR_US;
/// Learned distances kept; the latest count.
pub const LEARNED_MAX: usize = 64;
/// Distances waiting to be learned; further ones are not learned.
pub const WAITING_MAX: usize = 32;

const E7: f64 = 1e7;

/// Section `[detectors.geo_stationarity]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Located payments from which the view looks at an agent.
    pub min_count: u64,
    /// Range of latitude or longitude above which the view reports it.
    pub max_range_degrees: f64,
    /// Least distance from home that counts as moved.
    pub radius_km: f64,
    /// Homes known beforehand: `{ "user/agent" = [lat, lng] }`.
    pub homes: BTreeMap<String, [f64; 2]>,
}

impl Default for Params {
    fn default() -> Self {
        Self { min_count: 5, max_range_degrees: 1.0, radius_km: 250.0, homes: BTreeMap::new() }
    }
}

impl Params {
    #[allow(clippy::cast_possible_truncation, reason = "checked to be in range")]
    fn max_range_e7(&self) -> i64 {
        (self.max_range_degrees * E7).round() as i64
    }

    fn radius_m(&self) -> u32 {
        u32::try_from(nearest(self.radius_km * 1000.0)).unwrap_or(u32::MAX)
    }

    #[allow(clippy::cast_possible_truncation, reason = "checked to be in range")]
    fn home_of(&self, payment: &Payment<'_>) -> Option<Location> {
        if self.homes.is_empty() {
            return None;
        }
        let [lat, lng] = self.homes.get(&format!("{}/{}", payment.tx.user_id, payment.tx.agent_id))?;
        Some(Location { lat_e7: (lat * E7).round() as i32, lng_e7: (lng * E7).round() as i32 })
    }
}

/// Sums over one coordinate, exact.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Coordinate {
    sum: i64,
    squares: u128,
    least: i32,
    greatest: i32,
}

impl Coordinate {
    fn add(&mut self, value: i32, first: bool) {
        self.sum += i64::from(value);
        self.squares += u128::from(u64::from(value.unsigned_abs()).pow(2));
        (self.least, self.greatest) =
            if first { (value, value) } else { (self.least.min(value), self.greatest.max(value)) };
    }

    fn range_e7(&self) -> i64 {
        i64::from(self.greatest) - i64::from(self.least)
    }

    #[allow(clippy::cast_precision_loss, reason = "the last step of a printed figure")]
    fn stddev_degrees(&self, count: u64) -> f64 {
        let sum = u128::from(self.sum.unsigned_abs());
        let spread = u128::from(count).saturating_mul(self.squares).saturating_sub(sum * sum);
        libm::sqrt(spread as f64 / (count as f64 * (count as f64 - 1.0))) / E7
    }

    #[allow(clippy::cast_precision_loss, reason = "the last step of a printed figure")]
    fn range_degrees(&self) -> f64 {
        self.range_e7() as f64 / E7
    }
}

/// State per agent; many never say where they pay.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    located: Option<Box<Located>>,
}

/// What an agent's located payments have left.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Located {
    /// The view, over every located payment.
    count: u64,
    lat: Coordinate,
    lng: Coordinate,
    /// The first payments with the agent's own position, until they fix the home.
    first: SmallVec<[Location; 2]>,
    home: Option<Location>,
    learned: Learned,
}

/// Distances from home in metres, learned only from far enough behind the watermark.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Learned {
    latest_m: SmallVec<[u32; 4]>,
    waiting: SmallVec<[(i64, u32); 1]>,
}

impl Learned {
    fn learn(&mut self, watermark_us: i64) {
        let before_us = watermark_us - LEARNING_DELAY_US;
        let (latest_m, waiting) = (&mut self.latest_m, &mut self.waiting);
        if waiting.iter().all(|&(time_us, _)| time_us >= before_us) {
            return;
        }
        waiting.retain(|&mut (time_us, distance_m)| {
            let ripe = time_us < before_us;
            if ripe {
                if latest_m.len() >= LEARNED_MAX {
                    latest_m.remove(0);
                }
                latest_m.push(distance_m);
            }
            !ripe
        });
    }

    fn note(&mut self, time_us: i64, distance_m: u32) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push((time_us, distance_m));
        }
    }

    /// 2.5 times the 80th percentile (nearest rank), at most [`RADIUS_M_MAX`]; 0 before anything is
    /// learned.
    fn radius_m(&self) -> u32 {
        let mut sorted = self.latest_m.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 4).div_ceil(5);
        let percentile = rank.checked_sub(1).and_then(|at| sorted.get(at)).copied().unwrap_or_default();
        (percentile.saturating_mul(5) / 2).min(RADIUS_M_MAX)
    }
}

impl State {
    /// Whether the view has a row for the agent.
    #[must_use]
    pub fn has_moved(&self, params: &Params) -> bool {
        self.located.as_ref().is_some_and(|located| located.has_moved(params))
    }

    /// Row of the view, if the agent has one.
    #[must_use]
    pub fn row(&self, params: &Params, agent_id: &str, user_id: &str) -> Option<Row> {
        let Located { count, lat, lng, .. } =
            self.located.as_deref().filter(|located| located.has_moved(params))?;
        Some(vec![
            Value::Text(agent_id.to_owned()),
            Value::Text(user_id.to_owned()),
            Value::Int(i64::try_from(*count).unwrap_or(i64::MAX)),
            Value::Float(lat.stddev_degrees(*count)),
            Value::Float(lng.stddev_degrees(*count)),
            Value::Float(lat.range_degrees()),
            Value::Float(lng.range_degrees()),
        ])
    }
}

impl Located {
    fn has_moved(&self, params: &Params) -> bool {
        let limit = params.max_range_e7();
        self.count >= params.min_count && (self.lat.range_e7() > limit || self.lng.range_e7() > limit)
    }

    fn add(&mut self, location: Location) {
        self.lat.add(location.lat_e7, self.count == 0);
        self.lng.add(location.lng_e7, self.count == 0);
        self.count += 1;
    }

    fn note_first(&mut self, location: Location) {
        self.first.push(location);
        if self.first.len() < HOME_PAYMENTS {
            return;
        }
        let mut latitudes: SmallVec<[i32; HOME_PAYMENTS]> = self.first.iter().map(|at| at.lat_e7).collect();
        latitudes.sort_unstable();
        let longitudes: SmallVec<[i32; HOME_PAYMENTS]> = self.first.iter().map(|at| at.lng_e7).collect();
        let lat_e7 = latitudes.get(HOME_PAYMENTS / 2).copied().unwrap_or_default();
        self.home = Some(Location { lat_e7, lng_e7: circular_median(&longitudes) });
        self.first = SmallVec::new();
    }
}

/// What an observation found.
#[derive(Debug, Default)]
pub struct Found {
    distance_m: u32,
    radius_m: u32,
    learned_m: u32,
}

/// The detector.
#[derive(Debug)]
pub struct GeoStationarity;

impl Detector for GeoStationarity {
    const NAME: &'static str = "geo_stationarity";
    const TIERS: &'static [Tier] =
        &[Tier { name: "moved", floor: Some(Action::Challenge), points: Points::Weighted { cap: 50 } }];
    const TIER_NAMES: &'static [&'static str] = &["moved"];
    const WEIGHT: Option<Amount> = Some(Amount::units(50));
    const VIEWS: &'static [View] = &[VIEW];

    type Params = Params;
    type Agent = State;
    type User = Nothing;
    type Ledger = Nothing;
    type Use = Nothing;
    type Found = Found;

    #[inline(always)]
    fn observe(
        params: &Params,
        payment: &Payment<'_>,
        seat: &mut Seat<'_, Self>,
        tiers: &mut Tiers,
    ) -> Found {
        let Some(location) = payment.tx.location else { return Found::default() };
        let state = seat.agent.located.get_or_insert_default();
        state.add(location);
        if !is_own(payment) {
            return Found::default();
        }
        let configured = params.home_of(payment);
        if configured.is_none() && state.home.is_none() {
            state.note_first(location);
        }
        let Some(home) = configured.or(state.home) else { return Found::default() };
        let distance_m = if location == home { 0 } else { distance_m(home, location) };
        let radius_m = params.radius_m();
        let mut found = Found { distance_m, radius_m, learned_m: 0 };
        state.learned.learn(payment.watermark_us);
        if distance_m > radius_m {
            // Only now can it matter what the agent has learned.
            found.learned_m = state.learned.radius_m();
            found.radius_m = radius_m.max(found.learned_m);
        }
        if found.distance_m > found.radius_m {
            tiers.push(Held { tier: 0, measure: Amount::units(1) });
        } else if !payment.late {
            // A payment from farther away teaches nothing, however long ago it was; nor does a late one,
            // whose date could have been chosen to teach at once.
            state.learned.note(payment.time_us, found.distance_m);
        }
        found
    }

    fn explain(_: &Params, _: &Payment<'_>, found: &Found, _: Held, out: &mut Explain<'_>) -> Reason {
        let km = |metres: u32| f64::from(metres) / 1000.0;
        out.fact("measure", Fact::Figure(km(found.distance_m)));
        out.fact("threshold", Fact::Figure(km(found.radius_m)));
        out.fact(
            "baseline",
            if found.learned_m == 0 { Fact::Absent } else { Fact::Figure(km(found.learned_m)) },
        );
        out.reason(format_args!(
            "The agent paid from about {} kilometres away from where it always runs.",
            found.distance_m / 1000
        ))
    }

    #[inline]
    fn touch(state: &State) -> i64 {
        let Some(located) = &state.located else { return 0 };
        let waiting = located.learned.waiting.first().map_or(0, |&(time_us, _)| time_us);
        waiting ^ located.lat.sum ^ located.lng.sum ^ i64::from(located.home.is_some())
    }

    fn agent_row(params: &Params, state: &State, agent_id: &str, user_id: &str) -> Option<Row> {
        state.row(params, agent_id, user_id)
    }

    fn check(params: &Params) -> Option<(&'static str, String)> {
        if !(0.0..=360.0).contains(&params.max_range_degrees) {
            return Some(("max_range_degrees", "must lie between 0 and 360".to_owned()));
        }
        if !(0.0..=20_100.0).contains(&params.radius_km) {
            return Some(("radius_km", "must lie between 0 and 20100".to_owned()));
        }
        let wrong = params
            .homes
            .iter()
            .find(|(_, [lat, lng])| !(-90.0..=90.0).contains(lat) || !(-180.0..=180.0).contains(lng));
        if let Some((agent, _)) = wrong {
            return Some((
                "homes",
                format!("the home of `{agent}` is not a latitude and a longitude in degrees"),
            ));
        }
        (params.min_count < 2)
            .then(|| ("min_count", "must be at least 2, for a deviation needs two".to_owned()))
    }

    fn sql_parameters(params: &Params) -> Vec<(&'static str, Value)> {
        let min_count = i64::try_from(params.min_count).unwrap_or(i64::MAX);
        vec![
            ("geo_stationarity_min_count", Value::Int(min_count)),
            ("geo_stationarity_max_range_e7", Value::Int(params.max_range_e7())),
        ]
    }
}

/// Whether a payment carries the agent's own position and not its user's or the goods'.
fn is_own(payment: &Payment<'_>) -> bool {
    matches!(payment.tx.location_source, None | Some(LocationSource::Agent))
}
