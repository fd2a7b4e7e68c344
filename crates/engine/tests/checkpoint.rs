//! How long a checkpoint stops the stream: `cargo test --release -p weir-engine --test checkpoint -- --ignored
//! --nocapture` prints it. That it is exact is proved in `crates/proof/tests/restore.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panicking, and this one prints what it measures"
)]

use std::env;
use std::time::{Duration, Instant};

use weir_engine::{Admission, Config, Intake, Shard};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::time::{DAY_US, SECOND_US};
use weir_events::{Alert, Currency, Timestamp, Verdict};

/// 2026-05-05T00:00:00Z.
const T0_US: i64 = 20_578 * DAY_US;
const SLICE_ROWS: usize = 1_000;

struct Line {
    intake: Intake,
    shard: Shard,
    verdict: Verdict,
    alerts: Vec<Alert>,
    sent: usize,
}

impl Line {
    fn pay(&mut self, agent: usize) {
        self.sent += 1;
        let time = Timestamp(T0_US + i64::try_from(self.sent).unwrap() * SECOND_US / 100);
        let record = format!(
            r#"{{"tx_id":"tx_{}","agent_id":"agt_{agent}","user_id":"usr_{agent}","mandate_id":"mdt_{agent}","merchant":"shop.example","merchant_category":"books","amount":"12.5","currency":"USD","tx_time":"{time}"}}"#,
            self.sent
        );
        let tx = parse_transaction(record.as_bytes(), Currency::USD).unwrap();
        let Admission::New(stamp) = self.intake.admit(&tx, Intake::key(&tx)) else { panic!("{record}") };
        self.shard.decide(&tx, &stamp, &mut self.verdict, &mut self.alerts).unwrap();
    }

    /// A checkpoint, with as many payments between two slices as a batch may have.
    fn checkpoint(&mut self, what: &str, agents: usize) {
        let start = Instant::now();
        self.shard.begin_checkpoint(&mut self.intake);
        let begun = start.elapsed();
        let mut slices: Vec<Duration> = Vec::new();
        let (mut rows, mut bytes, mut finished) = (0, 0, false);
        while !finished {
            let start = Instant::now();
            let slice = self.shard.continue_checkpoint(SLICE_ROWS).unwrap();
            let took = start.elapsed();
            slices.push(took);
            finished = slice.finished;
            for (_, batch) in slice.batches {
                rows += batch.num_rows();
                bytes += batch.get_array_memory_size();
            }
            for number in 0..100 {
                self.pay((slices.len() * 7_919 + number * 104_729) % agents);
            }
        }
        let start = Instant::now();
        self.shard.checkpoint_kept();
        let kept = start.elapsed();
        slices.sort_unstable();
        let part = |of_thousand: usize| slices.get((slices.len() - 1) * of_thousand / 1000).unwrap();
        println!(
            "{what}: begin {begun:?}, {} slices of {SLICE_ROWS} rows: half within {:?}, 99 % {:?}, 99.9 % {:?}, all {:?}; kept {kept:?}; {rows} rows, {} MB",
            slices.len(),
            part(500),
            part(990),
            part(999),
            part(1000),
            bytes / 1_000_000
        );
    }
}

#[test]
#[ignore = "prints times, and takes a while"]
fn how_long_a_checkpoint_stops_the_stream() {
    let agents = env::var("WEIR_AGENTS").map_or(1_000_000, |text| text.parse().unwrap());
    let config = Config::default();
    let (intake, shard) = (Intake::new(&config, 1), Shard::new(&config, 1));
    let mut line = Line { intake, shard, verdict: Verdict::default(), alerts: Vec::new(), sent: 0 };
    line.shard.track_changes();
    line.intake.track_changes();
    let start = Instant::now();
    for agent in 0..agents {
        let mandate = format!(
            r#"{{"mandate_id":"mdt_{agent}","agent_id":"agt_{agent}","user_id":"usr_{agent}","scope_merchant":"shop.example","max_amount":"1000"}}"#
        );
        let record = parse_mandate(mandate.as_bytes(), Currency::USD).unwrap();
        line.shard.apply(&line.shard.prepare(&record)).unwrap();
        line.pay(agent);
    }
    println!("{agents} agents made in {:?}", start.elapsed());
    line.checkpoint("everything", agents);
    line.checkpoint("little", agents);
    for agent in 0..agents {
        line.pay(agent);
    }
    line.checkpoint("every agent once more", agents);
}
