//! The state of one shard and the one function that decides.

use std::sync::Arc;

use weir_detectors::burst::PACE_WINDOW_US;
use weir_detectors::terms::MerchantCategories;
use weir_detectors::{Bound, Payment, TABLE, episode_windows_us};
use weir_events::score::Scale;
use weir_events::time::DAY_US;
use weir_events::{Alert, MandateRecord, Rates, Transaction, Verdict};

use crate::ahead::Ahead;
use crate::checkpoint::Checkpoint;
use crate::config::{Config, TierPolicy};
use crate::intake::Stamp;
use crate::judge::settle;
use crate::keyed::Keyed;
use crate::mandates::{MandateChange, Mandates};
use crate::names::Names;

/// A shard has as many agents or mandates as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard has reached `bounds.{}`, which is {max}; raise it or spread the users over more partitions", bound.name())]
pub struct BoundReached {
    /// Which bound.
    pub bound: Bound,
    /// Its configured value.
    pub max: usize,
}

/// Whose risk profiles a decision changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Number of the transaction's agent: its profile always changes.
    pub agent: u32,
    /// Number of its user.
    pub user: u32,
    /// Whether something changed that stands in the profiles of all the user's agents: pairs that they
    /// made together, or the episodes that are the user's own.
    pub whole_user: bool,
}

/// What follows from the configuration, worked out once.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) config: Config,
    pub(crate) rates: Rates,
    pub(crate) scale: Scale,
    pub(crate) categories: MerchantCategories,
    pub(crate) tiers: Vec<Vec<TierPolicy>>,
    pub(crate) windows_us: [i64; TABLE.len()],
    /// How far behind the watermark an agent's, and a user's, payments are kept.
    pub(crate) agent_span_us: i64,
    pub(crate) user_span_us: i64,
}

impl Policy {
    fn new(config: Config) -> Self {
        let detectors = &config.detectors;
        Self {
            rates: config.rates(),
            scale: config.scale(),
            categories: MerchantCategories::new(&detectors.scope.merchant_categories),
            tiers: config.policies(),
            windows_us: episode_windows_us(detectors),
            agent_span_us: detectors.burst.window.max(detectors.cross_merchant.window).0.max(PACE_WINDOW_US),
            user_span_us: DAY_US,
            config,
        }
    }

    fn payment<'a>(
        &'a self,
        tx: &'a Transaction<'a>,
        ahead: &Ahead,
        stamp: &Stamp,
        agent: u32,
    ) -> Payment<'a> {
        Payment {
            tx,
            time_us: tx.tx_time.0,
            believed_us: stamp.believed_us,
            late: stamp.late,
            clock_skew: stamp.clock_skew,
            watermark_us: stamp.watermark_us,
            oldest_accepted_us: stamp.oldest_accepted_us,
            rates: &self.rates,
            base_amount: self.rates.to_base(tx.amount, tx.currency),
            agent,
            merchant: ahead.merchant,
            category: ahead.category,
            mandate: None,
            held: None,
            usable: None,
            omitted: None,
            at: None,
        }
    }
}

/// The state of one partition, or of one thread's share of its users; single writer.
#[derive(Debug, Clone)]
pub struct Shard {
    pub(crate) policy: Arc<Policy>,
    pub(crate) mandates: Mandates,
    pub(crate) keyed: Keyed,
    pub(crate) names: Names,
    /// The latest checkpoint; only where they are taken.
    pub(crate) checkpoint: Checkpoint,
}

impl Shard {
    /// A shard that has seen nothing. `seed` spreads the hash tables and shows in no output.
    #[must_use]
    pub fn new(config: &Config, seed: u64) -> Self {
        Self {
            mandates: Mandates::new(seed, &config.bounds),
            keyed: Keyed::new(seed),
            names: Names::new(seed),
            checkpoint: Checkpoint::default(),
            policy: Arc::new(Policy::new(config.clone())),
        }
    }

    /// Decides by another configuration from the next transaction on: what this shard then is,
    /// [`Shard::restore`] under that configuration makes of its snapshot.
    pub fn reconfigure(&mut self, config: &Config) {
        let policy = Policy::new(config.clone());
        self.mandates.reconfigure(&config.bounds, &policy.categories);
        self.policy = Arc::new(policy);
    }

    /// Packs what is known of users, agents and mandates' use when it was not needed for `idle_us` of event time,
    /// or for up to twice as long; an hour, where this is not called. It saves memory and shows in no output.
    pub fn pack_after(&mut self, idle_us: i64) {
        self.keyed.rounds.pack_after(idle_us);
    }

    /// Prepares a mandate's record for [`Shard::apply`], under the configuration as it is now.
    #[must_use]
    pub fn prepare(&self, record: &MandateRecord) -> MandateChange {
        MandateChange::new(record, &self.policy.categories)
    }

    /// [`Shard::apply_version`] for who counts no versions.
    ///
    /// # Errors
    /// As for [`Shard::apply_version`].
    pub fn apply(&mut self, change: &MandateChange) -> Result<(), BoundReached> {
        self.apply_version(change, 0)
    }

    /// Puts the newest state of a mandate in force, or removes it; what was done under it is kept.
    /// `version` tells this record from others of the mandate, and is not negative.
    ///
    /// # Errors
    /// When the shard holds as many mandates as it may.
    pub fn apply_version(&mut self, change: &MandateChange, version: i64) -> Result<(), BoundReached> {
        self.mandates.apply(change.mandate_id(), change.terms(), version)
    }

    /// Version of the mandate's record in force, a deletion included; −1: none ever was, the id was only
    /// presented. `None`: never met.
    #[must_use]
    pub fn mandate_version(&self, mandate_id: &str) -> Option<i64> {
        self.mandates.find(mandate_id).map(|at| self.mandates.entry(at).version)
    }

    /// Whether the shard knows terms of this mandate.
    #[must_use]
    pub fn mandate_is_known(&self, mandate_id: &str) -> bool {
        self.mandates.find(mandate_id).is_some_and(|at| self.mandates.terms(at).is_some())
    }

    /// Every mandate that was met, with its version as [`Shard::mandate_version`] gives it and whether it
    /// is known, in the order in which they were met.
    pub fn mandate_versions(&self) -> impl Iterator<Item = (&str, i64, bool)> {
        self.mandates.iter().map(|entry| (&*entry.mandate_id, entry.version, entry.terms.is_some()))
    }

    /// Numbers of the agents that have a use under the mandate: whose profiles change with it.
    #[must_use]
    pub fn agents_of_mandate(&self, mandate_id: &str) -> Vec<u32> {
        let ledgers = self.mandates.ledgers_of(mandate_id).iter();
        let agents =
            ledgers.map(|&at| self.keyed.ledgers.read(at).uses.iter().map(|usage| usage.agent).collect());
        agents.collect::<Vec<Vec<u32>>>().concat()
    }

    /// Numbers of the user's agents, in the order in which they were first seen.
    #[must_use]
    pub fn agents_of_user(&self, user: u32) -> Vec<u32> {
        let known = (user as usize) < self.keyed.users.len();
        if known { self.keyed.users.read(user).agents.to_vec() } else { Vec::new() }
    }

    /// Number of an agent that was seen.
    #[must_use]
    pub fn find_agent(&self, user_id: &str, agent_id: &str) -> Option<u32> {
        self.keyed.find_agent(user_id, agent_id)
    }

    /// Decides one accepted transaction into `verdict` and appends what its episodes have to tell.
    ///
    /// # Errors
    /// When the shard holds as many agents or mandates as it may; the transaction has left no trace
    /// then.
    pub fn decide(
        &mut self,
        tx: &Transaction<'_>,
        stamp: &Stamp,
        verdict: &mut Verdict,
        alerts: &mut Vec<Alert>,
    ) -> Result<Changed, BoundReached> {
        let ahead = Ahead::hashed(tx, &self.keyed, &self.mandates, &mut self.names);
        self.decide_ahead(tx, &ahead, stamp, verdict, alerts)
    }

    /// [`Shard::decide`] with what [`Shard::look_ahead`] found.
    ///
    /// # Errors
    /// As for [`Shard::decide`].
    pub fn decide_ahead(
        &mut self,
        tx: &Transaction<'_>,
        ahead: &Ahead,
        stamp: &Stamp,
        verdict: &mut Verdict,
        alerts: &mut Vec<Alert>,
    ) -> Result<Changed, BoundReached> {
        let Self { policy, mandates, keyed, .. } = self;
        let number = match (ahead.mandate, tx.mandate_id.as_deref()) {
            (None, Some(mandate_id)) => Some(mandates.number(mandate_id, ahead.mandate_hash)?),
            (known, _) => known,
        };
        let places = keyed.places(tx, ahead, number, &policy.config.bounds)?;
        if let (Some(mandate), Some(ledger)) = (number, places.new_ledger) {
            mandates.note_ledger(mandate, ledger);
        }
        let mut on = keyed.hold(places);
        let before = on.shared(policy);

        let terms = number.and_then(|at| mandates.terms(at));
        let mut payment = policy.payment(tx, ahead, stamp, on.agent.number);
        payment.put_under(terms);
        payment.omitted = if number.is_none() { mandates.usable(tx, ahead.agent_hash) } else { None };
        payment.at = on.take_in(&payment, policy);
        on.close_episodes(payment.believed_us, policy, alerts);
        // An episode that closes and one that opens leave as many; looked at between, they show.
        let closed = on.shared(policy);

        verdict.clear();
        verdict.late = stamp.late;
        verdict.mandate = on.standing(&payment);
        let measures = on.observe(&payment, policy, verdict);
        settle(verdict, &policy.scale);
        on.tell_episodes(&payment, verdict, alerts);
        on.learn(&payment, policy, verdict);
        on.note_decision(&payment, policy, verdict, &measures);
        let whole_user = closed != before || closed != on.shared(policy);
        on.count_bounds();
        keyed.pack_idle(stamp.watermark_us);
        Ok(Changed { agent: places.agent, user: places.user, whole_user })
    }

    /// Agents seen.
    #[must_use]
    pub fn agents_seen(&self) -> usize {
        self.keyed.agents.len()
    }

    /// The deciding configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.policy.config
    }

    /// Bounds reached, with the number of agents or users that reached each.
    #[must_use]
    pub fn bounds_reached(&self) -> Vec<(Bound, u64)> {
        let count = |bound: Bound| match bound {
            Bound::HolderMandates => self.mandates.holders_full(),
            _ => self.keyed.reached.of(bound),
        };
        Bound::ALL.iter().map(|&bound| (bound, count(bound))).filter(|&(_, count)| count > 0).collect()
    }
}
