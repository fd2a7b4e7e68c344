//! The transactional producer of a partition: its messages, and what its errors mean.

use std::cell::Cell;
use std::io::{Cursor, Write as _};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::util::Timeout;
use weir_log::{LogError, Message, Output, Topic};

use crate::config::KafkaConfig;
use crate::context::{self, Limiter, lock};
use crate::error;
use crate::native::{self, Target};

/// How long fencing may take at once; the caller tries again.
const INIT: Duration = Duration::from_secs(10);

/// As many as an offset has, at most.
const OFFSET_DIGITS_MAX: usize = 20;

/// Bytes that a message takes beside key, value and headers, at most, and what these headers take.
const OVERHEAD: usize = 128;

/// The producer.
pub(crate) type Producer = BaseProducer<Outcome>;

/// Asks whether to go on, and is told why that is a question.
pub(crate) type Retrying<'a> = &'a dyn Fn(&str) -> ControlFlow<()>;

/// Callbacks of a producer.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The first message of the transaction that could not be delivered.
    failed: Mutex<Option<Code>>,
    limiter: Limiter,
}

impl ClientContext for Outcome {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        context::log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.limiter.warn("producer", &error, reason);
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ProducerContext for Outcome {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            lock(&self.failed).get_or_insert(error::code(error).unwrap_or(Code::Fail));
        }
    }
}

/// Why a transaction did not commit.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is to be aborted, and may be tried again with the same bytes.
    Abort(String),
    /// It is to be aborted, and trying again does not help.
    Refused(String),
    /// It is to be aborted: the caller wants to stop.
    Stopped,
    /// The same call may be made again.
    Again(String),
    /// The producer is of no use any more.
    Dead(LogError),
}

/// What one request may hold of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimit {
    /// Bytes of keys and values.
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
}

impl BatchLimit {
    /// Messages in parts that fit, each as long as it can be; one that does not fit stands alone.
    fn parts<'a>(self, mut rest: &'a [&'a Message]) -> impl Iterator<Item = &'a [&'a Message]> {
        std::iter::from_fn(move || {
            let mut bytes = 0_usize;
            let fits = |message: &&&Message| {
                bytes = bytes.saturating_add(message.key.len()).saturating_add(message.value.len());
                bytes = bytes.saturating_add(OVERHEAD);
                bytes <= self.bytes
            };
            let count = rest.iter().take(self.messages).take_while(fits).count();
            let (part, others) = rest.split_at_checked(count.max(1))?;
            rest = others;
            Some(part)
        })
    }
}

/// A partition's producer and the topics that it writes.
pub(crate) struct Writer {
    targets: [Target; 5],
    producer: Arc<Producer>,
    partition: i32,
    instance: Vec<u8>,
    headers: bool,
    batch_limit: BatchLimit,
    limit: Duration,
    /// When the transaction began, and when it was last asked whether to go on with it.
    begun: Instant,
    asked: Cell<Instant>,
}

impl Writer {
    /// Takes the partition's transactional id over: what its earlier owners had not committed is aborted.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the broker does not answer.
    pub(crate) fn open(config: &KafkaConfig, partition: i32) -> Result<Self, LogError> {
        let failed = |error: &KafkaError| error::of("transactional producer", error);
        let producer = config.producer(partition).create_with_context(Outcome::default());
        let producer: Arc<Producer> = Arc::new(producer.map_err(|error| failed(&error))?);
        let started = producer.init_transactions(INIT);
        producer.poll(Duration::ZERO);
        started.map_err(|error| match &error {
            KafkaError::Transaction(inner) if inner.is_retriable() => {
                LogError::Unavailable(format!("transactional producer: {}", error::text(&error)))
            }
            error => failed(error),
        })?;
        let target = |topic| Target::new(&producer, config.topics.name(topic));
        let [decisions, risk, alerts, rejects, journal] = Topic::ALL.map(target);
        Ok(Self {
            targets: [decisions?, risk?, alerts?, rejects?, journal?],
            producer,
            partition,
            instance: config.instance.as_bytes().to_vec(),
            headers: config.decision_headers,
            batch_limit: config.batch_limit(),
            limit: config.transaction_timeout(),
            begun: Instant::now(),
            asked: Cell::new(Instant::now()),
        })
    }

    /// What an error of a transaction's call means.
    fn fault(&self, what: &str, error: &RDKafkaError) -> Fault {
        let message = format!("{what}: {} ({})", error.string(), error.name());
        if let Some(dead) = self.dead(&message) {
            return dead;
        }
        let code = error.code();
        if error.is_fatal() || error::fenced(code) && !error.txn_requires_abort() {
            return Fault::Dead(verdict(code, message));
        }
        // A request that timed out may still arrive, and be taken for one of the next transaction: librdkafka does
        // not know the protocol that prevents it. A new producer has a new epoch.
        if matches!(code, Code::OperationTimedOut | Code::TimedOutQueue | Code::RequestTimedOut) {
            return Fault::Dead(LogError::Broken(message));
        }
        if let Some(fault) = self.undelivered() {
            return fault;
        }
        if error.txn_requires_abort() {
            return if error::only_an_operator_helps(code) {
                Fault::Refused(message)
            } else {
                Fault::Abort(message)
            };
        }
        if error.is_retriable() { Fault::Again(message) } else { Fault::Dead(LogError::Broken(message)) }
    }

    /// The client's fatal error.
    fn dead(&self, message: &str) -> Option<Fault> {
        let (code, reason) = self.producer.client().fatal_error()?;
        Some(Fault::Dead(verdict(code, format!("{message}: {reason}"))))
    }

    /// What it means that a message was not delivered, if one was not.
    fn undelivered(&self) -> Option<Fault> {
        let code = (*lock(&self.producer.context().failed))?;
        let message = format!("a message was not delivered: {code}");
        Some(match code {
            // See above: it may still arrive.
            Code::MessageTimedOut => Fault::Dead(LogError::Broken(message)),
            code if error::only_an_operator_helps(code) => Fault::Refused(message),
            _ => self.dead(&message).unwrap_or(Fault::Abort(message)),
        })
    }

    /// Makes a transaction's call until it says something else than that it be made again.
    pub(crate) fn call(
        &self,
        what: &str,
        retrying: Retrying<'_>,
        call: impl Fn(&Producer) -> Result<(), KafkaError>,
    ) -> Result<(), Fault> {
        loop {
            let fault = match call(&self.producer) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) => self.fault(what, &error),
                Err(error) => Fault::Dead(error::of(what, &error)),
            };
            self.producer.poll(Duration::ZERO);
            match fault {
                Fault::Again(reason) if retrying(&reason).is_break() => return Err(Fault::Stopped),
                Fault::Again(_) => thread::sleep(Duration::from_millis(20)),
                fault => return Err(fault),
            }
        }
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self, retrying: Retrying<'_>) -> Result<(), Fault> {
        self.begun = Instant::now();
        self.asked.set(self.begun);
        *lock(&self.producer.context().failed) = None;
        self.call("begin", retrying, rdkafka::producer::Producer::begin_transaction)
    }

    /// Queues every message of the output, each topic's in their order. What does not fit into one request waits
    /// until that is answered: a client that may repeat messages sends a partition one request at a time, and its
    /// thread would turn in circles while others wait.
    pub(crate) fn produce(&mut self, output: &Output, retrying: Retrying<'_>) -> Result<(), Fault> {
        let limit = self.batch_limit;
        for (at, topic) in Topic::ALL.into_iter().enumerate() {
            let messages: Vec<&Message> =
                output.messages.iter().filter(|message| message.topic == topic).collect();
            for (number, part) in limit.parts(&messages).enumerate() {
                if number > 0 {
                    self.drain(retrying)?;
                }
                if topic == Topic::Decisions && self.headers {
                    self.produce_decisions(part, output, retrying)?;
                } else {
                    self.produce_plain(at, part, output, retrying)?;
                }
            }
        }
        Ok(())
    }

    /// Queues a topic's messages without headers.
    fn produce_plain(
        &mut self,
        at: usize,
        mut rest: &[&Message],
        output: &Output,
        retrying: Retrying<'_>,
    ) -> Result<(), Fault> {
        while !rest.is_empty() {
            let Some(target) = self.targets.get_mut(at) else { return Ok(()) };
            let pairs = rest.iter().map(|message| output.message(message));
            let (count, stopped) = target.produce(self.partition, pairs);
            rest = rest.get(count..).unwrap_or_default();
            if let Some(code) = stopped {
                self.full(code, retrying)?;
            }
        }
        Ok(())
    }

    /// Queues decisions, with headers.
    fn produce_decisions(
        &self,
        decisions: &[&Message],
        output: &Output,
        retrying: Retrying<'_>,
    ) -> Result<(), Fault> {
        for message in decisions {
            while let Err(code) = self.produce_decision(output, message) {
                self.full(code, retrying)?;
            }
        }
        Ok(())
    }

    /// Queues a decision, with headers.
    fn produce_decision(&self, output: &Output, message: &Message) -> Result<(), Code> {
        let [target, ..] = &self.targets;
        let pair = output.message(message);
        let instance = (c"instance", self.instance.as_slice());
        match message.source_offset {
            Some(offset) => {
                let mut digits = Cursor::new([0; OFFSET_DIGITS_MAX]);
                // There is room for any.
                let _ = write!(digits, "{offset}");
                let written = usize::try_from(digits.position()).unwrap_or_default();
                let offset = digits.get_ref().get(..written).unwrap_or_default();
                let headers = [(c"source-offset", offset), instance];
                target.produce_with(self.partition, pair, &headers)
            }
            None => target.produce_with(self.partition, pair, &[instance]),
        }
    }

    /// Waits for room in the queue; any other reason why a message is not queued is a fault.
    fn full(&self, code: Code, retrying: Retrying<'_>) -> Result<(), Fault> {
        if code != Code::QueueFull {
            let message = format!("a message cannot be sent: {code}");
            if error::only_an_operator_helps(code) {
                return Err(Fault::Refused(message));
            }
            let fault = self.undelivered().or_else(|| self.dead(&message));
            return Err(fault.unwrap_or(Fault::Abort(message)));
        }
        native::flush(&self.producer, Duration::from_millis(5));
        self.producer.poll(Duration::ZERO);
        match self.undelivered() {
            Some(fault) => Err(fault),
            None if retrying("the queue of messages is full").is_break() => Err(Fault::Stopped),
            None => Ok(()),
        }
    }

    /// Waits until every message is acknowledged. Without this, committing would wait in steps of 100 ms.
    pub(crate) fn drain(&self, retrying: Retrying<'_>) -> Result<(), Fault> {
        while !native::flush(&self.producer, Duration::from_millis(20)) {
            self.producer.poll(Duration::ZERO);
            if let Some(fault) = self.undelivered() {
                return Err(fault);
            }
            if self.begun.elapsed() > self.limit.saturating_add(Duration::from_secs(5)) {
                return Err(Fault::Dead(LogError::Broken(
                    "messages are neither acknowledged nor refused".into(),
                )));
            }
            if self.asked.get().elapsed() > Duration::from_secs(1) {
                self.asked.set(Instant::now());
                if retrying("the broker does not acknowledge messages").is_break() {
                    return Err(Fault::Stopped);
                }
            }
        }
        self.undelivered().map_or(Ok(()), Err)
    }

    /// Ends a transaction without committing it. Messages in flight are waited for a little: an abort that overtakes
    /// the first of them is a fatal error. What is left of them is thrown away before, since the call would wait for
    /// reports of them that nobody takes.
    pub(crate) fn abort(&self, wait: Timeout) -> Result<(), LogError> {
        let start = Instant::now();
        while !native::flush(&self.producer, Duration::from_millis(20)) {
            self.producer.poll(Duration::ZERO);
            if start.elapsed() > Duration::from_millis(500) {
                break;
            }
        }
        self.producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        let start = Instant::now();
        while self.producer.in_flight_count() > 0 && start.elapsed() < Duration::from_secs(2) {
            self.producer.poll(Duration::ZERO);
        }
        let done =
            self.call("abort", &|_| ControlFlow::Continue(()), |producer| producer.abort_transaction(wait));
        match done {
            Ok(()) => Ok(()),
            Err(Fault::Dead(error)) => Err(error),
            Err(fault) => Err(LogError::Broken(format!("a transaction could not be aborted: {fault:?}"))),
        }
    }
}

/// What a fatal error means for the partition.
fn verdict(code: Code, message: String) -> LogError {
    if error::fenced(code) { LogError::Fenced(message) } else { LogError::Broken(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: usize, messages: usize, sizes: &[usize], parts: &[&[usize]]) {
        let message = |&size: &usize| Message {
            topic: Topic::Decisions,
            key: 0..0,
            value: 0..size.saturating_sub(OVERHEAD),
            source_offset: None,
        };
        let all: Vec<Message> = sizes.iter().map(message).collect();
        let all: Vec<&Message> = all.iter().collect();
        let limit = BatchLimit { bytes, messages };
        let found: Vec<Vec<usize>> = limit
            .parts(&all)
            .map(|part| part.iter().map(|message| message.value.len() + OVERHEAD).collect())
            .collect();
        assert_eq!(found, parts, "{limit:?} of {sizes:?}");
    }

    #[test]
    fn messages_are_sent_in_parts_that_fit() {
        check(1_000, 10, &[], &[]);
        check(1_000, 10, &[500, 500], &[&[500, 500]]);
        check(1_000, 10, &[500, 501], &[&[500], &[501]]);
        check(1_000, 10, &[5_000, 200, 5_000], &[&[5_000], &[200], &[5_000]]);
        check(1_000, 2, &[200, 200, 200], &[&[200, 200], &[200]]);
        check(1_000, 3, &[200, 200, 200], &[&[200, 200, 200]]);
        // As small as properties allow.
        check(1, 1, &[200, 300], &[&[200], &[300]]);
    }
}
