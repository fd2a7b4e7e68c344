//! The log: partitions are handed out, and everything else is made from here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use weir_log::{Assignment, DecisionReader, Log, LogError, MandateSource, Partition};

use crate::config::KafkaConfig;
use crate::context::{Consumer, Context, lock};
use crate::error;
use crate::follow::{Decisions, Mandates};
use crate::group::{self, Change, Group};
use crate::native;
use crate::partition::KafkaPartition;
use crate::query::Query;
use crate::topics::Admin;
use crate::watch::Watch;

/// What everything that the log hands out shares.
pub(crate) struct Shared {
    pub(crate) config: KafkaConfig,
    pub(crate) group: Arc<Group>,
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) query: Query,
    pub(crate) admin: Admin,
    pub(crate) watch: Arc<Watch>,
    /// Set once every topic has been seen.
    topics_there: OnceLock<()>,
}

impl Shared {
    /// Makes sure, once, that every topic is there: later, one that is not known is one that the broker does not know
    /// yet.
    ///
    /// # Errors
    /// [`LogError::Refused`] where one is missing.
    pub(crate) fn check_topics(&self) -> Result<(), LogError> {
        if self.topics_there.get().is_none() {
            let mut topics = self.config.topics.all().into_iter();
            topics.try_for_each(|topic| self.query.partitions(topic).map(drop))?;
            self.topics_there.get_or_init(|| ());
        }
        Ok(())
    }
}

/// Kafka.
pub struct KafkaLog {
    shared: Arc<Shared>,
    changes: Mutex<Receiver<Change>>,
    poller: Mutex<Option<JoinHandle<()>>>,
    /// Set when the polling thread has ended.
    left: Arc<AtomicBool>,
    /// Whether it is a member of the group.
    joined: bool,
}

impl KafkaLog {
    /// Joins the group. The broker need not be there yet.
    ///
    /// # Errors
    /// [`LogError::Refused`] when the configuration is.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        let mut log = Self::apart(config)?;
        let subscribed = log.shared.consumer.subscribe(&[&log.shared.config.topics.transactions]);
        subscribed.map_err(|error| error::of("subscribe", &error))?;
        log.left.store(false, Ordering::Release);
        *lock(&log.poller) = Some(Self::poller(&log.shared, &log.left)?);
        log.joined = true;
        Ok(log)
    }

    /// Stands apart from the group: every partition can be read, none is assigned, and none can be opened.
    ///
    /// # Errors
    /// As [`KafkaLog::new`].
    pub fn apart(config: KafkaConfig) -> Result<Self, LogError> {
        config.check().map_err(LogError::Refused)?;
        native::keep_memory();
        let (sender, changes) = mpsc::channel();
        let group = Arc::new(Group::new(config.topics.transactions.clone(), sender));
        let context = Context { group: Some(Arc::clone(&group)), ..Context::default() };
        let consumer = config.group().create_with_context(context);
        let consumer: Arc<Consumer> = Arc::new(consumer.map_err(|error| error::of("Kafka client", &error))?);
        // A commit is bounded by the transaction's own limit; three times that is never.
        let watch = Arc::new(Watch::new(config.transaction_timeout().saturating_mul(3)));
        let query = Query::new(&config)?;
        let admin = Admin::new(&config)?;
        let topics_there = OnceLock::new();
        let shared = Arc::new(Shared { config, group, consumer, query, admin, watch, topics_there });
        let left = Arc::new(AtomicBool::new(true));
        Ok(Self { shared, changes: Mutex::new(changes), poller: Mutex::new(None), left, joined: false })
    }

    /// The thread that serves the group's member. It holds no more than it needs, so that the clients can go.
    fn poller(shared: &Shared, left: &Arc<AtomicBool>) -> Result<JoinHandle<()>, LogError> {
        let (consumer, group) = (Arc::clone(&shared.consumer), Arc::clone(&shared.group));
        let (watch, left) = (Arc::clone(&shared.watch), Arc::clone(left));
        let run = move || {
            group::serve(&consumer, &group, &watch);
            left.store(true, Ordering::Release);
        };
        let thread = thread::Builder::new().name("kafka-group".into()).spawn(run);
        thread.map_err(|error| LogError::Broken(format!("no thread for the group: {error}")))
    }
}

impl Log for KafkaLog {
    fn partitions(&self) -> Result<i32, LogError> {
        self.shared.query.partitions(&self.shared.config.topics.transactions)
    }

    fn next_assignment(&self, wait: Duration) -> Result<Option<Assignment>, LogError> {
        if let Some(error) = self.shared.group.failure() {
            return Err(error);
        }
        match lock(&self.changes).recv_timeout(wait) {
            Ok(change) => change.map(Some),
            Err(RecvTimeoutError::Timeout) => {
                let Shared { group, query, config, .. } = &*self.shared;
                let away = group.away(|| query.is_answered(&config.topics.transactions));
                away.map_or(Ok(None), |why| Err(LogError::Unavailable(why)))
            }
            Err(RecvTimeoutError::Disconnected) => Err(LogError::Broken("the group was left".into())),
        }
    }

    fn partition(&self, number: i32) -> Result<Box<dyn Partition>, LogError> {
        let nobody = (!self.joined).then_some(0);
        let ownership = self.shared.group.ownership(number).or(nobody);
        let ownership =
            ownership.ok_or_else(|| LogError::Fenced(format!("partition {number} is not assigned")))?;
        Ok(Box::new(KafkaPartition::new(Arc::clone(&self.shared), number, ownership)))
    }

    fn mandates(&self) -> Result<Option<Box<dyn MandateSource>>, LogError> {
        Ok(Some(Box::new(Mandates::new(&self.shared)?)))
    }

    fn decisions(&self, from: Option<&[i64]>) -> Result<Box<dyn DecisionReader>, LogError> {
        Ok(Box::new(Decisions::new(&self.shared, from)?))
    }

    fn close(&self) {
        self.shared.group.close();
        let Some(poller) = lock(&self.poller).take() else { return };
        // A broker that is away must not keep the process from ending.
        let start = Instant::now();
        while !self.left.load(Ordering::Acquire) && start.elapsed() < Duration::from_secs(9) {
            thread::sleep(Duration::from_millis(5));
        }
        if self.left.load(Ordering::Acquire) {
            let _ = poller.join();
        } else {
            tracing::warn!("the group was not left in time; its partitions are free when the session ends");
        }
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.close();
    }
}
