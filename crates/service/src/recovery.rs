//! From the committed journal back to the state at its end.

use std::sync::Arc;

use weir_log::{Extent, Feed, LogError, Partition, Reader, Record, Records};

use crate::error::ServiceError;
use crate::journal::{self, BatchEntry, Chain, ConfigEntry, Digest, Entry, JournalError, MandateEntry};
use crate::keeper::{Keeper, Standing};
use crate::settings::{Settings, Start};
use crate::snapshots::{self, Manifest, SnapshotError, Store};

/// Records read at a time.
const READ_RECORDS: usize = 4096;

/// A batch as the journal has it.
#[derive(Debug, Clone)]
pub struct Journaled {
    /// The configuration, where it changed with this batch.
    pub config: Option<ConfigEntry>,
    /// Mandates that the shard took in before it.
    pub mandates: Vec<MandateEntry>,
    /// The batch itself.
    pub entry: BatchEntry,
    /// Its digest.
    pub digest: Digest,
    /// Offset of the batch entry.
    pub offset: i64,
}

/// Reads batches from a journal, each checked to hang together with the one before.
pub struct JournalReader {
    records: Stream,
    chain: Option<Chain>,
    /// Offset and text of the latest batch's entries, where they are kept.
    texts: Option<Vec<(i64, String)>>,
}

impl JournalReader {
    /// Reads on after the batch with this digest; `None`: from wherever `reader` begins, unchecked up to the first
    /// batch entry.
    #[must_use]
    pub fn new(reader: Box<dyn Reader>, after: Option<&Digest>) -> Self {
        Self { records: Stream::new(reader), chain: after.map(Chain::after), texts: None }
    }

    /// Keeps the texts of entries from now on, for [`JournalReader::take_texts`].
    pub(crate) fn keep_texts(&mut self) {
        self.texts = Some(Vec::new());
    }

    /// Offset and text of each entry of the batch that was read last, the batch entry last.
    pub(crate) fn take_texts(&mut self) -> Vec<(i64, String)> {
        self.texts.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// When the log cannot be read or a record is not what it should be.
    pub fn next_batch(&mut self) -> Result<Option<Journaled>, ServiceError> {
        let (mut config, mut mandates) = (None, Vec::new());
        let Self { chain, texts, .. } = self;
        loop {
            let mut found = None;
            let more = self.records.take(1, &mut |records| {
                let Some(record) = records.get(0) else { return Ok(()) };
                let bytes = record.value.unwrap_or_default();
                let entry = journal::read(bytes, record.offset)?;
                match (chain.as_mut(), &entry) {
                    (Some(chain), _) => chain.check(&entry, bytes, record.offset)?,
                    (None, Entry::Batch(_, digest)) => *chain = Some(Chain::after(digest)),
                    (None, _) => {}
                }
                if let Some(texts) = texts.as_mut() {
                    texts.push((record.offset, String::from_utf8_lossy(bytes).into_owned()));
                }
                found = Some((entry, record.offset));
                Ok(())
            })?;
            match found {
                _ if more == 0 => {
                    let torn = config.is_some() || !mandates.is_empty();
                    let what = "is the last one, but its batch entry is missing".to_owned();
                    return if torn { Err(JournalError { offset: -1, what }.into()) } else { Ok(None) };
                }
                Some((Entry::Config(entry), _)) => config = Some(entry),
                Some((Entry::Mandate(entry), _)) => mandates.push(entry),
                Some((Entry::Batch(entry, digest), offset)) => {
                    return Ok(Some(Journaled { config, mandates, entry, digest, offset }));
                }
                None => {}
            }
        }
    }
}

/// A reader's records in portions of any size.
pub struct Stream {
    reader: Box<dyn Reader>,
    current: Option<Box<dyn Records>>,
    at: usize,
}

impl Stream {
    /// The records of a reader.
    #[must_use]
    pub fn new(reader: Box<dyn Reader>) -> Self {
        Self { reader, current: None, at: 0 }
    }

    /// Gives the next `count` records away, in as many pieces as they were read in; fewer at the end. Says how many
    /// there were.
    ///
    /// # Errors
    /// Those of the reader and of `to`.
    pub fn take(
        &mut self,
        count: usize,
        to: &mut dyn FnMut(&dyn Records) -> Result<(), ServiceError>,
    ) -> Result<usize, ServiceError> {
        let mut taken = 0;
        while taken < count {
            let records = match &self.current {
                Some(records) if self.at < records.len() => records,
                _ => {
                    self.at = 0;
                    self.current = self.reader.next(READ_RECORDS)?;
                    match &self.current {
                        Some(_) => continue,
                        None => break,
                    }
                }
            };
            let len = (records.len() - self.at).min(count - taken);
            to(&Slice { records: &**records, from: self.at, len })?;
            self.at += len;
            taken += len;
        }
        Ok(taken)
    }
}

/// A part of a batch.
struct Slice<'r> {
    records: &'r dyn Records,
    from: usize,
    len: usize,
}

impl Records for Slice<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, at: usize) -> Option<Record<'_>> {
        (at < self.len).then(|| self.records.get(self.from + at))?
    }
}

/// A shard as its journal left it.
pub struct Recovered {
    /// The shard, under the configuration that its last batch was decided under.
    pub keeper: Keeper,
    /// The snapshot that it was recovered from.
    pub snapshot: Option<Manifest>,
    /// Batches done again.
    pub batches: u64,
    /// Transactions in them.
    pub records: u64,
}

/// Opens the partition and brings its shard to the state at the end of the committed journal. It may take long, and
/// asks after every batch whether it is still wanted.
///
/// # Errors
/// When what is needed for that is not there any more, or does not hang together; [`LogError::Stopped`] when it is
/// not wanted any more.
pub fn recover(
    partition: &mut dyn Partition,
    number: (i32, i32),
    settings: &Arc<Settings>,
    store: Option<&Store>,
    is_stopping: &dyn Fn() -> bool,
) -> Result<Recovered, ServiceError> {
    let extent = partition.open()?;
    let (mut keeper, snapshot) = start(partition, &extent, number, settings, store)?;
    keeper.track_changes();
    let (mut batches, mut records) = (0, 0);
    let after = keeper.standing().map(|standing| standing.digest).unwrap_or_default();
    let from = snapshot.as_ref().map_or(extent.journal.start, |manifest| manifest.journal_offset + 1);
    let mut journal = JournalReader::new(partition.read(Feed::Journal, from)?, Some(&after));
    let mut input: Option<Stream> = None;
    while let Some(batch) = journal.next_batch()? {
        let stream = match &mut input {
            Some(stream) => stream,
            None if batch.entry.records == 0 => &mut Stream::new(Box::new(Nothing)),
            None => {
                check_extent(&extent, &batch.entry, settings)?;
                input.insert(Stream::new(partition.read(Feed::Transactions, batch.entry.from)?))
            }
        };
        redo(&mut keeper, &batch, stream, settings)?;
        batches += 1;
        records += batch.entry.records;
        if is_stopping() {
            return Err(LogError::Stopped.into());
        }
    }
    tell_group_position(&extent, &keeper, number.0);
    Ok(Recovered { keeper, snapshot, batches, records })
}

/// The input that a batch needs has to be there.
fn check_extent(extent: &Extent, batch: &BatchEntry, settings: &Settings) -> Result<(), ServiceError> {
    if batch.from >= extent.transactions.start {
        return Ok(());
    }
    Err(gone(batch, extent.transactions.start, settings))
}

/// Transactions of a batch were deleted.
fn gone(batch: &BatchEntry, oldest: i64, settings: &Settings) -> ServiceError {
    let topic = settings.transactions_topic.clone().unwrap_or_else(|| "transactions".to_owned());
    ServiceError::Log(LogError::Gone { topic, partition: batch.partition, wanted: batch.from, oldest })
}

/// Does one batch again with the transactions that were in it.
fn redo(
    keeper: &mut Keeper,
    batch: &Journaled,
    stream: &mut Stream,
    settings: &Settings,
) -> Result<(), ServiceError> {
    let entry = &batch.entry;
    let wanted = usize::try_from(entry.records).unwrap_or(usize::MAX);
    keeper.redo(
        batch,
        &mut |decide| {
            let taken = stream.take(wanted, &mut |records| {
                let last = records.len().checked_sub(1).and_then(|last| records.get(last));
                match last {
                    Some(last) if last.offset >= entry.to => Err(gone(entry, last.offset, settings)),
                    _ => decide(records),
                }
            })?;
            if taken < wanted { Err(gone(entry, entry.to, settings)) } else { Ok(()) }
        },
        None,
    )?;
    Ok(())
}

/// A shard to begin with: from the newest usable snapshot, else empty.
fn start(
    partition: &mut dyn Partition,
    extent: &Extent,
    (number, partitions): (i32, i32),
    settings: &Arc<Settings>,
    store: Option<&Store>,
) -> Result<(Keeper, Option<Manifest>), ServiceError> {
    let mut failed = None;
    for manifest in store.map(|store| store.manifests(number)).transpose()?.unwrap_or_default() {
        match usable(partition, extent, &manifest, partitions)
            .and_then(|()| restored(settings, (number, partitions), store, &manifest))
        {
            Ok(keeper) => return Ok((keeper, Some(manifest))),
            Err(error @ (ServiceError::Log(_) | ServiceError::Halted(_))) => return Err(error),
            Err(error) => {
                tracing::warn!(partition = number, sequence = manifest.sequence, %error, "snapshot not used");
                if matches!(error, ServiceError::Snapshot(SnapshotError::Store(_))) {
                    failed = Some(error);
                }
            }
        }
    }
    let first =
        JournalReader::new(partition.read(Feed::Journal, extent.journal.start)?, None).next_batch()?;
    // Where only a snapshot helps, a store that cannot be read now may still have it.
    let reaches_back = |batch: &Journaled| {
        batch.entry.sequence == 0 && batch.config.is_some() && batch.entry.from >= extent.transactions.start
    };
    if let Some(error) = failed
        && first.as_ref().is_some_and(|batch| !reaches_back(batch))
    {
        return Err(error);
    }
    let position = match (&first, settings.start) {
        // The first batch has a configuration ahead of it, unless the journal was shortened up to its entry.
        (Some(batch), _) if batch.entry.sequence == 0 && batch.config.is_some() => batch.entry.from,
        (Some(batch), _) => {
            return Err(ServiceError::Halted(format!(
                "partition {number}: no usable snapshot, and the journal begins with batch {} at offset {} only, for \
                 transactions from offset {} on: put a snapshot back into snapshots.url, or start over with a new \
                 journal topic",
                batch.entry.sequence, batch.offset, batch.entry.from
            )));
        }
        (None, Start::Earliest) => extent.transactions.start,
        (None, Start::Latest) => extent.transactions.end,
    };
    Ok((Keeper::new(settings, number, partitions, position), None))
}

/// A snapshot is believed only when the committed journal has its digest at its offset.
fn usable(
    partition: &mut dyn Partition,
    extent: &Extent,
    manifest: &Manifest,
    partitions: i32,
) -> Result<(), ServiceError> {
    if manifest.partitions != partitions {
        let when = "the snapshot was taken";
        return Err(ServiceError::repartitioned(partitions, manifest.partitions, when));
    }
    if !extent.journal.contains(&manifest.journal_offset) {
        let why = "the journal does not hold the offset that it was taken at";
        return Err(ServiceError::Irreproducible(why.to_owned()));
    }
    check_digest(partition, manifest)
}

/// Checks that the committed journal has the snapshot's digest at its offset.
pub(crate) fn check_digest(partition: &mut dyn Partition, manifest: &Manifest) -> Result<(), ServiceError> {
    let mut journal = JournalReader::new(partition.read(Feed::Journal, manifest.journal_offset)?, None);
    match journal.next_batch()? {
        Some(batch) if batch.offset == manifest.journal_offset && batch.digest.hex() == manifest.digest => {
            Ok(())
        }
        _ => {
            let why = "the journal has another digest at its offset: it is not of committed state";
            Err(ServiceError::Irreproducible(why.to_owned()))
        }
    }
}

fn restored(
    settings: &Arc<Settings>,
    number: (i32, i32),
    store: Option<&Store>,
    manifest: &Manifest,
) -> Result<Keeper, ServiceError> {
    let Some(store) = store else { return Err(ServiceError::Halted("no store of snapshots".to_owned())) };
    let config: weir_engine::Config = serde_json::from_value(manifest.config.clone())
        .map_err(|error| ServiceError::Irreproducible(format!("its configuration: {error}")))?;
    let tables = store.load(manifest)?;
    let state = snapshots::restore(&config, settings.seed, &tables)?;
    let digest = Digest::from_hex(&manifest.digest).unwrap_or_default();
    let rejected_to = (number.0 == 0).then(|| manifest.mandates_rejected_to.clone());
    let standing = Standing { sequence: manifest.sequence, digest, position: manifest.position, rejected_to };
    Ok(Keeper::restored(settings, number, state, standing, manifest.state_version))
}

/// The journal decides where a shard goes on; a group that says otherwise is worth a remark.
fn tell_group_position(extent: &Extent, keeper: &Keeper, partition: i32) {
    if let Some(group) = extent.group_position
        && group != keeper.position()
        && keeper.standing().is_some()
    {
        tracing::warn!(
            partition,
            group,
            journal = keeper.position(),
            "the group's offset is not the journal's; the journal decides"
        );
    }
}

/// A reader of nothing.
struct Nothing;

impl Reader for Nothing {
    fn next(&mut self, _max: usize) -> Result<Option<Box<dyn Records>>, LogError> {
        Ok(None)
    }
}
