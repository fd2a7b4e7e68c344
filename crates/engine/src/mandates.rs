//! The shard's own mandate table.

use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;
use weir_detectors::hash::pair_hash;
use weir_detectors::terms::MerchantCategories;
use weir_detectors::{Bound, Bounds, Terms};
use weir_events::{MandateRecord, Timestamp, Transaction};

use crate::packed::Plain;
use crate::shard::BoundReached;
use crate::table::{Table, seeded, spread};

/// A record of a mandate prepared to be put in force: once for every shard and for the views.
#[derive(Debug, Clone)]
pub enum MandateChange {
    /// The new complete state.
    State(Arc<Terms>),
    /// The mandate is unknown from here on.
    Deleted {
        /// Which.
        mandate_id: Box<str>,
        /// When, where the record says so.
        updated_at: Option<Timestamp>,
    },
}

impl MandateChange {
    pub(crate) fn new(record: &MandateRecord, categories: &MerchantCategories) -> Self {
        match record {
            MandateRecord::State(mandate) => Self::State(Arc::new(Terms::new(mandate, categories))),
            MandateRecord::Deleted { mandate_id, updated_at } => {
                Self::Deleted { mandate_id: mandate_id.as_str().into(), updated_at: *updated_at }
            }
        }
    }

    /// The mandate that changes.
    #[must_use]
    pub fn mandate_id(&self) -> &str {
        match self {
            Self::State(terms) => terms.mandate_id(),
            Self::Deleted { mandate_id, .. } => mandate_id,
        }
    }

    /// When the record says it was made.
    #[must_use]
    pub fn updated_at(&self) -> Option<Timestamp> {
        match self {
            Self::State(terms) => terms.updated_at(),
            Self::Deleted { updated_at, .. } => *updated_at,
        }
    }

    /// The new state; `None` where there is none any more.
    #[must_use]
    pub fn terms(&self) -> Option<&Arc<Terms>> {
        match self {
            Self::State(terms) => Some(terms),
            Self::Deleted { .. } => None,
        }
    }
}

/// Version of a mandate of which no record was ever put in force: the id was only met.
pub(crate) const ONLY_MET: i64 = -1;

/// A mandate id that the shard has met, and the mandate's newest state where it is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MandateEntry {
    pub(crate) mandate_id: Box<str>,
    pub(crate) terms: Option<Arc<Terms>>,
    /// Version of the record in force, which may be a deletion; [`ONLY_MET`] before the first.
    pub(crate) version: i64,
    /// Numbers of the ledgers kept under the mandate; nearly always one, and not part of a snapshot.
    ledgers: SmallVec<[u32; 1]>,
}

impl MandateEntry {
    fn met(mandate_id: &str) -> Self {
        Self { mandate_id: mandate_id.into(), terms: None, version: ONLY_MET, ledgers: SmallVec::new() }
    }
}

/// Mandates by id and by holder.
#[derive(Debug, Clone)]
pub(crate) struct Mandates {
    pub(crate) table: Table<Plain<MandateEntry>>,
    /// Numbers of the mandates of each holder, sorted by mandate id, to see that one was left out.
    holders: HashTable<(u64, SmallVec<[u32; 1]>)>,
    /// Holders of more mandates than are looked at.
    holders_full: u64,
    seed: u64,
    mandates_max: usize,
    holder_mandates_max: usize,
}

impl Mandates {
    pub(crate) fn new(seed: u64, bounds: &Bounds) -> Self {
        let &Bounds { mandates_max, holder_mandates_max, .. } = bounds;
        let (table, holders, holders_full) = (Table::new(seed), HashTable::new(), 0);
        Self { table, holders, holders_full, seed, mandates_max, holder_mandates_max }
    }

    /// Hash by which a mandate id is found.
    pub(crate) fn hash(&self, mandate_id: &str) -> u64 {
        seeded(self.seed, mandate_id)
    }

    /// Number of the id that most likely has this hash.
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        self.table.candidate(hash)
    }

    /// Number of a mandate id, known or not; `hash` is its [`Mandates::hash`].
    pub(crate) fn number(&mut self, mandate_id: &str, hash: u64) -> Result<u32, BoundReached> {
        if let Some(at) = self.table.find(hash, |entry| *entry.mandate_id == *mandate_id) {
            return Ok(at);
        }
        let max = self.mandates_max;
        if self.table.len() >= max {
            return Err(BoundReached { bound: Bound::Mandates, max });
        }
        Ok(self.table.insert(hash, MandateEntry::met(mandate_id)))
    }

    /// Number of a mandate id that was met.
    pub(crate) fn find(&self, mandate_id: &str) -> Option<u32> {
        self.table.find(self.hash(mandate_id), |entry| *entry.mandate_id == *mandate_id)
    }

    /// Puts the newest state of a mandate in force, or removes it.
    pub(crate) fn apply(
        &mut self,
        mandate_id: &str,
        terms: Option<&Arc<Terms>>,
        version: i64,
    ) -> Result<(), BoundReached> {
        let at = self.number(mandate_id, self.hash(mandate_id))?;
        let entry = self.table.change(at);
        entry.version = version;
        if let Some(before) = std::mem::replace(&mut entry.terms, terms.cloned()) {
            self.unindex(at, &before);
        }
        if let Some(terms) = terms {
            self.index(at, terms);
        }
        Ok(())
    }

    /// Makes room for so many more mandates.
    pub(crate) fn reserve(&mut self, count: usize) {
        let seed = self.seed;
        self.table.reserve(count);
        self.holders.reserve(count, |&(known, _)| spread(known, seed));
    }

    /// Adds a mandate as a snapshot holds it, whatever the bound: it was within the one of its time.
    pub(crate) fn restore(&mut self, mandate_id: &str, terms: Option<Arc<Terms>>, version: i64) {
        let entry = MandateEntry { terms, version, ..MandateEntry::met(mandate_id) };
        let at = self.table.insert(self.hash(mandate_id), entry);
        if let Some(terms) = self.table[at].terms.clone() {
            self.index(at, &terms);
        }
    }

    /// Goes on under other bounds and other categories of merchants.
    pub(crate) fn reconfigure(&mut self, bounds: &Bounds, categories: &MerchantCategories) {
        self.mandates_max = bounds.mandates_max;
        self.holder_mandates_max = bounds.holder_mandates_max;
        let full = self.holders.iter().filter(|(_, held)| held.len() > self.holder_mandates_max);
        self.holders_full = full.count() as u64;
        for at in 0..u32::try_from(self.table.len()).unwrap_or(u32::MAX) {
            // Who holds a mandate does not follow from the configuration, so the index of holders stands.
            if let Some(terms) = &mut self.table.change_unstored(at).terms {
                *terms = Arc::new(Terms::new(&terms.mandate(), categories));
            }
        }
    }

    /// Keeps that this ledger belongs to the mandate with this number.
    pub(crate) fn note_ledger(&mut self, at: u32, ledger: u32) {
        self.table.change_unstored(at).ledgers.push(ledger);
    }

    /// Numbers of the ledgers kept under a mandate.
    pub(crate) fn ledgers_of(&self, mandate_id: &str) -> &[u32] {
        self.find(mandate_id).map_or(&[], |at| &self.table[at].ledgers)
    }

    pub(crate) fn entry(&self, at: u32) -> &MandateEntry {
        &self.table[at]
    }

    /// Newest state of a mandate, where it is known.
    pub(crate) fn terms(&self, at: u32) -> Option<&Terms> {
        self.table[at].terms.as_deref()
    }

    /// The mandate of least id that the transaction's agent holds, active and in date.
    /// `holder` is the hash of its agent and user.
    pub(crate) fn usable(&self, tx: &Transaction<'_>, holder: u64) -> Option<&Terms> {
        let found = self.holders.find(spread(holder, self.seed), |&(known, _)| known == holder);
        let indexed = found.iter().flat_map(|(_, mandates)| mandates).take(self.holder_mandates_max);
        let mut held = indexed.filter_map(|&at| self.terms(at));
        held.find(|terms| terms.held_by(&tx.agent_id, &tx.user_id) && terms.usable_at(tx.tx_time.0))
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &MandateEntry> {
        self.table.iter()
    }

    /// Holders of more mandates than are looked at.
    pub(crate) fn holders_full(&self) -> u64 {
        self.holders_full
    }

    fn holder(&self, agent_id: &str, user_id: &str) -> u64 {
        pair_hash(seeded(self.seed, user_id), seeded(self.seed, agent_id))
    }

    fn index(&mut self, mandate: u32, terms: &Terms) {
        let (holder, seed) = (self.holder(terms.agent_id(), terms.user_id()), self.seed);
        let table = &self.table;
        let rehash = |&(known, _): &(u64, _)| spread(known, seed);
        let entry = self.holders.entry(spread(holder, seed), |&(known, _)| known == holder, rehash);
        let mut entry = entry.or_insert((holder, SmallVec::new()));
        let held = &mut entry.get_mut().1;
        let at = held.partition_point(|&other| table[other].mandate_id < table[mandate].mandate_id);
        held.insert(at, mandate);
        self.holders_full += u64::from(held.len() == self.holder_mandates_max + 1);
    }

    fn unindex(&mut self, mandate: u32, terms: &Terms) {
        let holder = self.holder(terms.agent_id(), terms.user_id());
        let found = self.holders.find_mut(spread(holder, self.seed), |&(known, _)| known == holder);
        if let Some((_, held)) = found {
            let was_full = held.len() > self.holder_mandates_max;
            held.retain(|at| *at != mandate);
            self.holders_full -= u64::from(was_full && held.len() <= self.holder_mandates_max);
        }
    }
}
