//! What a contender found, and how far it is from what Weir found: a fast wrong answer must show.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::stream::value;

/// Every decision that stands in a topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Decisions {
    /// Action by user and transaction, hashed.
    actions: HashMap<u64, Action>,
    /// Names of the actions.
    names: Vec<String>,
    counts: BTreeMap<String, u64>,
    /// Decisions of transactions that were decided before.
    doubled: u64,
}

/// Place in the names.
type Action = u8;

impl Decisions {
    /// Takes a decision in. One that cannot be read counts as an action of that name.
    pub(super) fn take(&mut self, decision: &[u8]) {
        let text = std::str::from_utf8(decision).unwrap_or_default();
        let field = |name| value(text, name).unwrap_or("unreadable");
        let action = field("action");
        let at = self.names.iter().position(|name| name == action).unwrap_or_else(|| {
            self.names.push(action.to_owned());
            self.names.len() - 1
        });
        *self.counts.entry(action.to_owned()).or_default() += 1;
        let who = hash(&[field("user_id"), field("tx_id")]);
        self.doubled +=
            u64::from(self.actions.insert(who, Action::try_from(at).unwrap_or(Action::MAX)).is_some());
    }

    fn action(&self, who: u64) -> Option<&str> {
        Some(&self.names[usize::from(*self.actions.get(&who)?)])
    }

    /// Counts, digest, and the difference from Weir's.
    pub(super) fn beside(&self, weir: &Self) -> Findings {
        let other = |who: &&u64| weir.action(**who).is_some_and(|action| Some(action) != self.action(**who));
        let digest = self.actions.keys().fold(0_u64, |sum, &who| {
            // The same for every order.
            sum.wrapping_add(hash(&[&who.to_string(), self.action(who).unwrap_or_default()]))
        });
        let differences = Differences {
            other: self.actions.keys().filter(other).count() as u64,
            missing: weir.actions.keys().filter(|who| !self.actions.contains_key(who)).count() as u64,
            surplus: self.actions.keys().filter(|who| !weir.actions.contains_key(who)).count() as u64
                + self.doubled,
        };
        Findings {
            counts: self.counts.clone(),
            digest: Some(format!("{digest:016x}")),
            differences: Some(differences),
        }
    }
}

fn hash(parts: &[&str]) -> u64 {
    let digest = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]));
    digest.finalize().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// How far decisions are from Weir's, each by each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Differences {
    /// Transactions with another action.
    other: u64,
    /// Transactions that Weir decides and this does not.
    missing: u64,
    /// Those that Weir does not decide, and those decided again.
    surplus: u64,
}

/// What a contender found.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    /// Decisions per action, or rows per view.
    pub(super) counts: BTreeMap<String, u64>,
    /// Of all decisions, in whatever order.
    digest: Option<String>,
    differences: Option<Differences>,
}

impl Findings {
    /// Of numbers by name.
    pub(super) fn of_counts(counts: &Value) -> Self {
        let counts = counts.as_object().into_iter().flatten();
        let counts = counts.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect();
        Self { counts, digest: None, differences: None }
    }

    /// Of a peer's last line, which counts actions among others.
    pub(super) fn of_actions(line: &Value) -> Self {
        let mut findings = Self::of_counts(line);
        findings.counts.retain(|name, _| ["allow", "challenge", "review", "block"].contains(&name.as_str()));
        findings
    }

    /// `equal`, or what differs from Weir's: compared one by one where both have them one by one, else by the counts
    /// that this one has.
    pub(super) fn verdict(&self, weir: &Self) -> String {
        let said = match self.differences {
            Some(Differences { other: 0, missing: 0, surplus: 0 }) => return "equal".to_owned(),
            Some(Differences { other, missing, surplus }) => {
                format!("{other} decided otherwise, {missing} missing, {surplus} too many")
            }
            None => {
                let differ = self.counts.iter().filter_map(|(name, &count)| {
                    let weirs = weir.counts.get(name).copied().unwrap_or(0);
                    (count != weirs).then(|| format!("{name} {count} where Weir has {weirs}"))
                });
                let differ: Vec<String> = differ.collect();
                if differ.is_empty() { "equal in number".to_owned() } else { differ.join(", ") }
            }
        };
        let absent: Vec<&str> =
            weir.counts.keys().map(String::as_str).filter(|name| self.lacks(name)).collect();
        if absent.is_empty() { said } else { format!("{said}; has no {}", absent.join(", ")) }
    }

    fn lacks(&self, name: &str) -> bool {
        self.differences.is_none() && !self.counts.contains_key(name)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "counts": self.counts,
            "digest": self.digest,
            "differs_from_weir": self.differences.map(|Differences { other, missing, surplus }| {
                json!({ "decided_otherwise": other, "missing": missing, "too_many": surplus })
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(of: &[(&str, &str)]) -> Decisions {
        let mut decisions = Decisions::default();
        for (tx, action) in of {
            decisions.take(format!(r#"{{"tx_id":"{tx}","user_id":"u","action":"{action}"}}"#).as_bytes());
        }
        decisions
    }

    #[test]
    fn decisions_are_compared_one_by_one_whatever_their_order() {
        let weir = decisions(&[("a", "allow"), ("b", "block")]);
        let same = decisions(&[("b", "block"), ("a", "allow")]);
        let ours = weir.beside(&weir);
        assert_eq!(same.beside(&weir).verdict(&ours), "equal");
        assert_eq!(same.beside(&weir).digest, ours.digest);
        // As many of each, and yet others.
        let swapped = decisions(&[("a", "block"), ("b", "allow")]).beside(&weir);
        assert_eq!(swapped.verdict(&ours), "2 decided otherwise, 0 missing, 0 too many");
        assert_ne!(swapped.digest, ours.digest);
        let wrong = decisions(&[("b", "block"), ("b", "block"), ("c", "allow")]).beside(&weir);
        assert_eq!(wrong.verdict(&ours), "0 decided otherwise, 1 missing, 2 too many");
    }

    #[test]
    fn counts_are_compared_by_name_and_what_is_absent_is_told() {
        let counts = |value| Findings::of_counts(&value);
        let weir = counts(json!({ "burst": 4, "scope": 7, "risk": 9 }));
        let verdict = |value| counts(value).verdict(&weir);
        assert_eq!(verdict(json!({ "burst": 4, "scope": 7, "risk": 9 })), "equal in number");
        assert_eq!(verdict(json!({ "burst": 4, "scope": 7 })), "equal in number; has no risk");
        assert_eq!(verdict(json!({ "burst": 5, "scope": 7, "risk": 9 })), "burst 5 where Weir has 4");
    }
}
