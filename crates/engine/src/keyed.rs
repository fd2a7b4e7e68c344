//! Finding the entities of a transaction, and what happens to them with it.

use weir_detectors::hash::pair_hash;
use weir_detectors::replay::Replay;
use weir_detectors::risk::Measures;
use weir_detectors::timeline::{AgentPayment, UserPayment};
use weir_detectors::{
    Bound, Bounds, Entities, EpisodeKey, Outcome, Payment, Reached, TABLE, observe_all, settle_all,
};
use weir_events::decision::MandateStanding;
use weir_events::{Alert, Amount, MandateStatus, Transaction, Verdict};

use crate::ahead::Ahead;
use crate::entities::{Agent, Ledger, Use, User};
use crate::episodes::{Raised, Spare};
use crate::judge::Bench;
use crate::packed::{Rounds, Slot};
use crate::shard::{BoundReached, Policy};
use crate::table::{Table, seeded};

/// Users, agents and ledgers.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    pub(crate) users: Table<Slot<User>>,
    pub(crate) agents: Table<Slot<Agent>>,
    pub(crate) ledgers: Table<Slot<Ledger>>,
    spare: Spare,
    pub(crate) reached: ReachedCounts,
    pub(crate) rounds: Rounds,
    scratch: Vec<u8>,
    pub(crate) seed: u64,
}

/// How many agents and users have reached each bound, counted as they do: to look at all of them would stop the
/// stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReachedCounts([u64; Bound::ALL.len()]);

impl ReachedCounts {
    /// Counts what an agent or a user has reached that it had not before.
    #[inline]
    pub(crate) fn note(&mut self, before: Reached, now: Reached) {
        if before != now {
            now.iter().filter(|&bound| !before.has(bound)).for_each(|bound| self.count(bound));
        }
    }

    #[cold]
    fn count(&mut self, bound: Bound) {
        if let Some(count) = self.0.get_mut(bound as usize) {
            *count += 1;
        }
    }

    pub(crate) fn of(&self, bound: Bound) -> u64 {
        self.0.get(bound as usize).copied().unwrap_or(0)
    }

    /// Adds what another has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}

/// Numbers of the entities of one transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub(crate) user: u32,
    pub(crate) agent: u32,
    ledger: Option<u32>,
    /// Place of the agent's use in the ledger.
    usage: Option<u32>,
    /// The ledger, where it was made for this transaction.
    pub(crate) new_ledger: Option<u32>,
}

/// What the profiles of all agents of a user have in common, in numbers that tell a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Coordinated pairs that the view reports.
    pairs: u64,
    /// Open episodes of the user's own.
    episodes: usize,
}

impl Keyed {
    pub(crate) fn new(seed: u64) -> Self {
        let (users, agents, ledgers) = (Table::new(seed), Table::new(seed), Table::new(seed));
        let (spare, reached) = (Spare::default(), ReachedCounts::default());
        let (rounds, scratch) = (Rounds::default(), Vec::new());
        Self { users, agents, ledgers, spare, reached, rounds, scratch, seed }
    }

    /// Finds the entities of a transaction under the mandate with this number, and makes those that
    /// are new.
    pub(crate) fn places(
        &mut self,
        tx: &Transaction<'_>,
        ahead: &Ahead,
        mandate: Option<u32>,
        bounds: &Bounds,
    ) -> Result<Places, BoundReached> {
        let (user_hash, agent_hash) = (ahead.user_hash, ahead.agent_hash);
        let find_user = || self.users.find(user_hash, |user| *user.user_id == *tx.user_id);
        let user = ahead.user.or_else(find_user);
        let is_agent = |user| move |agent: &Agent| agent.user == user && *agent.agent_id == *tx.agent_id;
        let agent = ahead.agent.or_else(|| self.agents.find(agent_hash, is_agent(user?)));
        let max = bounds.agents_max;
        if agent.is_none() && self.agents.len() >= max {
            return Err(BoundReached { bound: Bound::Agents, max });
        }
        let user = user.unwrap_or_else(|| {
            let user_id = tx.user_id.as_ref().into();
            self.users.insert(user_hash, User { user_id, ..User::default() })
        });
        let agent = agent.unwrap_or_else(|| {
            let known = &mut self.users.change(user).agents;
            let number = u32::try_from(known.len()).unwrap_or(u32::MAX);
            let agent_id = tx.agent_id.as_ref().into();
            let at = self.agents.insert(agent_hash, Agent { agent_id, user, number, ..Agent::default() });
            known.push(at);
            at
        });
        let known = self.ledgers.len();
        let ledger = mandate.map(|mandate| ahead.ledger.unwrap_or_else(|| self.ledger(mandate, user)));
        let new_ledger = ledger.filter(|_| self.ledgers.len() > known);
        let usage = ledger.and_then(|ledger| self.usage(ledger, agent, bounds));
        Ok(Places { user, agent, ledger, usage, new_ledger })
    }

    /// The entities at these places.
    pub(crate) fn hold(&mut self, places: Places) -> Held<'_> {
        let (agent, user) = (self.agents.change(places.agent), self.users.change(places.user));
        Held {
            reached: (agent.reached, user.reached),
            counts: &mut self.reached,
            agent,
            user,
            ledger: places.ledger.map(|at| self.ledgers.change(at)),
            place: places.usage.map(|place| place as usize),
            spare: &mut self.spare,
        }
    }

    /// Packs some of the entities that have been idle for long.
    #[inline]
    pub(crate) fn pack_idle(&mut self, watermark_us: i64) {
        let Self { users, agents, ledgers, rounds, scratch, .. } = self;
        let due = rounds.due(watermark_us, agents.len().max(ledgers.len()).max(users.len()));
        if due > 0 {
            users.pack_idle(due, scratch);
            agents.pack_idle(due, scratch);
            ledgers.pack_idle(due, scratch);
        }
    }

    /// Hashes by which the tables find an entity.
    pub(crate) fn user_hash(seed: u64, user_id: &str) -> u64 {
        seeded(seed, user_id)
    }

    pub(crate) fn agent_hash(seed: u64, agent_id: &str, user_hash: u64) -> u64 {
        pair_hash(user_hash, seeded(seed, agent_id))
    }

    pub(crate) fn ledger_hash(mandate: u32, user: u32) -> u64 {
        u64::from(mandate) << 32 | u64::from(user)
    }

    /// Number of an agent, by name.
    pub(crate) fn find_agent(&self, user_id: &str, agent_id: &str) -> Option<u32> {
        let user_hash = Self::user_hash(self.seed, user_id);
        let user = self.users.find(user_hash, |user| *user.user_id == *user_id)?;
        let is = |agent: &Agent| agent.user == user && *agent.agent_id == *agent_id;
        self.agents.find(Self::agent_hash(self.seed, agent_id, user_hash), is)
    }

    /// What a user has done under a mandate, if anything.
    pub(crate) fn find_ledger(&self, mandate: u32, user: u32) -> Option<u32> {
        let hash = Self::ledger_hash(mandate, user);
        self.ledgers.find(hash, |ledger| ledger.mandate == mandate && ledger.user == user)
    }

    fn ledger(&mut self, mandate: u32, user: u32) -> u32 {
        self.find_ledger(mandate, user).unwrap_or_else(|| {
            let ledger = Ledger { mandate, user, ..Ledger::default() };
            self.ledgers.insert(Self::ledger_hash(mandate, user), ledger)
        })
    }

    fn usage(&mut self, ledger_at: u32, agent_at: u32, bounds: &Bounds) -> Option<u32> {
        let uses = &self.ledgers.change_unstored(ledger_at).uses;
        let place = match uses.iter().position(|usage| usage.agent == agent_at) {
            Some(place) => place,
            None if uses.len() >= bounds.ledger_agents_max => {
                let reached = &mut self.agents.change(agent_at).reached;
                let before = *reached;
                reached.mark(Bound::LedgerAgents);
                self.reached.note(before, *reached);
                return None;
            }
            None => {
                let uses = &mut self.ledgers.change(ledger_at).uses;
                uses.push(Use { agent: agent_at, ..Use::default() });
                let place = uses.len() - 1;
                let number = u32::try_from(place).unwrap_or(u32::MAX);
                self.agents.change(agent_at).uses.push((ledger_at, number));
                place
            }
        };
        u32::try_from(place).ok()
    }
}

/// The entities of one transaction, found once.
pub(crate) struct Held<'a> {
    pub(crate) agent: &'a mut Agent,
    user: &'a mut User,
    ledger: Option<&'a mut Ledger>,
    /// Place of the agent's use in the ledger.
    place: Option<usize>,
    spare: &'a mut Spare,
    /// Bounds that agent and user had reached before.
    reached: (Reached, Reached),
    counts: &'a mut ReachedCounts,
}

/// The agent's use in the ledger of a payment.
fn usage_of<'l>(ledger: &'l mut Option<&mut Ledger>, place: Option<usize>) -> Option<&'l mut Use> {
    ledger.as_deref_mut()?.uses.get_mut(place?)
}

impl Held<'_> {
    /// Counts the bounds that agent and user have reached since they were held; the last thing to be done with them.
    pub(crate) fn count_bounds(self) {
        let (agent, user) = self.reached;
        self.counts.note(agent, self.agent.reached);
        self.counts.note(user, self.user.reached);
    }

    /// Counts the payment for its agent, and puts it into the timelines unless it is late.
    pub(crate) fn take_in(&mut self, payment: &Payment<'_>, policy: &Policy) -> Option<usize> {
        let (agent, user) = (&mut *self.agent, &mut *self.user);
        let time_us = payment.time_us;
        agent.first_seen_us =
            if agent.payments_seen == 0 { time_us } else { agent.first_seen_us.min(time_us) };
        agent.payments_seen += 1;
        if payment.late {
            return None;
        }
        let bounds = &policy.config.bounds;
        agent.payments.evict_before(payment.watermark_us - policy.agent_span_us);
        let at = agent.payments.insert(AgentPayment::of(payment));
        let before = agent.payments.len();
        if agent.payments.shrink_to(bounds.agent_payments_max) {
            agent.reached.mark(Bound::AgentPayments);
        }
        user.payments.evict_before(payment.watermark_us - policy.user_span_us);
        user.payments.insert(UserPayment::new(time_us, payment.agent, payment.base_amount));
        if user.payments.shrink_to(bounds.user_payments_max) {
            user.reached.mark(Bound::UserPayments);
        }
        at.checked_sub(before - agent.payments.len())
    }

    /// Closes the episodes that this payment finds ended.
    pub(crate) fn close_episodes(&mut self, time_us: i64, policy: &Policy, alerts: &mut Vec<Alert>) {
        let windows_us = &policy.windows_us;
        let (agent, user) = (&mut *self.agent, &mut *self.user);
        user.episodes.close_before(time_us, windows_us, &user.user_id, self.spare, alerts);
        agent.episodes.close_before(time_us, windows_us, &user.user_id, self.spare, alerts);
        if let Some(usage) = usage_of(&mut self.ledger, self.place) {
            usage.episodes.close_before(time_us, windows_us, &user.user_id, self.spare, alerts);
        }
    }

    /// What the profiles of all the user's agents share.
    pub(crate) fn shared(&self, policy: &Policy) -> Shared {
        let collusion = &self.user.states.collusion;
        // Pairs are never taken back, so that their sum is another whenever one of them is.
        let reported = collusion.reported(&policy.config.detectors.collusion);
        let pairs = if self.user.agents.len() > 1 { reported.map(|total| total.pairs).sum() } else { 0 };
        Shared { pairs, episodes: self.user.episodes.len() }
    }

    /// How the presented mandate stands before the payment.
    pub(crate) fn standing(&self, payment: &Payment<'_>) -> Option<MandateStanding> {
        let terms = payment.mandate?;
        let ledger = &self.ledger.as_deref()?.states.replay;
        Some(MandateStanding {
            status: terms.status,
            max_amount: terms.max_amount(),
            spent_before: Replay::spent_before(ledger, terms, payment.time_us),
        })
    }

    /// Lets the detectors observe; returns the measure of each one's signal.
    pub(crate) fn observe(
        &mut self,
        payment: &Payment<'_>,
        policy: &Policy,
        verdict: &mut Verdict,
    ) -> [Amount; TABLE.len()] {
        let mut bench = Bench { policies: &policy.tiers, verdict, measures: [Amount::ZERO; TABLE.len()] };
        self.with_entities(policy, |on| observe_all(&policy.config.detectors, payment, on, &mut bench));
        bench.measures
    }

    /// Tells the detectors what was decided.
    pub(crate) fn learn(&mut self, payment: &Payment<'_>, policy: &Policy, verdict: &Verdict) {
        let outcome = Outcome { action: verdict.action, verdict };
        self.with_entities(policy, |on| settle_all(&policy.config.detectors, payment, on, &outcome));
    }

    /// Hands the states to `work`, and keeps the bounds it reached.
    fn with_entities(&mut self, policy: &Policy, work: impl FnOnce(&mut Entities<'_>)) {
        let (agent, user) = (&mut *self.agent, &mut *self.user);
        let (ledger, usage) = match self.ledger.as_deref_mut() {
            Some(ledger) => {
                let usage = self.place.and_then(|place| ledger.uses.get_mut(place));
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
        if reached.any() {
            for bound in reached.iter() {
                let of = if bound.is_of_user() { &mut user.reached } else { &mut agent.reached };
                of.mark(bound);
            }
        }
    }

    /// Adds the signals to their episodes.
    pub(crate) fn tell_episodes(
        &mut self,
        payment: &Payment<'_>,
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
            time_us: payment.believed_us,
            amount: payment.base_amount,
            pausable: payment.held.is_some_and(|terms| terms.status == MandateStatus::Active),
        };
        let mut signals = std::mem::take(&mut verdict.signals);
        for signal in &mut signals {
            let Some(entry) = TABLE.get(usize::from(signal.rank)) else { continue };
            let episodes = match entry.episode {
                EpisodeKey::Agent => Some(&mut self.agent.episodes),
                EpisodeKey::User => Some(&mut self.user.episodes),
                EpisodeKey::Use => usage_of(&mut self.ledger, self.place).map(|usage| &mut usage.episodes),
            };
            let Some(episodes) = episodes else {
                // A use past its bound has no memory: each signal is a run of its own.
                signal.episode = verdict.store(raised.tx_id);
                continue;
            };
            let detector = u8::try_from(signal.rank).unwrap_or(u8::MAX);
            let first_tx = episodes.add(detector, signal, &raised, self.spare, alerts);
            signal.episode = verdict.store(first_tx);
        }
        verdict.signals = signals;
    }

    /// Keeps what the risk profile tells of the decision.
    pub(crate) fn note_decision(
        &mut self,
        payment: &Payment<'_>,
        policy: &Policy,
        verdict: &Verdict,
        measures: &[Amount; TABLE.len()],
    ) {
        let agent = &mut *self.agent;
        agent.actions.add(payment.believed_us, verdict.action, &policy.config.bounds, &mut agent.reached);
        if agent.payments_seen == 1 || payment.believed_us >= agent.current.as_of_us {
            let found = (!verdict.signals.is_empty()).then(|| (present(measures), verdict.composite));
            agent.current.set(payment.believed_us, found);
        }
    }
}

/// The measures of the signals, by the names they have in a risk profile.
fn present(measures: &[Amount; TABLE.len()]) -> Measures {
    let of = |name: &str| {
        let at = TABLE.iter().position(|entry| entry.name == name);
        at.and_then(|at| measures.get(at)).copied().unwrap_or_default()
    };
    let whole = |name: &str| match of(name) {
        Amount::ZERO => 0,
        measure => i64::try_from(measure.0 / Amount::units(1).0).unwrap_or(i64::MAX),
    };
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
