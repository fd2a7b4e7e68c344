//! Writing snapshots, one after another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use weir_engine::TABLES;

use super::SnapshotError;
use super::file::Files;
use super::manifest::{FileEntry, Manifest, Taken};
use super::merge::merged;
use super::store::Store;

/// Checkpoints after which a chain is merged into a new base.
const CHAIN_MAX: usize = 8;
/// Snapshots that are kept.
const KEPT: usize = 3;
/// After so many seconds a file that no manifest lists is of a writer that has died.
const ORPHAN_AGE_S: i64 = 3600;

/// Writes the snapshots of one partition. One that fails leaves the chain as it was: the next takes all that
/// it would have taken.
pub struct Writer {
    store: Arc<Store>,
    partition: i32,
    /// The files of the latest snapshot, or of a base merged from them, and its sequence.
    pub(super) chain: Vec<FileEntry>,
    latest: Option<Manifest>,
    /// Names of the manifests that this writer knows to be of its own history, the latest last.
    own: Vec<String>,
    open: Vec<Files>,
}

/// A snapshot that is there for good.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Its manifest.
    pub manifest: Manifest,
    /// Offset in the journal of the oldest snapshot that is kept.
    pub oldest_journal_offset: i64,
    /// Position in the transactions of that snapshot.
    pub oldest_position: i64,
    /// What precedes this offset in the journal is not wanted any more; `None` where snapshots lie on this
    /// machine alone, and the journal is all there is without it.
    pub journal_needed_from: Option<i64>,
}

impl Writer {
    /// A writer whose first snapshot is of everything.
    #[must_use]
    pub fn new(store: Arc<Store>, partition: i32) -> Self {
        Self { store, partition, chain: Vec::new(), latest: None, own: Vec::new(), open: Vec::new() }
    }

    /// Goes on after the snapshot that the shard was restored from.
    pub fn resume(&mut self, manifest: &Manifest) {
        self.chain.clone_from(&manifest.files);
        self.own = vec![manifest.name()];
        self.latest = Some(manifest.clone());
    }

    /// Begins a snapshot, and gives up one that was not finished.
    ///
    /// # Errors
    /// None yet.
    pub fn begin(&mut self) -> Result<(), SnapshotError> {
        let base = self.chain.is_empty();
        self.open = TABLES.map(|table| Files::new(table, base)).into();
        Ok(())
    }

    /// Adds a batch of the checkpoint.
    ///
    /// # Errors
    /// When the store fails, or there is no such table.
    pub fn add(&mut self, table: &str, batch: &RecordBatch) -> Result<(), SnapshotError> {
        let files = self.open.iter_mut().find(|files| files.table() == table);
        let files = files.ok_or_else(|| SnapshotError::Unknown(table.to_owned()))?;
        files.add(&self.store.folder(self.partition), batch)
    }

    /// Publishes the snapshot, whose last batch stands at this offset of the journal, and takes away what is
    /// no longer wanted.
    ///
    /// # Errors
    /// When the store fails; then there is no such snapshot.
    pub fn finish(&mut self, taken: &Taken, journal_offset: i64) -> Result<Published, SnapshotError> {
        let folder = self.store.folder(self.partition);
        let mut files = self.chain.clone();
        for open in std::mem::take(&mut self.open) {
            files.extend(open.finish(&folder, taken.sequence)?);
        }
        let manifest = Manifest::new(taken, journal_offset, files);
        let name = manifest.name();
        // Where it is there already, who wrote it saw the same committed state, and it stays; unless it is torn, or
        // files that it lists are.
        let sealed = manifest.sealed()?;
        if !folder.create(&name, sealed.clone())? {
            let found = self.store.manifests(self.partition)?.into_iter().find(|found| found.name() == name);
            if found.is_none_or(|found| self.store.load(&found).is_err()) {
                folder.put(&name, sealed)?;
            }
        }
        self.chain.clone_from(&manifest.files);
        self.own.retain(|own| *own != name);
        self.own.push(name);
        self.own.drain(..self.own.len().saturating_sub(KEPT));
        self.latest = Some(manifest.clone());
        if self.deltas() >= 2 * CHAIN_MAX {
            self.merge()?;
        }
        let (oldest_journal_offset, oldest_position) = self.prune().unwrap_or_else(|error| {
            tracing::warn!(partition = self.partition, %error, "old snapshots were not taken away");
            (i64::MIN, i64::MIN)
        });
        let journal_needed_from = (!self.store.is_local()).then_some(oldest_journal_offset);
        Ok(Published { manifest, oldest_journal_offset, oldest_position, journal_needed_from })
    }

    /// Merges a chain that has become long into a new base, for the snapshots to come. It may take long, and
    /// nothing waits for it; [`Writer::finish`] does it at last where nobody else has.
    ///
    /// # Errors
    /// When the store fails, or a file is not what was written; the chain stays as it was then.
    pub fn tidy(&mut self) -> Result<(), SnapshotError> {
        let bytes = |base: bool| -> u64 {
            self.chain.iter().filter(|entry| entry.base == base).map(|entry| entry.bytes).sum()
        };
        if self.deltas() > CHAIN_MAX || bytes(false) > bytes(true) { self.merge() } else { Ok(()) }
    }

    /// Checkpoints after the base.
    fn deltas(&self) -> usize {
        let deltas = self.chain.iter().filter(|entry| !entry.base);
        deltas.map(|entry| entry.sequence).collect::<BTreeSet<u64>>().len()
    }

    fn merge(&mut self) -> Result<(), SnapshotError> {
        let sequence = self.latest.as_ref().map_or(0, |manifest| manifest.sequence);
        self.chain = merged(&self.store, self.partition, &self.chain, sequence)?;
        Ok(())
    }

    /// Takes away all but the newest snapshots, and the files that are no snapshot's; gives the offset in the
    /// journal of the oldest that is left.
    ///
    /// What is newer than this writer's own stays: it is another's, who has taken the partition over.
    fn prune(&self) -> Result<(i64, i64), SnapshotError> {
        let folder = self.store.folder(self.partition);
        let Some(latest) = &self.latest else { return Ok((i64::MIN, i64::MIN)) };
        let first_own = self.own.first().and_then(|name| Manifest::sequence_of(name)).unwrap_or(0);
        let manifests = self.store.manifests(self.partition)?;
        // Its own, and those before the one that it was restored from.
        let of_history =
            |manifest: &&Manifest| manifest.sequence < first_own || self.own.contains(&manifest.name());
        let oldest =
            manifests.iter().filter(of_history).nth(KEPT - 1).map_or(0, |manifest| manifest.sequence);
        let (gone, kept): (Vec<&Manifest>, Vec<&Manifest>) =
            manifests.iter().partition(|manifest| manifest.sequence < oldest);
        let listed = |manifests: &[&Manifest]| -> BTreeSet<String> {
            manifests.iter().flat_map(|manifest| &manifest.files).map(|entry| entry.name.clone()).collect()
        };
        let (of_gone, mut wanted) = (listed(&gone), listed(&kept));
        wanted.extend(self.chain.iter().map(|entry| entry.name.clone()));
        let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let orphaned_s = i64::try_from(now_s).unwrap_or(i64::MAX) - ORPHAN_AGE_S;
        // Manifests first: what is half taken away must not look like a snapshot.
        let (of_manifests, of_data): (Vec<_>, Vec<_>) =
            folder.list()?.into_iter().partition(|(name, _)| Manifest::sequence_of(name).is_some());
        for (name, _) in of_manifests {
            if Manifest::sequence_of(&name).is_some_and(|sequence| sequence < oldest) {
                folder.delete(&name)?;
            }
        }
        for (name, changed_s) in of_data {
            if !wanted.contains(&name) && (of_gone.contains(&name) || changed_s < orphaned_s) {
                folder.delete(&name)?;
            }
        }
        let before_own = kept.iter().filter(|manifest| manifest.sequence <= latest.sequence);
        // Each by itself: a manifest that was never committed may have the one without the other.
        let own = (latest.journal_offset, latest.position);
        Ok(before_own.fold(own, |(journal, position), manifest| {
            (journal.min(manifest.journal_offset), position.min(manifest.position))
        }))
    }
}
