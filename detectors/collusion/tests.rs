use proptest::prelude::*;
use weir_events::{Currency, Rates};

use super::*;
use crate::testing::{LATENESS_US, Pay, Rig, amount, pay, secs};

fn rig() -> Rig<Collusion> {
    Rig::new()
}

/// Coordinated pairs and their total of agents `a` and `b`, as the state counts them.
fn pairs(rig: &Rig<Collusion>) -> (u64, String) {
    let total = rig.user().totals.first();
    total.map_or((0, "0".to_owned()), |total| (total.pairs, total.amount.to_string()))
}

/// A pair of `a` and `b` at `time_us`, a second apart.
fn pair(time_us: i64) -> [Pay; 2] {
    [pay(time_us).amount("100").by("a"), pay(time_us + secs(1)).amount("101").by("b")]
}

#[test]
fn the_view_pairs_payments_at_most_ten_seconds_and_less_than_ten_apart() {
    let check = |gap_us: i64, other: &str, expected: u64| {
        for (first, second) in [("a", "b"), ("b", "a")] {
            let mut rig = rig();
            rig.pay(&pay(0).by(first).amount("100"));
            rig.pay(&pay(gap_us).by(second).amount(other));
            assert_eq!(pairs(&rig).0, expected, "{gap_us} us and {other}");
        }
    };
    check(0, "100", 1);
    check(secs(10), "100", 1);
    check(secs(10) + 1, "100", 0);
    check(-secs(10), "100", 1);
    check(-secs(10) - 1, "100", 0);
    check(0, "109.99999999", 1);
    check(0, "110", 0);
    check(0, "90.00000001", 1);
    check(0, "90", 0);
}

#[test]
fn the_view_pairs_agents_of_one_user_from_two_pairs_on() {
    let mut rig = rig();
    rig.last([pay(0).by("a"), pay(1).by("a"), pay(0).by("b").of("v")]);
    assert_eq!(pairs(&rig), (0, "0".to_owned()), "neither the agent itself nor another user's");
    rig.pay(&pay(2).by("b"));
    assert_eq!(pairs(&rig), (2, "40".to_owned()), "one payment may be in several pairs");
    let one = {
        let mut rig = Rig::<Collusion>::new();
        rig.last(pair(0));
        rig.user().reported(&rig.params).count()
    };
    assert_eq!((one, rig.user().reported(&rig.params).count()), (0, 1));
    assert_eq!(rig.user().pairs_of(rig.number("a"), &rig.params), 2);
    assert_eq!(rig.user().pairs_of(rig.number("b"), &rig.params), 2);
    let total = rig.user().totals[0];
    assert_eq!(row("u", "b", "a", &total), row("u", "a", "b", &total), "by bytes, not by number");
}

#[test]
fn two_pairs_in_ten_minutes_make_a_signal() {
    let check = |second_us: i64, expected: &str| {
        let mut rig = rig();
        rig.last(pair(0));
        assert_eq!(rig.last(pair(second_us)), expected, "{second_us}");
    };
    check(secs(60), "pairs 1");
    // The window ends at the last payment and holds the very first.
    check(secs(599), "pairs 1");
    check(secs(599) + 1, "");
    let mut one = rig();
    assert_eq!(one.last(pair(0)), "");
}

#[test]
fn the_signal_asks_for_amounts_within_seven_percent_of_the_larger() {
    let check = |ours: &str, theirs: &str, expected: &str| {
        let mut rig = rig();
        let round = |at: i64| [pay(at).amount(ours), pay(at).amount(theirs).by("b")];
        rig.last(round(0));
        assert_eq!(rig.last(round(secs(60))), expected, "{ours} and {theirs}");
    };
    check("100", "93", "pairs 1");
    check("100", "92.99999999", "");
    check("93", "100", "pairs 1");
    check("1", "0.93", "pairs 1");
    check("1", "0.92", "");
    check("999999999999999.99", "999999999999990", "pairs 1");
    check("1000", "990.00000001", "pairs 1");
    check("1000", "990", "");
}

#[test]
fn six_tenths_of_the_payments_of_the_one_with_fewer_are_paired() {
    let check = |paired: i64, alone_a: i64, alone_b: i64, expected: &str| {
        let mut rig = rig();
        let alone = |agent: &'static str, count: i64, from: i64| {
            (0..count).map(move |at| pay(secs(from + at)).amount("5000").by(agent))
        };
        rig.last(alone("a", alone_a, 0));
        rig.last(alone("b", alone_b, 100));
        assert_eq!(rig.last((0..paired).flat_map(|at| pair(secs(200 + 30 * at)))), expected);
    };
    check(3, 2, 2, "pairs 2"); // 3 of 5
    check(2, 2, 2, ""); // 2 of 4
    check(2, 1, 1, "pairs 1"); // 2 of 3
    check(3, 40, 2, "pairs 2"); // the one with fewer: 3 of 5
    check(3, 2, 40, "pairs 2");
    check(3, 3, 3, ""); // 3 of 6
}

#[test]
fn n_is_the_smaller_number_of_paired_payments() {
    let mut rig = rig();
    rig.last([pay(0).by("a"), pay(secs(60)).by("a")]);
    let four = [1, 2, 61, 62].map(|second| pay(secs(second)).by("b"));
    assert_eq!(rig.last(four), "pairs 1", "two of a and four of b");
}

#[test]
fn this_payment_must_be_in_a_pair() {
    let mut rig = rig();
    rig.last(pair(0).into_iter().chain(pair(secs(30))).chain(pair(secs(60))));
    assert_eq!(rig.pay(&pay(secs(90)).amount("100")), "", "alone");
    assert_eq!(rig.pay(&pay(secs(60)).amount("500").by("b")), "", "of another amount");
    assert_eq!(rig.pay(&pay(secs(95)).amount("100").by("b")), "pairs 3");
}

#[test]
fn three_agents_make_a_ring() {
    let round = |at: i64, agents: &[&'static str]| -> Vec<Pay> {
        agents.iter().zip(0..).map(|(&agent, second)| pay(at + secs(second)).by(agent)).collect()
    };
    let mut rig = rig();
    rig.last(round(0, &["a", "b", "c"]));
    assert_eq!(rig.last(round(secs(60), &["a", "b"])), "pairs 1");
    assert_eq!(rig.pay(&pay(secs(62)).by("c")), "ring 1");
    rig.last(round(secs(120), &["a", "b", "c"]));
    assert_eq!(rig.last(round(secs(180), &["a", "b", "c", "d"])), "", "d has one only");
    assert_eq!(rig.last(round(secs(240), &["a", "b", "d", "c"])), "ring 4", "n is the greatest among them");
}

#[test]
fn out_of_order_the_strongest_window_that_holds_it_counts() {
    let mut rig = rig();
    rig.last(pair(secs(60)).into_iter().chain(pair(secs(120))));
    let earlier = pair(secs(30));
    assert_eq!(rig.last(earlier), "pairs 2");
    // One window holds all three pairs, or two windows hold two each.
    let between = |second_us: i64| {
        let mut rig = Rig::<Collusion>::new();
        rig.last(pair(0).into_iter().chain(pair(second_us)));
        rig.last([pay(secs(500)).amount("100").by("a"), pay(secs(500)).amount("100").by("b")])
    };
    assert_eq!(between(secs(599)), "pairs 2");
    assert_eq!(between(secs(599) + 1), "pairs 1");
}

#[test]
fn late_payments_and_those_without_a_rate_are_in_no_pair() {
    let round = |at: i64| [pay(at).currency("EUR"), pay(at).currency("EUR").by("b")];
    let mut unrated = rig();
    unrated.last(round(0));
    assert_eq!(unrated.last(round(secs(60))), "");
    assert!(unrated.user().totals.is_empty());

    let mut rated = rig();
    rated.rates = Rates::new(Currency::USD, [(Currency::parse("EUR").unwrap(), amount("1.08"))]);
    rated.last(round(0));
    assert_eq!(rated.last(round(secs(60))), "pairs 1");
    assert_eq!(pairs(&rated), (2, "43.2".to_owned()));

    let mut late = rig();
    late.pay(&pay(LATENESS_US + secs(1000)).by("z"));
    late.last(pair(0));
    assert_eq!(late.last(pair(secs(60))), "");
    assert!(late.user().totals.is_empty());
}

#[test]
fn bounds_leave_pairs_out_and_say_so() {
    let mut scan = rig();
    scan.bounds.pair_scan_max = 2;
    scan.last((0..3).map(|at| pay(at).by("b")));
    assert!(!scan.reached.any());
    scan.pay(&pay(3));
    assert!(scan.reached.has(Bound::PairScan));
    assert_eq!(pairs(&scan).0, 2);

    let mut agents = rig();
    agents.bounds.user_pairs_max = 1;
    agents.last(pair(0));
    assert!(!agents.reached.any());
    agents.pay(&pay(0).by("c").amount("100"));
    assert!(agents.reached.has(Bound::UserPairs));
    assert_eq!(agents.user().totals.len(), 1);

    let mut windows = rig();
    windows.bounds.windows_judged_max = 1;
    windows.last(pair(secs(60)).into_iter().chain(pair(secs(120))));
    assert!(!windows.reached.any());
    assert_eq!(windows.last(pair(secs(30))), "");
    assert!(windows.reached.has(Bound::WindowsJudged));
}

#[test]
fn parameters_are_checked() {
    let check = |params: Params| Collusion::check(&params).map(|(key, _)| key);
    assert_eq!(check(Params::default()), None);
    assert_eq!(check(Params { max_gap: Span(SIGNAL_WINDOW_US), ..Params::default() }), None);
    assert_eq!(check(Params { max_gap: Span(SIGNAL_WINDOW_US + 1), ..Params::default() }), Some("max_gap"));
    let negative = Params { max_amount_difference: Plain(amount("-1")), ..Params::default() };
    assert_eq!(check(negative), Some("max_amount_difference"));
    assert_eq!(check(Params { min_pairs: 0, ..Params::default() }), Some("min_pairs"));
}

proptest! {
    #[test]
    fn any_order_within_the_bound_gives_the_same_totals(
        payments in prop::collection::vec((0..50_i64, 0..3_usize, 0..30_i64), 1..40),
        seed in any::<u64>(),
    ) {
        let totals = |payments: &[(i64, usize, i64)]| {
            // The agents are met in one order, so that they have the same numbers.
            let mut rig = rig();
            rig.last(["a", "b", "c"].map(|agent| pay(0).by(agent).amount("99999")));
            rig.last(payments.iter().map(|&(five, agent, cents)| {
                pay(secs(five * 5)).by(["a", "b", "c"][agent]).unequal(cents * 60)
            }));
            rig.user().clone()
        };
        let mut sorted = payments.clone();
        sorted.sort_unstable();
        let mut shuffled = payments;
        shuffled.sort_by_key(|&(a, b, c)| crate::hash::pair_hash(seed, (a as u64) << 32 | (b as u64) << 16 | c as u64));
        prop_assert_eq!(totals(&sorted), totals(&shuffled));
    }
}
