//! The account: what became of every record, from the topics alone.
//!
//! Nothing here is taken from Weir's own counting but the journal, and that is held against the topics.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::load::EXPECT;
use crate::kafka::read_all;
use crate::site::Site;

/// More than so many findings are only counted.
const SHOWN: usize = 20;
/// What stands at the end of a batch entry after what its digest covers: `,"digest":"…"}`.
const DIGEST_FIELD_BYTES: usize = 11 + 64 + 2;

/// What became of one input record.
#[derive(Debug, Default)]
struct Cell {
    /// Whether there is a record at the offset.
    there: bool,
    /// Hash of user and transaction, where the record has them.
    who: Option<u64>,
    /// What the sender said has to become of it.
    expected: Option<Box<str>>,
    decisions: u32,
    rejects: u32,
    /// Code of the reject.
    code: Option<Box<str>>,
}

impl Cell {
    fn outcome(&self) -> &str {
        match (self.decisions, &self.code) {
            (0, None) => "duplicate",
            (0, Some(code)) => code,
            _ => "decided",
        }
    }
}

/// Numbers of the account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Records in the transactions topic.
    pub(crate) inputs: u64,
    /// Decisions.
    pub(crate) decisions: u64,
    /// Rejects of transactions.
    pub(crate) rejects: u64,
    /// Repeats that were dropped.
    pub(crate) duplicates: u64,
    /// Inputs of which nothing became.
    pub(crate) lost: u64,
    /// Inputs, or transactions, of which something became more than once.
    pub(crate) doubled: u64,
    /// Rejects of mandates.
    pub(crate) mandate_rejects: u64,
    /// Batches in the journal.
    pub(crate) batches: u64,
    /// Versions of mandates in the journal.
    pub(crate) mandate_entries: u64,
    /// Records in the mandates topic, after compaction.
    pub(crate) mandates_left: u64,
    /// Records that said what has to become of them.
    pub(crate) expectations: u64,
}

/// The account of a run.
#[derive(Debug)]
pub(crate) struct Account {
    partitions: Vec<Vec<Cell>>,
    totals: Totals,
    findings: Vec<String>,
    /// Rejects of transactions by code.
    codes: BTreeMap<String, u64>,
}

/// The ids of a record.
#[derive(Deserialize)]
struct Ids<'a> {
    #[serde(borrow)]
    tx_id: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
}

/// Of a reject, what the account needs.
#[derive(Deserialize)]
struct Reject {
    code: String,
    origin: Origin,
}

#[derive(Deserialize)]
struct Origin {
    topic: String,
    partition: i32,
    offset: i64,
}

/// Of a journal entry, what the account needs.
#[derive(Deserialize)]
struct Entry {
    kind: String,
    sequence: u64,
    partition: Option<i32>,
    from: Option<i64>,
    to: Option<i64>,
    records: Option<u64>,
    decisions: Option<u64>,
    duplicates: Option<u64>,
    rejects: Option<u64>,
    digest: Option<String>,
}

/// Where a partition's journal has been read to.
#[derive(Default)]
struct Chain {
    next: u64,
    to: Option<i64>,
    digest: Option<[u8; 32]>,
    hash: Sha256,
    fresh: bool,
}

/// What is written into files, partition by partition, to be compared with a replay.
struct Copies {
    files: HashMap<(&'static str, i32), BufWriter<File>>,
}

impl Copies {
    fn new(dir: &Path, partitions: i32) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut files = HashMap::new();
        for name in ["decisions", "rejects", "alerts", "risk-scores"] {
            for partition in 0..partitions {
                let file = File::create(dir.join(format!("{name}-{partition}.ndjson")))?;
                files.insert((name, partition), BufWriter::new(file));
            }
        }
        Ok(Self { files })
    }

    fn add(&mut self, name: &'static str, partition: i32, value: &[u8]) -> Result<()> {
        let file = self.files.get_mut(&(name, partition)).context("a record in a partition that is none")?;
        file.write_all(value)?;
        file.write_all(b"\n")?;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.files.into_values().try_for_each(|mut file| Ok(file.flush()?))
    }
}

/// Reads every topic of a site and accounts for its input. What has to equal a replay is written into `copies`.
pub(crate) fn account(site: &Site, copies: &Path) -> Result<Account> {
    let mut account = Account {
        partitions: (0..site.partitions).map(|_| Vec::new()).collect(),
        totals: Totals::default(),
        findings: Vec::new(),
        codes: BTreeMap::new(),
    };
    let mut copies = Copies::new(copies, site.partitions)?;
    account.read_input(site)?;
    account.read_decisions(site, &mut copies)?;
    account.read_rejects(site, &mut copies)?;
    account.read_journal(site)?;
    account.read_rest(site, &mut copies)?;
    copies.finish()?;
    account.settle();
    Ok(account)
}

fn hash(user: &str, transaction: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (user, transaction).hash(&mut hasher);
    hasher.finish()
}

fn who(value: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Ids<'_>>(value).ok().map(|ids| hash(&ids.user_id, &ids.tx_id))
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    std::str::from_utf8(found.value?).ok()
}

impl Account {
    fn find(&mut self, what: impl Into<String>) {
        self.findings.push(what.into());
    }

    fn cell(&mut self, partition: i32, offset: i64) -> Option<&mut Cell> {
        let cells = self.partitions.get_mut(usize::try_from(partition).ok()?)?;
        cells.get_mut(usize::try_from(offset).ok()?).filter(|cell| cell.there)
    }

    fn read_input(&mut self, site: &Site) -> Result<()> {
        read_all(&site.brokers, &site.topic("transactions"), site.partitions, &mut |message| {
            let cells = &mut self.partitions[usize::try_from(message.partition())?];
            cells.resize_with(usize::try_from(message.offset())? + 1, Cell::default);
            let cell = cells.last_mut().context("no cell")?;
            cell.there = true;
            cell.who = message.payload().filter(|value| value.len() <= 1 << 21).and_then(who);
            cell.expected = header(message, EXPECT).map(Into::into);
            self.totals.expectations += u64::from(cell.expected.is_some());
            self.totals.inputs += 1;
            Ok(())
        })
    }

    fn read_decisions(&mut self, site: &Site, copies: &mut Copies) -> Result<()> {
        let mut last: HashMap<i32, i64> = HashMap::new();
        let mut decided: HashMap<u64, (i32, i64)> = HashMap::new();
        read_all(&site.brokers, &site.topic("decisions"), site.partitions, &mut |message| {
            let partition = message.partition();
            let place = format!("the decision at {partition}:{}", message.offset());
            let value = message.payload().unwrap_or_default();
            copies.add("decisions", partition, value)?;
            self.totals.decisions += 1;
            let Some(source) = header(message, "source-offset").and_then(|text| text.parse().ok()) else {
                self.find(format!("{place} has no source-offset"));
                return Ok(());
            };
            if last.insert(partition, source).is_some_and(|last| last >= source) {
                self.find(format!("{place}, of input {source}, is out of order or doubled"));
            }
            let who = who(value);
            let Some(cell) = self.cell(partition, source) else {
                self.find(format!("{place} is of input {source}, which is not there"));
                return Ok(());
            };
            cell.decisions += 1;
            let (doubled, same) = (cell.decisions > 1, cell.who == who && who.is_some());
            if doubled {
                self.totals.doubled += 1;
                self.find(format!("input {partition}:{source} is decided more than once"));
            }
            if !same {
                self.find(format!("{place} is of another transaction than input {source}"));
            }
            if let Some(earlier) = who.and_then(|who| decided.insert(who, (partition, source))) {
                self.totals.doubled += 1;
                self.find(format!(
                    "the transaction of input {partition}:{source} was decided at {earlier:?}"
                ));
            }
            Ok(())
        })
    }

    fn read_rejects(&mut self, site: &Site, copies: &mut Copies) -> Result<()> {
        let (transactions, mandates) = (site.topic("transactions"), site.topic("mandates"));
        let mut seen: HashMap<(i32, i64), u32> = HashMap::new();
        read_all(&site.brokers, &site.topic("rejects"), site.partitions, &mut |message| {
            let place = format!("the reject at {}:{}", message.partition(), message.offset());
            let value = message.payload().unwrap_or_default();
            let reject: Reject = match serde_json::from_slice(value) {
                Ok(reject) => reject,
                Err(error) => {
                    self.find(format!("{place} cannot be read: {error}"));
                    return Ok(());
                }
            };
            let Origin { topic, partition, offset } = reject.origin;
            if topic == mandates {
                self.totals.mandate_rejects += 1;
                if *seen.entry((partition, offset)).and_modify(|times| *times += 1).or_insert(1) > 1 {
                    self.totals.doubled += 1;
                    self.find(format!("mandate record {partition}:{offset} is rejected more than once"));
                }
                return Ok(());
            }
            copies.add("rejects", message.partition(), value)?;
            self.totals.rejects += 1;
            *self.codes.entry(reject.code.clone()).or_default() += 1;
            if topic != transactions || partition != message.partition() {
                self.find(format!("{place} is of {topic} {partition}:{offset}"));
                return Ok(());
            }
            let Some(cell) = self.cell(partition, offset) else {
                self.find(format!("{place} is of input {offset}, which is not there"));
                return Ok(());
            };
            cell.rejects += 1;
            cell.code = Some(reject.code.into());
            if cell.rejects + cell.decisions > 1 {
                self.totals.doubled += 1;
                self.find(format!("input {partition}:{offset} is rejected, and decided or rejected besides"));
            }
            Ok(())
        })
    }

    fn read_journal(&mut self, site: &Site) -> Result<()> {
        let mut chains: HashMap<i32, Chain> = HashMap::new();
        read_all(&site.brokers, &site.topic("journal"), site.partitions, &mut |message| {
            let (partition, offset) = (message.partition(), message.offset());
            let place = format!("the journal at {partition}:{offset}");
            let value = message.payload().unwrap_or_default();
            let chain = chains.entry(partition).or_default();
            match serde_json::from_slice::<Entry>(value) {
                Ok(entry) => self.journal_entry(chain, &entry, value, partition, &place),
                Err(error) => self.find(format!("{place} cannot be read: {error}")),
            }
            Ok(())
        })?;
        for partition in 0..site.partitions {
            let cells = i64::try_from(self.partitions[usize::try_from(partition)?].len())?;
            let reached = chains.get(&partition).and_then(|chain| chain.to).unwrap_or(0);
            if reached != cells {
                self.find(format!(
                    "the journal of partition {partition} ends at {reached}, the input at {cells}"
                ));
            }
        }
        Ok(())
    }

    fn journal_entry(&mut self, chain: &mut Chain, entry: &Entry, value: &[u8], partition: i32, place: &str) {
        if !chain.fresh {
            chain.fresh = true;
            chain.hash = Sha256::new_with_prefix(chain.digest.unwrap_or_default());
        }
        let covered =
            if entry.kind == "batch" { value.len().saturating_sub(DIGEST_FIELD_BYTES) } else { value.len() };
        chain.hash.update((covered as u64).to_be_bytes());
        chain.hash.update(&value[..covered]);
        if entry.sequence != chain.next {
            self.find(format!("{place} is of batch {}, not {}", entry.sequence, chain.next));
            chain.next = entry.sequence;
        }
        if entry.kind != "batch" {
            self.totals.mandate_entries += u64::from(entry.kind == "mandate");
            return;
        }
        self.totals.batches += 1;
        chain.next += 1;
        chain.fresh = false;
        let digest: [u8; 32] = std::mem::take(&mut chain.hash).finalize().into();
        chain.digest = Some(digest);
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        if entry.digest.as_deref() != Some(&*hex) {
            self.find(format!("{place} breaks the chain: digest {:?}, not {hex}", entry.digest));
        }
        let (from, to) = (entry.from.unwrap_or(-1), entry.to.unwrap_or(-1));
        if entry.partition != Some(partition) || from != chain.to.unwrap_or(0) || to < from {
            self.find(format!("{place} goes from {from} to {to}, after {:?}", chain.to));
        }
        chain.to = Some(to);
        let cells = &self.partitions[usize::try_from(partition).unwrap_or(0)];
        let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
        let cells = cells.get(range).unwrap_or_default();
        let count =
            |wanted: &dyn Fn(&Cell) -> bool| cells.iter().filter(|cell| cell.there && wanted(cell)).count();
        let found = [
            count(&|_| true),
            count(&|cell| cell.decisions > 0),
            count(&|cell| cell.decisions == 0 && cell.rejects == 0),
            count(&|cell| cell.rejects > 0),
        ];
        let stated = [entry.records, entry.decisions, entry.duplicates, entry.rejects];
        if stated.map(|stated| stated.and_then(|stated| usize::try_from(stated).ok())) != found.map(Some) {
            self.find(format!("{place} states {stated:?}, the topics have {found:?} from {from} to {to}"));
        }
    }

    /// Alerts and profiles, and what compaction left of the mandates.
    fn read_rest(&mut self, site: &Site, copies: &mut Copies) -> Result<()> {
        read_all(&site.brokers, &site.topic("alerts"), site.partitions, &mut |message| {
            copies.add("alerts", message.partition(), message.payload().unwrap_or_default())
        })?;
        let mut newest: BTreeMap<(i32, Vec<u8>), Vec<u8>> = BTreeMap::new();
        read_all(&site.brokers, &site.topic("risk_scores"), site.partitions, &mut |message| {
            let key = (message.partition(), message.key().unwrap_or_default().to_vec());
            newest.insert(key, message.payload().unwrap_or_default().to_vec());
            Ok(())
        })?;
        for ((partition, _), value) in &newest {
            copies.add("risk-scores", *partition, value)?;
        }
        read_all(&site.brokers, &site.topic("mandates"), site.partitions, &mut |_| {
            self.totals.mandates_left += 1;
            Ok(())
        })
    }

    /// Of what is neither decided nor rejected, only a repeat of something decided earlier is not lost.
    fn settle(&mut self) {
        let mut findings = Vec::new();
        for (partition, cells) in self.partitions.iter().enumerate() {
            // Where a transaction was decided.
            let mut first: HashMap<u64, usize> = HashMap::new();
            for (offset, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.there) {
                if let Some(who) = cell.who.filter(|_| cell.decisions > 0) {
                    first.entry(who).or_insert(offset);
                }
                if cell.decisions == 0 && cell.rejects == 0 {
                    if cell.who.is_some_and(|who| first.contains_key(&who)) {
                        self.totals.duplicates += 1;
                    } else {
                        self.totals.lost += 1;
                        findings.push(format!("input {partition}:{offset} is lost"));
                    }
                }
                if let Some(expected) = cell.expected.as_deref()
                    && !expected.split('|').any(|one| one == cell.outcome())
                {
                    findings.push(format!(
                        "input {partition}:{offset} has outcome {}, expected was {expected}",
                        cell.outcome()
                    ));
                }
            }
        }
        self.findings.extend(findings);
    }

    /// The numbers.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// The account in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let Totals { inputs, decisions, rejects, duplicates, lost, doubled, .. } = self.totals;
        format!(
            "accounted: {inputs} inputs = {decisions} decisions + {rejects} rejects + {duplicates} duplicates; \
             lost {lost}; doubled {doubled}"
        )
    }

    /// Rejects by code.
    pub(crate) fn codes(&self) -> String {
        let codes: Vec<String> = self.codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
        codes.join(", ")
    }

    /// What does not add up.
    pub(crate) fn findings(&self) -> Vec<String> {
        let totals = &self.totals;
        let mut findings: Vec<String> = self.findings.iter().take(SHOWN).cloned().collect();
        if self.findings.len() > SHOWN {
            findings.push(format!("and {} more of the kind", self.findings.len() - SHOWN));
        }
        if totals.inputs != totals.decisions + totals.rejects + totals.duplicates {
            findings.push("inputs are not decisions + rejects + duplicates".to_owned());
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(cells: Vec<Cell>) -> Account {
        let (totals, findings, codes) = (Totals::default(), Vec::new(), BTreeMap::new());
        Account { partitions: vec![cells], totals, findings, codes }
    }

    fn cell(who: u64, decisions: u32) -> Cell {
        Cell { there: true, who: Some(who), decisions, ..Cell::default() }
    }

    #[test]
    fn only_a_repeat_of_something_decided_earlier_is_no_loss() {
        let mut account = account(vec![cell(1, 0), cell(1, 1), cell(1, 0), cell(2, 0)]);
        account.totals.inputs = 4;
        account.totals.decisions = 1;
        account.settle();
        assert_eq!((account.totals.duplicates, account.totals.lost), (1, 2));
        assert!(account.findings().iter().any(|finding| finding.contains("0:3 is lost")));
        assert!(account.sentence().contains("lost 2; doubled 0"));
    }

    #[test]
    fn an_outcome_other_than_the_expected_is_found() {
        let mut wrong = cell(1, 1);
        wrong.expected = Some("key_mismatch|too_old".into());
        let mut account = account(vec![wrong]);
        account.settle();
        assert_eq!(account.findings.len(), 1);
    }

    /// A batch entry as Weir writes it: the digest is that of what precedes it.
    fn entry(before: &[u8], body: &str) -> (String, [u8; 32]) {
        let mut hash = Sha256::new_with_prefix(before);
        hash.update((body.len() as u64).to_be_bytes());
        hash.update(body);
        let digest: [u8; 32] = hash.finalize().into();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (format!("{body},\"digest\":\"{hex}\"}}"), digest)
    }

    fn read(account: &mut Account, chain: &mut Chain, text: &str) {
        let entry: Entry = serde_json::from_str(text).unwrap();
        account.journal_entry(chain, &entry, text.as_bytes(), 0, "here");
    }

    #[test]
    fn the_journal_is_held_against_the_topics_and_its_own_chain() {
        let body = |sequence: u32, from: u32, decisions: u32| {
            format!(
                "{{\"kind\":\"batch\",\"sequence\":{sequence},\"partition\":0,\"from\":{from},\"to\":{},\
                 \"records\":1,\"decisions\":{decisions},\"duplicates\":0,\"rejects\":0",
                from + 1
            )
        };
        let (first, digest) = entry(&[0; 32], &body(0, 0, 1));
        let (second, _) = entry(&digest, &body(1, 1, 1));
        let cells = || vec![cell(1, 1), cell(2, 1)];
        let (mut fine, mut chain) = (account(cells()), Chain::default());
        read(&mut fine, &mut chain, &first);
        read(&mut fine, &mut chain, &second);
        assert_eq!((fine.findings.len(), chain.to), (0, Some(2)), "{:?}", fine.findings);

        let (mut skipped, mut chain) = (account(cells()), Chain::default());
        read(&mut skipped, &mut chain, &second);
        // The number, the digest and the place do not follow on.
        assert_eq!(skipped.findings.len(), 3, "{:?}", skipped.findings);

        let (mut other, mut chain) = (account(cells()), Chain::default());
        read(&mut other, &mut chain, &entry(&[0; 32], &body(0, 0, 0)).0);
        assert_eq!(other.findings.len(), 1, "{:?}", other.findings);
    }
}
