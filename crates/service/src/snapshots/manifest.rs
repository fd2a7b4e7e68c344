//! What makes files a snapshot.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::SnapshotError;

/// Version of the layout of snapshots.
pub const FORMAT: u32 = 1;

/// Where the state was when it was taken, and what it was made under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// [`weir_engine::STATE_VERSION`] of who took it.
    pub state_version: u32,
    /// Partition of the transactions.
    pub partition: i32,
    /// Partitions that the topic has.
    pub partitions: i32,
    /// Number of the last batch that it shows.
    pub sequence: u64,
    /// The journal's digest up to that batch, in hexadecimal digits.
    pub digest: String,
    /// Position in the transactions after that batch.
    pub position: i64,
    /// The deciding configuration.
    pub config: serde_json::Value,
    /// Its digest.
    pub config_digest: String,
    /// Per partition of the mandates, up to where bad records are rejected; empty but in partition 0.
    pub mandates_rejected_to: Vec<i64>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// What it shows.
    #[serde(flatten)]
    pub taken: Taken,
    /// Offset of that batch in the journal.
    pub journal_offset: i64,
    /// All its files, in the order in which they are restored.
    pub files: Vec<FileEntry>,
}

impl Deref for Manifest {
    type Target = Taken;

    fn deref(&self) -> &Taken {
        &self.taken
    }
}

/// A data file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the partition's folder.
    pub name: String,
    /// Of which table it has rows.
    pub table: String,
    /// The snapshot that it was written for.
    pub sequence: u64,
    /// Whether it belongs to the base; else to what changed since.
    pub base: bool,
    /// Rows.
    pub rows: u64,
    /// Length.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

/// A manifest's file: the manifest as it is hashed, and the hash.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<'a> {
    #[serde(borrow)]
    manifest: &'a RawValue,
    sha256: String,
}

/// Hexadecimal digits of a digest that stand in names.
const NAME_DIGITS: usize = 16;

impl Manifest {
    pub(super) fn new(taken: &Taken, journal_offset: i64, files: Vec<FileEntry>) -> Self {
        Self { format: FORMAT, taken: taken.clone(), journal_offset, files }
    }

    /// Name of its file: sorts by sequence, and tells it from that of another history.
    pub(super) fn name(&self) -> String {
        let digest = self.digest.get(..NAME_DIGITS).unwrap_or(&self.digest);
        format!("manifest-{:020}-{:020}-{digest}.json", self.sequence, self.journal_offset)
    }

    /// The sequence that a manifest's name tells; `None`: it is not a manifest's.
    pub(super) fn sequence_of(name: &str) -> Option<u64> {
        let rest = name.strip_prefix("manifest-")?.strip_suffix(".json")?;
        rest.split('-').next()?.parse().ok()
    }

    /// The file's content.
    pub(super) fn sealed(&self) -> Result<Vec<u8>, SnapshotError> {
        let why =
            |error: serde_json::Error| SnapshotError::Manifest { file: self.name(), why: error.to_string() };
        let manifest = serde_json::value::to_raw_value(self).map_err(why)?;
        let sha256 = sha256(manifest.get().as_bytes());
        serde_json::to_vec(&Sealed { manifest: &manifest, sha256 }).map_err(why)
    }

    /// From the content of the file of this name.
    pub(super) fn unsealed(name: &str, content: &[u8]) -> Result<Self, SnapshotError> {
        let wrong = |why: String| SnapshotError::Manifest { file: name.to_owned(), why };
        let sealed: Sealed<'_> = serde_json::from_slice(content).map_err(|error| wrong(error.to_string()))?;
        let text = sealed.manifest.get();
        if sha256(text.as_bytes()) != sealed.sha256 {
            return Err(wrong("it does not have the content that was written".to_owned()));
        }
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if format != FORMAT {
            return Err(wrong(format!("it has format {format}, and this release reads format {FORMAT}")));
        }
        let manifest: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if manifest.name() == name { Ok(manifest) } else { Err(wrong("it is another's".to_owned())) }
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
