//! A durable log on this machine, for one instance without a broker.
//!
//! It has one partition. Records come through [`Submit`]; a [`Source`](weir_log::Source) gives what waits as a
//! batch, and a [`Sink`](weir_log::Sink) writes the batch's input, everything that was decided about it and the
//! position in one transaction of the file `weir.redb`. Who handed a record in is answered when that is on the
//! disk. While one batch is being written the next one gathers, so that the cost of a write is shared by all who
//! wait for it.
//!
//! A mandate takes effect in the order in which it came: it is handed to the hook of
//! [`EmbeddedLog::set_mandate_hook`] before the batch that it stands at the head of is given out.
//!
//! When the file cannot be written, everybody who waits is told so, and so is who comes after, until
//! [`Partition::open`] has opened the file again and seen that there is room.

mod partition;
mod queue;
mod readers;
mod store;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use weir_log::{
    Answer, Assignment, DecisionReader, Kind, Log, LogError, MandateSource, OwnedRecord, Partition, Submit,
    Topic,
};

use partition::OnlyPartition;
use queue::Queue;
use readers::{Decisions, Mandates};
use store::{Kept, Opener, Retention, Store};

/// The one partition.
const PARTITION: i32 = 0;

/// Takes a mandate in before the transactions behind it are decided. It gives the mandate's id; a record that
/// cannot be used is given back as the reject that is stored and told to who handed it in.
///
/// The record has no key, and its value is what was handed in: a mandate is removed by
/// `{"mandate_id": …, "deleted": true}`. It is called on the thread of the source. What it took in is not on the
/// disk yet: when the file then fails, the registry is to be filled anew from [`Log::mandates`].
pub type MandateHook = Box<dyn Fn(OwnedRecord) -> Result<String, String> + Send + Sync>;

/// How the log keeps what it is given.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long rows are kept. Transactions and the journal are kept longer where they are needed, see
    /// [`Partition::forget_before`]; risk profiles and mandates are kept for ever, the newest of each.
    pub retention: Duration,
    /// Most records that wait for their answer; past it nothing is taken.
    pub queue_records_max: usize,
    /// Most bytes of records that wait for their answer; past it nothing is taken.
    pub queue_bytes_max: usize,
    /// The wall clock, in microseconds since 1970: the time of receipt of every record.
    pub now_us: fn() -> i64,
}

/// The parts that sources, sinks and readers share.
struct Shared {
    path: PathBuf,
    options: Options,
    opener: Opener,
    /// Held for writing while the partition is opened: what is being committed then is finished first.
    store: RwLock<Option<Store>>,
    queue: Queue,
    hook: RwLock<Option<MandateHook>>,
    /// Transactions from this offset on are needed; at first all are.
    transactions_needed: AtomicI64,
    /// The journal is needed from this offset on; at first all of it is.
    journal_needed: AtomicI64,
}

/// A durable log on this machine; copies are the same log.
#[derive(Clone)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    /// Whether the partition was handed out.
    assigned: Arc<AtomicBool>,
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedLog({})", self.shared.path.display())
    }
}

impl EmbeddedLog {
    /// Opens the log in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// [`LogError::Refused`] when another process uses it, or it cannot be used as it is;
    /// [`LogError::Unavailable`] when that may pass, such as a full disk.
    pub fn open(data_dir: &Path, options: Options) -> Result<Self, LogError> {
        Self::open_with(data_dir, options, Box::new(store::open_file))
    }

    /// [`EmbeddedLog::open`] with another way to open the file.
    fn open_with(data_dir: &Path, options: Options, opener: Opener) -> Result<Self, LogError> {
        let path = store::place(data_dir)?;
        let store = Store::open(&path, &opener, None)?;
        let ends = store.ends().map_err(|error| store::storage(&path, error))?;
        let shared = Shared {
            queue: Queue::new(options.queue_records_max, options.queue_bytes_max, ends),
            path,
            options,
            opener,
            store: RwLock::new(Some(store)),
            hook: RwLock::new(None),
            transactions_needed: AtomicI64::new(i64::MIN),
            journal_needed: AtomicI64::new(i64::MIN),
        };
        Ok(Self { shared: Arc::new(shared), assigned: Arc::default() })
    }

    /// Sets what takes mandates in; until then none are taken.
    pub fn set_mandate_hook(&self, hook: MandateHook) {
        *self.shared.hook.write().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// At most `max` committed records of a topic from an offset on; nothing for the risk scores, see
    /// [`EmbeddedLog::risk_score`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rows(&self, topic: Topic, from: i64, max: usize) -> Result<Vec<OwnedRecord>, LogError> {
        let Some(kept) = Kept::of(topic) else { return Ok(Vec::new()) };
        self.shared.read(|store| store.page(kept, from, max)).map(|page| page.rows)
    }

    /// The newest committed risk profile of a key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn risk_score(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        self.shared.read(|store| store.risk_score(key))
    }
}

impl Log for EmbeddedLog {
    fn partitions(&self) -> Result<i32, LogError> {
        Ok(1)
    }

    fn next_assignment(&self, wait: Duration) -> Result<Option<Assignment>, LogError> {
        if !self.assigned.swap(true, Ordering::Relaxed) {
            return Ok(Some(Assignment::Assigned(vec![PARTITION])));
        }
        if self.shared.queue.await_close(wait) { Err(LogError::Stopped) } else { Ok(None) }
    }

    fn partition(&self, number: i32) -> Result<Box<dyn Partition>, LogError> {
        if number == PARTITION {
            Ok(Box::new(OnlyPartition::new(Arc::clone(&self.shared))))
        } else {
            Err(LogError::Refused(format!(
                "the embedded log has partition {PARTITION} alone, and no {number}"
            )))
        }
    }

    /// The mandates that are stored, the newest of each id in the order in which they came; then nothing more,
    /// since those that come go to the hook.
    fn mandates(&self) -> Result<Option<Box<dyn MandateSource>>, LogError> {
        Ok(Some(Box::new(Mandates::new(Arc::clone(&self.shared))?)))
    }

    fn decisions(&self, from: Option<&[i64]>) -> Result<Box<dyn DecisionReader>, LogError> {
        Ok(Box::new(Decisions::new(Arc::clone(&self.shared), from)?))
    }

    /// Takes no more records, tells everybody who waits, and closes the file.
    fn close(&self) {
        self.shared.queue.close();
        self.shared.store.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Submit for EmbeddedLog {
    /// [`LogError::Refused`] where the records are more than could ever be taken at once.
    fn submit(
        &self,
        kind: Kind,
        records: Vec<Vec<u8>>,
        answers: Sender<(usize, Answer)>,
    ) -> Result<(), LogError> {
        let received_us = (self.shared.options.now_us)();
        self.shared.queue.submit(kind, records, &answers, received_us)
    }
}

impl Shared {
    /// The open file, if it is open.
    fn store(&self) -> RwLockReadGuard<'_, Option<Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the file.
    fn read<T>(&self, read: impl FnOnce(&Store) -> Result<T, redb::Error>) -> Result<T, LogError> {
        match &*self.store() {
            Some(store) => read(store).map_err(|error| store::storage(&self.path, error)),
            None => Err(LogError::Unavailable(format!("{} is not open", self.path.display()))),
        }
    }

    /// What may be deleted now.
    fn retention(&self) -> Retention {
        let now_us = (self.options.now_us)();
        let kept_us = i64::try_from(self.options.retention.as_micros()).unwrap_or(i64::MAX);
        Retention {
            now_us,
            before_us: now_us.saturating_sub(kept_us),
            transactions: self.transactions_needed.load(Ordering::Relaxed),
            journal: self.journal_needed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
