//! What a shard keeps per user, agent, mandate and ledger: one state struct per entity, so that one
//! look-up serves every detector.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_detectors::risk::Measures;
use weir_detectors::{
    AgentStates, AgentTimeline, Bound, Bounds, LedgerStates, Reached, UseStates, UserStates, UserTimeline,
};
use weir_events::time::DAY_US;
use weir_events::{Action, Risk};

use crate::episodes::Episodes;

/// A user: what all their agents do together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) user_id: Box<str>,
    /// Numbers of the user's agents in the shard; an agent's place here is its number within the user.
    pub(crate) agents: SmallVec<[u32; 2]>,
    pub(crate) payments: UserTimeline,
    pub(crate) states: UserStates,
    pub(crate) episodes: Episodes,
    pub(crate) reached: Reached,
}

/// An agent of a user.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub(crate) agent_id: Box<str>,
    /// The user's number in the shard.
    pub(crate) user: u32,
    /// The agent's number within its user.
    pub(crate) number: u32,
    pub(crate) payments_seen: u64,
    pub(crate) first_seen_us: i64,
    pub(crate) payments: AgentTimeline,
    pub(crate) states: AgentStates,
    pub(crate) episodes: Episodes,
    pub(crate) actions: Actions,
    pub(crate) current: Current,
    /// Ledgers that the agent has a use in, and the use's place there.
    pub(crate) uses: SmallVec<[(u32, u32); 1]>,
    pub(crate) reached: Reached,
}

impl User {
    /// Reads what the next payment will read; the sum stands for nothing.
    pub(crate) fn touch(&self) -> i64 {
        self.payments.touch() ^ i64::from(self.episodes.is_empty() ^ self.reached.any())
    }
}

impl Agent {
    /// Reads what the next payment will read; the sum stands for nothing.
    pub(crate) fn touch(&self) -> i64 {
        let flags = self.episodes.is_empty() ^ self.reached.any() ^ self.uses.is_empty();
        let times = self.payments.touch() ^ self.actions.touch() ^ self.current.as_of_us;
        times ^ self.first_seen_us ^ self.states.touch() ^ i64::from(flags)
    }
}

impl Ledger {
    /// Reads what the next payment will read; the sum stands for nothing.
    pub(crate) fn touch(&self) -> i64 {
        let uses = self.uses.iter();
        let uses = uses
            .fold(0, |sum, usage| sum ^ usage.states.scope.touch() ^ i64::from(usage.episodes.is_empty()));
        uses ^ self.states.replay.touch()
    }
}

/// What held at the agent's latest transaction.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Current {
    pub(crate) as_of_us: i64,
    /// The measures of the signals and the composite risk. Most agents never have a signal, so nothing
    /// is kept before the first.
    found: Option<Box<(Measures, Risk)>>,
}

impl Current {
    /// Replaces what held, with nothing where there was no signal.
    pub(crate) fn set(&mut self, as_of_us: i64, found: Option<(Measures, Risk)>) {
        self.as_of_us = as_of_us;
        match (&mut self.found, found) {
            (Some(before), found) => **before = found.unwrap_or_default(),
            (empty, found) => *empty = found.map(Box::new),
        }
    }

    pub(crate) fn measures(&self) -> Measures {
        self.found.as_ref().map(|found| found.0).unwrap_or_default()
    }

    pub(crate) fn composite(&self) -> Risk {
        self.found.as_ref().map(|found| found.1).unwrap_or_default()
    }
}

/// What one user has done under one mandate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) mandate: u32,
    pub(crate) user: u32,
    pub(crate) states: LedgerStates,
    pub(crate) uses: SmallVec<[Use; 1]>,
}

/// What one agent of the user has done under the mandate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Use {
    pub(crate) agent: u32,
    pub(crate) states: UseStates,
    pub(crate) episodes: Episodes,
}

/// Times and actions of an agent's decisions over the 24 hours up to its latest transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Actions {
    /// Time in microseconds and, in the two lowest bits, the action; sorted.
    packed: VecDeque<i64>,
}

impl Actions {
    /// Adds a decision and frees what lies more than a day before the latest one.
    pub(crate) fn add(&mut self, time_us: i64, action: Action, bounds: &Bounds, reached: &mut Reached) {
        let packed = time_us << 2 | action as i64;
        if self.packed.back().is_none_or(|&last| last <= packed) {
            self.packed.push_back(packed);
        } else {
            let at = self.packed.partition_point(|&earlier| earlier <= packed);
            self.packed.insert(at, packed);
        }
        let latest_us = self.packed.back().map_or(time_us, |&last| last >> 2);
        while self.packed.front().is_some_and(|&first| first >> 2 < latest_us - DAY_US) {
            self.packed.pop_front();
        }
        if self.packed.len() > bounds.agent_actions_max {
            self.packed.pop_front();
            reached.mark(Bound::AgentActions);
        }
    }

    fn touch(&self) -> i64 {
        let end = |packed: Option<&i64>| packed.copied().unwrap_or_default();
        end(self.packed.back()) ^ end(self.packed.front())
    }

    /// Number of decisions per action, in the order of [`Action::ALL`].
    pub(crate) fn counts(&self) -> [u64; 4] {
        let count =
            |action: Action| self.packed.iter().filter(|&&packed| packed & 3 == action as i64).count();
        Action::ALL.map(|action| count(action) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_count_the_day_up_to_the_latest_both_ends_included() {
        let (bounds, mut reached) = (Bounds::default(), Reached::default());
        let mut actions = Actions::default();
        actions.add(0, Action::Block, &bounds, &mut reached);
        actions.add(DAY_US, Action::Allow, &bounds, &mut reached);
        assert_eq!(actions.counts(), [1, 0, 0, 1]);
        actions.add(DAY_US + 1, Action::Review, &bounds, &mut reached);
        assert_eq!(actions.counts(), [1, 0, 1, 0]);
        actions.add(5, Action::Challenge, &bounds, &mut reached);
        assert_eq!(actions.counts(), [1, 1, 1, 0], "an older one within the day counts");
        assert!(!reached.any());
    }
}
