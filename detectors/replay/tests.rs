use weir_events::time::{DAY_US, HOUR_US};
use weir_events::{Mandate, Rates};

use super::*;
use crate::testing::{LATENESS_US, Pay, Rig, T0_US, amount, capped, mandate, pay};

/// A rig with one mandate `m` of agent `a`.
fn rig(mandate: Mandate) -> Rig<Replay> {
    Rig::new().with(mandate)
}

fn at(text: &str) -> i64 {
    Timestamp::parse(text).unwrap().0 - T0_US
}

fn under_m(time_us: i64, amount: &str) -> Pay {
    pay(time_us).under("m").amount(amount)
}

#[test]
fn tiers_that_follow_from_the_mandate_alone() {
    let check = |mandate: Mandate, expected: &str| {
        assert_eq!(rig(mandate.clone()).pay(&under_m(0, "10")), expected, "{mandate:?}");
    };
    let m = || mandate("m");
    let time = |us: i64| Some(Timestamp(T0_US + us));
    check(m(), "");
    check(Mandate { agent_id: "b".to_owned(), ..m() }, "not_held 1");
    check(Mandate { user_id: "v".to_owned(), ..m() }, "not_held 1");
    check(Mandate { status: MandateStatus::Revoked, ..m() }, "revoked 1");
    check(Mandate { status: MandateStatus::Paused, ..m() }, "paused 1");
    check(Mandate { valid_from: time(0), valid_to: time(0), ..m() }, "");
    check(Mandate { valid_to: time(-1), ..m() }, "expired 1");
    check(Mandate { valid_from: time(1), ..m() }, "not_yet_valid 1");
    check(Mandate { per_transaction_max: Some(amount("10")), ..m() }, "");
    check(Mandate { per_transaction_max: Some(amount("9.99999999")), ..m() }, "over_per_transaction 1");
    check(Mandate { max_amount: Some(amount("10")), ..m() }, "");
    check(Mandate { max_amount: Some(amount("9.99")), ..m() }, "over_cap 0.01");
    check(Mandate { max_amount: Some(Amount::ZERO), ..m() }, "over_cap 10");
    check(Mandate { max_uses: Some(0), ..m() }, "over_uses 1");
    check(Mandate { currency: Currency::parse("EUR").unwrap(), ..m() }, "wrong_currency 1");
    // What the caps say in another currency is nothing.
    let euros =
        Mandate { currency: Currency::parse("EUR").unwrap(), ..capped("m", "1", CapPeriod::Lifetime) };
    check(Mandate { per_transaction_max: Some(amount("1")), ..euros }, "wrong_currency 1");
    let all = Mandate {
        agent_id: "b".to_owned(),
        status: MandateStatus::Paused,
        valid_to: time(-1),
        valid_from: time(1),
        max_uses: Some(0),
        per_transaction_max: Some(amount("1")),
        ..capped("m", "4", CapPeriod::Lifetime)
    };
    check(
        all,
        "not_held 1, expired 1, not_yet_valid 1, over_cap 6, over_uses 1, over_per_transaction 1, paused 1",
    );
}

#[test]
fn every_tier_blocks_but_paused() {
    for (tier, name) in Replay::TIERS.iter().zip(Replay::TIER_NAMES) {
        let floor = tier.floor.unwrap_or(Replay::FLOOR);
        assert_eq!(floor, if *name == "paused" { Action::Review } else { Action::Block }, "{name}");
        assert_eq!(tier.name, *name);
    }
}

#[test]
fn nothing_is_said_of_no_mandate_or_an_unknown_one() {
    let mut rig = rig(capped("m", "1", CapPeriod::Lifetime));
    assert_eq!(rig.pay(&pay(0)), "");
    assert_eq!(rig.pay(&pay(0).under("unknown")), "");
}

#[test]
fn an_attempt_reserves_unless_it_was_blocked() {
    let mut rig = rig(capped("m", "100", CapPeriod::Lifetime));
    assert_eq!(rig.pay(&under_m(0, "60")), "");
    assert_eq!(rig.pay(&under_m(1, "40.01")), "over_cap 0.01", "and is blocked");
    assert_eq!(rig.pay(&under_m(2, "40").blocked()), "", "blocked by another detector");
    assert_eq!(rig.pay(&under_m(3, "39.99").also("cadence")), "", "challenged");
    assert_eq!(rig.pay(&under_m(4, "0.01")), "");
    assert_eq!(rig.pay(&under_m(5, "0.00000001")), "over_cap 0.00000001");
    assert!(rig.reason.contains("over its limit of 100 USD"), "{}", rig.reason);
}

#[test]
fn a_blocked_attempt_does_not_use_a_single_use_mandate_up() {
    let mut rig = rig(Mandate { max_uses: Some(1), ..mandate("m") });
    assert_eq!(rig.pay(&under_m(0, "10").blocked()), "");
    assert_eq!(rig.pay(&under_m(1, "10")), "");
    assert_eq!(rig.pay(&under_m(2, "10")), "over_uses 1");
    assert_eq!(rig.pay(&under_m(3, "10")), "over_uses 1");
}

#[test]
fn a_paused_attempt_that_is_only_held_back_reserves() {
    let paused = Mandate { status: MandateStatus::Paused, ..capped("m", "10", CapPeriod::Lifetime) };
    let mut rig = rig(paused);
    assert_eq!(rig.pay(&under_m(0, "10")), "paused 1");
    assert_eq!(rig.pay(&under_m(1, "1")), "over_cap 1, paused 1");
}

/// Two payments of 10 under a cap of 15: over it when one period holds both.
fn check_periods(period: CapPeriod, first: &str, second: &str, together: bool) {
    let mut rig = rig(capped("m", "15", period));
    assert_eq!(rig.pay(&under_m(at(first), "10")), "");
    let expected = if together { "over_cap 5" } else { "" };
    assert_eq!(rig.pay(&under_m(at(second), "10")), expected, "{period:?}: {first} and {second}");
}

#[test]
fn calendar_periods_are_utc_and_weeks_are_iso() {
    use CapPeriod::{Day, Lifetime, Month, Week};
    check_periods(Day, "2026-05-05T00:00:00Z", "2026-05-05T23:59:59.999999Z", true);
    check_periods(Day, "2026-05-05T23:59:59.999999Z", "2026-05-06T00:00:00Z", false);
    check_periods(Day, "2026-05-05T23:30:00-01:00", "2026-05-06T10:00:00Z", true);
    check_periods(Week, "2026-05-04T00:00:00Z", "2026-05-10T23:59:59.999999Z", true);
    check_periods(Week, "2026-05-10T23:59:59.999999Z", "2026-05-11T00:00:00Z", false);
    check_periods(Week, "2026-12-28T00:00:00Z", "2027-01-03T23:59:59.999999Z", true);
    check_periods(Week, "2027-01-03T23:59:59.999999Z", "2027-01-04T00:00:00Z", false);
    check_periods(Month, "2026-05-01T00:00:00Z", "2026-05-31T23:59:59.999999Z", true);
    check_periods(Month, "2026-05-31T23:59:59.999999Z", "2026-06-01T00:00:00Z", false);
    check_periods(Month, "2028-02-29T23:59:59.999999Z", "2028-03-01T00:00:00Z", false);
    check_periods(Lifetime, "2026-05-05T00:00:00Z", "2031-05-05T00:00:00Z", true);
}

#[test]
fn a_late_payment_counts_in_the_period_of_its_own_time() {
    let mut rig = rig(capped("m", "15", CapPeriod::Day));
    rig.pay(&under_m(0, "10"));
    assert_eq!(rig.pay(&under_m(-1, "10")), "", "the day before");
    assert_eq!(rig.pay(&under_m(LATENESS_US + HOUR_US, "1")), "");
    assert_eq!(rig.pay(&under_m(-HOUR_US, "6")), "over_cap 1", "late, into the day before");
    assert_eq!(rig.pay(&under_m(1, "5")), "over_cap 1", "late, into the day itself");
}

#[test]
fn an_amended_period_counts_what_was_reserved_before() {
    let noon = 12 * HOUR_US;
    for period in [CapPeriod::Day, CapPeriod::Week, CapPeriod::Month, CapPeriod::Lifetime] {
        let mut rig = rig(capped("m", "1000", CapPeriod::Lifetime));
        rig.pay(&under_m(noon, "10"));
        rig.set(capped("m", "15", period));
        assert_eq!(rig.pay(&under_m(noon + 1, "10")), "over_cap 5", "{period:?}");
    }
    let mut rig = rig(capped("m", "15", CapPeriod::Day));
    rig.pay(&under_m(noon, "10"));
    rig.set(capped("m", "15", CapPeriod::Lifetime));
    assert_eq!(rig.pay(&under_m(noon + DAY_US, "10")), "over_cap 5", "day to lifetime");
    rig.set(capped("m", "20", CapPeriod::Lifetime));
    assert_eq!(rig.pay(&under_m(noon + DAY_US, "10")), "", "a cap amended upward");
}

#[test]
fn attempts_while_unknown_count_for_lifetime_and_uses_alone() {
    let after_one = |amended: Mandate| {
        let mut rig = Rig::<Replay>::new();
        assert_eq!(rig.pay(&under_m(0, "10")), "", "unknown yet");
        rig.set(amended);
        rig.pay(&under_m(1, "10"))
    };
    assert_eq!(after_one(capped("m", "15", CapPeriod::Lifetime)), "over_cap 5");
    assert_eq!(after_one(capped("m", "15", CapPeriod::Day)), "");
    assert_eq!(after_one(capped("m", "15", CapPeriod::Month)), "");
    assert_eq!(after_one(Mandate { max_uses: Some(1), ..mandate("m") }), "over_uses 1");
}

#[test]
fn live_spend_is_kept_per_mandate_and_user() {
    let mut rig = rig(capped("m", "15", CapPeriod::Lifetime)).with(capped("n", "15", CapPeriod::Lifetime));
    rig.pay(&under_m(0, "10"));
    assert_eq!(rig.pay(&pay(1).under("n").amount("10")), "", "another mandate");
    assert_eq!(rig.pay(&under_m(2, "10").of("v")), "not_held 1", "another user");
    assert_eq!(rig.pay(&under_m(3, "10").by("b")), "not_held 1, over_cap 5", "another agent of the user");
}

#[test]
fn points_of_an_overage_are_in_the_base_currency() {
    let euro = Currency::parse("EUR").unwrap();
    let overage = |rates: Rates| {
        let mut rig = rig(Mandate { currency: euro, ..capped("m", "15", CapPeriod::Lifetime) });
        rig.rates = rates;
        rig.pay(&under_m(0, "10").currency("EUR"));
        rig.pay(&under_m(1, "10").currency("EUR"))
    };
    assert_eq!(overage(Rates::new(Currency::USD, [(euro, amount("1.08"))])), "over_cap 5.4");
    assert_eq!(overage(Rates::new(Currency::USD, [])), "over_cap 0", "the cap holds all the same");
}

#[test]
fn the_earliest_period_leaves_at_the_bound() {
    let mut rig = rig(capped("m", "15", CapPeriod::Day));
    rig.bounds.ledger_periods_max = 4;
    rig.pay(&under_m(0, "10"));
    // Each payment of a new day needs one further period; the week and the month stay the same.
    rig.pay(&under_m(DAY_US, "10"));
    assert!(!rig.reached.has(Bound::LedgerPeriods));
    rig.pay(&under_m(DAY_US - HOUR_US, "1"));
    assert!(!rig.reached.any(), "the same day as the first");
    rig.pay(&under_m(DAY_US + 23 * HOUR_US, "1"));
    rig.pay(&under_m(2 * DAY_US, "10"));
    assert!(rig.reached.has(Bound::LedgerPeriods));
    assert_eq!(rig.pay(&under_m(2 * DAY_US + 1, "10")), "over_cap 5", "the newest is kept");
}

#[test]
fn periods_that_nothing_can_fall_into_any_more_are_freed() {
    let mut rig = rig(capped("m", "15", CapPeriod::Day));
    for day in 0..400 {
        assert_eq!(rig.pay(&under_m(day * DAY_US, "10")), "");
    }
    assert!(!rig.reached.any());
}

/// Uses, spend and overage of agent `a` under `m` after the payments.
fn row(rig: &mut Rig<Replay>, pays: &[Pay]) -> Option<(u64, String, String)> {
    rig.last(pays.iter().cloned());
    let over = rig.usage("m", "a").over_cap(rig.terms("m"));
    over.map(|(uses, spend, over)| (uses, spend.to_string(), over.to_string()))
}

#[test]
fn the_view_counts_every_use_in_the_mandates_currency_blocked_and_late_ones_too() {
    let cap = |period| capped("m", "20", period);
    let two = [under_m(0, "10"), under_m(1, "10")];
    assert_eq!(row(&mut rig(cap(CapPeriod::Lifetime)), &two), None, "at the cap");
    let three = [two.as_slice(), &[under_m(2, "0.01")]].concat();
    let expected = Some((3, "20.01".to_owned(), "0.01".to_owned()));
    assert_eq!(row(&mut rig(cap(CapPeriod::Lifetime)), &three), expected);
    assert_eq!(row(&mut rig(cap(CapPeriod::Day)), &three), None, "not a lifetime cap");
    let blocked: Vec<Pay> = three.iter().cloned().map(Pay::blocked).collect();
    assert_eq!(row(&mut rig(cap(CapPeriod::Lifetime)), &blocked), expected);
    let foreign = [three.as_slice(), &[under_m(3, "99").currency("EUR")]].concat();
    assert_eq!(row(&mut rig(cap(CapPeriod::Lifetime)), &foreign), expected);
    let others = [three.as_slice(), &[under_m(3, "99").by("b"), under_m(3, "99").of("v")]].concat();
    assert_eq!(row(&mut rig(cap(CapPeriod::Lifetime)), &others), expected);
    let late = [[pay(LATENESS_US + HOUR_US)].as_slice(), &three].concat();
    assert_eq!(row(&mut rig(cap(CapPeriod::Lifetime)), &late), expected);
}

#[test]
fn the_view_does_not_depend_on_when_the_mandate_came() {
    let pays: Vec<Pay> = (0..6).map(|second| under_m(second, "7.5")).collect();
    let cap = || capped("m", "20", CapPeriod::Lifetime);
    let known_from = |from: usize| {
        let mut rig = Rig::<Replay>::new();
        for (at, pay) in pays.iter().enumerate() {
            if at == from {
                rig.set(cap());
            }
            rig.pay(pay);
        }
        rig.set(cap());
        row(&mut rig, &[])
    };
    for from in 0..=pays.len() {
        assert_eq!(known_from(from), Some((6, "45".to_owned(), "25".to_owned())), "known from {from}");
    }
}

#[test]
fn currencies_beyond_the_bound_are_not_counted() {
    let mut rig = rig(mandate("m"));
    rig.bounds.use_currencies_max = 1;
    rig.pay(&under_m(0, "10").currency("EUR"));
    assert!(!rig.reached.any());
    rig.pay(&under_m(0, "10").currency("EUR"));
    rig.pay(&under_m(0, "10"));
    assert!(rig.reached.has(Bound::UseCurrencies));
    assert_eq!(rig.usage("m", "a").in_currency(Currency::USD), (0, Amount::ZERO));
    assert_eq!(rig.usage("m", "a").in_currency(Currency::parse("EUR").unwrap()), (2, amount("20")));
}
