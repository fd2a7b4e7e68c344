//! A partition as it was decided, in one file, so that it can be decided again anywhere.
//!
//! A line for the start state, then per batch the journal's entries before it, its transactions, and its batch
//! entry. Journal entries stand as texts, byte for byte, because the journal's digest covers them.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use weir_engine::{Config, TABLES, Tables};
use weir_log::{Feed, LogError, Output, OwnedRecord, Partition};

use crate::error::ServiceError;
use crate::journal::{self, Chain, Digest, Entry};
use crate::keeper::{Keeper, Standing, Tally};
use crate::recovery::{JournalReader, Journaled, Stream, check_digest};
use crate::settings::Settings;
use crate::snapshots::{self, Manifest, Store, Taken};

/// Version of the recording's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// A line of a recording.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// The first line.
    Start {
        /// Shape of the recording.
        schema_version: u32,
        /// Partition of the transactions topic.
        partition: i32,
        /// Its partitions.
        partitions: i32,
        /// Name of the transactions topic, as rejects name it; `None`: they came over HTTP.
        topic: Option<String>,
        /// How keys were checked.
        partitioner: String,
        /// Position of the first transaction.
        position: i64,
        /// What the start state shows, where it is that of a snapshot; its tables follow.
        snapshot: Option<Box<Taken>>,
    },
    /// A table of the start state: an Arrow IPC stream.
    Table {
        /// Its name.
        table: String,
        /// The stream, base64.
        arrow: String,
    },
    /// An entry of the journal.
    Journal {
        /// Its offset.
        offset: i64,
        /// Its text.
        value: String,
    },
    /// A transaction.
    Transaction {
        /// Its offset.
        offset: i64,
        /// The log's time for it.
        timestamp_us: Option<i64>,
        /// Its key.
        key: Option<Bytes>,
        /// Its value.
        value: Option<Bytes>,
    },
}

/// Bytes as text where they are UTF-8.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Base64 { base64: String },
}

impl Bytes {
    fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64 { base64: STANDARD.encode(bytes) },
        }
    }

    fn into_bytes(self) -> Option<Box<[u8]>> {
        match self {
            Self::Text(text) => Some(text.into_bytes().into()),
            Self::Base64 { base64 } => STANDARD.decode(base64).ok().map(Into::into),
        }
    }
}

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The log, the journal or the engine.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A line is not what it should be.
    #[error("line {line} of the recording: {what}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

impl From<LogError> for RecordingError {
    fn from(error: LogError) -> Self {
        Self::Service(error.into())
    }
}

/// What was recorded or replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Batches.
    pub batches: u64,
    /// Transactions in them.
    pub records: u64,
}

/// Records a partition from its start, or from the oldest usable snapshot where journal or input no longer reach
/// back to the start. Nobody is fenced: the shard may be live.
///
/// # Errors
/// When the log cannot be read, or what is needed was deleted.
pub fn record(
    partition: &mut dyn Partition,
    (number, partitions): (i32, i32),
    settings: &Settings,
    store: &Store,
    out: &mut dyn Write,
) -> Result<Extent, RecordingError> {
    let mut first = first_journal_offset(partition)?;
    let mut journal = JournalReader::new(partition.read(Feed::Journal, first)?, None);
    let opening = journal.next_batch()?;
    let whole = opening.as_ref().is_none_or(|batch| batch.entry.sequence == 0);
    let position = opening.as_ref().map_or(0, |batch| batch.entry.from);
    let mut snapshot = None;
    if !whole || partition.read(Feed::Transactions, position).and_then(|mut reader| reader.next(1)).is_err() {
        let manifest = oldest_usable(partition, number, store)?;
        first = manifest.journal_offset + 1;
        snapshot = Some(manifest);
    }
    let after = snapshot.as_ref().and_then(|manifest| Digest::from_hex(&manifest.digest)).unwrap_or_default();
    let position = snapshot.as_ref().map_or(position, |manifest| manifest.position);
    write_line(
        out,
        &Line::Start {
            schema_version: SCHEMA_VERSION,
            partition: number,
            partitions,
            topic: settings.transactions_topic.clone(),
            partitioner: settings.partitioner.name().to_owned(),
            position,
            snapshot: snapshot.as_ref().map(|manifest| Box::new(manifest.taken.clone())),
        },
    )?;
    if let Some(manifest) = &snapshot {
        write_tables(out, &store.load(manifest).map_err(ServiceError::from)?)?;
    }
    let mut journal = JournalReader::new(partition.read(Feed::Journal, first)?, Some(&after));
    journal.keep_texts();
    write_batches(partition, &mut journal, out)
}

fn write_batches(
    partition: &mut dyn Partition,
    journal: &mut JournalReader,
    out: &mut dyn Write,
) -> Result<Extent, RecordingError> {
    let mut extent = Extent::default();
    let mut input: Option<Stream> = None;
    while let Some(batch) = journal.next_batch()? {
        let mut texts = journal.take_texts();
        let last = texts.pop();
        for (offset, value) in texts {
            write_line(out, &Line::Journal { offset, value })?;
        }
        if batch.entry.records > 0 {
            let stream = match &mut input {
                Some(stream) => stream,
                None => input.insert(Stream::new(partition.read(Feed::Transactions, batch.entry.from)?)),
            };
            write_transactions(stream, &batch, out)?;
        }
        if let Some((offset, value)) = last {
            write_line(out, &Line::Journal { offset, value })?;
        }
        extent.batches += 1;
        extent.records += batch.entry.records;
    }
    out.flush()?;
    Ok(extent)
}

fn write_transactions(
    stream: &mut Stream,
    batch: &Journaled,
    out: &mut dyn Write,
) -> Result<(), RecordingError> {
    let wanted = usize::try_from(batch.entry.records).unwrap_or(usize::MAX);
    let mut failed = None;
    let taken = stream.take(wanted, &mut |records| {
        for record in (0..records.len()).filter_map(|at| records.get(at)) {
            let (key, value) = (record.key.map(Bytes::new), record.value.map(Bytes::new));
            let (offset, timestamp_us) = (record.offset, record.timestamp_us);
            let written = write_line(out, &Line::Transaction { offset, timestamp_us, key, value });
            failed = failed.take().or(written.err());
        }
        Ok(())
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None if taken < wanted => {
            let why = format!("transactions of batch {} are not there any more", batch.entry.sequence);
            Err(ServiceError::Halted(why).into())
        }
        None => Ok(()),
    }
}

/// The least offset that the journal still has.
fn first_journal_offset(partition: &mut dyn Partition) -> Result<i64, LogError> {
    match partition.read(Feed::Journal, 0).and_then(|mut reader| reader.next(1)) {
        Ok(_) => Ok(0),
        Err(LogError::Gone { oldest, .. }) => Ok(oldest),
        Err(error) => Err(error),
    }
}

/// The oldest snapshot that the journal vouches for and the input goes on from.
fn oldest_usable(
    partition: &mut dyn Partition,
    number: i32,
    store: &Store,
) -> Result<Manifest, RecordingError> {
    let mut manifests = store.manifests(number).map_err(ServiceError::from)?;
    while let Some(manifest) = manifests.pop() {
        let believed = check_digest(partition, &manifest).is_ok();
        let goes_on =
            partition.read(Feed::Transactions, manifest.position).and_then(|mut reader| reader.next(1));
        if believed && goes_on.is_ok() {
            return Ok(manifest);
        }
    }
    let why = format!(
        "partition {number}: journal or input do not reach back to the start, and no snapshot is usable"
    );
    Err(ServiceError::Halted(why).into())
}

fn write_line(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn write_tables(out: &mut dyn Write, tables: &Tables) -> Result<(), RecordingError> {
    let unwritable = |error: arrow::error::ArrowError| RecordingError::File(io::Error::other(error));
    for (table, batches) in tables {
        for batch in batches {
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(unwritable)?;
            writer.write(batch).map_err(unwritable)?;
            let arrow = STANDARD.encode(writer.into_inner().map_err(unwritable)?);
            write_line(out, &Line::Table { table: (*table).to_owned(), arrow })?;
        }
    }
    Ok(())
}

/// What the first line of a recording says.
#[derive(Debug)]
struct Head {
    number: (i32, i32),
    position: i64,
    snapshot: Option<Box<Taken>>,
    topic: Option<String>,
    partitioner: String,
}

/// Decides a recording again and hands each batch's output to `to`.
///
/// # Errors
/// When a line is not what it should be, or the outcome is not the journal's.
pub fn replay(
    recording: &mut dyn BufRead,
    seed: u64,
    to: &mut dyn FnMut(&Output, &Tally) -> io::Result<()>,
) -> Result<Extent, RecordingError> {
    let mut lines = Lines { recording, number: 0, text: String::new() };
    let head = lines.head()?;
    let mut tables: Tables = TABLES.map(|table| (table, Vec::new())).into();
    let mut keeper = None;
    let mut chain = Chain::after(&Digest::default());
    let (mut config, mut mandates, mut transactions) = (None, Vec::new(), Vec::new());
    let mut extent = Extent::default();
    let mut output = Output::default();
    while let Some(line) = lines.next()? {
        match line {
            Line::Start { .. } => return Err(lines.wrong("a second start".to_owned())),
            Line::Table { table, arrow } => lines.add_table(&mut tables, &table, &arrow)?,
            Line::Transaction { offset, timestamp_us, key, value } => {
                let bytes = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.into_bytes().unwrap_or_default());
                transactions.push(OwnedRecord { offset, timestamp_us, key: bytes(key), value: bytes(value) });
            }
            Line::Journal { offset, value } => {
                let keeper = match &mut keeper {
                    Some(keeper) => keeper,
                    None => {
                        let begun = begin(&head, seed, &tables, &mut chain)?;
                        keeper.insert(begun)
                    }
                };
                let entry = journal::read(value.as_bytes(), offset).map_err(ServiceError::from)?;
                chain.check(&entry, value.as_bytes(), offset).map_err(ServiceError::from)?;
                match entry {
                    Entry::Config(entry) => config = Some(entry),
                    Entry::Mandate(entry) => mandates.push(entry),
                    Entry::Batch(entry, digest) => {
                        let (config, mandates) = (config.take(), std::mem::take(&mut mandates));
                        let batch = Journaled { config, mandates, entry, digest, offset };
                        let records = std::mem::take(&mut transactions);
                        let tally = keeper.redo(&batch, &mut |decide| decide(&records), Some(&mut output))?;
                        to(&output, &tally)?;
                        extent.batches += 1;
                        extent.records += tally.records;
                    }
                }
            }
        }
    }
    Ok(extent)
}

/// The shard in its start state.
fn begin(head: &Head, seed: u64, tables: &Tables, chain: &mut Chain) -> Result<Keeper, RecordingError> {
    let config = match &head.snapshot {
        None => Config::default(),
        Some(taken) => serde_json::from_value(taken.config.clone()).map_err(|error| {
            ServiceError::Irreproducible(format!("the snapshot's configuration: {error}"))
        })?,
    };
    let settings = Arc::new(Settings::of_recording(config, head.topic.clone(), &head.partitioner, seed));
    let Some(taken) = &head.snapshot else {
        return Ok(Keeper::new(&settings, head.number.0, head.number.1, head.position));
    };
    let state = snapshots::restore(&settings.config, seed, tables).map_err(ServiceError::from)?;
    let digest = Digest::from_hex(&taken.digest).unwrap_or_default();
    *chain = Chain::after(&digest);
    let rejected_to = (head.number.0 == 0).then(|| taken.mandates_rejected_to.clone());
    let standing = Standing { sequence: taken.sequence, digest, position: taken.position, rejected_to };
    Ok(Keeper::restored(&settings, head.number, state, standing, taken.state_version))
}

/// The lines of a recording.
struct Lines<'r> {
    recording: &'r mut dyn BufRead,
    number: u64,
    text: String,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Line>, RecordingError> {
        self.text.clear();
        self.number += 1;
        if self.recording.read_line(&mut self.text)? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&self.text).map(Some).map_err(|error| self.wrong(error.to_string()))
    }

    fn wrong(&self, what: String) -> RecordingError {
        RecordingError::Line { line: self.number, what }
    }

    fn head(&mut self) -> Result<Head, RecordingError> {
        match self.next()? {
            Some(Line::Start { schema_version, .. }) if schema_version != SCHEMA_VERSION => Err(self.wrong(
                format!("it is of version {schema_version}; this release reads version {SCHEMA_VERSION}"),
            )),
            Some(Line::Start { partition, partitions, topic, partitioner, position, snapshot, .. }) => {
                Ok(Head { number: (partition, partitions), position, snapshot, topic, partitioner })
            }
            _ => Err(self.wrong("a recording begins with its start; this is none".to_owned())),
        }
    }

    fn add_table(&self, tables: &mut Tables, name: &str, arrow: &str) -> Result<(), RecordingError> {
        let bytes = STANDARD.decode(arrow).map_err(|error| self.wrong(error.to_string()))?;
        let unreadable = |error: arrow::error::ArrowError| self.wrong(error.to_string());
        let reader = StreamReader::try_new(io::Cursor::new(bytes), None).map_err(unreadable)?;
        let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().map_err(unreadable)?;
        match tables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, table)) => table.extend(batches),
            None => return Err(self.wrong(format!("there is no table `{name}`"))),
        }
        Ok(())
    }
}
