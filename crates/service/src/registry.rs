//! The newest state of every mandate, shared by the shards of this instance.
//!
//! It is a cache of the mandates topic and nothing else: a shard copies what a batch needs into its own table and
//! into its journal, and never looks here while it decides. It holds the whole topic and evicts nothing; at its
//! bound it takes no further mandate in, and the instance decides nothing more.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::RandomState;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::Equivalent;
use smallvec::SmallVec;
use weir_events::codec::parse_mandate;
use weir_events::reject::{Fault, Origin, Reject};
use weir_events::{Currency, MandateRecord, MandateStatus, Timestamp};
use weir_log::{Partitioner, Record};

/// Most changes remembered for shards that have not taken them in; past it a shard compares everything.
pub const CHANGES_MAX: usize = 1 << 20;
/// Most bytes of rejects of bad mandate records that wait for the owner of partition 0; past it the registry reads
/// no further until they are taken, or, where another instance owns partition 0, drops the oldest.
pub const WAITING_REJECTS_BYTES_MAX: usize = 64 << 20;

/// Most bad records that are rejected with one batch.
pub const REJECTED_AT_ONCE_MAX: usize = 1_000;

/// How the registry reads records.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Currency of mandates that name none.
    pub base_currency: Currency,
    /// Most mandates held.
    pub mandates_max: usize,
    /// Name of the topic, for rejects; `None`: records come over HTTP and have no key.
    pub topic: Option<String>,
    /// How keys are spread.
    pub partitioner: Partitioner,
    /// Partitions of the topic.
    pub partitions: i32,
}

/// A mandate's record as a shard takes it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Offset of the record.
    pub version: i64,
    /// The record's own text; `None` when the mandate is gone.
    pub text: Option<Arc<[u8]>>,
}

/// The reject of a bad mandate record.
#[derive(Debug, Clone)]
pub struct BadMandate {
    /// Partition of the mandates topic.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The reject, encoded.
    pub json: Vec<u8>,
    /// Why.
    pub fault: Fault,
}

/// The registry has as many mandates as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the registry holds {0} mandates, which is `registry.mandates_max`: nothing more is decided; raise it and start again"
)]
pub struct RegistryFull(pub usize);

/// How far a shard has taken the registry's changes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(Option<u64>);

/// See the module.
#[derive(Debug)]
pub struct Registry {
    settings: RegistrySettings,
    inner: Mutex<Inner>,
    read_on: Condvar,
}

/// Who holds mandates; looked up by [`Asked`], which needs no texts of its own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Holder {
    agent_id: Box<str>,
    user_id: Box<str>,
}

/// The same, borrowed: its hash has to be that of a [`Holder`].
#[derive(Hash)]
struct Asked<'a> {
    agent_id: &'a str,
    user_id: &'a str,
}

impl Equivalent<Arc<Holder>> for Asked<'_> {
    fn equivalent(&self, holder: &Arc<Holder>) -> bool {
        *holder.agent_id == *self.agent_id && *holder.user_id == *self.user_id
    }
}

#[derive(Debug, Default)]
struct Inner {
    mandates: HashMap<Arc<str>, Known>,
    /// Ids of the mandates of each holder, sorted; nearly always one.
    holders: hashbrown::HashMap<Arc<Holder>, SmallVec<[Arc<str>; 1]>, RandomState>,
    /// Ids in the order of their changes, and the number of the first.
    changes: VecDeque<Arc<str>>,
    changes_from: u64,
    /// Per partition up to where it was read.
    reached: Vec<i64>,
    bad: VecDeque<BadMandate>,
    bad_bytes: usize,
    /// Per partition from where on `bad` is whole.
    bad_from: Vec<i64>,
    /// Whether rejects must not be dropped.
    rejecting: bool,
    reread: bool,
    full: Option<RegistryFull>,
    failed: Option<String>,
}

#[derive(Debug)]
struct Known {
    version: i64,
    text: Option<Arc<[u8]>>,
    holding: Option<Holding>,
}

/// Who holds a mandate and when it can be used.
#[derive(Debug)]
struct Holding {
    holder: Arc<Holder>,
    active: bool,
    valid_from: Option<Timestamp>,
    valid_to: Option<Timestamp>,
}

impl Registry {
    /// A registry that has read nothing.
    #[must_use]
    pub fn new(settings: RegistrySettings) -> Self {
        let partitions = usize::try_from(settings.partitions).unwrap_or_default();
        let inner = Inner { reached: vec![0; partitions], bad_from: vec![0; partitions], ..Inner::default() };
        Self { settings, inner: Mutex::new(inner), read_on: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The registry's own code does not panic in the middle of a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a record of a partition of the mandates topic. A bad one waits to be rejected.
    ///
    /// # Errors
    /// When it holds as many mandates as it may.
    pub fn put(
        &self,
        partition: i32,
        record: Record<'_>,
    ) -> Result<Result<String, BadMandate>, RegistryFull> {
        let read = self.read(partition, record);
        let mut inner = self.lock();
        let put = match read {
            Ok(mandate) => {
                let mandate_id = mandate.mandate_id().to_owned();
                inner.put(mandate, record, self.settings.mandates_max)?;
                Ok(mandate_id)
            }
            Err(fault) => {
                let json = self.reject(partition, record, &fault);
                let bad = BadMandate { partition, offset: record.offset, json, fault };
                if self.settings.topic.is_some() {
                    inner.add_bad(bad.clone());
                }
                Err(bad)
            }
        };
        inner.reach(partition, record.offset + 1);
        drop(inner);
        self.read_on.notify_all();
        Ok(put)
    }

    /// Waits until rejects that wait for the owner of partition 0 leave room for more, where that is this instance.
    /// `false` when `wait` was over first.
    #[must_use]
    pub fn wait_for_room(&self, wait: Duration) -> bool {
        let inner = self.lock();
        let crowded = |inner: &mut Inner| inner.rejecting && inner.bad_bytes >= WAITING_REJECTS_BYTES_MAX;
        match self.read_on.wait_timeout_while(inner, wait, crowded) {
            Ok((_, waited)) => !waited.timed_out(),
            Err(_) => true,
        }
    }

    /// Whether this instance owns partition 0 and rejects bad mandates.
    pub fn set_rejecting(&self, rejecting: bool) {
        self.lock().rejecting = rejecting;
        self.read_on.notify_all();
    }

    /// Forgets everything, because some of it was never committed; the log has to be read again.
    pub fn start_over(&self) {
        let mut inner = self.lock();
        // Cursors of before are now further back than the changes reach, so that everything is compared.
        let changes_from = inner.changes_from + inner.changes.len() as u64 + 1;
        let partitions = inner.reached.len();
        let (rejecting, reached, bad_from) = (inner.rejecting, vec![0; partitions], vec![0; partitions]);
        *inner = Inner { changes_from, rejecting, reached, bad_from, reread: true, ..Inner::default() };
    }

    /// Whether the topic has to be read from its beginning again, because rejects that are due were dropped; asks
    /// once.
    #[must_use]
    pub fn take_reread(&self) -> bool {
        let mut inner = self.lock();
        let reread = std::mem::take(&mut inner.reread);
        if reread {
            inner.bad.clear();
            inner.bad_bytes = 0;
            inner.bad_from.fill(0);
            inner.reached.fill(0);
        }
        reread
    }

    /// Notes that a partition has been read up to this offset.
    pub fn reached(&self, partition: i32, offset: i64) {
        self.lock().reach(partition, offset);
        self.read_on.notify_all();
    }

    /// Notes that the mandates cannot be read any more.
    pub fn fail(&self, why: String) {
        self.lock().failed = Some(why);
        self.read_on.notify_all();
    }

    fn read(&self, partition: i32, record: Record<'_>) -> Result<MandateRecord, Fault> {
        let settings = &self.settings;
        let mandate = match record.value {
            Some(text) => parse_mandate(text, settings.base_currency)?,
            None => {
                let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
                let mandate_id = key.ok_or_else(Fault::empty_record)?.to_owned();
                MandateRecord::Deleted { mandate_id, updated_at: None }
            }
        };
        if settings.topic.is_some() {
            let id = mandate.mandate_id();
            let check = settings.partitioner.check(record.key, id, partition, settings.partitions);
            check.map_err(|fault| {
                crate::keys::mandate_fault(fault, record.key, id, partition, settings.partitioner)
            })?;
        }
        Ok(mandate)
    }

    fn reject(&self, partition: i32, record: Record<'_>, fault: &Fault) -> Vec<u8> {
        let origin = match &self.settings.topic {
            Some(topic) => Origin::Kafka { topic: topic.clone(), partition, offset: record.offset },
            None => Origin::Http,
        };
        let reject = Reject::new(fault.clone(), origin, record.value.unwrap_or_default());
        // A reject is plain data, which always has a JSON form.
        serde_json::to_vec(&reject).unwrap_or_default()
    }

    /// Waits until the topic has been read up to `ends`; `false` when `wait` was over first.
    #[must_use]
    pub fn wait_for(&self, ends: &[i64], wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut inner = self.lock();
        loop {
            // What is to be read again from its beginning has not been read.
            let read = ends.iter().zip(&inner.reached).all(|(end, reached)| reached >= end);
            let there = read && !inner.reread;
            let left = until.saturating_duration_since(Instant::now());
            if there || left.is_zero() || inner.full.is_some() || inner.failed.is_some() {
                return there;
            }
            inner = match self.read_on.wait_timeout(inner, left) {
                Ok((inner, _)) => inner,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Why nothing may be decided any more, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let inner = self.lock();
        inner.full.map(|full| full.to_string()).or_else(|| inner.failed.clone())
    }

    /// Mandates held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().mandates.len()
    }

    /// Whether no mandate is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The registry as it stands now, for as long as the view is held.
    pub(crate) fn view(&self) -> View<'_> {
        View(self.lock())
    }

    /// Some rejects of bad records from these offsets on, in order, and up to where that is all of them; `None` when
    /// they are no longer all at hand, so that the topic has to be read again.
    #[must_use]
    pub fn bad_since(&self, from: &[i64]) -> Option<(Vec<BadMandate>, Vec<i64>)> {
        let mut inner = self.lock();
        let position = |offsets: &[i64], partition: i32| {
            usize::try_from(partition).ok().and_then(|at| offsets.get(at)).copied().unwrap_or_default()
        };
        let whole =
            (0..self.settings.partitions).all(|at| position(&inner.bad_from, at) <= position(from, at));
        // What was rejected already is not needed any more.
        while let Some(bad) = inner.bad.pop_front_if(|bad| bad.offset < position(from, bad.partition)) {
            inner.forget_bad(&bad);
        }
        inner.reread |= !whole;
        self.read_on.notify_all();
        let mut waiting = inner.bad.iter().filter(|bad| bad.offset >= position(from, bad.partition));
        let some = waiting.by_ref().take(REJECTED_AT_ONCE_MAX).cloned().collect();
        let mut to = inner.reached.clone();
        for left in waiting {
            if let Some(to) = usize::try_from(left.partition).ok().and_then(|at| to.get_mut(at)) {
                *to = (*to).min(left.offset);
            }
        }
        whole.then_some((some, to))
    }
}

impl Inner {
    fn put(&mut self, mandate: MandateRecord, record: Record<'_>, max: usize) -> Result<(), RegistryFull> {
        let known = self
            .mandates
            .get_key_value(mandate.mandate_id())
            .map(|(id, known)| (Arc::clone(id), known.version));
        let id = match known {
            Some((_, version)) if version >= record.offset => return Ok(()),
            Some((id, _)) => id,
            None if self.mandates.len() >= max => {
                let full = RegistryFull(max);
                self.full = Some(full);
                return Err(full);
            }
            None => Arc::from(mandate.mandate_id()),
        };
        let (text, holding) = match mandate {
            MandateRecord::Deleted { .. } => (None, None),
            MandateRecord::State(mandate) => {
                let holding = Holding {
                    holder: self.holder(&mandate.agent_id, &mandate.user_id),
                    active: mandate.status == MandateStatus::Active,
                    valid_from: mandate.valid_from,
                    valid_to: mandate.valid_to,
                };
                (record.value.map(Arc::from), Some(holding))
            }
        };
        if let Some(holding) = &holding {
            let held = self.holders.entry(Arc::clone(&holding.holder)).or_default();
            if let Err(at) = held.binary_search(&id) {
                held.insert(at, Arc::clone(&id));
            }
        }
        let before = self.mandates.insert(Arc::clone(&id), Known { version: record.offset, text, holding });
        if let Some(before) = before.and_then(|before| before.holding) {
            self.unhold(&id, before);
        }
        self.changes.push_back(id);
        if self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
            self.changes_from += 1;
        }
        Ok(())
    }

    /// The holder with these ids, the one that is known where there is one.
    fn holder(&self, agent_id: &str, user_id: &str) -> Arc<Holder> {
        let known = self.holders.get_key_value(&Asked { agent_id, user_id }).map(|(holder, _)| holder);
        let new = || Arc::new(Holder { agent_id: agent_id.into(), user_id: user_id.into() });
        known.map_or_else(new, Arc::clone)
    }

    /// Takes a mandate away from a holder who does not hold it any more.
    fn unhold(&mut self, id: &Arc<str>, before: Holding) {
        let now = self.mandates.get(id).and_then(|known| known.holding.as_ref());
        if now.is_some_and(|now| now.holder == before.holder) {
            return;
        }
        if let Some(held) = self.holders.get_mut(&before.holder) {
            held.retain(|other| other != id);
            if held.is_empty() {
                self.holders.remove(&before.holder);
            }
        }
    }

    fn reach(&mut self, partition: i32, offset: i64) {
        let at = usize::try_from(partition).ok();
        if let Some(reached) = at.and_then(|at| self.reached.get_mut(at)) {
            *reached = (*reached).max(offset);
        }
    }

    fn add_bad(&mut self, bad: BadMandate) {
        self.bad_bytes += bad.json.len();
        self.bad.push_back(bad);
        while self.bad_bytes > WAITING_REJECTS_BYTES_MAX
            && !self.rejecting
            && let Some(dropped) = self.bad.pop_front()
        {
            self.forget_bad(&dropped);
        }
    }

    /// Notes that a reject is no longer at hand. Who needs it after all, because the batch with it was not
    /// committed, has the topic read again.
    fn forget_bad(&mut self, bad: &BadMandate) {
        self.bad_bytes -= bad.json.len();
        let at = usize::try_from(bad.partition).ok();
        if let Some(from) = at.and_then(|at| self.bad_from.get_mut(at)) {
            *from = (*from).max(bad.offset + 1);
        }
    }
}

/// The registry, held still while a shard takes from it what a batch needs.
pub(crate) struct View<'r>(MutexGuard<'r, Inner>);

impl View<'_> {
    /// The newest state of a mandate; one that the topic does not hold was removed, if it ever was.
    pub(crate) fn get(&self, mandate_id: &str) -> Option<(Arc<str>, Taken)> {
        let (id, known) = self.0.mandates.get_key_value(mandate_id)?;
        Some((Arc::clone(id), Taken { version: known.version, text: known.text.clone() }))
    }

    /// The mandate of least id that this agent of this user holds, active and in date at `time`.
    pub(crate) fn usable(&self, agent_id: &str, user_id: &str, time: Timestamp) -> Option<&Arc<str>> {
        let held = self.0.holders.get(&Asked { agent_id, user_id })?;
        let usable = |id: &&Arc<str>| {
            let holding = self.0.mandates.get(*id).and_then(|known| known.holding.as_ref());
            holding.is_some_and(|holding| {
                let begun = holding.valid_from.is_none_or(|from| from <= time);
                holding.active && begun && holding.valid_to.is_none_or(|to| time <= to)
            })
        };
        held.iter().find(usable)
    }

    /// The end of the changes.
    pub(crate) fn now(&self) -> Cursor {
        Cursor(Some(self.0.changes_from + self.0.changes.len() as u64))
    }

    /// Ids changed since `cursor`, each with its place; `None` when everything has to be compared.
    pub(crate) fn changes_since(&self, cursor: Cursor) -> Option<impl Iterator<Item = (Cursor, &Arc<str>)>> {
        let from = cursor.0?;
        let skip = usize::try_from(from.checked_sub(self.0.changes_from)?).unwrap_or(usize::MAX);
        let places = (from..).map(|at| Cursor(Some(at)));
        Some(places.zip(self.0.changes.iter().skip(skip)))
    }
}

/// The mandates that a batch takes in, by id.
pub type Intaken = BTreeMap<Arc<str>, Taken>;
