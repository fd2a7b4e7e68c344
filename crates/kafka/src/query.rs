//! Questions to the cluster that change nothing.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{IsError as _, KafkaError};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use weir_log::LogError;

use crate::config::KafkaConfig;
use crate::context::{Consumer, Context};
use crate::error;

/// How long an answer is waited for.
pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// How long an answer is waited for when the question is only whether there is one.
const SOON: Duration = Duration::from_millis(500);

/// How soon a question is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// A client that asks.
pub(crate) struct Query(Consumer);

impl Query {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// When its properties are refused.
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self, LogError> {
        let client = config.query().create_with_context(Context::default());
        client.map(Self).map_err(|error| error::of("Kafka client", &error))
    }

    /// Whether a broker answers, soon.
    pub(crate) fn is_answered(&self, topic: &str) -> bool {
        let _ = self.0.poll(Duration::ZERO);
        self.0.fetch_metadata(Some(topic), SOON).is_ok()
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// When there is no such topic or no answer.
    pub(crate) fn partitions(&self, topic: &str) -> Result<i32, LogError> {
        let _ = self.0.poll(Duration::ZERO);
        let what = format!("partitions of {topic}");
        let metadata = self.0.fetch_metadata(Some(topic), WAIT).map_err(|error| error::of(&what, &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if let Some(code) = found.and_then(|found| found.error()).filter(|code| code.is_error()) {
            let code = RDKafkaErrorCode::from(code);
            if code == RDKafkaErrorCode::UnknownTopicOrPartition {
                return Err(LogError::Refused(format!(
                    "there is no topic {topic}; `weir topics create` makes it"
                )));
            }
            return Err(error::by_code(code, format!("{what}: {code}")));
        }
        let count = found.map_or(0, |found| found.partitions().len());
        match i32::try_from(count) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(LogError::Refused(format!("there is no topic {topic}"))),
        }
    }

    /// Offsets of the oldest records and the ends of what is committed.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn range(&self, topic: &str, partition: i32) -> Result<std::ops::Range<i64>, LogError> {
        let low = self.offsets(topic, &[partition], Offset::Beginning, WAIT)?;
        let end = self.offsets(topic, &[partition], Offset::End, WAIT)?;
        match (low.first(), end.first()) {
            (Some(&low), Some(&end)) => Ok(low..end),
            _ => Err(LogError::Unavailable(format!("the ends of {topic} are not known"))),
        }
    }

    /// Where partitions begin or end, in one question to each broker.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        which: Offset,
        wait: Duration,
    ) -> Result<Vec<i64>, LogError> {
        let start = Instant::now();
        loop {
            // A topic that was made just now, or whose leader moved, answers in a moment.
            match self.ask(topic, partitions, which, wait) {
                Err(LogError::Unavailable(_)) if start.elapsed() < wait => thread::sleep(PAUSE),
                answer => return answer,
            }
        }
    }

    /// The same, once.
    fn ask(
        &self,
        topic: &str,
        partitions: &[i32],
        which: Offset,
        wait: Duration,
    ) -> Result<Vec<i64>, LogError> {
        let _ = self.0.poll(Duration::ZERO);
        let failed = |error: KafkaError| error::of(&format!("offsets of {topic}"), &error);
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition_offset(topic, partition, which).map_err(failed)?;
        }
        let found = self.0.offsets_for_times(list, wait).map_err(failed)?;
        let mut offsets = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let element = found.find_partition(topic, partition);
            let element = element.ok_or_else(|| LogError::Unavailable(format!("no offsets of {topic}")))?;
            element.error().map_err(failed)?;
            match element.offset() {
                Offset::Offset(offset) => offsets.push(offset),
                other => {
                    let message = format!("partition {partition} of {topic} answers {other:?}");
                    return Err(LogError::Unavailable(message));
                }
            }
        }
        Ok(offsets)
    }

    /// The group's position, where it has one. A new cluster needs a moment to make the group's coordinator.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn committed(&self, topic: &str, partition: i32) -> Result<Option<i64>, LogError> {
        let start = Instant::now();
        loop {
            match self.committed_once(topic, partition) {
                Err(LogError::Unavailable(_)) if start.elapsed() < WAIT => thread::sleep(PAUSE),
                answer => return answer,
            }
        }
    }

    fn committed_once(&self, topic: &str, partition: i32) -> Result<Option<i64>, LogError> {
        let failed = |error: KafkaError| error::of("the group's position", &error);
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let found = self.0.committed_offsets(list, WAIT).map_err(failed)?;
        let Some(element) = found.find_partition(topic, partition) else { return Ok(None) };
        element.error().map_err(failed)?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    }

    /// Refuses an offset that the partition does not reach back or up to.
    ///
    /// # Errors
    /// [`LogError::Gone`] for one that was deleted, [`LogError::Refused`] for one that does not exist yet.
    pub(crate) fn within(&self, topic: &str, partition: i32, wanted: i64) -> Result<(), LogError> {
        let range = self.range(topic, partition)?;
        if wanted < range.start {
            let topic = topic.to_owned();
            return Err(LogError::Gone { topic, partition, wanted, oldest: range.start });
        }
        if wanted > range.end {
            return Err(LogError::Refused(format!(
                "offset {wanted} of {topic}, partition {partition}, is past its end, {}",
                range.end
            )));
        }
        Ok(())
    }
}
