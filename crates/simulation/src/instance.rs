//! An instance of the service without its threads: every step that they take, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_log::{LogError, MandateEnds, MandateEvent, Output, OwnedRecord, Partition, Sink, Source};
use weir_service::checkpoints::{Checkpoints, Writing};
use weir_service::keeper::Keeper;
use weir_service::recovery::recover;
use weir_service::registry::{Registry, RegistrySettings};
use weir_service::snapshots::{Manifest, Store, Taken, Writer};
use weir_service::{ServiceError, Settings};

use crate::Random;
use crate::log::{SimLog, SimMandates};

/// A running instance.
pub struct Instance {
    /// What it goes by.
    pub settings: Arc<Settings>,
    /// Its registry of mandates.
    pub registry: Arc<Registry>,
    /// How often its shards go on with snapshots, in a hundred steps.
    pub snapshots: usize,
    /// Its shards by partition.
    pub shards: BTreeMap<i32, Shard>,
    mandates: Arc<Mutex<SimMandates>>,
    /// Where the mandates topic ended at the start, once that is known.
    start_ends: Option<Vec<i64>>,
    mandates_read: bool,
    log: SimLog,
    store: Arc<Store>,
}

/// A shard and how far it has come.
pub struct Shard {
    /// Its partition.
    pub number: i32,
    /// What it owns it by.
    pub token: u64,
    /// What it is doing.
    pub phase: Phase,
}

/// What a shard is doing.
pub enum Phase {
    /// It has to be recovered.
    Lost,
    /// It waits for the mandates.
    Recovered(Box<Ready>),
    /// It decides.
    Live(Box<Live>),
}

/// A shard before it goes live.
pub struct Ready {
    own: Box<dyn Partition>,
    keeper: Keeper,
    snapshot: Option<Manifest>,
}

/// A live shard.
pub struct Live {
    /// Its state.
    pub keeper: Keeper,
    /// Where the batch stands that the keeper decided last, if it is not handed over yet.
    decided: Option<Output>,
    /// The batch that is being committed.
    committing: Option<Output>,
    source: Box<dyn Source>,
    sink: Box<dyn Sink>,
    journal: Box<dyn Partition>,
    checkpoints: Option<Checkpoints>,
    writing: Option<Writing>,
    /// Batches committed.
    committed: u64,
    /// The batch that the last checkpoint begun shows.
    begun_at: u64,
    /// Snapshots published.
    pub published: u64,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was done.
    Done,
    /// There was nothing to do.
    Idle,
    /// The shard has lost its state, as it should have.
    Lost,
}

impl Live {
    /// Whether batches wait to be committed.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.committing.is_some() || self.decided.is_some()
    }
}

impl Instance {
    /// A new instance, which has read nothing.
    #[must_use]
    pub fn new(log: &SimLog, store: &Arc<Store>, settings: Settings) -> Self {
        let partitions = i32::try_from(log.cluster().transactions.len()).unwrap();
        let registry = Registry::new(RegistrySettings {
            base_currency: settings.config.base_currency.0,
            mandates_max: settings.registry_mandates_max,
            topic: settings.mandates_topic.clone(),
            partitioner: settings.partitioner,
            partitions,
        });
        Self {
            settings: Arc::new(settings),
            registry: Arc::new(registry),
            snapshots: 30,
            shards: BTreeMap::new(),
            mandates: Arc::new(Mutex::new(log.follow_mandates())),
            start_ends: None,
            mandates_read: false,
            log: log.clone(),
            store: Arc::clone(store),
        }
    }

    /// How far it has read each partition of the mandates.
    #[must_use]
    pub fn mandates_next(&self) -> Vec<i64> {
        self.mandates.lock().unwrap().next_offsets().to_vec()
    }

    /// Begins to own a partition.
    pub fn assign(&mut self, number: i32, token: u64) {
        if number == 0 {
            self.registry.set_rejecting(true);
        }
        self.shards.insert(number, Shard { number, token, phase: Phase::Lost });
    }

    /// Reads on in the mandates topic, at most so many records.
    pub fn read_mandates(&mut self, max: usize) {
        if self.registry.take_reread() {
            *self.mandates.lock().unwrap() = self.log.follow_mandates();
        }
        if self.start_ends.is_none() {
            let ends = weir_log::MandateSource::ends(&*self.mandates.lock().unwrap());
            self.start_ends = ends.ends(Duration::ZERO).ok();
        }
        let Some(start_ends) = &self.start_ends else { return };
        if pump(&self.mandates, &self.registry, max).is_ok() {
            self.mandates_read |= self.registry.wait_for(start_ends, Duration::ZERO);
        }
    }

    /// The next step of a shard. `slow` commits are left for later.
    ///
    /// # Errors
    /// What would have stopped the shard for good.
    pub fn step(&mut self, number: i32, random: &mut Random, slow: bool) -> Result<Step, ServiceError> {
        let Some(shard) = self.shards.get_mut(&number) else { return Ok(Step::Idle) };
        match std::mem::replace(&mut shard.phase, Phase::Lost) {
            Phase::Lost => self.recover(number),
            Phase::Recovered(ready) => self.go_live(number, ready),
            Phase::Live(mut live) => {
                let done = self.live(&mut live, random, slow);
                let result = settled(done);
                match result {
                    Ok(Step::Lost) => live.fail(&self.log),
                    _ => self.shards.get_mut(&number).unwrap().phase = Phase::Live(live),
                }
                result
            }
        }
    }

    fn recover(&mut self, number: i32) -> Result<Step, ServiceError> {
        let shard = self.shards.get_mut(&number).unwrap();
        let mut own = self.log.owned(number, shard.token);
        let partitions = i32::try_from(self.log.cluster().transactions.len()).unwrap();
        let recovered =
            recover(&mut *own, (number, partitions), &self.settings, Some(&self.store), &|| false);
        match recovered {
            Ok(mut recovered) => {
                recovered.keeper.configure();
                let mut cluster = self.log.cluster();
                cluster.recoveries.0 += 1;
                cluster.recoveries.1 += u64::from(recovered.snapshot.is_some());
                let (keeper, snapshot) = (recovered.keeper, recovered.snapshot);
                shard.phase = Phase::Recovered(Box::new(Ready { own, keeper, snapshot }));
                Ok(Step::Done)
            }
            Err(error) => settled(Err(error)),
        }
    }

    fn go_live(&mut self, number: i32, mut ready: Box<Ready>) -> Result<Step, ServiceError> {
        let shard = self.shards.get_mut(&number).unwrap();
        if !self.mandates_read {
            shard.phase = Phase::Recovered(ready);
            return Ok(Step::Idle);
        }
        let streams = match ready.own.go_live(ready.keeper.position()) {
            Ok(streams) => streams,
            Err(error) => return settled(Err(error.into())),
        };
        let (source, sink) = streams;
        let store = Some(Arc::clone(&self.store));
        let (checkpoints, writing) = Checkpoints::apart(&ready.keeper, ready.snapshot.as_ref(), store);
        let committed = ready.keeper.standing().map_or(0, |standing| standing.sequence + 1);
        let (keeper, journal) = (ready.keeper, ready.own);
        shard.phase = Phase::Live(Box::new(Live {
            keeper,
            source,
            sink,
            journal,
            decided: None,
            committing: None,
            checkpoints: Some(checkpoints),
            writing,
            committed,
            begun_at: 0,
            published: 0,
        }));
        Ok(Step::Done)
    }

    /// One of the things that a live shard's threads do.
    fn live(&self, live: &mut Live, random: &mut Random, slow: bool) -> Result<Step, ServiceError> {
        if live.committing.is_none() {
            live.committing = live.decided.take();
        }
        if live.committing.is_some() && !slow && !self.log.cluster().down && random.percent(60) {
            live.commit()?;
            return Ok(Step::Done);
        }
        if random.percent(self.snapshots) {
            self.snapshot(live, random);
        }
        // The deciding thread hands a batch over before it takes the next.
        if live.decided.is_some() {
            return Ok(if slow { Step::Idle } else { Step::Done });
        }
        self.decide(live, random)
    }

    fn decide(&self, live: &mut Live, random: &mut Random) -> Result<Step, ServiceError> {
        let ends = PumpingEnds {
            log: self.log.clone(),
            mandates: Arc::clone(&self.mandates),
            registry: Arc::clone(&self.registry),
            mood: random.below(10),
        };
        let none: Vec<OwnedRecord> = Vec::new();
        let mut output = Output::default();
        // As the deciding thread does: what has changed goes ahead, in parts.
        if live.keeper.is_behind(&self.registry) {
            let tally = live.keeper.decide(&none, &self.registry, Some(&ends), false, &mut output)?;
            if let Some(tally) = tally {
                self.log.cluster().parts += u64::from(tally.more);
                live.decided = Some(output);
                return Ok(Step::Done);
            }
        }
        let polled = live.source.poll(1 + random.below(25), Duration::ZERO)?;
        let (records, forced): (&dyn weir_log::Records, bool) = match &polled {
            Some(records) => (&**records, true),
            None if live.keeper.is_due(&self.registry) => (&none, false),
            None if random.permille(2) => (&none, true),
            None => return Ok(if live.is_behind() { Step::Done } else { Step::Idle }),
        };
        let tally = live.keeper.decide(records, &self.registry, Some(&ends), forced, &mut output)?;
        if let Some(tally) = tally {
            assert_eq!(tally.records, records.len() as u64);
            assert_eq!(output.fates.len(), records.len(), "every record has a fate");
            live.decided = Some(output);
        }
        Ok(Step::Done)
    }

    fn snapshot(&self, live: &mut Live, random: &mut Random) {
        let Some(checkpoints) = &mut live.checkpoints else { return };
        let was_running = checkpoints.is_running();
        if was_running || random.percent(40) {
            let standing = live.keeper.standing();
            checkpoints.go_on_by(&mut live.keeper, 1 + random.below(12));
            if !was_running && checkpoints.is_running() {
                live.begun_at = standing.map_or(0, |standing| standing.sequence);
            }
        }
        // The thread that writes would wait for the commit.
        if live.committed > live.begun_at {
            live.write(&self.log);
        }
    }

    /// Finishes a shard as a graceful stop does, and forgets it.
    pub fn finish(&mut self, number: i32) {
        let Some(shard) = self.shards.remove(&number) else { return };
        if let Phase::Live(mut live) = shard.phase {
            let mut committed = true;
            while live.is_behind() && committed {
                live.committing = live.committing.take().or_else(|| live.decided.take());
                committed = live.commit().is_ok();
            }
            live.write(&self.log);
            if let Some(checkpoints) = live.checkpoints.take() {
                checkpoints.finish(&mut live.keeper, committed);
            }
            live.write(&self.log);
        }
        if number == 0 {
            self.registry.set_rejecting(false);
        }
    }

    /// Publishes the state of a shard as it is, although it is not committed, as if the journal showed it at
    /// `offset`: what a zombie would do that did not look. It takes nothing away, for that is another matter.
    ///
    /// # Errors
    /// When the store fails.
    pub fn publish_unchecked(&self, live: &Live, number: i32, offset: i64) -> Result<(), ServiceError> {
        // Nobody publishes before the first batch has said which configuration is in force.
        let Some(standing) = live.keeper.standing().filter(|_| live.is_behind()) else { return Ok(()) };
        let mut writer = Writer::new(Arc::clone(&self.store), number);
        writer.begin()?;
        for (table, batches) in live.keeper.state().unwrap() {
            batches.iter().try_for_each(|batch| writer.add(table, batch))?;
        }
        let config = &self.settings.config;
        let taken = Taken {
            state_version: weir_engine::STATE_VERSION,
            partition: number,
            partitions: i32::try_from(self.log.cluster().transactions.len()).unwrap(),
            sequence: standing.sequence,
            digest: standing.digest.hex(),
            position: standing.position,
            config: serde_json::to_value(config).unwrap(),
            config_digest: config.digest(),
            mandates_rejected_to: standing.rejected_to.unwrap_or_default(),
        };
        writer.finish(&taken, offset)?;
        Ok(())
    }
}

impl Live {
    fn commit(&mut self) -> Result<(), LogError> {
        let Some(output) = self.committing.take() else { return Ok(()) };
        self.sink.commit(&output, &|why| {
            let gives_up = why == "the broker is away";
            if gives_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.committed = output.sequence + 1;
        Ok(())
    }

    /// What the thread that writes does with all that it was told.
    fn write(&mut self, log: &SimLog) {
        let committed = self.committed;
        let wait = |taken: &Taken| {
            if committed > taken.sequence {
                return Ok(());
            }
            Err(LogError::Unavailable("its batch was not committed".to_owned()).into())
        };
        if let Some(writing) = &mut self.writing
            && let Ok(Some(published)) = writing.catch_up(&mut *self.journal, &wait)
        {
            self.published += 1;
            let deltas = published.manifest.files.iter().filter(|file| !file.base);
            let deltas: BTreeSet<u64> = deltas.map(|file| file.sequence).collect();
            let mut cluster = log.cluster();
            cluster.longest_chain = cluster.longest_chain.max(deltas.len());
        }
    }

    /// The shard has failed; what its snapshots' thread was told it still does.
    fn fail(&mut self, log: &SimLog) {
        self.write(log);
    }
}

/// An error that passes loses the state alone.
fn settled(result: Result<Step, ServiceError>) -> Result<Step, ServiceError> {
    match result {
        Err(error) if error.may_pass() => Ok(Step::Lost),
        result => result,
    }
}

fn pump(mandates: &Mutex<SimMandates>, registry: &Registry, max: usize) -> Result<bool, LogError> {
    let events = mandates.lock().unwrap().take(max)?;
    let mut more = false;
    for event in events {
        match event {
            MandateEvent::Record(partition, record) => {
                more = true;
                let _ = registry.put(partition, record.borrow()).unwrap();
            }
            MandateEvent::Reached(partition, offset) => registry.reached(partition, offset),
        }
    }
    Ok(more)
}

/// Tells where the mandates end; meanwhile the thread that reads them may come as far, or not.
struct PumpingEnds {
    log: SimLog,
    mandates: Arc<Mutex<SimMandates>>,
    registry: Arc<Registry>,
    mood: usize,
}

impl MandateEnds for PumpingEnds {
    fn ends(&self, _wait: Duration) -> Result<Vec<i64>, LogError> {
        let ends = self.log.cluster().mandates.iter().map(|stream| stream.end).collect();
        match self.mood {
            0 => return Err(LogError::Unavailable("no answer".to_owned())),
            1 => drop(pump(&self.mandates, &self.registry, 1)),
            _ => while pump(&self.mandates, &self.registry, 100)? {},
        }
        Ok(ends)
    }
}
