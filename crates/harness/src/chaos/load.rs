//! The load: a generated stream at a steady rate, with what attackers and accidents put between it, and mandates
//! that change, end and vanish meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use weir_log::Partitioner;

use crate::kafka::Sender;
use crate::random::Random;
use crate::stream::{Lines, in_round, value, with_value};

/// Header in which a record says what has to become of it: outcomes, separated by `|`.
pub(crate) const EXPECT: &str = "expect";

/// The largest record that is decided about.
const LARGEST: usize = 1 << 20;
/// One transaction in so many is followed by a hostile one, and one in so many of those is of the largest size.
const HOSTILE: u64 = 50;
const LARGE: u64 = 40;
/// One mandate changes per so many transactions, and one in so many of those changes is hostile.
const CHANGE: u64 = 100;
const HOSTILE_CHANGE: u64 = 10;
/// Transactions that are remembered, to be sent again.
const REMEMBERED: usize = 1_000;

/// What the load is made of.
#[derive(Debug)]
pub(crate) struct Source {
    /// The stream.
    pub(crate) transactions: Lines,
    /// Its mandates.
    pub(crate) mandates: Lines,
    /// Topic of the transactions.
    pub(crate) topic: String,
    /// Topic of the mandates.
    pub(crate) mandates_topic: String,
    /// Partitions of both.
    pub(crate) partitions: i32,
    /// The broker.
    pub(crate) brokers: String,
}

/// What a running load is told and tells.
#[derive(Debug, Default)]
struct Control {
    stop: AtomicBool,
    /// Transactions to send at once, beside the steady ones.
    burst: AtomicU64,
    transactions: AtomicU64,
    mandates: AtomicU64,
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Records for the transactions topic.
    pub(crate) transactions: u64,
    /// Records for the mandates topic.
    pub(crate) mandates: u64,
    /// How often the stream was begun.
    pub(crate) rounds: u64,
}

/// A load that runs until it is stopped.
pub(crate) struct Load {
    control: Arc<Control>,
    thread: JoinHandle<Result<Sent>>,
}

impl Load {
    /// Starts to send so many transactions per second. The mandates are there when this returns.
    pub(crate) fn start(source: Source, rate: u64, seed: u64) -> Result<Self> {
        let control = Arc::new(Control::default());
        let mut feeder = Feeder::new(source, rate, seed, Arc::clone(&control))?;
        feeder.all_mandates()?;
        let thread = thread::Builder::new().name("load".to_owned()).spawn(move || feeder.run())?;
        Ok(Self { control, thread })
    }

    /// Sends so many transactions as fast as the broker takes them.
    pub(crate) fn burst(&self, transactions: u64) {
        self.control.burst.fetch_add(transactions, Ordering::Relaxed);
    }

    /// Transactions sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.control.transactions.load(Ordering::Relaxed)
    }

    /// Fails when the load has ended although nobody stopped it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.thread.is_finished() { Err(anyhow!("the load has ended by itself")) } else { Ok(()) }
    }

    /// Stops, waits until the broker has everything, and tells what that was.
    pub(crate) fn finish(self) -> Result<Sent> {
        self.control.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load panicked"))?
    }
}

/// A record to be sent.
#[derive(Debug, Clone, Default)]
struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// Where it goes, if that is not the partitioner's choice.
    partition: Option<i32>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    timestamp_ms: Option<i64>,
}

impl Record {
    fn new(key: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    /// Says what has to become of it.
    fn expecting(mut self, outcome: &str) -> Self {
        self.headers.push((EXPECT.to_owned(), Some(outcome.into())));
        self
    }
}

/// The thread that sends.
struct Feeder {
    source: Source,
    sender: Sender,
    random: Random,
    control: Arc<Control>,
    rate: u64,
    /// Transactions of the stream given so far.
    given: u64,
    days: u64,
    /// Makes ids that nothing else has.
    serial: u64,
    recent: Vec<(String, String)>,
}

impl Feeder {
    fn new(source: Source, rate: u64, seed: u64, control: Arc<Control>) -> Result<Self> {
        let (sender, days) = (Sender::new(&source.brokers)?, source.transactions.days());
        let random = Random::new(seed, 1);
        Ok(Self { source, sender, random, control, rate, given: 0, days, serial: 0, recent: Vec::new() })
    }

    fn round(&self) -> u64 {
        self.given / self.source.transactions.len() as u64
    }

    fn stopped(&self) -> bool {
        self.control.stop.load(Ordering::Relaxed)
    }

    /// Sends every mandate as it is in the round that begins.
    fn all_mandates(&mut self) -> Result<()> {
        for at in 0..self.source.mandates.len() {
            let line = in_round(self.source.mandates.get(at), self.round(), self.days);
            let key = value(&line, "mandate_id").context("a mandate has no id")?.to_owned();
            self.send_mandate(&Record::new(&key, line))?;
        }
        Ok(())
    }

    fn run(mut self) -> Result<Sent> {
        let mut begun = Instant::now();
        let mut steady = 0;
        while !self.stopped() {
            let due = (begun.elapsed().as_secs_f64() * self.rate as f64) as u64;
            if due > steady + 2 * self.rate {
                // The broker was away: the rate goes on from here, so that there is no second burst.
                begun = Instant::now();
                steady = 0;
                continue;
            }
            while steady < due && !self.stopped() {
                self.step()?;
                steady += 1;
            }
            let burst = self.control.burst.swap(0, Ordering::Relaxed);
            for _ in 0..burst {
                if self.stopped() {
                    break;
                }
                self.step()?;
            }
            self.sender.poll();
            sleep(Duration::from_millis(2));
        }
        let (transactions, mandates) = (&self.control.transactions, &self.control.mandates);
        let sent = Sent {
            transactions: transactions.load(Ordering::Relaxed),
            mandates: mandates.load(Ordering::Relaxed),
            rounds: self.round() + 1,
        };
        self.sender.finish(Duration::from_secs(120))?;
        Ok(sent)
    }

    /// One transaction of the stream, and at times what comes between.
    fn step(&mut self) -> Result<()> {
        if self.given > 0 && self.given.is_multiple_of(self.source.transactions.len() as u64) {
            self.all_mandates()?;
        }
        let at = usize::try_from(self.given % self.source.transactions.len() as u64)?;
        let line = in_round(self.source.transactions.get(at), self.round(), self.days);
        self.given += 1;
        let key = value(&line, "user_id").context("a transaction has no user_id")?.to_owned();
        self.send(&Record::new(&key, line.as_bytes()))?;
        if self.random.one_in(HOSTILE) {
            let record = self.hostile(&key, &line);
            self.send(&record)?;
        }
        if self.random.one_in(CHANGE) {
            let record = self.mandate_change();
            self.send_mandate(&record)?;
        }
        if self.recent.len() < REMEMBERED {
            self.recent.push((key, line));
        } else {
            let at = self.random.below(REMEMBERED);
            self.recent[at] = (key, line);
        }
        Ok(())
    }

    fn send(&mut self, record: &Record) -> Result<()> {
        let topic = self.source.topic.clone();
        self.send_to(&topic, record)?;
        self.control.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn send_mandate(&mut self, record: &Record) -> Result<()> {
        let topic = self.source.mandates_topic.clone();
        self.send_to(&topic, record)?;
        self.control.mandates.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn send_to(&mut self, topic: &str, record: &Record) -> Result<()> {
        let mut out: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        (out.key, out.payload) = (record.key.as_deref(), record.value.as_deref());
        (out.partition, out.timestamp) = (record.partition, record.timestamp_ms);
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            out.headers = Some(record.headers.iter().fold(headers, |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_ref() })
            }));
        }
        self.sender.send(out)
    }

    /// A transaction like this one with an id of its own.
    fn other(&mut self, line: &str) -> String {
        self.serial += 1;
        with_value(line, "tx_id", &format!("hostile_{}", self.serial))
    }

    /// A record that must not do any harm, with what has to become of it.
    fn hostile(&mut self, key: &str, line: &str) -> Record {
        if self.random.one_in(LARGE) {
            return self.large(key, line);
        }
        match self.random.below(18) {
            0 => Record::new(key, &line[..line.len() / 2]).expecting("invalid_json"),
            1 => Record::new(key, "[1, 2]").expecting("not_an_object"),
            2 => Record::new(key, "").expecting("empty_record"),
            3 => Record { value: None, ..Record::new(key, "") }.expecting("empty_record"),
            4 => Record::new(key, line.replacen("\"tx_id\"", "\"tx_name\"", 1)).expecting("missing_field"),
            5 => {
                let nested = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
                let other = self.other(line);
                Record::new(key, with_field(&other, "deep", &nested)).expecting("invalid_json")
            }
            6 => {
                let other = self.other(line);
                Record::new(key, with_field(&other, "n", "NaN")).expecting("invalid_json")
            }
            7 => Record::new(key, vec![0; 300]).expecting("invalid_json"),
            8 => Record::new(key, b"{\"tx_id\": \"\xff\xfe\"}".as_slice()).expecting("invalid_json"),
            9 => {
                let other = with_value(&self.other(line), "currency", "ABC");
                Record::new(key, other).expecting("invalid_currency")
            }
            10 => Record::new(&"k".repeat(30_000), self.other(line)).expecting("key_mismatch"),
            11 => {
                let key = Some(vec![0xff, 0, 0xfe, b'\n']);
                Record { key, ..Record::new("", self.other(line)) }.expecting("key_mismatch")
            }
            12 => Record { key: None, ..Record::new("", self.other(line)) }.expecting("key_mismatch"),
            13 => self.in_wrong_partition(key, line),
            14 => self.with_hostile_headers(key, line),
            15 => self.conflict(),
            16 => {
                let stamps = [1, now_ms() - 400 * 86_400_000, now_ms() + 1_800_000];
                let timestamp_ms = Some(*self.random.of(&stamps));
                Record { timestamp_ms, ..Record::new(key, self.other(line)) }.expecting("decided|too_old")
            }
            _ => self.again(),
        }
    }

    /// The largest that is decided about, or one byte more.
    fn large(&mut self, key: &str, line: &str) -> Record {
        let other = self.other(line);
        let room = LARGEST - with_field(&other, "pad", "\"\"").len();
        let more = self.random.below(2);
        let padded = with_field(&other, "pad", &format!("\"{}\"", "x".repeat(room + more)));
        Record::new(key, padded).expecting(if more == 0 { "decided|too_old" } else { "too_large" })
    }

    fn in_wrong_partition(&mut self, key: &str, line: &str) -> Record {
        let right = Partitioner::Murmur2.partition(key.as_bytes(), self.source.partitions).unwrap_or(0);
        let partition = Some((right + 1) % self.source.partitions);
        let expected = if partition == Some(right) { "decided|too_old" } else { "wrong_partition" };
        Record { partition, ..Record::new(key, self.other(line)) }.expecting(expected)
    }

    /// Headers that are many, large, without a name or a value, and one that claims to be Weir's own.
    fn with_hostile_headers(&mut self, key: &str, line: &str) -> Record {
        let mut record = Record::new(key, self.other(line)).expecting("decided|too_old");
        record.headers.push(("source-offset".to_owned(), Some(b"0".to_vec())));
        record.headers.push((String::new(), None));
        record.headers.push(("large".to_owned(), Some(vec![0xff; 64 << 10])));
        for at in 0..200 {
            record.headers.push((format!("h{at}\u{202e}\n"), Some(vec![at])));
        }
        record
    }

    /// A transaction that was sent already, again.
    fn again(&mut self) -> Record {
        match self.recent.get(self.random.below(self.recent.len())) {
            Some((key, line)) => Record::new(key, line.as_bytes()).expecting("duplicate|too_old"),
            None => Record::new("nobody", "{}").expecting("missing_field"),
        }
    }

    /// The id of a transaction that was sent already for another one.
    fn conflict(&mut self) -> Record {
        match self.recent.get(self.random.below(self.recent.len())) {
            Some((key, line)) => {
                let other = with_field(line, "note", "\"another\"");
                Record::new(key, other).expecting("duplicate_conflict|too_old")
            }
            None => Record::new("nobody", "{}").expecting("missing_field"),
        }
    }

    /// A mandate's next version, its removal or its return; or a record that is no mandate.
    fn mandate_change(&mut self) -> Record {
        let at = self.random.below(self.source.mandates.len());
        let line = in_round(self.source.mandates.get(at), self.round(), self.days);
        let key = value(&line, "mandate_id").unwrap_or_default().to_owned();
        if self.random.one_in(HOSTILE_CHANGE) {
            return self.hostile_mandate(&key, &line);
        }
        match self.random.below(6) {
            0 => Record::new(&key, with_value(&line, "status", "revoked")),
            1 => Record::new(&key, with_value(&line, "status", "paused")),
            2 => Record { value: None, ..Record::new(&key, "") },
            3 => Record::new(&key, line),
            _ => {
                let cap = format!("{}.00", self.random.below(5_000) + 1);
                Record::new(&key, with_value(&line, "max_amount", &cap))
            }
        }
    }

    fn hostile_mandate(&mut self, key: &str, line: &str) -> Record {
        match self.random.below(6) {
            0 => Record::new(key, &line[..line.len() / 2]),
            1 => Record::new("somebody else", line),
            2 => {
                let right =
                    Partitioner::Murmur2.partition(key.as_bytes(), self.source.partitions).unwrap_or(0);
                let partition = Some((right + 1) % self.source.partitions);
                Record { partition, ..Record::new(key, line) }
            }
            3 => Record { key: Some(vec![0xff, 0]), ..Record::new("", line) },
            4 => Record::new(key, with_field(line, "pad", &format!("\"{}\"", "x".repeat(LARGEST)))),
            _ => Record::new(key, with_value(line, "status", "undecided")),
        }
    }
}

/// The object with one field more.
fn with_field(line: &str, name: &str, value: &str) -> String {
    let body = line.trim_end().strip_suffix('}').unwrap_or(line);
    format!("{body},\"{name}\":{value}}}")
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"tx_id":"t","user_id":"u","currency":"USD","tx_time":"2026-02-27T01:02:03Z"}"#;

    #[test]
    fn large_records_have_one_mebibyte_or_one_byte_more() {
        let file = std::env::temp_dir().join(format!("weir-load-test-{}", std::process::id()));
        std::fs::write(&file, LINE).unwrap();
        let lines = || Lines::read(&file).unwrap();
        let source = Source {
            transactions: lines(),
            mandates: lines(),
            topic: "t".to_owned(),
            mandates_topic: "m".to_owned(),
            partitions: 4,
            // Nobody listens there, and nothing is sent.
            brokers: "127.0.0.1:1".to_owned(),
        };
        let mut feeder = Feeder::new(source, 1, 1, Arc::default()).unwrap();
        std::fs::remove_file(&file).unwrap();
        for _ in 0..20 {
            let record = feeder.large("u", LINE);
            let expected = String::from_utf8(record.headers[0].1.clone().unwrap()).unwrap();
            let bytes = record.value.unwrap();
            let wanted = if expected == "too_large" { LARGEST + 1 } else { LARGEST };
            assert_eq!(bytes.len(), wanted);
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        }
    }
}
