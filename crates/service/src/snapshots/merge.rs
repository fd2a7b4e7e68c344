//! A base and the checkpoints since, merged into a new base.
//!
//! One file is in memory at a time. Of entities the last row of each number stays: a first pass over the files
//! finds in which one that is. Of remembered transactions those stay that are still in force; of the
//! watermark the last row.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use weir_engine::TABLES;

use super::SnapshotError;
use super::file::Files;
use super::manifest::FileEntry;
use super::store::Store;

/// Merges the files of a chain and gives those of the base, as of the snapshot with this sequence.
pub(super) fn merged(
    store: &Arc<Store>,
    partition: i32,
    chain: &[FileEntry],
    sequence: u64,
) -> Result<Vec<FileEntry>, SnapshotError> {
    let folder = store.folder(partition);
    let mut base = Vec::new();
    for table in TABLES {
        let of_table = || chain.iter().filter(move |entry| entry.table == table);
        let mut files = Files::new(table, true);
        let keep = match table {
            "repeats" => Keep::From(oldest_in_force_us(store, partition, chain)?),
            "watermark" => Keep::Last,
            _ => Keep::Owned(owners(store, partition, of_table())?),
        };
        let count = of_table().count();
        for (at, read) in store.read(partition, of_table()).enumerate() {
            let (_, batches) = read?;
            let batches_len = batches.len();
            for (place, batch) in batches.iter().enumerate() {
                let is_last = at + 1 == count && place + 1 == batches_len;
                files.add(&folder, &keep.of(batch, at, is_last)?)?;
            }
        }
        base.extend(files.finish(&folder, sequence)?);
    }
    Ok(base)
}

/// Which rows stay.
enum Keep {
    /// Those of the file that has the last row of their number.
    Owned(Vec<u32>),
    /// Those not older than this.
    From(i64),
    /// The last.
    Last,
}

impl Keep {
    fn of(&self, batch: &RecordBatch, file: usize, is_last: bool) -> Result<RecordBatch, SnapshotError> {
        let kept: BooleanArray = match self {
            Self::Last => {
                let from = if is_last { batch.num_rows().saturating_sub(1) } else { batch.num_rows() };
                return Ok(batch.slice(from, batch.num_rows() - from));
            }
            Self::From(oldest_us) => {
                let times: &Int64Array = column(batch, "time_us")?;
                times.values().iter().map(|time_us| Some(time_us >= oldest_us)).collect()
            }
            Self::Owned(owners) => {
                let owner = |number: &u64| usize::try_from(*number).ok().and_then(|at| owners.get(at));
                let numbers: &UInt64Array = column(batch, "number")?;
                numbers
                    .values()
                    .iter()
                    .map(|number| Some(owner(number).is_some_and(|&at| at as usize == file)))
                    .collect()
            }
        };
        Ok(filter_record_batch(batch, &kept)?)
    }
}

/// Per number the place of the file that has its last row.
fn owners<'a>(
    store: &'a Store,
    partition: i32,
    entries: impl Iterator<Item = &'a FileEntry> + Clone + 'a,
) -> Result<Vec<u32>, SnapshotError> {
    let most: u64 = entries.clone().map(|entry| entry.rows).sum();
    let mut owners = Vec::new();
    for (at, read) in (0..).zip(store.read(partition, entries)) {
        let (_, batches) = read?;
        for batch in &batches {
            for &number in column::<UInt64Array>(batch, "number")?.values() {
                // Numbers have no gaps, so there are no more of them than rows.
                let number = usize::try_from(number).ok().filter(|_| number < most);
                let number = number.ok_or_else(|| SnapshotError::Unknown("row of this number".to_owned()))?;
                if number >= owners.len() {
                    owners.resize(number + 1, u32::MAX);
                }
                if let Some(owner) = owners.get_mut(number) {
                    *owner = at;
                }
            }
        }
    }
    Ok(owners)
}

/// From when on remembered transactions are in force at the end of the chain.
fn oldest_in_force_us(store: &Store, partition: i32, chain: &[FileEntry]) -> Result<i64, SnapshotError> {
    let last = chain.iter().rfind(|entry| entry.table == "watermark");
    let mut oldest_us = i64::MIN;
    for read in store.read(partition, last.into_iter()) {
        for batch in &read?.1 {
            let times: &Int64Array = column(batch, "oldest_accepted_us")?;
            oldest_us = times.values().last().copied().unwrap_or(oldest_us);
        }
    }
    Ok(oldest_us)
}

fn column<'a, A: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A, SnapshotError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| SnapshotError::Unknown(format!("column `{name}`")))
}
