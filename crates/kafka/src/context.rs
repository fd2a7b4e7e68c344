//! What the clients call back with: their log, their errors, rebalances.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::error;
use crate::group::Group;

/// Any consumer of this crate.
pub(crate) type Consumer = BaseConsumer<Context>;

/// A lock whose holder may have panicked: what it guards is valid after every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says each thing once in ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Limiter(Mutex<HashMap<i32, Instant>>);

impl Limiter {
    /// Whether it is time to say this again.
    fn allows(&self, what: i32) -> bool {
        let now = Instant::now();
        let mut said = lock(&self.0);
        let allowed = said.get(&what).is_none_or(|&at| now.duration_since(at) >= Duration::from_secs(10));
        if allowed {
            said.insert(what, now);
        }
        allowed
    }

    /// Warns of an error.
    pub(crate) fn warn(&self, client: &str, error: &KafkaError, reason: &str) {
        if self.allows(error::code(error).map_or(0, |code| code as i32)) {
            tracing::warn!(client, error = error::text(error), reason, "Kafka reports an error");
        }
    }
}

/// Callbacks of consumers and of clients that only ask.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// The group, for the consumer that is its member.
    pub(crate) group: Option<Arc<Group>>,
    /// Keeps errors that repeat out of the log.
    pub(crate) limiter: Limiter,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(group) = &self.group
            && error::code(&error) == Some(RDKafkaErrorCode::AllBrokersDown)
        {
            group.note_away(reason);
        }
        self.limiter.warn("consumer", &error, reason);
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &Consumer, err: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if let Some(group) = &self.group {
            group.rebalance(consumer, err, partitions);
        }
    }
}

/// A line of librdkafka's log.
pub(crate) fn log(level: RDKafkaLogLevel, fac: &str, message: &str) {
    use RDKafkaLogLevel as Level;
    // The same properties go to every kind of client; each kind says which are not for it.
    if fac == "CONFWARN" {
        tracing::debug!(target: "librdkafka", fac, "{message}");
        return;
    }
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            tracing::error!(target: "librdkafka", fac, "{message}");
        }
        Level::Warning => tracing::warn!(target: "librdkafka", fac, "{message}"),
        Level::Notice | Level::Info => tracing::info!(target: "librdkafka", fac, "{message}"),
        Level::Debug => tracing::debug!(target: "librdkafka", fac, "{message}"),
    }
}
