//! One accepted transaction as the detectors see it.

use weir_events::{Amount, Rates, Transaction};

use crate::Terms;
use crate::hash::pair_hash;
use crate::names::Name;

/// A transaction with what the engine has looked up for it.
#[derive(Debug, Clone, Copy)]
pub struct Payment<'a> {
    /// The transaction.
    pub tx: &'a Transaction<'a>,
    /// Its event time in microseconds.
    pub time_us: i64,
    /// The same, unless that clock is not believed: then no later than event time has come.
    pub believed_us: i64,
    /// Older than the watermark, or its clock ahead: left out of the windows.
    pub late: bool,
    /// `tx_time` too far ahead of `record_time`.
    pub clock_skew: bool,
    /// The shard's watermark.
    pub watermark_us: i64,
    /// Nothing that happened before this is accepted any more; it could not be told from a repeat.
    pub oldest_accepted_us: i64,
    /// Rates into the base currency.
    pub rates: &'a Rates,
    /// The amount in the base currency; `None` without a rate.
    pub base_amount: Option<Amount>,
    /// Number of the agent within its user.
    pub agent: u32,
    /// Its merchant.
    pub merchant: Name,
    /// Its merchant category; nothing but zeros where it has none.
    pub category: Name,
    /// The presented mandate, where it is known.
    pub mandate: Option<&'a Terms>,
    /// The same, if this agent and user hold it.
    pub held: Option<&'a Terms>,
    /// The same, if it is also active and in date.
    pub usable: Option<&'a Terms>,
    /// For a transaction without a mandate: one of the agent's that is active and in date.
    pub omitted: Option<&'a Terms>,
    /// Position of this payment in the agent's timeline; `None` when late.
    pub at: Option<usize>,
}

impl<'a> Payment<'a> {
    /// Puts the presented mandate, where it is known, to the payment.
    pub fn put_under(&mut self, mandate: Option<&'a Terms>) {
        self.mandate = mandate;
        self.held = mandate.filter(|terms| terms.held_by(&self.tx.agent_id, &self.tx.user_id));
        self.usable = self.held.filter(|terms| terms.usable_at(self.time_us));
    }

    /// Whether this payment is inside a mandate that binds it: usable, and with a merchant scope, a
    /// category list or a cap.
    #[must_use]
    pub fn bounded(&self) -> bool {
        self.usable.is_some_and(Terms::binds)
    }

    /// Equal for payments that are equal in amount, currency and merchant.
    #[must_use]
    pub fn equal_key(&self) -> u64 {
        let [a, b, c] = self.tx.currency.0.map(u64::from);
        let amount = self.tx.amount.0;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "amounts are below 2^77 units, so both halves are used"
        )]
        let amount = amount as u64 ^ ((amount >> 64) as u64).rotate_left(40);
        pair_hash(self.merchant.raw, amount ^ (a << 56 | b << 48 | c << 40))
    }

    /// An amount of the payment's currency in the base currency; `None` without a rate.
    #[must_use]
    pub fn to_base(&self, amount: Amount) -> Option<Amount> {
        self.rates.to_base(amount, self.tx.currency)
    }
}
