//! How time and memory grow: with the number of agents and of mandates, with one user who makes half of all payments,
//! with agents of one user who pay alike, and with disorder; and how long a start from a snapshot takes.
//!
//! The payments are made here and never parsed, so that ten million agents take minutes. Every figure is of one
//! thread, but for the starts, and every point of a process of its own; how many decisions were what shows that they
//! were decided. Ten million agents and mandates take up to 16 GiB; `--small` leaves them out.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its results")]
#![allow(clippy::indexing_slicing, reason = "a benchmark may panic")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_benches::{processor_time, resident_bytes};
use weir_engine::{AHEAD_MAX, Admission, Ahead, Config, Intake, STATE_VERSION, Shard};
use weir_events::time::{DAY_US, MINUTE_US, SECOND_US};
use weir_events::{
    Alert, Amount, CapPeriod, Currency, Location, Mandate, MandateRecord, MandateStatus, Timestamp,
    Transaction, Verdict,
};
use weir_log::{Partitioner, Record};
use weir_service::registry::{Registry, RegistrySettings};
use weir_service::snapshots::{self, Store, Taken, Writer};

/// Payments of each agent on the curve of agents, and how long it rests between two of them.
const ROUNDS: u64 = 10;
const REST_US: i64 = 25 * 60 * MINUTE_US;
const AGENTS: &[u64] = &[1_000, 10_000, 100_000, 1_000_000];
/// Agents of a shard that starts from a snapshot.
const RECOVERED: &[u64] = &[10_000, 100_000, 300_000, 1_000_000, 3_000_000];
/// Rows of a slice of a snapshot, between which a service decides.
const SLICE_ROWS: usize = 1_000;
/// Mandates in the registry.
const MANDATES: &[u64] = &[10_000, 100_000, 1_000_000];
const LARGE: u64 = 10_000_000;
const ALLOCATOR: &str = "glibc.malloc.top_pad=16777216:glibc.malloc.mmap_threshold=33554432:\
                         glibc.malloc.trim_threshold=1073741824";
/// So many agents pay in turns before the next ones do.
const BLOCK: u64 = 500_000;
/// Payments that are timed on the curve of agents, at most.
const SAMPLE: u64 = 300_000;
/// Payments on each of the other curves.
const PAYMENTS: u64 = 300_000;
const START_US: i64 = 1_780_000_000 * SECOND_US;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--point", curve, at] => println!("{}", point(curve, at.parse()?)?),
        ["--small", path] => fs::write(path, points(None)?)?,
        [path] if !path.starts_with('-') => fs::write(path, points(Some(LARGE))?)?,
        _ => return Err("usage: weir-scale [--small] FILE, or --point CURVE AT".into()),
    }
    Ok(())
}

/// Every point of every curve, each measured by a process of its own, and so with memory of its own.
fn points(large: Option<u64>) -> Result<String, Box<dyn Error>> {
    let and_large = |points: &[u64]| points.iter().copied().chain(large).collect();
    let curves: [(&str, Vec<u64>); 8] = [
        ("agents", and_large(AGENTS)),
        ("agents_without_mandates", and_large(AGENTS)),
        ("mandates", and_large(MANDATES)),
        ("payments_in_a_day", and_large(&[1_000_000])),
        ("recovered_agents", RECOVERED.to_vec()),
        ("hot_user_percent", vec![0, 10, 25, 50]),
        ("agents_paying_alike", vec![1, 10, 100]),
        ("minutes_out_of_order", (0..=5).collect()),
    ];
    let mut points = Vec::new();
    for (curve, at) in curves.iter().flat_map(|(curve, all)| all.iter().map(move |at| (curve, at))) {
        let mut own = Command::new(std::env::current_exe()?);
        // As the service sets its allocator.
        own.env("GLIBC_TUNABLES", ALLOCATOR);
        let output = own.args(["--point", curve, &at.to_string()]).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("{curve} {at}: {}", output.status).into());
        }
        points.push(serde_json::from_slice::<Value>(&output.stdout)?);
    }
    Ok(serde_json::to_string_pretty(&points)? + "\n")
}

fn point(curve: &str, at: u64) -> Result<Value, Box<dyn Error>> {
    match curve {
        "agents" => agents_curve(at, true),
        "agents_without_mandates" => agents_curve(at, false),
        "mandates" => mandates(at),
        "payments_in_a_day" => day(at),
        "recovered_agents" => recovery(at),
        "hot_user_percent" => hot_user(at),
        "agents_paying_alike" => alike(at),
        "minutes_out_of_order" => disorder(at),
        _ => Err(format!("there is no curve {curve}").into()),
    }
}

/// Every agent pays ten times, a day and an hour apart, as one of a block of agents that take turns; each has a user
/// of its own and, where `granted`, a mandate. The time is that of one more payment each of agents from all blocks, of
/// which none has paid for a day and most not for months; `bytes_per_agent` is the memory before these.
fn agents_curve(agents: u64, granted: bool) -> Result<Value, Box<dyn Error>> {
    let before = resident_bytes().unwrap_or_default();
    let mut line = Line::new(Config::default());
    if granted {
        (0..agents).try_for_each(|agent| line.grant(agent, agent))?;
    }
    let mut now_us = START_US;
    let turn = |agent: u64, time_us: i64| Payment {
        agent,
        user: agent,
        time_us,
        cents: 1_000 + agent % 5_000,
        granted,
    };
    for first in (0..agents).step_by(usize::try_from(BLOCK)?) {
        let block = BLOCK.min(agents - first);
        for _ in 0..ROUNDS {
            // Each agent once, and neighbours far apart. The factor is a prime that divides no size of a block.
            let agent = |at: u64| first + at.wrapping_mul(7_919) % block;
            line.pay((0..block).map(|at| turn(agent(at), now_us + spread(at, block, REST_US))))?;
            now_us += REST_US;
        }
    }
    let bytes = resident_bytes().unwrap_or_default().saturating_sub(before);
    let (begun, sample) = (line.spent, agents.min(SAMPLE));
    let agent = |at: u64| mixed(at) % agents;
    line.pay((0..sample).map(|at| turn(agent(at), now_us + spread(at, sample, REST_US))))?;
    let name = if granted { "agents" } else { "agents_without_mandates" };
    let more = json!({ "bytes_per_agent": bytes / agents, "bytes": bytes });
    Ok(line.point(name, agents, line.spent - begun, sample, more))
}

/// So many mandates are in the registry that the instance's shards share, and in the shard's own table; two thousand
/// agents pay.
fn mandates(count: u64) -> Result<Value, Box<dyn Error>> {
    let before = resident_bytes().unwrap_or_default();
    let registry = Registry::new(RegistrySettings {
        base_currency: Currency::USD,
        mandates_max: usize::try_from(count)?,
        topic: None,
        partitioner: Partitioner::Murmur2,
        partitions: 1,
    });
    for agent in 0..count {
        let text = format!(
            r#"{{"mandate_id":"mdt_{agent:08}","agent_id":"agt_{agent:08}","user_id":"usr_{agent:08}","max_amount":"1000000","max_amount_period":"month","currency":"USD","status":"active"}}"#
        );
        let offset = i64::try_from(agent)?;
        let record = Record { offset, timestamp_us: None, key: None, value: Some(text.as_bytes()) };
        registry.put(0, record)?.map_err(|bad| bad.fault.message)?;
    }
    let registry_bytes = resident_bytes().unwrap_or_default().saturating_sub(before);
    let mut line = Line::new(Config::default());
    (0..count).try_for_each(|agent| line.grant(agent, agent))?;
    let bytes = resident_bytes().unwrap_or_default().saturating_sub(before) - registry_bytes;
    let payments = (0..PAYMENTS).map(|turn| {
        let agent = mixed(turn) % 2_000 * (count / 2_000);
        let time_us = START_US + spread(turn, PAYMENTS, 2 * DAY_US);
        Payment { agent, user: agent, time_us, cents: 100 + mixed(turn ^ 2) % 100_000, granted: true }
    });
    line.pay(payments)?;
    let spent = line.spent;
    let each =
        json!({ "registry_bytes_per_mandate": registry_bytes / count, "bytes_per_mandate": bytes / count });
    drop(registry);
    Ok(line.point("mandates", count, spent, PAYMENTS, each))
}

/// So many payments within a day, a hundred of each agent: their ids are remembered, and what the windows of a day need.
fn day(payments: u64) -> Result<Value, Box<dyn Error>> {
    let agents = payments / 100;
    let mut line = Line::new(Config::default());
    let pay = |turn: u64| {
        let time_us = START_US + spread(turn, payments, DAY_US);
        let agent = mixed(turn) % agents;
        Payment { agent, user: agent, time_us, cents: 100 + mixed(turn ^ 2) % 100_000, granted: false }
    };
    // Every agent is known when the counting begins.
    line.pay((0..agents).map(|agent| Payment { agent, ..pay(0) }))?;
    let (before, begun) = (resident_bytes().unwrap_or_default(), line.spent);
    line.pay((0..payments).map(pay))?;
    let bytes = resident_bytes().unwrap_or_default().saturating_sub(before);
    let more = json!({ "bytes_per_payment": bytes / payments });
    Ok(line.point("payments_in_a_day", payments, line.spent - begun, payments, more))
}

/// A shard of so many agents, with a mandate and two payments each, starts from its snapshot on this disk; in a
/// process that sets the allocator as the service does.
fn recovery(agents: u64) -> Result<Value, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = Arc::new(Store::open(&format!("file:{}", folder.path().display()))?);
    let config = Config::default();
    let mut line = Line::new(config.clone());
    line.shard.track_changes();
    line.intake.track_changes();
    (0..agents).try_for_each(|agent| line.grant(agent, agent))?;
    line.pay((0..2 * agents).map(|turn| {
        let (agent, time_us) = (turn % agents, START_US + spread(turn, 2 * agents, DAY_US));
        Payment { agent, user: agent, time_us, cents: 1_250, granted: true }
    }))?;
    let mut writer = Writer::new(Arc::clone(&store), 0);
    writer.begin()?;
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    line.shard.begin_checkpoint(&mut line.intake);
    let mut finished = false;
    while !finished {
        let slice_begun = Instant::now();
        let slice = line.shard.continue_checkpoint(SLICE_ROWS)?;
        longest = longest.max(slice_begun.elapsed());
        finished = slice.finished;
        slice.batches.iter().try_for_each(|(table, batch)| writer.add(table, batch))?;
    }
    let taken = Taken {
        state_version: STATE_VERSION,
        partition: 0,
        partitions: 1,
        sequence: 1,
        digest: "00".repeat(32),
        position: 0,
        config: serde_json::to_value(&config)?,
        config_digest: config.digest(),
        mandates_rejected_to: Vec::new(),
    };
    writer.finish(&taken, 1)?;
    let written = begun.elapsed();
    drop(line);
    let begun = Instant::now();
    let manifest = store.manifests(0)?.into_iter().next().ok_or("no snapshot")?;
    let (shard, _) = snapshots::restore(&config, 2, &store.load(&manifest)?)?;
    let restored = begun.elapsed();
    if shard.agents_seen() as u64 != agents {
        return Err("agents are missing".into());
    }
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let (seconds, written_seconds) = (rounded(restored), rounded(written));
    let longest_slice_ms = rounded(longest * 1_000);
    eprintln!(
        "recovered_agents {agents}: {seconds} s, written in {written_seconds} s, longest slice {longest_slice_ms} ms"
    );
    Ok(json!({
        "curve": "recovered_agents", "at": agents, "seconds": seconds, "snapshot_bytes": bytes,
        "written_seconds": written_seconds, "longest_slice_ms": longest_slice_ms,
    }))
}

/// Seconds to three decimals.
fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

/// Two thousand users pay, and one of them, with ten agents, makes this share of all payments.
fn hot_user(share_percent: u64) -> Result<Value, Box<dyn Error>> {
    let payments = (0..PAYMENTS).map(|turn| {
        let hot = mixed(turn) % 100 < share_percent;
        let user = if hot { 0 } else { 1 + mixed(turn ^ 1) % 2_000 };
        let agent = if hot { mixed(turn ^ 2) % 10 } else { 10 + user };
        let cents = 100 + mixed(turn ^ 3) % 100_000;
        Payment { agent, user, time_us: START_US + spread(turn, PAYMENTS, 7 * DAY_US), cents, granted: true }
    });
    curve("hot_user_percent", share_percent, payments)
}

/// So many agents of one user pay nearly the same, all of them within seconds, all the time: what pairs them looks
/// at most payments.
fn alike(agents: u64) -> Result<Value, Box<dyn Error>> {
    let payments = (0..PAYMENTS).map(|turn| {
        let time_us = START_US + i64::try_from(turn).unwrap_or(0) * 200_000;
        Payment { agent: turn % agents, user: 0, time_us, cents: 5_000 + turn % 20, granted: true }
    });
    curve("agents_paying_alike", agents, payments)
}

/// Two thousand agents whose payments arrive up to so many minutes late.
fn disorder(minutes: u64) -> Result<Value, Box<dyn Error>> {
    let span_us = i64::try_from(minutes)? * MINUTE_US + 1;
    let payments = (0..PAYMENTS).map(|turn| {
        let late_us = i64::try_from(mixed(turn)).unwrap_or(0).rem_euclid(span_us);
        let agent = mixed(turn ^ 1) % 2_000;
        let time_us = START_US + spread(turn, PAYMENTS, 2 * DAY_US) - late_us;
        Payment { agent, user: agent / 2, time_us, cents: 100 + mixed(turn ^ 2) % 100_000, granted: true }
    });
    curve("minutes_out_of_order", minutes, payments)
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
    /// Whether a mandate is presented.
    granted: bool,
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
    let Payment { agent, user, time_us, cents, granted } = payment;
    let (merchant, category) = SHOPS[usize::try_from(mixed(agent ^ number >> 3) % 5).unwrap_or(0)];
    let degree = |seed: u64| i32::try_from(mixed(agent ^ seed) % 1_600_000_000).unwrap_or(0) - 800_000_000;
    let near = i32::try_from(mixed(number) % 20_000).unwrap_or(0);
    Transaction {
        tx_id: format!("tx_{number:09}").into(),
        agent_id: format!("agt_{agent:08}").into(),
        user_id: format!("usr_{user:08}").into(),
        mandate_id: granted.then(|| format!("mdt_{agent:08}").into()),
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
