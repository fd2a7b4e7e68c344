//! What the clients are told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use weir_log::Topic;

use crate::error;
use crate::produce::BatchLimit;

/// How long the broker lets a transaction stay open, where the properties do not say.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);

/// What one request may hold of a partition, where the properties do not say: what topics take that nobody
/// configured.
const BATCH: BatchLimit = BatchLimit { bytes: 1_000_000, messages: 10_000 };

/// Properties that Weir sets itself, with the reason why nobody else may.
const FIXED: [(&str, &str); 27] = [
    ("acks", EXACTLY_ONCE),
    ("auto.commit.enable", EXACTLY_ONCE),
    ("auto.offset.reset", "where a partition is read from is decided by its journal"),
    ("bootstrap.servers", "the brokers have a setting of their own"),
    ("delivery.report.only.error", "commits rely on it"),
    ("enable.auto.commit", EXACTLY_ONCE),
    ("enable.auto.offset.store", EXACTLY_ONCE),
    ("enable.idempotence", EXACTLY_ONCE),
    ("enable.partition.eof", "commits rely on it"),
    ("group.id", "the group has a setting of its own"),
    ("group.instance.id", "members are dynamic: a static member keeps its partitions when it leaves"),
    ("group.protocol", "only the classic protocol works with transactions here"),
    ("group.remote.assignor", "only the classic protocol works with transactions here"),
    ("isolation.level", EXACTLY_ONCE),
    ("log.queue", "the client's log goes to Weir's"),
    ("log_level", "the client's log goes to Weir's"),
    ("max.in.flight", EXACTLY_ONCE),
    ("max.in.flight.requests.per.connection", EXACTLY_ONCE),
    ("message.send.max.retries", EXACTLY_ONCE),
    ("metadata.broker.list", "the brokers have a setting of their own"),
    ("partition.assignment.strategy", "partitions are handed over cooperatively"),
    ("plugin.library.paths", "it would load code"),
    ("request.required.acks", EXACTLY_ONCE),
    ("retries", EXACTLY_ONCE),
    ("queuing.strategy", EXACTLY_ONCE),
    ("test.mock.num.brokers", "it would replace the broker"),
    ("transactional.id", EXACTLY_ONCE),
];

/// The commonest reason why a property is not to be set.
const EXACTLY_ONCE: &str = "exactly-once processing needs its value";

/// Names of the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// The input.
    pub transactions: String,
    /// Mandates, compacted.
    pub mandates: String,
    /// One record per transaction.
    pub decisions: String,
    /// Profiles of agents, compacted.
    pub risk_scores: String,
    /// Episodes.
    pub alerts: String,
    /// What could not be used.
    pub rejects: String,
    /// What it was decided under.
    pub journal: String,
}

impl Topics {
    /// Name of a topic that is written.
    #[must_use]
    pub fn name(&self, topic: Topic) -> &str {
        match topic {
            Topic::Decisions => &self.decisions,
            Topic::RiskScores => &self.risk_scores,
            Topic::Alerts => &self.alerts,
            Topic::Rejects => &self.rejects,
            Topic::Journal => &self.journal,
        }
    }

    /// Every name, inputs first.
    #[must_use]
    pub fn all(&self) -> [&str; 7] {
        [
            &self.transactions,
            &self.mandates,
            &self.decisions,
            &self.risk_scores,
            &self.alerts,
            &self.rejects,
            &self.journal,
        ]
    }
}

/// How Kafka is reached and what it is used for.
#[derive(Clone)]
pub struct KafkaConfig {
    /// Addresses to find the cluster through, separated by commas.
    pub brokers: String,
    /// The consumer group; also the beginning of every transactional id.
    pub group_id: String,
    /// Names of the topics.
    pub topics: Topics,
    /// Properties of librdkafka, for every client: security, sizes, timeouts.
    pub properties: BTreeMap<String, String>,
    /// This instance's name, in the headers of decisions.
    pub instance: String,
    /// How long a batch is waited for after its first record.
    pub batch_wait: Duration,
    /// Whether decisions carry headers. They cost about a third of the rate at which messages can be handed over.
    pub decision_headers: bool,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("group_id", &self.group_id)
            .field("topics", &self.topics)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("instance", &self.instance)
            .field("batch_wait", &self.batch_wait)
            .field("decision_headers", &self.decision_headers)
            .finish()
    }
}

impl KafkaConfig {
    /// Checks everything that can be checked without a broker.
    ///
    /// # Errors
    /// What is wrong, without the values of properties.
    pub fn check(&self) -> Result<(), String> {
        if self.brokers.trim().is_empty() {
            return Err("no brokers are named".into());
        }
        if self.group_id.is_empty() {
            return Err("the consumer group has no name".into());
        }
        self.check_topics()?;
        for (name, value) in &self.properties {
            check_property(name, value)?;
        }
        for config in [self.group(), self.producer(0)] {
            config.create_native_config().map_err(|error| error::text(&error))?;
        }
        Ok(())
    }

    /// Every topic needs a name that Kafka allows, and one of its own.
    fn check_topics(&self) -> Result<(), String> {
        let mut names = self.topics.all();
        names.sort_unstable();
        for name in names {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if name.is_empty() || name.len() > 249 || matches!(name, "." | "..") || !name.chars().all(legal) {
                return Err(format!("`{name}` cannot be a topic's name"));
            }
        }
        match names.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        }) {
            Some(name) => Err(format!("topic `{name}` is named for two purposes")),
            None => Ok(()),
        }
    }

    /// How long the broker lets a transaction stay open.
    pub(crate) fn transaction_timeout(&self) -> Duration {
        let set = self.properties.get("transaction.timeout.ms").and_then(|value| value.trim().parse().ok());
        set.map_or(TRANSACTION_TIMEOUT, Duration::from_millis)
    }

    /// What one request may hold of a partition.
    pub(crate) fn batch_limit(&self) -> BatchLimit {
        let set = |name| self.properties.get(name).and_then(|value| value.trim().parse().ok());
        BatchLimit {
            bytes: set("batch.size")
                .unwrap_or(BATCH.bytes)
                .min(set("message.max.bytes").unwrap_or(usize::MAX)),
            messages: set("batch.num.messages").unwrap_or(BATCH.messages),
        }
    }

    /// The id under which the owner of a partition writes.
    pub(crate) fn transactional_id(&self, partition: i32) -> String {
        format!("{}-{partition}", self.group_id)
    }

    /// `defaults`, overridden by the properties, overridden by `fixed`.
    fn client(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        // A broker that comes back is to be noticed within a second.
        config
            .set("client.id", "weir")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config
    }

    /// Any consumer: its position is never stored, and only what is committed is seen.
    fn consumer(&self, fixed: &[(&str, &str)]) -> ClientConfig {
        let defaults = [
            // The default of 1000 stops fetching for a second whenever the local queue is full.
            ("fetch.queue.backoff.ms", "2"),
            ("fetch.wait.max.ms", "100"),
            ("queued.min.messages", "50000"),
            ("queued.max.messages.kbytes", "65536"),
            ("max.partition.fetch.bytes", "4194304"),
            ("fetch.max.bytes", "16777216"),
            ("session.timeout.ms", "10000"),
            // Every step of a rebalance waits for a heartbeat.
            ("heartbeat.interval.ms", "1000"),
            // It is also how long a rebalance waits for members that the coordinator believes in and that are gone, as
            // a coordinator that was killed in a rebalance may for all of the client's default of five minutes. This
            // client polls all the time but while it hands partitions over, for which there are 20 s.
            ("max.poll.interval.ms", "30000"),
        ];
        let mut config = self.client(&defaults, fixed);
        config
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed");
        config
    }

    /// The member of the group. End-of-partition events are off: librdkafka's batch call counts one as a consumed
    /// record, and a rebalance, which pauses and resumes what is kept, would then skip the next one.
    pub(crate) fn group(&self) -> ClientConfig {
        self.consumer(&[
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("enable.partition.eof", "false"),
            ("auto.offset.reset", "error"),
        ])
    }

    /// A consumer outside of the group, which reads partitions that it is told to. `reset` says what happens when
    /// an offset is not there any more.
    pub(crate) fn reader(&self, reset: &str) -> ClientConfig {
        self.consumer(&[("enable.partition.eof", "true"), ("auto.offset.reset", reset)])
    }

    /// A client that only asks for offsets.
    pub(crate) fn query(&self) -> ClientConfig {
        self.consumer(&[])
    }

    /// The producer of a partition.
    pub(crate) fn producer(&self, partition: i32) -> ClientConfig {
        self.producer_as(&self.transactional_id(partition))
    }

    /// A producer with this transactional id.
    pub(crate) fn producer_as(&self, id: &str) -> ClientConfig {
        let timeout = TRANSACTION_TIMEOUT.as_millis().to_string();
        let (batch_bytes, batch_messages) = (BATCH.bytes.to_string(), BATCH.messages.to_string());
        let defaults = [
            ("transaction.timeout.ms", timeout.as_str()),
            // A batch is produced in one go and then flushed, which ends the lingering: without it, the client's threads
            // are woken for single messages and send them in many small requests.
            ("linger.ms", "20"),
            ("compression.type", "lz4"),
            // The default of 100 is waited for whenever the coordinator has not finished the transaction before.
            ("retry.backoff.ms", "2"),
            ("retry.backoff.max.ms", "100"),
            ("batch.size", batch_bytes.as_str()),
            ("batch.num.messages", batch_messages.as_str()),
            ("queue.buffering.max.messages", "200000"),
            ("queue.buffering.max.kbytes", "262144"),
            ("message.max.bytes", "4194304"),
        ];
        // Acknowledgements of single messages are of no use: the transaction's is.
        self.client(&defaults, &[("transactional.id", id), ("delivery.report.only.error", "true")])
    }

    /// A client for topics and for offsets that are not committed yet.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.client(&[], &[("isolation.level", "read_uncommitted")])
    }
}

/// Refuses properties that would break what Weir relies on.
fn check_property(name: &str, value: &str) -> Result<(), String> {
    if let Some((_, reason)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        return Err(format!("property `{name}` cannot be set: {reason}"));
    }
    if name == "debug" && value.split(',').any(|part| matches!(part.trim(), "security" | "all")) {
        return Err("property `debug` cannot name `security` or `all`: the log would hold secrets".into());
    }
    let number = || value.trim().parse::<u64>().ok();
    if name == "transaction.timeout.ms" && !number().is_some_and(|ms| (1_000..=900_000).contains(&ms)) {
        return Err("property `transaction.timeout.ms` must be a number from 1000 to 900000".into());
    }
    if matches!(name, "message.timeout.ms" | "delivery.timeout.ms") {
        return Err(format!("property `{name}` cannot be set: `transaction.timeout.ms` bounds it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> KafkaConfig {
        let name = |name: &str| name.to_owned();
        KafkaConfig {
            brokers: name("localhost:9092"),
            group_id: name("weir"),
            topics: Topics {
                transactions: name("transactions"),
                mandates: name("mandates"),
                decisions: name("decisions"),
                risk_scores: name("risk"),
                alerts: name("alerts"),
                rejects: name("rejects"),
                journal: name("journal"),
            },
            properties: properties.iter().map(|(key, value)| (name(key), name(value))).collect(),
            instance: name("one"),
            batch_wait: Duration::from_millis(5),
            decision_headers: true,
        }
    }

    #[test]
    fn properties_of_every_kind_of_client_pass() {
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "weir"),
            ("sasl.password", "swordfish"),
            ("compression.type", "zstd"),
            ("fetch.wait.max.ms", "10"),
            ("transaction.timeout.ms", "5000"),
        ];
        let config = config(&properties);
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.transaction_timeout(), Duration::from_secs(5));
    }

    #[test]
    fn what_exactly_once_rests_on_cannot_be_changed() {
        for (name, _) in FIXED {
            let error = config(&[(name, "1")]).check().unwrap_err();
            assert!(error.contains(name) && error.contains("cannot be set"), "{error}");
        }
        for (name, value) in [
            ("debug", "broker,security"),
            ("transaction.timeout.ms", "soon"),
            ("delivery.timeout.ms", "1"),
            ("no.such.property", "1"),
        ] {
            let error = config(&[(name, value)]).check().unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn no_value_is_ever_shown() {
        let config = config(&[("ssl.endpoint.identification.algorithm", "swordfish")]);
        let error = config.check().unwrap_err();
        assert!(error.contains("ssl.endpoint") && !error.contains("swordfish"), "{error}");
        assert!(!format!("{config:?}").contains("swordfish"));
    }

    #[test]
    fn topics_need_names_of_their_own() {
        let mut config = config(&[]);
        config.topics.alerts = "decisions".into();
        assert!(config.check().unwrap_err().contains("decisions"));
        config.topics.alerts = "a b".into();
        assert!(config.check().unwrap_err().contains("a b"));
    }
}
