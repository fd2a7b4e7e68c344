//! A log in memory that behaves as a broker does: offsets with gaps, fencing by epoch and by group, transactions
//! that are committed whole or not at all, and answers that get lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use weir_log::{
    Assignment, DecisionReader, Extent, Feed, Log, LogError, MandateEnds, MandateEvent, MandateSource,
    Output, OwnedRecord, Partition, Reader, Records, Sink, Source, Topic,
};

use crate::Random;

/// Name of the transactions topic.
pub const TRANSACTIONS: &str = "weir.transactions";
/// Name of the mandates topic.
pub const MANDATES: &str = "weir.mandates";

/// A record in its topic.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The record.
    pub record: OwnedRecord,
    /// Offset of the transaction that it tells of.
    pub source_offset: Option<i64>,
    /// A record that compaction has taken away; kept for those who check.
    pub compacted: bool,
}

/// One partition of a topic. Nothing is ever forgotten, so that the end can be checked; readers see what a broker
/// would show.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// The oldest offset that readers see.
    pub start: i64,
    /// The next offset.
    pub end: i64,
    /// Everything that was ever committed.
    pub records: Vec<Stored>,
}

impl Stream {
    /// Appends a record.
    pub fn append(&mut self, timestamp_us: Option<i64>, key: Option<&[u8]>, value: Option<&[u8]>) -> i64 {
        self.push(timestamp_us, key, value, None)
    }

    fn push(
        &mut self,
        timestamp_us: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        source_offset: Option<i64>,
    ) -> i64 {
        let offset = self.end;
        let record =
            OwnedRecord { offset, timestamp_us, key: key.map(Into::into), value: value.map(Into::into) };
        self.records.push(Stored { record, source_offset, compacted: false });
        self.end += 1;
        offset
    }

    /// Offsets that no reader of committed records sees.
    pub fn skip(&mut self, offsets: i64) {
        self.end += offsets;
    }

    /// What a reader sees from an offset on, at most so many.
    #[must_use]
    pub fn visible(&self, from: i64, max: usize) -> Vec<OwnedRecord> {
        let at = self.records.partition_point(|stored| stored.record.offset < from.max(self.start));
        let rest = self.records[at..].iter().filter(|stored| !stored.compacted);
        rest.take(max).map(|stored| stored.record.clone()).collect()
    }

    fn within(&self, topic: &str, partition: i32, wanted: i64) -> Result<(), LogError> {
        if wanted >= self.start {
            return Ok(());
        }
        Err(LogError::Gone { topic: topic.to_owned(), partition, wanted, oldest: self.start })
    }
}

/// How the next commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// So many attempts are aborted before it goes well.
    Retried(u32),
    /// It is applied, but the answer is lost.
    AnswerLost,
    /// It is not applied, and the client is of no use any more.
    Broken,
}

/// A log that does not keep its promises, to see that this is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Earlier owners can still commit.
    NoFencing,
    /// Now and then output is committed without the journal, which is the position.
    PositionLost,
    /// Now and then the journal is committed without the decisions.
    DecisionsLost,
    /// Now and then a batch is committed twice.
    Twice,
}

/// Everything that the log holds and knows.
#[derive(Debug)]
pub struct Cluster {
    /// The input.
    pub transactions: Vec<Stream>,
    /// The mandates.
    pub mandates: Vec<Stream>,
    /// What was written.
    pub written: BTreeMap<(Topic, i32), Stream>,
    /// Who owns each partition, as the group has it: tokens are given once.
    pub owners: Vec<Option<u64>>,
    /// Tokens of those who believe that they own their partition.
    pub believers: BTreeSet<u64>,
    /// Positions of the group.
    pub group: Vec<Option<i64>>,
    /// Whether the log cannot be reached.
    pub down: bool,
    /// How the next commit goes.
    pub outcome: Outcome,
    /// After so many reads one fails.
    pub read_fails_in: Option<u32>,
    /// Whether it refuses to delete what the journal holds, as an operator may have it.
    pub keeps_journal: bool,
    /// Whether input that no snapshot wants is deleted too.
    pub forgets_input: bool,
    /// What is wrong with this log.
    pub defect: Option<Defect>,
    /// Commits that were applied.
    pub commits: u64,
    /// Commits that were refused because their owner was fenced.
    pub fenced: u64,
    /// Recoveries, and those from a snapshot.
    pub recoveries: (u64, u64),
    /// Batches that left changed mandates to the next.
    pub parts: u64,
    /// Most checkpoints that a snapshot was made of, beside its base.
    pub longest_chain: usize,
    epochs: Vec<u64>,
    random: Random,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct SimLog(Arc<Mutex<Cluster>>);

impl SimLog {
    /// An empty log.
    #[must_use]
    pub fn new(partitions: usize, defect: Option<Defect>, random: Random) -> Self {
        let streams = || vec![Stream::default(); partitions];
        Self(Arc::new(Mutex::new(Cluster {
            transactions: streams(),
            mandates: streams(),
            written: BTreeMap::new(),
            owners: vec![None; partitions],
            believers: BTreeSet::new(),
            group: vec![None; partitions],
            down: false,
            outcome: Outcome::Done,
            read_fails_in: None,
            keeps_journal: false,
            forgets_input: false,
            defect,
            commits: 0,
            fenced: 0,
            recoveries: (0, 0),
            parts: 0,
            longest_chain: 0,
            epochs: vec![0; partitions],
            random,
        })))
    }

    /// The log's insides.
    ///
    /// # Panics
    /// When another thread panicked with them.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.0.lock().unwrap()
    }

    /// A partition for who holds this token.
    #[must_use]
    pub fn owned(&self, number: i32, token: u64) -> Box<dyn Partition> {
        Box::new(SimPartition { log: self.clone(), number, token, epoch: None })
    }

    /// A reader of the mandates from the beginning on.
    #[must_use]
    pub fn follow_mandates(&self) -> SimMandates {
        let partitions = self.cluster().mandates.len();
        SimMandates { log: self.clone(), next: vec![0; partitions] }
    }
}

impl Cluster {
    fn at(number: i32) -> usize {
        usize::try_from(number).unwrap()
    }

    /// One of the topics that Weir writes.
    #[must_use]
    pub fn stream(&mut self, topic: Topic, number: i32) -> &mut Stream {
        self.written.entry((topic, number)).or_default()
    }

    /// Fails where the log cannot be reached.
    fn reach(&mut self) -> Result<(), LogError> {
        if self.down {
            return Err(LogError::Unavailable("the broker is away".to_owned()));
        }
        match &mut self.read_fails_in {
            Some(0) => {
                self.read_fails_in = None;
                Err(LogError::Unavailable("a request timed out".to_owned()))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A transaction that was aborted: its records took offsets.
    pub fn aborted(&mut self, number: i32) {
        for topic in Topic::ALL {
            if self.random.percent(60) {
                let offsets = self.random.between(1, 4);
                self.stream(topic, number).skip(offsets);
            }
        }
    }

    fn apply(&mut self, number: i32, output: &Output, left_out: Option<Topic>) {
        let mut touched = BTreeSet::new();
        for message in &output.messages {
            if Some(message.topic) == left_out {
                continue;
            }
            let (key, value) = output.message(message);
            let key = (!message.key.is_empty()).then_some(key);
            let timestamp_us = Some(0);
            self.stream(message.topic, number).push(timestamp_us, key, Some(value), message.source_offset);
            touched.insert(message.topic);
        }
        // The marker of the commit.
        touched.into_iter().for_each(|topic| self.stream(topic, number).skip(1));
        self.group[Self::at(number)] = Some(output.position);
        self.commits += 1;
    }

    fn commit(&mut self, sink: &SimSink, output: &Output) -> Result<(), LogError> {
        let number = sink.number;
        let current = self.epochs[Self::at(number)] == sink.epoch;
        let owner = self.owners[Self::at(number)] == Some(sink.token);
        if !(current && owner) && self.defect != Some(Defect::NoFencing) {
            self.fenced += 1;
            return Err(LogError::Fenced(format!("partition {number} has a newer producer")));
        }
        let faulty = self.random.percent(10);
        match self.defect.filter(|_| faulty) {
            Some(Defect::PositionLost) => self.apply(number, output, Some(Topic::Journal)),
            Some(Defect::DecisionsLost) => self.apply(number, output, Some(Topic::Decisions)),
            Some(Defect::Twice) => {
                self.apply(number, output, None);
                self.apply(number, output, None);
            }
            _ => self.apply(number, output, None),
        }
        Ok(())
    }
}

impl Log for SimLog {
    fn partitions(&self) -> Result<i32, LogError> {
        Ok(i32::try_from(self.cluster().transactions.len()).unwrap())
    }

    fn next_assignment(&self, _wait: Duration) -> Result<Option<Assignment>, LogError> {
        Ok(None)
    }

    fn partition(&self, number: i32) -> Result<Box<dyn Partition>, LogError> {
        let token = self.cluster().owners[Cluster::at(number)].unwrap_or_default();
        Ok(self.owned(number, token))
    }

    fn mandates(&self) -> Result<Option<Box<dyn MandateSource>>, LogError> {
        Ok(Some(Box::new(self.follow_mandates())))
    }

    fn decisions(&self, _from: Option<&[i64]>) -> Result<Box<dyn DecisionReader>, LogError> {
        Err(LogError::Refused("nobody follows decisions here".to_owned()))
    }

    fn close(&self) {}
}

struct SimPartition {
    log: SimLog,
    number: i32,
    token: u64,
    epoch: Option<u64>,
}

impl Partition for SimPartition {
    fn open(&mut self) -> Result<Extent, LogError> {
        let mut cluster = self.log.cluster();
        cluster.reach()?;
        if !cluster.believers.contains(&self.token) {
            return Err(LogError::Fenced(format!("partition {} is not assigned any more", self.number)));
        }
        let at = Cluster::at(self.number);
        cluster.epochs[at] += 1;
        self.epoch = Some(cluster.epochs[at]);
        if cluster.random.percent(30) {
            cluster.aborted(self.number);
        }
        let journal = cluster.stream(Topic::Journal, self.number);
        let journal = journal.start..journal.end;
        let transactions = &cluster.transactions[at];
        Ok(Extent {
            transactions: transactions.start..transactions.end,
            journal,
            group_position: cluster.group[at],
        })
    }

    fn read(&mut self, feed: Feed, from: i64) -> Result<Box<dyn Reader>, LogError> {
        let mut cluster = self.log.cluster();
        cluster.reach()?;
        let (name, stream) = match feed {
            Feed::Transactions => (TRANSACTIONS, &cluster.transactions[Cluster::at(self.number)]),
            Feed::Journal => ("weir.journal", &*cluster.stream(Topic::Journal, self.number)),
        };
        stream.within(name, self.number, from)?;
        let records = stream.visible(from, usize::MAX);
        let portion = 1 + cluster.random.below(20);
        drop(cluster);
        Ok(Box::new(SimReader { log: Some(self.log.clone()), records, at: 0, portion }))
    }

    fn go_live(&mut self, from: i64) -> Result<weir_log::Live, LogError> {
        if !self.log.cluster().believers.contains(&self.token) {
            return Err(LogError::Fenced(format!("partition {} is not assigned any more", self.number)));
        }
        let epoch = self.epoch.ok_or_else(|| LogError::Broken("the partition was not opened".to_owned()))?;
        let (number, token) = (self.number, self.token);
        let source = SimSource { log: self.log.clone(), number, token, next: from };
        let sink = SimSink { log: self.log.clone(), number, token, epoch, dead: false };
        Ok((Box::new(source), Box::new(sink)))
    }

    fn forget_before(&mut self, journal: i64, transactions: i64) -> Result<(), LogError> {
        let mut cluster = self.log.cluster();
        cluster.reach()?;
        if cluster.keeps_journal {
            return Err(LogError::Refused("nothing may be deleted".to_owned()));
        }
        let written = cluster.stream(Topic::Journal, self.number);
        written.start = written.start.max(journal);
        if cluster.forgets_input {
            let input = &mut cluster.transactions[Cluster::at(self.number)];
            input.start = input.start.max(transactions);
        }
        Ok(())
    }
}

/// Records read in small portions.
pub(crate) struct SimReader {
    log: Option<SimLog>,
    records: Vec<OwnedRecord>,
    at: usize,
    portion: usize,
}

impl SimReader {
    /// A reader that never fails.
    pub(crate) fn of(records: Vec<OwnedRecord>) -> Self {
        Self { log: None, records, at: 0, portion: 64 }
    }
}

impl Reader for SimReader {
    fn next(&mut self, max: usize) -> Result<Option<Box<dyn Records>>, LogError> {
        if let Some(log) = &self.log {
            log.cluster().reach()?;
        }
        let end = self.records.len().min(self.at + max.min(self.portion));
        let portion = self.records[self.at..end].to_vec();
        self.at = end;
        Ok(if portion.is_empty() { None } else { Some(Box::new(portion)) })
    }
}

struct SimSource {
    log: SimLog,
    number: i32,
    token: u64,
    next: i64,
}

impl Source for SimSource {
    fn poll(&mut self, max: usize, _wait: Duration) -> Result<Option<Box<dyn Records>>, LogError> {
        let cluster = self.log.cluster();
        if !cluster.believers.contains(&self.token) {
            return Err(LogError::Fenced(format!("partition {} is not assigned any more", self.number)));
        }
        // A client whose broker is away gives nothing and says nothing.
        if cluster.down {
            return Ok(None);
        }
        let stream = &cluster.transactions[Cluster::at(self.number)];
        stream.within(TRANSACTIONS, self.number, self.next)?;
        let records = stream.visible(self.next, max);
        let Some(last) = records.last() else { return Ok(None) };
        self.next = last.offset + 1;
        Ok(Some(Box::new(records)))
    }

    fn lag(&self) -> Option<u64> {
        None
    }
}

struct SimSink {
    log: SimLog,
    number: i32,
    token: u64,
    epoch: u64,
    dead: bool,
}

impl Sink for SimSink {
    fn commit(
        &mut self,
        output: &Output,
        retrying: &dyn Fn(&str) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        assert!(!self.dead, "a sink that has failed is used again");
        let mut cluster = self.log.cluster();
        let outcome = std::mem::replace(&mut cluster.outcome, Outcome::Done);
        self.dead = true;
        if cluster.down && retrying("the broker is away").is_break() {
            return Err(LogError::Stopped);
        }
        match outcome {
            Outcome::Done => {}
            Outcome::Retried(times) => {
                for _ in 0..times {
                    cluster.aborted(self.number);
                    if retrying("the transaction was aborted").is_break() {
                        return Err(LogError::Stopped);
                    }
                }
            }
            Outcome::AnswerLost => {
                cluster.commit(self, output)?;
                return Err(LogError::Broken("no answer to the commit".to_owned()));
            }
            Outcome::Broken => {
                cluster.aborted(self.number);
                return Err(LogError::Broken("the connection broke before the commit".to_owned()));
            }
        }
        cluster.commit(self, output)?;
        self.dead = false;
        Ok(())
    }
}

/// Reads the mandates topic.
#[derive(Debug)]
pub struct SimMandates {
    log: SimLog,
    next: Vec<i64>,
}

impl SimMandates {
    /// The next offset of each partition.
    #[must_use]
    pub fn next_offsets(&self) -> &[i64] {
        &self.next
    }

    /// At most so many events.
    ///
    /// # Errors
    /// When the log cannot be reached.
    pub fn take(&mut self, max: usize) -> Result<Vec<MandateEvent>, LogError> {
        let mut cluster = self.log.cluster();
        cluster.reach()?;
        let mut events = Vec::new();
        for (at, stream) in cluster.mandates.iter().enumerate() {
            let number = i32::try_from(at).unwrap();
            let records = stream.visible(self.next[at], max - events.len());
            self.next[at] = records.last().map_or(self.next[at], |last| last.offset + 1);
            events.extend(records.into_iter().map(|record| MandateEvent::Record(number, record)));
            if stream.visible(self.next[at], 1).is_empty() {
                self.next[at] = stream.end;
                events.push(MandateEvent::Reached(number, stream.end));
            }
            if events.len() >= max {
                break;
            }
        }
        Ok(events)
    }
}

impl MandateSource for SimMandates {
    fn next(&mut self, _wait: Duration) -> Result<Vec<MandateEvent>, LogError> {
        self.take(10)
    }

    fn ends(&self) -> Box<dyn MandateEnds> {
        Box::new(SimEnds(self.log.clone()))
    }
}

struct SimEnds(SimLog);

impl MandateEnds for SimEnds {
    fn ends(&self, _wait: Duration) -> Result<Vec<i64>, LogError> {
        let mut cluster = self.0.cluster();
        cluster.reach()?;
        Ok(cluster.mandates.iter().map(|stream| stream.end).collect())
    }
}
