//! What the service is told.

use std::time::Duration;

use weir_engine::Config;
use weir_log::Partitioner;

use crate::catch_up::Portion;

/// Everything that a shard goes by, beside its input and its journal.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The deciding configuration.
    pub config: Config,
    /// Name of the transactions topic, for rejects; `None`: records come over HTTP and have no key.
    pub transactions_topic: Option<String>,
    /// Name of the mandates topic; `None` as above.
    pub mandates_topic: Option<String>,
    /// How keys are spread over partitions.
    pub partitioner: Partitioner,
    /// Where to begin when the journal is empty.
    pub start: Start,
    /// Most records decided in one transaction, which is of one shard.
    pub batch_records_max: usize,
    /// What is taken in at once of mandates that changed.
    pub batch_mandates: Portion,
    /// Most mandates in the registry.
    pub registry_mandates_max: usize,
    /// URL of the snapshots' store.
    pub snapshots_url: String,
    /// How often a shard is snapshotted.
    pub snapshots_every: Duration,
    /// Seed of the hash tables; shows in no output.
    pub seed: u64,
}

/// Where to begin when the journal is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that the topic holds.
    Earliest,
    /// With records that arrive from now on.
    Latest,
}

impl Settings {
    /// Whether records come over HTTP into a log of this instance's own, and have no key.
    pub(crate) fn has_own_log(&self) -> bool {
        self.transactions_topic.is_none()
    }

    /// For deciding a recording again: nothing is read from a log or written to one.
    pub(crate) fn of_recording(config: Config, topic: Option<String>, partitioner: &str, seed: u64) -> Self {
        let known = [Partitioner::Murmur2, Partitioner::Crc32];
        let partitioner = known.into_iter().find(|known| known.name() == partitioner);
        Self {
            config,
            mandates_topic: topic.clone(),
            transactions_topic: topic,
            partitioner: partitioner.unwrap_or(Partitioner::Any),
            start: Start::Earliest,
            batch_records_max: usize::MAX,
            batch_mandates: Portion::WHOLE,
            registry_mandates_max: usize::MAX,
            snapshots_url: String::new(),
            snapshots_every: Duration::MAX,
            seed,
        }
    }
}
