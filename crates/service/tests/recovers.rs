//! A log that fails now and then: what the instance does about it, and what it says.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_embedded::{EmbeddedLog, Options};
use weir_engine::Config;
use weir_log::{
    Answer, Assignment, DecisionReader, Extent, Feed, Kind, Live, Log, LogError, MandateEnds, MandateEvent,
    MandateSource, Output, Partition, Partitioner, Reader, Sink, Submit, Topic,
};
use weir_service::http::{Backend as _, Health};
use weir_service::metrics::Metrics;
use weir_service::{Instance, Portion, ServiceError, Settings, Start, Told, now_us};

/// Longer than recovering a few times takes.
const SOON: Duration = Duration::from_secs(60);

/// How long mandates are read: longer than a shard takes to recover.
const READING: Duration = Duration::from_millis(400);

/// An embedded log of which so many commits fail, and whose mandates are read slowly.
#[derive(Clone)]
struct Flaky {
    log: EmbeddedLog,
    /// Commits that are still to fail.
    failures: Arc<AtomicU32>,
    partitions: Arc<AtomicI32>,
    away: Arc<AtomicBool>,
}

struct FlakyPartition {
    own: Box<dyn Partition>,
    failures: Arc<AtomicU32>,
}

struct FlakySink {
    own: Box<dyn Sink>,
    failures: Arc<AtomicU32>,
}

struct SlowMandates {
    own: Box<dyn MandateSource>,
}

impl MandateSource for SlowMandates {
    fn next(&mut self, wait: Duration) -> Result<Vec<MandateEvent>, LogError> {
        thread::sleep(READING);
        self.own.next(wait)
    }

    fn ends(&self) -> Box<dyn MandateEnds> {
        self.own.ends()
    }
}

impl Log for Flaky {
    fn partitions(&self) -> Result<i32, LogError> {
        Ok(self.partitions.load(Ordering::Relaxed))
    }

    fn next_assignment(&self, wait: Duration) -> Result<Option<Assignment>, LogError> {
        if self.away.load(Ordering::Relaxed) {
            thread::sleep(wait);
            return Err(LogError::Unavailable("nobody answers".to_owned()));
        }
        self.log.next_assignment(wait)
    }

    fn partition(&self, number: i32) -> Result<Box<dyn Partition>, LogError> {
        let own = self.log.partition(number)?;
        Ok(Box::new(FlakyPartition { own, failures: Arc::clone(&self.failures) }))
    }

    fn mandates(&self) -> Result<Option<Box<dyn MandateSource>>, LogError> {
        let own = self.log.mandates()?;
        Ok(own.map(|own| Box::new(SlowMandates { own }) as Box<dyn MandateSource>))
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

/// Sends a record until it is taken, and gives the answer.
fn answered(log: &EmbeddedLog, kind: Kind, record: &str) -> Answer {
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        let (answers, answered) = channel();
        if log.submit(kind, vec![record.as_bytes().to_vec()], answers).is_ok()
            && let Ok((_, answer @ (Answer::Decided(_) | Answer::Accepted))) = answered.recv_timeout(SOON)
        {
            return answer;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no answer to {record}");
}

/// The decision of a transaction under the mandate.
fn decided(log: &EmbeddedLog, tx_id: usize) -> Vec<u8> {
    let record = format!(
        r#"{{"tx_id":"t{tx_id}","agent_id":"a","user_id":"u","mandate_id":"mdt","merchant":"m","amount":"1","tx_time":"2026-05-05T10:00:00Z"}}"#
    );
    match answered(log, Kind::Transactions, &record) {
        Answer::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

/// An instance on such a log.
struct Running {
    flaky: Flaky,
    instance: Arc<Instance>,
    serving: JoinHandle<Result<(), ServiceError>>,
    folder: TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            retention: Duration::from_secs(3_600),
            queue_records_max: 100,
            queue_bytes_max: 1 << 20,
            now_us,
        };
        let log = EmbeddedLog::open(folder.path(), options).unwrap();
        let partitions = Arc::new(AtomicI32::new(1));
        let flaky = Flaky { log, failures: Arc::default(), partitions, away: Arc::default() };
        let settings = settings(&folder.path().join("snapshots").display().to_string());
        let instance = Instance::new(Arc::new(flaky.clone()), settings, Arc::new(Metrics::new())).unwrap();
        let registry = Arc::clone(instance.registry());
        flaky.log.set_mandate_hook(Box::new(move |record| {
            registry.put(0, record.borrow()).unwrap().map_err(|bad| bad.fault.to_string())
        }));
        let own = Arc::clone(&instance);
        let serving = thread::spawn(move || own.run());
        let mandate = r#"{"mandate_id":"mdt","agent_id":"a","user_id":"u"}"#;
        assert_eq!(answered(&flaky.log, Kind::Mandates, mandate), Answer::Accepted);
        Self { flaky, instance, serving, folder }
    }

    fn health(&self) -> Health {
        Told { instance: Arc::clone(&self.instance), submit: None }.health()
    }

    /// Waits until health is as it should be.
    fn comes_to(&self, what: impl Fn(&Health) -> bool) {
        let begun = Instant::now();
        while !what(&self.health()) {
            assert!(begun.elapsed() < SOON, "{:?}", self.health());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(self) {
        self.instance.stop();
        self.serving.join().unwrap().unwrap();
        drop(self.folder);
    }
}

#[test]
fn a_shard_goes_on_after_commits_that_failed_under_the_same_mandates() {
    let running = Running::start();
    let log = &running.flaky.log;
    let mut decisions = vec![decided(log, 0)];
    for n in 1..=3 {
        running.flaky.failures.store(1, Ordering::Relaxed);
        decisions.push(decided(log, n));
        assert_eq!(running.flaky.failures.load(Ordering::Relaxed), 0);
    }
    for decision in &decisions {
        let decision = String::from_utf8_lossy(decision);
        assert!(
            decision.contains(r#""status":"active""#) && !decision.contains("mandate.unknown"),
            "{decision}"
        );
    }
    // Each once, and the same when it is sent again.
    let mut reader = log.decisions(Some(&[0])).unwrap();
    let mut stored = Vec::new();
    while stored.len() < decisions.len() {
        stored.extend(reader.next(SOON).unwrap().into_iter().map(|(_, _, decision)| decision));
    }
    assert_eq!(stored, decisions);
    assert_eq!(decided(log, 0), decisions[0]);
    running.stop();
}

#[test]
fn a_log_that_is_away_is_told_of() {
    let running = Running::start();
    running.comes_to(|health| health.ready);
    running.flaky.away.store(true, Ordering::Relaxed);
    running.comes_to(|health| !health.ready && health.details["log"] == "nobody answers");
    running.flaky.away.store(false, Ordering::Relaxed);
    running.comes_to(|health| health.ready && health.details["log"].is_null());
    running.stop();
}

#[test]
fn a_partition_count_that_changes_stops_the_instance_and_is_explained() {
    let running = Running::start();
    let first = decided(&running.flaky.log, 0);
    running.flaky.partitions.store(2, Ordering::Relaxed);
    // Whatever makes a shard begin anew; another partition that is assigned does too.
    running.flaky.failures.store(1, Ordering::Relaxed);
    let (answers, _) = channel();
    running.flaky.log.submit(Kind::Transactions, vec![b"{}".to_vec()], answers).unwrap();
    let shard = |health: &Health| health.details["partitions"]["0"].clone();
    running.comes_to(|health| !health.ready && shard(health)["state"] == "failed");
    let why = shard(&running.health())["why"].to_string();
    assert!(why.contains("has 2 partitions, but had 1") && why.contains("make new topics"), "{why}");
    assert_eq!(running.flaky.log.rows(Topic::Decisions, 0, 10).unwrap()[0].value.as_deref(), Some(&*first));
    running.stop();
}
