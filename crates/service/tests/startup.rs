//! How long a shard takes to start from a snapshot: `cargo test --release -p weir-service --test startup -- --ignored
//! --nocapture` prints it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panicking, and this one prints what it measures"
)]

use std::sync::Arc;
use std::time::Instant;

use weir_engine::{Admission, Config, Intake, STATE_VERSION, Shard};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::time::{DAY_US, SECOND_US};
use weir_events::{Currency, Timestamp, Verdict};
use weir_service::snapshots::{Store, Taken, Writer};

/// 2026-05-05T00:00:00Z.
const T0_US: i64 = 20_578 * DAY_US;

/// A shard of so many agents, each with a mandate and two payments.
fn state(agents: usize) -> (Shard, Intake) {
    let config = Config::default();
    let (mut shard, mut intake) = (Shard::new(&config, 1), Intake::new(&config, 1));
    shard.track_changes();
    intake.track_changes();
    let (mut verdict, mut alerts) = (Verdict::default(), Vec::new());
    for sent in 0..2 * agents {
        let agent = sent % agents;
        if sent < agents {
            let mandate = format!(
                r#"{{"mandate_id":"mdt_{agent}","agent_id":"agt_{agent}","user_id":"usr_{agent}","scope_merchant":"shop.example","max_amount":"1000"}}"#
            );
            let record = parse_mandate(mandate.as_bytes(), Currency::USD).unwrap();
            shard.apply(&shard.prepare(&record)).unwrap();
        }
        let time = Timestamp(T0_US + i64::try_from(sent).unwrap() * SECOND_US / 100);
        let record = format!(
            r#"{{"tx_id":"tx_{sent}","agent_id":"agt_{agent}","user_id":"usr_{agent}","mandate_id":"mdt_{agent}","merchant":"shop.example","merchant_category":"books","amount":"12.5","currency":"USD","tx_time":"{time}"}}"#
        );
        let tx = parse_transaction(record.as_bytes(), Currency::USD).unwrap();
        let Admission::New(stamp) = intake.admit(&tx, Intake::key(&tx)) else { panic!("{record}") };
        shard.decide(&tx, &stamp, &mut verdict, &mut alerts).unwrap();
    }
    (shard, intake)
}

#[test]
#[ignore = "prints times, and takes a while"]
fn how_long_a_start_from_a_snapshot_takes() {
    let agents = std::env::var("WEIR_AGENTS").map_or(1_000_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&format!("file:{}", folder.path().display())).unwrap());
    let (mut shard, mut intake) = state(agents);
    let mut writer = Writer::new(Arc::clone(&store), 0);
    let begun = Instant::now();
    writer.begin().unwrap();
    shard.begin_checkpoint(&mut intake);
    let mut finished = false;
    while !finished {
        let slice = shard.continue_checkpoint(4_000).unwrap();
        finished = slice.finished;
        slice.batches.iter().for_each(|(table, batch)| writer.add(table, batch).unwrap());
    }
    let config = Config::default();
    let taken = Taken {
        state_version: STATE_VERSION,
        partition: 0,
        partitions: 1,
        sequence: 1,
        digest: "00".repeat(32),
        position: 0,
        config: serde_json::to_value(&config).unwrap(),
        config_digest: config.digest(),
        mandates_rejected_to: Vec::new(),
    };
    writer.finish(&taken, 1).unwrap();
    println!("{agents} agents: written in {:?}", begun.elapsed());

    let begun = Instant::now();
    let manifest = store.manifests(0).unwrap().remove(0);
    let tables = store.load(&manifest).unwrap();
    let loaded = begun.elapsed();
    let (again, _) = Shard::restore(&config, 2, &tables).unwrap();
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    println!(
        "started in {:?}, of that read and checked in {loaded:?}; {} MB",
        begun.elapsed(),
        bytes / 1_000_000
    );
    assert_eq!(again.agents_seen(), agents);
}
