//! From a record's being sent to its outcome's being read, at a steady rate.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::Bench;
use super::contender::{Contender, Running};
use super::report::rounded;
use crate::feed;
use crate::kafka::client;
use crate::site::Site;
use crate::stream::{Lines, value, with_value};

/// Seconds before anything is counted: processes start, partitions are assigned, caches fill.
const WARM_UP: u64 = 5;
/// How long the last outcomes are waited for.
const LAST: Duration = Duration::from_secs(20);

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Outcomes that were read of those that count.
    read: usize,
    /// Records that count.
    sent: usize,
    /// p50, p99, p99.9 and the greatest, in milliseconds.
    pub(crate) quantiles: [f64; 4],
    commit_ms: Option<[f64; 2]>,
    cpu_seconds: f64,
}

impl Run {
    pub(crate) fn sentence(&self) -> String {
        let [p50, p99, p999, greatest] = self.quantiles;
        let commits = self
            .commit_ms
            .map_or_else(String::new, |[p50, p99]| format!(", commits p50 {p50:.1} ms, p99 {p99:.1} ms"));
        format!(
            "p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, greatest {greatest:.1} ms of {} outcomes of {} \
             records, {:.1} CPU-seconds{commits}",
            self.read, self.sent, self.cpu_seconds
        )
    }

    pub(crate) fn json(&self) -> Value {
        let [p50, p99, p999, greatest] = self.quantiles.map(rounded);
        json!({
            "records": self.sent,
            "outcomes": self.read,
            "ms_p50": p50,
            "ms_p99": p99,
            "ms_p999": p999,
            "ms_max": greatest,
            "commit_ms_p50_p99": self.commit_ms.map(|times| times.map(rounded)),
            "cpu_seconds": rounded(self.cpu_seconds),
        })
    }
}

/// Microseconds since the start at which each record was sent; 0 for not yet.
type Times = Arc<Vec<AtomicU64>>;

/// What is sent, and how fast.
pub(crate) struct Load<'a> {
    /// Transactions per second.
    pub(crate) rate: u64,
    /// For so many seconds outcomes count.
    pub(crate) seconds: u64,
    pub(crate) transactions: &'a Path,
    pub(crate) mandates: &'a Path,
}

/// Sends records at the rate through a contender at a site.
pub(crate) fn measure(bench: &Bench, contender: Contender, site: &Site, load: &Load<'_>) -> Result<Run> {
    let records = usize::try_from(load.rate * (WARM_UP + load.seconds))?;
    let skipped = usize::try_from(load.rate * WARM_UP)?;
    bench.prepare(contender, site)?;
    feed::send(&bench.brokers, &site.topic("mandates"), load.mandates, "mandate_id", None)?;
    let mut running = bench.start(contender, site)?;
    let reader = reader(&bench.brokers, &running.output, bench.partitions)?;
    wait_until_live(bench, site, &mut running)?;
    let times: Times = Arc::new((0..records).map(|_| AtomicU64::new(0)).collect());
    let start = Instant::now();
    let all_sent = Arc::new(AtomicBool::new(false));
    let lines = Lines::read(load.transactions)?;
    let sending = {
        let (times, all_sent, topic) =
            (Arc::clone(&times), Arc::clone(&all_sent), site.topic("transactions"));
        let (brokers, rate) = (bench.brokers.clone(), load.rate);
        thread::spawn(move || {
            let sent = send(&brokers, &topic, &lines, rate, start, &times);
            all_sent.store(true, Ordering::Relaxed);
            sent
        })
    };
    let mut waits = read(&reader, start, &times, skipped, &all_sent)?;
    sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    running.check()?;
    waits.sort_unstable();
    let quantile = |part: f64| {
        let at = ((waits.len().max(1) - 1) as f64 * part).round() as usize;
        waits.get(at).map_or(f64::NAN, |&us| us as f64 / 1e3)
    };
    let run = Run {
        read: waits.len(),
        sent: records - skipped,
        quantiles: [quantile(0.5), quantile(0.99), quantile(0.999), quantile(1.0)],
        commit_ms: running.commits(),
        cpu_seconds: running.cpu_seconds(),
    };
    running.stop()?;
    Ok(run)
}

fn reader(brokers: &str, topic: &str, partitions: i32) -> Result<BaseConsumer> {
    let mut config = client(brokers);
    config
        .set("group.id", "weir-harness-latency")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "100");
    let reader: BaseConsumer = config.create().context("consumer")?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    reader.assign(&list)?;
    Ok(reader)
}

/// A contender is live when its group has members for every partition and, where it says so itself, it is ready.
fn wait_until_live(bench: &Bench, site: &Site, running: &mut Running) -> Result<()> {
    let begun = Instant::now();
    let topic = site.topic("transactions");
    let producer: BaseProducer = client(&bench.brokers).create().context("producer")?;
    // One record per partition, that no contender can do anything about but move on: the copy copies it, Weir
    // rejects it. Its position is committed when it was dealt with.
    for partition in 0..bench.partitions {
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic);
        let _ = producer.send(record.partition(partition).payload(b"{}"));
    }
    producer.flush(Duration::from_secs(10))?;
    let observer = crate::kafka::Observer::new(&bench.brokers, &site.prefix, &topic, bench.partitions)?;
    while observer.positions(Duration::from_secs(5))?.contains(&0) {
        running.check()?;
        if begun.elapsed() > Duration::from_secs(60) {
            bail!("it is not live after a minute:\n{}", running.process.tail(20));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Sends each record when it is due, with its number as its id.
fn send(brokers: &str, topic: &str, lines: &Lines, rate: u64, start: Instant, times: &Times) -> Result<()> {
    let mut config = client(brokers);
    config.set("partitioner", "murmur2_random").set("linger.ms", "0").set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().context("producer")?;
    for (at, time) in times.iter().enumerate() {
        let line = lines.get(at % lines.len());
        let line = with_value(line, "tx_id", &format!("n{at}"));
        let key = value(&line, "user_id").context("a transaction has no user_id")?;
        let due = Duration::from_micros(at as u64 * 1_000_000 / rate);
        while start.elapsed() < due {
            producer.poll(Duration::ZERO);
            sleep(Duration::from_micros(200));
        }
        time.store(u64::try_from(start.elapsed().as_micros())?.max(1), Ordering::Relaxed);
        let record = BaseRecord::to(topic).key(key.as_bytes()).payload(line.as_bytes());
        producer.send(record).map_err(|(error, _)| error).context("the input cannot be sent")?;
    }
    producer.flush(Duration::from_secs(30))?;
    Ok(())
}

/// Reads outcomes; gives how long each took that counts.
fn read(
    reader: &BaseConsumer,
    start: Instant,
    times: &Times,
    skipped: usize,
    all_sent: &AtomicBool,
) -> Result<Vec<u64>> {
    let mut waits = Vec::with_capacity(times.len());
    let mut quiet = Instant::now();
    loop {
        match reader.poll(Duration::from_millis(100)) {
            Some(message) => {
                let message = message?;
                let now = u64::try_from(start.elapsed().as_micros())?;
                quiet = Instant::now();
                let Some(at) = message.payload().and_then(number) else { continue };
                let sent = times.get(at).context("an outcome of nothing")?.load(Ordering::Relaxed);
                if at >= skipped {
                    waits.push(now.saturating_sub(sent));
                }
                if waits.len() == times.len() - skipped {
                    return Ok(waits);
                }
            }
            // A few records are rejected, and have no outcome in this topic.
            None if all_sent.load(Ordering::Relaxed) && quiet.elapsed() > Duration::from_secs(3) => {
                return Ok(waits);
            }
            None if quiet.elapsed() > LAST => bail!("nothing comes"),
            None => {}
        }
    }
}

/// The number of the record that this is the outcome of.
fn number(outcome: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(outcome).ok()?;
    value(head, "tx_id")?.strip_prefix('n')?.parse().ok()
}
