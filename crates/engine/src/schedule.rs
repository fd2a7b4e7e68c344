//! When mandates of a recorded stream come into force.

use std::collections::BTreeMap;

use crate::mandates::MandateChange;

/// The mandates of a recorded stream in the order in which they take effect.
///
/// A record without `updated_at` is in force before the first transaction. One with it takes effect
/// when event time, as far as it counted, has reached the latest `updated_at` among the record and
/// those before it of the same mandate, so that a mandate's records keep their order.
#[derive(Debug, Default)]
pub struct Schedule {
    /// What is still to come with its time, the next last.
    to_come: Vec<(i64, MandateChange)>,
}

impl Schedule {
    /// From the records of the file, in its order.
    #[must_use]
    pub fn new(changes: Vec<MandateChange>) -> Self {
        let mut latest_us = BTreeMap::new();
        let due_us: Vec<i64> = changes
            .iter()
            .map(|change| {
                let latest_us = latest_us.entry(change.mandate_id()).or_insert(i64::MIN);
                *latest_us = change.updated_at().map_or(i64::MIN, |time| time.0).max(*latest_us);
                *latest_us
            })
            .collect();
        let mut to_come: Vec<(i64, MandateChange)> = due_us.into_iter().zip(changes).collect();
        to_come.sort_by_key(|&(due_us, _)| due_us);
        to_come.reverse();
        Self { to_come }
    }

    /// The changes that take effect when event time has reached `greatest_us`, in order; `None`:
    /// those in force before the first transaction.
    pub fn take_due(&mut self, greatest_us: Option<i64>) -> impl Iterator<Item = MandateChange> + '_ {
        let until_us = greatest_us.unwrap_or(i64::MIN);
        // Asked for every transaction, and nearly always in vain.
        let due = match self.to_come.last() {
            Some(&(due_us, _)) if due_us <= until_us => {
                self.to_come.partition_point(|&(due_us, _)| due_us > until_us)
            }
            _ => self.to_come.len(),
        };
        self.to_come.drain(due..).rev().map(|(_, change)| change)
    }

    /// Every change that is left, in order.
    pub fn take_rest(&mut self) -> impl Iterator<Item = MandateChange> + '_ {
        self.take_due(Some(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use weir_events::Timestamp;

    use super::*;

    fn deleted(mandate_id: &str, updated_at: Option<i64>) -> MandateChange {
        MandateChange::Deleted { mandate_id: mandate_id.into(), updated_at: updated_at.map(Timestamp) }
    }

    fn due(schedule: &mut Schedule, greatest_us: Option<i64>) -> Vec<(String, Option<i64>)> {
        let changes = schedule.take_due(greatest_us);
        changes
            .map(|change| (change.mandate_id().to_owned(), change.updated_at().map(|time| time.0)))
            .collect()
    }

    #[test]
    fn a_mandates_records_keep_their_order() {
        let records =
            [deleted("a", Some(50)), deleted("a", Some(20)), deleted("b", None), deleted("a", None)];
        let mut schedule = Schedule::new(records.into());
        assert_eq!(due(&mut schedule, None), [("b".to_owned(), None)]);
        assert_eq!(due(&mut schedule, Some(49)), []);
        let late = [Some(50), Some(20), None].map(|time| ("a".to_owned(), time));
        assert_eq!(due(&mut schedule, Some(50)), late);
        assert_eq!(due(&mut schedule, Some(i64::MAX)), []);
    }
}
