//! A shard that could not commit is recovered, and goes on with what was not committed.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use weir_embedded::{EmbeddedLog, Options};
use weir_engine::Config;
use weir_log::{
    Answer, Assignment, DecisionReader, Extent, Feed, Kind, Live, Log, LogError, MandateSource, Output,
    Partition, Partitioner, Reader, Sink, Submit,
};
use weir_service::metrics::Metrics;
use weir_service::{Instance, Portion, Settings, Start, now_us};

/// Longer than recovering a few times takes.
const SOON: Duration = Duration::from_secs(60);

/// An embedded log of which so many commits fail.
#[derive(Clone)]
struct Flaky {
    log: EmbeddedLog,
    failures: Arc<AtomicU32>,
}

struct FlakyPartition {
    own: Box<dyn Partition>,
    failures: Arc<AtomicU32>,
}

struct FlakySink {
    own: Box<dyn Sink>,
    failures: Arc<AtomicU32>,
}

impl Log for Flaky {
    fn partitions(&self) -> Result<i32, LogError> {
        self.log.partitions()
    }

    fn next_assignment(&self, wait: Duration) -> Result<Option<Assignment>, LogError> {
        self.log.next_assignment(wait)
    }

    fn partition(&self, number: i32) -> Result<Box<dyn Partition>, LogError> {
        let own = self.log.partition(number)?;
        Ok(Box::new(FlakyPartition { own, failures: Arc::clone(&self.failures) }))
    }

    fn mandates(&self) -> Result<Option<Box<dyn MandateSource>>, LogError> {
        self.log.mandates()
    }

    fn decisions(&self, from: Option<&[i64]>) -> Result<Box<dyn DecisionReader>, LogError> {
        self.log.decisions(from)
    }

    fn close(&self) {
        self.log.close();
    }
}

impl Partition for FlakyPartition {
    fn open(&mut self) -> Result<Extent, LogError> {
        self.own.open()
    }

    fn read(&mut self, feed: Feed, from: i64) -> Result<Box<dyn Reader>, LogError> {
        self.own.read(feed, from)
    }

    fn go_live(&mut self, from: i64) -> Result<Live, LogError> {
        let (source, own) = self.own.go_live(from)?;
        Ok((source, Box::new(FlakySink { own, failures: Arc::clone(&self.failures) })))
    }

    fn forget_before(&mut self, journal: i64, transactions: i64) -> Result<(), LogError> {
        self.own.forget_before(journal, transactions)
    }
}

impl Sink for FlakySink {
    fn commit(
        &mut self,
        output: &Output,
        retrying: &dyn Fn(&str) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let less = |left: u32| left.checked_sub(1);
        match self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Err(LogError::Broken("not this time".to_owned())),
            Err(_) => self.own.commit(output, retrying),
        }
    }
}

fn settings(snapshots: &str) -> Settings {
    Settings {
        config: Config::default(),
        transactions_topic: None,
        mandates_topic: None,
        partitioner: Partitioner::Any,
        start: Start::Earliest,
        batch_records_max: 100,
        batch_mandates: Portion::OF_SERVICE,
        registry_mandates_max: 100,
        snapshots_url: format!("file:{snapshots}"),
        snapshots_every: Duration::from_millis(50),
        seed: 1,
    }
}

/// Sends a transaction until there is a decision.
fn decided(log: &EmbeddedLog, tx_id: usize) -> Vec<u8> {
    let record = format!(
        r#"{{"tx_id":"t{tx_id}","agent_id":"a","user_id":"u","merchant":"m","amount":"1","tx_time":"2026-05-05T10:00:00Z"}}"#
    );
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        let (answers, answered) = channel();
        if log.submit(Kind::Transactions, vec![record.clone().into_bytes()], answers).is_ok()
            && let Ok((_, Answer::Decided(decision))) = answered.recv_timeout(SOON)
        {
            return decision;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no decision of t{tx_id}");
}

#[test]
fn a_shard_goes_on_after_commits_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        retention: Duration::from_secs(3_600),
        queue_records_max: 100,
        queue_bytes_max: 1 << 20,
        now_us,
    };
    let log = EmbeddedLog::open(folder.path(), options).unwrap();
    let failures = Arc::new(AtomicU32::new(0));
    let flaky = Flaky { log: log.clone(), failures: Arc::clone(&failures) };
    let snapshots = folder.path().join("snapshots");
    let metrics = Arc::new(Metrics::new());
    let instance =
        Instance::new(Arc::new(flaky), settings(&snapshots.display().to_string()), metrics).unwrap();
    let own = Arc::clone(&instance);
    let serving = thread::spawn(move || own.run());
    let mut decisions = vec![decided(&log, 0)];
    for n in 1..=3 {
        failures.store(1, Ordering::Relaxed);
        decisions.push(decided(&log, n));
        assert_eq!(failures.load(Ordering::Relaxed), 0);
    }
    // Each once, and the same when it is sent again.
    let mut reader = log.decisions(Some(&[0])).unwrap();
    let mut stored = Vec::new();
    while stored.len() < decisions.len() {
        stored.extend(reader.next(SOON).unwrap().into_iter().map(|(_, _, decision)| decision));
    }
    assert_eq!(stored, decisions);
    assert_eq!(decided(&log, 0), decisions[0]);
    instance.stop();
    serving.join().unwrap().unwrap();
}
