//! Why a shard stopped.

use weir_engine::{BoundReached, RestoreError};
use weir_log::LogError;

use crate::journal::JournalError;
use crate::snapshots::SnapshotError;

/// Why a shard stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The log failed or took the partition away.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The journal does not hang together.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The shard is full.
    #[error(transparent)]
    Bound(#[from] BoundReached),
    /// A snapshot cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The store of snapshots failed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// What was decided before cannot be reproduced.
    #[error("{0}")]
    Irreproducible(String),
    /// Nothing more may be decided; an operator has to act.
    #[error("{0}")]
    Halted(String),
}

impl ServiceError {
    /// The topic has other partitions than it had when something was made.
    pub(crate) fn repartitioned(has: i32, had: i32, when: &str) -> Self {
        Self::Halted(format!(
            "the transactions topic has {has} partitions, but had {had} when {when}, and state cannot be split: make \
             new topics (and a new group) with the partitions you want, and send the transactions into them again, \
             keyed by user_id"
        ))
    }

    /// Whether trying again can help without anybody doing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Log(error) => !matches!(error, LogError::Gone { .. } | LogError::Refused(_)),
            Self::Snapshot(error) => !matches!(error, SnapshotError::Url { .. }),
            _ => false,
        }
    }
}
