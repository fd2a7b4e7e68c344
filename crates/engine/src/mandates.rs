//! The shard's own mandate table.

use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;
use weir_detectors::hash::pair_hash;
use weir_detectors::terms::MerchantCategories;
use weir_detectors::{Bound, Terms};
use weir_events::{MandateRecord, Timestamp, Transaction};

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

/// A mandate id that the shard has met, and the mandate's newest state where it is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MandateEntry {
    pub(crate) mandate_id: Box<str>,
    pub(crate) terms: Option<Arc<Terms>>,
}

/// Mandates by id and by holder.
#[derive(Debug, Clone)]
pub(crate) struct Mandates {
    table: Table<MandateEntry>,
    /// Numbers of the mandates of each holder, sorted by mandate id, to see that one was left out.
    holders: HashTable<(u64, SmallVec<[u32; 1]>)>,
    seed: u64,
    mandates_max: usize,
    holder_mandates_max: usize,
}

impl Mandates {
    pub(crate) fn new(seed: u64, mandates_max: usize, holder_mandates_max: usize) -> Self {
        Self { table: Table::new(seed), holders: HashTable::new(), seed, mandates_max, holder_mandates_max }
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
        Ok(self.table.insert(hash, MandateEntry { mandate_id: mandate_id.into(), terms: None }))
    }

    /// Puts the newest state of a mandate in force, or removes it.
    pub(crate) fn apply(&mut self, mandate_id: &str, terms: Option<&Arc<Terms>>) -> Result<(), BoundReached> {
        let at = self.number(mandate_id, self.hash(mandate_id))?;
        if let Some(before) = std::mem::replace(&mut self.table[at].terms, terms.cloned()) {
            self.unindex(at, &before);
        }
        if let Some(terms) = terms {
            self.index(at, terms);
        }
        Ok(())
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

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, MandateEntry> {
        self.table.iter()
    }

    /// Holders of more mandates than are looked at.
    pub(crate) fn holders_full(&self) -> u64 {
        self.holders.iter().filter(|(_, held)| held.len() > self.holder_mandates_max).count() as u64
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
    }

    fn unindex(&mut self, mandate: u32, terms: &Terms) {
        let holder = self.holder(terms.agent_id(), terms.user_id());
        let found = self.holders.find_mut(spread(holder, self.seed), |&(known, _)| known == holder);
        if let Some((_, held)) = found {
            held.retain(|at| *at != mandate);
        }
    }
}
