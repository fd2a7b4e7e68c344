//! The log on a real broker. Each test has topics and a group of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and says what it saw"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use weir_kafka::topics::{self, Outcome};
use weir_kafka::{KafkaConfig, KafkaLog, Topics};
use weir_log::{
    Assignment, Extent, Feed, Log, LogError, MandateEvent, Output, Partition, Records, Sink, Source, Topic,
};

/// A record that is waited for does not take longer.
const SOON: Duration = Duration::from_secs(14);

fn brokers() -> String {
    std::env::var("KAFKA_BOOTSTRAP")
        .expect("KAFKA_BOOTSTRAP is not set: `cargo xtask kafka up` starts a broker and says how to set it")
}

/// Names that no other test has.
fn config(test: &str) -> KafkaConfig {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    named(&format!("{test}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Group and topics that begin with this.
fn named(prefix: &str) -> KafkaConfig {
    let topic = |name: &str| format!("{prefix}.{name}");
    KafkaConfig {
        brokers: brokers(),
        group_id: prefix.to_owned(),
        topics: Topics {
            transactions: topic("transactions"),
            mandates: topic("mandates"),
            decisions: topic("decisions"),
            risk_scores: topic("risk"),
            alerts: topic("alerts"),
            rejects: topic("rejects"),
            journal: topic("journal"),
        },
        properties: BTreeMap::new(),
        instance: "test-1".into(),
        batch_wait: Duration::from_millis(5),
        decision_headers: true,
    }
}

/// The same with its topics.
fn made(test: &str, partitions: i32) -> KafkaConfig {
    let config = config(test);
    let outcomes = topics::create(&config, partitions, 1).unwrap();
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Created), "{outcomes:?}");
    config
}

fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("message.max.bytes", "4194304")
        .set("linger.ms", "0");
    client
}

fn producer(config: &KafkaConfig) -> BaseProducer {
    client(config).create().unwrap()
}

fn transactional(config: &KafkaConfig, id: &str) -> BaseProducer {
    let producer: BaseProducer = client(config).set("transactional.id", id).create().unwrap();
    producer.init_transactions(SOON).unwrap();
    producer
}

/// Hands messages over and waits until they are there.
fn send<'a>(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    messages: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
) {
    for (key, value) in messages {
        let mut record = BaseRecord::<str, [u8]>::to(topic).partition(partition).key(key);
        if let Some(value) = value {
            record = record.payload(value);
        }
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

/// `count` small records, numbered from `first`.
fn feed(config: &KafkaConfig, partition: i32, first: usize, count: usize) {
    feed_with(&producer(config), config, partition, first, count);
}

fn feed_with(producer: &BaseProducer, config: &KafkaConfig, partition: i32, first: usize, count: usize) {
    let names: Vec<String> = (first..first + count).map(|n| format!("{partition}/{n}")).collect();
    let messages = names.iter().map(|name| (name.as_str(), Some(name.as_bytes())));
    send(producer, &config.topics.transactions, partition, messages);
}

/// Deletes the oldest records of partition 0.
fn delete_before(config: &KafkaConfig, topic: &str, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = client(config).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let options = AdminOptions::new();
    let mut deleted = std::pin::pin!(admin.delete_records(&list, &options));
    let start = Instant::now();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while std::future::Future::poll(deleted.as_mut(), &mut context).is_pending() {
        assert!(start.elapsed() < SOON);
        thread::sleep(Duration::from_millis(5));
    }
}

/// Every committed record of a topic.
fn committed(config: &KafkaConfig, topic: &str, partitions: i32) -> Vec<(i32, String)> {
    let consumer: BaseConsumer = client(config)
        .set("group.id", format!("{}-count", config.group_id))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut found, mut ended, start) = (Vec::new(), BTreeSet::new(), Instant::now());
    while ended.len() < partitions as usize {
        assert!(start.elapsed() < SOON, "{topic} cannot be read to its end");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
                found.push((message.partition(), value));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    found
}

/// The next assignment of partitions, as many as are expected.
fn assigned(log: &KafkaLog, count: usize) -> Vec<i32> {
    let (mut partitions, start) = (Vec::new(), Instant::now());
    while partitions.len() < count {
        assert!(start.elapsed() < SOON, "only {partitions:?} assigned");
        match log.next_assignment(Duration::from_millis(100)).unwrap() {
            Some(Assignment::Assigned(more)) => partitions.extend(more),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    partitions.sort_unstable();
    partitions
}

/// Opens a partition, however often that takes.
fn open(partition: &mut dyn Partition) -> Extent {
    let start = Instant::now();
    loop {
        match partition.open() {
            Ok(extent) => return extent,
            Err(LogError::Unavailable(reason)) if start.elapsed() < SOON => eprintln!("again: {reason}"),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// A log, its only partition, and what that gives and takes.
type Live = (KafkaLog, Box<dyn Partition>, Box<dyn Source>, Box<dyn Sink>);

/// A log with one partition, live from an offset.
fn live(config: &KafkaConfig, from: i64) -> Live {
    let log = KafkaLog::new(config.clone()).unwrap();
    assert_eq!(assigned(&log, 1), [0]);
    let mut partition = log.partition(0).unwrap();
    open(&mut *partition);
    let (source, sink) = partition.go_live(from).unwrap();
    (log, partition, source, sink)
}

/// What the copying engine of these tests makes of a batch: a decision per record, and one journal record.
fn copy(records: &dyn Records) -> Output {
    let mut output = Output::default();
    for at in 0..records.len() {
        let record = records.get(at).unwrap();
        output.position = record.offset + 1;
        output.push(
            Topic::Decisions,
            Some(record.offset),
            |key| key.extend_from_slice(record.key.unwrap()),
            |value| value.extend_from_slice(record.value.unwrap()),
        );
    }
    output.push(
        Topic::Journal,
        None,
        |_| {},
        |value| value.extend_from_slice(output_name(&records).as_bytes()),
    );
    output
}

fn output_name(records: &&dyn Records) -> String {
    format!("batch up to {}", records.get(records.len() - 1).unwrap().offset)
}

fn go_on(_: &str) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What a reader gives, once that is so: a commit returns a little before everybody sees it.
fn comes_to(partition: &mut dyn Partition, feed: Feed, from: i64, expected: &[&str]) {
    let start = Instant::now();
    loop {
        let found = read(partition, feed, from);
        if found == expected {
            return;
        }
        assert!(start.elapsed() < SOON, "{found:?}, not {expected:?}");
    }
}

/// Some records, waited for.
fn some(source: &mut dyn Source, max: usize) -> Box<dyn Records> {
    let start = Instant::now();
    loop {
        if let Some(records) = source.poll(max, Duration::from_millis(100)).unwrap() {
            return records;
        }
        assert!(start.elapsed() < SOON, "no records");
    }
}

/// Every value that a reader gives.
fn read(partition: &mut dyn Partition, feed: Feed, from: i64) -> Vec<String> {
    let mut reader = partition.read(feed, from).unwrap();
    let mut values = Vec::new();
    while let Some(records) = reader.next(100).unwrap() {
        for at in 0..records.len() {
            let value = records.get(at).unwrap().value.unwrap_or_default();
            values.push(String::from_utf8_lossy(value).into_owned());
        }
    }
    values
}

#[test]
fn what_a_dead_owner_had_not_committed_never_was() {
    let config = made("dead", 1);
    feed(&config, 0, 0, 1_000);
    let (log, _partition, mut source, mut sink) = live(&config, 0);
    let mut copied = 0;
    while copied < 400 {
        let records = some(&mut *source, 100);
        copied += records.len();
        sink.commit(&copy(&*records), &go_on).unwrap();
    }
    // Taken and not committed.
    assert!(!some(&mut *source, 100).is_empty());
    drop((source, sink));
    // An owner that dies in the middle of a transaction: its messages are in the log, and undecided.
    let dead = transactional(&config, &format!("{}-0", config.group_id));
    dead.begin_transaction().unwrap();
    send(&dead, &config.topics.decisions, 0, [("k", Some(&b"undecided"[..]))]);
    send(&dead, &config.topics.journal, 0, [("k", Some(&b"undecided"[..]))]);
    log.close();

    let log = KafkaLog::new(config.clone()).unwrap();
    assert_eq!(assigned(&log, 1), [0]);
    let mut partition = log.partition(0).unwrap();
    let start = Instant::now();
    let extent = open(&mut *partition);
    println!("fenced and asked in {:?}: {extent:?}", start.elapsed());
    assert_eq!(extent.group_position, Some(copied as i64));
    assert_eq!(extent.transactions, 0..1_000);
    let journal = read(&mut *partition, Feed::Journal, 0);
    assert!(journal.iter().all(|value| value.starts_with("batch")), "{journal:?}");
    let (mut source, mut sink) = partition.go_live(extent.group_position.unwrap()).unwrap();
    while copied < 1_000 {
        let records = some(&mut *source, 250);
        copied += records.len();
        sink.commit(&copy(&*records), &go_on).unwrap();
    }
    assert_eq!(source.lag(), Some(0));
    log.close();
    let expected: Vec<_> = (0..1_000).map(|n| (0, format!("0/{n}"))).collect();
    assert_eq!(committed(&config, &config.topics.decisions, 1), expected);
}

#[test]
fn an_owner_that_was_followed_by_another_is_fenced() {
    let config = made("fence", 1);
    feed(&config, 0, 0, 10);
    let (log, _partition, mut source, mut sink) = live(&config, 0);
    let records = some(&mut *source, 5);
    sink.commit(&copy(&*records), &go_on).unwrap();
    let records = some(&mut *source, 5);

    let mut second = log.partition(0).unwrap();
    let extent = open(&mut *second);
    assert_eq!(extent.group_position, Some(5));
    let fenced = sink.commit(&copy(&*records), &go_on);
    println!("{fenced:?}");
    assert!(matches!(fenced, Err(LogError::Fenced(_))), "{fenced:?}");
    assert!(sink.commit(&copy(&*records), &go_on).is_err());
    // The same partition again, from where the log says.
    let (mut source, mut sink) = second.go_live(5).unwrap();
    let mut copied = 5;
    while copied < 10 {
        let records = some(&mut *source, 5);
        assert_eq!(records.get(0).unwrap().offset, copied);
        copied += records.len() as i64;
        sink.commit(&copy(&*records), &go_on).unwrap();
    }
    log.close();
    assert_eq!(committed(&config, &config.topics.decisions, 1).len(), 10);
}

#[test]
fn output_that_is_too_large_is_refused() {
    let config = made("refused", 1);
    let (log, mut partition, _source, mut sink) = live(&config, 0);
    let mut output = Output { position: 1, ..Output::default() };
    // Bytes that compression makes no smaller.
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    output.push(Topic::Alerts, None, |_| {}, |value| value.extend(noise.take(3 << 20)));
    let refused = sink.commit(&output, &go_on);
    println!("{refused:?}");
    assert!(matches!(refused, Err(LogError::Refused(_))), "{refused:?}");
    assert_eq!(open(&mut *partition).group_position, None);
    log.close();
}

#[test]
fn headers_and_keys_arrive_and_decisions_are_followed() {
    let config = made("headers", 2);
    let log = KafkaLog::new(config.clone()).unwrap();
    assert_eq!(assigned(&log, 2), [0, 1]);
    let mut reader = log.decisions(None).unwrap();
    let mut partition = log.partition(1).unwrap();
    open(&mut *partition);
    feed(&config, 1, 0, 3);
    let (mut source, mut sink) = partition.go_live(1).unwrap();
    let mut copied = 1;
    while copied < 3 {
        let records = some(&mut *source, 10);
        copied += records.len();
        sink.commit(&copy(&*records), &go_on).unwrap();
    }
    let (mut followed, start) = (Vec::new(), Instant::now());
    while followed.len() < 2 {
        assert!(start.elapsed() < SOON);
        followed.extend(reader.next(Duration::from_millis(100)).unwrap());
    }
    let values: Vec<_> = followed.iter().map(|(p, _, value)| (*p, String::from_utf8_lossy(value))).collect();
    assert_eq!(values, [(1, "1/1".into()), (1, "1/2".into())]);
    assert_eq!(log.decisions(Some(&[0, 0])).unwrap().position(), [0, 0]);
    assert!(matches!(log.decisions(Some(&[0])), Err(LogError::Refused(_))));

    let consumer: BaseConsumer = client(&config).set("group.id", "headers").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&config.topics.decisions, 1, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let message = consumer.poll(SOON).unwrap().unwrap();
    assert_eq!(message.key(), Some(&b"1/1"[..]));
    let headers: Vec<_> = message.headers().unwrap().iter().map(|h| (h.key, h.value.unwrap())).collect();
    assert_eq!(headers, [("source-offset", &b"1"[..]), ("instance", b"test-1")]);
    log.close();
}

#[test]
fn a_producer_that_a_stranger_fenced_is_made_anew() {
    let config = made("stranger", 1);
    feed(&config, 0, 0, 5);
    let (log, mut partition, mut source, mut sink) = live(&config, 0);
    let records = some(&mut *source, 5);
    drop(transactional(&config, &format!("{}-0", config.group_id)));
    let broken = sink.commit(&copy(&*records), &go_on);
    println!("{broken:?}");
    assert!(matches!(broken, Err(LogError::Broken(_))), "{broken:?}");
    assert_eq!(open(&mut *partition).group_position, None);
    let (mut source, mut sink) = partition.go_live(0).unwrap();
    let mut copied = 0;
    while copied < 5 {
        let records = some(&mut *source, 5);
        copied += records.len();
        sink.commit(&copy(&*records), &go_on).unwrap();
    }
    log.close();
    assert_eq!(committed(&config, &config.topics.decisions, 1).len(), 5);
}

/// An instance that copies whatever it owns.
struct Instance {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn instance(config: &KafkaConfig, copied: &Arc<AtomicUsize>) -> Instance {
    let stop = Arc::new(AtomicBool::new(false));
    let (config, flag, copied) = (config.clone(), Arc::clone(&stop), Arc::clone(copied));
    let thread = thread::spawn(move || {
        let log = Arc::new(KafkaLog::new(config).unwrap());
        let mut shards: BTreeMap<i32, Instance> = BTreeMap::new();
        while !flag.load(Ordering::Relaxed) {
            match log.next_assignment(Duration::from_millis(50)).unwrap() {
                Some(Assignment::Assigned(partitions)) => {
                    shards.extend(partitions.into_iter().map(|p| (p, shard(&log, p, &copied))));
                }
                Some(Assignment::Revoked { partitions, lost, done }) => {
                    println!("revoked {partitions:?}, lost {lost}");
                    finish(partitions.iter().filter_map(|p| shards.remove(p)).collect());
                    drop(done);
                }
                None => {}
            }
        }
        finish(shards.into_values().collect());
        let start = Instant::now();
        log.close();
        println!("left in {:?}", start.elapsed());
    });
    Instance { stop, thread }
}

fn finish(instances: Vec<Instance>) {
    for instance in &instances {
        instance.stop.store(true, Ordering::Relaxed);
    }
    for instance in instances {
        instance.thread.join().unwrap();
    }
}

/// A partition that is copied until it is not to be any more.
fn shard(log: &Arc<KafkaLog>, number: i32, copied: &Arc<AtomicUsize>) -> Instance {
    let stop = Arc::new(AtomicBool::new(false));
    let (log, flag, copied) = (Arc::clone(log), Arc::clone(&stop), Arc::clone(copied));
    let thread = thread::spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            match copy_shard(&log, number, &flag, &copied) {
                Ok(()) => {}
                Err(LogError::Fenced(reason)) => {
                    println!("partition {number} is somebody else's: {reason}");
                    return;
                }
                Err(error) => {
                    println!("partition {number}: {error:?}");
                    thread::sleep(Duration::from_millis(200));
                }
            }
        }
    });
    Instance { stop, thread }
}

/// Opens a partition and copies it.
fn copy_shard(log: &KafkaLog, number: i32, flag: &AtomicBool, copied: &AtomicUsize) -> Result<(), LogError> {
    let mut partition = log.partition(number)?;
    let extent = partition.open()?;
    let (mut source, mut sink) = partition.go_live(extent.group_position.unwrap_or(0))?;
    while !flag.load(Ordering::Relaxed) {
        let Some(records) = source.poll(200, Duration::from_millis(20))? else { continue };
        let again = |reason: &str| {
            println!("partition {number} again: {reason}");
            if flag.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        sink.commit(&copy(&*records), &again)?;
        copied.fetch_add(records.len(), Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn partitions_move_between_instances_and_nothing_is_lost_or_doubled() {
    const EACH: usize = 2_000;
    let config = made("move", 4);
    let copied = Arc::new(AtomicUsize::new(0));
    let first = instance(&config, &copied);
    let mut second = None;
    for round in 0..10 {
        for partition in 0..4 {
            feed(&config, partition, round * EACH / 10, EACH / 10);
        }
        match round {
            2 | 7 => second = Some(instance(&config, &copied)),
            5 => finish(second.take().into_iter().collect()),
            _ => {}
        }
        thread::sleep(Duration::from_millis(300));
    }
    let start = Instant::now();
    while copied.load(Ordering::Relaxed) < 4 * EACH && start.elapsed() < SOON {
        thread::sleep(Duration::from_millis(20));
    }
    finish(second.into_iter().chain([first]).collect());
    check_copy(&config, EACH);
}

/// Every record of the four partitions was copied once, in its order.
fn check_copy(config: &KafkaConfig, each: usize) {
    let found = committed(config, &config.topics.decisions, 4);
    for partition in 0..4 {
        let values: Vec<_> = found.iter().filter(|(p, _)| *p == partition).map(|(_, value)| value).collect();
        let expected: Vec<_> = (0..each).map(|n| format!("{partition}/{n}")).collect();
        assert_eq!(values, expected.iter().collect::<Vec<_>>(), "partition {partition}");
    }
}

/// An instance in a process of its own, which [`a_copy_while_things_break`] starts and stops.
#[test]
#[ignore = "a part of another test"]
fn an_instance_until_its_input_ends() {
    let Ok(prefix) = std::env::var("WEIR_KAFKA_PREFIX") else { return };
    let instance = instance(&named(&prefix), &Arc::new(AtomicUsize::new(0)));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    finish(vec![instance]);
}

fn process(config: &KafkaConfig) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["an_instance_until_its_input_ends", "--exact", "--ignored", "--nocapture"]);
    command.env("WEIR_KAFKA_PREFIX", &config.group_id).stdin(Stdio::piped()).spawn().unwrap()
}

/// Kills, stops and continues, or ends an instance.
fn break_something(round: u64, config: &KafkaConfig, processes: &mut Vec<Child>) {
    let mut process = processes.remove(0);
    println!("-- round {round}");
    match round % 3 {
        0 => process.kill().unwrap(),
        1 => {
            let signal = |name: &str, process: &Child| {
                Command::new("kill").args([name, &process.id().to_string()]).status().unwrap();
            };
            signal("-STOP", &process);
            thread::sleep(Duration::from_secs(13));
            signal("-CONT", &process);
            return processes.push(process);
        }
        _ => drop(process.stdin.take()),
    }
    assert!(process.wait().is_ok());
    processes.push(self::process(config));
}

/// For as long as `WEIR_KAFKA_SECONDS`; meanwhile somebody may stop, kill and start the broker.
#[test]
#[ignore = "takes long"]
fn a_copy_while_things_break() {
    let seconds = std::env::var("WEIR_KAFKA_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
    let config = made("chaos", 4);
    let feeding = Arc::new(AtomicBool::new(true));
    let (flag, to) = (Arc::clone(&feeding), config.clone());
    let feeder = thread::spawn(move || {
        let mut client = client(&to);
        client.set("enable.idempotence", "true").set("reconnect.backoff.max.ms", "500");
        let (producer, mut each) = (client.create::<BaseProducer>().unwrap(), 0);
        while flag.load(Ordering::Relaxed) {
            (0..4).for_each(|partition| feed_with(&producer, &to, partition, each, 100));
            each += 100;
            thread::sleep(Duration::from_millis(50));
        }
        each
    });
    let mut processes = vec![process(&config), process(&config)];
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        thread::sleep(Duration::from_millis(3_000 + round * 700 % 2_000));
        break_something(round, &config, &mut processes);
        round += 1;
    }
    feeding.store(false, Ordering::Relaxed);
    let each = feeder.join().unwrap();
    let start = Instant::now();
    let mut found = 0;
    while found < 4 * each && start.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_secs(1));
        found = committed(&config, &config.topics.decisions, 4).len();
    }
    println!("{} records, {found} decisions, {round} rounds", 4 * each);
    for process in &mut processes {
        drop(process.stdin.take());
        assert!(process.wait().unwrap().success());
    }
    check_copy(&config, each);
}

#[test]
fn a_partition_that_is_taken_away_before_it_is_live_is_fenced() {
    let config = made("early", 2);
    let log = KafkaLog::new(config.clone()).unwrap();
    assert_eq!(assigned(&log, 2), [0, 1]);
    let mut held: Vec<_> = [0, 1].map(|number| log.partition(number).unwrap()).into();
    for partition in &mut held {
        open(&mut **partition);
    }
    let other = KafkaLog::new(config).unwrap();
    let start = Instant::now();
    let gone = loop {
        assert!(start.elapsed() < SOON);
        if let Some(Assignment::Revoked { partitions, lost, done }) =
            log.next_assignment(Duration::from_millis(100)).unwrap()
        {
            assert!(!lost);
            done.send(()).unwrap();
            break partitions;
        }
    };
    assert_eq!(gone.len(), 1);
    assert_eq!(assigned(&other, 1), gone);
    let gone = usize::try_from(gone[0]).unwrap();
    assert!(matches!(held[gone].go_live(0), Err(LogError::Fenced(_))));
    assert!(matches!(held[gone].open(), Err(LogError::Fenced(_))));
    assert!(held[1 - gone].go_live(0).is_ok());
    other.close();
    log.close();
}

#[test]
fn records_of_a_mebibyte_and_more_arrive() {
    let config = made("large", 1);
    let sizes = [1 << 20, (1 << 20) + 1, 5];
    let values = sizes.map(|size| vec![b'x'; size]);
    let messages = values.iter().map(|value| ("k", Some(value.as_slice())));
    send(&producer(&config), &config.topics.transactions, 0, messages);
    let (log, mut partition, mut source, mut sink) = live(&config, 0);
    let mut found = Vec::new();
    while found.len() < 3 {
        let records = some(&mut *source, 10);
        found.extend((0..records.len()).map(|at| records.get(at).unwrap().value.unwrap().len()));
        sink.commit(&copy(&*records), &go_on).unwrap();
    }
    assert_eq!(found, sizes);
    assert_eq!(
        read(&mut *partition, Feed::Transactions, 0).iter().map(String::len).collect::<Vec<_>>(),
        sizes
    );
    log.close();
}

#[test]
fn mandates_tell_tombstones_and_where_they_end() {
    let config = made("mandates", 2);
    let log = KafkaLog::new(config.clone()).unwrap();
    let writer = transactional(&config, &format!("{}-mandates", config.group_id));
    writer.begin_transaction().unwrap();
    send(&writer, &config.topics.mandates, 0, [("a", Some(&b"1"[..])), ("a", None)]);
    writer.commit_transaction(SOON).unwrap();
    let mut source = log.mandates().unwrap().unwrap();
    let ends = source.ends();
    // The record that ends the transaction takes an offset.
    assert_eq!(ends.ends(SOON).unwrap(), [3, 0]);
    let (mut records, mut reached, start) = (Vec::new(), BTreeMap::new(), Instant::now());
    while reached != BTreeMap::from([(0, 3), (1, 0)]) {
        assert!(start.elapsed() < SOON, "{reached:?}");
        for event in source.next(Duration::from_millis(100)).unwrap() {
            match event {
                MandateEvent::Record(partition, record) => records.push((partition, record)),
                MandateEvent::Reached(partition, offset) => drop(reached.insert(partition, offset)),
            }
        }
    }
    let values: Vec<_> = records.iter().map(|(p, r)| (*p, r.offset, r.value.as_deref())).collect();
    assert_eq!(values, [(0, 0, Some(&b"1"[..])), (0, 1, None)]);
    assert!(records.iter().all(|(_, record)| record.key.as_deref() == Some(b"a")));
    // More, without anything in between.
    send(&producer(&config), &config.topics.mandates, 1, [("b", Some(&b"2"[..]))]);
    assert_eq!(ends.ends(SOON).unwrap(), [3, 1]);
    while reached[&1] < 1 {
        assert!(start.elapsed() < SOON, "{reached:?}");
        for event in source.next(Duration::from_millis(100)).unwrap() {
            if let MandateEvent::Reached(partition, offset) = event {
                reached.insert(partition, offset);
            }
        }
    }
    drop(source);
    log.close();
}

#[test]
fn control_records_at_the_end_do_not_hold_a_reader_up() {
    let config = made("control", 1);
    let writer = transactional(&config, &format!("{}-upstream", config.group_id));
    let topic = &config.topics.transactions;
    writer.begin_transaction().unwrap();
    send(&writer, topic, 0, [("a", Some(&b"1"[..])), ("a", Some(&b"2"[..]))]);
    writer.commit_transaction(SOON).unwrap();
    writer.begin_transaction().unwrap();
    send(&writer, topic, 0, [("a", Some(&b"never"[..]))]);
    writer.abort_transaction(SOON).unwrap();
    let (log, mut partition, mut source, mut sink) = live(&config, 0);
    let extent = open(&mut *partition);
    assert_eq!(extent.transactions, 0..5);
    let start = Instant::now();
    assert_eq!(read(&mut *partition, Feed::Transactions, 0), ["1", "2"]);
    assert_eq!(read(&mut *partition, Feed::Transactions, 2), Vec::<String>::new());
    assert_eq!(read(&mut *partition, Feed::Transactions, 5), Vec::<String>::new());
    println!("three readers in {:?}", start.elapsed());
    // An open transaction of somebody else: what comes after it is not committed yet.
    writer.begin_transaction().unwrap();
    send(&writer, topic, 0, [("a", Some(&b"3"[..]))]);
    assert_eq!(open(&mut *partition).transactions, 0..5);
    assert_eq!(read(&mut *partition, Feed::Transactions, 1), ["2"]);
    writer.commit_transaction(SOON).unwrap();
    comes_to(&mut *partition, Feed::Transactions, 1, &["2", "3"]);
    assert!(sink.commit(&Output { position: 1, ..Output::default() }, &go_on).is_err());
    assert!(matches!(source.poll(1, Duration::ZERO), Err(LogError::Fenced(_))));
    let (mut source, _sink) = partition.go_live(0).unwrap();
    let mut found = 0;
    while found < 3 {
        found += some(&mut *source, 10).len();
    }
    while source.lag() != Some(0) {
        assert!(start.elapsed() < SOON, "lag {:?}", source.lag());
        assert!(source.poll(10, Duration::from_millis(50)).unwrap().is_none());
    }
    log.close();
}

#[test]
fn what_was_deleted_is_gone() {
    let config = made("gone", 1);
    feed(&config, 0, 0, 20);
    let (log, mut partition, mut source, mut sink) = live(&config, 0);
    for _ in 0..4 {
        let (mut records, start) = (some(&mut *source, 5), Instant::now());
        while records.len() < 5 {
            // All five are one batch, so that the journal is known.
            assert!(start.elapsed() < SOON);
            let more = some(&mut *source, 5 - records.len());
            let all = [&records, &more]
                .map(|some| (0..some.len()).map(|at| some.get(at).unwrap().to_owned()).collect::<Vec<_>>());
            records = Box::new(all.concat());
        }
        sink.commit(&copy(&*records), &go_on).unwrap();
    }
    let batches = ["batch up to 4", "batch up to 9", "batch up to 14", "batch up to 19"];
    comes_to(&mut *partition, Feed::Journal, 0, &batches);
    partition.forget_before(3, 0).unwrap();
    let gone = partition.read(Feed::Journal, 0).err();
    println!("{gone:?}");
    assert!(matches!(gone, Some(LogError::Gone { wanted: 0, oldest: 3, partition: 0, .. })), "{gone:?}");
    assert_eq!(open(&mut *partition).journal.start, 3);
    assert!(!read(&mut *partition, Feed::Journal, 3).is_empty());
    assert!(partition.forget_before(1_000_000, 0).is_err());

    // The same for decisions, and for records that are deleted under a source.
    delete_before(&config, &config.topics.decisions, 7);
    let gone = log.decisions(Some(&[0])).err();
    assert!(matches!(gone, Some(LogError::Gone { oldest: 7, .. })), "{gone:?}");
    delete_before(&config, &config.topics.transactions, 9);
    let (mut source, _sink) = partition.go_live(4).unwrap();
    let start = Instant::now();
    let gone = loop {
        match source.poll(10, Duration::from_millis(100)) {
            Ok(records) => assert!(records.is_none() && start.elapsed() < SOON, "{records:?}"),
            Err(error) => break error,
        }
    };
    println!("{gone:?} after {:?}", start.elapsed());
    assert!(matches!(gone, LogError::Gone { wanted: 4, oldest: 9, .. }), "{gone:?}");
    log.close();
}

#[test]
fn topics_are_made_and_checked() {
    let made = made("topics", 3);
    let again = topics::create(&made, 3, 1).unwrap();
    assert!(again.iter().all(|(_, outcome)| *outcome == Outcome::Exists), "{again:?}");
    let findings = topics::check(&made);
    for finding in &findings {
        println!("{} {} {}", if finding.ok { "ok" } else { "--" }, finding.what, finding.remedy);
    }
    assert!(findings.iter().all(|finding| finding.ok));

    // Mandates and risk scores that are not compacted, a journal that forgets, and too few partitions.
    let mut wrong = made.clone();
    std::mem::swap(&mut wrong.topics.mandates, &mut wrong.topics.rejects);
    std::mem::swap(&mut wrong.topics.journal, &mut wrong.topics.alerts);
    wrong.topics.decisions = format!("{}.nothing", wrong.group_id);
    let bad: Vec<_> = topics::check(&wrong).into_iter().filter(|finding| !finding.ok).collect();
    for finding in &bad {
        println!("-- {} -> {}", finding.what, finding.remedy);
    }
    assert_eq!(bad.len(), 3);
    assert!(bad.iter().all(|finding| !finding.remedy.is_empty()));

    let few = topics::create(&KafkaConfig { topics: config("few").topics, ..made.clone() }, 1, 1).unwrap();
    wrong = made;
    wrong.topics.alerts =
        few.into_iter().map(|(name, _)| name).find(|name| name.ends_with("alerts")).unwrap();
    let bad: Vec<_> = topics::check(&wrong).into_iter().filter(|finding| !finding.ok).collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].what.contains("1 partition(s)"), "{bad:?}");
}

#[test]
fn a_topic_that_is_missing_is_named() {
    let mut config = made("missing", 1);
    config.topics.journal = format!("{}.nothing", config.group_id);
    let log = KafkaLog::new(config.clone()).unwrap();
    assigned(&log, 1);
    let error = log.partition(0).unwrap().open().unwrap_err();
    let named = |why: &str| why.contains(&config.topics.journal) && why.contains("weir topics create");
    assert!(matches!(&error, LogError::Refused(why) if named(why)), "{error:?}");
    log.close();
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let mut config = config("away");
    config.brokers = "127.0.0.1:1".into();
    let log = KafkaLog::new(config.clone()).unwrap();
    // As soon as the client has found it out, it is told.
    let found = Instant::now();
    while let Ok(change) = log.next_assignment(Duration::from_millis(100)) {
        assert!(change.is_none() && found.elapsed() < Duration::from_secs(30));
    }
    let told = log.next_assignment(Duration::from_millis(100));
    assert!(matches!(told, Err(LogError::Unavailable(_))), "{told:?}");
    let unavailable = log.partitions();
    println!("{unavailable:?}");
    assert!(matches!(unavailable, Err(LogError::Unavailable(_))), "{unavailable:?}");
    let start = Instant::now();
    log.close();
    drop(log);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
