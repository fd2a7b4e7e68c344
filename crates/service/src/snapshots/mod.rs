//! Snapshots of shards in an object store.
//!
//! A shard's snapshots lie under `partition-00000/`. Data files hold the batches of its checkpoints and are
//! named by their content, so that no two writers can spoil each other's. A manifest,
//! `manifest-{sequence}-{journal offset}-{digest}.json`, written last and only where there is none of that name,
//! makes a snapshot of them: it lists the files of a base and of the checkpoints since in the order in which
//! they are restored, each with length and SHA-256, and carries the SHA-256 of itself. Whatever is torn,
//! missing or altered is told, and the snapshot before is still whole.
//!
//! Everything here blocks, and is not to be called on a thread of an asynchronous runtime.

mod file;
mod manifest;
mod merge;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::{io, thread};

use arrow::error::ArrowError;
use weir_engine::{Config, Intake, RestoreError, Shard, Tables};

pub use manifest::{FORMAT, FileEntry, Manifest, Taken};
pub use store::Store;
pub use writer::{Published, Writer};

/// A shard and its intake from the batches that [`Store::load`] gives, with two threads.
///
/// # Errors
/// As for [`Shard::restore`].
pub fn restore(config: &Config, seed: u64, tables: &Tables) -> Result<(Shard, Intake), RestoreError> {
    Shard::restore_by(config, seed, tables, &|one, other| {
        thread::scope(|scope| {
            scope.spawn(one);
            other();
        });
    })
}

/// Why snapshots cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The URL cannot be used.
    #[error("snapshots cannot be kept at `{url}`: {why}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The folder or the runtime could not be made.
    #[error("the store of snapshots cannot be opened: {0}")]
    Open(#[from] io::Error),
    /// The store failed.
    #[error("the store of snapshots failed: {0}")]
    Store(#[from] object_store::Error),
    /// A file of a snapshot is not there.
    #[error("file `{file}` of the snapshot is missing")]
    Missing {
        /// Which.
        file: String,
    },
    /// A file of a snapshot is shorter or longer than it was written.
    #[error("file `{file}` of the snapshot has {found} bytes where {expected} were written")]
    Torn {
        /// Which.
        file: String,
        /// Bytes written.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// A file of a snapshot is not what was written.
    #[error("file `{file}` of the snapshot does not have the content that was written")]
    Altered {
        /// Which.
        file: String,
    },
    /// A manifest is not what was written, or of a format that this release does not read.
    #[error("manifest `{file}` cannot be read: {why}")]
    Manifest {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// Arrow refused a batch.
    #[error("a batch of the snapshot: {0}")]
    Arrow(#[from] ArrowError),
    /// There is no such table, or no such column in it.
    #[error("a snapshot has no `{0}`")]
    Unknown(String),
}
