//! A stream through codec, intake and shards, one record at a time.

use std::collections::{BTreeSet, VecDeque};
use std::io::Cursor;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use weir_detectors::Bound;
use weir_detectors::hash::name_hash;
use weir_detectors::risk::VIEWS;
use weir_engine::{
    Admission, Ahead, BoundReached, Config, Intake, MandateChange, RestoreError, Schedule, Shard, Slice,
    Tables, TransactionViews, rows_sorted,
};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::view::{Row, View};
use weir_events::{Alert, Decision, Mandate, MandateRecord, RejectCode, RiskProfile, Transaction, Verdict};

use crate::{Stream, same};

/// What became of one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Its decision, as JSON.
    Decision {
        /// The decision record.
        json: String,
        /// Whether it counted as late.
        late: bool,
    },
    /// Dropped.
    Duplicate,
    /// Not usable.
    Reject(RejectCode),
}

/// What one record led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What became of it.
    pub told: Told,
    /// What its episodes told.
    pub alerts: Vec<Alert>,
}

impl Step {
    /// The decision record, if there is one.
    #[must_use]
    pub fn decision(&self) -> Option<&str> {
        match &self.told {
            Told::Decision { json, .. } => Some(json),
            _ => None,
        }
    }
}

/// What a stream has come to.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Rows by view, each in its order. The two views with a row per transaction cover what was decided
    /// since the start of this [`Weir`].
    pub views: Vec<(&'static str, Vec<Row>)>,
    /// The risk profile of every agent, sorted.
    pub profiles: Vec<RiskProfile<'static>>,
    /// Agents, and users (without an agent), whose rows may be incomplete.
    pub incomplete: BTreeSet<(Option<String>, String)>,
    /// Bounds that were reached, with the number of keys.
    pub reached: Vec<(Bound, u64)>,
}

impl End {
    /// Fails with what differs unless both ends are equal.
    ///
    /// # Errors
    /// When they differ.
    pub fn same(&self, other: &Self) -> Result<(), String> {
        self.same_views(other)?;
        for (left, right) in self.profiles.iter().zip(&other.profiles) {
            same("the profiles", left, right)?;
        }
        same("the numbers of profiles", &self.profiles.len(), &other.profiles.len())?;
        same("the incomplete keys", &self.incomplete, &other.incomplete)
    }

    /// Fails with what differs unless the rows of all views are equal.
    ///
    /// # Errors
    /// When they differ.
    pub fn same_views(&self, other: &Self) -> Result<(), String> {
        for ((name, left), (_, right)) in self.views.iter().zip(&other.views) {
            same(&format!("the rows of {name}"), left, right)?;
        }
        same("the numbers of views", &self.views.len(), &other.views.len())
    }
}

/// Intake, schedule of mandates and shards of one stream.
#[derive(Debug)]
pub struct Weir {
    config: Config,
    digest: String,
    intake: Intake,
    schedule: Schedule,
    shards: Vec<Shard>,
    views: TransactionViews,
    scope_rows: Vec<Row>,
    window_rows: Vec<Row>,
    verdict: Verdict,
    /// What was found ahead of the next transactions.
    ahead: VecDeque<Ahead>,
    /// Numbers of the agents whose profiles have changed, as the first shard tells it.
    stale: BTreeSet<u32>,
    /// Mandate records that could not be read.
    pub mandate_rejects: usize,
}

impl Weir {
    /// Before the first transaction. `seed` spreads the hash tables, so that two runs with different
    /// seeds show whether anything printed follows their order.
    ///
    /// # Errors
    /// When there are more mandates than the configuration allows.
    pub fn new(
        config: &Config,
        mandates: &[impl AsRef<[u8]>],
        shards: usize,
        seed: u64,
    ) -> Result<Self, BoundReached> {
        let mut weir = Self::without_mandates(config, shards, seed);
        weir.schedule(mandates);
        weir.put_in_force(None)?;
        Ok(weir)
    }

    /// Prepares all records of the mandates.
    fn schedule(&mut self, mandates: &[impl AsRef<[u8]>]) {
        let parsed = mandates.iter().map(|line| parse_mandate(line.as_ref(), self.config.base_currency.0));
        let changes: Vec<MandateChange> =
            parsed.filter_map(Result::ok).map(|record| self.shards[0].prepare(&record)).collect();
        self.mandate_rejects = mandates.len() - changes.len();
        self.views = TransactionViews::new(&self.shards[0], &changes);
        self.schedule = Schedule::new(changes);
    }

    fn put_in_force(&mut self, greatest_us: Option<i64>) -> Result<(), BoundReached> {
        for change in self.schedule.take_due(greatest_us) {
            for shard in &mut self.shards {
                shard.apply(&change)?;
            }
            self.stale.extend(self.shards[0].agents_of_mandate(change.mandate_id()));
        }
        Ok(())
    }

    fn without_mandates(config: &Config, shards: usize, seed: u64) -> Self {
        let shards: Vec<Shard> = (0..shards).map(|_| Shard::new(config, seed)).collect();
        Self {
            config: config.clone(),
            digest: config.digest(),
            intake: Intake::new(config, seed),
            schedule: Schedule::default(),
            views: TransactionViews::new(&shards[0], &[]),
            shards,
            scope_rows: Vec::new(),
            window_rows: Vec::new(),
            verdict: Verdict::default(),
            ahead: VecDeque::new(),
            stale: BTreeSet::new(),
            mandate_rejects: 0,
        }
    }

    /// From a snapshot, as another process would: with the same mandates, of which those that are due are
    /// in the snapshot already.
    ///
    /// # Errors
    /// When the snapshot cannot be restored.
    pub fn restored(
        config: &Config,
        mandates: &[impl AsRef<[u8]>],
        tables: &Tables,
        seed: u64,
    ) -> Result<Self, RestoreError> {
        let mut weir = Self::without_mandates(config, 1, seed);
        weir.schedule(mandates);
        let (shard, intake) = Shard::restore(config, seed, tables)?;
        drop(weir.schedule.take_due(intake.greatest_us()));
        (weir.shards, weir.intake) = (vec![shard], intake);
        Ok(weir)
    }

    /// The state of a single shard and its intake.
    #[must_use]
    pub fn snapshot(&self) -> Tables {
        assert_eq!(self.shards.len(), 1);
        self.shards[0].snapshot(&self.intake).unwrap()
    }

    /// Notes from here on what changes.
    pub fn track_changes(&mut self) {
        self.shards.iter_mut().for_each(Shard::track_changes);
        self.intake.track_changes();
    }

    /// Begins a checkpoint of the single shard.
    pub fn begin_checkpoint(&mut self) {
        self.shards[0].begin_checkpoint(&mut self.intake);
    }

    /// The next slice of the checkpoint.
    pub fn continue_checkpoint(&mut self, rows: usize) -> Slice {
        self.shards[0].continue_checkpoint(rows).unwrap()
    }

    /// The latest checkpoint is kept.
    pub fn checkpoint_kept(&mut self) {
        self.shards[0].checkpoint_kept();
    }

    /// Goes on under another configuration, with the same mandates to come.
    pub fn reconfigure(&mut self, config: &Config, mandates: &[impl AsRef<[u8]>]) {
        (self.config, self.digest) = (config.clone(), config.digest());
        self.shards.iter_mut().for_each(|shard| shard.reconfigure(config));
        self.intake.reconfigure(config);
        self.schedule(mandates);
        drop(self.schedule.take_due(self.intake.greatest_us()));
    }

    /// The first shard.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shards[0]
    }

    /// The agents of the single shard whose profiles have changed since this was last asked for.
    pub fn take_stale(&mut self) -> BTreeSet<u32> {
        assert_eq!(self.shards.len(), 1);
        std::mem::take(&mut self.stale)
    }

    /// Looks the records up that come next, as a replay does, with a single shard.
    pub fn look_ahead(&mut self, lines: &[impl AsRef<[u8]>]) {
        let parsed = lines.iter().map(|line| parse_transaction(line.as_ref(), self.config.base_currency.0));
        let transactions: Vec<Transaction<'_>> = parsed.filter_map(Result::ok).collect();
        self.intake.look_ahead(transactions.iter().map(Intake::key));
        let mut ahead = Vec::new();
        self.shards[0].look_ahead(transactions.iter(), &mut ahead);
        self.ahead = ahead.into();
    }

    /// The next record of the stream.
    ///
    /// # Errors
    /// When the shard has as many agents or mandates as it may.
    pub fn step(&mut self, line: &[u8]) -> Result<Step, BoundReached> {
        let reject = |code| Ok(Step { told: Told::Reject(code), alerts: Vec::new() });
        let tx = match parse_transaction(line, self.config.base_currency.0) {
            Ok(tx) => tx,
            Err(fault) => return reject(fault.code),
        };
        let ahead = self.ahead.pop_front();
        let admission = self.intake.admit(&tx, Intake::key(&tx));
        self.put_in_force(self.intake.greatest_us())?;
        let stamp = match admission {
            Admission::New(stamp) => stamp,
            Admission::Duplicate => return Ok(Step { told: Told::Duplicate, alerts: Vec::new() }),
            Admission::Rejected(fault) => return reject(fault.code),
        };
        let mut alerts = Vec::new();
        let of_user = usize::try_from(name_hash(tx.user_id.as_bytes()) % self.shards.len() as u64).unwrap();
        let (shard, verdict) = (&mut self.shards[of_user], &mut self.verdict);
        let changed = match ahead {
            Some(ahead) => shard.decide_ahead(&tx, &ahead, &stamp, verdict, &mut alerts)?,
            None => shard.decide(&tx, &stamp, verdict, &mut alerts)?,
        };
        self.stale.insert(changed.agent);
        if changed.whole_user {
            self.stale.extend(shard.agents_of_user(changed.user));
        }
        let (scope_row, window_row) = self.views.rows(&tx);
        self.scope_rows.extend(scope_row);
        self.window_rows.extend(window_row);
        let decision = Decision { transaction: &tx, verdict: &self.verdict, config_digest: &self.digest };
        let mut json = Vec::new();
        decision.write(&mut json);
        let json = String::from_utf8(json).unwrap();
        Ok(Step { told: Told::Decision { json, late: stamp.late }, alerts })
    }

    /// Puts a mandate in force, whatever the schedule says.
    ///
    /// # Errors
    /// When there are more mandates than the configuration allows.
    pub fn apply(&mut self, record: &MandateRecord) -> Result<(), BoundReached> {
        let change = self.shards[0].prepare(record);
        self.shards.iter_mut().try_for_each(|shard| shard.apply(&change))
    }

    /// The mandates as they stand in the end.
    pub fn newest(&self) -> impl Iterator<Item = Mandate> {
        self.views.mandates()
    }

    /// Brings the mandates to their newest state and gives views and profiles.
    ///
    /// # Errors
    /// When there are more mandates than the configuration allows.
    pub fn end(&mut self) -> Result<End, BoundReached> {
        self.put_in_force(Some(i64::MAX))?;
        let views = VIEWS.iter().map(|view| (view.name, self.rows(view))).collect();
        let profiles = self.shards.iter().flat_map(Shard::profiles);
        let mut profiles: Vec<RiskProfile<'static>> = profiles.map(RiskProfile::into_owned).collect();
        profiles.sort_by(|a, b| (&a.agent_id, &a.user_id).cmp(&(&b.agent_id, &b.user_id)));
        let incomplete = self.shards.iter().flat_map(Shard::incomplete).collect();
        let reached = self.shards.iter().flat_map(Shard::bounds_reached).collect();
        Ok(End { views, profiles, incomplete, reached })
    }

    fn rows(&self, view: &View) -> Vec<Row> {
        let rows = match view.name {
            "scope" => self.scope_rows.clone(),
            "replay_window" => self.window_rows.clone(),
            _ => self.shards.iter().flat_map(|shard| shard.rows(view)).collect(),
        };
        rows_sorted(rows, view)
    }
}

/// A whole stream: what each record led to, and the engine at its end.
///
/// # Panics
/// When a bound on agents or mandates is met, which the streams never do.
#[must_use]
pub fn run(stream: &Stream, shards: usize, seed: u64) -> (Vec<Step>, Weir) {
    let mut weir = Weir::new(&stream.config, &stream.mandates, shards, seed).unwrap();
    let steps = stream.transactions.iter().map(|line| weir.step(line.as_bytes()).unwrap()).collect();
    (steps, weir)
}

/// A snapshot after it was written to Arrow IPC streams and read from them again.
#[must_use]
pub fn serialized(tables: &Tables) -> Tables {
    let reread = |batches: &Vec<arrow::array::RecordBatch>| {
        let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        let bytes = writer.into_inner().unwrap();
        let reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
        reader.map(Result::unwrap).collect()
    };
    tables.iter().map(|(name, batches)| (*name, reread(batches))).collect()
}
