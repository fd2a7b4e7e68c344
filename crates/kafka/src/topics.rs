//! The topics: made as Weir needs them, and checked.

use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{IsError as _, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use weir_log::LogError;

use crate::config::KafkaConfig;
use crate::context::Context;
use crate::error;
use crate::query::{Query, WAIT};

/// A record of 1 MiB, which is the largest that is decided about, and what the broker puts around it.
const LARGEST: u64 = 2 * 1024 * 1024;

/// What became of a topic that was to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Created,
    /// It is there; [`check`] says whether it is as it should be.
    Exists,
    /// It could not be made.
    Failed(String),
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where there is nothing to do.
    pub remedy: String,
}

impl Finding {
    /// As it should be.
    fn fine(what: impl Into<String>) -> Self {
        Self { ok: true, what: what.into(), remedy: String::new() }
    }

    /// Fine, and yet worth a word.
    fn remark(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { ok: true, what: what.into(), remedy: remedy.into() }
    }

    /// Not as it should be.
    fn wrong(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { ok: false, what: what.into(), remedy: remedy.into() }
    }
}

/// A client that may change topics.
pub(crate) struct Admin(AdminClient<Context>);

impl Admin {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// When its properties are refused.
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self, LogError> {
        let client = config.admin().create_with_context(Context::default());
        client.map(Self).map_err(|error| error::of("Kafka client", &error))
    }

    /// How long the cluster may take.
    fn options() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(WAIT)).operation_timeout(Some(WAIT))
    }

    /// Where a partition ends, transactions that are still open included.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn end(&self, topic: &str, partition: i32) -> Result<i64, LogError> {
        let ends = self.0.inner().fetch_watermarks(topic, partition, WAIT);
        ends.map(|(_, end)| end).map_err(|error| error::of(&format!("the end of {topic}"), &error))
    }

    /// Deletes the records of a partition that precede an offset.
    ///
    /// # Errors
    /// When the cluster does not answer or does not allow it.
    pub(crate) fn delete_before(&self, topic: &str, partition: i32, offset: i64) -> Result<(), LogError> {
        let failed = |error| error::of(&format!("deleting records of {topic}"), &error);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(failed)?;
        let deleted = block_on(self.0.delete_records(&list, &Self::options())).map_err(failed)?;
        deleted
            .elements()
            .iter()
            .try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)
            .map_err(failed)
    }

    /// Configuration of topics, in their order; nothing of a topic that does not tell.
    fn describe(&self, topics: &[&str]) -> Result<Vec<Result<ConfigResource, Code>>, LogError> {
        let topics: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let described = block_on(self.0.describe_configs(topics.iter(), &Self::options()));
        described.map_err(|error| error::of("configuration of topics", &error))
    }
}

/// How a topic is configured when it is made.
fn settings(config: &KafkaConfig, topic: &str) -> Vec<(&'static str, &'static str)> {
    let topics = &config.topics;
    let mut settings = vec![("max.message.bytes", "2097152")];
    if topic == topics.mandates || topic == topics.risk_scores {
        settings.push(("cleanup.policy", "compact"));
    } else {
        settings.push(("cleanup.policy", "delete"));
    }
    if topic == topics.journal {
        // Weir deletes what it does not need any more.
        settings.extend([("retention.ms", "-1"), ("retention.bytes", "-1")]);
    } else if topic == topics.decisions || topic == topics.rejects {
        settings.push(("retention.ms", "604800000"));
    }
    settings
}

/// Makes the topics that are not there yet. A `replication` of -1 is the broker's default.
///
/// # Errors
/// When the cluster does not answer.
pub fn create(
    config: &KafkaConfig,
    partitions: i32,
    replication: i32,
) -> Result<Vec<(String, Outcome)>, LogError> {
    config.check().map_err(LogError::Refused)?;
    let admin = Admin::new(config)?;
    let names = config.topics.all();
    let topics: Vec<_> = names
        .iter()
        .map(|name| {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
            settings(config, name).into_iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let created = block_on(admin.0.create_topics(topics.iter(), &Admin::options()));
    let created = created.map_err(|error| error::of("creating topics", &error))?;
    let outcome = |result: Result<String, (String, Code)>| match result {
        Ok(name) => (name, Outcome::Created),
        Err((name, Code::TopicAlreadyExists)) => (name, Outcome::Exists),
        Err((name, code)) => (name, Outcome::Failed(code.to_string())),
    };
    Ok(created.into_iter().map(outcome).collect())
}

/// Looks at everything that Weir needs of the cluster. Nothing is changed there, but that the transaction
/// coordinator remembers one more producer.
#[must_use]
pub fn check(config: &KafkaConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(reason) = config.check() {
        findings.push(Finding::wrong(reason, "correct the configuration"));
        return findings;
    }
    let result =
        check_cluster(config, &mut findings).and_then(|()| check_configuration(config, &mut findings));
    match result {
        Ok(()) => check_rights(config, &mut findings),
        Err(reason) => findings
            .push(Finding::wrong(reason.to_string(), "see that the brokers are up and let this client in")),
    }
    findings
}

/// Brokers, topics and their partitions.
fn check_cluster(config: &KafkaConfig, findings: &mut Vec<Finding>) -> Result<(), LogError> {
    let admin = Admin::new(config)?;
    let metadata = admin.0.inner().fetch_metadata(None, WAIT);
    let metadata = metadata.map_err(|error| error::of(&format!("brokers at {}", config.brokers), &error))?;
    findings.push(Finding::fine(format!("{} broker(s) reached", metadata.brokers().len())));
    let mut wanted = None;
    for name in config.topics.all() {
        let found = metadata.topics().iter().find(|topic| topic.name() == name);
        findings.extend(check_topic(name, found, &mut wanted, metadata.brokers().len()));
    }
    Ok(())
}

/// One topic: whether it is there, its partitions, its replicas.
fn check_topic(
    name: &str,
    found: Option<&MetadataTopic>,
    wanted: &mut Option<usize>,
    brokers: usize,
) -> Vec<Finding> {
    let Some(topic) = found else {
        let remedy = "create it (`weir topics create`), or give this client the right to describe it";
        return vec![Finding::wrong(format!("topic {name} is not there"), remedy)];
    };
    if let Some(code) = topic.error().filter(|code| code.is_error()) {
        let what = format!("topic {name}: {}", Code::from(code));
        return vec![Finding::wrong(what, "give this client the right to describe, read and write it")];
    }
    let count = topic.partitions().len();
    // The first topic, the transactions, sets the number.
    let expected = *wanted.get_or_insert(count);
    let mut findings = vec![if count == expected {
        Finding::fine(format!("topic {name} has {count} partition(s)"))
    } else {
        let what = format!("topic {name} has {count} partition(s), the transactions have {expected}");
        Finding::wrong(what, "create a new topic with as many partitions, and name it in the configuration")
    }];
    let leaderless = topic.partitions().iter().filter(|partition| partition.leader() < 0).count();
    if leaderless > 0 {
        let what = format!("topic {name}: {leaderless} partition(s) have no leader");
        findings.push(Finding::wrong(what, "bring their brokers back"));
    }
    let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
    if replicas < 3 {
        let remedy =
            if brokers < 3 { "enough for trying out; run 3 brokers or more" } else { "use 3 replicas" };
        findings.push(Finding::remark(format!("topic {name} has {replicas} replica(s)"), remedy));
    }
    findings
}

/// How the topics are configured.
fn check_configuration(config: &KafkaConfig, findings: &mut Vec<Finding>) -> Result<(), LogError> {
    let names = config.topics.all();
    let described = Admin::new(config)?.describe(&names)?;
    for (name, result) in names.into_iter().zip(described) {
        match result {
            Ok(resource) => findings.extend(check_settings(config, name, &resource)),
            Err(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {}
            Err(code) => {
                let what = format!("the configuration of topic {name} is not told: {code}");
                findings
                    .push(Finding::remark(what, "give this client the right to describe its configuration"));
            }
        }
    }
    Ok(())
}

/// How one topic is configured.
fn check_settings(config: &KafkaConfig, name: &str, resource: &ConfigResource) -> Vec<Finding> {
    let topics = &config.topics;
    let value = |key: &str| resource.get(key).and_then(|entry| entry.value.as_deref());
    let set = |key: &str, to: &str| format!("set {key}={to} on {name}");
    let mut findings = Vec::new();
    let mut expect = |key: &str, wanted: &str| {
        let found = value(key).unwrap_or("unknown");
        let what = format!("topic {name}: {key}={found}");
        findings.push(if found == wanted {
            Finding::fine(what)
        } else {
            Finding::wrong(what, set(key, wanted))
        });
    };
    if name == topics.mandates || name == topics.risk_scores {
        expect("cleanup.policy", "compact");
    } else if name == topics.journal {
        expect("cleanup.policy", "delete");
        expect("retention.ms", "-1");
        expect("retention.bytes", "-1");
    }
    if [&topics.transactions, &topics.mandates, &topics.journal, &topics.rejects].contains(&&name.to_owned())
    {
        let bytes = value("max.message.bytes").and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        let what = format!("topic {name}: max.message.bytes={bytes}");
        let wrong = || Finding::wrong(what.clone(), set("max.message.bytes", &LARGEST.to_string()));
        findings.push(if bytes >= LARGEST { Finding::fine(what.clone()) } else { wrong() });
    }
    if name == topics.transactions {
        let kind = value("message.timestamp.type").unwrap_or("unknown");
        findings.push(Finding::fine(format!("topic {name}: message.timestamp.type={kind}")));
    }
    if value("min.insync.replicas") == Some("1") {
        let what = format!("topic {name}: min.insync.replicas=1");
        let remedy = "with 3 replicas, set it to 2: one broker that fails then loses nothing";
        findings.push(Finding::remark(what, remedy));
    }
    findings
}

/// What this client may do, as far as that can be seen without writing.
fn check_rights(config: &KafkaConfig, findings: &mut Vec<Finding>) {
    let group = &config.group_id;
    let position = Query::new(config).and_then(|query| query.committed(&config.topics.transactions, 0));
    findings.push(match position {
        Ok(_) => Finding::fine(format!("group {group} can be used")),
        Err(reason) => {
            let remedy = format!("give this client the right to read group {group}");
            Finding::wrong(format!("group {group}: {reason}"), remedy)
        }
    });
    let id = format!("{group}-check");
    let producer =
        config.producer_as(&id).create_with_context::<_, BaseProducer<_>>(crate::produce::Outcome::default());
    let started = producer.and_then(|producer: BaseProducer<crate::produce::Outcome>| {
        producer.init_transactions(Duration::from_secs(20))
    });
    findings.push(match started {
        Ok(()) => Finding::fine(format!("transactional ids that begin with {group}- can be used")),
        Err(error) => {
            let remedy = format!(
                "give this client the right to write with transactional ids that begin with {group}-"
            );
            Finding::wrong(format!("transactional id {id}: {}", error::text(&error)), remedy)
        }
    });
}
