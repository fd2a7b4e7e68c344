//! The state of one shard and the one function that decides.

use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;
use weir_detectors::cross_merchant::groups::GroupMap;
use weir_detectors::hash::{name_hash, pair_hash};
use weir_detectors::replay::Replay;
use weir_detectors::risk::Measures;
use weir_detectors::terms::MerchantCategories;
use weir_detectors::timeline::{AgentPayment, UserPayment};
use weir_detectors::{
    Bound, Entities, EpisodeKey, Outcome, Payment, Reached, TABLE, Terms, episode_windows_us, observe_all,
    settle_all,
};
use weir_events::decision::MandateStanding;
use weir_events::score::Scale;
use weir_events::time::DAY_US;
use weir_events::{Alert, Amount, MandateRecord, MandateStatus, Rates, Transaction, Verdict};

use crate::config::{Config, TierPolicy};
use crate::entities::{Agent, Current, Ledger, MandateEntry, Use, User};
use crate::episodes::Raised;
use crate::intake::Stamp;
use crate::judge::{Bench, settle};
use crate::table::{Table, spread};

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
    tiers: Vec<Vec<TierPolicy>>,
    windows_us: [i64; TABLE.len()],
    groups: GroupMap,
    /// How far behind the watermark an agent's, and a user's, payments are kept.
    agent_span_us: i64,
    user_span_us: i64,
}

impl Policy {
    fn new(config: Config) -> Self {
        let detectors = &config.detectors;
        let agent_span_us = detectors.burst.window.max(detectors.cross_merchant.window).0;
        Self {
            rates: config.rates(),
            scale: config.scale(),
            categories: MerchantCategories::new(&detectors.scope.merchant_categories),
            tiers: config.policies(),
            windows_us: episode_windows_us(detectors),
            groups: GroupMap::default(),
            agent_span_us,
            user_span_us: DAY_US,
            config,
        }
    }
}

/// The state of one partition, or of one thread's share of its users; single writer.
#[derive(Debug, Clone)]
pub struct Shard {
    pub(crate) policy: Arc<Policy>,
    pub(crate) users: Table<User>,
    pub(crate) agents: Table<Agent>,
    pub(crate) mandates: Table<MandateEntry>,
    pub(crate) ledgers: Table<Ledger>,
    /// Mandates by holder, to see that one was left out: numbers sorted by mandate id.
    holders: HashTable<(u64, SmallVec<[u32; 1]>)>,
    /// Mandates that were not indexed because their holder had too many.
    holders_full: u64,
    seed: u64,
}

/// Numbers of the entities of one transaction.
#[derive(Debug, Clone, Copy)]
struct Places {
    user: u32,
    agent: u32,
    ledger: Option<u32>,
    /// Place of the agent's use in the ledger.
    usage: Option<u32>,
}

impl Shard {
    /// A shard that has seen nothing. `seed` spreads the hash tables and shows in no output.
    #[must_use]
    pub fn new(config: &Config, seed: u64) -> Self {
        Self {
            policy: Arc::new(Policy::new(config.clone())),
            users: Table::new(seed),
            agents: Table::new(seed),
            mandates: Table::new(seed),
            ledgers: Table::new(seed),
            holders: HashTable::new(),
            holders_full: 0,
            seed,
        }
    }

    /// Prepares a mandate for [`Shard::apply_mandate`]; shared by the shards of several threads.
    #[must_use]
    pub fn terms(&self, record: &MandateRecord) -> Option<Arc<Terms>> {
        match record {
            MandateRecord::State(mandate) => {
                Some(Arc::new(Terms::new((**mandate).clone(), &self.policy.categories)))
            }
            MandateRecord::Deleted { .. } => None,
        }
    }

    /// Puts the newest state of a mandate in force, or removes it; what was done under it is kept.
    ///
    /// # Errors
    /// When the shard holds as many mandates as it may.
    pub fn apply_mandate(&mut self, mandate_id: &str, terms: Option<Arc<Terms>>) -> Result<(), BoundReached> {
        let at = self.mandate_number(mandate_id)?;
        let entry = &mut self.mandates[at];
        let before = std::mem::replace(&mut entry.terms, terms.clone());
        if let Some(before) = before {
            self.unindex(at, &before);
        }
        if let Some(terms) = terms {
            self.index_holder(at, &terms);
        }
        Ok(())
    }

    /// Decides one accepted transaction into `verdict` and appends what its episodes have to tell.
    ///
    /// # Errors
    /// When the shard holds as many agents or mandates as it may; nothing has changed then.
    pub fn decide(
        &mut self,
        tx: &Transaction<'_>,
        stamp: &Stamp,
        verdict: &mut Verdict,
        alerts: &mut Vec<Alert>,
    ) -> Result<(), BoundReached> {
        verdict.clear();
        let places = self.places(tx)?;
        let policy = Arc::clone(&self.policy);
        let mandate = places.ledger.and_then(|at| self.mandates[self.ledgers[at].mandate].terms.clone());
        let omitted = if tx.mandate_id.is_none() { self.usable_mandate(tx) } else { None };

        let mut payment = self.payment(tx, stamp, &policy, mandate.as_deref(), omitted.as_deref(), places);
        payment.at = self.take_in(&payment, places, &policy);
        self.close_episodes(&payment, places, &policy, alerts);

        verdict.late = stamp.late;
        verdict.mandate = mandate.as_deref().and_then(|terms| self.standing(terms, &payment, places));
        let measures = self.observe(&payment, places, &policy, verdict);
        settle(verdict, &policy.scale);
        self.tell_episodes(&payment, places, verdict, alerts);
        self.learn(&payment, places, &policy, verdict);
        self.note_decision(&payment, places, &policy, verdict, &measures);
        Ok(())
    }

    /// Agents seen.
    #[must_use]
    pub fn agents_seen(&self) -> usize {
        self.agents.len()
    }

    /// The deciding configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.policy.config
    }

    fn payment<'a>(
        &self,
        tx: &'a Transaction<'a>,
        stamp: &Stamp,
        policy: &'a Policy,
        mandate: Option<&'a Terms>,
        omitted: Option<&'a Terms>,
        places: Places,
    ) -> Payment<'a> {
        let category = tx.merchant_category.as_deref();
        Payment {
            tx,
            time_us: tx.tx_time.0,
            late: stamp.late,
            clock_skew: stamp.clock_skew,
            watermark_us: stamp.watermark_us,
            oldest_accepted_us: stamp.oldest_accepted_us,
            rates: &policy.rates,
            base_amount: policy.rates.to_base(tx.amount, tx.currency),
            agent: self.agents[places.agent].number,
            group: category.map_or(0, |category| policy.groups.group(category)),
            category: category.map_or(0, |category| name_hash(category.as_bytes())),
            merchant: name_hash(tx.merchant.as_bytes()),
            mandate,
            omitted,
            at: None,
        }
    }

    /// Counts the payment for its agent and puts it into the timelines unless it is late.
    fn take_in(&mut self, payment: &Payment<'_>, places: Places, policy: &Policy) -> Option<usize> {
        let (agent, user) = (&mut self.agents[places.agent], &mut self.users[places.user]);
        let time_us = payment.time_us;
        agent.first_seen_us =
            if agent.payments_seen == 0 { time_us } else { agent.first_seen_us.min(time_us) };
        agent.payments_seen += 1;
        if payment.late {
            return None;
        }
        let bounds = &policy.config.bounds;
        let tx = payment.tx;
        let [a, b, c] = tx.currency.0.map(u64::from);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "amounts are below 2^77 units, so the halves hold them"
        )]
        let amount =
            pair_hash(tx.amount.0 as u64, (tx.amount.0 >> 64) as u64 ^ (a << 48 | b << 40 | c << 32));
        let equal_key = pair_hash(payment.merchant, amount);
        agent.payments.evict_before(payment.watermark_us - policy.agent_span_us);
        let at = agent.payments.insert(AgentPayment {
            time_us,
            equal_key,
            category: payment.category,
            group: payment.group,
        });
        let before = agent.payments.len();
        if agent.payments.shrink_to(bounds.agent_payments_max) {
            agent.reached.mark(Bound::AgentPayments);
        }
        user.payments.evict_before(payment.watermark_us - policy.user_span_us);
        user.payments.insert(UserPayment { time_us, agent: payment.agent, amount: payment.base_amount });
        if user.payments.shrink_to(bounds.user_payments_max) {
            user.reached.mark(Bound::UserPayments);
        }
        at.checked_sub(before - agent.payments.len())
    }

    fn close_episodes(
        &mut self,
        payment: &Payment<'_>,
        places: Places,
        policy: &Policy,
        alerts: &mut Vec<Alert>,
    ) {
        let user = &mut self.users[places.user];
        let (time_us, windows_us) = (payment.time_us, &policy.windows_us);
        user.episodes.close_before(time_us, windows_us, &user.user_id, alerts);
        self.agents[places.agent].episodes.close_before(time_us, windows_us, &user.user_id, alerts);
        if let Some(usage) = usage_of(&mut self.ledgers, places) {
            usage.episodes.close_before(time_us, windows_us, &user.user_id, alerts);
        }
    }

    fn standing(&self, terms: &Terms, payment: &Payment<'_>, places: Places) -> Option<MandateStanding> {
        let ledger = &self.ledgers[places.ledger?];
        Some(MandateStanding {
            status: terms.mandate.status,
            max_amount: terms.mandate.max_amount,
            spent_before: Replay::spent_before(&ledger.states.replay, terms, payment.time_us),
        })
    }

    /// Lets the detectors observe; returns the measure of each one's signal.
    fn observe(
        &mut self,
        payment: &Payment<'_>,
        places: Places,
        policy: &Policy,
        verdict: &mut Verdict,
    ) -> [Amount; TABLE.len()] {
        let mut bench = Bench { policies: &policy.tiers, verdict, measures: [Amount::ZERO; TABLE.len()] };
        self.with_entities(places, policy, |on| {
            observe_all(&policy.config.detectors, payment, on, &mut bench)
        });
        bench.measures
    }

    fn learn(&mut self, payment: &Payment<'_>, places: Places, policy: &Policy, verdict: &Verdict) {
        let outcome = Outcome { action: verdict.action, verdict };
        self.with_entities(places, policy, |on| settle_all(&policy.config.detectors, payment, on, &outcome));
    }

    /// Hands the states of one transaction's entities to `work`, and keeps the bounds it reached.
    fn with_entities(&mut self, places: Places, policy: &Policy, work: impl FnOnce(&mut Entities<'_>)) {
        let (agent, user) = (&mut self.agents[places.agent], &mut self.users[places.user]);
        let (ledger, usage) = match places.ledger.map(|at| &mut self.ledgers[at]) {
            Some(ledger) => {
                let usage = places.usage.and_then(|at| ledger.uses.get_mut(at as usize));
                (Some(&mut ledger.states), usage.map(|usage| &mut usage.states))
            }
            None => (None, None),
        };
        let mut reached = agent.reached.and(user.reached);
        work(&mut Entities {
            agent: &mut agent.states,
            user: &mut user.states,
            ledger,
            usage,
            payments: &agent.payments,
            user_payments: &user.payments,
            bounds: &policy.config.bounds,
            reached: &mut reached,
        });
        for bound in reached.iter() {
            let of = if bound.is_of_user() { &mut user.reached } else { &mut agent.reached };
            of.mark(bound);
        }
    }

    fn tell_episodes(
        &mut self,
        payment: &Payment<'_>,
        places: Places,
        verdict: &mut Verdict,
        alerts: &mut Vec<Alert>,
    ) {
        if verdict.signals.is_empty() {
            return;
        }
        let tx = payment.tx;
        let raised = Raised {
            tx_id: &tx.tx_id,
            agent_id: &tx.agent_id,
            user_id: &tx.user_id,
            mandate_id: tx.mandate_id.as_deref(),
            time_us: payment.time_us,
            amount: payment.base_amount,
            pausable: payment.held().is_some_and(|terms| terms.mandate.status == MandateStatus::Active),
        };
        let mut signals = std::mem::take(&mut verdict.signals);
        for signal in &mut signals {
            let Some(entry) = TABLE.get(usize::from(signal.rank)) else { continue };
            let episodes = match entry.episode {
                EpisodeKey::Agent => Some(&mut self.agents[places.agent].episodes),
                EpisodeKey::User => Some(&mut self.users[places.user].episodes),
                EpisodeKey::Use => usage_of(&mut self.ledgers, places).map(|usage| &mut usage.episodes),
            };
            let Some(episodes) = episodes else { continue };
            let detector = u8::try_from(signal.rank).unwrap_or(u8::MAX);
            let first_tx = episodes.add(detector, signal, &raised, alerts);
            signal.episode = verdict.store(first_tx);
        }
        verdict.signals = signals;
    }

    fn note_decision(
        &mut self,
        payment: &Payment<'_>,
        places: Places,
        policy: &Policy,
        verdict: &Verdict,
        measures: &[Amount; TABLE.len()],
    ) {
        let agent = &mut self.agents[places.agent];
        let time_us = payment.time_us;
        agent.actions.add(time_us, verdict.action, &policy.config.bounds, &mut agent.reached);
        if agent.payments_seen == 1 || time_us >= agent.current.as_of_us {
            agent.current = Current {
                as_of_us: time_us,
                measures: present_measures(measures),
                composite: verdict.composite,
            };
        }
    }

    /// Finds the entities of a transaction, and makes those that are new.
    fn places(&mut self, tx: &Transaction<'_>) -> Result<Places, BoundReached> {
        let mandate = match tx.mandate_id.as_deref() {
            Some(mandate_id) => Some(self.mandate_number(mandate_id)?),
            None => None,
        };
        let user_hash = name_hash(tx.user_id.as_bytes());
        let user = self.users.find(user_hash, |user| *user.user_id == *tx.user_id);
        let agent_hash = pair_hash(user_hash, name_hash(tx.agent_id.as_bytes()));
        let agent = user.and_then(|user| {
            self.agents.find(agent_hash, |agent| agent.user == user && *agent.agent_id == *tx.agent_id)
        });
        let max = self.policy.config.bounds.agents_max;
        if agent.is_none() && self.agents.len() >= max {
            return Err(BoundReached { bound: Bound::Agents, max });
        }
        let user = user.unwrap_or_else(|| {
            let user_id = tx.user_id.as_ref().into();
            self.users.insert(user_hash, User { user_id, ..User::default() })
        });
        let agent = agent.unwrap_or_else(|| {
            let known = &mut self.users[user].agents;
            let number = u32::try_from(known.len()).unwrap_or(u32::MAX);
            let agent_id = tx.agent_id.as_ref().into();
            let at = self.agents.insert(agent_hash, Agent { agent_id, user, number, ..Agent::default() });
            known.push(at);
            at
        });
        let ledger = mandate.map(|mandate| self.ledger_number(mandate, user));
        let usage = ledger.and_then(|ledger| self.use_number(ledger, agent));
        Ok(Places { user, agent, ledger, usage })
    }

    fn mandate_number(&mut self, mandate_id: &str) -> Result<u32, BoundReached> {
        let hash = name_hash(mandate_id.as_bytes());
        if let Some(at) = self.mandates.find(hash, |entry| *entry.mandate_id == *mandate_id) {
            return Ok(at);
        }
        let max = self.policy.config.bounds.mandates_max;
        if self.mandates.len() >= max {
            return Err(BoundReached { bound: Bound::Mandates, max });
        }
        Ok(self.mandates.insert(hash, MandateEntry { mandate_id: mandate_id.into(), terms: None }))
    }

    fn ledger_number(&mut self, mandate: u32, user: u32) -> u32 {
        let hash = ledger_hash(mandate, user);
        let known = self.ledgers.find(hash, |ledger| ledger.mandate == mandate && ledger.user == user);
        known.unwrap_or_else(|| self.ledgers.insert(hash, Ledger { mandate, user, ..Ledger::default() }))
    }

    fn use_number(&mut self, ledger_at: u32, agent_at: u32) -> Option<u32> {
        let ledger = &mut self.ledgers[ledger_at];
        let place = ledger.uses.iter().position(|usage| usage.agent == agent_at);
        let place = match place {
            Some(place) => place,
            None if ledger.uses.len() >= self.policy.config.bounds.ledger_agents_max => {
                self.agents[agent_at].reached.mark(Bound::LedgerAgents);
                return None;
            }
            None => {
                ledger.uses.push(Use { agent: agent_at, ..Use::default() });
                let place = ledger.uses.len() - 1;
                let number = u32::try_from(place).unwrap_or(u32::MAX);
                self.agents[agent_at].uses.push((ledger_at, number));
                place
            }
        };
        u32::try_from(place).ok()
    }

    /// The mandate of least id that the transaction's agent holds, active and in date.
    fn usable_mandate(&self, tx: &Transaction<'_>) -> Option<Arc<Terms>> {
        let held = self.held_mandates(holder_hash(&tx.agent_id, &tx.user_id));
        let usable =
            |terms: &&Arc<Terms>| terms.held_by(&tx.agent_id, &tx.user_id) && terms.usable_at(tx.tx_time.0);
        held.iter().filter_map(|&at| self.mandates[at].terms.as_ref()).find(usable).cloned()
    }

    fn held_mandates(&self, holder: u64) -> &[u32] {
        let found = self.holders.find(spread(holder, self.seed), |&(known, _)| known == holder);
        found.map_or(&[], |(_, mandates)| mandates.as_slice())
    }

    fn index_holder(&mut self, mandate: u32, terms: &Terms) {
        let (holder, seed) = (holder_hash(&terms.mandate.agent_id, &terms.mandate.user_id), self.seed);
        let mandates = &self.mandates;
        let entry = self.holders.entry(
            spread(holder, seed),
            |&(known, _)| known == holder,
            |&(known, _)| spread(known, seed),
        );
        let mut entry = entry.or_insert((holder, SmallVec::new()));
        let held = &mut entry.get_mut().1;
        let at = held.partition_point(|&other| mandates[other].mandate_id < mandates[mandate].mandate_id);
        if held.len() < self.policy.config.bounds.holder_mandates_max {
            held.insert(at, mandate);
        } else {
            self.holders_full += 1;
        }
    }

    fn unindex(&mut self, mandate: u32, terms: &Terms) {
        let holder = holder_hash(&terms.mandate.agent_id, &terms.mandate.user_id);
        let found = self.holders.find_mut(spread(holder, self.seed), |&(known, _)| known == holder);
        if let Some((_, held)) = found {
            held.retain(|at| *at != mandate);
        }
    }

    /// Bounds reached, with the number of agents or users that reached each.
    #[must_use]
    pub fn bounds_reached(&self) -> Vec<(Bound, u64)> {
        let agents = self.agents.iter().map(|agent| agent.reached);
        let all: Vec<Reached> =
            agents.chain(self.users.iter().map(|user| user.reached)).filter(|r| r.any()).collect();
        let count = |bound: Bound| match bound {
            Bound::HolderMandates => self.holders_full,
            _ => all.iter().filter(|reached| reached.has(bound)).count() as u64,
        };
        Bound::ALL.iter().map(|&bound| (bound, count(bound))).filter(|&(_, count)| count > 0).collect()
    }
}

/// The agent's use in the ledger of a transaction.
fn usage_of(ledgers: &mut Table<Ledger>, places: Places) -> Option<&mut Use> {
    ledgers[places.ledger?].uses.get_mut(places.usage? as usize)
}

pub(crate) fn ledger_hash(mandate: u32, user: u32) -> u64 {
    pair_hash(u64::from(mandate), u64::from(user))
}

fn holder_hash(agent_id: &str, user_id: &str) -> u64 {
    pair_hash(name_hash(user_id.as_bytes()), name_hash(agent_id.as_bytes()))
}

/// The measures of the signals, by the names they have in a risk profile.
fn present_measures(measures: &[Amount; TABLE.len()]) -> Measures {
    let of = |name: &str| {
        let at = TABLE.iter().position(|entry| entry.name == name);
        at.and_then(|at| measures.get(at)).copied().unwrap_or_default()
    };
    let whole = |name: &str| i64::try_from(of(name).0 / Amount::units(1).0).unwrap_or(i64::MAX);
    Measures {
        burst: whole("burst"),
        replay_over: of("replay"),
        scope: whole("scope"),
        collusion: whole("collusion"),
        cross_merchant: whole("cross_merchant"),
        cadence: whole("cadence"),
        geo: whole("geo_stationarity"),
    }
}
