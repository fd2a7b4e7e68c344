//! When mandates of a recorded stream come into force.

use std::collections::BTreeMap;

use weir_events::MandateRecord;

/// The mandates of a recorded stream in the order in which they take effect.
///
/// A record without `updated_at` is in force before the first transaction. One with it takes effect
/// when event time, as far as it counted, has reached the latest `updated_at` among the record and
/// those before it of the same mandate, so that a mandate's records keep their order.
#[derive(Debug, Default)]
pub struct Schedule {
    due: BTreeMap<i64, Vec<MandateRecord>>,
    /// When the next of them takes effect.
    next_us: Option<i64>,
    latest_us: BTreeMap<String, i64>,
}

impl Schedule {
    /// Adds the next record of the file.
    pub fn add(&mut self, record: MandateRecord) {
        let own_us = record.updated_at().map_or(i64::MIN, |time| time.0);
        let due_us = match self.latest_us.get(record.mandate_id()) {
            Some(&before_us) => own_us.max(before_us),
            None => own_us,
        };
        self.latest_us.insert(record.mandate_id().to_owned(), due_us);
        self.due.entry(due_us).or_default().push(record);
        self.next_us = self.due.first_key_value().map(|(&next_us, _)| next_us);
    }

    /// The records that take effect when event time has reached `greatest_us`, in order; `None`:
    /// those in force before the first transaction.
    pub fn take_due(&mut self, greatest_us: Option<i64>) -> impl Iterator<Item = MandateRecord> + use<> {
        let until_us = greatest_us.unwrap_or(i64::MIN);
        // Asked for every transaction, and nearly always in vain.
        let is_due = until_us >= self.next_us.unwrap_or(i64::MAX);
        let due = is_due.then(|| {
            let later = until_us.checked_add(1).map(|after_us| self.due.split_off(&after_us));
            let due = std::mem::replace(&mut self.due, later.unwrap_or_default());
            self.next_us = self.due.first_key_value().map(|(&next_us, _)| next_us);
            due
        });
        due.into_iter().flat_map(BTreeMap::into_values).flatten()
    }

    /// Every record that is left, in order.
    pub fn take_rest(&mut self) -> impl Iterator<Item = MandateRecord> + use<> {
        self.take_due(Some(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use weir_events::Timestamp;

    use super::*;

    fn deleted(mandate_id: &str, updated_at: Option<i64>) -> MandateRecord {
        MandateRecord::Deleted { mandate_id: mandate_id.to_owned(), updated_at: updated_at.map(Timestamp) }
    }

    fn due(schedule: &mut Schedule, greatest_us: Option<i64>) -> Vec<(String, Option<i64>)> {
        let records = schedule.take_due(greatest_us);
        records
            .map(|record| (record.mandate_id().to_owned(), record.updated_at().map(|time| time.0)))
            .collect()
    }

    #[test]
    fn a_mandates_records_keep_their_order() {
        let mut schedule = Schedule::default();
        for record in [deleted("a", Some(50)), deleted("a", Some(20)), deleted("b", None), deleted("a", None)]
        {
            schedule.add(record);
        }
        assert_eq!(due(&mut schedule, None), [("b".to_owned(), None)]);
        assert_eq!(due(&mut schedule, Some(49)), []);
        let late = [Some(50), Some(20), None].map(|time| ("a".to_owned(), time));
        assert_eq!(due(&mut schedule, Some(50)), late);
        assert_eq!(due(&mut schedule, Some(i64::MAX)), []);
    }
}
