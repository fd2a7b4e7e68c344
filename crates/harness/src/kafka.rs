//! Clients of the broker: what the harness sends, reads and asks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use futures_executor::block_on;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long the broker may take for an answer.
const WAIT: Duration = Duration::from_secs(10);
/// How long nothing may come of a topic that is being read.
const SILENCE: Duration = Duration::from_secs(30);

/// What every client has in common.
pub(crate) fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "weir-harness");
    // The broker is restarted under it, which is no news.
    config.set_log_level(RDKafkaLogLevel::Critical);
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
    config
}

/// Counts what the broker has taken.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    taken: AtomicU64,
    refused: Mutex<Vec<String>>,
}

impl ClientContext for Delivered {
    fn error(&self, _: KafkaError, _: &str) {}
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.taken.fetch_add(1, Ordering::Relaxed)),
            Err((error, message)) => {
                let shown = format!("{}: {error} ({} bytes)", message.topic(), message.payload_len());
                self.refused.lock().unwrap().push(shown);
            }
        }
    }
}

/// Sends records in their order, each once, by the partitioner of Java's clients.
pub(crate) struct Sender {
    producer: BaseProducer<Delivered>,
    queued: u64,
}

impl Sender {
    /// A sender that never gives up.
    pub(crate) fn new(brokers: &str) -> Result<Self> {
        let mut config = client(brokers);
        config
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", "4194304")
            .set("message.timeout.ms", "0")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "524288")
            .set("batch.size", "1000000")
            .set("linger.ms", "2");
        let producer = config.create_with_context(Delivered::default()).context("producer")?;
        Ok(Self { producer, queued: 0 })
    }

    /// Queues a record; waits where there is no room.
    pub(crate) fn send(&mut self, record: BaseRecord<'_, [u8], [u8]>) -> Result<()> {
        self.send_unless(record, &|| false).map(drop)
    }

    /// The same, unless `stopped` says so while there is no room; tells whether it was queued.
    pub(crate) fn send_unless(
        &mut self,
        mut record: BaseRecord<'_, [u8], [u8]>,
        stopped: &dyn Fn() -> bool,
    ) -> Result<bool> {
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    if stopped() {
                        return Ok(false);
                    }
                    record = back;
                    self.producer.poll(Duration::from_millis(5));
                }
                Err((error, back)) => bail!("a record for {} is refused: {error}", back.topic),
            }
        }
        self.queued += 1;
        if self.queued.is_multiple_of(256) {
            self.producer.poll(Duration::ZERO);
        }
        Ok(true)
    }

    /// Takes reports.
    pub(crate) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until the broker has everything; gives how much that was.
    pub(crate) fn finish(self, limit: Duration) -> Result<u64> {
        self.producer.flush(limit).context("not everything could be sent")?;
        let context = self.producer.context();
        let refused = context.refused.lock().unwrap();
        match refused.first() {
            None => Ok(context.taken.load(Ordering::Relaxed)),
            Some(first) => bail!("{} records were refused, the first: {first}", refused.len()),
        }
    }
}

/// Reads everything that is committed in a topic, each partition in its order.
pub(crate) fn read_all(
    brokers: &str,
    topic: &str,
    partitions: i32,
    each: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let mut config = client(brokers);
    config
        .set("group.id", "weir-harness-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "4194304")
        .set("queued.max.messages.kbytes", "65536");
    let consumer: BaseConsumer = config.create().context("consumer")?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut at_end = vec![false; usize::try_from(partitions)?];
    let mut heard = Instant::now();
    while at_end.contains(&false) {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => each(&message)?,
            Some(Err(KafkaError::PartitionEOF(partition))) => at_end[usize::try_from(partition)?] = true,
            Some(Err(error)) => eprintln!("{topic}: {error}"),
            None if heard.elapsed() > SILENCE => bail!("{topic} cannot be read to its end"),
            None => continue,
        }
        heard = Instant::now();
    }
    Ok(())
}

/// Asks where things stand.
pub(crate) struct Observer {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Observer {
    /// An observer of a group that reads a topic; not a member of it.
    pub(crate) fn new(brokers: &str, group: &str, topic: &str, partitions: i32) -> Result<Self> {
        let consumer = client(brokers).set("group.id", group).set("enable.auto.commit", "false").create();
        Ok(Self { consumer: consumer.context("consumer")?, topic: topic.to_owned(), partitions })
    }

    /// Where each partition ends.
    pub(crate) fn ends(&self, wait: Duration) -> Result<Vec<i64>> {
        let end = |partition| Ok(self.consumer.fetch_watermarks(&self.topic, partition, wait)?.1);
        (0..self.partitions).map(end).collect()
    }

    /// Positions that the group has committed; 0 where there is none.
    pub(crate) fn positions(&self, wait: Duration) -> Result<Vec<i64>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition(&self.topic, partition);
        }
        let committed = self.consumer.committed_offsets(list, wait)?;
        let position = |partition| {
            let found = committed.find_partition(&self.topic, partition);
            found.and_then(|found| found.offset().to_raw()).filter(|&offset| offset > 0).unwrap_or(0)
        };
        Ok((0..self.partitions).map(position).collect())
    }
}

/// Makes topics with these settings.
pub(crate) fn create_topics(
    brokers: &str,
    names: &[String],
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().context("admin client")?;
    let topics = names.iter().map(|name| {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        settings.iter().fold(topic, |topic, &(key, value)| topic.set(key, value))
    });
    let topics: Vec<NewTopic<'_>> = topics.collect();
    let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
    for made in block_on(admin.create_topics(topics.iter(), &options))? {
        made.map_err(|(name, code)| anyhow!("topic {name}: {code}"))?;
    }
    Ok(())
}

/// Names of all topics.
pub(crate) fn topics(brokers: &str) -> Result<Vec<String>> {
    let consumer: BaseConsumer = client(brokers).create().context("consumer")?;
    let metadata = consumer.fetch_metadata(None, WAIT)?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

/// Removes topics; what is not there is fine.
pub(crate) fn delete_topics(brokers: &str, names: &[String]) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().context("admin client")?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
    block_on(admin.delete_topics(&names, &options))?;
    Ok(())
}
