use proptest::prelude::*;
use weir_events::time::MINUTE_US;
use weir_events::{CapPeriod, Mandate, MandateStatus};

use super::*;
use crate::testing::{LATENESS_US, Pay, Rig, T0_US, amount, capped, mandate, pay, secs};

/// What the last of unequal payments at these microseconds gives.
fn check(times_us: impl IntoIterator<Item = i64>, expected: &str) {
    let mut rig = Rig::<Burst>::new();
    assert_eq!(rig.last((0..).zip(times_us).map(|(number, time_us)| pay(time_us).unequal(number))), expected);
}

/// `count` times from `start_us` on, `step_us` apart.
fn every(step_us: i64, start_us: i64, count: i64) -> impl Iterator<Item = i64> {
    (0..count).map(move |number| start_us + number * step_us)
}

#[test]
fn rate_counts_a_window_of_a_minute_both_ends_included() {
    check(every(secs(15), 0, 4), "");
    check(every(secs(15), 0, 5), "rate 5");
    check([0, 1, 2, 3, secs(60)], "rate 5");
    check([0, 1, 2, 3, secs(60) + 1], "");
    check([0, 0, 0, 0], "");
    check([0, 0, 0, 0, 0], "rate 5");
}

#[test]
fn pace_counts_eight_seconds_both_ends_included() {
    let nine_then = |last_us: i64| every(1, 0, 9).chain([last_us]);
    check(every(1, 0, 9), "rate 9");
    check(nine_then(secs(8)), "pace 10, rate 10");
    check(nine_then(secs(8) + 1), "rate 10");
    // Nine in any 8 seconds, for as long as one likes.
    check(every(secs(1), 0, 40), "rate 40");
}

#[test]
fn the_authorized_rate_raises_pace_and_rate() {
    // ⌊tps × 60⌋ + 1 and ⌊tps × 8⌋ + 1, of which a payment at that count is the first to count.
    for (tps, step_us, count, expected) in [
        ("0.1", secs(1), 6, ""),
        ("0.1", secs(1), 7, "rate 7"),
        ("0.11666666", secs(1), 7, "rate 7"),
        ("0.11666667", secs(1), 7, ""),
        ("0.11666667", secs(1), 8, "rate 8"),
        ("2", 1, 16, ""),
        ("2", 1, 17, "pace 17"),
        ("2", 1, 121, "pace 121, rate 121"),
        ("1.125", 1, 10, "pace 10"),
        ("1.25", 1, 10, ""),
    ] {
        let authorized = Mandate { authorized_tps: Some(amount(tps)), ..mandate("m") };
        let mut rig = Rig::<Burst>::new().with(authorized);
        let times = (0..).zip(every(step_us, 0, count));
        let last = rig.last(times.map(|(number, time_us)| pay(time_us).under("m").unequal(number)));
        assert_eq!(last, expected, "{count} payments at {tps}");
    }
}

#[test]
fn machine_takes_six_of_which_five_and_four_fifths_are_equal() {
    let check = |equal: i64, others: i64, expected: &str| {
        let mut rig = Rig::<Burst>::new();
        let others = (0..others).map(|number| pay(number).unequal(number + 1));
        let last = rig.last(others.chain((0..equal).map(|number| pay(secs(1) + number * secs(6)))));
        assert_eq!(last, expected, "{equal} equal");
    };
    check(5, 0, "rate 5");
    check(6, 0, "machine 6, rate 6");
    check(4, 2, "rate 6");
    check(5, 1, "machine 6, rate 6");
    check(5, 2, "rate 7");
    check(7, 2, "rate 9");
    check(8, 2, "machine 10, rate 10");
}

#[test]
fn equal_means_amount_currency_and_merchant() {
    let check = |other: fn(Pay) -> Pay, expected: &str| {
        let mut rig = Rig::<Burst>::new();
        let pays = (0..6).map(|number| {
            let pay = pay(number * secs(10));
            if number % 2 == 0 { other(pay) } else { pay }
        });
        assert_eq!(rig.last(pays), expected);
    };
    check(|pay| pay, "machine 6, rate 6");
    check(|pay| pay.category("toys"), "machine 6, rate 6");
    check(|pay| pay.to("Shop"), "rate 6");
    check(|pay| pay.currency("EUR"), "rate 6");
    check(|pay| pay.amount("10.00000001"), "rate 6");
}

#[test]
fn machine_does_not_ask_for_the_agents_threshold() {
    let authorized = Mandate { authorized_tps: Some(amount("10")), ..mandate("m") };
    let mut rig = Rig::<Burst>::new().with(authorized);
    assert_eq!(rig.last((0..6).map(|number| pay(number).under("m"))), "machine 6");
}

#[test]
fn a_bounded_mandate_makes_it_rate_bounded() {
    let names = || Some(vec!["shop".to_owned()]);
    let cases: [(&str, Mandate); 8] = [
        ("rate", mandate("m")),
        ("rate_bounded", capped("m", "1", CapPeriod::Day)),
        ("rate_bounded", Mandate { scope_merchant: Some("shop".to_owned()), ..mandate("m") }),
        ("rate_bounded", Mandate { allowed_merchants: names(), ..mandate("m") }),
        ("rate_bounded", Mandate { allowed_categories: names(), ..mandate("m") }),
        ("rate", Mandate { agent_id: "other".to_owned(), ..capped("m", "1", CapPeriod::Day) }),
        ("rate", Mandate { status: MandateStatus::Paused, ..capped("m", "1", CapPeriod::Day) }),
        ("rate", Mandate { valid_to: Some(Timestamp(T0_US)), ..capped("m", "1", CapPeriod::Day) }),
    ];
    for (tier, mandate) in cases {
        let mut rig = Rig::<Burst>::new().with(mandate.clone());
        let last = rig.last((0..5).map(|number| pay(secs(number)).under("m").unequal(number)));
        assert_eq!(last, format!("{tier} 5"), "{mandate:?}");
    }
}

#[test]
fn out_of_order_the_strongest_window_that_holds_it_counts() {
    let around = [0, 10, 20, 65, 70].map(secs);
    check(around.into_iter().chain([secs(5)]), "");
    check(around.into_iter().chain([secs(10)]), "rate 5");
    check(around.into_iter().chain([secs(15)]), "rate 5");
    // Pace looks only at ends within 8 seconds of the payment.
    check(every(1, 0, 9).chain([-secs(8) + 8]), "pace 10, rate 10");
    check(every(1, 0, 9).chain([-secs(8) + 7]), "rate 10");
}

#[test]
fn late_payments_neither_count_nor_signal() {
    let count_at = |edge_us: i64, expected: &str| {
        let mut rig = Rig::<Burst>::new();
        rig.pay(&pay(LATENESS_US));
        assert_eq!(rig.last((0..5).map(|number| pay(edge_us).unequal(number))), expected);
        rig.agent("a").peak()
    };
    assert_eq!(count_at(0, "rate 5"), 5);
    assert_eq!(count_at(-1, ""), 0);
    let mut skewed = Rig::<Burst>::new();
    assert_eq!(skewed.last((0..5).map(|number| pay(secs(301)).recorded(0).unequal(number))), "");
}

#[test]
fn windows_beyond_the_bound_feed_the_view_alone() {
    let mut rig = Rig::<Burst>::new();
    rig.bounds.windows_judged_max = 2;
    let later = every(secs(10), secs(10), 6);
    assert_eq!(rig.last(later.chain([secs(9)]).map(pay)), "", "only the windows that end at 9 and 10");
    assert!(rig.reached.has(Bound::WindowsJudged));
    assert_eq!(rig.agent("a").peak(), 7);
}

#[test]
fn the_row_gives_the_peak_and_where_such_counts_begin_and_end() {
    let row = |times_us: &[i64]| {
        let mut rig = Rig::<Burst>::new();
        rig.last(times_us.iter().map(|&time_us| pay(time_us)));
        rig.agent("a").row("a", "u")
    };
    assert_eq!(row(&every(secs(15), 0, 4).collect::<Vec<_>>()), None);
    let eight: Vec<i64> = every(secs(15), 0, 8).collect();
    let expected = vec![
        Value::Text("a".to_owned()),
        Value::Text("u".to_owned()),
        Value::Int(5),
        Value::Time(Timestamp(T0_US + secs(60))),
        Value::Time(Timestamp(T0_US + secs(105))),
    ];
    assert_eq!(row(&eight), Some(expected));
}

proptest! {
    #[test]
    fn any_order_within_the_bound_gives_the_same_row(
        times in prop::collection::vec((0..30_i64).prop_map(|tens| tens * secs(10)), 1..40),
        seed in any::<u64>(),
    ) {
        let row = |times: &[i64]| {
            let mut rig = Rig::<Burst>::new();
            rig.last(times.iter().map(|&time_us| pay(time_us)));
            rig.agent("a").row("a", "u")
        };
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let mut shuffled = times;
        let key = |time_us: &i64| crate::hash::pair_hash(seed, time_us.unsigned_abs());
        shuffled.sort_by_key(key);
        prop_assert_eq!(row(&sorted), row(&shuffled));
    }
}

/// A rig with a bounded mandate `m`.
fn learner() -> Rig<Burst> {
    Rig::<Burst>::new().with(capped("m", "1000000", CapPeriod::Lifetime))
}

/// `count` bounded unequal payments a second apart.
fn burst(start_us: i64, count: i64) -> impl Iterator<Item = Pay> {
    every(secs(1), start_us, count).zip(0..).map(|(time_us, number)| pay(time_us).under("m").unequal(number))
}

/// The effective threshold of agent `a` after one more payment at `time_us`.
fn threshold_after(rig: &mut Rig<Burst>, time_us: i64) -> u32 {
    rig.pay(&pay(time_us).under("m"));
    rig.agent("a").learned().max(rig.params.min_count)
}

const HOUR: i64 = 60 * MINUTE_US;
const DAY: i64 = 24 * HOUR;

#[test]
fn a_clean_burst_teaches_once_the_watermark_is_more_than_an_hour_past_it() {
    let ends_us = secs(4);
    for (after_us, threshold) in
        [(LEARNING_DELAY_US + LATENESS_US, 5), (LEARNING_DELAY_US + LATENESS_US + 1, 6), (DAY, 6)]
    {
        let mut rig = learner();
        assert_eq!(rig.last(burst(0, 5)), "rate_bounded 5");
        assert_eq!(threshold_after(&mut rig, ends_us + after_us), threshold, "{after_us} later");
    }
}

#[test]
fn it_teaches_its_peak_and_one_but_at_most_half_as_much_again() {
    for (peak, threshold) in [(4, 5), (5, 6), (6, 7), (7, 7), (40, 7)] {
        let mut rig = learner();
        rig.last(burst(0, peak));
        assert_eq!(threshold_after(&mut rig, 2 * HOUR), threshold, "a peak of {peak}");
    }
}

#[test]
fn one_lesson_a_day() {
    for (after_us, threshold) in [(DAY - 1, 7), (DAY, 10)] {
        let mut rig = learner();
        rig.last(burst(0, 30));
        assert_eq!(threshold_after(&mut rig, 2 * HOUR), 7);
        rig.last(burst(4 * HOUR, 30));
        assert_eq!(threshold_after(&mut rig, 2 * HOUR + after_us), threshold, "{after_us} after the first");
    }
}

#[test]
fn clean_bursts_every_half_hour_teach_too() {
    let mut rig = learner();
    for round in 0..8 {
        rig.last(burst(round * HOUR / 2, 30));
    }
    assert_eq!(rig.agent("a").learned(), 7);
}

#[test]
fn an_unclean_burst_teaches_nothing() {
    let with_fifth = |fifth: fn(Pay) -> Pay| {
        let mut rig = learner();
        let pays = burst(0, 8).zip(0..).map(|(pay, at)| if at == 5 { fifth(pay) } else { pay });
        rig.last(pays.collect::<Vec<_>>());
        threshold_after(&mut rig, DAY)
    };
    assert_eq!(with_fifth(|pay| pay), 7);
    assert_eq!(with_fifth(|pay| pay.also("geo_stationarity")), 5);
    assert_eq!(with_fifth(|pay| pay.also("scope")), 5);
    assert_eq!(with_fifth(|pay| pay.under("unknown")), 5);
    let mut paced = learner();
    paced.last(every(1, 0, 12).zip(0..).map(|(time_us, number)| pay(time_us).under("m").unequal(number)));
    assert_eq!(threshold_after(&mut paced, DAY), 5, "pace is not clean");
    let mut equal = learner();
    equal.last(every(secs(2), 0, 8).map(|time_us| pay(time_us).under("m")));
    assert_eq!(threshold_after(&mut equal, DAY), 5, "equal payments are not clean");
    let mut unbounded = Rig::<Burst>::new().with(mandate("m"));
    unbounded.last(burst(0, 8));
    assert_eq!(threshold_after(&mut unbounded, DAY), 5, "a mandate without a limit bounds nothing");
}

#[test]
fn a_burst_ends_at_the_first_payment_more_than_a_window_after_it() {
    // The payment that ends the run does not belong to it; one at the window's end does.
    for (after_us, threshold) in [(secs(60), 5), (secs(60) + 1, 7)] {
        let mut rig = learner();
        rig.last(burst(0, 8).chain([pay(secs(7) + after_us).under("m").also("scope")]));
        assert_eq!(threshold_after(&mut rig, DAY), threshold, "{after_us}");
    }
}

#[test]
fn half_a_year_of_ever_longer_clean_bursts_stops_at_the_limit() {
    let mut rig = learner();
    let mut learned = Vec::new();
    for day in 0..180 {
        let longest = i64::from(threshold_after(&mut rig, day * DAY)) + 20;
        rig.last(burst(day * DAY + HOUR, longest.min(61)));
        learned.push(rig.agent("a").learned().max(5));
    }
    learned.dedup();
    assert_eq!(learned, [5, 7, 10, 15, 22, 33, 49, 60]);
    // Ten minutes' theft outside a bounded mandate is seen at the limit, not one payment later.
    let theft = |count| every(secs(1), 200 * DAY, count).zip(0..).map(|(at, number)| pay(at).unequal(number));
    assert_eq!(rig.last(theft(59)), "");
    assert_eq!(rig.pay(&pay(200 * DAY + secs(59))), "rate 60");
}

#[test]
fn half_a_year_outside_a_bounded_mandate_teaches_nothing() {
    let mut rig = Rig::<Burst>::new();
    for day in 0..180 {
        let count = 4 + day / 10;
        let times = every(secs(2), day * DAY, count).zip(0..);
        rig.last(times.map(|(time_us, number)| pay(time_us).unequal(number)));
    }
    assert_eq!(rig.agent("a").learned(), 0);
}

#[test]
fn parameters_are_checked() {
    let check = |params: Params| Burst::check(&params).map(|(key, _)| key);
    assert_eq!(check(Params::default()), None);
    assert_eq!(check(Params { min_count: 0, ..Params::default() }), Some("min_count"));
    assert_eq!(check(Params { max_threshold: 4, ..Params::default() }), Some("max_threshold"));
}
