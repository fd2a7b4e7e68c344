//! `weir-harness copy`: reads a topic and writes what it read into another, exactly once, and decides nothing.
//!
//! It is what Weir is measured against, so it does the rest as Weir does: a queue and a transactional producer per
//! partition, the batch calls, batches of the same size that are waited for as long, commits on a thread beside, the
//! same properties of the clients.

mod native;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::Timeout;

use crate::kafka::client;
use native::{Batch, Queue, Target};

/// Longest that a batch is waited for so that commits keep up.
const PACE_MAX: Duration = Duration::from_millis(50);

/// Arguments of `copy`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The broker
    #[arg(long)]
    brokers: String,
    /// The group, which begins at the topic's beginning where it has no position
    #[arg(long)]
    group: String,
    /// The topic that is read
    #[arg(long)]
    from: String,
    /// The topic that is written, with as many partitions
    #[arg(long)]
    to: String,
    /// Most records in a transaction, which is of one partition
    #[arg(long, default_value_t = 10_000)]
    max_batch_records: usize,
    /// How long a batch is waited for, in milliseconds
    #[arg(long, default_value_t = 5)]
    max_batch_wait: u64,
    /// Write the headers that decisions have
    #[arg(long)]
    headers: bool,
}

/// A change of ownership.
enum Change {
    Assigned(Vec<i32>),
    /// To be answered when they are finished with.
    Revoked(Vec<i32>, Sender<()>),
}

/// Callbacks of the consumer.
struct Member {
    topic: String,
    changes: Mutex<Sender<Change>>,
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            native::split(consumer, &self.topic, &partitions);
            consumer.incremental_assign(list).expect("assign");
            let _ = self.changes.lock().unwrap().send(Change::Assigned(partitions));
        } else {
            let (done, finished) = channel();
            let _ = self.changes.lock().unwrap().send(Change::Revoked(partitions, done));
            let _ = finished.recv_timeout(Duration::from_secs(20));
            consumer.incremental_unassign(list).expect("unassign");
        }
    }
}

type Consumer = BaseConsumer<Member>;

/// What is counted, for one line a second.
#[derive(Default)]
struct Numbers {
    records: AtomicU64,
    transactions: AtomicU64,
    /// Microseconds of each commit.
    commits: Mutex<Vec<u32>>,
    /// Smoothed time of a commit, in microseconds.
    commit_us: AtomicU64,
}

/// What every partition's threads share.
struct Common {
    args: Args,
    consumer: Arc<Consumer>,
    numbers: Numbers,
    /// Partitions that are copied now.
    live: AtomicU64,
}

/// Copies until it is ended.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (changes, changed) = channel();
    let member = Member { topic: args.from.clone(), changes: Mutex::new(changes) };
    let consumer: Consumer = consumer_config(args).create_with_context(member).context("consumer")?;
    consumer.subscribe(&[&args.from])?;
    let consumer = Arc::new(consumer);
    let polled = Arc::clone(&consumer);
    // Records never come here, but rebalances do.
    thread::spawn(move || {
        loop {
            if let Some(Err(error)) = polled.poll(Duration::from_millis(100)) {
                eprintln!("{error}");
            }
        }
    });
    let live = AtomicU64::new(0);
    let common = Arc::new(Common { args: args.clone(), consumer, numbers: Numbers::default(), live });
    let told = Arc::clone(&common);
    thread::spawn(move || tell(&told));
    serve(&common, &changed);
    Ok(())
}

fn consumer_config(args: &Args) -> ClientConfig {
    let mut config = client(&args.brokers);
    config
        .set("group.id", &args.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "1000")
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.max.bytes", "16777216")
        .set("max.partition.fetch.bytes", "4194304")
        .set("queued.min.messages", "50000")
        .set("queued.max.messages.kbytes", "65536");
    config
}

fn producer_config(args: &Args, partition: i32) -> ClientConfig {
    let mut config = client(&args.brokers);
    config
        .set("transactional.id", format!("{}-{partition}", args.group))
        .set("transaction.timeout.ms", "20000")
        .set("linger.ms", "0")
        .set("retry.backoff.ms", "2")
        .set("retry.backoff.max.ms", "100")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "262144")
        .set("message.max.bytes", "4194304")
        .set("delivery.report.only.error", "true");
    config
}

/// Starts and stops partitions as the group says.
fn serve(common: &Arc<Common>, changed: &Receiver<Change>) {
    let mut shards: HashMap<i32, (Arc<AtomicBool>, JoinHandle<()>)> = HashMap::new();
    for change in changed {
        match change {
            Change::Assigned(partitions) => {
                for partition in partitions {
                    let stop = Arc::new(AtomicBool::new(false));
                    let (common, stopped) = (Arc::clone(common), Arc::clone(&stop));
                    shards.insert(
                        partition,
                        (stop, thread::spawn(move || shard(&common, partition, &stopped))),
                    );
                }
            }
            Change::Revoked(partitions, done) => {
                let gone: Vec<_> = partitions.iter().filter_map(|one| shards.remove(one)).collect();
                gone.iter().for_each(|(stop, _)| stop.store(true, Ordering::Relaxed));
                gone.into_iter().for_each(|(_, thread)| thread.join().unwrap());
                let _ = done.send(());
            }
        }
    }
}

/// Copies one partition: this thread reads, another commits what was read before.
fn shard(common: &Common, partition: i32, stop: &AtomicBool) {
    let args = &common.args;
    let producer: Arc<BaseProducer> = Arc::new(producer_config(args, partition).create().expect("producer"));
    producer.init_transactions(Duration::from_secs(30)).expect("init_transactions");
    let queue = Queue::new(&common.consumer, &args.from, partition);
    let target = Target::new(&producer, &args.to);
    common.live.fetch_add(1, Ordering::Relaxed);
    let (to_commit, commits) = sync_channel::<Batch>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            commits.into_iter().for_each(|batch| commit(common, &producer, &target, partition, &batch))
        });
        while !stop.load(Ordering::Relaxed) {
            let live = usize::try_from(common.live.load(Ordering::Relaxed)).unwrap_or(1).max(1);
            let wait = wait(common, live);
            let batch = queue.gather(args.max_batch_records, wait, wait);
            if !batch.is_empty() && to_commit.send(batch).is_err() {
                break;
            }
        }
        drop(to_commit);
    });
    common.live.fetch_sub(1, Ordering::Relaxed);
}

/// How long a batch is waited for: as Weir does.
fn wait(common: &Common, live: usize) -> Duration {
    let commit = Duration::from_micros(common.numbers.commit_us.load(Ordering::Relaxed));
    let pace = if live > 1 { commit / 2 } else { Duration::ZERO };
    Duration::from_millis(common.args.max_batch_wait).max(pace.min(PACE_MAX))
}

/// Sends a batch until it is committed.
fn commit(common: &Common, producer: &BaseProducer, target: &Target, partition: i32, batch: &Batch) {
    let begun = Instant::now();
    while let Err(error) = attempt(common, producer, target, partition, batch) {
        eprintln!("partition {partition}: {error}; again");
        producer.abort_transaction(Timeout::Never).expect("abort");
        sleep(Duration::from_millis(20));
    }
    let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
    let numbers = &common.numbers;
    numbers.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
    numbers.transactions.fetch_add(1, Ordering::Relaxed);
    numbers.commits.lock().unwrap().push(took);
    let before = numbers.commit_us.load(Ordering::Relaxed);
    numbers.commit_us.store(before - before / 8 + u64::from(took) / 8, Ordering::Relaxed);
}

fn attempt(
    common: &Common,
    producer: &BaseProducer,
    target: &Target,
    partition: i32,
    batch: &Batch,
) -> Result<(), KafkaError> {
    producer.begin_transaction()?;
    if common.args.headers {
        target.produce_with_headers(partition, batch, "copy/1");
    } else {
        target.produce(partition, batch);
    }
    while !native::flush(producer, Duration::from_millis(20)) {
        producer.poll(Duration::ZERO);
    }
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&common.args.from, partition, Offset::Offset(batch.next()))?;
    let member = common.consumer.group_metadata().ok_or(KafkaError::Canceled)?;
    producer.send_offsets_to_transaction(&offsets, &member, Timeout::Never)?;
    producer.commit_transaction(Timeout::Never)
}

/// A line a second, of which the last counts.
fn tell(common: &Common) {
    loop {
        sleep(Duration::from_secs(1));
        let mut commits = common.numbers.commits.lock().unwrap().clone();
        commits.sort_unstable();
        let quantile = |part: f64| commits.get((commits.len() as f64 * part) as usize).copied().unwrap_or(0);
        println!(
            "{{\"records\":{},\"transactions\":{},\"commit_ms_p50\":{:.2},\"commit_ms_p99\":{:.2}}}",
            common.numbers.records.load(Ordering::Relaxed),
            common.numbers.transactions.load(Ordering::Relaxed),
            f64::from(quantile(0.5)) / 1e3,
            f64::from(quantile(0.99)) / 1e3,
        );
    }
}
