//! One instance of the service: the shards that the log gives it, started and stopped as it says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use weir_log::{Assignment, Log, LogError, MandateEnds, MandateEvent, Submit};

use crate::error::ServiceError;
use crate::http::{Backend, Health, ProfileAnswer};
use crate::live::{self, Control, Query, State, Surroundings};
use crate::metrics::Metrics;
use crate::recovery::recover;
use crate::registry::{Registry, RegistrySettings};
use crate::settings::Settings;
use crate::snapshots::Store;

/// Least and greatest pause before a shard is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);
/// Pause before a shard that an operator has to help is looked at again.
const HALTED_FOR: Duration = Duration::from_secs(60);
/// How long a graceful stop waits for shards to finish; what is not committed then is left to recovery.
const STOP_WAIT: Duration = Duration::from_secs(7);
/// How long the log is kept waiting for a shard that it takes away.
const REVOKE_WAIT: Duration = Duration::from_secs(15);
/// How long a question to a shard waits for its answer.
const QUERY_WAIT: Duration = Duration::from_secs(5);

/// A running instance.
pub struct Instance {
    log: Arc<dyn Log>,
    settings: Arc<Settings>,
    registry: Arc<Registry>,
    ends: Option<Box<dyn MandateEnds>>,
    metrics: Arc<Metrics>,
    store: Arc<Store>,
    partitions: i32,
    shards: Mutex<BTreeMap<i32, ShardThread>>,
    stop: AtomicBool,
    mandates_read: AtomicBool,
    /// Why the log cannot be reached.
    away: Mutex<Option<String>>,
}

/// A shard's thread.
struct ShardThread {
    control: Arc<Control>,
    queries: Sender<Query>,
    thread: JoinHandle<()>,
}

impl Instance {
    /// An instance on this log. Reads no record and decides nothing before [`Instance::run`].
    ///
    /// # Errors
    /// When the log cannot be reached.
    pub fn new(
        log: Arc<dyn Log>,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, ServiceError> {
        check_round_trip(&settings.config)?;
        let store = Arc::new(Store::open(&settings.snapshots_url)?);
        let partitions = reached(|| log.partitions())?;
        let registry = Registry::new(RegistrySettings {
            base_currency: settings.config.base_currency.0,
            mandates_max: settings.registry_mandates_max,
            topic: settings.mandates_topic.clone(),
            partitioner: settings.partitioner,
            partitions,
        });
        let mandates = reached(|| log.mandates())?;
        metrics.log_reachable(true);
        let ends = mandates.as_ref().map(|mandates| mandates.ends());
        let own_log = settings.has_own_log();
        drop(mandates);
        Ok(Arc::new(Self {
            log,
            settings: Arc::new(settings),
            registry: Arc::new(registry),
            // What comes over HTTP is in the registry before the batch that it came with.
            ends: ends.filter(|_| !own_log),
            metrics,
            store,
            partitions,
            shards: Mutex::new(BTreeMap::new()),
            stop: AtomicBool::new(false),
            mandates_read: AtomicBool::new(false),
            away: Mutex::new(None),
        }))
    }

    /// The registry of mandates.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What each shard of this instance is doing.
    fn states(&self) -> BTreeMap<i32, State> {
        self.shards().iter().map(|(&partition, shard)| (partition, shard.control.state())).collect()
    }

    /// Whether the mandates topic has been read to the end that it had at the start.
    fn mandates_read(&self) -> bool {
        self.mandates_read.load(Ordering::Acquire)
    }

    /// Ready when every shard that this instance owns decides; one that owns none is ready to be given some.
    fn health(&self) -> Health {
        let states = self.states();
        let trouble = self.registry.trouble();
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // With a log of its own it has to have the partition; a member of a group may be left without any.
        let own_log = self.settings.has_own_log();
        let all_live = states.values().all(|state| *state == State::Live) && !(own_log && states.is_empty());
        let shards: BTreeMap<String, serde_json::Value> = states
            .iter()
            .map(|(partition, state)| {
                let why = match state {
                    State::Retrying(why) | State::Failed(why) => Some(why.as_str()),
                    _ => None,
                };
                (partition.to_string(), serde_json::json!({ "state": state.name(), "why": why }))
            })
            .collect();
        Health {
            live: !self.is_stopping(),
            ready: self.mandates_read()
                && trouble.is_none()
                && away.is_none()
                && all_live
                && !self.is_stopping(),
            details: serde_json::json!({
                "partitions": shards,
                "mandates_read": self.mandates_read(),
                "registry": trouble,
                "log": away,
                "stopping": self.is_stopping(),
            }),
        }
    }

    /// Asks everything to finish; [`Instance::run`] then returns.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<i32, ShardThread>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the log until it fails or [`Instance::stop`] is called.
    ///
    /// # Errors
    /// When the log has failed for good.
    pub fn run(self: &Arc<Self>) -> Result<(), ServiceError> {
        let own = Arc::clone(self);
        let mandates = thread::Builder::new().name("mandates".to_owned()).spawn(move || own.read_mandates());
        let mandates = mandates.map_err(|error| ServiceError::Halted(format!("no thread: {error}")))?;
        let served = self.serve();
        self.stop();
        let partitions: Vec<i32> = self.shards().keys().copied().collect();
        self.finish(&partitions, STOP_WAIT);
        self.log.close();
        // It looks at the stop flag several times a second.
        let _ = mandates.join();
        served
    }

    fn serve(self: &Arc<Self>) -> Result<(), ServiceError> {
        while !self.is_stopping() {
            let change = self.log.next_assignment(Duration::from_millis(50));
            self.note_reach(change.as_ref().err());
            match change {
                Ok(None) => {}
                Ok(Some(Assignment::Assigned(partitions))) => {
                    tracing::info!(?partitions, "assigned");
                    for partition in partitions {
                        self.start(partition)?;
                    }
                }
                Ok(Some(Assignment::Revoked { partitions, lost, done })) => {
                    tracing::info!(?partitions, lost, "revoked");
                    self.finish(&partitions, if lost { Duration::ZERO } else { REVOKE_WAIT });
                    // The log waits no longer if it has given up.
                    let _ = done.send(());
                }
                Err(LogError::Unavailable(_)) => thread::sleep(RETRY_AFTER),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Notes whether the log can be reached, for health and metrics.
    fn note_reach(&self, error: Option<&LogError>) {
        let why = match error {
            Some(LogError::Unavailable(why)) => Some(why),
            _ => None,
        };
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*away, why) {
            (None, Some(why)) => tracing::warn!(why, "the log cannot be reached"),
            (Some(_), None) => tracing::info!("the log is reached again"),
            _ => return,
        }
        self.metrics.log_reachable(why.is_none());
        *away = why.cloned();
    }

    fn start(self: &Arc<Self>, partition: i32) -> Result<(), ServiceError> {
        let (queries, asked) = channel();
        let control = Arc::new(Control::new(partition, self.metrics.partition(partition)));
        let (own, shard) = (Arc::clone(self), Arc::clone(&control));
        let keep = move || own.keep(&shard, &asked);
        let thread = thread::Builder::new().name(format!("shard-{partition}")).spawn(keep);
        let thread = thread.map_err(|error| ServiceError::Halted(format!("no thread: {error}")))?;
        self.shards().insert(partition, ShardThread { control, queries, thread });
        Ok(())
    }

    /// Stops shards and waits for them; past `wait`, what they have not committed is given up.
    fn finish(&self, partitions: &[i32], wait: Duration) {
        let finished: Vec<ShardThread> =
            partitions.iter().filter_map(|partition| self.shards().remove(partition)).collect();
        finished.iter().for_each(|shard| shard.control.stop());
        let until = Instant::now() + wait;
        for shard in finished {
            while !shard.thread.is_finished() {
                if Instant::now() >= until {
                    shard.control.give_up();
                }
                if Instant::now() >= until + Duration::from_secs(1) {
                    tracing::warn!(
                        partition = shard.control.partition,
                        "the shard does not stop; left behind"
                    );
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
            self.metrics.forget_partition(shard.control.series());
        }
    }

    /// Keeps a shard going until it is told to stop: recovers it, and again after each failure.
    fn keep(&self, control: &Control, queries: &Receiver<Query>) {
        let mut pause = RETRY_AFTER;
        while !control.is_stopping() {
            let begun = Instant::now();
            let Err(error) = self.live(control, queries) else { break };
            if control.is_stopping() {
                break;
            }
            if begun.elapsed() > RETRY_AFTER_MAX {
                pause = RETRY_AFTER;
            }
            let partition = control.partition;
            if self.settings.has_own_log() {
                // Mandates of the batch that failed are in the registry and not in the log.
                self.mandates_read.store(false, Ordering::Release);
                self.registry.start_over();
            }
            if error.may_pass() {
                tracing::warn!(partition, %error, "shard is recovered again");
                control.set_state(State::Retrying(error.to_string()));
                wait(control, pause);
                pause = (pause * 2).min(RETRY_AFTER_MAX);
            } else {
                tracing::error!(partition, %error, "shard halted");
                control.set_state(State::Failed(error.to_string()));
                wait(control, HALTED_FOR);
            }
        }
        control.set_state(State::Stopped);
    }

    /// Recovers a shard and keeps it live until it stops.
    fn live(&self, control: &Control, queries: &Receiver<Query>) -> Result<(), ServiceError> {
        let partition = control.partition;
        control.set_state(State::Opening);
        let now = self.log.partitions()?;
        if now != self.partitions {
            let changed = ServiceError::repartitioned(now, self.partitions, "this instance was started");
            // The other shards' users would be others now.
            self.registry.fail(changed.to_string());
            return Err(changed);
        }
        let mut own = self.log.partition(partition)?;
        control.set_state(State::Recovering);
        let begun = Instant::now();
        let number = (partition, self.partitions);
        let is_stopping = || control.is_stopping();
        let mut recovered = recover(&mut *own, number, &self.settings, Some(&self.store), &is_stopping)?;
        tracing::info!(
            partition,
            snapshot = recovered.snapshot.as_ref().map(|manifest| manifest.sequence),
            batches = recovered.batches,
            records = recovered.records,
            position = recovered.keeper.position(),
            seconds = begun.elapsed().as_secs_f64(),
            "recovered"
        );
        recovered.keeper.configure();
        control.set_state(State::WaitingForMandates);
        while !self.mandates_read() && !control.is_stopping() {
            thread::sleep(Duration::from_millis(5));
        }
        if control.is_stopping() {
            return Ok(());
        }
        let _rejecting = (partition == 0).then(|| Rejecting::new(&self.registry));
        let streams = own.go_live(recovered.keeper.position())?;
        control.set_state(State::Live);
        let around = Surroundings {
            control,
            registry: &self.registry,
            ends: self.ends.as_deref(),
            metrics: &self.metrics,
            queries,
            store: Some(Arc::clone(&self.store)),
            journal: own,
        };
        live::run(recovered.keeper, recovered.snapshot.as_ref(), streams, around)
    }

    /// Reads the mandates topic for as long as the instance lives.
    fn read_mandates(&self) {
        let mut pause = RETRY_AFTER;
        while !self.is_stopping() {
            match self.follow_mandates() {
                Ok(()) => pause = RETRY_AFTER,
                Err(ServiceError::Log(LogError::Stopped)) => {}
                Err(ServiceError::Log(error)) if !matches!(error, LogError::Refused(_)) => {
                    tracing::warn!(%error, "the mandates cannot be read");
                    thread::sleep(pause);
                    pause = (pause * 2).min(RETRY_AFTER_MAX);
                }
                Err(error) => {
                    tracing::error!(%error, "the mandates cannot be read");
                    self.registry.fail(error.to_string());
                    return;
                }
            }
        }
    }

    /// Reads the topic from its beginning on until it fails or has to be read again.
    fn follow_mandates(&self) -> Result<(), ServiceError> {
        if self.settings.has_own_log() {
            // Whatever was read before is read again.
            self.mandates_read.store(false, Ordering::Release);
        }
        let Some(mut source) = self.log.mandates()? else {
            self.mandates_read.store(true, Ordering::Release);
            while !self.is_stopping() {
                thread::sleep(Duration::from_millis(100));
            }
            return Ok(());
        };
        let ends = source.ends().ends(Duration::from_secs(10))?;
        while !self.is_stopping() && !self.registry.take_reread() {
            while !self.registry.wait_for_room(Duration::from_millis(100)) && !self.is_stopping() {}
            for event in source.next(Duration::from_millis(100))? {
                match event {
                    MandateEvent::Record(partition, record) => {
                        let put = self.registry.put(partition, record.borrow());
                        let put = put.map_err(|full| ServiceError::Halted(full.to_string()))?;
                        if let Err(bad) = put {
                            tracing::debug!(partition, offset = bad.offset, fault = %bad.fault, "bad mandate");
                        }
                    }
                    MandateEvent::Reached(partition, offset) => self.registry.reached(partition, offset),
                }
            }
            if !self.mandates_read() && self.registry.wait_for(&ends, Duration::ZERO) {
                tracing::info!(mandates = self.registry.len(), "mandates read");
                self.mandates_read.store(true, Ordering::Release);
            }
            self.metrics.registry_mandates(self.registry.len());
        }
        Ok(())
    }

    /// The risk profile of an agent, if this instance owns its user's partition.
    #[must_use]
    pub fn profile(&self, user_id: &str, agent_id: &str) -> ProfileAnswer {
        let of_user = match self.settings.transactions_topic {
            Some(_) => self.settings.partitioner.partition(user_id.as_bytes(), self.partitions),
            None => Some(0),
        };
        let partitions: Vec<i32> = match of_user {
            Some(partition) => vec![partition],
            None => self.shards().keys().copied().collect(),
        };
        let mut answers = Vec::new();
        let mut asked = false;
        for partition in partitions {
            let (answer, answered) = channel();
            let query = Query { user_id: user_id.to_owned(), agent_id: agent_id.to_owned(), answer };
            match self.shards().get(&partition) {
                Some(shard) if shard.control.state() != State::Live => return ProfileAnswer::NotReady,
                // A shard that is gone drops the question, which ends the wait.
                Some(shard) => drop(shard.queries.send(query)),
                None => continue,
            }
            asked = true;
            answers.push(answered);
        }
        for answered in answers {
            match answered.recv_timeout(QUERY_WAIT) {
                Ok(Some(profile)) => return ProfileAnswer::Found(profile),
                Ok(None) => {}
                Err(_) => return ProfileAnswer::NotReady,
            }
        }
        if asked { ProfileAnswer::Unknown } else { ProfileAnswer::Elsewhere }
    }
}

/// While the shard of partition 0 is live, it rejects bad mandates, and none that it has to reject is forgotten. Before
/// that nobody would take them, and whoever reads the mandates would wait for room for ever.
struct Rejecting<'a>(&'a Registry);

impl<'a> Rejecting<'a> {
    fn new(registry: &'a Registry) -> Self {
        registry.set_rejecting(true);
        Self(registry)
    }
}

impl Drop for Rejecting<'_> {
    fn drop(&mut self) {
        self.0.set_rejecting(false);
    }
}

/// What an instance tells over HTTP.
pub struct Told {
    /// The instance.
    pub instance: Arc<Instance>,
    /// Where records that come over HTTP go, if anywhere.
    pub submit: Option<Arc<dyn Submit>>,
}

impl Backend for Told {
    fn profile(&self, user_id: &str, agent_id: &str) -> ProfileAnswer {
        self.instance.profile(user_id, agent_id)
    }

    fn health(&self) -> Health {
        self.instance.health()
    }

    fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.instance.log)
    }

    fn submit(&self) -> Option<Arc<dyn Submit>> {
        self.submit.clone()
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.instance.metrics)
    }
}

/// Asks until there is an answer: a log that is away when an instance starts is waited for as one that goes away
/// later.
fn reached<T>(ask: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
    let mut pause = RETRY_AFTER;
    loop {
        match ask() {
            Err(LogError::Unavailable(why)) => {
                tracing::warn!(why, "the log cannot be reached yet");
                thread::sleep(pause);
                pause = (pause * 2).min(RETRY_AFTER_MAX);
            }
            answer => return answer,
        }
    }
}

/// The journal keeps the configuration as JSON, in which a number of very many digits may not come back as it was.
fn check_round_trip(config: &weir_engine::Config) -> Result<(), ServiceError> {
    let again =
        serde_json::to_string(config).and_then(|text| serde_json::from_str::<weir_engine::Config>(&text));
    match again {
        Ok(again) if again.digest() == config.digest() => Ok(()),
        _ => Err(ServiceError::Halted(
            "a number of the configuration has too many digits to be journaled exactly; write it with at most 15"
                .to_owned(),
        )),
    }
}

fn wait(control: &Control, pause: Duration) {
    let until = Instant::now() + pause;
    while !control.is_stopping() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
}
