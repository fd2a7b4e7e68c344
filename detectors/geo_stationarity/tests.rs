use proptest::prelude::*;
use weir_events::time::DAY_US;

use super::*;
use crate::testing::{LATENESS_US, Pay, Rig, location, pay, secs};

/// One degree along a meridian, or along the equator, in metres.
const DEGREE_M: f64 = 111_195.08;
/// When the watermark is a microsecond more than an hour past time 0.
const LEARNED_US: i64 = LEARNING_DELAY_US + LATENESS_US + 1;

fn rig() -> Rig<GeoStationarity> {
    Rig::new()
}

fn located(rig: &Rig<GeoStationarity>) -> &Located {
    rig.agent("a").located.as_deref().unwrap()
}

/// A rig whose agent has its home at 0, 0.
fn at_home() -> Rig<GeoStationarity> {
    let mut rig = rig();
    rig.last((0..5).map(|second| pay(secs(second) - DAY_US).from(0.0, 0.0)));
    rig
}

/// A payment `km` north of 0, 0.
fn north(time_us: i64, km: f64) -> Pay {
    pay(time_us).from(km * 1000.0 / DEGREE_M, 0.0)
}

#[test]
fn the_fifth_located_payment_fixes_the_home_and_is_judged() {
    let check = |before: usize, expected: &str| {
        let mut rig = rig();
        rig.last((0..before).map(|_| pay(0).from(0.0, 0.0)));
        assert_eq!(rig.pay(&north(1, 1000.0)), expected, "{before} before");
    };
    check(0, "");
    check(3, "");
    check(4, "moved 1");
    check(5, "moved 1");
}

#[test]
fn payments_without_the_agents_own_position_are_passed_over() {
    let mut rig = rig();
    rig.last((0..9).map(|_| pay(0)));
    rig.last((0..9).map(|_| north(0, 900.0).source(LocationSource::Principal)));
    rig.last((0..9).map(|_| north(0, 900.0).source(LocationSource::Delivery)));
    assert_eq!(located(&rig).home, None);
    rig.last((0..5).map(|_| pay(0).from(0.0, 0.0).source(LocationSource::Agent)));
    assert_eq!(located(&rig).home, Some(location(0.0, 0.0)));
    assert_eq!(rig.pay(&north(1, 900.0).source(LocationSource::Principal)), "");
    assert_eq!(rig.pay(&north(1, 900.0).source(LocationSource::Delivery)), "");
    assert_eq!(rig.pay(&north(1, 900.0).source(LocationSource::Agent)), "moved 1");
    assert_eq!(rig.pay(&north(1, 900.0)), "moved 1");
}

#[test]
fn farther_than_250_kilometres_is_moved() {
    assert_eq!(at_home().pay(&north(0, 249.999)), "");
    assert_eq!(at_home().pay(&north(0, 250.001)), "moved 1");
    let edge = |metres: f64| distance_m(location(0.0, 0.0), location(metres / DEGREE_M, 0.0));
    assert_eq!((edge(250_000.0), edge(250_001.0)), (250_000, 250_001));
    assert_eq!(at_home().pay(&north(0, 250.0)), "", "at the radius");
}

#[test]
fn the_home_is_the_median_of_latitudes_and_of_longitudes_around_the_circle() {
    let check = |positions: [(f64, f64); 5], home: (f64, f64)| {
        let mut rig = rig();
        rig.last(positions.map(|(lat, lng)| pay(0).from(lat, lng)));
        assert_eq!(located(&rig).home, Some(location(home.0, home.1)), "{positions:?}");
    };
    check([(1.0, 10.0), (2.0, 11.0), (3.0, 12.0), (4.0, 13.0), (50.0, 140.0)], (3.0, 12.0));
    check([(0.0, 179.0), (0.0, -179.0), (0.0, 180.0), (0.0, -178.0), (0.0, 178.0)], (0.0, 180.0));
    check([(5.0, -179.9), (5.0, 179.9), (5.0, -179.8), (5.0, 179.8), (5.0, -179.7)], (5.0, -179.9));
    // Two strange positions of five do not move it, three do: a home poisoned from the start.
    check([(9.0, 9.0), (0.0, 0.0), (9.0, 9.0), (0.0, 0.0), (0.0, 0.0)], (0.0, 0.0));
    check([(9.0, 9.0), (0.0, 0.0), (9.0, 9.0), (9.0, 9.0), (0.0, 0.0)], (9.0, 9.0));
}

#[test]
fn the_home_stays() {
    let mut rig = at_home();
    for day in 0..300 {
        assert_eq!(rig.pay(&north(day * DAY_US, 1000.0)), "moved 1", "day {day}");
    }
    assert_eq!(located(&rig).home, Some(location(0.0, 0.0)));
}

#[test]
fn distance_crosses_the_antimeridian_and_the_poles() {
    let check = |home: (f64, f64), there: (f64, f64), expected: &str| {
        let mut rig = rig();
        rig.last((0..5).map(|_| pay(0).from(home.0, home.1)));
        assert_eq!(rig.pay(&pay(1).from(there.0, there.1)), expected, "{home:?} and {there:?}");
    };
    check((0.0, 179.5), (0.0, -179.5), "");
    check((0.0, 178.0), (0.0, -179.0), "moved 1");
    check((89.5, 0.0), (89.5, 180.0), "");
    check((-89.5, 20.0), (-89.5, -160.0), "");
    check((88.0, 0.0), (88.0, 180.0), "moved 1");
    check((90.0, 0.0), (90.0, 123.0), "");
    check((60.0, 0.0), (60.0, 4.0), ""); // half as wide as at the equator
    check((0.0, 0.0), (0.0, 4.0), "moved 1");
}

#[test]
fn a_configured_home_is_judged_from_the_first_payment_on() {
    let mut rig = rig();
    rig.params.homes.insert("u/a".to_owned(), [50.0, 8.0]);
    assert_eq!(rig.pay(&pay(0).from(0.0, 0.0)), "moved 1");
    assert_eq!(rig.pay(&pay(1).from(50.1, 8.1)), "");
    assert_eq!(rig.pay(&pay(2).from(0.0, 0.0).by("b")), "", "another agent's home");
}

#[test]
fn the_radius_grows_to_two_and_a_half_times_the_usual_distance() {
    let check = |distances_km: [f64; 5], radius_km: f64| {
        let mut rig = at_home();
        rig.last(distances_km.into_iter().zip(0..).map(|(km, second)| north(secs(second), km)));
        assert_eq!(rig.pay(&north(DAY_US, radius_km - 0.1)), "", "{distances_km:?}");
        assert_eq!(rig.pay(&north(DAY_US, radius_km + 0.1)), "moved 1", "{distances_km:?}");
    };
    // With the fifth payment of the home at distance 0, six are learned, and the fifth of them counts.
    check([10.0, 10.0, 10.0, 10.0, 10.0], 250.0);
    check([100.0; 5], 250.0);
    check([120.0; 5], 300.0);
    check([10.0, 10.0, 10.0, 120.0, 120.0], 300.0);
    check([10.0, 10.0, 10.0, 10.0, 120.0], 250.0);
    check([160.0; 5], 400.0);
    check([200.0; 5], 400.0);
}

#[test]
fn a_distance_is_learned_more_than_an_hour_behind_the_watermark() {
    let after = |time_us: i64| {
        let mut rig = at_home();
        rig.last((0..5).map(|_| north(0, 150.0)));
        rig.pay(&north(time_us, 300.0))
    };
    assert_eq!(after(LEARNED_US - 1), "moved 1");
    assert_eq!(after(LEARNED_US), "");
}

#[test]
fn a_year_of_slow_drift_stops_at_the_limit() {
    let mut rig = at_home();
    let (mut km, mut farthest_km): (f64, f64) = (0.0, 0.0);
    for day in 0..365 {
        km += 2.5;
        if rig.pay(&north(day * DAY_US, km)).is_empty() {
            farthest_km = farthest_km.max(km);
        }
    }
    assert!((399.0..=400.0).contains(&farthest_km), "{farthest_km} km");
    assert_eq!(rig.pay(&north(400 * DAY_US, 401.0)), "moved 1");
}

#[test]
fn what_lies_beyond_the_radius_teaches_nothing() {
    let mut rig = at_home();
    rig.last((0..60).map(|day| north(day * DAY_US, 260.0)));
    assert_eq!(rig.pay(&north(90 * DAY_US, 260.0)), "moved 1");
}

#[test]
fn only_the_latest_distances_count_and_few_wait() {
    let mut rig = at_home();
    rig.last((0..LEARNED_MAX as i64).map(|hour| north(hour * secs(7200), 150.0)));
    assert_eq!(rig.pay(&north(30 * DAY_US, 370.0)), "");
    rig.last((0..2 * LEARNED_MAX as i64).map(|hour| north(31 * DAY_US + hour * secs(7200), 1.0)));
    assert_eq!(rig.pay(&north(60 * DAY_US, 251.0)), "moved 1");
    assert_eq!(located(&rig).learned.latest_m.len(), LEARNED_MAX);
    rig.last((0..100).map(|second| north(61 * DAY_US + secs(second), 1.0)));
    assert_eq!(located(&rig).learned.waiting.len(), WAITING_MAX);
}

#[test]
fn late_payments_are_taken_in() {
    let mut rig = rig();
    rig.pay(&pay(DAY_US / 2));
    rig.last((0..5).map(|_| pay(0).from(0.0, 0.0)));
    assert_eq!(rig.pay(&north(1, 1000.0)), "moved 1");
}

#[test]
fn the_view_takes_five_located_payments_and_a_range_above_one_degree() {
    let check = |positions: &[(f64, f64)], expected: bool| {
        let mut rig = rig();
        rig.last(positions.iter().map(|&(lat, lng)| pay(0).from(lat, lng).source(LocationSource::Principal)));
        assert_eq!(rig.agent("a").has_moved(&rig.params), expected, "{positions:?}");
    };
    let still = [(0.0, 0.0); 4];
    let and = |lat: f64, lng: f64| [still.as_slice(), &[(lat, lng)]].concat();
    check(&and(1.0, 0.0), false);
    check(&and(1.000_000_1, 0.0), true);
    check(&and(0.0, -1.000_000_1), true);
    check(&and(1.0, 1.0), false);
    check(&and(5.0, 0.0)[1..], false);
    // The plain range: the antimeridian is not special to the view.
    check(&[(0.0, 179.9), (0.0, -179.9), (0.0, 179.9), (0.0, 179.9), (0.0, 179.9)], true);
}

#[test]
fn the_row_prints_deviations_and_ranges_in_degrees() {
    let mut rig = rig();
    rig.last([1.0, 2.0, 3.0, 4.0, 5.0].map(|lat| pay(0).from(lat, -lat * 10.0)));
    let row = rig.agent("a").row(&rig.params, "a", "u").unwrap();
    let deviation = 2.5_f64.sqrt();
    for (value, expected) in row.iter().skip(3).zip([deviation, deviation * 10.0, 4.0, 40.0]) {
        assert!(matches!(value, Value::Float(value) if (value - expected).abs() < 1e-12), "{value:?}");
    }
    assert_eq!(row.get(2), Some(&Value::Int(5)));
}

#[test]
fn parameters_are_checked() {
    let check = |params: Params| GeoStationarity::check(&params).map(|(key, _)| key);
    let home =
        |lat: f64, lng: f64| Params { homes: [("u/a".to_owned(), [lat, lng])].into(), ..Params::default() };
    assert_eq!(check(home(-90.0, 180.0)), None);
    assert_eq!(check(home(90.1, 0.0)), Some("homes"));
    assert_eq!(check(home(0.0, f64::NAN)), Some("homes"));
    assert_eq!(check(Params { min_count: 1, ..Params::default() }), Some("min_count"));
    assert_eq!(check(Params { radius_km: -1.0, ..Params::default() }), Some("radius_km"));
    assert_eq!(check(Params { max_range_degrees: 361.0, ..Params::default() }), Some("max_range_degrees"));
}

proptest! {
    #[test]
    fn any_order_gives_the_same_sums(
        positions in prop::collection::vec((-900_000_000..=900_000_000_i32, -1_800_000_000..=1_800_000_000_i32), 1..30),
        seed in any::<u64>(),
    ) {
        let sums = |positions: &[(i32, i32)]| {
            let mut rig = rig();
            rig.last(positions.iter().map(|&(lat, lng)| pay(0).from(f64::from(lat) / 1e7, f64::from(lng) / 1e7)));
            let state = located(&rig);
            (state.count, state.lat, state.lng)
        };
        let mut shuffled = positions.clone();
        shuffled.sort_by_key(|&(lat, _)| crate::hash::pair_hash(seed, u64::from(lat.unsigned_abs())));
        prop_assert_eq!(sums(&positions), sums(&shuffled));
    }
}
