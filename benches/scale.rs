//! How time and memory grow: with the number of agents, with one user who makes half of all payments, with
//! agents of one user who pay alike, and with disorder.
//!
//! The payments are made here and never parsed, so that ten million agents take minutes. Every figure is of one
//! thread; a digest of the decisions shows that they were decided. `-- --large` adds ten million agents, which
//! take about eight GiB.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its results")]
#![allow(clippy::indexing_slicing, reason = "a benchmark may panic")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use serde_json::{Value, json};
use weir_benches::{processor_time, resident_bytes};
use weir_engine::{AHEAD_MAX, Admission, Ahead, Config, Intake, Shard};
use weir_events::time::{DAY_US, MINUTE_US, SECOND_US};
use weir_events::{
    Alert, Amount, CapPeriod, Currency, Location, Mandate, MandateRecord, MandateStatus, Timestamp,
    Transaction, Verdict,
};

/// Payments of each agent on the curve of agents, and how long it rests between two of them.
const ROUNDS: u64 = 10;
const REST_US: i64 = 25 * 60 * MINUTE_US;
const AGENTS: &[u64] = &[1_000, 10_000, 100_000, 1_000_000];
const AGENTS_LARGE: u64 = 10_000_000;
/// Payments on each of the other curves.
const PAYMENTS: u64 = 300_000;
const START_US: i64 = 1_780_000_000 * SECOND_US;

fn main() -> Result<(), Box<dyn Error>> {
    let large = std::env::args().any(|arg| arg == "--large");
    let mut points = Vec::new();
    for &agents in AGENTS.iter().chain(large.then_some(&AGENTS_LARGE)) {
        points.push(agents_curve(agents)?);
    }
    for share_percent in [0, 10, 25, 50] {
        points.push(hot_user(share_percent)?);
    }
    for agents in [1, 10, 100] {
        points.push(alike(agents)?);
    }
    for minutes in [0, 1, 2, 3, 4, 5] {
        points.push(disorder(minutes)?);
    }
    println!("{}", serde_json::to_string_pretty(&points)?);
    Ok(())
}

/// Every agent pays ten times, a day and an hour apart, each with a mandate and a user of its own. The time is that
/// of the last round, when all of them are known and none has paid for a day.
fn agents_curve(agents: u64) -> Result<Value, Box<dyn Error>> {
    let before = resident_bytes().unwrap_or_default();
    let mut line = Line::new(Config::default());
    for agent in 0..agents {
        line.grant(agent, agent)?;
    }
    let mut last = Duration::ZERO;
    for round in 0..ROUNDS {
        let begun = line.spent;
        let payments = (0..agents).map(|turn| {
            // Each agent once, and neighbours far apart. The factor is a prime that divides no number of agents.
            let agent = turn.wrapping_mul(7_919) % agents;
            let time_us =
                START_US + i64::try_from(round).unwrap_or(0) * REST_US + spread(turn, agents, REST_US);
            Payment { agent, user: agent, time_us, cents: 1_000 + agent % 5_000 }
        });
        line.pay(payments)?;
        last = line.spent - begun;
    }
    let bytes = resident_bytes().unwrap_or_default().saturating_sub(before);
    Ok(line.point("agents", agents, last, agents, json!({ "bytes_per_agent": bytes / agents })))
}

/// Two thousand users pay, and one of them, with ten agents, makes this share of all payments.
fn hot_user(share_percent: u64) -> Result<Value, Box<dyn Error>> {
    let payments = (0..PAYMENTS).map(|turn| {
        let hot = mixed(turn) % 100 < share_percent;
        let user = if hot { 0 } else { 1 + mixed(turn ^ 1) % 2_000 };
        let agent = if hot { mixed(turn ^ 2) % 10 } else { 10 + user };
        let cents = 100 + mixed(turn ^ 3) % 100_000;
        Payment { agent, user, time_us: START_US + spread(turn, PAYMENTS, 7 * DAY_US), cents }
    });
    curve("hot_user_percent", share_percent, payments)
}

/// So many agents of one user pay nearly the same, all of them within seconds, all the time: what pairs them looks
/// at most payments.
fn alike(agents: u64) -> Result<Value, Box<dyn Error>> {
    let payments = (0..PAYMENTS).map(|turn| {
        let time_us = START_US + i64::try_from(turn).unwrap_or(0) * 200_000;
        Payment { agent: turn % agents, user: 0, time_us, cents: 5_000 + turn % 20 }
    });
    curve("agents_paying_alike", agents, payments)
}

/// Two thousand agents whose payments arrive up to so many minutes late.
fn disorder(minutes: i64) -> Result<Value, Box<dyn Error>> {
    let span_us = minutes * MINUTE_US + 1;
    let payments = (0..PAYMENTS).map(|turn| {
        let late_us = i64::try_from(mixed(turn)).unwrap_or(0).rem_euclid(span_us);
        let agent = mixed(turn ^ 1) % 2_000;
        let time_us = START_US + spread(turn, PAYMENTS, 2 * DAY_US) - late_us;
        Payment { agent, user: agent / 2, time_us, cents: 100 + mixed(turn ^ 2) % 100_000 }
    });
    curve("minutes_out_of_order", minutes.unsigned_abs(), payments)
}

/// The time is that of the second half.
fn curve(
    name: &str,
    at: u64,
    payments: impl Iterator<Item = Payment> + Clone,
) -> Result<Value, Box<dyn Error>> {
    let mut line = Line::new(Config::default());
    let half = usize::try_from(PAYMENTS / 2)?;
    line.pay(payments.clone().take(half))?;
    let begun = line.spent;
    line.pay(payments.skip(half))?;
    let spent = line.spent - begun;
    Ok(line.point(name, at, spent, PAYMENTS / 2, json!({})))
}

#[derive(Debug, Clone, Copy)]
struct Payment {
    agent: u64,
    user: u64,
    time_us: i64,
    cents: u64,
}

/// The time of one of `count` turns that are spread evenly over `span_us`.
fn spread(turn: u64, count: u64, span_us: i64) -> i64 {
    i64::try_from(i128::from(turn) * i128::from(span_us) / i128::from(count.max(1))).unwrap_or(0)
}

/// A number that looks like chance, the same each time; below 2^62.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 29) >> 2
}

/// Intake and shard of one thread, fed with payments that were never text.
struct Line {
    intake: Intake,
    shard: Shard,
    verdict: Verdict,
    alerts: Vec<Alert>,
    ahead: Vec<Ahead>,
    keys: Vec<u64>,
    sent: u64,
    spent: Duration,
    actions: BTreeMap<&'static str, u64>,
}

impl Line {
    fn new(config: Config) -> Self {
        Self {
            intake: Intake::new(&config, 1),
            shard: Shard::new(&config, 1),
            verdict: Verdict::default(),
            alerts: Vec::new(),
            ahead: Vec::new(),
            keys: Vec::new(),
            sent: 0,
            spent: Duration::ZERO,
            actions: BTreeMap::new(),
        }
    }

    /// Puts a mandate in force, with a cap that is never reached.
    fn grant(&mut self, agent: u64, user: u64) -> Result<(), Box<dyn Error>> {
        let mandate = Mandate {
            mandate_id: format!("mdt_{agent:08}"),
            agent_id: format!("agt_{agent:08}"),
            user_id: format!("usr_{user:08}"),
            scope_merchant: None,
            allowed_merchants: None,
            allowed_categories: None,
            max_amount: Some(Amount::units(1_000_000)),
            max_amount_period: CapPeriod::Month,
            per_transaction_max: None,
            max_uses: None,
            currency: Currency::USD,
            authorized_tps: None,
            valid_from: None,
            valid_to: None,
            status: MandateStatus::Active,
            updated_at: None,
        };
        let change = self.shard.prepare(&MandateRecord::State(Box::new(mandate)));
        Ok(self.shard.apply(&change)?)
    }

    fn pay(&mut self, payments: impl Iterator<Item = Payment>) -> Result<(), Box<dyn Error>> {
        let mut payments = payments.peekable();
        let mut block: Vec<Transaction<'static>> = Vec::new();
        while payments.peek().is_some() {
            block.clear();
            for payment in payments.by_ref().take(AHEAD_MAX) {
                self.sent += 1;
                block.push(transaction(payment, self.sent));
            }
            let begun = processor_time();
            self.decide(&block)?;
            self.spent += processor_time() - begun;
        }
        Ok(())
    }

    fn decide(&mut self, block: &[Transaction<'static>]) -> Result<(), Box<dyn Error>> {
        self.keys.clear();
        self.keys.extend(block.iter().map(Intake::key));
        self.intake.look_ahead(self.keys.iter().copied());
        self.shard.look_ahead(block.iter(), &mut self.ahead);
        for (at, tx) in block.iter().enumerate() {
            let Admission::New(stamp) = self.intake.admit(tx, self.keys[at]) else { continue };
            self.alerts.clear();
            self.shard.decide_ahead(tx, &self.ahead[at], &stamp, &mut self.verdict, &mut self.alerts)?;
            *self.actions.entry(self.verdict.action.name()).or_default() += 1;
        }
        Ok(())
    }

    fn point(&self, curve: &str, at: u64, spent: Duration, records: u64, more: Value) -> Value {
        let ns = u64::try_from(spent.as_nanos() / u128::from(records.max(1))).unwrap_or(u64::MAX);
        eprintln!("{curve} {at}: {ns} ns per record {more}");
        let mut point = json!({ "curve": curve, "at": at, "ns_per_record": ns, "actions": self.actions });
        if let (Some(point), Value::Object(more)) = (point.as_object_mut(), more) {
            point.extend(more);
        }
        point
    }
}

/// With ids of twelve bytes, a place near the agent's own, and one of five kinds of merchant.
fn transaction(payment: Payment, number: u64) -> Transaction<'static> {
    const SHOPS: [(&str, &str); 5] = [
        ("grocer.example", "groceries"),
        ("books.example", "books"),
        ("swiftbistro.example", "restaurants"),
        ("riversoft.example", "software"),
        ("pharmacy.example", "pharmacy"),
    ];
    let Payment { agent, user, time_us, cents } = payment;
    let (merchant, category) = SHOPS[usize::try_from(mixed(agent ^ number >> 3) % 5).unwrap_or(0)];
    let degree = |seed: u64| i32::try_from(mixed(agent ^ seed) % 1_600_000_000).unwrap_or(0) - 800_000_000;
    let near = i32::try_from(mixed(number) % 20_000).unwrap_or(0);
    Transaction {
        tx_id: format!("tx_{number:09}").into(),
        agent_id: format!("agt_{agent:08}").into(),
        user_id: format!("usr_{user:08}").into(),
        mandate_id: Some(format!("mdt_{agent:08}").into()),
        merchant: Cow::Borrowed(merchant),
        merchant_category: Some(Cow::Borrowed(category)),
        amount: Amount(i128::from(cents) * 1_000_000),
        currency: Currency::USD,
        country: Some(*b"US"),
        location: Some(Location { lat_e7: degree(1) + near, lng_e7: degree(2) + near }),
        location_source: None,
        tx_time: Timestamp(time_us),
        record_time: Some(Timestamp(time_us + SECOND_US)),
        payment_id: None,
        fingerprint: mixed(number),
    }
}
