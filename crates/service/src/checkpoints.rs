//! Snapshots of a live shard: begun between two batches, encoded in slices, written by a thread of their own.
//!
//! What is written is the state after a batch; the manifest, which makes it a snapshot, comes last and only when
//! the committed journal shows that batch with its digest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use weir_engine::STATE_VERSION;
use weir_log::{Feed, LogError, Partition};

use crate::clock::now_us;
use crate::error::ServiceError;
use crate::keeper::{Keeper, Standing};
use crate::live::Control;
use crate::metrics::Metrics;
use crate::recovery::JournalReader;
use crate::snapshots::{Manifest, Published, Store, Taken, Writer};

/// Rows encoded between two batches: some milliseconds.
const SLICE_ROWS: usize = 1_000;
/// Rows encoded at a time while the stream rests.
const IDLE_SLICE_ROWS: usize = 4_000;
/// Slices that wait to be written, at most, while the stream goes on: encoding then waits for the store.
const WAITING_SLICES_MAX: usize = 64;

/// How long a snapshot waits for the commit of the batch that it shows.
const COMMIT_WAIT: Duration = Duration::from_secs(60);

/// How soon after a commit readers see it, at least and at most: a busy broker takes its time.
const SEEN_AFTER: Duration = Duration::from_millis(100);
/// As above.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// What the writing thread is told.
enum Job {
    /// A checkpoint begins.
    Begin,
    /// A part of it.
    Add(Vec<(&'static str, RecordBatch)>),
    /// It is whole: publish it.
    Publish(Box<Taken>),
}

/// The deciding thread's side of snapshots.
pub struct Checkpoints {
    /// `None` where there is no store.
    jobs: Option<Sender<Job>>,
    /// Jobs that the writing thread has not taken yet.
    waiting: Arc<AtomicUsize>,
    published: Receiver<bool>,
    every: Duration,
    begun: Instant,
    /// Where the shard stood when the running checkpoint began.
    running: Option<Box<Taken>>,
    /// Whether the writing thread has one to publish.
    writing: bool,
    /// The batch that the last snapshot shows, and the one that the next will if it is written.
    shown: Option<u64>,
    sent: Option<u64>,
}

impl Checkpoints {
    /// Makes a shard ready for snapshots, the last of which is `snapshot`.
    pub(crate) fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        keeper: &mut Keeper,
        snapshot: Option<&Manifest>,
        store: Option<Arc<Store>>,
        journal: Box<dyn Partition>,
        control: &'scope Control,
        metrics: &'scope Metrics,
    ) -> Self {
        let (checkpoints, writing) = Self::apart(keeper, snapshot, store);
        if let Some(writing) = writing {
            let writing = Writing { seen_within: SEEN_WITHIN, ..writing };
            let background = Background { writing, journal, control, metrics, begun: Instant::now() };
            scope.spawn(move || background.run());
        }
        checkpoints
    }

    /// The two sides without a thread, for who steps through both. Without a store there is nothing to write.
    #[must_use]
    pub fn apart(
        keeper: &Keeper,
        snapshot: Option<&Manifest>,
        store: Option<Arc<Store>>,
    ) -> (Self, Option<Writing>) {
        let (told, published) = channel();
        let (mut jobs, mut writing) = (None, None);
        let waiting = Arc::new(AtomicUsize::new(0));
        if let Some(store) = store {
            let mut writer = Writer::new(store, keeper.partition);
            if let Some(manifest) = snapshot {
                writer.resume(manifest);
            }
            let (to_writer, from_decider) = channel();
            let from = snapshot.map_or(0, |manifest| manifest.journal_offset);
            let on_one_machine = keeper.settings.has_own_log();
            let seen_within = Duration::ZERO;
            writing = Some(Writing {
                writer,
                from,
                jobs: from_decider,
                waiting: Arc::clone(&waiting),
                told,
                sound: true,
                on_one_machine,
                seen_within,
            });
            jobs = Some(to_writer);
        }
        let shown = snapshot.map(|manifest| manifest.sequence);
        let every = keeper.settings.snapshots_every;
        let checkpoints = Self {
            jobs,
            waiting,
            published,
            every,
            begun: Instant::now(),
            running: None,
            writing: false,
            shown,
            sent: None,
        };
        (checkpoints, writing)
    }

    /// Whether a checkpoint is being encoded.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begins a checkpoint when it is time, or encodes the next slice of the one that runs.
    pub(crate) fn go_on(&mut self, keeper: &mut Keeper, idle: bool) {
        self.go_on_by(keeper, if idle { IDLE_SLICE_ROWS } else { SLICE_ROWS });
    }

    /// As the service does between two batches, with slices of about so many rows.
    pub fn go_on_by(&mut self, keeper: &mut Keeper, rows: usize) {
        self.take_word(keeper);
        if self.running.is_some() {
            if self.waiting.load(Ordering::Relaxed) < WAITING_SLICES_MAX {
                self.encode(keeper, rows);
            }
        } else if !self.writing && self.begun.elapsed() >= self.every {
            self.begin(keeper);
        }
    }

    /// Hears whether the last one was published.
    fn take_word(&mut self, keeper: &mut Keeper) {
        match self.published.try_recv() {
            Ok(published) => self.heard(keeper, published),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }

    fn heard(&mut self, keeper: &mut Keeper, published: bool) {
        self.writing = false;
        if published {
            self.shown = self.sent;
            keeper.shard.checkpoint_kept();
        }
    }

    fn begin(&mut self, keeper: &mut Keeper) {
        self.begun = Instant::now();
        let Some(standing) = keeper.standing() else { return };
        if self.shown == Some(standing.sequence) || self.jobs.is_none() || !keeper.is_as_journaled() {
            return;
        }
        let Some(taken) = taken(keeper, standing) else { return };
        keeper.shard.begin_checkpoint(&mut keeper.intake);
        self.running = Some(Box::new(taken));
        self.send(Job::Begin);
    }

    fn encode(&mut self, keeper: &mut Keeper, rows: usize) {
        match keeper.shard.continue_checkpoint(rows) {
            Ok(slice) => {
                self.send(Job::Add(slice.batches));
                if slice.finished
                    && let Some(taken) = self.running.take()
                {
                    self.sent = Some(taken.sequence);
                    self.writing = true;
                    self.send(Job::Publish(taken));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot was given up");
                self.running = None;
            }
        }
    }

    fn send(&self, job: Job) {
        // A writer that is gone has told why.
        if let Some(jobs) = &self.jobs {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let _ = jobs.send(job);
        }
    }

    /// After the last batch: with everything committed, leaves a snapshot at the journal's end.
    pub fn finish(mut self, keeper: &mut Keeper, committed: bool) {
        if !committed || self.jobs.is_none() {
            return;
        }
        // One that runs is of the past; the end is what the next start wants.
        self.running = None;
        if self.writing
            && let Ok(published) = self.published.recv()
        {
            self.heard(keeper, published);
        }
        self.begin(keeper);
        while self.running.is_some() {
            self.encode(keeper, IDLE_SLICE_ROWS);
        }
    }
}

fn taken(keeper: &Keeper, standing: Standing) -> Option<Taken> {
    let config = keeper.shard.config();
    Some(Taken {
        state_version: STATE_VERSION,
        partition: keeper.partition,
        partitions: keeper.partitions,
        sequence: standing.sequence,
        digest: standing.digest.hex(),
        position: standing.position,
        config: serde_json::to_value(config).ok()?,
        config_digest: config.digest(),
        mandates_rejected_to: standing.rejected_to.unwrap_or_default(),
    })
}

/// The side that writes.
pub struct Writing {
    writer: Writer,
    /// Offset of a batch entry of the journal, not past those to come.
    from: i64,
    jobs: Receiver<Job>,
    waiting: Arc<AtomicUsize>,
    told: Sender<bool>,
    /// Whether the running snapshot can still be published.
    sound: bool,
    /// Whether log and snapshots are on one machine anyway.
    on_one_machine: bool,
    /// How long the journal is asked for a batch that was committed.
    seen_within: Duration,
}

impl Writing {
    /// Does all that waits to be done, and gives what was published; the last error otherwise. `wait` returns once
    /// the batch that a snapshot shows is committed, or fails.
    ///
    /// # Errors
    /// When a snapshot was not written. The next takes all that it would have taken.
    pub fn catch_up(
        &mut self,
        journal: &mut dyn Partition,
        wait: &dyn Fn(&Taken) -> Result<(), ServiceError>,
    ) -> Result<Option<Published>, ServiceError> {
        let mut result = Ok(None);
        while let Ok(job) = self.jobs.try_recv() {
            match self.work(job, journal, wait) {
                Ok(None) => {}
                done => result = done,
            }
        }
        result
    }

    fn work(
        &mut self,
        job: Job,
        journal: &mut dyn Partition,
        wait: &dyn Fn(&Taken) -> Result<(), ServiceError>,
    ) -> Result<Option<Published>, ServiceError> {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match job {
            Job::Begin => {
                self.sound = false;
                self.writer.begin()?;
                self.sound = true;
            }
            Job::Add(batches) if self.sound => {
                self.sound = false;
                batches.iter().try_for_each(|(table, batch)| self.writer.add(table, batch))?;
                self.sound = true;
            }
            Job::Add(_) => {}
            Job::Publish(taken) => {
                let published =
                    if self.sound { self.publish(&taken, journal, wait).map(Some) } else { Ok(None) };
                // The deciding thread may have stopped.
                let _ = self.told.send(matches!(published, Ok(Some(_))));
                return published;
            }
        }
        Ok(None)
    }

    fn publish(
        &mut self,
        taken: &Taken,
        journal: &mut dyn Partition,
        wait: &dyn Fn(&Taken) -> Result<(), ServiceError>,
    ) -> Result<Published, ServiceError> {
        wait(taken)?;
        let begun = Instant::now();
        let offset = loop {
            match self.find(taken, journal) {
                Err(ServiceError::Irreproducible(_)) if begun.elapsed() < self.seen_within => {
                    thread::sleep(SEEN_AFTER);
                }
                found => break found?,
            }
        };
        let published = self.writer.finish(taken, offset)?;
        self.from = offset;
        // What only this machine has, another could not recover from; the embedded log is on this machine itself.
        let journal_from = match published.journal_needed_from {
            None if self.on_one_machine => Some(published.oldest_journal_offset),
            needed_from => needed_from,
        };
        if let Some(journal_from) = journal_from
            && let Err(error) = journal.forget_before(journal_from, published.oldest_position)
        {
            tracing::warn!(partition = taken.partition, %error, "the journal was not shortened");
        }
        Ok(published)
    }

    /// Offset of the batch in the committed journal, which must show the digest that the shard computed.
    fn find(&mut self, taken: &Taken, journal: &mut dyn Partition) -> Result<i64, ServiceError> {
        let mut journal = JournalReader::new(journal.read(Feed::Journal, self.from)?, None);
        while let Some(batch) = journal.next_batch()? {
            if batch.entry.sequence == taken.sequence && batch.digest.hex() == taken.digest {
                return Ok(batch.offset);
            }
        }
        let why = format!("the committed journal does not show batch {} with its digest", taken.sequence);
        Err(ServiceError::Irreproducible(why))
    }
}

/// The thread that writes.
struct Background<'a> {
    writing: Writing,
    journal: Box<dyn Partition>,
    control: &'a Control,
    metrics: &'a Metrics,
    begun: Instant,
}

impl Background<'_> {
    fn run(mut self) {
        while let Ok(job) = self.writing.jobs.recv() {
            if matches!(job, Job::Begin) {
                self.begun = Instant::now();
            }
            let control = self.control;
            match self.writing.work(job, &mut *self.journal, &|taken| wait_for_commit(control, taken)) {
                Ok(None) => {}
                Ok(Some(published)) => {
                    self.tell(&published.manifest);
                    self.tidy();
                }
                Err(error) => {
                    let partition = self.control.partition;
                    tracing::warn!(partition, %error, "no snapshot was written; the next is tried");
                }
            }
        }
    }

    /// Merges what has piled up, where nothing waits for it.
    fn tidy(&mut self) {
        if !self.control.is_stopping()
            && let Err(error) = self.writing.writer.tidy()
        {
            tracing::warn!(partition = self.control.partition, %error, "snapshots were not merged");
        }
    }

    fn tell(&self, manifest: &Manifest) {
        self.metrics.snapshot_written(self.control.series(), self.begun.elapsed());
        self.control.series().snapshot_is_of(now_us());
        tracing::info!(
            partition = manifest.partition,
            sequence = manifest.sequence,
            seconds = self.begun.elapsed().as_secs_f64(),
            "snapshot written"
        );
    }
}

fn wait_for_commit(control: &Control, taken: &Taken) -> Result<(), ServiceError> {
    let until = Instant::now() + COMMIT_WAIT;
    while control.committed() <= taken.sequence {
        if Instant::now() >= until || control.has_failed() {
            return Err(LogError::Unavailable("its batch was not committed".to_owned()).into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    // A commit is acknowledged a little before readers of committed records see it.
    thread::sleep(SEEN_AFTER);
    Ok(())
}
