//! Which rows of a table changed since the last checkpoint began, and the rows of the running one as they
//! were then.
//!
//! A checkpoint is encoded slice by slice while the stream goes on. A row that is about to change before
//! its turn is encoded first, so that every row leaves as it was when the checkpoint began.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::packed::Keep;
use crate::rows::{Rows, Stored};

/// Encoded rows, or bytes of them, that make a batch.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 4 << 20;

/// A set of small numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    #[inline]
    pub(crate) fn set(&mut self, at: u32) {
        let word = at as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << (at % 64);
        }
    }

    /// Takes a number out; whether it was there.
    #[inline]
    pub(crate) fn take(&mut self, at: u32) -> bool {
        let Some(word) = self.0.get_mut(at as usize / 64) else { return false };
        let (bit, before) = (1 << (at % 64), *word);
        *word &= !bit;
        before & bit != 0
    }

    fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn copy_from(&mut self, other: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&other.0);
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// The changes of one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracked {
    /// Changed since the latest checkpoint began.
    changed: Bits,
    /// In the latest checkpoint, as long as it is not known to be kept.
    taken: Bits,
    /// Of those, still to be encoded.
    pending: Bits,
    pending_len: usize,
    /// No word of `pending` before this one holds any.
    next_word: usize,
    encoded: Rows,
}

impl Tracked {
    /// Notes that the row changes now, and encodes it before where a checkpoint still wants it.
    #[inline]
    pub(crate) fn before_change<T: Stored>(&mut self, at: u32, entity: &T) {
        self.changed.set(at);
        if self.pending_len > 0 && self.pending.take(at) {
            self.pending_len -= 1;
            self.encoded.push(at, entity);
        }
    }

    /// Notes a row that was made now, which no running checkpoint wants.
    pub(crate) fn made(&mut self, at: u32) {
        self.changed.set(at);
    }

    /// Begins a checkpoint of what changed since the last one that was kept.
    pub(crate) fn begin(&mut self) {
        self.taken.add(&self.changed);
        self.changed.clear();
        self.pending.copy_from(&self.taken);
        self.pending_len = self.pending.len();
        self.next_word = 0;
        self.encoded = Rows::default();
    }

    /// The checkpoint is kept: what was in it need not be in the next.
    pub(crate) fn kept(&mut self) {
        self.taken.clear();
    }

    /// Encodes at most `rows` more rows; how many it were.
    pub(crate) fn encode<K: Keep>(&mut self, kept: &[K], rows: usize) -> usize {
        let goal = self.pending_len.min(rows);
        let mut done = 0;
        while done < goal {
            let Some(word) = self.pending.0.get_mut(self.next_word) else { break };
            if *word == 0 {
                self.next_word += 1;
                continue;
            }
            let at = self.next_word * 64 + word.trailing_zeros() as usize;
            *word &= *word - 1;
            done += 1;
            if let (Some(kept), Ok(number)) = (kept.get(at), u32::try_from(at)) {
                kept.put(number, &mut self.encoded);
            }
        }
        self.pending_len -= done;
        done
    }

    /// Rows still to be encoded.
    pub(crate) fn left(&self) -> usize {
        self.pending_len
    }

    /// What is encoded, once it makes a batch or nothing more comes.
    pub(crate) fn batch(&mut self, table: &'static str) -> Result<Option<RecordBatch>, ArrowError> {
        let (rows, bytes) = (self.encoded.len(), self.encoded.bytes());
        let full = rows >= BATCH_ROWS || bytes >= BATCH_BYTES || self.pending_len == 0;
        if rows == 0 || !full { Ok(None) } else { self.encoded.batch(table).map(Some) }
    }
}
