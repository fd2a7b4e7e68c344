//! From blocks of records to decisions in the order of arrival.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use indicatif::ProgressBar;
use weir_detectors::hash::name_hash;
use weir_detectors::{Bound, Terms};
use weir_engine::{Admission, BoundReached, Config, Intake, Schedule, Shard, Stamp, TransactionViews};
use weir_events::codec::parse_transaction;
use weir_events::reject::{Fault, Reject};
use weir_events::view::{Row, View};
use weir_events::{Alert, Decision, MandateRecord, RiskProfile, Transaction, Verdict};
use weir_history::records::{Block, Records};

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

/// One thread's share of the users, and what it has to tell of the current block.
#[derive(Debug)]
struct Worker {
    shard: Shard,
    verdict: Verdict,
    tally: Tally,
    decided: Decided,
}

/// What a worker decided in a block, by position in the block.
#[derive(Debug, Default)]
struct Decided {
    lines: Vec<u8>,
    /// Position and end of each line.
    ends: Vec<(usize, usize)>,
    alerts: Vec<Alert>,
    /// Position of each alert's transaction.
    alerts_at: Vec<usize>,
}

/// A record of a block after parsing and intake.
#[allow(clippy::large_enum_variant, reason = "nearly every record is accepted; boxed, each would allocate")]
enum Record<'b> {
    /// To be decided by the worker with this number.
    Accepted { tx: Transaction<'b>, stamp: Stamp, worker: usize },
    /// Dropped.
    Duplicate,
    /// Not usable.
    Faulty(Option<Fault>),
}

/// A mandate's change in force from a position of the block on.
struct Change {
    at: usize,
    mandate_id: String,
    terms: Option<Arc<Terms>>,
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
        let seed = hash_seed();
        let worker = || Worker {
            shard: Shard::new(config, seed),
            verdict: Verdict::default(),
            tally: Tally::default(),
            decided: Decided::default(),
        };
        let workers: Vec<Worker> = std::iter::repeat_with(worker).take(threads).collect();
        let mut summary = Summary { config_digest: config.digest(), ..Summary::default() };
        summary.mandates.records = (mandates.records.len() + mandates.faults.len()) as u64;
        summary.mandates.rejects = mandates.faults.len() as u64;
        mandates.faults.iter().for_each(|fault| summary.count_reject(fault.code));
        let transaction_views = TransactionViews::new(&Shard::new(config, seed), &mandates.records);
        let mut schedule = Schedule::default();
        mandates.records.into_iter().for_each(|record| schedule.add(record));
        let mut pipeline = Self {
            config: config.clone(),
            file,
            digest: config.digest(),
            intake: Intake::new(config, seed),
            schedule,
            workers,
            transaction_views,
            scope_rows: Vec::new(),
            window_rows: Vec::new(),
            summary,
        };
        let in_force: Vec<MandateRecord> = pipeline.schedule.take_due(None).collect();
        pipeline.apply(in_force)?;
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
        verifier: Option<&mut Verifier>,
    ) -> Result<()> {
        let parsed = self.parse(block);
        let (records, changes) = self.admit(parsed);
        self.decide(&records, &changes)?;
        self.write(block, &records, output, verifier)
    }

    /// Parses a block, in as many parts as there are workers.
    fn parse<'b>(&self, block: &'b Block) -> Vec<Result<Transaction<'b>, Option<Fault>>> {
        let base = self.config.base_currency.0;
        let parse = move |lines: &'b [weir_history::records::Line]| -> Vec<_> {
            let one = |line: &'b weir_history::records::Line| match line.oversized {
                Some(_) => Err(None),
                None => parse_transaction(block.text(line), base).map_err(Some),
            };
            lines.iter().map(one).collect()
        };
        let lines = block.lines();
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
    fn admit<'b>(
        &mut self,
        parsed: Vec<Result<Transaction<'b>, Option<Fault>>>,
    ) -> (Vec<Record<'b>>, Vec<Change>) {
        let workers = self.workers.len() as u64;
        let mut changes = Vec::new();
        let mut records = Vec::with_capacity(parsed.len());
        for (at, parsed) in parsed.into_iter().enumerate() {
            let record = match parsed {
                Err(fault) => Record::Faulty(fault),
                Ok(tx) => {
                    let admission = self.intake.admit(&tx);
                    let due = self.schedule.take_due(self.intake.greatest_us());
                    changes.extend(due.map(|record| change(&self.workers, at, &record)));
                    match admission {
                        Admission::Duplicate => Record::Duplicate,
                        Admission::Rejected(fault) => Record::Faulty(Some(fault)),
                        Admission::New(stamp) => {
                            let worker =
                                if workers == 1 { 0 } else { name_hash(tx.user_id.as_bytes()) % workers };
                            Record::Accepted {
                                tx,
                                stamp,
                                worker: usize::try_from(worker).unwrap_or_default(),
                            }
                        }
                    }
                }
            };
            records.push(record);
        }
        (records, changes)
    }

    /// Lets every worker decide its users' transactions.
    fn decide(&mut self, records: &[Record<'_>], changes: &[Change]) -> Result<()> {
        let digest = &self.digest;
        if let [worker] = self.workers.as_mut_slice() {
            worker.decide(0, records, changes, digest)?;
        } else {
            let results: Vec<Result<()>> = thread::scope(|scope| {
                let numbered = self.workers.iter_mut().enumerate();
                let running: Vec<_> = numbered
                    .map(|(number, worker)| {
                        scope.spawn(move || worker.decide(number, records, changes, digest))
                    })
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

    /// Writes what was decided, in the order of arrival.
    fn write(
        &mut self,
        block: &Block,
        records: &[Record<'_>],
        output: &mut Output,
        mut verifier: Option<&mut Verifier>,
    ) -> Result<()> {
        let alone = self.workers.len() == 1;
        let mut cursors = vec![Cursor::default(); self.workers.len()];
        for (at, (record, line)) in records.iter().zip(block.lines()).enumerate() {
            self.summary.transactions.records += 1;
            match record {
                Record::Duplicate => self.summary.transactions.duplicates += 1,
                Record::Faulty(fault) => {
                    let reject = rejected(line, block.text(line), fault.clone(), &self.file);
                    self.reject(&reject, output)?;
                }
                Record::Accepted { tx, stamp, worker } => {
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
            }
        }
        // The lines of a single worker are in order as they are.
        match self.workers.as_mut_slice() {
            [worker] => output.take_decisions(&mut worker.decided.lines),
            _ => Ok(()),
        }
    }

    fn reject(&mut self, reject: &Reject, output: &mut Output) -> Result<()> {
        self.summary.transactions.rejects += 1;
        self.summary.count_reject(reject.fault.code);
        output.reject(reject)
    }

    fn apply(&mut self, records: Vec<MandateRecord>) -> Result<()> {
        for record in records {
            let Change { mandate_id, terms, .. } = change(&self.workers, 0, &record);
            for worker in &mut self.workers {
                worker.shard.apply_mandate(&mandate_id, terms.clone())?;
            }
        }
        Ok(())
    }

    /// Brings the mandates to their newest state and gives the shards' state away.
    pub(super) fn finish(mut self) -> Result<Finished> {
        let rest: Vec<MandateRecord> = self.schedule.take_rest().collect();
        self.apply(rest)?;
        let mut summary = self.summary;
        let mut incomplete = HashSet::new();
        let mut shards = Vec::new();
        for worker in self.workers {
            summary.count(&worker.tally);
            summary.agents += worker.shard.agents_seen() as u64;
            for (bound, keys) in worker.shard.bounds_reached() {
                *summary.bounds_reached.entry(bound.name()).or_default() += keys;
            }
            let keys = worker.shard.incomplete();
            incomplete.extend(keys.map(|(agent, user)| (agent.map(str::to_owned), user.to_owned())));
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
    fn decide(
        &mut self,
        number: usize,
        records: &[Record<'_>],
        changes: &[Change],
        digest: &str,
    ) -> Result<()> {
        let decided = &mut self.decided;
        decided.clear();
        let mut changes = changes.iter().peekable();
        for (at, record) in records.iter().enumerate() {
            while let Some(change) = changes.next_if(|change| change.at <= at) {
                self.shard.apply_mandate(&change.mandate_id, change.terms.clone())?;
            }
            let Record::Accepted { tx, stamp, worker } = record else { continue };
            if *worker != number {
                continue;
            }
            self.shard.decide(tx, stamp, &mut self.verdict, &mut decided.alerts)?;
            decided.alerts_at.resize(decided.alerts.len(), at);
            self.tally.add(&self.verdict);
            let decision = Decision { transaction: tx, verdict: &self.verdict, config_digest: digest };
            sonic_rs::to_writer(&mut decided.lines, &decision)?;
            decided.lines.push(b'\n');
            decided.ends.push((at, decided.lines.len()));
        }
        Ok(())
    }
}

impl Decided {
    fn clear(&mut self) {
        self.lines.clear();
        self.ends.clear();
        self.alerts.clear();
        self.alerts_at.clear();
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
    /// The risk profile of every agent, sorted by `agent_id` and `user_id`.
    pub(super) fn profiles(&self) -> Vec<RiskProfile> {
        let mut profiles: Vec<RiskProfile> = self.shards.iter().flat_map(Shard::profiles).collect();
        profiles.sort_unstable_by(|a, b| (&a.agent_id, &a.user_id).cmp(&(&b.agent_id, &b.user_id)));
        profiles
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

fn change(workers: &[Worker], at: usize, record: &MandateRecord) -> Change {
    let terms = workers.first().and_then(|worker| worker.shard.terms(record));
    Change { at, mandate_id: record.mandate_id().to_owned(), terms }
}

/// What a thread gave, or its panic passed on.
fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A seed for the hash tables from the operating system's randomness.
fn hash_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
