//! Records that could not be used.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::Timestamp;
use crate::codec::MAX_RECORD_BYTES;
use crate::escapes::PlainDigits;
use crate::mask::{Masked, Masker, mask};

/// Version of the reject record's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// Most bytes of an original that a reject keeps.
pub const MAX_ORIGINAL_BYTES: usize = 64 << 10;

/// Why a record was rejected; the names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectCode {
    /// Not JSON, not UTF-8, or nested too deeply.
    InvalidJson,
    /// JSON, but not an object.
    NotAnObject,
    /// A key stands twice.
    DuplicateField,
    /// A required field is absent or null.
    MissingField,
    /// An id is empty, too long or has control characters.
    InvalidId,
    /// An amount is not an exact decimal in range.
    InvalidAmount,
    /// Not an ISO 4217 code.
    InvalidCurrency,
    /// Not an ISO 3166 alpha-2 code.
    InvalidCountry,
    /// Not an RFC 3339 time with offset in the years 2000 to 2099.
    InvalidTime,
    /// A position out of range or half given.
    InvalidLocation,
    /// Another field has a value it cannot have.
    InvalidField,
    /// Over the size of a record.
    TooLarge,
    /// Nothing in it.
    EmptyRecord,
    /// The record's key is not its `user_id`.
    KeyMismatch,
    /// Not the partition that the key gives.
    WrongPartition,
    /// The `tx_id` was used for a different transaction.
    DuplicateConflict,
    /// Older than the memory of repeats.
    TooOld,
}

impl RejectCode {
    /// Every code.
    pub const ALL: [Self; 17] = [
        Self::InvalidJson,
        Self::NotAnObject,
        Self::DuplicateField,
        Self::MissingField,
        Self::InvalidId,
        Self::InvalidAmount,
        Self::InvalidCurrency,
        Self::InvalidCountry,
        Self::InvalidTime,
        Self::InvalidLocation,
        Self::InvalidField,
        Self::TooLarge,
        Self::EmptyRecord,
        Self::KeyMismatch,
        Self::WrongPartition,
        Self::DuplicateConflict,
        Self::TooOld,
    ];

    /// The name in records, metrics and problem documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateField => "duplicate_field",
            Self::MissingField => "missing_field",
            Self::InvalidId => "invalid_id",
            Self::InvalidAmount => "invalid_amount",
            Self::InvalidCurrency => "invalid_currency",
            Self::InvalidCountry => "invalid_country",
            Self::InvalidTime => "invalid_time",
            Self::InvalidLocation => "invalid_location",
            Self::InvalidField => "invalid_field",
            Self::TooLarge => "too_large",
            Self::EmptyRecord => "empty_record",
            Self::KeyMismatch => "key_mismatch",
            Self::WrongPartition => "wrong_partition",
            Self::DuplicateConflict => "duplicate_conflict",
            Self::TooOld => "too_old",
        }
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a record. Field and message are masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Fault {
    /// The stable code.
    pub code: RejectCode,
    /// The field at fault, where there is one.
    pub field: Option<String>,
    /// What a person can do about it.
    pub message: String,
}

impl Fault {
    /// A fault, its field shortened and its texts masked.
    #[must_use]
    pub fn new(code: RejectCode, field: Option<&str>, message: String) -> Self {
        let message = match mask(&message) {
            Cow::Borrowed(_) => message,
            Cow::Owned(masked) => masked,
        };
        Self { code, field: field.map(|field| shortened(field).into_owned()), message }
    }

    /// A record of `bytes` bytes, more than [`MAX_RECORD_BYTES`].
    #[must_use]
    pub fn too_large(bytes: u64) -> Self {
        let message = format!("a record may have {MAX_RECORD_BYTES} bytes; this one has {bytes}");
        Self::new(RejectCode::TooLarge, None, message)
    }

    /// A record of no bytes, or of whitespace alone.
    #[must_use]
    pub fn empty_record() -> Self {
        Self::new(RejectCode::EmptyRecord, None, "a record must be a JSON object; found nothing".to_owned())
    }

    /// A transaction whose Kafka key is not its `user_id`; `None` where it has no key.
    #[must_use]
    pub fn key_mismatch(key: Option<&[u8]>, user_id: &str) -> Self {
        let user_id = shortened(user_id);
        let message = match key.map(String::from_utf8_lossy) {
            Some(key) => {
                format!("the record's key must be its user_id {user_id:?}; found {:?}", shortened(&key))
            }
            None => format!("the record's key must be its user_id {user_id:?}; found no key"),
        };
        Self::new(RejectCode::KeyMismatch, Some("user_id"), message)
    }

    /// A transaction in a partition other than its key gives.
    #[must_use]
    pub fn wrong_partition(found: i32, expected: i32, partitioner: &str) -> Self {
        let message = format!(
            "the key belongs in partition {expected} by {partitioner}; found in {found}; use the producer's \
             {partitioner} partitioner, or set kafka.partitioner to the one in use"
        );
        Self::new(RejectCode::WrongPartition, None, message)
    }

    /// A transaction whose id was used for another one.
    #[must_use]
    pub fn duplicate_conflict(tx_id: &str) -> Self {
        let message = format!(
            "tx_id {:?} was used by this user for a transaction with other values; give each its own",
            shortened(tx_id)
        );
        Self::new(RejectCode::DuplicateConflict, Some("tx_id"), message)
    }

    /// A transaction from before `oldest`, the end of what repeats are remembered of.
    #[must_use]
    pub fn too_old(time: Timestamp, oldest: Timestamp) -> Self {
        let message = format!(
            "{time} is before {oldest}, until when repeats are remembered; raise time.dedup_horizon, or sort \
             the stream by tx_time"
        );
        Self::new(RejectCode::TooOld, Some("tx_time"), message)
    }
}

/// Characters of a value that a message shows.
const SHOWN_CHARS: usize = 60;

/// `text` masked, and cut where it is long.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    let masked = mask(text);
    match masked.char_indices().nth(SHOWN_CHARS) {
        None => masked,
        Some((end, _)) => Cow::Owned(format!("{}…", masked.get(..end).unwrap_or_default())),
    }
}

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// A file.
    File {
        /// Its name as given on the command line.
        file: String,
        /// The line (or row of a Parquet file), counted from 1.
        line: u64,
    },
    /// A Kafka topic.
    Kafka {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// A request to the service.
    Http,
}

/// How the text of an original is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginalEncoding {
    /// As it stands.
    Utf8,
    /// Base64 with padding, since what is kept is not UTF-8.
    Base64,
}

/// A rejected record's own text, masked, and what identifies the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// At most the first 64 KiB of the masked text, cut between characters.
    pub text: String,
    /// How `text` is to be read.
    pub encoding: OriginalEncoding,
    /// Length of the whole original in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole masked text in lower-case hexadecimal.
    pub sha256: String,
}

impl Original {
    /// An original that is at hand as a whole.
    #[must_use]
    pub fn new(record: &[u8]) -> Self {
        let mut reader = OriginalReader::default();
        reader.feed(record);
        reader.finish()
    }
}

/// Takes in an original of any length, chunk by chunk, in bounded memory.
#[derive(Debug, Default)]
pub struct OriginalReader {
    escapes: PlainDigits,
    /// Bytes on their way to the masker, digits written out.
    plain: Vec<u8>,
    masker: Masker,
    /// Masked bytes on their way to the hash.
    masked: Vec<u8>,
    kept: Vec<u8>,
    bytes: u64,
    sha256: Sha256,
}

impl OriginalReader {
    /// Takes the next bytes.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        for piece in chunk.chunks(MAX_ORIGINAL_BYTES) {
            self.escapes.feed(piece, &mut self.plain);
            self.masker.feed(&self.plain, &mut self.masked);
            self.plain.clear();
            self.take_masked();
        }
    }

    fn take_masked(&mut self) {
        self.sha256.update(&self.masked);
        let room = MAX_ORIGINAL_BYTES - self.kept.len();
        self.kept.extend_from_slice(self.masked.get(..room).unwrap_or(&self.masked));
        self.masked.clear();
    }

    /// The original, once all of it was fed.
    #[must_use]
    pub fn finish(mut self) -> Original {
        self.escapes.finish(&mut self.plain);
        self.masker.feed(&self.plain, &mut self.masked);
        self.masker.finish(&mut self.masked);
        self.take_masked();
        let cut = self.bytes > self.kept.len() as u64;
        let (text, encoding) = encode(self.kept, cut);
        Original { text, encoding, bytes: self.bytes, sha256: hex(&self.sha256.finalize()) }
    }
}

/// The kept bytes as text; where they were cut, a character torn at the end is left out.
fn encode(kept: Vec<u8>, cut: bool) -> (String, OriginalEncoding) {
    let mut kept = kept;
    if cut
        && let Err(error) = std::str::from_utf8(&kept)
        && error.error_len().is_none()
    {
        kept.truncate(error.valid_up_to());
    }
    match String::from_utf8(kept) {
        Ok(text) => (text, OriginalEncoding::Utf8),
        Err(error) => (STANDARD.encode(error.as_bytes()), OriginalEncoding::Base64),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// A rejected record, as published: topic `weir.rejects`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// What is wrong.
    pub fault: Fault,
    /// Where the record came from.
    pub origin: Origin,
    /// What it was.
    pub original: Original,
}

impl Reject {
    /// The reject of a record that is at hand as a whole.
    #[must_use]
    pub fn new(fault: Fault, origin: Origin, record: &[u8]) -> Self {
        Self { fault, origin, original: Original::new(record) }
    }
}

impl Serialize for Reject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { fault, origin, original } = self;
        let mut out = serializer.serialize_struct("Reject", 9)?;
        out.serialize_field("schema_version", &SCHEMA_VERSION)?;
        out.serialize_field("code", &fault.code)?;
        out.serialize_field("field", &fault.field.as_deref().map(Masked))?;
        out.serialize_field("message", &Masked(&fault.message))?;
        out.serialize_field("origin", origin)?;
        out.serialize_field("original", &original.text)?;
        out.serialize_field("original_encoding", &original.encoding)?;
        out.serialize_field("original_bytes", &original.bytes)?;
        out.serialize_field("sha256", &original.sha256)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn names_are_those_of_the_records() {
        for code in RejectCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
            assert_eq!(code.to_string(), code.name());
        }
    }

    #[test]
    fn originals_are_masked_and_identified_by_their_masked_text() {
        let original = Original::new(b"{\"pan\":4111111111111111}");
        assert_eq!(original.text, "{\"pan\":************1111}");
        assert_eq!((original.encoding, original.bytes), (OriginalEncoding::Utf8, 24));
        assert_eq!(original.sha256, hex(&Sha256::digest(original.text.as_bytes())));
        assert_eq!(
            Original::new(b"abc").sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_is_not_utf8_is_masked_before_base64() {
        let original = Original::new(b"\xff4111111111111111");
        assert_eq!(original.encoding, OriginalEncoding::Base64);
        assert_eq!(STANDARD.decode(original.text).unwrap(), b"\xff************1111");
    }

    #[test]
    fn long_originals_are_cut_between_characters() {
        let mut text = "x".repeat(MAX_ORIGINAL_BYTES - 1);
        text.push('é');
        let original = Original::new(text.as_bytes());
        assert_eq!(original.text.len(), MAX_ORIGINAL_BYTES - 1);
        assert_eq!((original.encoding, original.bytes), (OriginalEncoding::Utf8, 65_537));
        assert_eq!(original.sha256, hex(&Sha256::digest(text.as_bytes())));
        let exact = "x".repeat(MAX_ORIGINAL_BYTES);
        assert_eq!(Original::new(exact.as_bytes()).text, exact);
        // Torn at its very end, and not by the cut: that is not UTF-8.
        assert_eq!(Original::new(b"abc\xc3").encoding, OriginalEncoding::Base64);
    }

    #[test]
    fn chunks_make_no_difference() {
        let text = "a 4111 1111 1111 1111 é ".repeat(9_000);
        let mut reader = OriginalReader::default();
        text.as_bytes().chunks(7).for_each(|chunk| reader.feed(chunk));
        assert_eq!(reader.finish(), Original::new(text.as_bytes()));
    }

    #[test]
    fn a_card_across_the_cut_stays_masked() {
        let mut text = "x".repeat(MAX_ORIGINAL_BYTES - 14);
        text.push_str("4111111111111111");
        assert!(Original::new(text.as_bytes()).text.ends_with("x************11"));
    }

    #[test]
    fn the_record_is_flat_and_stable() {
        let fault = Fault::key_mismatch(Some(b"4111111111111111"), "usr_1");
        let origin = Origin::File { file: "in.ndjson".to_owned(), line: 7 };
        let reject = Reject::new(fault, origin, b"{}");
        let expected = "{\"schema_version\":1,\"code\":\"key_mismatch\",\"field\":\"user_id\",\"message\":\"the \
            record's key must be its user_id \\\"usr_1\\\"; found \\\"************1111\\\"\",\"origin\":{\"source\":\
            \"file\",\"file\":\"in.ndjson\",\"line\":7},\"original\":\"{}\",\"original_encoding\":\"utf8\",\
            \"original_bytes\":2,\"sha256\":\"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"}";
        assert_eq!(serde_json::to_string(&reject).unwrap(), expected);
    }

    #[test]
    fn messages_are_short() {
        let fault = Fault::duplicate_conflict(&"é".repeat(100_000));
        assert!(fault.message.len() < 300, "{}", fault.message);
    }
}
