//! From blocks of records to decisions in the order of arrival.

use std::collections::HashSet;
use std::thread;

use anyhow::Result;
use indicatif::ProgressBar;
use weir_detectors::Bound;
use weir_detectors::hash::name_hash;
use weir_engine::{
    AHEAD_MAX, Admission, Ahead, BoundReached, Config, Intake, MandateChange, Schedule, Shard, Stamp,
    TransactionViews,
};
use weir_events::codec::parse_transaction;
use weir_events::reject::{Fault, Reject};
use weir_events::view::{Row, View};
use weir_events::{Alert, Decision, RiskProfile, Transaction, Verdict};
use weir_history::records::{Block, Line, Records};

use super::inputs::{Mandates, rejected};
use super::merged_rows;
use super::output::Output;
use super::summary::{Summary, Tally};
use super::verify::Verifier;

/// A stream on its way through intake and shards.
#[derive(Debug)]
pub(super) struct Pipeline {
    config: Config,
    /// The transactions' file, as named by the user.
    file: String,
    digest: String,
    intake: Intake,
    schedule: Schedule,
    workers: Vec<Worker>,
    transaction_views: TransactionViews,
    scope_rows: Vec<Row>,
    window_rows: Vec<Row>,
    summary: Summary,
}

/// One thread's share of the users, and what it has to tell of the current part.
#[derive(Debug)]
struct Worker {
    shard: Shard,
    verdict: Verdict,
    tally: Tally,
    ahead: Vec<Ahead>,
    decided: Decided,
}

/// What a worker decided: lines of a block, and by position in its current part the rest.
#[derive(Debug, Default)]
struct Decided {
    lines: Vec<u8>,
    /// Where the lines of the current part begin.
    start: usize,
    /// Position and end of each line.
    ends: Vec<(usize, usize)>,
    alerts: Vec<Alert>,
    /// Position of each alert's transaction.
    alerts_at: Vec<usize>,
}

/// Records that a single worker takes at a time: what one step leaves behind is still near when the next
/// one reads it. Several workers take a whole block, so that waking them is worth it.
const PART_RECORDS: usize = 256;

/// Some records of a block on their way: each parsed, then with what the intake said of it.
#[derive(Default)]
struct Part<'b> {
    parsed: Vec<Result<Transaction<'b>, Option<Fault>>>,
    fates: Vec<Fate>,
    /// Mandates that change, each with the position from which it is in force.
    changes: Vec<(usize, MandateChange)>,
}

/// What the intake said of a record.
enum Fate {
    /// To be decided by the worker with this number.
    New { stamp: Stamp, worker: usize },
    /// Dropped.
    Duplicate,
    /// Rejected by the intake, or not parsed in the first place.
    Faulty(Option<Fault>),
}

/// A pipeline at the end of its stream.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) summary: Summary,
    pub(super) transaction_views: TransactionViews,
    /// Agents, and users (without an agent), whose rows may be incomplete.
    pub(super) incomplete: HashSet<(Option<String>, String)>,
    shards: Vec<Shard>,
    scope_rows: Vec<Row>,
    window_rows: Vec<Row>,
}

impl Pipeline {
    pub(super) fn new(config: &Config, threads: usize, file: String, mandates: Mandates) -> Result<Self> {
        let seed = crate::hash_seed();
        let shard = Shard::new(config, seed);
        let worker = || Worker {
            shard: shard.clone(),
            verdict: Verdict::default(),
            tally: Tally::default(),
            ahead: Vec::new(),
            decided: Decided::default(),
        };
        let workers: Vec<Worker> = std::iter::repeat_with(worker).take(threads).collect();
        let mut summary = Summary { config_digest: config.digest(), ..Summary::default() };
        summary.mandates.records = (mandates.records.len() + mandates.faults.len()) as u64;
        summary.mandates.rejects = mandates.faults.len() as u64;
        mandates.faults.iter().for_each(|fault| summary.count_reject(fault.code));
        let changes: Vec<MandateChange> =
            mandates.records.into_iter().map(|record| shard.prepare(&record)).collect();
        let transaction_views = TransactionViews::new(&shard, &changes);
        let mut pipeline = Self {
            config: config.clone(),
            file,
            digest: config.digest(),
            intake: Intake::new(config, seed),
            schedule: Schedule::new(changes),
            workers,
            transaction_views,
            scope_rows: Vec::new(),
            window_rows: Vec::new(),
            summary,
        };
        pipeline.put_in_force(None)?;
        Ok(pipeline)
    }

    /// Decides everything that `records` gives.
    pub(super) fn run(
        &mut self,
        records: &mut dyn Records,
        output: &mut Output,
        mut verifier: Option<&mut Verifier>,
        bar: &ProgressBar,
    ) -> Result<()> {
        let mut block = Block::default();
        while records.next_block(&mut block)? {
            self.decide_block(&block, output, verifier.as_deref_mut())?;
            bar.set_position(records.bytes_read());
            bar.set_message(format!("{} decided", self.summary.transactions.records));
        }
        Ok(())
    }

    fn decide_block(
        &mut self,
        block: &Block,
        output: &mut Output,
        mut verifier: Option<&mut Verifier>,
    ) -> Result<()> {
        let alone = self.workers.len() == 1;
        self.workers.iter_mut().for_each(|worker| worker.decided.lines.clear());
        for lines in block.lines().chunks(if alone { PART_RECORDS } else { usize::MAX }) {
            let mut part = Part { parsed: self.parse(block, lines), ..Part::default() };
            self.admit(&mut part);
            self.decide(&part)?;
            self.write(block, lines, &part, output, verifier.as_deref_mut())?;
        }
        // The lines of a single worker are in order as they are.
        match self.workers.as_mut_slice() {
            [worker] => output.take_decisions(&mut worker.decided.lines),
            _ => Ok(()),
        }
    }

    /// Parses lines of a block, in as many parts as there are workers.
    fn parse<'b>(&self, block: &'b Block, lines: &'b [Line]) -> Vec<Result<Transaction<'b>, Option<Fault>>> {
        let base = self.config.base_currency.0;
        let parse = move |lines: &'b [Line]| -> Vec<_> {
            let one = |line: &'b Line| match line.oversized {
                Some(_) => Err(None),
                None => parse_transaction(block.text(line), base).map_err(Some),
            };
            lines.iter().map(one).collect()
        };
        if self.workers.len() == 1 {
            return parse(lines);
        }
        let share = lines.len().div_ceil(self.workers.len()).max(1);
        thread::scope(|scope| {
            let parts: Vec<_> = lines.chunks(share).map(|part| scope.spawn(move || parse(part))).collect();
            parts.into_iter().flat_map(|part| joined(part.join())).collect()
        })
    }

    /// Takes the records in, in the order of arrival, and finds the mandates that change among them.
    fn admit(&mut self, part: &mut Part<'_>) {
        let Part { parsed, fates, changes } = part;
        let workers = self.workers.len() as u64;
        let keys: Vec<u64> = parsed.iter().map(|parsed| parsed.as_ref().map_or(0, Intake::key)).collect();
        fates.reserve(parsed.len());
        for (at, (parsed, &key)) in parsed.iter().zip(&keys).enumerate() {
            if at % AHEAD_MAX == 0 {
                self.intake.look_ahead(keys.iter().skip(at).take(AHEAD_MAX).copied());
            }
            let Ok(tx) = parsed else {
                fates.push(Fate::Faulty(None));
                continue;
            };
            let admission = self.intake.admit(tx, key);
            let due = self.schedule.take_due(self.intake.greatest_us());
            changes.extend(due.map(|change| (at, change)));
            fates.push(match admission {
                Admission::Duplicate => Fate::Duplicate,
                Admission::Rejected(fault) => Fate::Faulty(Some(fault)),
                Admission::New(stamp) => {
                    let worker = if workers == 1 { 0 } else { name_hash(tx.user_id.as_bytes()) % workers };
                    Fate::New { stamp, worker: usize::try_from(worker).unwrap_or_default() }
                }
            });
        }
    }

    /// Lets every worker decide its users' transactions.
    fn decide(&mut self, part: &Part<'_>) -> Result<()> {
        let digest = &self.digest;
        if let [worker] = self.workers.as_mut_slice() {
            worker.decide(0, part, digest)?;
        } else {
            let results: Vec<Result<()>> = thread::scope(|scope| {
                let numbered = self.workers.iter_mut().enumerate();
                let running: Vec<_> = numbered
                    .map(|(number, worker)| scope.spawn(move || worker.decide(number, part, digest)))
                    .collect();
                running.into_iter().map(|worker| joined(worker.join())).collect()
            });
            results.into_iter().collect::<Result<()>>()?;
        }
        let agents: usize = self.workers.iter().map(|worker| worker.shard.agents_seen()).sum();
        let max = self.config.bounds.agents_max;
        if agents > max {
            return Err(BoundReached { bound: Bound::Agents, max }.into());
        }
        Ok(())
    }

    /// Writes what was decided, in the order of arrival; a single worker's lines wait for the block's end.
    fn write(
        &mut self,
        block: &Block,
        lines: &[Line],
        part: &Part<'_>,
        output: &mut Output,
        mut verifier: Option<&mut Verifier>,
    ) -> Result<()> {
        let alone = self.workers.len() == 1;
        let mut cursors: Vec<Cursor> =
            self.workers.iter().map(|worker| Cursor::new(&worker.decided)).collect();
        for (at, ((parsed, fate), line)) in part.parsed.iter().zip(&part.fates).zip(lines).enumerate() {
            self.summary.transactions.records += 1;
            match (parsed, fate) {
                (Ok(tx), Fate::New { stamp, worker }) => {
                    if let (Some(worker), Some(cursor)) =
                        (self.workers.get(*worker), cursors.get_mut(*worker))
                    {
                        let (line, alerts) = cursor.next(at, &worker.decided);
                        if !alone {
                            output.decisions(line)?;
                        }
                        self.summary.alerts += alerts.len() as u64;
                        alerts.iter().try_for_each(|alert| output.alert(alert))?;
                    }
                    let (scope_row, window_row) = self.transaction_views.rows(tx);
                    self.scope_rows.extend(scope_row);
                    self.window_rows.extend(window_row);
                    if let Some(verifier) = verifier.as_deref_mut() {
                        verifier.push(tx, stamp.late)?;
                    }
                }
                (_, Fate::Duplicate) => self.summary.transactions.duplicates += 1,
                (Err(fault), _) | (Ok(_), Fate::Faulty(fault)) => {
                    let reject = rejected(line, block.text(line), fault.clone(), &self.file);
                    self.reject(&reject, output)?;
                }
            }
        }
        Ok(())
    }

    fn reject(&mut self, reject: &Reject, output: &mut Output) -> Result<()> {
        self.summary.transactions.rejects += 1;
        self.summary.count_reject(reject.fault.code);
        output.reject(reject)
    }

    /// Puts the mandates in force that are due between blocks, in every shard.
    fn put_in_force(&mut self, greatest_us: Option<i64>) -> Result<(), BoundReached> {
        for change in self.schedule.take_due(greatest_us) {
            self.workers.iter_mut().try_for_each(|worker| worker.shard.apply(&change))?;
        }
        Ok(())
    }

    /// Brings the mandates to their newest state and gives the shards' state away.
    pub(super) fn finish(mut self) -> Result<Finished> {
        self.put_in_force(Some(i64::MAX))?;
        let mut summary = self.summary;
        let mut incomplete = HashSet::new();
        let mut shards = Vec::new();
        for worker in self.workers {
            summary.count(&worker.tally);
            summary.agents += worker.shard.agents_seen() as u64;
            for (bound, keys) in worker.shard.bounds_reached() {
                *summary.bounds_reached.entry(bound.name()).or_default() += keys;
            }
            incomplete.extend(worker.shard.incomplete());
            shards.push(worker.shard);
        }
        for bound in self.intake.reached().iter() {
            summary.bounds_reached.insert(bound.name(), 1);
        }
        Ok(Finished {
            summary,
            transaction_views: self.transaction_views,
            incomplete,
            shards,
            scope_rows: self.scope_rows,
            window_rows: self.window_rows,
        })
    }
}

impl Worker {
    fn decide(&mut self, number: usize, part: &Part<'_>, digest: &str) -> Result<()> {
        self.decided.begin();
        let mut changes = part.changes.iter().peekable();
        for first in (0..part.fates.len()).step_by(AHEAD_MAX) {
            let some = first..part.fates.len().min(first + AHEAD_MAX);
            let own = some.clone().filter_map(|at| part.of(number, at));
            self.shard.look_ahead(own.map(|(tx, _)| tx), &mut self.ahead);
            let mut ahead = self.ahead.iter();
            for at in some {
                while let Some((_, change)) = changes.next_if(|(from, _)| *from <= at) {
                    self.shard.apply(change)?;
                }
                let Some((tx, stamp)) = part.of(number, at) else { continue };
                let Some(ahead) = ahead.next() else { break };
                self.shard.decide_ahead(tx, ahead, stamp, &mut self.verdict, &mut self.decided.alerts)?;
                self.tally.add(&self.verdict);
                let decision = Decision { transaction: tx, verdict: &self.verdict, config_digest: digest };
                self.decided.add(at, &decision);
            }
        }
        Ok(())
    }
}

impl<'b> Part<'b> {
    /// The transaction at a position, where it is the worker's with this number to decide.
    fn of(&self, number: usize, at: usize) -> Option<(&Transaction<'b>, &Stamp)> {
        match (self.parsed.get(at)?, self.fates.get(at)?) {
            (Ok(tx), Fate::New { stamp, worker }) if *worker == number => Some((tx, stamp)),
            _ => None,
        }
    }
}

impl Decided {
    /// Makes ready for the next part, whose lines come after those that are there.
    fn begin(&mut self) {
        self.ends.clear();
        self.alerts.clear();
        self.alerts_at.clear();
        self.start = self.lines.len();
    }

    /// Adds the decision on the transaction at a position, whose alerts are there already.
    fn add(&mut self, at: usize, decision: &Decision<'_>) {
        self.alerts_at.resize(self.alerts.len(), at);
        decision.write(&mut self.lines);
        self.lines.push(b'\n');
        self.ends.push((at, self.lines.len()));
    }
}

/// Reads what a worker decided in step with the order of arrival.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    line: usize,
    start: usize,
    alert: usize,
}

impl Cursor {
    fn new(decided: &Decided) -> Self {
        Self { start: decided.start, ..Self::default() }
    }

    /// The line and the alerts of the transaction at a position.
    fn next<'d>(&mut self, at: usize, decided: &'d Decided) -> (&'d [u8], &'d [Alert]) {
        let end =
            decided.ends.get(self.line).filter(|(place, _)| *place == at).map_or(self.start, |&(_, end)| end);
        let line = decided.lines.get(self.start..end).unwrap_or_default();
        (self.line, self.start) = (self.line + 1, end);
        let first = self.alert;
        while decided.alerts_at.get(self.alert) == Some(&at) {
            self.alert += 1;
        }
        (line, decided.alerts.get(first..self.alert).unwrap_or_default())
    }
}

impl Finished {
    /// The risk profile of every agent, sorted by `agent_id` and `user_id`, made one by one: there can be
    /// millions.
    pub(super) fn profiles(&self) -> impl Iterator<Item = RiskProfile<'_>> {
        let mut agents: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| shard.agents().zip(0..).map(move |(key, number)| (key, shard, number)))
            .collect();
        agents.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        agents.into_iter().filter_map(|(_, shard, number)| shard.profile(number))
    }

    /// The rows of a view, in its order; those kept per transaction are given away.
    pub(super) fn take_rows(&mut self, view: &View) -> Vec<Row> {
        match view.name {
            "scope" => merged_rows([std::mem::take(&mut self.scope_rows)], view),
            "replay_window" => merged_rows([std::mem::take(&mut self.window_rows)], view),
            _ => merged_rows(self.shards.iter().map(|shard| shard.rows(view)), view),
        }
    }
}

/// What a thread gave, or its panic passed on.
fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
