//! Risk profiles: an agent's lifetime and current measures.

use weir_detectors::risk::Measures;
use weir_events::profile::{ActionCounts, Current, RiskProfile};
use weir_events::{Amount, Risk, Timestamp, profile};

use crate::entities::Agent;
use crate::shard::{Policy, Shard};

impl Shard {
    /// `(agent_id, user_id)` of every agent seen, in the order of their numbers in the shard, from 0.
    pub fn agents(&self) -> impl Iterator<Item = (Box<str>, Box<str>)> {
        let user_id = |agent: &Agent| self.keyed.users.read(agent.user).user_id.clone();
        self.keyed.agents.iter().map(move |agent| (agent.agent_id.clone(), user_id(&agent)))
    }

    /// The risk profile of every agent seen, in the order of their numbers.
    pub fn profiles(&self) -> impl Iterator<Item = RiskProfile<'_>> {
        (0..u32::try_from(self.keyed.agents.len()).unwrap_or(u32::MAX)).map(|at| self.profile_at(at))
    }

    /// The risk profile of the agent with this number.
    #[must_use]
    pub fn profile(&self, number: usize) -> Option<RiskProfile<'_>> {
        let known = number < self.keyed.agents.len();
        known.then(|| self.profile_at(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// What the views report of an agent over all history.
    pub(crate) fn lifetime(&self, at: u32) -> Measures {
        let (agent, params) = (self.keyed.agents.read(at), &self.policy.config.detectors);
        let states = &agent.states;
        let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (replay_over, scope) = self.mandate_measures(&agent);
        let user = self.keyed.users.read(agent.user);
        let collusion = &user.states.collusion;
        Measures {
            burst: i64::from(states.burst.peak()),
            replay_over,
            scope: count(scope),
            collusion: count(collusion.pairs_of(agent.number, &params.collusion)),
            cross_merchant: i64::from(states.cross_merchant.peak(&params.cross_merchant)),
            cadence: i64::from(states.cadence.is_regular(&params.cadence)),
            geo: i64::from(states.geo_stationarity.has_moved(&params.geo_stationarity)),
        }
    }

    /// Spend over caps in the base currency, and payments out of scope, over the agent's mandates as
    /// they stand now.
    fn mandate_measures(&self, agent: &Agent) -> (Amount, u64) {
        let (mut over_amount, mut violations) = (Amount::ZERO, 0);
        for &(ledger_at, place) in &agent.uses {
            let ledger = self.keyed.ledgers.read(ledger_at);
            let Some(terms) = self.mandates.terms(ledger.mandate) else { continue };
            let Some(usage) = ledger.uses.get(place as usize) else { continue };
            if let Some((_, _, over)) = usage.states.replay.over_cap(terms) {
                let in_base = self.policy.rates.to_base(over, terms.currency);
                over_amount = over_amount.plus(in_base.unwrap_or_default());
            }
            violations += terms.scope_merchant().map_or(0, |merchant| usage.states.scope.outside(merchant));
        }
        (over_amount, violations)
    }

    fn profile_at(&self, at: u32) -> RiskProfile<'_> {
        let agent = self.keyed.agents.read(at);
        let user = self.keyed.users.read(agent.user);
        let of_use = |&(ledger, place): &(u32, u32)| -> Vec<String> {
            let ledger = self.keyed.ledgers.read(ledger);
            ledger.uses.get(place as usize).map(|usage| usage.episodes.ids().collect()).unwrap_or_default()
        };
        let own = agent.episodes.ids().chain(agent.uses.iter().flat_map(of_use));
        let mut open_episodes: Vec<String> = own.chain(user.episodes.ids()).collect();
        open_episodes.sort_unstable();
        let [allow, challenge, review, block] = agent.actions.counts();
        let lifetime = self.lifetime(at);
        let composite = lifetime.composite(&self.policy.config.risk.weights);
        let current = &agent.current;
        RiskProfile {
            lifetime: told(&lifetime, composite, &self.policy),
            current: Current {
                as_of: Timestamp(current.as_of_us),
                measures: told(&current.measures(), current.composite(), &self.policy),
            },
            actions_24h: ActionCounts { allow, challenge, review, block },
            open_episodes,
            first_seen: Timestamp(agent.first_seen_us),
            payments_seen: agent.payments_seen,
            agent_id: agent.text(|agent| &agent.agent_id),
            user_id: user.text(|user| &user.user_id),
        }
    }
}

fn told(measures: &Measures, composite: Risk, policy: &Policy) -> profile::Measures {
    let (risk_score, risk_level) = policy.scale.score(composite);
    profile::Measures {
        burst_score: measures.burst,
        replay_over_amount: measures.replay_over,
        scope_violations: measures.scope,
        collusion_pairs: measures.collusion,
        cross_merchant_categories: measures.cross_merchant,
        cadence_regular: measures.cadence,
        geo_moved: measures.geo,
        composite_risk: composite,
        risk_score,
        risk_level,
    }
}
