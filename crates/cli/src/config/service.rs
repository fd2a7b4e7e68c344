//! The part of the configuration on which no decision depends: where records come from and go to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use weir_events::span::Span;
use weir_service::http::REQUESTS_PER_SECOND;

/// Everything outside the deciding configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Service {
    /// Where the service keeps its input and output.
    pub(crate) log: Log,
    /// Folder of the embedded log and of local snapshots.
    pub(crate) data_dir: String,
    pub(crate) kafka: Kafka,
    pub(crate) registry: Registry,
    pub(crate) snapshots: Snapshots,
    pub(crate) http: Http,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            log: Log::Kafka,
            data_dir: "weir-data".to_owned(),
            kafka: Kafka::default(),
            registry: Registry::default(),
            snapshots: Snapshots::default(),
            http: Http::default(),
        }
    }
}

impl Service {
    /// What is wrong with values that can be read, as (key, message).
    pub(super) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, key: &str, message: &str| {
            if wrong {
                problems.push((key.to_owned(), message.to_owned()));
            }
        };
        refuse(self.data_dir.is_empty(), "data_dir", "must name a folder");
        refuse(
            self.kafka.brokers.is_empty(),
            "kafka.brokers",
            "must name a broker, such as \"localhost:9092\"",
        );
        refuse(self.kafka.group_id.is_empty(), "kafka.group_id", "must not be empty");
        refuse(self.kafka.max_batch_records == 0, "kafka.max_batch_records", "must be at least 1");
        refuse(self.registry.mandates_max == 0, "registry.mandates_max", "must be at least 1");
        refuse(self.snapshots.every.0 == 0, "snapshots.every", "must be longer than 0");
        let has_scheme =
            self.snapshots.url.split_once(':').is_some_and(|(scheme, rest)| {
                !rest.is_empty() && ["file", "s3", "gs", "az"].contains(&scheme)
            });
        refuse(!has_scheme, "snapshots.url", "must be a URL that begins with file:, s3:, gs: or az:");
        refuse(
            !self.http.listen.ip().is_loopback() && self.http.token_file.is_empty(),
            "http.listen",
            "is reachable from other machines, so `http.token_file` must name a file that holds a token",
        );
        problems
    }
}

/// The kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Log {
    /// Kafka in, Kafka out.
    Kafka,
    /// HTTP in, a durable local log.
    Embedded,
}

/// Section `[kafka]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kafka {
    /// Brokers to start from, `host:port`, separated by commas.
    pub(crate) brokers: String,
    /// The consumer group that the instances share.
    pub(crate) group_id: String,
    /// Where to begin when the journal is empty.
    pub(crate) start: Start,
    /// How producers choose the partition of a key.
    pub(crate) partitioner: Partitioner,
    /// Most records decided in one transaction.
    pub(crate) max_batch_records: u32,
    /// How long a batch is waited for.
    pub(crate) max_batch_wait: Span,
    /// Whether decisions carry headers.
    pub(crate) headers: bool,
    pub(crate) topics: Topics,
    pub(crate) properties: Properties,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".to_owned(),
            group_id: "weir".to_owned(),
            start: Start::Earliest,
            partitioner: Partitioner::Murmur2,
            max_batch_records: 10_000,
            max_batch_wait: Span(5_000),
            headers: true,
            topics: Topics::default(),
            properties: Properties::default(),
        }
    }
}

/// Where to begin when the journal is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Start {
    /// With the oldest record that the topic holds.
    Earliest,
    /// With records that arrive from now on.
    Latest,
}

/// How the producers of the transactions topic choose the partition of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Partitioner {
    /// Java's default.
    Murmur2,
    /// librdkafka's default.
    Crc32,
    /// Unknown; records are not checked for their partition.
    Any,
}

/// Section `[kafka.topics]`: the names of the topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Topics {
    pub(crate) transactions: String,
    pub(crate) mandates: String,
    pub(crate) decisions: String,
    pub(crate) risk_scores: String,
    pub(crate) alerts: String,
    pub(crate) rejects: String,
    pub(crate) journal: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            transactions: "weir.transactions".to_owned(),
            mandates: "weir.mandates".to_owned(),
            decisions: "weir.decisions".to_owned(),
            risk_scores: "weir.risk-scores".to_owned(),
            alerts: "weir.alerts".to_owned(),
            rejects: "weir.rejects".to_owned(),
            journal: "weir.journal".to_owned(),
        }
    }
}

/// Section `[kafka.properties]`: librdkafka properties, passed on as they are. They hold passwords, so
/// debug output shows the names only.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Properties(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Section `[registry]`: the mandates that this instance knows of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Registry {
    /// Most mandates held; past it nothing more is decided.
    pub(crate) mandates_max: usize,
}

impl Default for Registry {
    fn default() -> Self {
        Self { mandates_max: 20_000_000 }
    }
}

/// Section `[snapshots]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Snapshots {
    /// Where snapshots lie: `file:`, `s3:`, `gs:` or `az:`.
    pub(crate) url: String,
    /// How often each shard is written.
    pub(crate) every: Span,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { url: "file:weir-data/snapshots".to_owned(), every: Span::seconds(60) }
    }
}

/// Section `[http]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Address and port to listen on.
    pub(crate) listen: SocketAddr,
    /// File that holds the bearer token; empty for none.
    pub(crate) token_file: String,
    /// Requests that one client may send in a second.
    pub(crate) max_requests_per_second: NonZeroU32,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            token_file: String::new(),
            max_requests_per_second: REQUESTS_PER_SECOND,
        }
    }
}
