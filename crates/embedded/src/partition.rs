//! The one partition: recovery, then batches out and commits in.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use weir_log::{
    Answer, Extent, Fate, Feed, Live, LogError, Output, OwnedRecord, Partition, Reader, Record, Records,
    Sink, Source,
};

use crate::queue::{Pending, Queued};
use crate::store::{self, Ends, Kept, Store, StoredMandate};
use crate::{PARTITION, Shared};

impl From<Feed> for Kept {
    fn from(feed: Feed) -> Self {
        match feed {
            Feed::Transactions => Self::Transactions,
            Feed::Journal => Self::Journal,
        }
    }
}

/// The partition, as the service owns it.
pub(crate) struct OnlyPartition {
    shared: Arc<Shared>,
}

impl OnlyPartition {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Opens the file again where it was given up, and reads where it ends.
    fn opened(&self) -> Result<Extent, LogError> {
        let shared = &*self.shared;
        // Whatever is being committed is finished first.
        let mut place = shared.store.write().unwrap_or_else(PoisonError::into_inner);
        let failure = shared.queue.failure();
        shared.queue.recover()?;
        if failure.is_some() || place.is_none() {
            // The lock on the file goes with the old one.
            drop(place.take());
            *place = Some(Store::open(&shared.path, &shared.opener, failure)?);
        }
        let Some(store) = place.as_ref() else {
            return Err(LogError::Broken("the file is not open".to_owned()));
        };
        let read = || -> Result<(Ends, Extent), redb::Error> {
            let ends = store.ends()?;
            let transactions = store.page(Kept::Transactions, 0, 0)?;
            let journal = store.page(Kept::Journal, 0, 0)?;
            Ok((
                ends,
                Extent {
                    transactions: transactions.oldest..transactions.end,
                    journal: journal.oldest..journal.end,
                    group_position: Some(ends.transactions),
                },
            ))
        };
        let (ends, extent) = read().map_err(|error| store::storage(&shared.path, error))?;
        shared.queue.opened(ends);
        Ok(extent)
    }
}

impl Partition for OnlyPartition {
    fn open(&mut self) -> Result<Extent, LogError> {
        let extent = self.opened();
        if let Err(error) = &extent
            && *error != LogError::Stopped
        {
            self.shared.queue.fail(&error.to_string(), None);
        }
        extent
    }

    fn read(&mut self, feed: Feed, from: i64) -> Result<Box<dyn Reader>, LogError> {
        let kept = Kept::from(feed);
        let page = self.shared.read(|store| store.page(kept, from, 0))?;
        if from < page.oldest {
            return Err(gone(kept, from, page.oldest));
        }
        Ok(Box::new(Rows { shared: Arc::clone(&self.shared), kept, next: from, end: page.end }))
    }

    fn go_live(&mut self, from: i64) -> Result<Live, LogError> {
        let ends = self.shared.queue.ends();
        if from != ends.transactions {
            return Err(LogError::Refused(format!(
                "the log's position is {}, since input and output are written together; {from} is not",
                ends.transactions
            )));
        }
        let generation = self.shared.queue.go_live()?;
        let source = LiveSource {
            shared: Arc::clone(&self.shared),
            generation,
            next: ends.transactions,
            next_mandate: ends.mandates,
        };
        let sink = LiveSink { shared: Arc::clone(&self.shared), generation };
        Ok((Box::new(source), Box::new(sink)))
    }

    fn forget_before(&mut self, journal: i64, transactions: i64) -> Result<(), LogError> {
        self.shared.journal_needed.fetch_max(journal, Ordering::Relaxed);
        self.shared.transactions_needed.fetch_max(transactions, Ordering::Relaxed);
        Ok(())
    }
}

/// Rows that were asked for are not there any more.
pub(crate) fn gone(kept: Kept, wanted: i64, oldest: i64) -> LogError {
    LogError::Gone { topic: kept.name().to_owned(), partition: PARTITION, wanted, oldest }
}

/// Committed rows up to an end.
struct Rows {
    shared: Arc<Shared>,
    kept: Kept,
    next: i64,
    end: i64,
}

impl Reader for Rows {
    fn next(&mut self, max: usize) -> Result<Option<Box<dyn Records>>, LogError> {
        let left = usize::try_from(self.end - self.next).unwrap_or(0);
        if left == 0 {
            return Ok(None);
        }
        let page = self.shared.read(|store| store.page(self.kept, self.next, max.max(1).min(left)))?;
        match (page.rows.first(), page.rows.last()) {
            (Some(first), Some(last)) if first.offset == self.next => self.next = last.offset + 1,
            _ => return Err(gone(self.kept, self.next, page.oldest)),
        }
        Ok(Some(Box::new(page.rows)))
    }
}

/// A batch that the source gave out and the sink stores.
struct Batch(Arc<Vec<OwnedRecord>>);

impl Records for Batch {
    fn len(&self) -> usize {
        Records::len(&*self.0)
    }

    fn get(&self, at: usize) -> Option<Record<'_>> {
        Records::get(&*self.0, at)
    }
}

/// Gives what waits.
struct LiveSource {
    shared: Arc<Shared>,
    generation: u64,
    next: i64,
    next_mandate: i64,
}

impl LiveSource {
    /// Hands the mandates to the hook and notes what is to be told and stored.
    fn take_mandates(&mut self, mandates: Vec<Queued>, pending: &mut Pending) {
        let hook = self.shared.hook.read().unwrap_or_else(PoisonError::into_inner);
        for queued in mandates {
            pending.bytes += queued.bytes.len();
            let record = OwnedRecord {
                offset: self.next_mandate,
                timestamp_us: Some(queued.received_us),
                key: None,
                value: Some(queued.bytes),
            };
            let answer = match hook.as_ref().map(|hook| hook(record.clone())) {
                None => Answer::Unavailable("mandates are not taken yet".to_owned()),
                Some(Ok(id)) => {
                    pending.input.mandates.push(StoredMandate { id, record });
                    self.next_mandate += 1;
                    Answer::Accepted
                }
                Some(Err(reject)) => {
                    let reject = reject.into_bytes();
                    pending.input.rejects.push(reject.clone());
                    Answer::Rejected(reject)
                }
            };
            pending.mandates.push((queued.reply, answer));
        }
    }
}

impl Source for LiveSource {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Option<Box<dyn Records>>, LogError> {
        let (mandates, transactions) = self.shared.queue.take(self.generation, max.max(1), wait)?;
        if mandates.is_empty() && transactions.is_empty() {
            return Ok(None);
        }
        let mut pending = Pending::default();
        self.take_mandates(mandates, &mut pending);
        let mut records = Vec::with_capacity(transactions.len());
        for queued in transactions {
            pending.bytes += queued.bytes.len();
            pending.replies.push(queued.reply);
            records.push(OwnedRecord {
                offset: self.next,
                timestamp_us: Some(queued.received_us),
                key: None,
                value: Some(queued.bytes),
            });
            self.next += 1;
        }
        let records = Arc::new(records);
        pending.input.records = Arc::clone(&records);
        pending.position = self.next;
        self.shared.queue.given(self.generation, pending)?;
        Ok(Some(Box::new(Batch(records))))
    }

    /// Every commit belongs to a batch that was given out, in order, so this is one.
    fn without_records(&mut self) -> Result<Option<Box<dyn Records>>, LogError> {
        let pending = Pending { position: self.next, ..Pending::default() };
        self.shared.queue.given(self.generation, pending)?;
        Ok(Some(Box::new(Batch(Arc::default()))))
    }

    fn lag(&self) -> Option<u64> {
        Some(self.shared.queue.waiting() as u64)
    }
}

/// Writes what was decided.
struct LiveSink {
    shared: Arc<Shared>,
    generation: u64,
}

impl Sink for LiveSink {
    fn commit(
        &mut self,
        output: &Output,
        _retrying: &dyn Fn(&str) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let shared = &*self.shared;
        let place = shared.store();
        let pending = shared.queue.next_pending(self.generation)?;
        let records = pending.input.records.len();
        if output.position != pending.position || output.fates.len() != records {
            let why = format!(
                "a batch of {records} records up to {} was committed as {} up to {}",
                pending.position,
                output.fates.len(),
                output.position
            );
            shared.queue.fail(&why, Some(pending));
            return Err(LogError::Broken(why));
        }
        let written = match place.as_ref() {
            Some(store) => store.commit(&pending.input, output, &shared.retention()),
            None => Err(redb::Error::DatabaseClosed),
        };
        match written {
            Ok(ends) => {
                shared.queue.committed(&pending, ends);
                answer(place.as_ref(), pending, output);
                Ok(())
            }
            Err(error) => {
                // Once a write has failed, the file cannot be used until it is opened again.
                let why = format!("{}: {error}", shared.path.display());
                tracing::error!(path = %shared.path.display(), %error, "a batch could not be written");
                shared.queue.fail(&why, Some(pending));
                Err(LogError::Broken(why))
            }
        }
    }
}

/// Tells who handed the batch's records in what became of them.
fn answer(store: Option<&Store>, pending: Pending, output: &Output) {
    for (reply, answer) in pending.mandates {
        reply.send(answer);
    }
    let mut fates: VecDeque<&Fate> = output.fates.iter().collect();
    for reply in pending.replies {
        let Some(fate) = fates.pop_front() else { break };
        reply.send(match fate {
            Fate::Decided(at) => Answer::Decided(output.value(*at).to_vec()),
            Fate::Rejected(at) => Answer::Rejected(output.value(*at).to_vec()),
            Fate::Duplicate(key) => match store.map(|store| store.decision_of(*key)) {
                Some(Ok(Some(decision))) => Answer::Decided(decision),
                Some(Ok(None)) => Answer::Forgotten,
                Some(Err(error)) => Answer::Unavailable(error.to_string()),
                None => Answer::Forgotten,
            },
        });
    }
}
