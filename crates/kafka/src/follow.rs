//! Consumers outside of the group: recovery, mandates, decisions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use weir_log::{DecisionReader, LogError, MandateEnds, MandateEvent, MandateSource, Reader, Records};

use crate::config::KafkaConfig;
use crate::context::{Consumer, Context};
use crate::log::Shared;
use crate::native::{Queue, Signal};
use crate::{error, native};

/// A reader that gets nothing for so long gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most records of the mandates or decisions topic at once.
const CHUNK: usize = 2_000;

/// A consumer that reads partitions of one topic, committed records only.
struct Follower {
    queue: Queue,
    consumer: Arc<Consumer>,
    topic: String,
}

impl Follower {
    /// Reads from these offsets on, one per partition number.
    fn new(config: &KafkaConfig, topic: &str, from: &[(i32, Offset)], reset: &str) -> Result<Self, LogError> {
        let failed = |error: KafkaError| error::of(&format!("reading {topic}"), &error);
        let consumer = config.reader(reset).create_with_context(Context::default()).map_err(failed)?;
        let consumer: Arc<Consumer> = Arc::new(consumer);
        let partitions: Vec<i32> = from.iter().map(|(partition, _)| *partition).collect();
        let queue = Queue::merged(&consumer, topic, &partitions)?;
        let mut list = TopicPartitionList::new();
        for &(partition, offset) in from {
            list.add_partition_offset(topic, partition, offset).map_err(failed)?;
        }
        consumer.assign(&list).map_err(failed)?;
        Ok(Self { queue, consumer, topic: topic.to_owned() })
    }

    /// Serves the client's own events: its log and its errors, which its context tells of.
    fn serve(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    /// What an error of a partition means: it passes and is warned of, unless only an operator helps.
    fn heed(&self, partition: i32, code: Code, text: &str) -> Result<(), LogError> {
        error::of_reading(&self.topic, partition, code, text)?;
        self.warn(partition, code, text);
        Ok(())
    }

    /// Warns of an error of a partition.
    fn warn(&self, partition: i32, code: Code, text: &str) {
        let error = KafkaError::MessageConsumption(code);
        let reason = error::reading(&self.topic, partition, text);
        self.consumer.context().limiter.warn("reader", &error, &reason);
    }
}

/// Reads one partition up to the end that it had.
pub(crate) struct Bounded {
    follower: Option<Follower>,
    shared: Arc<Shared>,
    topic: String,
    partition: i32,
    next: i64,
    end: i64,
}

impl Bounded {
    /// Reads from an offset on.
    ///
    /// # Errors
    /// [`LogError::Gone`] when the partition does not reach back so far.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        topic: &str,
        partition: i32,
        from: i64,
    ) -> Result<Self, LogError> {
        let range = shared.query.range(topic, partition)?;
        if from < range.start {
            let topic = topic.to_owned();
            return Err(LogError::Gone { topic, partition, wanted: from, oldest: range.start });
        }
        let follower = if from < range.end {
            Some(Follower::new(&shared.config, topic, &[(partition, Offset::Offset(from))], "error")?)
        } else {
            None
        };
        let shared = Arc::clone(shared);
        Ok(Self { follower, shared, topic: topic.to_owned(), partition, next: from, end: range.end })
    }

    /// What a signal means for the position. Control records take offsets and are not seen: the end of what can
    /// be read is where the partition says it is, not where the last record is.
    fn heed(&mut self, signal: Signal) -> Result<(), LogError> {
        match signal {
            Signal::End(_, offset) => self.next = self.next.max(offset),
            Signal::Error(_, code, text) if error::out_of_range(code) => {
                self.shared.query.within(&self.topic, self.partition, self.next)?;
                return Err(LogError::Unavailable(format!("{}: {text}", self.topic)));
            }
            Signal::Error(partition, code, text) => {
                if let Some(follower) = &self.follower {
                    follower.heed(partition, code, &text)?;
                }
            }
        }
        Ok(())
    }
}

impl Reader for Bounded {
    fn next(&mut self, max: usize) -> Result<Option<Box<dyn Records>>, LogError> {
        let start = Instant::now();
        while self.next < self.end {
            let Some(follower) = &self.follower else { return Ok(None) };
            let (mut batch, signals) =
                follower.queue.gather(max.max(1), Duration::from_millis(100), Duration::ZERO);
            follower.serve();
            let seen = batch.last();
            batch.keep(self.next..self.end);
            if let Some(last) = seen {
                self.next = self.next.max(last.saturating_add(1));
            }
            for signal in signals {
                self.heed(signal)?;
            }
            if !batch.is_empty() {
                return Ok(Some(Box::new(batch)));
            }
            if start.elapsed() > PATIENCE {
                let message =
                    format!("{}, partition {}: no answer at {}", self.topic, self.partition, self.next);
                return Err(LogError::Unavailable(message));
            }
        }
        Ok(None)
    }
}

/// Reads the mandates topic from its beginning on.
pub(crate) struct Mandates {
    follower: Follower,
    shared: Arc<Shared>,
    partitions: Vec<i32>,
}

impl Mandates {
    /// A reader of all partitions.
    ///
    /// # Errors
    /// When the topic is not there.
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, LogError> {
        let topic = &shared.config.topics.mandates;
        let partitions: Vec<i32> = (0..shared.query.partitions(topic)?).collect();
        let from: Vec<_> = partitions.iter().map(|&partition| (partition, Offset::Beginning)).collect();
        // Compaction or retention may take what was to be read next: then go on with the oldest that is left.
        let follower = Follower::new(&shared.config, topic, &from, "earliest")?;
        Ok(Self { follower, shared: Arc::clone(shared), partitions })
    }
}

impl MandateSource for Mandates {
    fn next(&mut self, wait: Duration) -> Result<Vec<MandateEvent>, LogError> {
        let (batch, signals) = self.follower.queue.gather(CHUNK, wait, Duration::ZERO);
        self.follower.serve();
        let mut events = records(&batch)
            .map(|(partition, record)| MandateEvent::Record(partition, record.to_owned()))
            .collect::<Vec<_>>();
        for signal in signals {
            match signal {
                Signal::End(partition, offset) => events.push(MandateEvent::Reached(partition, offset)),
                Signal::Error(partition, code, text) => self.follower.heed(partition, code, &text)?,
            }
        }
        Ok(events)
    }

    fn ends(&self) -> Box<dyn MandateEnds> {
        Box::new(Ends { shared: Arc::clone(&self.shared), partitions: self.partitions.clone() })
    }
}

/// The records of a batch with their partitions.
fn records(batch: &native::Batch) -> impl Iterator<Item = (i32, weir_log::Record<'_>)> {
    (0..batch.len()).filter_map(|at| Some((batch.partition(at), batch.get(at)?)))
}

/// Asks where the mandates topic ends.
struct Ends {
    shared: Arc<Shared>,
    partitions: Vec<i32>,
}

impl MandateEnds for Ends {
    fn ends(&self, wait: Duration) -> Result<Vec<i64>, LogError> {
        self.shared.query.offsets(&self.shared.config.topics.mandates, &self.partitions, Offset::End, wait)
    }
}

/// Reads committed decisions.
pub(crate) struct Decisions {
    follower: Follower,
    shared: Arc<Shared>,
    position: Vec<i64>,
}

impl Decisions {
    /// From these offsets on, or from now on.
    ///
    /// # Errors
    /// [`LogError::Gone`] when they were deleted.
    pub(crate) fn new(shared: &Arc<Shared>, from: Option<&[i64]>) -> Result<Self, LogError> {
        let topic = &shared.config.topics.decisions;
        let partitions: Vec<i32> = (0..shared.query.partitions(topic)?).collect();
        let position = match from {
            None => shared.query.offsets(topic, &partitions, Offset::End, crate::query::WAIT)?,
            Some(from) => Self::check(shared, topic, &partitions, from)?,
        };
        let start: Vec<_> =
            partitions.iter().zip(&position).map(|(&p, &at)| (p, Offset::Offset(at))).collect();
        let follower = Follower::new(&shared.config, topic, &start, "error")?;
        Ok(Self { follower, shared: Arc::clone(shared), position })
    }

    /// Offsets that are all there.
    fn check(shared: &Shared, topic: &str, partitions: &[i32], from: &[i64]) -> Result<Vec<i64>, LogError> {
        if from.len() != partitions.len() {
            let message = format!("{topic} has {} partitions, not {}", partitions.len(), from.len());
            return Err(LogError::Refused(message));
        }
        for (&partition, &wanted) in partitions.iter().zip(from) {
            shared.query.within(topic, partition, wanted)?;
        }
        Ok(from.to_vec())
    }

    /// Moves a partition's position on.
    fn advance(&mut self, partition: i32, to: i64) {
        if let Some(at) = usize::try_from(partition).ok().and_then(|at| self.position.get_mut(at)) {
            *at = to.max(*at);
        }
    }

    /// Where a partition is read next.
    fn at(&self, partition: i32) -> i64 {
        usize::try_from(partition).ok().and_then(|at| self.position.get(at)).copied().unwrap_or(0)
    }
}

impl DecisionReader for Decisions {
    fn next(&mut self, wait: Duration) -> Result<Vec<(i32, i64, Vec<u8>)>, LogError> {
        let (batch, signals) = self.follower.queue.gather(CHUNK, wait, Duration::ZERO);
        self.follower.serve();
        let mut decisions = Vec::with_capacity(batch.len());
        for (partition, record) in records(&batch) {
            decisions.push((partition, record.offset, record.value.unwrap_or_default().to_vec()));
            self.advance(partition, record.offset.saturating_add(1));
        }
        for signal in signals {
            match signal {
                Signal::End(partition, offset) => self.advance(partition, offset),
                Signal::Error(partition, code, _) if error::out_of_range(code) => {
                    let topic = &self.shared.config.topics.decisions;
                    self.shared.query.within(topic, partition, self.at(partition))?;
                }
                Signal::Error(partition, code, text) => self.follower.warn(partition, code, &text),
            }
        }
        Ok(decisions)
    }

    fn position(&self) -> Vec<i64> {
        self.position.clone()
    }
}
