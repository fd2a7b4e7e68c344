//! What is sent to the service, and when: a synthetic stream as it arrives.

use std::collections::HashMap;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;
use weir_engine::{Intake, Watermark};
use weir_events::Currency;
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::reject::Fault;
use weir_sim::{Options, generate};

use super::answers::{Profile, problem};
use super::board::Agent;
use super::client::Client;
use super::stop::Stop;

/// Most records of a request.
const RECORDS_MAX: usize = 1_000;
/// How long the service may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A generated stream in the order in which it is sent.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) transactions: Vec<u8>,
    pub(super) mandates: Vec<u8>,
    /// Never sent: nobody tells the service what is fraud.
    pub(super) labels: Vec<u8>,
    payments: Vec<Payment>,
    /// Lines of the mandates in the order in which they come into force.
    changes: Vec<Range<usize>>,
}

/// A transaction.
#[derive(Debug)]
struct Payment {
    line: Range<usize>,
    /// How many mandates come into force before it.
    changes: usize,
}

impl Stream {
    /// A stream of so many distinct transactions.
    pub(super) fn generate(transactions: u64, seed: u64) -> Result<Self> {
        let options = Options { transactions, seed, ..Options::default() };
        let (mut transactions, mut mandates, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        generate(&options, &mut transactions, &mut mandates, &mut labels).context("no stream")?;
        let changes = in_order(&mandates)?;
        let payments = payments(&transactions, &changes)?;
        let changes = changes.into_iter().map(|(_, line)| line).collect();
        Ok(Self { transactions, mandates, labels, payments, changes })
    }

    /// Transactions, repeats included.
    pub(super) fn len(&self) -> usize {
        self.payments.len()
    }
}

/// When mandates come into force, with their lines, in that order: as `weir replay` has it, so that the demo
/// decides as a replay of the same stream would.
fn in_order(mandates: &[u8]) -> Result<Vec<(i64, Range<usize>)>> {
    let mut latest_us: HashMap<String, i64> = HashMap::new();
    let mut changes = Vec::new();
    for (line, text) in lines(mandates) {
        let record = parse_mandate(text, Currency::USD).map_err(faulty)?;
        let due_us = latest_us.entry(record.mandate_id().to_owned()).or_insert(i64::MIN);
        *due_us = record.updated_at().map_or(i64::MIN, |time| time.0).max(*due_us);
        changes.push((*due_us, line));
    }
    changes.sort_by_key(|&(due_us, _)| due_us);
    Ok(changes)
}

fn payments(transactions: &[u8], changes: &[(i64, Range<usize>)]) -> Result<Vec<Payment>> {
    let mut watermark = Watermark::default();
    let payment = |(line, text)| {
        let tx = parse_transaction(text, Currency::USD).map_err(faulty)?;
        watermark.count(Intake::key(&tx), tx.watermark_time().0);
        let reached_us = watermark.greatest_us().unwrap_or(i64::MIN);
        Ok(Payment { line, changes: changes.partition_point(|&(due_us, _)| due_us <= reached_us) })
    };
    lines(transactions).map(payment).collect()
}

fn faulty(fault: Fault) -> anyhow::Error {
    anyhow::anyhow!("the generated stream is faulty: {}", fault.message)
}

/// Lines with their places, their ends included in the place alone.
fn lines(text: &[u8]) -> impl Iterator<Item = (Range<usize>, &[u8])> {
    text.split_inclusive(|&byte| byte == b'\n').scan(0, |end, line| {
        let start = *end;
        *end += line.len();
        Some((start..*end, line.trim_ascii_end()))
    })
}

/// What the service answered to some transactions.
#[derive(Debug)]
pub(super) struct Answered {
    /// Transactions sent.
    pub(super) sent: usize,
    /// The answers, one in a line.
    pub(super) lines: Vec<u8>,
    /// From the request until all of it was answered.
    pub(super) took: Duration,
}

/// Sends a stream to the service.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    stream: &'a Stream,
    client: Client,
    sent: usize,
    changed: usize,
}

impl<'a> Feed<'a> {
    pub(super) fn new(stream: &'a Stream, client: Client) -> Self {
        Self { stream, client, sent: 0, changed: 0 }
    }

    /// Whether everything was sent.
    pub(super) fn is_done(&self) -> bool {
        self.sent == self.stream.len()
    }

    /// Waits until the service takes records.
    pub(super) fn wait_until_ready(&mut self, stop: &Stop) -> Result<()> {
        let begun = Instant::now();
        loop {
            let told = match self.client.get("/readyz") {
                Ok(told) if told.status == 200 && is_owned(&told.body) => return Ok(()),
                Ok(unready) => String::from_utf8_lossy(&unready.body).into_owned(),
                Err(error) => error.to_string(),
            };
            if stop.is_set() || begun.elapsed() > READY_WITHIN {
                bail!("the service is not ready: {told}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends what comes next of the first `due` transactions, as much as one request takes, after the mandates
    /// that come before it. `None`: all of them were sent.
    pub(super) fn send(&mut self, due: usize) -> Result<Option<Answered>> {
        let waiting = self.stream.payments.get(self.sent..due.min(self.stream.len()));
        let waiting = waiting.unwrap_or_default();
        let Some(first) = waiting.first() else { return Ok(None) };
        while self.changed < first.changes {
            self.change(first.changes)?;
        }
        let same = waiting.iter().take(RECORDS_MAX).take_while(|payment| payment.changes == first.changes);
        let places: Vec<Range<usize>> = same.map(|payment| payment.line.clone()).collect();
        let body = gathered(&self.stream.transactions, &places);
        let begun = Instant::now();
        let lines = self.post("/v1/transactions", &body)?;
        self.sent += places.len();
        Ok(Some(Answered { sent: places.len(), lines, took: begun.elapsed() }))
    }

    /// Puts the next mandates in force, up to `until` in all.
    fn change(&mut self, until: usize) -> Result<()> {
        let until = until.min(self.changed + RECORDS_MAX);
        let places = self.stream.changes.get(self.changed..until).unwrap_or_default();
        let answers = self.post("/v1/mandates", &gathered(&self.stream.mandates, places))?;
        if let Some(problem) = lines(&answers).find_map(|(_, line)| problem(line)) {
            bail!("the service did not take a mandate: {}", problem.detail);
        }
        self.changed = until;
        Ok(())
    }

    fn post(&mut self, path: &str, body: &[u8]) -> Result<Vec<u8>> {
        let response = self.client.post(path, body).context("the service cannot be reached")?;
        match response.status {
            200 => Ok(response.body),
            status => bail!("the service answered {status}: {}", String::from_utf8_lossy(&response.body)),
        }
    }

    /// The risk profile of an agent, unless the service is too busy to tell.
    pub(super) fn profile(&mut self, agent: &Agent) -> Result<Option<Profile>> {
        let path = format!("/v1/agents/{}/{}", escaped(&agent.user_id), escaped(&agent.agent_id));
        let response = self.client.get(&path).context("the service cannot be reached")?;
        let profile =
            || serde_json::from_slice(&response.body).with_context(|| format!("{path} is no risk profile"));
        (response.status == 200).then(profile).transpose()
    }
}

/// Whether the service's health tells of a partition. As long as the log has given none out, there is none that is
/// not ready.
fn is_owned(health: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Health {
        partitions: HashMap<String, IgnoredAny>,
    }
    serde_json::from_slice(health).is_ok_and(|Health { partitions }| !partitions.is_empty())
}

/// The text at these places.
fn gathered(text: &[u8], places: &[Range<usize>]) -> Vec<u8> {
    places.iter().filter_map(|place| text.get(place.clone())).collect::<Vec<_>>().concat()
}

/// An id as a segment of a path.
fn escaped(id: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    id.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mandate_comes_before_the_first_transaction_of_its_time() {
        let stream = Stream::generate(2_000, 7).unwrap();
        assert!(stream.len() >= 2_000);
        let first = stream.payments.first().unwrap().changes;
        let last = stream.payments.last().unwrap().changes;
        assert!(first > 0 && first < last, "{first} to {last}");
        assert!(stream.payments.is_sorted_by_key(|payment| payment.changes));
        let time = |payment: &Payment| {
            let text = &stream.transactions[payment.line.clone()];
            parse_transaction(text.trim_ascii(), Currency::USD).unwrap().tx_time.0
        };
        for pair in stream.payments.windows(2) {
            for line in &stream.changes[pair[0].changes..pair[1].changes] {
                let record = &stream.mandates[line.clone()];
                let record = parse_mandate(record.trim_ascii(), Currency::USD).unwrap();
                assert!(record.updated_at().unwrap().0 <= time(&pair[1]));
            }
        }
    }

    #[test]
    fn without_a_partition_nothing_is_ready() {
        assert!(!is_owned(br#"{"partitions":{},"mandates_read":true}"#));
        assert!(is_owned(br#"{"partitions":{"0":{"state":"live","why":null}},"mandates_read":true}"#));
    }

    #[test]
    fn ids_are_escaped_in_paths() {
        assert_eq!(escaped("agt_98-x.y~"), "agt_98-x.y~");
        assert_eq!(escaped("a b/ü"), "a%20b%2F%C3%BC");
    }
}
