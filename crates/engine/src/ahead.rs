//! Looking up the entities of the next transactions before their turn comes.
//!
//! A look-up waits for memory a dozen times, one after the other. Those of many transactions can
//! wait together, so each step is taken for all of them before the next. What is found stays true,
//! because an entity is never taken away and keeps its number; what is not found is looked for again
//! when the turn comes.

use std::hint::black_box;

use weir_detectors::names::Name;
use weir_events::Transaction;

use crate::keyed::Keyed;
use crate::mandates::Mandates;
use crate::names::Names;
use crate::shard::Shard;

/// Transactions that are best looked up together: what they touch fits the nearer caches.
pub const AHEAD_MAX: usize = 64;

/// What is known of a transaction before its turn.
#[derive(Debug, Clone, Copy)]
pub struct Ahead {
    pub(crate) user_hash: u64,
    pub(crate) agent_hash: u64,
    pub(crate) mandate_hash: u64,
    pub(crate) merchant: Name,
    pub(crate) category: Name,
    pub(crate) user: Option<u32>,
    pub(crate) agent: Option<u32>,
    pub(crate) mandate: Option<u32>,
    pub(crate) ledger: Option<u32>,
}

impl Shard {
    /// Looks `transactions` up, best at most [`AHEAD_MAX`] of them, and leaves in `ahead` what
    /// [`Shard::decide_ahead`] wants to know of each.
    pub fn look_ahead<'t>(
        &mut self,
        transactions: impl Iterator<Item = &'t Transaction<'t>> + Clone,
        ahead: &mut Vec<Ahead>,
    ) {
        let Self { keyed, mandates, names, .. } = self;
        ahead.clear();
        ahead.extend(transactions.clone().map(|tx| Ahead::hashed(tx, keyed, mandates, names)));
        for known in &mut *ahead {
            known.user = keyed.users.candidate(known.user_hash);
            known.agent = keyed.agents.candidate(known.agent_hash);
            known.mandate = mandates.candidate(known.mandate_hash);
        }
        for known in &mut *ahead {
            // Most likely the ones meant; whole from here on.
            known.user.map(|at| keyed.users.change_unstored(at));
            known.agent.map(|at| keyed.agents.change_unstored(at));
        }
        for (known, tx) in ahead.iter_mut().zip(transactions.clone()) {
            known.confirm(tx, keyed, mandates);
        }
        for (known, tx) in ahead.iter().zip(transactions) {
            black_box(known.touch(tx, keyed, mandates));
        }
    }
}

impl Ahead {
    /// What follows from the texts alone.
    pub(crate) fn hashed(
        tx: &Transaction<'_>,
        keyed: &Keyed,
        mandates: &Mandates,
        names: &mut Names,
    ) -> Self {
        let user_hash = Keyed::user_hash(keyed.seed, &tx.user_id);
        Self {
            user_hash,
            agent_hash: Keyed::agent_hash(keyed.seed, &tx.agent_id, user_hash),
            mandate_hash: tx.mandate_id.as_deref().map_or(0, |mandate_id| mandates.hash(mandate_id)),
            merchant: names.name(&tx.merchant),
            category: tx.merchant_category.as_deref().map_or(Name::default(), |text| names.name(text)),
            user: None,
            agent: None,
            mandate: None,
            ledger: None,
        }
    }

    /// Drops candidates that merely have the same hash, and finds the ledger.
    fn confirm(&mut self, tx: &Transaction<'_>, keyed: &Keyed, mandates: &Mandates) {
        self.user = self.user.filter(|&at| *keyed.users.read(at).user_id == *tx.user_id);
        self.agent = self.agent.filter(|&at| {
            let agent = keyed.agents.read(at);
            self.user == Some(agent.user) && *agent.agent_id == *tx.agent_id
        });
        let names = tx.mandate_id.as_deref();
        self.mandate = self.mandate.filter(|&at| names == Some(&*mandates.entry(at).mandate_id));
        self.ledger =
            self.mandate.zip(self.user).and_then(|(mandate, user)| keyed.find_ledger(mandate, user));
    }

    /// Reads what the turn will read, so that it is near by then; the sum stands for nothing.
    fn touch(&self, tx: &Transaction<'_>, keyed: &mut Keyed, mandates: &Mandates) -> i64 {
        let user = self.user.map_or(0, |at| keyed.users.read(at).touch());
        let agent = self.agent.map_or(0, |at| keyed.agents.read(at).touch());
        let ledger = self.ledger.map_or(0, |at| keyed.ledgers.change_unstored(at).touch());
        let usable = match self.mandate.and_then(|at| mandates.terms(at)) {
            Some(terms) => {
                terms.held_by(&tx.agent_id, &tx.user_id)
                    && terms.allows_merchant(self.merchant.normalized)
                    && terms.allows_category(self.category.lowered)
            }
            None => false,
        };
        user ^ agent ^ ledger ^ i64::from(usable)
    }
}
