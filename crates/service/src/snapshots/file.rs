//! A data file: the batches of one table as an Arrow IPC stream.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::manifest::{FileEntry, sha256};
use super::store::{Folder, Store};
use super::{SnapshotError, manifest};

/// A file is closed once it has so many bytes, so that none takes much memory, written or read.
pub(super) const FILE_BYTES: usize = 32 << 20;

/// The files of one table, the last of them still growing.
pub(super) struct Files {
    table: &'static str,
    base: bool,
    growing: Option<StreamWriter<Vec<u8>>>,
    rows: u64,
    closed: Vec<FileEntry>,
}

impl Files {
    pub(super) fn new(table: &'static str, base: bool) -> Self {
        Self { table, base, growing: None, rows: 0, closed: Vec::new() }
    }

    pub(super) fn table(&self) -> &'static str {
        self.table
    }

    /// Adds a batch, and stores the file when it is full.
    pub(super) fn add(&mut self, to: &Folder<'_>, batch: &RecordBatch) -> Result<(), SnapshotError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let growing = match &mut self.growing {
            Some(growing) => growing,
            None => self.growing.insert(StreamWriter::try_new(Vec::new(), &batch.schema())?),
        };
        growing.write(batch)?;
        self.rows += batch.num_rows() as u64;
        if growing.get_ref().len() >= FILE_BYTES { self.close(to) } else { Ok(()) }
    }

    fn close(&mut self, to: &Folder<'_>) -> Result<(), SnapshotError> {
        let Some(growing) = self.growing.take() else { return Ok(()) };
        let content = growing.into_inner()?;
        let sha256 = sha256(&content);
        let table = self.table;
        let entry = FileEntry {
            name: format!("{table}-{}.arrows", sha256.get(..32).unwrap_or(&sha256)),
            table: table.to_owned(),
            // Known when the snapshot is.
            sequence: 0,
            base: self.base,
            rows: std::mem::take(&mut self.rows),
            bytes: content.len() as u64,
            sha256,
        };
        to.put(&entry.name, content)?;
        self.closed.push(entry);
        Ok(())
    }

    /// Stores what is left and gives all files, as of the snapshot with this sequence.
    pub(super) fn finish(mut self, to: &Folder<'_>, sequence: u64) -> Result<Vec<FileEntry>, SnapshotError> {
        self.close(to)?;
        self.closed.iter_mut().for_each(|entry| entry.sequence = sequence);
        Ok(self.closed)
    }
}

/// The bytes of a file, as many as were written.
pub(super) fn content(from: &Folder<'_>, entry: &FileEntry) -> Result<Vec<u8>, SnapshotError> {
    let file = || entry.name.clone();
    let content = from.get(&entry.name)?.ok_or_else(|| SnapshotError::Missing { file: file() })?;
    let found = content.len() as u64;
    if found != entry.bytes {
        return Err(SnapshotError::Torn { file: file(), expected: entry.bytes, found });
    }
    Ok(content)
}

/// The batches of a file, every byte of which is what was written.
pub(super) fn batches(content: Vec<u8>, entry: &FileEntry) -> Result<Vec<RecordBatch>, SnapshotError> {
    let altered = || SnapshotError::Altered { file: entry.name.clone() };
    // Before anything is parsed: a reader of Arrow trusts the lengths that it reads.
    if manifest::sha256(&content) != entry.sha256 {
        return Err(altered());
    }
    let batches: Vec<RecordBatch> =
        StreamReader::try_new(Cursor::new(content), None)?.collect::<Result<_, _>>()?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows as u64 == entry.rows { Ok(batches) } else { Err(altered()) }
}

impl Store {
    /// The files of `entries`, one after another.
    pub(super) fn read<'a>(
        &'a self,
        partition: i32,
        entries: impl Iterator<Item = &'a FileEntry> + 'a,
    ) -> impl Iterator<Item = Result<(&'a FileEntry, Vec<RecordBatch>), SnapshotError>> + 'a {
        let from = self.folder(partition);
        entries.map(move |entry| Ok((entry, batches(content(&from, entry)?, entry)?)))
    }
}
