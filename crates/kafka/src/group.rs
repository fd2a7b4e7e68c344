//! What this instance owns: the consumer group's member and its rebalances.
//!
//! A partition that is assigned is acknowledged at once and fetched only later, from the offset that recovery
//! ends at. A partition that is revoked is kept until its owner here has finished with it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{Consumer as _, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use weir_log::{Assignment, LogError};

use crate::context::{Consumer, lock};
use crate::watch::Watch;
use crate::{error, native};

/// How long a partition that is revoked is kept at most.
const HAND_OVER: Duration = Duration::from_secs(20);

/// The same where others own it already: only to let its owner here stop.
const LOST: Duration = Duration::from_secs(3);

/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(8);

/// A change of ownership, or the end of everything.
pub(crate) type Change = Result<Assignment, LogError>;

/// A partition that is owned.
#[derive(Debug, Clone, Copy)]
struct Owned {
    /// Distinguishes this ownership from earlier ones of the same partition.
    ownership: u64,
    /// Who may use it: the last one who opened it.
    lease: u64,
    /// Whether it is being fetched.
    live: bool,
}

/// What is owned now.
#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<i32, Owned>,
    /// Number of the last ownership or lease.
    last: u64,
    /// Partitions are being handed over.
    revoking: bool,
    /// The log has failed for good.
    failed: Option<LogError>,
}

impl State {
    /// A number that was not given before.
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// This instance's side of the group.
#[derive(Debug)]
pub(crate) struct Group {
    topic: String,
    state: Mutex<State>,
    settled: Condvar,
    changes: Mutex<Sender<Change>>,
    closing: AtomicBool,
    /// Why no broker can be reached, as the client told last.
    away: Mutex<Option<String>>,
}

impl Group {
    /// Nothing is owned yet; changes are sent to `changes`.
    pub(crate) fn new(topic: String, changes: Sender<Change>) -> Self {
        Self {
            topic,
            state: Mutex::default(),
            settled: Condvar::new(),
            changes: Mutex::new(changes),
            closing: AtomicBool::new(false),
            away: Mutex::new(None),
        }
    }

    /// The ownership of a partition, where there is one.
    pub(crate) fn ownership(&self, partition: i32) -> Option<u64> {
        lock(&self.state).owned.get(&partition).map(|owned| owned.ownership)
    }

    /// Ends whatever lease there is of a partition that is still owned, and gives a new one.
    pub(crate) fn lease(&self, partition: i32, ownership: u64) -> Option<u64> {
        let mut state = lock(&self.state);
        let lease = state.number();
        let owned = state.owned.get_mut(&partition).filter(|owned| owned.ownership == ownership)?;
        owned.lease = lease;
        Some(lease)
    }

    /// Whether the lease holds.
    pub(crate) fn holds(&self, partition: i32, lease: u64) -> bool {
        lock(&self.state).owned.get(&partition).is_some_and(|owned| owned.lease == lease)
    }

    /// Why the log has failed.
    pub(crate) fn failure(&self) -> Option<LogError> {
        lock(&self.state).failed.clone()
    }

    /// No broker can be reached.
    pub(crate) fn note_away(&self, reason: &str) {
        *lock(&self.away) = Some(reason.to_owned());
    }

    /// Why no broker can be reached, unless `answers` says that one can. The client tells when the last one goes, and
    /// not when one comes back.
    pub(crate) fn away(&self, answers: impl FnOnce() -> bool) -> Option<String> {
        let why = lock(&self.away).clone()?;
        if answers() {
            *lock(&self.away) = None;
            return None;
        }
        Some(why)
    }

    /// The log has failed for good.
    pub(crate) fn fail(&self, reason: LogError) {
        let mut state = lock(&self.state);
        if state.failed.is_none() {
            tracing::error!(%reason, "Kafka cannot be used any more");
            state.failed = Some(reason.clone());
            self.send(Err(reason));
        }
    }

    /// Sends a change; nobody may be there any more.
    fn send(&self, change: Change) {
        let _ = lock(&self.changes).send(change);
    }

    /// The callback of a rebalance, on the thread that polls the consumer.
    pub(crate) fn rebalance(&self, consumer: &Consumer, err: RDKafkaRespErr, list: &TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let result = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(consumer, partitions)
        } else {
            self.revoked(consumer, &partitions)
        };
        if let Err(error) = result {
            self.fail(LogError::Broken(format!("rebalance: {}", error::text(&error))));
        }
    }

    /// Acknowledges partitions without fetching them.
    fn assigned(&self, consumer: &Consumer, partitions: Vec<i32>) -> KafkaResult<()> {
        if let Err(error) = native::split(consumer, &self.topic, &partitions) {
            self.fail(error);
        }
        {
            let mut state = lock(&self.state);
            for &partition in &partitions {
                let ownership = state.number();
                state.owned.insert(partition, Owned { ownership, lease: ownership, live: false });
            }
        }
        consumer.incremental_assign(&TopicPartitionList::new())?;
        if !partitions.is_empty() {
            tracing::info!(?partitions, "partitions assigned");
            self.send(Ok(Assignment::Assigned(partitions)));
        }
        Ok(())
    }

    /// Waits until partitions are finished with, then lets them go.
    fn revoked(&self, consumer: &Consumer, partitions: &[i32]) -> KafkaResult<()> {
        let lost = consumer.assignment_lost();
        if !partitions.is_empty() && !self.closing.load(Ordering::Acquire) {
            tracing::info!(?partitions, lost, "partitions revoked");
            lock(&self.state).revoking = true;
            let (done, finished) = mpsc::channel();
            self.send(Ok(Assignment::Revoked { partitions: partitions.to_vec(), lost, done }));
            self.await_hand_over(&finished, if lost { LOST } else { HAND_OVER });
        }
        let mut state = lock(&self.state);
        for partition in partitions {
            state.owned.remove(partition);
        }
        let result = self.release(consumer, partitions);
        state.revoking = false;
        self.settled.notify_all();
        result
    }

    /// Until the answer comes, or its channel is dropped, or it has taken too long, or the instance leaves.
    fn await_hand_over(&self, finished: &mpsc::Receiver<()>, limit: Duration) {
        let start = Instant::now();
        while let Err(mpsc::RecvTimeoutError::Timeout) = finished.recv_timeout(Duration::from_millis(50)) {
            if start.elapsed() > limit {
                tracing::warn!("partitions are let go although they are not finished with");
                return;
            }
            if self.closing.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Unassigns what was assigned: of the others the consumer knows nothing, and it would be an error.
    fn release(&self, consumer: &Consumer, partitions: &[i32]) -> KafkaResult<()> {
        if matches!(consumer.rebalance_protocol(), RebalanceProtocol::Eager) {
            return consumer.unassign();
        }
        let held = consumer.assignment()?;
        let mut list = TopicPartitionList::new();
        for element in held.elements() {
            if partitions.contains(&element.partition()) {
                list.add_partition(&self.topic, element.partition());
            }
        }
        consumer.incremental_unassign(&list)
    }

    /// Starts to fetch a partition from an offset, or starts again. From the caller's thread: the polling one may
    /// be waiting for other partitions to be handed over.
    ///
    /// # Errors
    /// [`LogError::Fenced`] when the lease does not hold any more.
    pub(crate) fn fetch(
        &self,
        consumer: &Consumer,
        partition: i32,
        lease: u64,
        from: i64,
    ) -> Result<(), LogError> {
        let start = Instant::now();
        let mut state = lock(&self.state);
        // Taking a partition out in the middle of a hand-over would tell the group that this is over.
        while state.revoking
            && state.owned.get(&partition).is_some_and(|owned| owned.live)
            && start.elapsed() < HAND_OVER
        {
            let waited = self.settled.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let owned = state.owned.get_mut(&partition).filter(|owned| owned.lease == lease);
        let Some(owned) = owned else {
            return Err(LogError::Fenced(format!(
                "partition {partition} is not assigned any more, or was opened again"
            )));
        };
        let failed = |error: KafkaError| error::of("assign", &error);
        let mut list = TopicPartitionList::new();
        if owned.live {
            list.add_partition(&self.topic, partition);
            consumer.incremental_unassign(&list).map_err(failed)?;
            owned.live = false;
            list = TopicPartitionList::new();
        }
        list.add_partition_offset(&self.topic, partition, Offset::Offset(from)).map_err(failed)?;
        consumer.incremental_assign(&list).map_err(failed)?;
        owned.live = true;
        Ok(())
    }

    /// From now on nobody is waited for.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

/// Serves the group's member until the group is closed, then leaves.
pub(crate) fn serve(consumer: &Arc<Consumer>, group: &Group, watch: &Watch) {
    while !group.closing.load(Ordering::Acquire) {
        step(consumer, group, Duration::from_millis(100));
        if let Some(partition) = watch.stuck() {
            group.fail(LogError::Broken(format!("a commit of partition {partition} does not return")));
        }
    }
    let start = Instant::now();
    if let Err(error) = consumer.close_queue() {
        tracing::warn!(error = error::text(&error), "the group could not be left");
        return;
    }
    while !consumer.closed() && start.elapsed() < LEAVE {
        step(consumer, group, Duration::from_millis(50));
    }
}

/// One event of the consumer.
fn step(consumer: &Consumer, group: &Group, wait: Duration) {
    match consumer.poll(wait) {
        None => {}
        Some(Ok(message)) => {
            use rdkafka::Message;
            let (partition, offset) = (message.partition(), message.offset());
            group.fail(LogError::Broken(format!("record {offset} of partition {partition} went astray")));
        }
        Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
            group.fail(LogError::Broken(format!("the group's consumer failed: {code}")));
        }
        Some(Err(error)) => refuse(group, &error),
    }
}

/// Errors of the consumer pass, as a rule; those of access do not.
fn refuse(group: &Group, error: &KafkaError) {
    let hopeless = error::code(error).is_some_and(|code| {
        use rdkafka::types::RDKafkaErrorCode as Code;
        matches!(code, Code::GroupAuthorizationFailed | Code::InconsistentGroupProtocol)
    });
    if hopeless {
        group.fail(LogError::Refused(format!("consumer group: {}", error::text(error))));
    }
}
