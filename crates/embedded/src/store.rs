//! The file: its tables, what one commit writes, and what is deleted of it.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, WriteTransaction,
};
use weir_log::{Fate, LogError, Output, OwnedRecord, Topic};

/// Name of the file in the data folder.
pub(crate) const FILE: &str = "weir.redb";

/// What this release writes and reads.
const FORMAT: i64 = 1;

/// Memory for pages of the file.
const CACHE_BYTES: usize = 64 << 20;

/// Most bytes of rows in one read, so that no reader keeps freed pages for long; at least one row is read.
const PAGE_BYTES: usize = 4 << 20;

/// Rows deleted in any commit, beside twice as many as it writes.
const PRUNED_AT_LEAST: usize = 64;

/// Least bytes that must fit after the disk was full.
const BALLAST_BYTES: u64 = 1 << 20;

/// Offset to (time in microseconds, key, value).
type Rows = TableDefinition<'static, i64, (i64, &'static [u8], &'static [u8])>;

/// Named numbers: the format and the end of every log.
const META: TableDefinition<'static, &str, i64> = TableDefinition::new("meta");
/// Newest record of each mandate: id to (offset, time, record).
const MANDATES: TableDefinition<'static, &str, (i64, i64, &[u8])> = TableDefinition::new("mandates");
/// Offsets of [`MANDATES`], in which order they are read again.
const MANDATE_ORDER: TableDefinition<'static, i64, &str> = TableDefinition::new("mandate_order");
/// Hash of user and transaction to the offset of its decision.
const DECIDED: TableDefinition<'static, u64, i64> = TableDefinition::new("decided");
/// Newest risk profile by key.
const RISK_SCORES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("risk_scores");
/// Written and removed again to see that there is room.
const BALLAST: TableDefinition<'static, u8, &[u8]> = TableDefinition::new("ballast");

/// Name of the end of the mandates in [`META`].
const MANDATES_END: &str = "mandates";

/// Rows that are appended in the order of their offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The input.
    Transactions,
    /// Decisions, with the hash of user and transaction as key.
    Decisions,
    /// Alerts.
    Alerts,
    /// Rejects.
    Rejects,
    /// The journal.
    Journal,
}

impl Kept {
    /// Every table of rows.
    const ALL: [Self; 5] = [Self::Transactions, Self::Decisions, Self::Alerts, Self::Rejects, Self::Journal];

    /// Where a topic's messages are kept; the risk scores are not rows.
    pub(crate) const fn of(topic: Topic) -> Option<Self> {
        match topic {
            Topic::Decisions => Some(Self::Decisions),
            Topic::Alerts => Some(Self::Alerts),
            Topic::Rejects => Some(Self::Rejects),
            Topic::Journal => Some(Self::Journal),
            Topic::RiskScores => None,
        }
    }

    /// Name of the table, and of its end in [`META`].
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Decisions => "decisions",
            Self::Alerts => "alerts",
            Self::Rejects => "rejects",
            Self::Journal => "journal",
        }
    }

    const fn rows(self) -> Rows {
        TableDefinition::new(self.name())
    }
}

/// Ends of what is kept, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ends {
    /// Of the transactions: the position.
    pub(crate) transactions: i64,
    /// Of the mandates.
    pub(crate) mandates: i64,
    /// Of the decisions.
    pub(crate) decisions: i64,
}

/// A mandate to be stored.
#[derive(Debug)]
pub(crate) struct StoredMandate {
    /// Its id.
    pub(crate) id: String,
    /// The record as it was handed in.
    pub(crate) record: OwnedRecord,
}

/// A batch's input.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// The transactions.
    pub(crate) records: std::sync::Arc<Vec<OwnedRecord>>,
    /// Mandates that are in force from this batch on.
    pub(crate) mandates: Vec<StoredMandate>,
    /// Rejects of mandates that could not be used.
    pub(crate) rejects: Vec<Vec<u8>>,
}

/// What may be deleted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Now.
    pub(crate) now_us: i64,
    /// Rows from before this time.
    pub(crate) before_us: i64,
    /// Transactions from this offset on are kept.
    pub(crate) transactions: i64,
    /// The journal is kept from this offset on.
    pub(crate) journal: i64,
}

/// Rows read at once.
#[derive(Debug)]
pub(crate) struct Page {
    /// The oldest offset that is there; the end where there is none.
    pub(crate) oldest: i64,
    /// The end.
    pub(crate) end: i64,
    /// Rows from the offset asked for on.
    pub(crate) rows: Vec<OwnedRecord>,
}

/// How the database is opened; tests put a disk of their own beneath it.
pub(crate) type Opener = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// Opens the file, for its owner alone: it holds payments.
pub(crate) fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    builder().create_file(private_file(path)?)
}

/// The database's settings.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// The file, made where it is not there yet, readable and writable by its owner alone.
pub(crate) fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The open file.
pub(crate) struct Store {
    database: Database,
}

impl Store {
    /// Opens the file, makes what is missing, and writes once, so that a disk that takes nothing is noticed here.
    /// `room`: bytes that must fit besides.
    pub(crate) fn open(path: &Path, opener: &Opener, room: Option<u64>) -> Result<Self, LogError> {
        let database = opener(path).map_err(|error| opening(path, error))?;
        let store = Self { database };
        let failed = |error: redb::Error| storage(path, error);
        let format = store.prepare().map_err(failed)?;
        if format != FORMAT {
            return Err(LogError::Refused(format!(
                "{} has format {format}; this release reads format {FORMAT}",
                path.display()
            )));
        }
        // A new file is there after a crash of the machine only when its folder was written, too.
        if let Some(folder) = path.parent() {
            let written = File::open(folder).and_then(|folder| folder.sync_all());
            written.map_err(|error| LogError::Unavailable(format!("{}: {error}", folder.display())))?;
        }
        if let Some(bytes) = room {
            store.make_room(bytes.max(BALLAST_BYTES)).map_err(failed)?;
        }
        Ok(store)
    }

    /// Makes the tables; gives the file's format.
    fn prepare(&self) -> Result<i64, redb::Error> {
        let write = self.begin()?;
        for kept in Kept::ALL {
            write.open_table(kept.rows())?;
        }
        write.open_table(MANDATES)?;
        write.open_table(MANDATE_ORDER)?;
        write.open_table(DECIDED)?;
        write.open_table(RISK_SCORES)?;
        let format = {
            let mut meta = write.open_table(META)?;
            let format = meta.get("format")?.map(|format| format.value());
            if format.is_none() {
                meta.insert("format", FORMAT)?;
            }
            let opened = number(&meta, "opened")?;
            meta.insert("opened", opened + 1)?;
            format.unwrap_or(FORMAT)
        };
        write.commit()?;
        Ok(format)
    }

    /// Writes and frees so many bytes: they are room in the file then, and the disk was not full.
    fn make_room(&self, bytes: u64) -> Result<(), redb::Error> {
        let ballast = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let write = self.begin()?;
        write.open_table(BALLAST)?.insert(0, ballast.as_slice())?;
        write.commit()?;
        let write = self.begin()?;
        write.delete_table(BALLAST)?;
        write.commit()?;
        Ok(())
    }

    /// A transaction that is on the disk when it is committed, and after which the file opens at once.
    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        write.set_quick_repair(true);
        Ok(write)
    }

    /// Writes a batch with its output, all or nothing, and deletes a little of what has become old.
    pub(crate) fn commit(
        &self,
        input: &Input,
        output: &Output,
        retention: &Retention,
    ) -> Result<Ends, redb::Error> {
        let write = self.begin()?;
        write_input(&write, input, retention.now_us)?;
        write_output(&write, output, retention.now_us)?;
        let steps = 2 * (input.records.len() + output.messages.len()) + PRUNED_AT_LEAST;
        prune(&write, retention, steps)?;
        let ends = {
            let mut meta = write.open_table(META)?;
            meta.insert(Kept::Transactions.name(), output.position)?;
            ends(&meta)?
        };
        write.commit()?;
        Ok(ends)
    }

    /// The ends.
    pub(crate) fn ends(&self) -> Result<Ends, redb::Error> {
        ends(&self.database.begin_read()?.open_table(META)?)
    }

    /// At most `max` rows from an offset on.
    pub(crate) fn page(&self, kept: Kept, from: i64, max: usize) -> Result<Page, redb::Error> {
        let read = self.database.begin_read()?;
        let end = number(&read.open_table(META)?, kept.name())?;
        let table = read.open_table(kept.rows())?;
        let oldest = table.first()?.map_or(end, |(offset, _)| offset.value());
        let mut rows = Vec::new();
        let mut bytes = 0;
        for row in table.range(from..)?.take(max) {
            let (offset, row) = row?;
            let (time_us, key, value) = row.value();
            bytes += key.len() + value.len();
            if bytes > PAGE_BYTES && !rows.is_empty() {
                break;
            }
            // A decision's key here is for its repeats, and no key of the record.
            let key = (!key.is_empty() && kept != Kept::Decisions).then(|| key.into());
            let value = Some(value.into());
            rows.push(OwnedRecord { offset: offset.value(), timestamp_us: Some(time_us), key, value });
        }
        Ok(Page { oldest, end, rows })
    }

    /// At most `max` mandates from an offset on.
    pub(crate) fn mandates(&self, from: i64, max: usize) -> Result<Vec<OwnedRecord>, redb::Error> {
        let read = self.database.begin_read()?;
        let order = read.open_table(MANDATE_ORDER)?;
        let mandates = read.open_table(MANDATES)?;
        let mut found = Vec::new();
        for row in order.range(from..)?.take(max) {
            let (_, id) = row?;
            if let Some(mandate) = mandates.get(id.value())? {
                let (offset, time_us, record) = mandate.value();
                let value = Some(record.into());
                found.push(OwnedRecord { offset, timestamp_us: Some(time_us), key: None, value });
            }
        }
        Ok(found)
    }

    /// The stored decision of a transaction, by the hash of its user and id.
    pub(crate) fn decision_of(&self, key: u64) -> Result<Option<Vec<u8>>, redb::Error> {
        let read = self.database.begin_read()?;
        let Some(offset) = read.open_table(DECIDED)?.get(key)?.map(|offset| offset.value()) else {
            return Ok(None);
        };
        let decision = read.open_table(Kept::Decisions.rows())?.get(offset)?;
        Ok(decision.map(|row| row.value().2.to_vec()))
    }

    /// The newest risk profile of a key.
    pub(crate) fn risk_score(&self, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        let read = self.database.begin_read()?;
        let score = read.open_table(RISK_SCORES)?.get(key)?;
        Ok(score.map(|score| score.value().to_vec()))
    }
}

/// A named number; 0 where it was never set.
fn number(meta: &impl ReadableTable<&'static str, i64>, name: &str) -> Result<i64, redb::Error> {
    Ok(meta.get(name)?.map_or(0, |number| number.value()))
}

fn ends(meta: &impl ReadableTable<&'static str, i64>) -> Result<Ends, redb::Error> {
    Ok(Ends {
        transactions: number(meta, Kept::Transactions.name())?,
        mandates: number(meta, MANDATES_END)?,
        decisions: number(meta, Kept::Decisions.name())?,
    })
}

/// Writes a batch's transactions and mandates, and the rejects of mandates.
fn write_input(write: &WriteTransaction, input: &Input, now_us: i64) -> Result<(), redb::Error> {
    let mut transactions = write.open_table(Kept::Transactions.rows())?;
    for record in input.records.iter() {
        let time_us = record.timestamp_us.unwrap_or(now_us);
        let value = record.value.as_deref().unwrap_or_default();
        transactions.insert(record.offset, (time_us, &[][..], value))?;
    }
    let mut meta = write.open_table(META)?;
    if !input.mandates.is_empty() {
        let mut mandates = write.open_table(MANDATES)?;
        let mut order = write.open_table(MANDATE_ORDER)?;
        for mandate in &input.mandates {
            let offset = mandate.record.offset;
            let time_us = mandate.record.timestamp_us.unwrap_or(now_us);
            let value = mandate.record.value.as_deref().unwrap_or_default();
            let older = mandates.insert(mandate.id.as_str(), (offset, time_us, value))?;
            if let Some(older) = older {
                order.remove(older.value().0)?;
            }
            order.insert(offset, mandate.id.as_str())?;
            meta.insert(MANDATES_END, offset + 1)?;
        }
    }
    if !input.rejects.is_empty() {
        let mut end = number(&meta, Kept::Rejects.name())?;
        let mut rejects = write.open_table(Kept::Rejects.rows())?;
        for reject in &input.rejects {
            rejects.insert(end, (now_us, &[][..], reject.as_slice()))?;
            end += 1;
        }
        meta.insert(Kept::Rejects.name(), end)?;
    }
    Ok(())
}

/// Writes what was decided.
fn write_output(write: &WriteTransaction, output: &Output, now_us: i64) -> Result<(), redb::Error> {
    let mut meta = write.open_table(META)?;
    for topic in Topic::ALL {
        let mut messages = output.messages.iter().filter(|message| message.topic == topic).peekable();
        if messages.peek().is_none() {
            continue;
        }
        let Some(kept) = Kept::of(topic) else {
            let mut scores = write.open_table(RISK_SCORES)?;
            for (key, value) in messages.map(|message| output.message(message)) {
                scores.insert(key, value)?;
            }
            continue;
        };
        if kept == Kept::Decisions {
            write_decisions(write, &mut meta, output, now_us)?;
            continue;
        }
        let mut end = number(&meta, kept.name())?;
        let mut table = write.open_table(kept.rows())?;
        for (key, value) in messages.map(|message| output.message(message)) {
            table.insert(end, (now_us, key, value))?;
            end += 1;
        }
        meta.insert(kept.name(), end)?;
    }
    Ok(())
}

/// Writes the decisions, each found again by the hash of its user and transaction.
fn write_decisions(
    write: &WriteTransaction,
    meta: &mut redb::Table<'_, &'static str, i64>,
    output: &Output,
    now_us: i64,
) -> Result<(), redb::Error> {
    let mut keys = vec![0; output.messages.len()];
    for (fate, &key) in output.fates.iter().zip(&output.keys) {
        if let Fate::Decided(at) = fate
            && let Some(place) = keys.get_mut(*at)
        {
            *place = key;
        }
    }
    let mut end = number(meta, Kept::Decisions.name())?;
    let mut decisions = write.open_table(Kept::Decisions.rows())?;
    let mut decided = write.open_table(DECIDED)?;
    let messages = output.messages.iter().zip(keys);
    for (message, key) in messages.filter(|(message, _)| message.topic == Topic::Decisions) {
        decisions.insert(end, (now_us, key.to_le_bytes().as_slice(), output.message(message).1))?;
        decided.insert(key, end)?;
        end += 1;
    }
    meta.insert(Kept::Decisions.name(), end)?;
    Ok(())
}

/// Deletes at most `steps` old rows of each table.
fn prune(write: &WriteTransaction, retention: &Retention, steps: usize) -> Result<(), redb::Error> {
    // The journal's last record tells what the next one follows: it stays.
    let journal_end = number(&write.open_table(META)?, Kept::Journal.name())?;
    let mut decided = write.open_table(DECIDED)?;
    for kept in Kept::ALL {
        let limit = match kept {
            Kept::Transactions => retention.transactions,
            Kept::Journal => retention.journal.min(journal_end - 1),
            Kept::Decisions | Kept::Alerts | Kept::Rejects => i64::MAX,
        };
        let mut table = write.open_table(kept.rows())?;
        for _ in 0..steps {
            let old = table
                .first()?
                .is_some_and(|(offset, row)| offset.value() < limit && row.value().0 < retention.before_us);
            if !old {
                break;
            }
            let Some((offset, row)) = table.pop_first()? else { break };
            let key = <[u8; 8]>::try_from(row.value().1).map(u64::from_le_bytes);
            if kept == Kept::Decisions
                && let Ok(key) = key
                && decided.get(key)?.is_some_and(|of| of.value() == offset.value())
            {
                decided.remove(key)?;
            }
        }
    }
    Ok(())
}

/// What to do about a file that cannot be opened.
fn opening(path: &Path, error: DatabaseError) -> LogError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => LogError::Refused(format!(
            "another process uses {}; a data folder belongs to one instance, so stop the other or set another \
             `data_dir`",
            path.display()
        )),
        error => storage(path, error.into()),
    }
}

/// What to do about a file that cannot be read or written.
pub(crate) fn storage(path: &Path, error: redb::Error) -> LogError {
    let text = format!("{}: {error}", path.display());
    match error {
        redb::Error::Io(error) => match error.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::InvalidData => LogError::Refused(text),
            _ => LogError::Unavailable(text),
        },
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => LogError::Unavailable(text),
        _ => LogError::Refused(text),
    }
}

/// Makes the data folder and gives the path of the file in it.
pub(crate) fn place(data_dir: &Path) -> Result<PathBuf, LogError> {
    let failed = |error: std::io::Error| storage(data_dir, StorageError::Io(error).into());
    std::fs::create_dir_all(data_dir).map_err(failed)?;
    Ok(data_dir.join(FILE))
}
