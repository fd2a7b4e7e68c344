use proptest::prelude::*;

use super::*;
use crate::testing::{LATENESS_US, Rig, pay, secs};

/// Times from 0 on with these gaps.
fn times(gaps_us: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut times_us = vec![0];
    for gap_us in gaps_us {
        times_us.push(times_us.last().unwrap() + gap_us);
    }
    times_us
}

fn after(times_us: &[i64]) -> (String, Rig<Cadence>) {
    let mut rig = Rig::<Cadence>::new();
    let last = rig.last(times_us.iter().map(|&time_us| pay(time_us)));
    (last, rig)
}

/// Whether payments with these gaps give a signal at the last of them, and a row of the view.
fn check(gaps_us: impl IntoIterator<Item = i64>, signal: bool, view: bool) {
    let times_us = times(gaps_us);
    let (last, rig) = after(&times_us);
    let expected = if signal { "regular 1" } else { "" };
    assert_eq!(last, expected, "signal at {times_us:?}");
    assert_eq!(rig.agent("a").is_regular(&rig.params), view, "view of {times_us:?}");
}

/// `count` gaps that go up and down by `by_us` around `mean_us`.
fn swinging(mean_us: i64, by_us: i64, count: i64) -> impl Iterator<Item = i64> {
    (0..count).map(move |at| if at % 2 == 0 { mean_us + by_us } else { mean_us - by_us })
}

#[test]
fn ten_gaps_are_enough() {
    check(swinging(secs(10), 0, 9), false, false);
    check(swinging(secs(10), 0, 10), true, true);
    check(swinging(secs(10), 0, 200), true, true);
}

#[test]
fn the_mean_is_below_thirty_seconds() {
    check(swinging(secs(30), 0, 10), false, false);
    check(swinging(secs(30), 0, 9).chain([secs(30) - 1]), true, true);
    check(swinging(1, 0, 10), true, true);
}

#[test]
fn the_sample_deviation_is_below_a_second() {
    // Ten gaps that swing by d have the sample deviation d·√(10/9), which is 1 s at 948683.298 us.
    check(swinging(secs(20), 948_683, 10), true, true);
    check(swinging(secs(20), 948_684, 10), false, false);
}

#[test]
fn deviation_over_mean_is_at_most_15_percent_for_the_signal_alone() {
    // 0.15 s of 1 s at a swing of 142302.49 us.
    check(swinging(secs(1), 142_302, 10), true, true);
    check(swinging(secs(1), 142_303, 10), false, true);
    // Exactly at it: two gaps of mean 100 and sample variance 225.
    let gaps = Gaps { count: 2, sum: 200, squares: 20_000 + 15 * 15 };
    assert!(gaps.is_steady(), "a deviation of 15 on a mean of 100 is steady");
    assert!(!Gaps { squares: gaps.squares + 1, ..gaps }.is_steady());
}

#[test]
fn fast_random_arrivals_do_not_pass_for_regular() {
    // Exponential gaps around 400 ms: the view sees a small deviation, the signal a large ratio.
    let mut seed = 7_u64;
    let gaps: Vec<i64> = (0..300)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let uniform = ((seed >> 33) + 1) as f64 / (1_u64 << 31) as f64;
            (-libm::log(uniform) * 400_000.0) as i64 + 1
        })
        .collect();
    let mut rig = Rig::<Cadence>::new();
    for time_us in times(gaps) {
        assert_eq!(rig.pay(&pay(time_us)), "");
    }
    assert!(rig.agent("a").is_regular(&rig.params));
}

#[test]
fn any_longer_run_of_the_latest_up_to_twenty_gaps_counts() {
    // One gap of 23.2 s among 20 s: a deviation of 1.01 s over ten gaps, of 0.72 s over twenty.
    let one_off =
        |before: i64| swinging(secs(20), 0, before).chain([secs(20) + 3_200_000]).chain([secs(20); 9]);
    check(one_off(0), false, false);
    check(one_off(10), true, true);
    // Off by more, and every run of at most twenty that holds it is uneven; the view forgets nothing.
    let far_off =
        |after: i64| swinging(secs(20), 0, 20).chain([secs(29)]).chain(swinging(secs(20), 0, after));
    check(far_off(0), false, false);
    check(far_off(9), false, false);
    check(far_off(10), true, false);
}

#[test]
fn only_the_latest_twenty_gaps_matter() {
    let wild_then = |steady: i64| (0..40).map(|at| secs(1 + at * 7 % 60)).chain(swinging(secs(5), 0, steady));
    check(wild_then(9), false, false);
    check(wild_then(10), true, false);
}

#[test]
fn equal_times_are_one_point_of_the_signal_and_a_gap_of_zero_in_the_view() {
    let doubled = |count: i64| (0..count).flat_map(|_| [0, secs(10)]);
    // A payment at each point counts double: ten gaps of 10 s between eleven points.
    check(doubled(10), true, false);
    check(doubled(9), false, false);
    check(std::iter::repeat_n(0, 50), false, true);
}

#[test]
fn out_of_order_the_latest_payment_is_judged() {
    let all = times(swinging(secs(10), 0, 11));
    let mut rig = Rig::<Cadence>::new();
    rig.last(all.iter().filter(|&&time_us| time_us != secs(50)).map(|&time_us| pay(time_us)));
    assert_eq!(rig.pay(&pay(secs(50))), "regular 1");
    assert!(rig.agent("a").is_regular(&rig.params));
}

#[test]
fn late_payments_are_left_out() {
    let (last, mut rig) = after(&times(swinging(secs(10), 0, 60)));
    assert_eq!(last, "regular 1");
    let before = rig.agent("a").clone();
    assert_eq!(rig.pay(&pay(secs(600) - LATENESS_US - 1)), "");
    assert_eq!(*rig.agent("a"), before);
    rig.pay(&pay(secs(600) - LATENESS_US));
    assert_ne!(*rig.agent("a"), before);
}

#[test]
fn gaps_of_months_are_exact() {
    let month = secs(30 * 86_400);
    let (_, rig) = after(&times([month; 240]));
    let gaps = rig.agent("a").gaps();
    assert_eq!(gaps.mean_seconds(), 2_592_000.0);
    assert_eq!(gaps.stddev_seconds(), 0.0);
    assert!(!rig.agent("a").is_regular(&rig.params));
}

#[test]
fn the_row_prints_mean_and_deviation_in_seconds() {
    let (_, rig) = after(&times(swinging(secs(20), 300_000, 10)));
    let expected = [20.0, 0.3 * (10.0_f64 / 9.0).sqrt()];
    let row = rig.agent("a").row(&rig.params, "a", "u").unwrap();
    for (value, expected) in row.iter().skip(2).zip(expected) {
        assert!(matches!(value, Value::Float(value) if (value - expected).abs() < 1e-12), "{value:?}");
    }
    assert_eq!(row.last(), Some(&Value::Int(10)));
}

#[test]
fn parameters_are_checked() {
    let check = |params: Params| Cadence::check(&params).map(|(key, _)| key);
    assert_eq!(check(Params::default()), None);
    assert_eq!(check(Params { min_gaps: 1, ..Params::default() }), Some("min_gaps"));
    assert_eq!(
        check(Params { max_stddev_seconds: f64::NAN, ..Params::default() }),
        Some("max_stddev_seconds")
    );
    assert_eq!(check(Params { max_mean_seconds: -1.0, ..Params::default() }), Some("max_mean_seconds"));
}

proptest! {
    #[test]
    fn any_order_within_the_bound_gives_the_same_sums(
        seconds in prop::collection::vec(0..300_i64, 1..60),
        seed in any::<u64>(),
    ) {
        let state = |seconds: &[i64]| {
            let times_us: Vec<i64> = seconds.iter().map(|&at| secs(at)).collect();
            after(&times_us).1.agent("a").clone()
        };
        let mut sorted = seconds.clone();
        sorted.sort_unstable();
        let mut shuffled = seconds;
        shuffled.sort_by_key(|&at| crate::hash::pair_hash(seed, at.unsigned_abs()));
        prop_assert_eq!(state(&sorted), state(&shuffled));
    }

    #[test]
    fn a_plain_search_over_all_times_finds_the_same_run(
        base_ms in 500..40_000_i64,
        jitters_ms in prop::collection::vec((0..3_000_i64, 0..30_000_i64, 0..20_u8), 1..60),
        jitter_percent in 0..100_i64,
    ) {
        // Even or random gaps with a pause now and then, and arrivals up to half a minute out of order.
        let mut time_us = 0;
        let mut arrivals: Vec<(i64, i64)> = Vec::new();
        for (jitter_ms, delay_ms, pause) in jitters_ms {
            let gap_ms = base_ms + jitter_ms * jitter_percent / 100 + if pause == 0 { 610_000 } else { 0 };
            time_us += gap_ms * 1000;
            arrivals.push((time_us + if pause < 4 { delay_ms * 1000 } else { 0 }, time_us));
        }
        arrivals.sort_unstable();
        let mut rig = Rig::<Cadence>::new();
        let mut seen_us: Vec<i64> = Vec::new();
        for (_, time_us) in arrivals {
            rig.pay(&pay(time_us));
            seen_us.push(time_us);
            let found = rig.agent("a").regular_run(&rig.params).map(|run| (run.count, run.sum, run.squares));
            prop_assert_eq!(found, plain_search(&mut seen_us, &rig.params));
        }
    }
}

/// The longest of the latest runs, each summed and judged by itself.
fn plain_search(times_us: &mut [i64], params: &Params) -> Option<(u64, u64, u128)> {
    times_us.sort_unstable();
    let gaps_us: Vec<u64> = times_us.windows(2).map(gap_us).filter(|&gap| gap > 0).rev().collect();
    let runs = (10..=SIGNAL_GAPS_MAX).rev().filter_map(|count| gaps_us.get(..count));
    let sums = runs.map(|run| Gaps {
        count: run.len() as u64,
        sum: run.iter().sum(),
        squares: run.iter().copied().map(square).sum(),
    });
    let short = |run: &Gaps| run.sum < params.mean_us() * run.count;
    let mut regular =
        sums.filter(short).filter(|run| run.is_even_wide(params.limits().stddev_us) && run.is_steady());
    regular.next().map(|run| (run.count, run.sum, run.squares))
}
