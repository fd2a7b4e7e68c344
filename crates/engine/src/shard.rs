//! The state of one shard and the one function that decides.

use std::sync::Arc;

use weir_detectors::burst::PACE_WINDOW_US;
use weir_detectors::terms::MerchantCategories;
use weir_detectors::{Bound, Payment, Reached, TABLE, episode_windows_us};
use weir_events::score::Scale;
use weir_events::time::DAY_US;
use weir_events::{Alert, MandateRecord, Rates, Transaction, Verdict};

use crate::ahead::Ahead;
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
}

impl Shard {
    /// A shard that has seen nothing. `seed` spreads the hash tables and shows in no output.
    #[must_use]
    pub fn new(config: &Config, seed: u64) -> Self {
        let bounds = &config.bounds;
        Self {
            mandates: Mandates::new(seed, bounds.mandates_max, bounds.holder_mandates_max),
            keyed: Keyed::new(seed),
            names: Names::new(seed),
            policy: Arc::new(Policy::new(config.clone())),
        }
    }

    /// Prepares a mandate's record for [`Shard::apply`].
    #[must_use]
    pub fn prepare(&self, record: &MandateRecord) -> MandateChange {
        MandateChange::new(record, &self.policy.categories)
    }

    /// Puts the newest state of a mandate in force, or removes it; what was done under it is kept.
    ///
    /// # Errors
    /// When the shard holds as many mandates as it may.
    pub fn apply(&mut self, change: &MandateChange) -> Result<(), BoundReached> {
        self.mandates.apply(change.mandate_id(), change.terms())
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
    ) -> Result<(), BoundReached> {
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
    ) -> Result<(), BoundReached> {
        let Self { policy, mandates, keyed, .. } = self;
        let number = match (ahead.mandate, tx.mandate_id.as_deref()) {
            (None, Some(mandate_id)) => Some(mandates.number(mandate_id, ahead.mandate_hash)?),
            (known, _) => known,
        };
        let places = keyed.places(tx, ahead, number, &policy.config.bounds)?;
        let mut on = keyed.hold(places);

        let terms = number.and_then(|at| mandates.terms(at));
        let mut payment = policy.payment(tx, ahead, stamp, on.agent.number);
        payment.put_under(terms);
        payment.omitted = if number.is_none() { mandates.usable(tx, ahead.agent_hash) } else { None };
        payment.at = on.take_in(&payment, policy);
        on.close_episodes(payment.believed_us, policy, alerts);

        verdict.clear();
        verdict.late = stamp.late;
        verdict.mandate = on.standing(&payment);
        let measures = on.observe(&payment, policy, verdict);
        settle(verdict, &policy.scale);
        on.tell_episodes(&payment, verdict, alerts);
        on.learn(&payment, policy, verdict);
        on.note_decision(&payment, policy, verdict, &measures);
        Ok(())
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
        let agents = self.keyed.agents.iter().map(|agent| agent.reached);
        let users = self.keyed.users.iter().map(|user| user.reached);
        let all: Vec<Reached> = agents.chain(users).filter(|reached| reached.any()).collect();
        let count = |bound: Bound| match bound {
            Bound::HolderMandates => self.mandates.holders_full(),
            _ => all.iter().filter(|reached| reached.has(bound)).count() as u64,
        };
        Bound::ALL.iter().map(|&bound| (bound, count(bound))).filter(|&(_, count)| count > 0).collect()
    }
}
