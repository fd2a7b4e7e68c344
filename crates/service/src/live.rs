//! A live shard: one thread decides, another commits what was decided before.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use weir_log::{LogError, MandateEnds, Output, Partition, Sink, Source};

use crate::checkpoints::Checkpoints;
use crate::clock::now_us;
use crate::error::ServiceError;
use crate::keeper::{Keeper, Tally};
use crate::metrics::{Metrics, PartitionMetrics, PartitionState};
use crate::registry::Registry;
use crate::snapshots::{Manifest, Store};

/// Least time between two looks for mandates that changed, while no record comes.
const IDLE_LOOK: Duration = Duration::from_millis(20);
/// How long a record is waited for before the shard looks after other things.
const POLL_WAIT: Duration = Duration::from_millis(50);

/// How often sizes are told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What a shard is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Opening its partition.
    Opening,
    /// Recovering from snapshot and journal.
    Recovering,
    /// Waiting until the mandates topic has been read.
    WaitingForMandates,
    /// Deciding.
    Live,
    /// Trying again, and why.
    Retrying(String),
    /// Stopped until somebody acts, and why.
    Failed(String),
    /// Finished with.
    Stopped,
}

impl State {
    /// The name in health.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Recovering => "recovering",
            Self::WaitingForMandates => "waiting_for_mandates",
            Self::Live => "live",
            Self::Retrying(_) => "retrying",
            Self::Failed(_) => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// A question to a shard: the risk profile of an agent.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) user_id: String,
    pub(crate) agent_id: String,
    /// Takes the profile's JSON as of the last commit.
    pub(crate) answer: Sender<Option<Vec<u8>>>,
}

/// An answer that waits until the batches that it shows are committed.
#[derive(Debug)]
struct Answer {
    /// So many batches have to be committed.
    until: u64,
    to: Sender<Option<Vec<u8>>>,
    profile: Option<Vec<u8>>,
}

/// What a shard's threads share with the instance.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) partition: i32,
    series: PartitionMetrics,
    /// Set when nothing more will be committed.
    failed: AtomicBool,
    state: Mutex<State>,
    /// Finish what was begun, then stop.
    stop: AtomicBool,
    /// Give up what cannot be committed.
    give_up: AtomicBool,
    /// Batches committed: the number of the last one, and one more.
    committed: AtomicU64,
}

impl Control {
    pub(crate) fn new(partition: i32, series: PartitionMetrics) -> Self {
        Self {
            partition,
            series,
            failed: AtomicBool::new(false),
            state: Mutex::new(State::Opening),
            stop: AtomicBool::new(false),
            give_up: AtomicBool::new(false),
            committed: AtomicU64::new(0),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn series(&self) -> &PartitionMetrics {
        &self.series
    }

    /// Whether nothing more will be committed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn set_state(&self, state: State) {
        self.series.state(match &state {
            State::Opening => PartitionState::Opening,
            State::Recovering | State::WaitingForMandates => PartitionState::Recovering,
            State::Live => PartitionState::Live,
            State::Retrying(_) => PartitionState::Retrying,
            State::Failed(_) => PartitionState::Failed,
            State::Stopped => PartitionState::Leaving,
        });
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub(crate) fn give_up(&self) {
        self.stop();
        self.give_up.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn has_given_up(&self) -> bool {
        self.give_up.load(Ordering::Acquire)
    }

    /// Batches committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }
}

/// What a live shard works with.
pub(crate) struct Surroundings<'a> {
    pub(crate) control: &'a Control,
    pub(crate) registry: &'a Registry,
    pub(crate) ends: Option<&'a dyn MandateEnds>,
    pub(crate) metrics: &'a Metrics,
    pub(crate) queries: &'a Receiver<Query>,
    pub(crate) store: Option<Arc<Store>>,
    pub(crate) journal: Box<dyn Partition>,
}

/// A batch on its way to the log.
struct Commit {
    output: Output,
    tally: Tally,
    /// Time that the engine took.
    engine: Duration,
}

/// Decides what `source` gives until the shard is told to stop; gives the error that stopped it otherwise.
pub(crate) fn run(
    mut keeper: Keeper,
    snapshot: Option<&Manifest>,
    (mut source, sink): weir_log::Live,
    around: Surroundings<'_>,
) -> Result<(), ServiceError> {
    let (to_commit, commits) = sync_channel(0);
    let (to_reuse, reuse) = channel();
    let Surroundings { control, registry, ends, metrics, queries, store, journal } = around;
    control.failed.store(false, Ordering::Release);
    control.committed.store(keeper.standing().map_or(0, |standing| standing.sequence + 1), Ordering::Release);
    thread::scope(|scope| {
        let committer = Committer { sink, control, metrics };
        let commit = move || {
            let committed = committer.run(&commits, &to_reuse);
            control.failed.store(true, Ordering::Release);
            committed
        };
        let name = format!("commit-{}", control.partition);
        let committing = thread::Builder::new().name(name).spawn_scoped(scope, commit);
        let committing = committing.map_err(|error| ServiceError::Halted(format!("no thread: {error}")))?;
        let checkpoints = Checkpoints::new(scope, &mut keeper, snapshot, store, journal, control, metrics);
        let mut decider = Decider {
            keeper: &mut keeper,
            control,
            registry,
            ends,
            queries,
            to_commit,
            reuse,
            checkpoints,
            waiting: VecDeque::new(),
            looked: Instant::now(),
            told: Instant::now(),
            idle: true,
        };
        let decided = decider.run(&mut *source);
        let Decider { to_commit, checkpoints, .. } = decider;
        drop(to_commit);
        let committed = committing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Some(error) = committed.as_ref().err().or(decided.as_ref().err()) {
            // What is being written of a snapshot is waited for below, and health must not say live meanwhile.
            control.set_state(State::Retrying(error.to_string()));
        }
        checkpoints.finish(&mut keeper, committed.is_ok() && decided.is_ok());
        committed.and(decided)
    })
}

/// The thread that decides.
struct Decider<'a> {
    keeper: &'a mut Keeper,
    control: &'a Control,
    registry: &'a Registry,
    ends: Option<&'a dyn MandateEnds>,
    queries: &'a Receiver<Query>,
    to_commit: SyncSender<Commit>,
    reuse: Receiver<Output>,
    checkpoints: Checkpoints,
    waiting: VecDeque<Answer>,
    looked: Instant,
    told: Instant,
    idle: bool,
}

impl Decider<'_> {
    fn run(&mut self, source: &mut dyn Source) -> Result<(), ServiceError> {
        while !self.control.is_stopping() {
            if self.control.has_failed() {
                // The committer tells why.
                return Err(LogError::Stopped.into());
            }
            if let Some(why) = self.registry.trouble() {
                return Err(ServiceError::Halted(why));
            }
            if self.keeper.is_behind(self.registry) && self.decide_nothing(source)? {
                self.look_after(source);
                continue;
            }
            let records = source.poll(self.keeper.settings.batch_records_max.max(1), self.wait())?;
            self.idle = records.as_ref().is_none_or(|records| records.is_empty());
            match records {
                Some(records) => drop(self.decide(&*records, true)?),
                None if self.is_due() => drop(self.decide_nothing(source)?),
                None => {}
            }
            self.look_after(source);
        }
        Ok(())
    }

    /// What is to be done beside deciding.
    fn look_after(&mut self, source: &mut dyn Source) {
        if let Some(lag) = source.lag() {
            self.control.series().lag(lag);
        }
        self.tell_sizes();
        self.answer();
        self.checkpoints.go_on(self.keeper, self.idle);
    }

    /// How long to wait for records; how long to wait for more of them once some are there, the log knows best.
    fn wait(&self) -> Duration {
        if self.checkpoints.is_running() && self.idle { Duration::ZERO } else { POLL_WAIT }
    }

    fn is_due(&mut self) -> bool {
        if self.looked.elapsed() < IDLE_LOOK {
            return false;
        }
        self.looked = Instant::now();
        self.keeper.is_due(self.registry)
    }

    /// Commits what there is beside records; says whether there is more of it.
    fn decide_nothing(&mut self, source: &mut dyn Source) -> Result<bool, ServiceError> {
        match source.without_records()? {
            Some(records) => self.decide(&*records, true),
            None => self.decide(&Vec::new(), false),
        }
    }

    /// Decides records and hands the outcome over to be committed; says whether more mandates have changed than the
    /// batch took in.
    fn decide(&mut self, records: &dyn weir_log::Records, forced: bool) -> Result<bool, ServiceError> {
        let mut output = self.reuse.try_recv().unwrap_or_default();
        let begun = Instant::now();
        let Some(tally) = self.keeper.decide(records, self.registry, self.ends, forced, &mut output)? else {
            return Ok(false);
        };
        let more = tally.more;
        let commit = Commit { output, tally, engine: begun.elapsed() };
        // The committer stops only for an error, which is told by joining it.
        self.to_commit.send(commit).map_err(|_| LogError::Stopped)?;
        Ok(more)
    }

    /// Tells the metrics how large the shard is, once a second.
    fn tell_sizes(&mut self) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let (series, keeper) = (self.control.series(), &*self.keeper);
        let mandates = keeper.shard.mandate_versions().size_hint().0;
        series.sizes(keeper.shard.agents_seen(), mandates, keeper.intake.remembered());
        if let Some(watermark_us) = keeper.watermark_us() {
            series.watermark(watermark_us);
        }
        series.bounds_reached(&keeper.shard.bounds_reached());
    }

    /// Answers questions with what is committed.
    fn answer(&mut self) {
        while let Ok(Query { user_id, agent_id, answer }) = self.queries.try_recv() {
            let until = self.keeper.standing().map_or(0, |standing| standing.sequence + 1);
            let profile = self.keeper.profile(&user_id, &agent_id);
            self.waiting.push_back(Answer { until, to: answer, profile });
        }
        let committed = self.control.committed();
        while let Some(answer) = self.waiting.pop_front_if(|answer| answer.until <= committed) {
            // Whoever asked may have gone away.
            let _ = answer.to.send(answer.profile);
        }
    }
}

/// The thread that commits.
struct Committer<'a> {
    sink: Box<dyn Sink>,
    control: &'a Control,
    metrics: &'a Metrics,
}

impl Committer<'_> {
    fn run(mut self, commits: &Receiver<Commit>, reuse: &Sender<Output>) -> Result<(), ServiceError> {
        for Commit { output, tally, engine } in commits {
            let begun = Instant::now();
            self.commit(&output)?;
            let took = begun.elapsed();
            self.control.committed.store(output.sequence + 1, Ordering::Release);
            self.metrics.committed(self.control.series(), &tally.counts, engine, took, now_us());
            if tally.waited {
                self.metrics.mandate_waited();
            }
            // The decider may be gone already.
            let _ = reuse.send(output);
        }
        Ok(())
    }

    fn commit(&mut self, output: &Output) -> Result<(), ServiceError> {
        let retried = AtomicBool::new(false);
        let retrying = |why: &str| {
            if !retried.swap(true, Ordering::Relaxed) {
                tracing::warn!(partition = self.control.partition, why, "commit is tried again");
            }
            self.metrics.commit_retried();
            self.control.set_state(State::Retrying(why.to_owned()));
            if self.control.has_given_up() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.sink.commit(output, &retrying)?;
        if retried.into_inner() {
            self.control.set_state(State::Live);
        }
        Ok(())
    }
}
