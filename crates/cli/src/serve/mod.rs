//! `weir run`, `topics` and `record`: the commands that work on a log.

mod record;
mod run;
mod topics;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use weir_embedded::EmbeddedLog;
use weir_kafka::{KafkaConfig, KafkaLog};
use weir_log::{Log, Partitioner};
use weir_service::{Portion, Settings, Start, now_us};

use crate::args::LogFormat;
use crate::config::{Config, LogKind, PartitionerKind, StartAt};
use crate::failure::Failure;

pub(crate) use record::{record, replay};
pub(crate) use run::{Service, run};
pub(crate) use topics::{check, create};

/// How long the embedded log keeps what recovery does not need.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most records, and bytes of records, that wait for the embedded log.
const QUEUE_RECORDS_MAX: usize = 200_000;
const QUEUE_BYTES_MAX: usize = 256 << 20;

/// A log, and the door for records over HTTP where it has one.
pub(crate) struct Opened {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) embedded: Option<EmbeddedLog>,
}

/// Whether a log is opened to serve it or to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// A member of the group, which is given partitions.
    Member,
    /// Somebody who only reads.
    Reader,
}

/// Opens the log that the configuration names.
pub(crate) fn open(config: &Config, by: As) -> Result<Opened, Failure> {
    match config.service.log {
        LogKind::Kafka => {
            let kafka = kafka(config);
            kafka.check().map_err(Failure::Usage)?;
            let log = match by {
                As::Member => KafkaLog::new(kafka),
                As::Reader => KafkaLog::apart(kafka),
            };
            let log = log.context("cannot reach Kafka; `weir check` says more")?;
            Ok(Opened { log: Arc::new(log), embedded: None })
        }
        LogKind::Embedded => {
            let options = weir_embedded::Options {
                retention: RETENTION,
                queue_records_max: QUEUE_RECORDS_MAX,
                queue_bytes_max: QUEUE_BYTES_MAX,
                now_us,
            };
            let folder = Path::new(&config.service.data_dir);
            let log = EmbeddedLog::open(folder, options).context("cannot open the embedded log")?;
            Ok(Opened { log: Arc::new(log.clone()), embedded: Some(log) })
        }
    }
}

/// What the Kafka clients are told.
pub(crate) fn kafka(config: &Config) -> KafkaConfig {
    let kafka = &config.service.kafka;
    let names = &kafka.topics;
    KafkaConfig {
        brokers: kafka.brokers.clone(),
        group_id: kafka.group_id.clone(),
        topics: weir_kafka::Topics {
            transactions: names.transactions.clone(),
            mandates: names.mandates.clone(),
            decisions: names.decisions.clone(),
            risk_scores: names.risk_scores.clone(),
            alerts: names.alerts.clone(),
            rejects: names.rejects.clone(),
            journal: names.journal.clone(),
        },
        properties: kafka.properties.0.clone(),
        instance: instance_name(),
        batch_wait: micros(kafka.max_batch_wait.0),
        decision_headers: kafka.headers,
    }
}

/// What the service is told.
pub(crate) fn settings(config: &Config) -> Settings {
    let service = &config.service;
    let keyed = service.log == LogKind::Kafka;
    let topic = |name: &String| keyed.then(|| name.clone());
    Settings {
        config: config.engine.clone(),
        transactions_topic: topic(&service.kafka.topics.transactions),
        mandates_topic: topic(&service.kafka.topics.mandates),
        partitioner: match service.kafka.partitioner {
            PartitionerKind::Murmur2 => Partitioner::Murmur2,
            PartitionerKind::Crc32 => Partitioner::Crc32,
            PartitionerKind::Any => Partitioner::Any,
        },
        start: match service.kafka.start {
            StartAt::Earliest => Start::Earliest,
            StartAt::Latest => Start::Latest,
        },
        batch_mandates: Portion::OF_SERVICE,
        batch_records_max: usize::try_from(service.kafka.max_batch_records).unwrap_or(usize::MAX),
        registry_mandates_max: service.registry.mandates_max,
        snapshots_url: service.snapshots.url.clone(),
        snapshots_every: micros(service.snapshots.every.0),
        seed: crate::hash_seed(),
    }
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(us.unsigned_abs())
}

/// The machine's name and the process's number, by which operators find an instance.
fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or(host);
    let host = host.trim();
    format!("{}/{}", if host.is_empty() { "weir" } else { host }, std::process::id())
}

/// Sends the log of the service and of the clients to standard error.
pub(crate) fn start_logging(format: LogFormat, level: &str) -> Result<(), Failure> {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_new(level).map_err(|error| Failure::Usage(format!("--log-level {level}: {error}")))?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let color = !plain && std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color);
    let started = match format {
        LogFormat::Human => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}").into())
}
