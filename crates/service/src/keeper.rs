//! A shard with its place in the input and in the journal.
//!
//! [`Keeper::decide`] turns a batch of records into an [`Output`] that the log commits in one piece.
//! [`Keeper::redo`] does the same again from the journal. Both go through `judge`, so what recovery
//! rebuilds is what was there.

use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use serde_json::value::RawValue;
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use weir_engine::{AHEAD_MAX, Admission, Ahead, Changed, Intake, STATE_VERSION, Shard, Stamp, Tables};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::reject::{Fault, Origin, Reject};
use weir_events::{Alert, Decision, MandateRecord, Timestamp, Transaction, Verdict};
use weir_log::{Fate, MandateEnds, Output, Record, Records, Topic};

use crate::catch_up::{CatchUp, Portion};
use crate::error::ServiceError;
use crate::journal::{self, BatchEntry, Chain, ConfigEntry, Digest, MandateEntry};
use crate::keys::transaction_fault;
use crate::metrics::BatchCounts;
use crate::recovery::Journaled;
use crate::registry::{BadMandate, Intaken, Registry, View};
use crate::settings::Settings;

/// A shard, its intake, and how far it has come.
#[derive(Debug)]
pub struct Keeper {
    /// Partition of the transactions topic.
    pub(crate) partition: i32,
    /// Number of its partitions.
    pub(crate) partitions: i32,
    pub(crate) settings: Arc<Settings>,
    pub(crate) shard: Shard,
    pub(crate) intake: Intake,
    config_digest: String,
    /// Version of the engine's state that the journal says is in force.
    state_version: u32,
    /// Release that it belongs to.
    release: String,
    /// Whether the next batch has to say under which configuration it is decided.
    config_due: bool,
    /// Number of the next batch.
    next: u64,
    /// Digest of the batch before.
    digest: Digest,
    position: i64,
    /// In partition 0: up to where bad mandates have been rejected.
    rejected_to: Option<Vec<i64>>,
    catch_up: CatchUp,
    scratch: Scratch,
}

/// Memory that is used again for every batch.
#[derive(Debug, Default)]
struct Scratch {
    verdict: Verdict,
    alerts: Vec<Alert>,
    ahead: Vec<Ahead>,
    changed: Vec<Changed>,
    agents: Vec<u32>,
}

/// What a batch came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Of them decided.
    pub decisions: u64,
    /// Of them dropped as repeats.
    pub duplicates: u64,
    /// Of them rejected.
    pub rejects: u64,
    /// Whether an unknown mandate was waited for.
    pub waited: bool,
    /// Whether more mandates have changed than the batch took in.
    pub more: bool,
    /// More of the same for the metrics; empty for a batch done again.
    pub counts: BatchCounts,
    /// Hash of what became of each record, in order.
    outcome: Outcome,
}

/// A running hash of outcomes, cheap enough to be kept for every record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Outcome(u64);

impl Outcome {
    fn add(&mut self, kind: u8, value: u64, more: i128) {
        let mut hasher = SipHasher13::new_with_keys(self.0, 0);
        hasher.write_u8(kind);
        hasher.write_u64(value);
        hasher.write_i128(more);
        self.0 = hasher.finish();
    }
}

/// Takes some of a batch's records, in order.
pub type Decide<'a> = &'a mut dyn FnMut(&dyn Records) -> Result<(), ServiceError>;

/// A record of the batch, parsed.
pub(crate) type Parsed<'b> = Result<Transaction<'b>, Fault>;

/// A record's key among those remembered, and what the order of arrival says of it: `Err(None)` is a duplicate.
type Admitted = (u64, Result<Stamp, Option<Fault>>);

/// What a batch takes from beside its transactions.
#[derive(Debug, Default)]
struct Side {
    mandates: Intaken,
    bad: Vec<BadMandate>,
    rejected_to: Option<Vec<i64>>,
    waited: bool,
    more: bool,
}

/// Where a shard stands, for a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Number of the last batch applied.
    pub sequence: u64,
    /// Its digest.
    pub digest: Digest,
    /// Position in the transactions after it.
    pub position: i64,
    /// Up to where bad mandates have been rejected.
    pub rejected_to: Option<Vec<i64>>,
}

impl Keeper {
    /// A shard that has seen nothing and begins at `position`.
    #[must_use]
    pub fn new(settings: &Arc<Settings>, partition: i32, partitions: i32, position: i64) -> Self {
        let config = &settings.config;
        let mandate_partitions = usize::try_from(partitions).unwrap_or_default();
        Self {
            partition,
            partitions,
            shard: Shard::new(config, settings.seed),
            intake: Intake::new(config, settings.seed),
            config_digest: config.digest(),
            state_version: STATE_VERSION,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            config_due: true,
            next: 0,
            digest: Digest::default(),
            position,
            rejected_to: (partition == 0).then(|| vec![0; mandate_partitions]),
            catch_up: CatchUp::default(),
            scratch: Scratch::default(),
            settings: Arc::clone(settings),
        }
    }

    /// A shard as a snapshot left it.
    pub(crate) fn restored(
        settings: &Arc<Settings>,
        (partition, partitions): (i32, i32),
        (shard, intake): (Shard, Intake),
        standing: Standing,
        state_version: u32,
    ) -> Self {
        let mut keeper = Self::new(settings, partition, partitions, standing.position);
        keeper.config_digest = shard.config().digest();
        (keeper.shard, keeper.intake) = (shard, intake);
        keeper.next = standing.sequence + 1;
        keeper.digest = standing.digest;
        if partition == 0 && standing.rejected_to.is_some() {
            keeper.rejected_to = standing.rejected_to;
        }
        keeper.config_due = false;
        keeper.state_version = state_version;
        keeper
    }

    /// Packs what is idle after another time; see [`Shard::pack_after`].
    pub fn pack_after(&mut self, idle_us: i64) {
        self.shard.pack_after(idle_us);
    }

    /// Notes from now on what changes, for snapshots.
    pub(crate) fn track_changes(&mut self) {
        self.shard.track_changes();
        self.intake.track_changes();
    }

    /// The whole state as a snapshot would hold it, for who compares two shards.
    ///
    /// # Errors
    /// When Arrow refuses a batch, which means that memory ran out.
    pub fn state(&self) -> Result<Tables, ArrowError> {
        self.shard.snapshot(&self.intake)
    }

    /// Where the shard stands; `None` before its first batch.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let sequence = self.next.checked_sub(1)?;
        let (digest, position, rejected_to) = (self.digest, self.position, self.rejected_to.clone());
        Some(Standing { sequence, digest, position, rejected_to })
    }

    /// Whether the state is that after its last batch, and not one put under another configuration since, which
    /// the next batch will say.
    pub(crate) fn is_as_journaled(&self) -> bool {
        !self.config_due
    }

    /// The watermark, once a transaction has counted.
    #[must_use]
    pub fn watermark_us(&self) -> Option<i64> {
        Some(self.intake.greatest_us()? - self.shard.config().time.max_lateness.0)
    }

    /// Position in the transactions.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Puts the configured way of deciding in force, where the journal's was another.
    pub fn configure(&mut self) {
        let config = &self.settings.config;
        if self.config_digest != config.digest() {
            self.shard.reconfigure(config);
            self.intake.reconfigure(config);
            self.config_digest = config.digest();
            self.config_due = true;
        }
        if self.state_version != STATE_VERSION {
            self.state_version = STATE_VERSION;
            self.config_due = true;
        }
    }

    /// Whether there is something to commit although no record has come: the first batch, a configuration, or
    /// mandates that changed or are to be rejected.
    #[must_use]
    pub fn is_due(&self, registry: &Registry) -> bool {
        if self.next == 0 || self.config_due {
            return true;
        }
        self.catch_up.is_due(&registry.view()) || self.has_bad(registry)
    }

    /// Whether so many mandates may have changed that they are to be taken in by batches without records, of which
    /// [`Tally::more`] says whether another has to follow.
    #[must_use]
    pub fn is_behind(&self, registry: &Registry) -> bool {
        self.catch_up.is_behind(&self.shard, &registry.view(), self.settings.batch_mandates)
    }

    fn has_bad(&self, registry: &Registry) -> bool {
        let bad = self.rejected_to.as_ref().map(|from| registry.bad_since(from));
        matches!(bad, Some(Some((bad, _))) if !bad.is_empty())
    }

    /// Decides a batch into `output`; `None` when there was nothing to commit after all, unless it is `forced`.
    ///
    /// # Errors
    /// When the shard is full. Nothing of the batch must be committed then, and the shard is of no use any more.
    pub fn decide(
        &mut self,
        records: &dyn Records,
        registry: &Registry,
        ends: Option<&dyn MandateEnds>,
        forced: bool,
        output: &mut Output,
    ) -> Result<Option<Tally>, ServiceError> {
        let parsed = self.parse(records);
        let side = self.side(&parsed, registry, ends);
        let nothing = records.is_empty() && side.mandates.is_empty() && side.bad.is_empty();
        if nothing && !self.config_due && !forced {
            return Ok(None);
        }
        output.clear();
        let mut tally = Tally { waited: side.waited, more: side.more, ..Tally::default() };
        let mut chain = Chain::after(&self.digest);
        self.journal_side(&side.mandates, &mut chain, output)?;
        self.take_in(side.mandates.iter().map(|(id, taken)| (&**id, taken.version, taken.text.as_deref())))?;
        self.judge(&parsed, records, Some(&mut *output), &mut tally)?;
        self.issue_profiles(output, &mut tally);
        for bad in side.bad {
            tally.counts.reject(bad.fault.code);
            output.push(Topic::Rejects, None, |_| {}, |out| out.extend_from_slice(&bad.json));
        }
        if side.rejected_to.is_some() {
            self.rejected_to = side.rejected_to;
        }
        let from = self.position;
        self.position = last_offset(records).map_or(from, |last| last + 1);
        let entry = self.entry(from, &tally);
        let mut digest = Digest::default();
        output.push(Topic::Journal, None, |_| {}, |out| digest = chain.write_batch(&entry, out));
        (output.sequence, output.position) = (self.next, self.position);
        self.digest = digest;
        self.next += 1;
        self.config_due = false;
        Ok(Some(tally))
    }

    fn entry(&self, from: i64, tally: &Tally) -> BatchEntry {
        BatchEntry {
            sequence: self.next,
            partition: self.partition,
            partitions: self.partitions,
            from,
            to: self.position,
            records: tally.records,
            decisions: tally.decisions,
            duplicates: tally.duplicates,
            rejects: tally.rejects,
            outcome: format!("{:016x}", tally.outcome.0),
            mandates_rejected_to: self.rejected_to.clone(),
        }
    }

    /// Does a batch of the journal again. `feed` gives the transactions from the shard's position on, at most so
    /// many at a time; with `output`, what was written then is written into it again.
    ///
    /// # Errors
    /// When the outcome is not what the journal says.
    pub fn redo(
        &mut self,
        batch: &Journaled,
        feed: &mut dyn FnMut(Decide<'_>) -> Result<(), ServiceError>,
        mut output: Option<&mut Output>,
    ) -> Result<Tally, ServiceError> {
        self.check_place(batch)?;
        match &batch.config {
            Some(config) => self.adopt(config)?,
            None => self.check_state_version()?,
        }
        if let Some(output) = output.as_deref_mut() {
            output.clear();
        }
        let mut tally = Tally::default();
        self.take_in(batch.mandates.iter().map(|entry| {
            let text = entry.record.as_ref().map(|record| record.get().as_bytes());
            (entry.mandate_id.as_str(), entry.version, text)
        }))?;
        feed(&mut |records| {
            let parsed = self.parse(records);
            self.judge(&parsed, records, output.as_deref_mut(), &mut tally)
        })?;
        if let Some(output) = output {
            self.issue_profiles(output, &mut tally);
            (output.sequence, output.position) = (batch.entry.sequence, batch.entry.to);
        }
        self.scratch.changed.clear();
        self.scratch.agents.clear();
        self.position = batch.entry.to;
        if let Some(rejected_to) = &batch.entry.mandates_rejected_to {
            self.rejected_to = Some(rejected_to.clone());
        }
        let found = self.entry(batch.entry.from, &tally);
        if found != batch.entry {
            return Err(ServiceError::Irreproducible(format!(
                "batch {} of partition {} comes out differently than the journal says: {found:?} instead of {:?}",
                self.next, self.partition, batch.entry
            )));
        }
        self.digest = batch.digest;
        self.next += 1;
        self.config_due = false;
        Ok(tally)
    }

    fn check_place(&self, batch: &Journaled) -> Result<(), ServiceError> {
        let entry = &batch.entry;
        if entry.partitions != self.partitions {
            return Err(ServiceError::repartitioned(
                self.partitions,
                entry.partitions,
                "the journal was written",
            ));
        }
        if (entry.partition, entry.sequence, entry.from) != (self.partition, self.next, self.position) {
            return Err(ServiceError::Irreproducible(format!(
                "the journal goes on with batch {} of partition {} at offset {}, but the state before it is that of \
                 batch {} of partition {} at offset {}",
                entry.sequence, entry.partition, entry.from, self.next, self.partition, self.position
            )));
        }
        Ok(())
    }

    fn check_state_version(&self) -> Result<(), ServiceError> {
        if self.state_version == STATE_VERSION {
            return Ok(());
        }
        let (release, found) = (&self.release, self.state_version);
        Err(ServiceError::Halted(format!(
            "batch {} of partition {} was decided by release {release} (state version {found}); this one, {} (state \
             version {STATE_VERSION}), would not decide it the same. Nothing was changed. Run {release} until it has \
             written a snapshot at the journal's end (a graceful stop writes one), then this one",
            self.next,
            self.partition,
            env!("CARGO_PKG_VERSION"),
        )))
    }

    /// Puts a journaled configuration in force.
    fn adopt(&mut self, entry: &ConfigEntry) -> Result<(), ServiceError> {
        self.state_version = entry.state_version;
        self.release = entry.release.clone();
        self.check_state_version()?;
        let config: weir_engine::Config = serde_json::from_str(entry.config.get()).map_err(|error| {
            ServiceError::Irreproducible(format!(
                "the journal's configuration of batch {} : {error}",
                entry.sequence
            ))
        })?;
        self.shard.reconfigure(&config);
        self.intake.reconfigure(&config);
        self.config_digest = config.digest();
        Ok(())
    }

    /// Parses the records; a key that is not the user's or a wrong partition is a fault too.
    fn parse<'b>(&self, records: &'b dyn Records) -> Vec<Parsed<'b>> {
        let base = self.shard.config().base_currency.0;
        let all = (0..records.len()).filter_map(|at| records.get(at));
        all.map(|record| {
            let mut tx = parse_transaction(record.value.unwrap_or_default(), base)?;
            if !self.settings.has_own_log() {
                let partitioner = self.settings.partitioner;
                let checked = partitioner.check(record.key, &tx.user_id, self.partition, self.partitions);
                checked.map_err(|fault| {
                    transaction_fault(fault, record.key, &tx.user_id, self.partition, partitioner)
                })?;
            }
            if tx.record_time.is_none() {
                let believable = Timestamp::MIN_INPUT.0..=Timestamp::MAX_INPUT.0;
                tx.record_time = record.timestamp_us.filter(|time| believable.contains(time)).map(Timestamp);
            }
            Ok(tx)
        })
        .collect()
    }

    /// Takes from the registry what the batch needs.
    fn side(&mut self, parsed: &[Parsed<'_>], registry: &Registry, ends: Option<&dyn MandateEnds>) -> Side {
        let mut side = Side::default();
        let (portion, may_ask) = match parsed {
            [] => (self.settings.batch_mandates, true),
            // Records are decided under all that has been read, and do not wait for more than they name.
            _ => (Portion::WHOLE, self.shard.mandate_versions().next().is_none()),
        };
        if !self.catch_up.has_read_on() && may_ask && self.has_read_on(registry, ends) {
            self.catch_up.read_on();
        }
        side.more = self.catch_up.take(&self.shard, &registry.view(), portion, &mut side.mandates);
        if side.more {
            return side;
        }
        let unknown = self.presented(&registry.view(), parsed, &mut side.mandates);
        if let Some(ends) = ends.filter(|_| unknown) {
            side.waited = true;
            let wait = self.mandate_wait();
            if let Ok(ends) = ends.ends(wait) {
                let _ = registry.wait_for(&ends, wait);
            }
            let view = registry.view();
            // What was taken before the wait may have changed meanwhile.
            for (id, taken) in &mut side.mandates {
                if let Some((_, newest)) = view.get(id) {
                    *taken = newest;
                }
            }
            self.catch_up.take(&self.shard, &view, portion, &mut side.mandates);
            self.presented(&view, parsed, &mut side.mandates);
        }
        if let Some(from) = &self.rejected_to
            && let Some((bad, to)) = registry.bad_since(from)
            && (!bad.is_empty() || !parsed.is_empty())
        {
            side.bad = bad;
            let to = from.iter().zip(&to).map(|(&from, &to)| from.max(to)).collect();
            side.rejected_to = Some(to);
        }
        side
    }

    fn mandate_wait(&self) -> Duration {
        Duration::from_micros(self.shard.config().time.mandate_wait.0.unsigned_abs())
    }

    /// Whether the registry has read all that the state can know of, which for a shard that comes from another
    /// instance may be more than this one has read so far.
    fn has_read_on(&self, registry: &Registry, ends: Option<&dyn MandateEnds>) -> bool {
        let Some(ends) = ends.filter(|_| self.shard.mandate_versions().next().is_some()) else { return true };
        let wait = self.mandate_wait();
        ends.ends(wait).is_ok_and(|ends| registry.wait_for(&ends, wait))
    }

    /// Adds to `intaken` what the records name and the shard does not know; says whether a mandate of those is unknown.
    fn presented(&self, view: &View<'_>, parsed: &[Parsed<'_>], intaken: &mut Intaken) -> bool {
        let mut unknown = false;
        for tx in parsed.iter().flatten() {
            let wanted = match tx.mandate_id.as_deref() {
                Some(mandate_id) => mandate_id,
                None => match view.usable(&tx.agent_id, &tx.user_id, tx.tx_time) {
                    Some(least) => least,
                    None => continue,
                },
            };
            // What the shard knows is up to date: changes of it were taken before.
            if self.shard.mandate_is_known(wanted) {
                continue;
            }
            match view.get(wanted) {
                Some((id, taken)) => {
                    unknown |= taken.text.is_none();
                    if self.shard.mandate_version(wanted).is_none_or(|version| version < taken.version) {
                        intaken.insert(id, taken);
                    }
                }
                None => unknown = true,
            }
        }
        unknown
    }

    fn journal_side(
        &self,
        mandates: &Intaken,
        chain: &mut Chain,
        output: &mut Output,
    ) -> Result<(), ServiceError> {
        if self.config_due {
            let config = serde_json::value::to_raw_value(self.shard.config());
            let config =
                config.map_err(|error| ServiceError::Halted(format!("the configuration: {error}")))?;
            let entry = ConfigEntry {
                schema_version: journal::SCHEMA_VERSION,
                sequence: self.next,
                state_version: STATE_VERSION,
                release: env!("CARGO_PKG_VERSION").to_owned(),
                config,
            };
            output.push(Topic::Journal, None, |_| {}, |out| chain.write("config", &entry, out));
        }
        for (id, taken) in mandates {
            let text = taken.text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
            let record = text.map(RawValue::from_string).transpose();
            // It was parsed when the registry took it in, by stricter rules.
            let record = record.map_err(|error| ServiceError::Halted(format!("mandate {id}: {error}")))?;
            let (mandate_id, version) = (id.to_string(), taken.version);
            let entry = MandateEntry { sequence: self.next, mandate_id, version, record };
            output.push(Topic::Journal, None, |_| {}, |out| chain.write("mandate", &entry, out));
        }
        Ok(())
    }

    /// Puts mandates in force, and notes whose profiles that changes.
    fn take_in<'m>(
        &mut self,
        mandates: impl Iterator<Item = (&'m str, i64, Option<&'m [u8]>)>,
    ) -> Result<(), ServiceError> {
        let base = self.shard.config().base_currency.0;
        for (mandate_id, version, text) in mandates {
            let record = match text {
                None => MandateRecord::Deleted { mandate_id: mandate_id.to_owned(), updated_at: None },
                Some(text) => parse_mandate(text, base).map_err(|fault| {
                    ServiceError::Irreproducible(format!("mandate {mandate_id} of the journal: {fault}"))
                })?,
            };
            let change = self.shard.prepare(&record);
            self.shard.apply_version(&change, version)?;
            self.scratch.agents.extend(self.shard.agents_of_mandate(mandate_id));
        }
        Ok(())
    }

    /// Decides parsed records in their order.
    fn judge(
        &mut self,
        parsed: &[Parsed<'_>],
        records: &dyn Records,
        mut output: Option<&mut Output>,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        tally.records += parsed.len() as u64;
        let mut admitted: Vec<Admitted> = Vec::with_capacity(AHEAD_MAX);
        for (chunk, parsed) in parsed.chunks(AHEAD_MAX).enumerate() {
            self.admit(parsed, &mut admitted);
            let news = parsed.iter().zip(&admitted).filter(|(_, (_, stamp))| stamp.is_ok());
            let mut ahead = std::mem::take(&mut self.scratch.ahead);
            self.shard.look_ahead(news.filter_map(|(tx, _)| tx.as_ref().ok()), &mut ahead);
            let mut next_ahead = ahead.iter();
            for (at, (tx, (key, stamp))) in parsed.iter().zip(&admitted).enumerate() {
                let Some(record) = records.get(chunk * AHEAD_MAX + at) else { continue };
                if output.is_some() {
                    tally.counts.record(record.timestamp_us);
                }
                match (tx, stamp) {
                    (Ok(tx), Ok(stamp)) => {
                        let Some(ahead) = next_ahead.next() else { break };
                        self.decide_one(tx, ahead, (*key, stamp), &record, output.as_deref_mut(), tally)?;
                    }
                    (Ok(_), Err(None)) => note_duplicate(*key, output.as_deref_mut(), tally),
                    (Ok(_), Err(Some(fault))) | (Err(fault), _) => {
                        self.reject(fault, &record, output.as_deref_mut(), tally);
                    }
                }
            }
            self.scratch.ahead = ahead;
        }
        Ok(())
    }

    /// Asks of each record what the order of arrival says.
    fn admit(&mut self, parsed: &[Parsed<'_>], admitted: &mut Vec<Admitted>) {
        let keys: SmallVec<[u64; AHEAD_MAX]> =
            parsed.iter().map(|tx| tx.as_ref().map_or(0, Intake::key)).collect();
        self.intake.look_ahead(keys.iter().copied());
        admitted.clear();
        admitted.extend(parsed.iter().zip(keys).map(|(tx, key)| {
            let Ok(tx) = tx else { return (key, Err(None)) };
            let stamp = match self.intake.admit(tx, key) {
                Admission::New(stamp) => Ok(stamp),
                Admission::Duplicate => Err(None),
                Admission::Rejected(fault) => Err(Some(fault)),
            };
            (key, stamp)
        }));
    }

    fn decide_one(
        &mut self,
        tx: &Transaction<'_>,
        ahead: &Ahead,
        (key, stamp): (u64, &Stamp),
        record: &Record<'_>,
        output: Option<&mut Output>,
        tally: &mut Tally,
    ) -> Result<(), ServiceError> {
        let Scratch { verdict, alerts, changed, .. } = &mut self.scratch;
        alerts.clear();
        let change = self.shard.decide_ahead(tx, ahead, stamp, verdict, alerts)?;
        tally.decisions += 1;
        tally.outcome.add(
            0,
            verdict.action as u64 | (verdict.signals.len() as u64) << 8,
            verdict.composite.0,
        );
        let Some(output) = output else { return Ok(()) };
        changed.push(change);
        tally.counts.decision(verdict);
        let decision = Decision { transaction: tx, verdict, config_digest: &self.config_digest };
        let user_id = |out: &mut Vec<u8>| out.extend_from_slice(tx.user_id.as_bytes());
        let at = output.push(Topic::Decisions, Some(record.offset), user_id, |out| decision.write(out));
        output.fates.push(Fate::Decided(at));
        output.keys.push(key);
        for alert in alerts.iter() {
            tally.counts.alert(alert);
            let key = |out: &mut Vec<u8>| agent_key(&alert.user_id, &alert.agent_id, out);
            output.push(Topic::Alerts, None, key, |out| json(alert, out));
        }
        Ok(())
    }

    fn reject(&self, fault: &Fault, record: &Record<'_>, output: Option<&mut Output>, tally: &mut Tally) {
        tally.rejects += 1;
        tally.outcome.add(2, fault.code as u64, 0);
        let Some(output) = output else { return };
        tally.counts.reject(fault.code);
        let (partition, offset) = (self.partition, record.offset);
        let origin = match &self.settings.transactions_topic {
            Some(topic) => Origin::Kafka { topic: topic.clone(), partition, offset },
            None => Origin::Http,
        };
        let reject = Reject::new(fault.clone(), origin, record.value.unwrap_or_default());
        let at = output.push(Topic::Rejects, Some(offset), |_| {}, |out| json(&reject, out));
        output.fates.push(Fate::Rejected(at));
        output.keys.push(0);
    }

    /// Issues the profiles that the batch changed, each once.
    fn issue_profiles(&mut self, output: &mut Output, tally: &mut Tally) {
        let Scratch { changed, agents, .. } = &mut self.scratch;
        for change in changed.drain(..) {
            agents.push(change.agent);
            if change.whole_user {
                agents.extend(self.shard.agents_of_user(change.user));
            }
        }
        agents.sort_unstable();
        agents.dedup();
        tally.counts.profiles(agents.len() as u64);
        for agent in agents.drain(..) {
            let Some(profile) = self.shard.profile(agent as usize) else { continue };
            let key = |out: &mut Vec<u8>| agent_key(&profile.user_id, &profile.agent_id, out);
            output.push(Topic::RiskScores, None, key, |out| json(&profile, out));
        }
    }

    /// The risk profile of an agent, as JSON.
    #[must_use]
    pub fn profile(&self, user_id: &str, agent_id: &str) -> Option<Vec<u8>> {
        let agent = self.shard.find_agent(user_id, agent_id)?;
        let mut out = Vec::new();
        json(&self.shard.profile(agent as usize)?, &mut out);
        Some(out)
    }
}

fn note_duplicate(key: u64, output: Option<&mut Output>, tally: &mut Tally) {
    tally.duplicates += 1;
    tally.outcome.add(1, 0, 0);
    if let Some(output) = output {
        tally.counts.duplicate();
        output.fates.push(Fate::Duplicate(key));
        output.keys.push(0);
    }
}

fn last_offset(records: &dyn Records) -> Option<i64> {
    records.len().checked_sub(1).and_then(|last| records.get(last)).map(|record| record.offset)
}

fn json(record: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Records are plain data with string keys, and a vector takes every write.
    let _ = serde_json::to_writer(out, record);
}

/// Key of risk profiles and alerts: `["user_id","agent_id"]`.
fn agent_key(user_id: &str, agent_id: &str, out: &mut Vec<u8>) {
    json(&[user_id, agent_id], out);
}
