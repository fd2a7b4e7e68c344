use proptest::prelude::*;
use weir_events::time::DAY_US;

use super::*;
use crate::testing::{LATENESS_US, Pay, Rig, pay, secs};

const KINDS: [&str; 12] = [
    "groceries",
    "dining",
    "books",
    "toys",
    "fuel",
    "pets",
    "clothing",
    "office",
    "health",
    "insurance",
    "education",
    "donations",
];
/// When the watermark is a microsecond more than an hour past time 0.
const LEARNED_US: i64 = LEARNING_DELAY_US + LATENESS_US + 1;

fn rig() -> Rig<CrossMerchant> {
    Rig::new()
}

/// One payment per category, a second apart.
fn tour<'c>(start_us: i64, categories: &'c [&'static str]) -> impl Iterator<Item = Pay> + 'c {
    (0..).zip(categories).map(move |(at, category)| pay(start_us + secs(at)).category(category))
}

/// What the last of a tour by a new agent gives.
fn check(categories: &[&'static str], expected: &str) {
    assert_eq!(rig().last(tour(0, categories)), expected, "{categories:?}");
}

#[test]
fn breadth_takes_four_groups_not_four_labels() {
    check(&KINDS[..3], "");
    check(&KINDS[..4], "breadth 4");
    check(&KINDS[..5], "breadth 5");
    check(&["airlines", "3000", "lodging", "car_rental", "7011", "travel"], "");
    check(&["groceries", "5411", "Groceries", " groceries"], "");
    check(&["falconry", "heraldry", "knitting", "kite making"], "breadth 4");
    check(&["kite making", "Kite-Making", "kite_making", "KITE MAKING"], "");
}

#[test]
fn a_payment_without_a_category_adds_nothing() {
    let mut rig = rig();
    rig.last(tour(0, &KINDS[..3]));
    assert_eq!(rig.pay(&pay(secs(4))), "");
    assert_eq!(rig.agent("a").peak, 3);
}

#[test]
fn the_window_is_five_minutes_both_ends_included() {
    let last_at = |time_us: i64| {
        let mut rig = rig();
        rig.pay(&pay(0).category("groceries"));
        rig.last(tour(secs(1), &KINDS[1..3]));
        let last = rig.pay(&pay(time_us).category("toys"));
        (last, rig.agent("a").peak(&rig.params))
    };
    assert_eq!(last_at(secs(300)), ("breadth 4".to_owned(), 4));
    assert_eq!(last_at(secs(300) + 1), (String::new(), 0));
    let tie = rig().last(KINDS[..4].iter().map(|kind| pay(0).category(kind)));
    assert_eq!(tie, "breadth 4");
}

#[test]
fn risk_class_is_breadth_or_novelty_with_what_is_as_good_as_money() {
    for risky in ["gift_cards", "p2p", "wire_transfer", "casino", "crypto", "6051", "7995", "4829"] {
        check(&["groceries", "dining", "books", risky], "risk_class 4, breadth 4");
        check(&["groceries", "dining", risky], "");
    }
    // Four risky labels of one group are one group.
    check(&["gambling", "casino", "betting", "lottery"], "");
    check(&["gambling", "crypto", "gift_cards", "p2p"], "risk_class 4, breadth 4");
}

/// An agent that has bought `categories`, each `times` times a day apart.
fn settled(categories: &[&'static str], times: i64) -> Rig<CrossMerchant> {
    let mut rig = rig();
    for round in 0..times {
        for (at, category) in (0..).zip(categories) {
            rig.pay(&pay(-DAY_US * 30 + round * DAY_US + at * secs(400)).category(category));
        }
    }
    rig
}

#[test]
fn a_risky_group_that_the_agent_always_used_is_not_new_to_it() {
    let mut gambler = settled(&["gambling"], 5);
    assert_eq!(gambler.last(tour(0, &["groceries", "dining", "books", "casino"])), "breadth 4");
    assert_eq!(gambler.pay(&pay(secs(5)).category("crypto")), "risk_class 5, breadth 5");
}

#[test]
fn novel_takes_three_groups_never_used_after_ten_learned_payments() {
    let after = |payments: i64, categories: &[&'static str]| {
        settled(&["groceries"], payments).last(tour(0, categories))
    };
    assert_eq!(after(10, &["dining", "books", "toys"]), "novel 3");
    assert_eq!(after(9, &["dining", "books", "toys"]), "");
    assert_eq!(after(10, &["dining", "books"]), "");
    assert_eq!(after(10, &["groceries", "dining", "books"]), "");
    assert_eq!(after(10, &["groceries", "dining", "books", "toys"]), "novel 4, breadth 4");
    assert_eq!(after(10, &["dining", "books", "crypto"]), "risk_class 3, novel 3");
    assert_eq!(after(9, &["dining", "books", "crypto"]), "");
}

#[test]
fn ten_payments_are_learned_when_the_tenth_is_more_than_an_hour_behind_the_watermark() {
    let after = |time_us: i64| {
        let mut rig = rig();
        rig.last((0..9).map(|day| pay(-DAY_US * (day + 1)).category("groceries")).rev());
        rig.pay(&pay(0).category("groceries"));
        rig.last(tour(time_us - secs(2), &["dining", "books", "toys"]))
    };
    assert_eq!(after(LEARNED_US - 1), "");
    assert_eq!(after(LEARNED_US), "novel 3");
}

#[test]
fn a_group_is_known_when_more_than_an_hour_behind_the_watermark() {
    let after = |time_us: i64| {
        let mut rig = settled(&["groceries"], 10);
        rig.pay(&pay(0).category("dining"));
        rig.last(tour(time_us - secs(2), &["dining", "books", "toys"]))
    };
    assert_eq!(after(LEARNED_US - 1), "novel 3");
    assert_eq!(after(LEARNED_US), "");
}

#[test]
fn breadth_is_beyond_what_is_usual_for_the_agent() {
    let mut rig = rig();
    assert_eq!(rig.last(tour(0, &KINDS[..5])), "breadth 5");
    assert_eq!(rig.last(tour(secs(3000), &KINDS[..5])), "breadth 5", "not learned yet");
    assert_eq!(rig.last(tour(DAY_US, &KINDS[..5])), "", "five are usual now");
    assert_eq!(rig.last(tour(DAY_US + secs(5), &KINDS[5..6])), "breadth 6");
}

#[test]
fn what_was_held_back_teaches_nothing() {
    let mut rig = settled(&["groceries"], 10);
    let tours = |day: i64| tour(day * DAY_US, &["dining", "books", "toys", "crypto", "fuel"]);
    rig.last(tours(0));
    let second = rig.last(tours(1));
    assert_eq!(second, "risk_class 5, novel 5, breadth 5", "only dining and books were let through");
    assert!(!rig.agent("a").usual.knows(group("crypto")));
    assert!(!rig.agent("a").usual.knows(group("fuel")));
    assert!(rig.agent("a").usual.knows(group("dining")));
}

fn group(category: &str) -> Group {
    groups::GroupMap::default().group(category, crate::hash::name_hash(category.as_bytes()))
}

#[test]
fn months_of_ever_wider_tours_stop_at_the_limit() {
    // Twelve kinds are made known one by one, then toured ever wider.
    let mut rig = settled(&KINDS, 3);
    let mut usual = Vec::new();
    for day in 0..120 {
        let width = usize::try_from(4 + day / 10).unwrap().min(KINDS.len());
        rig.last(tour(day * DAY_US, &KINDS[..width]));
        usual.push(rig.agent("a").usual.breadth);
    }
    usual.dedup();
    assert_eq!(usual.last(), Some(&USUAL_BREADTH_MAX));
    assert_eq!(rig.last(tour(130 * DAY_US, &KINDS[..8])), "");
    assert_eq!(rig.last(tour(131 * DAY_US, &KINDS[..9])), "breadth 9");
}

#[test]
fn out_of_order_the_strongest_window_that_holds_it_counts() {
    let mut rig = rig();
    rig.pay(&pay(0).category("groceries"));
    rig.pay(&pay(secs(200)).category("dining"));
    rig.pay(&pay(secs(400)).category("books"));
    assert_eq!(rig.pay(&pay(secs(150)).category("toys")), "", "three before, or three after");
    assert_eq!(rig.pay(&pay(secs(150)).category("fuel")), "breadth 4");
    assert_eq!(rig.agent("a").peak(&rig.params), 4);
}

#[test]
fn late_payments_are_left_out() {
    let mut rig = rig();
    rig.pay(&pay(LATENESS_US + secs(10)));
    assert_eq!(rig.last(tour(0, &KINDS[..4])), "");
    assert_eq!(rig.agent("a").peak, 0);
    assert_eq!(rig.last(tour(secs(10), &KINDS[..4])), "breadth 4");
}

#[test]
fn bounds_leave_categories_and_windows_out_and_say_so() {
    let mut few = rig();
    few.bounds.agent_categories_max = 3;
    few.last(tour(0, &KINDS[..3]));
    assert!(!few.reached.any());
    assert_eq!(few.last(tour(secs(3), &KINDS[3..4])), "");
    assert!(few.reached.has(Bound::AgentCategories));
    assert_eq!(few.agent("a").peak, 3);

    let mut windows = rig();
    windows.bounds.windows_judged_max = 2;
    windows.last(tour(secs(10), &KINDS[..4]));
    assert!(!windows.reached.any());
    assert_eq!(windows.pay(&pay(0).category("fuel")), "", "two windows hold two kinds at most");
    assert!(windows.reached.has(Bound::WindowsJudged));
    assert_eq!(windows.agent("a").peak, 5, "the view looks at every window");
}

#[test]
fn parameters_are_checked() {
    assert_eq!(CrossMerchant::check(&Params::default()), None);
    let none = Params { min_categories: 0, ..Params::default() };
    assert_eq!(CrossMerchant::check(&none).map(|(key, _)| key), Some("min_categories"));
}

proptest! {
    #[test]
    fn any_order_within_the_bound_gives_the_same_peak(
        payments in prop::collection::vec((0..300_i64, 0..8_usize), 1..40),
        seed in any::<u64>(),
    ) {
        let peak = |payments: &[(i64, usize)]| {
            let mut rig = rig();
            rig.params.window = Span::minutes(1);
            rig.last(payments.iter().map(|&(at, kind)| pay(secs(at)).category(KINDS[kind])));
            rig.agent("a").peak
        };
        let mut sorted = payments.clone();
        sorted.sort_unstable();
        let mut shuffled = payments;
        shuffled.sort_by_key(|&(at, kind)| crate::hash::pair_hash(seed, at.unsigned_abs() << 8 | kind as u64));
        prop_assert_eq!(peak(&sorted), peak(&shuffled));
    }
}
