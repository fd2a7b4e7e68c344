//! From tiers that hold to one signal per detector, a score and an action.

use weir_detectors::{Explain, Held, Judge, Reached, Reason, TABLE, Tiers};
use weir_events::decision::{DecidedBy, Fact, Signal};
use weir_events::score::{RiskLevel, Scale};
use weir_events::{Action, Amount, Risk, Verdict};

use crate::config::TierPolicy;

/// Chooses one tier per detector and collects the signals.
pub(crate) struct Bench<'a> {
    pub(crate) policies: &'a [Vec<TierPolicy>],
    pub(crate) verdict: &'a mut Verdict,
    /// The chosen tier's measure per detector; zero where no points follow from one.
    pub(crate) measures: [Amount; TABLE.len()],
}

impl Judge for Bench<'_> {
    fn judge(
        &mut self,
        position: usize,
        tiers: &Tiers,
        reached: Reached,
        explain: &mut dyn FnMut(Held, &mut Explain<'_>) -> Reason,
    ) {
        let (Some(entry), Some(policies)) = (TABLE.get(position), self.policies.get(position)) else {
            return;
        };
        let strength = |held: &Held| {
            let policy = policies.get(held.tier)?;
            Some((policy.floor, policy.points(held.measure), std::cmp::Reverse(held.tier)))
        };
        let Some((&held, strongest)) = tiers
            .iter()
            .filter_map(|held| Some((held, strength(held)?)))
            .max_by_key(|(_, strength)| *strength)
        else {
            return;
        };
        let start = self.verdict.facts.len();
        let reason = explain(held, &mut Explain::new(self.verdict));
        if reached.any() {
            self.verdict.facts.push(("saturated", Fact::Flag(true)));
        }
        let others = tiers.iter().filter(|other| other.tier != held.tier);
        let weighted = policies.get(held.tier).is_some_and(|policy| policy.weight.is_some());
        if let Some(measure) = self.measures.get_mut(position).filter(|_| weighted) {
            *measure = held.measure;
        }
        self.verdict.signals.push(Signal {
            detector: entry.name,
            tier: entry.tier_names.get(held.tier).copied().unwrap_or(""),
            floor: strongest.0,
            points: strongest.1,
            measure: held.measure,
            rank: u16::try_from(position).unwrap_or(u16::MAX),
            episode: 0..0,
            evidence: start..self.verdict.facts.len(),
            also: others.fold(0, |bits, other| bits | 1 << other.tier),
            tiers: entry.tier_names,
            reason,
        });
    }
}

/// Orders the signals and settles score and action.
pub(crate) fn settle(verdict: &mut Verdict, scale: &Scale) {
    let strength = |signal: &Signal| (std::cmp::Reverse((signal.floor, signal.points)), signal.rank);
    verdict.signals.sort_unstable_by_key(strength);
    verdict.composite = verdict.signals.iter().fold(Risk::ZERO, |sum, signal| sum.plus(signal.points));
    (verdict.risk_score, verdict.risk_level) = scale.score(verdict.composite);
    let by_score = match verdict.risk_level {
        RiskLevel::Normal => Action::Allow,
        RiskLevel::Elevated => Action::Review,
        RiskLevel::Highest => Action::Block,
    };
    let floor = verdict.signals.first().map_or(Action::Allow, |signal| signal.floor);
    verdict.action = floor.max(by_score);
    verdict.decided_by = match verdict.action {
        Action::Allow => DecidedBy::None,
        action if action == floor => DecidedBy::Floor(0),
        _ => DecidedBy::Score(verdict.risk_level),
    };
}
