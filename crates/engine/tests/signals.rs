//! What detectors do together in one shard: signals that need the decision, other detectors or months of
//! event time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_detectors::risk::VIEWS;
use weir_engine::{Admission, Config, Intake, Shard, rows_sorted};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::time::{DAY_US, HOUR_US, SECOND_US};
use weir_events::{Action, Alert, Currency, Timestamp, Verdict};

/// 2026-05-05T00:00:00Z.
const T0_US: i64 = 20_578 * DAY_US;

struct Stream {
    intake: Intake,
    shard: Shard,
    verdict: Verdict,
    alerts: Vec<Alert>,
    sent: u64,
}

impl Stream {
    fn new() -> Self {
        let config = Config::default();
        let (intake, shard) = (Intake::new(&config, 1), Shard::new(&config, 1));
        Self { intake, shard, verdict: Verdict::default(), alerts: Vec::new(), sent: 0 }
    }

    /// A mandate `m` of agent `a` of user `u` with these fields.
    fn mandate(mut self, fields: Value) -> Self {
        let record = with(json!({"mandate_id": "m", "agent_id": "a", "user_id": "u"}), fields);
        let record = parse_mandate(record.as_bytes(), Currency::USD).unwrap();
        self.shard.apply(&self.shard.prepare(&record)).unwrap();
        self
    }

    /// A payment of 10 under `m` with these fields; returns its action and its reason codes.
    fn pay(&mut self, time_us: i64, fields: Value) -> (Action, Vec<String>) {
        self.sent += 1;
        let base = json!({
            "tx_id": format!("tx_{}", self.sent), "agent_id": "a", "user_id": "u", "mandate_id": "m",
            "merchant": "shop", "amount": "10", "tx_time": Timestamp(T0_US + time_us).to_string(),
        });
        let record = with(base, fields);
        let tx = parse_transaction(record.as_bytes(), Currency::USD).unwrap();
        let Admission::New(stamp) = self.intake.admit(&tx, Intake::key(&tx)) else {
            panic!("{record} is not accepted")
        };
        self.shard.decide(&tx, &stamp, &mut self.verdict, &mut self.alerts).unwrap();
        let signals = self.verdict.signals.iter();
        let codes = signals.map(|signal| format!("{}.{}", signal.detector, signal.tier)).collect();
        (self.verdict.action, codes)
    }

    /// Unequal payments about a second apart, unevenly; returns the codes of the last.
    fn burst(&mut self, start_us: i64, count: i64, fields: &Value) -> Vec<String> {
        let mut last = Vec::new();
        for number in 0..count {
            let amount = json!({"amount": format!("1.{number:02}")});
            let fields: Value = serde_json::from_str(&with(amount, fields.clone())).unwrap();
            last = self.pay(start_us + uneven_us(number), fields).1;
        }
        last
    }
}

/// Gaps of 0.7 s and 1.3 s: too uneven for cadence and, nine in any 8 s, too slow for pace.
fn uneven_us(number: i64) -> i64 {
    number * SECOND_US - number % 2 * 300_000
}

fn with(mut record: Value, fields: Value) -> String {
    for (key, value) in fields.as_object().unwrap() {
        record[key] = value.clone();
    }
    record.to_string()
}

#[test]
fn what_another_detector_blocks_reserves_nothing_and_is_a_use_in_the_view_all_the_same() {
    let mut stream = Stream::new().mandate(json!({"max_amount": "15", "scope_merchant": "shop"}));
    let strict = || (Action::Block, vec!["scope.strict".to_owned()]);
    assert_eq!(stream.pay(0, json!({"merchant": "casino"})), strict());
    assert_eq!(stream.pay(1, json!({"merchant": "casino"})), strict());
    assert_eq!(stream.pay(2, json!({})), (Action::Allow, vec![]));
    assert_eq!(stream.pay(3, json!({"amount": "5"})), (Action::Allow, vec![]));
    assert_eq!(stream.pay(4, json!({"amount": "0.01"})).1[0], "replay.over_cap");
    let replay = VIEWS.iter().find(|view| view.name == "replay").unwrap();
    let row = format!("{:?}", stream.shard.rows(replay));
    assert!(row.contains("Int(5)"), "five attempts: {row}");
}

#[test]
fn a_wide_and_fast_restock_inside_a_bounded_mandate_is_allowed() {
    let mut stream = Stream::new().mandate(json!({"max_amount": "1000"}));
    let mut last = (Action::Block, vec![]);
    for (number, kind) in (0..).zip(["groceries", "health", "pets", "home"].into_iter().cycle().take(40)) {
        let fields = json!({"amount": format!("3.{number:02}"), "merchant_category": kind});
        last = stream.pay(2 * uneven_us(number), fields);
        assert_eq!(last.0, Action::Allow, "payment {number}");
    }
    assert_eq!(last.1, ["cross_merchant.breadth", "burst.rate_bounded"]);
    assert!(stream.alerts.is_empty());
}

#[test]
fn a_burst_with_a_violation_in_it_is_not_clean() {
    let threshold_after = |violation: Value| {
        let limits = json!({"max_amount": "1000", "scope_merchant": "shop"});
        let mut stream = Stream::new().mandate(limits);
        stream.burst(0, 8, &json!({}));
        stream.pay(8 * SECOND_US, violation);
        stream.pay(2 * HOUR_US, json!({}));
        // The least burst that gives a signal, on a copy of the state each.
        (1..20).find(|&count| {
            let mut copy = Stream {
                intake: stream.intake.clone(),
                shard: stream.shard.clone(),
                verdict: Verdict::default(),
                alerts: Vec::new(),
                sent: 1000,
            };
            !copy.burst(3 * DAY_US, count, &json!({})).is_empty()
        })
    };
    assert_eq!(threshold_after(json!({})), Some(7));
    assert_eq!(threshold_after(json!({"merchant": "casino"})), Some(5));
    assert_eq!(threshold_after(json!({"amount": "999"})), Some(5), "a blocked overage");
}

#[test]
fn months_of_ramping_up_do_not_hide_a_theft() {
    let mut stream = Stream::new().mandate(json!({"max_amount": "1000000"}));
    for day in 0..120 {
        stream.burst(day * DAY_US, (5 + day).min(60), &json!({}));
    }
    // Outside the mandate that bounds it, sixty in a minute are seen, and equal ones from the sixth on.
    let free = json!({"mandate_id": null});
    let slower = stream.burst(130 * DAY_US, 59, &free);
    assert_eq!(slower, ["mandate.omitted"]);
    assert_eq!(stream.burst(131 * DAY_US, 60, &free), ["burst.rate", "mandate.omitted"]);
    let equal: Vec<_> = (0..6).map(|at| stream.pay(132 * DAY_US + at * SECOND_US, json!({})).1).collect();
    assert_eq!(equal[4], Vec::<String>::new());
    assert_eq!(equal[5], ["burst.machine"]);
}

#[test]
fn a_run_of_signals_is_one_episode_and_closes_with_the_next_payment_after_its_window() {
    let mut stream = Stream::new().mandate(json!({}));
    stream.burst(0, 9, &json!({}));
    assert_eq!(stream.alerts.len(), 1, "opened with the fifth");
    assert_eq!(stream.verdict.text(&stream.verdict.signals[0].episode), "tx_5");
    stream.pay(68 * SECOND_US, json!({}));
    assert_eq!(stream.alerts.len(), 1, "a window after the last signal it is still open");
    stream.pay(68 * SECOND_US + 1, json!({}));
    assert_eq!(stream.alerts.len(), 2);
    assert_eq!(stream.alerts[1].transactions, 5);
}

#[test]
fn of_an_overage_and_a_revocation_the_one_with_more_points_is_told() {
    let revoked = |amount: &str| {
        let mut stream = Stream::new().mandate(json!({"max_amount": "100", "status": "revoked"}));
        stream.pay(0, json!({"amount": amount})).1
    };
    assert_eq!(revoked("600"), ["replay.revoked"]);
    assert_eq!(revoked("600.01"), ["replay.over_cap"]);
}

/// Times in seconds, agent, amount in dimes, category, place: enough to fire every view.
type Made = (i64, usize, i64, usize, i64);

fn made() -> impl Strategy<Value = Vec<Made>> {
    prop::collection::vec((0..300_i64, 0..3_usize, 1..60_i64, 0..6_usize, 0..3_i64), 1..60)
}

proptest! {
    #[test]
    fn every_view_is_the_same_for_every_order_within_the_bound(made in made(), seed in any::<u64>()) {
        let rows = |order: &[usize]| {
            let mut stream = Stream::new().mandate(json!({"max_amount": "20", "scope_merchant": "shop"}));
            for &at in order {
                let (second, agent, dimes, kind, place) = made[at];
                stream.pay(second * SECOND_US, json!({
                    "tx_id": format!("tx_{at:03}"), "agent_id": (["a", "b", "c"][agent]),
                    "amount": format!("{}.{}", dimes / 10, dimes % 10),
                    "merchant": if kind == 0 { "other" } else { "shop" },
                    "merchant_category": format!("kind {kind}"), "lat": place, "lng": 0,
                }));
            }
            VIEWS.map(|view| rows_sorted(stream.shard.rows(&view), &view))
        };
        let mut order: Vec<usize> = (0..made.len()).collect();
        order.sort_by_key(|&at| made[at].0);
        let in_order = rows(&order);
        order.sort_by_key(|&at| weir_detectors::hash::pair_hash(seed, at as u64 + 1));
        prop_assert_eq!(in_order, rows(&order));
    }
}
