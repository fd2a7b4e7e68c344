//! A live partition: where its records come from and where its output goes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use weir_log::{LogError, Output, Records, Sink, Source};

use crate::error;
use crate::log::Shared;
use crate::native::{self, Queue, Signal};
use crate::produce::{Fault, Retrying, Writer};
use crate::watch::Slot;

/// First and longest pause before output is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How soon the group says that a partition is lost: a heartbeat, and what it takes to answer it.
const HEARSAY: Duration = Duration::from_secs(3);

/// How long commits of this partition take, smoothed: batches are paced by it, so that many partitions with few
/// records each do not drown the broker in transactions.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// A commit took so long.
    fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let old = self.0.load(Ordering::Relaxed);
        let new = if old == 0 { time } else { (old.saturating_mul(7).saturating_add(time)) / 8 };
        self.0.store(new, Ordering::Relaxed);
    }

    /// How long a batch is worth waiting for after its first record: half as long as a commit takes. While the one
    /// before is committed, waiting costs nothing; for the whole of it, a sixth of the median latency was lost.
    fn gather(&self, at_least: Duration) -> Duration {
        at_least.max(Duration::from_micros(self.0.load(Ordering::Relaxed) / 2))
    }
}

/// Gives a partition's records.
pub(crate) struct LiveSource {
    queue: Queue,
    shared: Arc<Shared>,
    partition: i32,
    lease: u64,
    next: i64,
    pace: Arc<Pace>,
}

impl LiveSource {
    /// Starts to fetch from an offset.
    ///
    /// # Errors
    /// [`LogError::Fenced`] when the partition is not owned any more.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        partition: i32,
        lease: u64,
        from: i64,
        pace: &Arc<Pace>,
    ) -> Result<Self, LogError> {
        let topic = &shared.config.topics.transactions;
        let queue = Queue::partition(&shared.consumer, topic, partition)?;
        shared.group.fetch(&shared.consumer, partition, lease, from)?;
        let (shared, pace) = (Arc::clone(shared), Arc::clone(pace));
        Ok(Self { queue, shared, partition, lease, next: from, pace })
    }

    /// The partition cannot be read. The client counts an error as a record that was consumed, and would go on
    /// after it when a rebalance makes it stop and go: so it is told where to go on.
    fn recover(&self, code: Code, text: &str) -> Result<(), LogError> {
        let topic = &self.shared.config.topics.transactions;
        error::of_reading(topic, self.partition, code, text)?;
        let reason = error::reading(topic, self.partition, text);
        self.shared.consumer.context().limiter.warn("source", &KafkaError::MessageConsumption(code), &reason);
        if error::out_of_range(code) {
            self.shared.query.within(topic, self.partition, self.next)?;
        }
        thread::sleep(Duration::from_millis(200));
        self.shared.group.fetch(&self.shared.consumer, self.partition, self.lease, self.next)
    }
}

impl Source for LiveSource {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Option<Box<dyn Records>>, LogError> {
        if !self.shared.group.holds(self.partition, self.lease) {
            return Err(LogError::Fenced(format!(
                "partition {} is not assigned any more, or was opened again",
                self.partition
            )));
        }
        let more = self.pace.gather(self.shared.config.batch_wait).min(wait);
        let (mut batch, signals) = self.queue.gather(max.max(1), wait, more);
        // A rebalance lets the client fetch again from what it thinks was taken; what was given is not given again.
        batch.keep(self.next..i64::MAX);
        if let Some(last) = batch.last() {
            self.next = last.saturating_add(1);
        }
        for signal in signals {
            if let Signal::Error(_, code, text) = signal {
                self.recover(code, &text)?;
            }
        }
        Ok(if batch.is_empty() { None } else { Some(Box::new(batch)) })
    }

    fn lag(&self) -> Option<u64> {
        let topic = &self.shared.config.topics.transactions;
        let end = native::known_end(&self.shared.consumer, topic, self.partition)?;
        // Control records at the end take offsets and never come.
        let taken = native::position(&self.shared.consumer, topic, self.partition).unwrap_or(self.next);
        u64::try_from(end.saturating_sub(taken.max(self.next)).max(0)).ok()
    }
}

/// Commits a partition's output.
pub(crate) struct LiveSink {
    writer: Writer,
    shared: Arc<Shared>,
    partition: i32,
    lease: u64,
    slot: Arc<Slot>,
    pace: Arc<Pace>,
    /// Why nothing more can be committed.
    dead: Option<LogError>,
}

impl LiveSink {
    /// Commits through a producer that is open.
    pub(crate) fn new(
        writer: Writer,
        shared: &Arc<Shared>,
        partition: i32,
        lease: u64,
        pace: &Arc<Pace>,
    ) -> Self {
        let slot = shared.watch.slot(partition);
        let (shared, pace) = (Arc::clone(shared), Arc::clone(pace));
        Self { writer, shared, partition, lease, slot, pace, dead: None }
    }

    /// One transaction.
    fn attempt(&mut self, output: &Output, retrying: Retrying<'_>) -> Result<(), Fault> {
        self.writer.begin(retrying)?;
        self.writer.produce(output, retrying)?;
        self.writer.drain(retrying)?;
        let mut offsets = TopicPartitionList::new();
        let topic = &self.shared.config.topics.transactions;
        offsets
            .add_partition_offset(topic, self.partition, Offset::Offset(output.position))
            .map_err(|error| Fault::Dead(error::of("offsets", &error)))?;
        // Never anything else than no time limit: the client's state would not match the broker's. The
        // transaction's own limit holds, and the watch where that fails.
        self.writer.call("offsets", retrying, |producer| {
            let none = || KafkaError::Canceled;
            let member = self.shared.consumer.group_metadata().ok_or_else(none)?;
            producer.send_offsets_to_transaction(&offsets, &member, Timeout::Never)
        })?;
        self.writer.call("commit", retrying, |producer| producer.commit_transaction(Timeout::Never))
    }

    /// What is to be done about a transaction that did not commit. `Ok`: send it again.
    fn settle(&self, fault: Fault, retrying: Retrying<'_>) -> Result<(), LogError> {
        let reason = match fault {
            Fault::Dead(error) => return Err(error),
            Fault::Stopped => {
                let _ = self.writer.abort(Timeout::After(Duration::from_secs(2)));
                return Err(LogError::Stopped);
            }
            Fault::Refused(reason) => {
                self.writer.abort(Timeout::Never)?;
                return Err(LogError::Refused(reason));
            }
            Fault::Abort(reason) | Fault::Again(reason) => reason,
        };
        self.writer.abort(Timeout::Never)?;
        if !self.shared.group.holds(self.partition, self.lease) {
            return Err(LogError::Fenced(reason));
        }
        tracing::debug!(partition = self.partition, reason, "a transaction was aborted and is sent again");
        match retrying(&reason) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(LogError::Stopped),
        }
    }
}

impl LiveSink {
    /// The producer was fenced: by another instance, of which the group will tell, or by the broker, which does so
    /// when a transaction was open for too long. Then nobody else owns the partition, and it can be opened again.
    fn fenced(&self, reason: String) -> LogError {
        let start = Instant::now();
        while self.shared.group.holds(self.partition, self.lease) {
            if start.elapsed() > HEARSAY {
                return LogError::Broken(format!(
                    "{reason} (the partition is still assigned to this instance)"
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        LogError::Fenced(reason)
    }

    /// Nothing can be committed any more.
    fn die(&mut self, error: LogError) -> LogError {
        let error = match error {
            LogError::Fenced(reason) => self.fenced(reason),
            error => error,
        };
        self.dead = Some(match &error {
            LogError::Stopped => LogError::Broken("a commit was stopped".into()),
            error => error.clone(),
        });
        error
    }
}

impl Sink for LiveSink {
    fn commit(
        &mut self,
        output: &Output,
        retrying: &dyn Fn(&str) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        if let Some(error) = &self.dead {
            return Err(error.clone());
        }
        let busy = self.slot.enter();
        let mut pause = PAUSE.0;
        loop {
            let start = Instant::now();
            let result = self.attempt(output, retrying);
            let settled = match result {
                Ok(()) => {
                    self.pace.took(start.elapsed());
                    return Ok(());
                }
                Err(fault) => self.settle(fault, retrying),
            };
            if let Err(error) = settled {
                return Err(self.die(error));
            }
            busy.progress();
            thread::sleep(pause);
            pause = pause.saturating_mul(2).min(PAUSE.1);
        }
    }
}
