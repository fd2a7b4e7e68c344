//! Readers of what is committed: decisions for who follows them, mandates for the registry.

use std::sync::Arc;
use std::time::Duration;

use weir_log::{DecisionReader, LogError, MandateEnds, MandateEvent, MandateSource, OwnedRecord};

use crate::partition::gone;
use crate::store::Kept;
use crate::{PARTITION, Shared};

/// Rows of one read.
const PAGE_ROWS: usize = 500;

/// Follows the decisions. Every page is a short read of its own: a long one would keep what is deleted meanwhile.
pub(crate) struct Decisions {
    shared: Arc<Shared>,
    next: i64,
}

impl Decisions {
    /// Reads from this offset on, or from now on.
    pub(crate) fn new(shared: Arc<Shared>, from: Option<&[i64]>) -> Result<Self, LogError> {
        let next = match from {
            None => shared.queue.ends().decisions,
            Some(&[next]) => {
                let page = shared.read(|store| store.page(Kept::Decisions, next, 0))?;
                if next < page.oldest {
                    return Err(gone(Kept::Decisions, next, page.oldest));
                }
                if next > page.end {
                    return Err(LogError::Refused(format!(
                        "the decisions end at {}, before {next}",
                        page.end
                    )));
                }
                next
            }
            Some(other) => {
                let partitions = other.len();
                return Err(LogError::Refused(format!(
                    "there is one partition; {partitions} offsets were given"
                )));
            }
        };
        Ok(Self { shared, next })
    }
}

impl DecisionReader for Decisions {
    fn next(&mut self, wait: Duration) -> Result<Vec<(i32, i64, Vec<u8>)>, LogError> {
        if !self.shared.queue.await_decisions(self.next, wait)? {
            return Ok(Vec::new());
        }
        let page = self.shared.read(|store| store.page(Kept::Decisions, self.next, PAGE_ROWS))?;
        if self.next < page.oldest {
            return Err(gone(Kept::Decisions, self.next, page.oldest));
        }
        self.next = page.rows.last().map_or(self.next, |row| row.offset + 1);
        let decision = |value: Option<Box<[u8]>>| value.map(Vec::from).unwrap_or_default();
        Ok(page.rows.into_iter().map(|row| (PARTITION, row.offset, decision(row.value))).collect())
    }

    fn position(&self) -> Vec<i64> {
        vec![self.next]
    }
}

/// Gives the stored mandates, and says that they were all.
pub(crate) struct Mandates {
    shared: Arc<Shared>,
    next: i64,
    /// Their end when this was made.
    end: i64,
    reached: bool,
}

impl Mandates {
    /// Reads the mandates that are stored now.
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, LogError> {
        let end = shared.read(|store| store.ends())?.mandates;
        Ok(Self { shared, next: 0, end, reached: false })
    }
}

impl MandateSource for Mandates {
    fn next(&mut self, wait: Duration) -> Result<Vec<MandateEvent>, LogError> {
        if self.reached {
            // Those that come go to the hook.
            return if self.shared.queue.await_close(wait) { Err(LogError::Stopped) } else { Ok(Vec::new()) };
        }
        let records = self.shared.read(|store| store.mandates(self.next, PAGE_ROWS))?;
        let mut events = Vec::with_capacity(records.len() + 1);
        let is_last = |record: &OwnedRecord| record.offset + 1 >= self.end;
        self.reached = records.len() < PAGE_ROWS || records.last().is_some_and(is_last);
        for record in records.into_iter().filter(|record| record.offset < self.end) {
            self.next = record.offset + 1;
            events.push(MandateEvent::Record(PARTITION, record));
        }
        if self.reached {
            events.push(MandateEvent::Reached(PARTITION, self.end));
        }
        Ok(events)
    }

    fn ends(&self) -> Box<dyn MandateEnds> {
        Box::new(ReadEnd(self.end))
    }
}

/// The end that was read to: there is never more to wait for.
struct ReadEnd(i64);

impl MandateEnds for ReadEnd {
    fn ends(&self, _wait: Duration) -> Result<Vec<i64>, LogError> {
        Ok(vec![self.0])
    }
}
