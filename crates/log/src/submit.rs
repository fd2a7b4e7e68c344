//! Records that come through the service's own door.

use std::sync::mpsc::Sender;

use crate::LogError;

/// What kind of records are handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Payments.
    Transactions,
    /// Mandates.
    Mandates,
}

/// What became of a record handed in, once that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The decision's JSON: the stored one where the record was a repeat.
    Decided(Vec<u8>),
    /// The reject's JSON.
    Rejected(Vec<u8>),
    /// The mandate is in force.
    Accepted,
    /// A repeat whose decision the log does not keep any more.
    Forgotten,
    /// Nothing of it was kept: try again later.
    Unavailable(String),
}

/// Takes records that come over HTTP.
pub trait Submit: Send + Sync {
    /// Queues records; the answer to each is sent with its position, when it is durable.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the queue is full or the log has failed: nothing was queued.
    fn submit(
        &self,
        kind: Kind,
        records: Vec<Vec<u8>>,
        answers: Sender<(usize, Answer)>,
    ) -> Result<(), LogError>;
}
