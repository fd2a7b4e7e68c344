//! Records as the log holds them.

use std::fmt;

/// A record of a topic, borrowed from the batch it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in its partition.
    pub offset: i64,
    /// The log's own time for it, in microseconds since 1970.
    pub timestamp_us: Option<i64>,
    /// Its key, where it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
}

impl Record<'_> {
    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            offset: self.offset,
            timestamp_us: self.timestamp_us,
            key: self.key.map(Into::into),
            value: self.value.map(Into::into),
        }
    }
}

/// A record that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Its place in its partition.
    pub offset: i64,
    /// The log's own time for it, in microseconds since 1970.
    pub timestamp_us: Option<i64>,
    /// Its key, where it has one.
    pub key: Option<Box<[u8]>>,
    /// Its value; `None` for a tombstone.
    pub value: Option<Box<[u8]>>,
}

impl OwnedRecord {
    /// The record, borrowed.
    #[must_use]
    pub fn borrow(&self) -> Record<'_> {
        Record {
            offset: self.offset,
            timestamp_us: self.timestamp_us,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
        }
    }
}

/// A batch of records of one partition, in the order of their offsets.
pub trait Records {
    /// How many.
    fn len(&self) -> usize;

    /// The record at a position.
    fn get(&self, at: usize) -> Option<Record<'_>>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for dyn Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records", self.len())
    }
}

impl Records for Vec<OwnedRecord> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn get(&self, at: usize) -> Option<Record<'_>> {
        <[OwnedRecord]>::get(self, at).map(OwnedRecord::borrow)
    }
}
