//! What the service says, and the account of it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use weir_events::Action;

use super::feed::Answered;

/// What the demo needs of a decision.
#[derive(Debug, Deserialize)]
pub(super) struct Decision<'a> {
    #[serde(borrow)]
    pub(super) tx_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) agent_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) user_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) merchant: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) amount: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) currency: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) tx_time: Cow<'a, str>,
    pub(super) action: Action,
    pub(super) risk_score: u8,
    #[serde(borrow)]
    pub(super) signals: Vec<Signal<'a>>,
    #[serde(borrow)]
    pub(super) reasons: Vec<Reason<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Signal<'a> {
    #[serde(borrow)]
    pub(super) detector: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) tier: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) episode_id: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reason<'a> {
    #[serde(borrow)]
    pub(super) text: Cow<'a, str>,
}

/// What the demo needs of a risk profile.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Profile {
    pub(super) lifetime: Measures,
    pub(super) current: Measures,
    pub(super) actions_24h: Actions,
    pub(super) open_episodes: Vec<String>,
    pub(super) payments_seen: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Measures {
    pub(super) risk_score: u8,
    pub(super) risk_level: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Actions {
    pub(super) challenge: u64,
    pub(super) review: u64,
    pub(super) block: u64,
}

/// A problem document.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    status: u16,
    pub(super) detail: String,
}

/// The problem that an answer is, if it is one.
pub(super) fn problem(answer: &[u8]) -> Option<Problem> {
    serde_json::from_slice(answer).ok()
}

/// Every transaction that was sent, accounted for by what was answered.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) sent: usize,
    pub(super) decided: usize,
    pub(super) duplicates: usize,
    pub(super) rejects: usize,
    /// The decisions, one in a line, in the order in which they were made.
    pub(super) decisions: Vec<u8>,
    /// User and id of what was decided.
    seen: HashSet<(String, String)>,
    took: Vec<(Duration, usize)>,
}

impl Ledger {
    /// Enters answers and tells of each new decision.
    pub(super) fn enter(&mut self, answered: &Answered, mut tell: impl FnMut(&Decision<'_>)) -> Result<()> {
        let before = self.decided + self.duplicates + self.rejects;
        for line in answered.lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let Some(problem) = problem(line) else {
                let decision = serde_json::from_slice(line).context("the service's answer is no decision")?;
                self.decision(line, &decision, &mut tell);
                continue;
            };
            if problem.status >= 500 {
                // Neither decided nor rejected: the service cannot go on.
                bail!("the service did not take a transaction: {}", problem.detail);
            }
            self.rejects += 1;
        }
        let answers = self.decided + self.duplicates + self.rejects - before;
        if answers != answered.sent {
            bail!("the service gave {answers} answers to {} transactions", answered.sent);
        }
        self.sent += answers;
        self.took.push((answered.took, answers));
        Ok(())
    }

    fn decision(&mut self, line: &[u8], decision: &Decision<'_>, tell: &mut impl FnMut(&Decision<'_>)) {
        // A repeat gets the decision that its first made.
        let id = (decision.user_id.clone().into_owned(), decision.tx_id.clone().into_owned());
        if !self.seen.insert(id) {
            self.duplicates += 1;
            return;
        }
        self.decided += 1;
        self.decisions.extend_from_slice(line);
        self.decisions.push(b'\n');
        tell(decision);
    }

    /// The time in which so many of a hundred transactions were answered (nearest rank).
    pub(super) fn answered_within(&self, percent: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let rank = (self.sent * percent).div_ceil(100);
        let mut passed = 0;
        let reached = took.iter().find(|&&(_, answers)| {
            passed += answers;
            passed >= rank
        });
        reached.map_or(Duration::ZERO, |&(took, _)| took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(tx_id: &str, user_id: &str) -> String {
        format!(
            "{{\"tx_id\":\"{tx_id}\",\"agent_id\":\"a\",\"user_id\":\"{user_id}\",\"merchant\":\"m\",\
             \"amount\":\"1\",\"currency\":\"USD\",\"tx_time\":\"2026-03-05T23:43:24.837769Z\",\
             \"action\":\"allow\",\"risk_score\":0,\"signals\":[],\"reasons\":[]}}\n"
        )
    }

    fn answered(lines: &[String], took: u64) -> Answered {
        Answered { sent: lines.len(), lines: lines.concat().into_bytes(), took: Duration::from_millis(took) }
    }

    fn problem(status: u16) -> String {
        format!(
            "{{\"type\":\"urn\",\"title\":\"T\",\"status\":{status},\"detail\":\"why\",\"code\":\"c\"}}\n"
        )
    }

    #[test]
    fn every_answer_is_a_decision_a_duplicate_or_a_reject() {
        let mut ledger = Ledger::default();
        let mut told = Vec::new();
        let lines = [decision("t1", "u1"), decision("t1", "u2"), problem(422), decision("t1", "u1")];
        ledger.enter(&answered(&lines, 3), |decision| told.push(decision.user_id.to_string())).unwrap();
        assert_eq!((ledger.sent, ledger.decided, ledger.duplicates, ledger.rejects), (4, 2, 1, 1));
        assert_eq!(told, ["u1", "u2"]);
        assert_eq!(ledger.decisions, [decision("t1", "u1"), decision("t1", "u2")].concat().as_bytes());
    }

    #[test]
    fn what_is_not_answered_is_an_error() {
        let mut short = answered(&[decision("t1", "u1")], 3);
        short.sent = 2;
        for (answered, why) in [(short, "1 answers to 2"), (answered(&[problem(503)], 1), "why")] {
            let error = Ledger::default().enter(&answered, |_| {}).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn times_count_by_transaction() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.answered_within(99), Duration::ZERO);
        let many: Vec<_> = (0..98).map(|at| decision(&format!("a{at}"), "u")).collect();
        ledger.enter(&answered(&many, 2), |_| {}).unwrap();
        ledger.enter(&answered(&[decision("b", "u")], 9), |_| {}).unwrap();
        ledger.enter(&answered(&[decision("c", "u")], 5), |_| {}).unwrap();
        assert_eq!(
            [50, 98, 99, 100].map(|percent| ledger.answered_within(percent).as_millis()),
            [2, 2, 5, 9]
        );
    }
}
