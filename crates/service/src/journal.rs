//! The journal: what each batch of a shard was decided under.
//!
//! A batch leaves, in its transaction and in this order: the configuration where it changed, the mandates that
//! the shard took in, whole, and one batch entry, whose digest covers all of them and the batch entry before.
//! Entries are JSON objects with a `kind`. Decisions follow from the transactions and these entries alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Version of the journal's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// The configuration in force from this batch on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConfigEntry {
    /// Shape of the journal.
    pub schema_version: u32,
    /// Number of the batch.
    pub sequence: u64,
    /// Version of the engine's state: a binary with another one cannot reproduce the batches.
    pub state_version: u32,
    /// Release that wrote it.
    pub release: String,
    /// The deciding configuration.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: Box<RawValue>,
}

/// A mandate that the shard took in before this batch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MandateEntry {
    /// Number of the batch.
    pub sequence: u64,
    /// Which.
    pub mandate_id: String,
    /// Offset of the record in the mandates topic.
    pub version: i64,
    /// The record's own text; `None` when the mandate was removed.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub record: Option<Box<RawValue>>,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchEntry {
    /// Number of the batch in its shard, from 0.
    pub sequence: u64,
    /// The transactions' partition.
    pub partition: i32,
    /// Partitions that the transactions topic had.
    pub partitions: i32,
    /// Position in the transactions before the batch.
    pub from: i64,
    /// Position after it.
    pub to: i64,
    /// Records in between; offsets may have gaps.
    pub records: u64,
    /// Of them decided.
    pub decisions: u64,
    /// Of them dropped as repeats.
    pub duplicates: u64,
    /// Of them rejected.
    pub rejects: u64,
    /// Hash of what became of each record, so that a replay that differs is found out at once.
    pub outcome: String,
    /// In partition 0: up to where bad mandates have been rejected, per partition of the mandates topic.
    pub mandates_rejected_to: Option<Vec<i64>>,
}

/// An entry read from the journal.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Configuration.
    Config(ConfigEntry),
    /// Mandate.
    Mandate(MandateEntry),
    /// Batch, with the digest that stands in it.
    Batch(BatchEntry, Digest),
}

/// A journal that cannot be read or does not hang together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal's record at offset {offset} {what}")]
pub struct JournalError {
    /// Where.
    pub offset: i64,
    /// What is wrong with it.
    pub what: String,
}

/// SHA-256 over the entries of a batch and the digest before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// In lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// From hexadecimal.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

/// Digests a batch's entries as they are written or read.
#[derive(Debug, Clone)]
pub struct Chain {
    hash: Sha256,
    /// Entries of the batch so far, but for the batch entry itself.
    entries: u64,
}

/// What stands between a batch entry and its end.
const DIGEST_FIELD: &[u8] = br#","digest":""#;
/// Length of the field with digest, quote and brace.
const DIGEST_FIELD_BYTES: usize = DIGEST_FIELD.len() + 64 + 2;

impl Chain {
    /// A batch after the one with this digest.
    #[must_use]
    pub fn after(previous: &Digest) -> Self {
        Self { hash: Sha256::new_with_prefix(previous.0), entries: 0 }
    }

    fn add(&mut self, entry: &[u8]) {
        self.hash.update((entry.len() as u64).to_be_bytes());
        self.hash.update(entry);
        self.entries += 1;
    }

    /// Writes an entry that comes before the batch entry.
    pub fn write(&mut self, kind: &str, entry: &impl Serialize, out: &mut Vec<u8>) {
        let start = out.len();
        write_entry(kind, entry, out);
        self.add(out.get(start..).unwrap_or_default());
    }

    /// Writes the batch entry and gives the digest that stands in it.
    pub fn write_batch(mut self, entry: &BatchEntry, out: &mut Vec<u8>) -> Digest {
        let start = out.len();
        write_entry("batch", entry, out);
        out.pop();
        self.add(out.get(start..).unwrap_or_default());
        let digest = Digest(self.hash.finalize().into());
        out.extend_from_slice(DIGEST_FIELD);
        out.extend_from_slice(digest.hex().as_bytes());
        out.extend_from_slice(b"\"}");
        digest
    }

    /// Takes in an entry that was read; at a batch entry, checks that its digest is that of everything since the
    /// batch before, and begins anew after it.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&mut self, entry: &Entry, bytes: &[u8], offset: i64) -> Result<(), JournalError> {
        let Entry::Batch(_, stated) = entry else {
            self.add(bytes);
            return Ok(());
        };
        let body = bytes.len().checked_sub(DIGEST_FIELD_BYTES).and_then(|end| bytes.get(..end));
        self.add(body.unwrap_or_default());
        let found = Digest(std::mem::take(&mut self.hash).finalize().into());
        if found != *stated {
            let what = format!("has digest {}, but what precedes it gives {}", stated.hex(), found.hex());
            return Err(JournalError { offset, what });
        }
        *self = Self::after(stated);
        Ok(())
    }
}

fn write_entry(kind: &str, entry: &impl Serialize, out: &mut Vec<u8>) {
    // RawValue cannot be flattened, so the tag is put before the object's own fields by hand.
    // Entries are plain data with string keys, which always have a JSON form.
    let body = serde_json::to_vec(entry).unwrap_or_default();
    out.extend_from_slice(b"{\"kind\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(body.get(1..).unwrap_or_default());
}

/// Reads an entry.
///
/// # Errors
/// When it is not one that this release writes.
pub fn read(bytes: &[u8], offset: i64) -> Result<Entry, JournalError> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        kind: &'a str,
        #[serde(default)]
        digest: Option<&'a str>,
    }
    let wrong = |what: String| JournalError { offset, what };
    let unreadable = |error: serde_json::Error| wrong(format!("cannot be read: {error}"));
    let kind: Kind<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
    match kind.kind {
        "config" => serde_json::from_slice(bytes).map(Entry::Config).map_err(unreadable),
        "mandate" => serde_json::from_slice(bytes).map(Entry::Mandate).map_err(unreadable),
        "batch" => {
            let digest = kind.digest.and_then(Digest::from_hex);
            let digest = digest.ok_or_else(|| wrong("has no digest".to_owned()))?;
            serde_json::from_slice(bytes).map(|entry| Entry::Batch(entry, digest)).map_err(unreadable)
        }
        other => Err(wrong(format!("is of kind `{other}`, which this release does not know"))),
    }
}

/// The JSON Schema (draft 2020-12) of the journal's records.
#[must_use]
pub fn schema() -> String {
    /// A record of topic `weir.journal`.
    #[derive(JsonSchema)]
    #[schemars(tag = "kind", rename_all = "snake_case")]
    #[allow(dead_code, reason = "it stands for its shape alone")]
    enum JournalRecord {
        Config(ConfigEntry),
        Mandate(MandateEntry),
        Batch(WithDigest),
    }
    /// A batch entry with its digest.
    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "it stands for its shape alone")]
    struct WithDigest {
        #[schemars(flatten)]
        entry: BatchEntry,
        /// SHA-256, in hexadecimal: over the digest of the batch before, then the length (8 bytes, big-endian) and
        /// bytes of each entry of this batch in order, of this one without `,"digest":"..."}`.
        #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
        digest: String,
    }
    let schema = schemars::schema_for!(JournalRecord);
    serde_json::to_string_pretty(&schema).map(|text| text + "\n").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

    use super::*;

    fn batch(sequence: u64) -> BatchEntry {
        BatchEntry {
            sequence,
            partition: 2,
            partitions: 4,
            from: 10,
            to: 20,
            records: 3,
            decisions: 1,
            duplicates: 1,
            rejects: 1,
            outcome: "00000000000000ff".to_owned(),
            mandates_rejected_to: None,
        }
    }

    fn mandate(text: &str) -> MandateEntry {
        let record = Some(RawValue::from_string(text.to_owned()).unwrap());
        MandateEntry { sequence: 7, mandate_id: "m".to_owned(), version: 5, record }
    }

    /// The texts of a batch, one per entry, and its digest.
    fn written(previous: &Digest) -> (Vec<Vec<u8>>, Digest) {
        let mut chain = Chain::after(previous);
        let (mut first, mut last) = (Vec::new(), Vec::new());
        chain.write("mandate", &mandate("{ \"a\":1.0,\n \"b\":\"\\u00e9\" }"), &mut first);
        let digest = chain.write_batch(&batch(7), &mut last);
        (vec![first, last], digest)
    }

    fn check(texts: &[Vec<u8>], previous: &Digest) -> Result<Digest, JournalError> {
        let mut chain = Chain::after(previous);
        let mut found = Digest::default();
        for (offset, text) in (0..).zip(texts) {
            let entry = read(text, offset)?;
            chain.check(&entry, text, offset)?;
            if let Entry::Batch(_, digest) = entry {
                found = digest;
            }
        }
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read_again_to_the_byte() {
        let (texts, digest) = written(&Digest([9; 32]));
        assert_eq!(check(&texts, &Digest([9; 32])), Ok(digest));
        let Entry::Mandate(entry) = read(&texts[0], 0).unwrap() else { panic!("{texts:?}") };
        assert_eq!(
            entry.record.unwrap().get(),
            mandate("{ \"a\":1.0,\n \"b\":\"\\u00e9\" }").record.unwrap().get()
        );
        let Entry::Batch(entry, _) = read(&texts[1], 1).unwrap() else { panic!("{texts:?}") };
        assert_eq!(entry, batch(7));
        assert_eq!(Digest::from_hex(&digest.hex()), Some(digest));
    }

    #[test]
    fn every_changed_byte_and_every_other_past_is_found() {
        let previous = Digest([9; 32]);
        let (texts, _) = written(&previous);
        assert!(check(&texts, &Digest::default()).is_err(), "another past");
        assert!(check(&texts[1..], &previous).is_err(), "a lost entry");
        for (at, text) in texts.iter().enumerate() {
            for byte in 0..text.len() {
                let mut changed = texts.clone();
                changed[at][byte] ^= 1;
                assert!(check(&changed, &previous).is_err(), "byte {byte} of entry {at}");
            }
        }
    }
}
