//! In steady state a record goes from text to decision without touching the heap; and through the service, from a
//! batch of records to what is committed, the batch alone does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by panicking"
)]
#![allow(unsafe_code, reason = "an allocator that counts is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use weir_engine::config::CurrencyCode;
use weir_engine::{Admission, Config, Intake, Shard};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::time::{DAY_US, MINUTE_US, SECOND_US};
use weir_events::{Alert, Amount, Currency, Decision, Plain, Span, Timestamp, Verdict};
use weir_log::{Output, Partitioner, Record, Records};
use weir_proof::Random;
use weir_service::keeper::Keeper;
use weir_service::registry::{Registry, RegistrySettings};
use weir_service::{Portion, Settings, Start};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised by our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as promised by our caller.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised by our caller.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

const AGENTS: usize = 12;
/// One every ten minutes.
const ROUNDS_PER_DAY: usize = 144;

/// Honest agents that restock every ten minutes: some of it fast enough for `burst.rate_bounded`, with
/// a payment now and then without a mandate or in a category that no list names, and a few out of order.
struct Traffic {
    random: Random,
    round_us: i64,
    number: usize,
}

impl Traffic {
    fn round(&mut self) -> Vec<String> {
        let mut lines: Vec<(i64, String)> = Vec::new();
        for agent in 0..AGENTS {
            let mut time_us = self.round_us + self.random.between(0, 60 * SECOND_US);
            let payments = if agent > 0 && self.random.percent(30) { 8 } else { 2 };
            for _ in 0..payments {
                time_us += self.random.between(SECOND_US, 15 * SECOND_US);
                let delay_us = if self.random.percent(5) { 20 * SECOND_US } else { 0 };
                lines.push((time_us + delay_us, self.line(agent, time_us)));
            }
        }
        self.round_us += 10 * MINUTE_US;
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn line(&mut self, agent: usize, time_us: i64) -> String {
        self.number += 1;
        let cents = self.random.between(100, 9_999);
        let category = self.random.pick(&["groceries", "5411", "Falconry Supplies", "Food-Delivery"]);
        // The first has no mandate, and so that nothing asks for a person, no bursts either.
        let mandate = if agent == 0 { String::new() } else { format!(r#""mandate_id":"mdt_{agent}","#) };
        let place = match agent % 3 {
            0 => String::new(),
            _ => format!(r#""lat":{}.5,"lng":-122.4,"#, 37 + self.random.below(2)),
        };
        format!(
            r#"{{"tx_id":"tx_{:09}","agent_id":"agt_{agent}","user_id":"usr_{agent}",{mandate}{place}"merchant":"WWW.Shop.Example","merchant_category":"{category}","amount_minor":{cents},"currency":"EUR","tx_time":"{}"}}"#,
            self.number,
            Timestamp(time_us)
        )
    }
}

fn mandate(agent: usize) -> String {
    format!(
        r#"{{"mandate_id":"mdt_{agent}","agent_id":"agt_{agent}","user_id":"usr_{agent}","scope_merchant":"shop.example","max_amount":"100000000","max_amount_period":"month","currency":"EUR"}}"#
    )
}

/// The engine with everything that is reused from record to record.
struct Line {
    config: Config,
    intake: Intake,
    shard: Shard,
    verdict: Verdict,
    alerts: Vec<Alert>,
    encoded: Vec<u8>,
    bounded_bursts: u64,
}

impl Line {
    fn decide(&mut self, line: &str) {
        let tx = parse_transaction(line.as_bytes(), self.config.base_currency.0).unwrap();
        let Admission::New(stamp) = self.intake.admit(&tx, Intake::key(&tx)) else {
            panic!("{line} is not new")
        };
        self.shard.decide(&tx, &stamp, &mut self.verdict, &mut self.alerts).unwrap();
        assert!(self.alerts.is_empty(), "honest traffic raises no alert: {:?}", self.alerts);
        let bounded = |signal: &&weir_events::decision::Signal| signal.tier == "rate_bounded";
        self.bounded_bursts += self.verdict.signals.iter().filter(bounded).count() as u64;
        self.encoded.clear();
        let decision =
            Decision { transaction: &tx, verdict: &self.verdict, config_digest: "0123456789abcdef" };
        decision.write(&mut self.encoded);
    }
}

/// A configuration under which the traffic comes to a steady state soon.
fn config() -> Config {
    let mut config = Config::default();
    // The memory of repeats grows for its horizon; an hour of it is reached soon.
    config.time.dedup_horizon = Span::hours(1);
    // Agents learn no threshold of their own, so that bursts go on giving signals.
    config.detectors.burst.max_threshold = config.detectors.burst.min_count;
    config.currency_rates = [(CurrencyCode(Currency(*b"EUR")), Plain(Amount::parse("1.08").unwrap()))].into();
    config
}

#[test]
fn a_steady_stream_allocates_nothing() {
    let config = config();
    let mut shard = Shard::new(&config, 1);
    // Builds for tests pack whatever is not in use at once; what is in use is not packed.
    shard.pack_after(DAY_US);
    let mut line = Line {
        intake: Intake::new(&config, 1),
        shard,
        config,
        verdict: Verdict::default(),
        alerts: Vec::new(),
        encoded: Vec::new(),
        bounded_bursts: 0,
    };
    for agent in 1..AGENTS {
        let record = parse_mandate(mandate(agent).as_bytes(), line.config.base_currency.0).unwrap();
        let change = line.shard.prepare(&record);
        line.shard.apply(&change).unwrap();
    }
    let start_us = Timestamp::parse("2026-05-04T00:00:00Z").unwrap().0;
    let mut traffic = Traffic { random: Random::new(7), round_us: start_us, number: 0 };
    for _ in 0..3 * ROUNDS_PER_DAY {
        traffic.round().iter().for_each(|record| line.decide(record));
    }
    line.bounded_bursts = 0;
    let (mut records, mut allocations) = (0_u64, 0_u64);
    for _ in 0..ROUNDS_PER_DAY {
        let round = traffic.round();
        let before = ALLOCATIONS.get();
        round.iter().for_each(|record| line.decide(record));
        allocations += ALLOCATIONS.get() - before;
        records += round.len() as u64;
    }
    assert!(line.bounded_bursts > records / 100, "{} bounded bursts of {records}", line.bounded_bursts);
    assert_eq!(allocations, 0, "{allocations} allocations in {records} records");
}

/// A batch as a log gives it.
struct Batch {
    from: i64,
    lines: Vec<String>,
}

impl Records for Batch {
    fn len(&self) -> usize {
        self.lines.len()
    }

    fn get(&self, at: usize) -> Option<Record<'_>> {
        let line = self.lines.get(at)?;
        let (_, user_id) = line.split_once(r#""user_id":""#)?;
        let (user_id, _) = user_id.split_once('"')?;
        let offset = self.from + i64::try_from(at).ok()?;
        Some(Record {
            offset,
            timestamp_us: None,
            key: Some(user_id.as_bytes()),
            value: Some(line.as_bytes()),
        })
    }
}

/// What a batch may allocate, however many records it has: its own lists, its entry in the journal, and in profiles the
/// ids of open episodes.
const BATCH_ALLOCATIONS_MAX: u64 = 96;

#[test]
fn a_batch_of_the_service_allocates_for_itself_and_not_for_its_records() {
    let settings = Arc::new(Settings {
        config: config(),
        transactions_topic: Some("transactions".to_owned()),
        mandates_topic: Some("mandates".to_owned()),
        partitioner: Partitioner::Murmur2,
        start: Start::Earliest,
        batch_records_max: usize::MAX,
        batch_mandates: Portion::WHOLE,
        registry_mandates_max: AGENTS,
        snapshots_url: String::new(),
        snapshots_every: Duration::MAX,
        seed: 1,
    });
    let registry = Registry::new(RegistrySettings {
        base_currency: settings.config.base_currency.0,
        mandates_max: AGENTS,
        topic: settings.mandates_topic.clone(),
        partitioner: settings.partitioner,
        partitions: 1,
    });
    for agent in 1..AGENTS {
        let (key, value) = (format!("mdt_{agent}"), mandate(agent));
        let offset = i64::try_from(agent).unwrap();
        let record =
            Record { offset, timestamp_us: None, key: Some(key.as_bytes()), value: Some(value.as_bytes()) };
        registry.put(0, record).unwrap().unwrap();
    }
    let mut keeper = Keeper::new(&settings, 0, 1, 0);
    // As above.
    keeper.pack_after(DAY_US);
    let start_us = Timestamp::parse("2026-05-04T00:00:00Z").unwrap().0;
    let mut traffic = Traffic { random: Random::new(7), round_us: start_us, number: 0 };
    let mut output = Output::default();
    let (mut most, mut longest) = (0, 0);
    for number in 0..ROUNDS_PER_DAY {
        // Some batches are ten times as long as others.
        let rounds = if number % 3 == 0 { 10 } else { 1 };
        let lines: Vec<String> = (0..rounds).flat_map(|_| traffic.round()).collect();
        let batch = Batch { from: keeper.position(), lines };
        let before = ALLOCATIONS.get();
        let tally = keeper.decide(&batch, &registry, None, true, &mut output).unwrap().unwrap();
        let allocations = ALLOCATIONS.get() - before;
        assert_eq!((tally.decisions, tally.rejects), (batch.lines.len() as u64, 0));
        if number > ROUNDS_PER_DAY / 2 {
            most = most.max(allocations);
            longest = longest.max(batch.len() as u64);
        }
    }
    assert!(longest > 3 * BATCH_ALLOCATIONS_MAX, "{longest} records are too few to tell");
    assert!(most <= BATCH_ALLOCATIONS_MAX, "{most} allocations in a batch of at most {longest} records");
}
