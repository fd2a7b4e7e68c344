//! What the service asks of a log, whether that is Kafka or a file on this machine.
//!
//! A [`Log`] hands partitions out ([`Assignment`]). Of a [`Partition`] that it owns, the service reads what is
//! committed (to recover), then goes live: a [`Source`] gives batches of records, a [`Sink`] commits what was
//! decided about them together with the position, all or nothing. Whatever fails is one of a few [`LogError`]s,
//! each with a different thing to do about it.

mod error;
pub mod keys;
mod output;
mod record;
mod submit;

use std::ops::{ControlFlow, Range};
use std::sync::mpsc::Sender;
use std::time::Duration;

pub use error::LogError;
pub use keys::{KeyFault, Partitioner};
pub use output::{Fate, Message, Output, Topic};
pub use record::{OwnedRecord, Record, Records};
pub use submit::{Answer, Kind, Submit};

/// A log with its partitions.
pub trait Log: Send + Sync {
    /// Number of partitions of the transactions topic.
    ///
    /// # Errors
    /// When the log cannot be reached.
    fn partitions(&self) -> Result<i32, LogError>;

    /// The next change of what this instance owns; waits at most `wait`.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] while the log cannot be reached; any other when it has failed for good.
    fn next_assignment(&self, wait: Duration) -> Result<Option<Assignment>, LogError>;

    /// A partition that was assigned. Nothing is fenced before [`Partition::open`].
    ///
    /// # Errors
    /// When the client for it cannot be made.
    fn partition(&self, number: i32) -> Result<Box<dyn Partition>, LogError>;

    /// A reader of the mandates that are not in anybody's journal yet, from the topic's beginning on; `None`
    /// where mandates come through the same door as transactions.
    ///
    /// # Errors
    /// When the client for it cannot be made.
    fn mandates(&self) -> Result<Option<Box<dyn MandateSource>>, LogError>;

    /// Committed decisions of all partitions from these offsets on, one per partition; `None`: from now on.
    ///
    /// # Errors
    /// [`LogError::Gone`] when they were deleted.
    fn decisions(&self, from: Option<&[i64]>) -> Result<Box<dyn DecisionReader>, LogError>;

    /// Leaves the group. No partition is owned any more when this returns.
    fn close(&self);
}

/// A change of what this instance owns.
#[derive(Debug)]
pub enum Assignment {
    /// Partitions to recover and go live with.
    Assigned(Vec<i32>),
    /// Partitions to finish with. The log waits for `done` before it lets them go, but not for ever.
    Revoked {
        /// Which.
        partitions: Vec<i32>,
        /// Whether they belong to others already, so that nothing more can be committed.
        lost: bool,
        /// To be sent to, or dropped, when they are finished with.
        done: Sender<()>,
    },
}

/// The two topics that recovery reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// The input.
    Transactions,
    /// What it was decided under.
    Journal,
}

/// What a partition holds, as offsets; ends are exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Of the transactions.
    pub transactions: Range<i64>,
    /// Of the journal; its end is final, because earlier owners are fenced.
    pub journal: Range<i64>,
    /// Position of the consumer group, where it has one.
    pub group_position: Option<i64>,
}

/// One partition, of the transactions and of everything that is written for them.
pub trait Partition: Send {
    /// Fences earlier owners: what they had not committed when this returns, they never will.
    ///
    /// # Errors
    /// When the log cannot be reached or refuses.
    fn open(&mut self) -> Result<Extent, LogError>;

    /// Committed records from an offset up to the end that the feed has now.
    ///
    /// # Errors
    /// When the log cannot be reached.
    fn read(&mut self, feed: Feed, from: i64) -> Result<Box<dyn Reader>, LogError>;

    /// Starts to give records from this offset on and to take output.
    ///
    /// # Errors
    /// When the partition is no longer owned.
    fn go_live(&mut self, from: i64) -> Result<Live, LogError>;

    /// Snapshots are kept from which nothing before these offsets is wanted: the log may delete the journal before
    /// `journal`, and what it keeps of the transactions before `transactions`.
    ///
    /// # Errors
    /// When the log cannot be reached or does not allow it.
    fn forget_before(&mut self, journal: i64, transactions: i64) -> Result<(), LogError>;
}

/// Where a live partition's records come from and where its output goes.
pub type Live = (Box<dyn Source>, Box<dyn Sink>);

/// Committed records, in order, up to the end at the time of [`Partition::read`].
pub trait Reader: Send {
    /// At most `max` of the next records; `None` at the end.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn next(&mut self, max: usize) -> Result<Option<Box<dyn Records>>, LogError>;
}

/// Gives a live partition's records.
pub trait Source: Send {
    /// At most `max` records, or those that have come within `wait`; `None` where there is nothing to commit.
    /// A batch without records is to be committed all the same.
    ///
    /// # Errors
    /// When the partition is lost or the log has failed.
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Option<Box<dyn Records>>, LogError>;

    /// A batch without records, for what the service has to commit by itself; `None` where the log need not know of
    /// it before the commit.
    ///
    /// # Errors
    /// As for [`Source::poll`].
    fn without_records(&mut self) -> Result<Option<Box<dyn Records>>, LogError> {
        Ok(None)
    }

    /// Records that wait in the log beyond what was given, where that is known.
    fn lag(&self) -> Option<u64>;
}

/// Commits what was decided.
pub trait Sink: Send {
    /// Commits a batch's output and its position together. What failed for a reason that may pass is tried again
    /// with the same bytes for as long as `retrying`, which is told why, says to go on.
    ///
    /// # Errors
    /// When the output was not, or may not have been, committed: the shard's state is ahead of the log then and
    /// has to be recovered from it.
    fn commit(&mut self, output: &Output, retrying: &dyn Fn(&str) -> ControlFlow<()>)
    -> Result<(), LogError>;
}

/// What the mandates topic has to say next.
#[derive(Debug)]
pub enum MandateEvent {
    /// A record of a partition of the mandates topic; without a value it is a tombstone.
    Record(i32, OwnedRecord),
    /// The partition has been read up to this offset.
    Reached(i32, i64),
}

/// Reads the mandates topic from its beginning on, for ever.
pub trait MandateSource: Send {
    /// The next events, or none within `wait`.
    ///
    /// # Errors
    /// When the log has failed.
    fn next(&mut self, wait: Duration) -> Result<Vec<MandateEvent>, LogError>;

    /// Something that tells from any thread where the mandates topic ends.
    fn ends(&self) -> Box<dyn MandateEnds>;
}

/// Tells where the mandates topic ends.
pub trait MandateEnds: Send + Sync {
    /// The end of each partition, now; at most `wait` is waited for the answer.
    ///
    /// # Errors
    /// When the log does not answer.
    fn ends(&self, wait: Duration) -> Result<Vec<i64>, LogError>;
}

/// Reads committed decisions of all partitions, for those who follow them over HTTP.
pub trait DecisionReader: Send {
    /// The next decisions as (partition, offset, JSON); none within `wait` is an empty list.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn next(&mut self, wait: Duration) -> Result<Vec<(i32, i64, Vec<u8>)>, LogError>;

    /// Offsets of the next decision of each partition.
    fn position(&self) -> Vec<i64>;
}
