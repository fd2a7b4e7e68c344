//! Lines of text, read in chunks by a thread of its own so that decompression overlaps with the rest.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use weir_events::reject::Original;

use super::long::LongRecord;
use super::source::TextSource;
use super::{Block, ReadError, ReadOptions};

/// Bytes of a chunk that the reading thread hands over.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait at most.
const CHUNKS_MAX: usize = 4;
/// Skipped at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Splits chunks into lines.
#[derive(Debug)]
pub(crate) struct LineReader {
    chunks: Receiver<Result<Vec<u8>, ReadError>>,
    spent: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    /// How much of `chunk` is used up.
    used: usize,
    /// Lines begun so far.
    number: u64,
    at_start: bool,
    options: ReadOptions,
}

impl LineReader {
    pub(crate) fn new(source: TextSource, name: String, options: ReadOptions) -> Self {
        let (filled, chunks) = sync_channel(CHUNKS_MAX);
        let (spent, empty) = sync_channel(CHUNKS_MAX + 2);
        // The thread ends with the file, or at its next chunk once this reader is gone.
        thread::spawn(move || read_chunks(source, &name, &filled, &empty));
        Self { chunks, spent, chunk: Vec::new(), used: 0, number: 0, at_start: true, options }
    }

    /// Appends lines to the block until it is full or the file ends.
    pub(crate) fn fill(&mut self, block: &mut Block) -> Result<(), ReadError> {
        while !block.is_full() && self.read_line(block)? {}
        Ok(())
    }

    /// Appends one line unless it is blank; `false` at the end of the file.
    fn read_line(&mut self, block: &mut Block) -> Result<bool, ReadError> {
        let start = block.bytes.len();
        let mut long: Option<LongRecord> = None;
        let mut begun = false;
        while self.used < self.chunk.len() || self.next_chunk()? {
            begun = true;
            let rest = self.chunk.get(self.used..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest);
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            self.used += part.len() + usize::from(end.is_some());
            match &mut long {
                Some(long) => long.feed(part),
                None => {
                    block.bytes.extend_from_slice(part);
                    // One byte more may be the carriage return of an end of line.
                    if block.bytes.len() - start > self.options.record_bytes_max + 1 {
                        long = Some(begin_long(block, start));
                    }
                }
            }
            if end.is_some() {
                break;
            }
        }
        if begun {
            self.number += 1;
            self.end_line(block, start, long);
        }
        Ok(begun)
    }

    fn end_line(&self, block: &mut Block, start: usize, long: Option<LongRecord>) {
        let original = match long {
            Some(long) => Some(long.finish()),
            None => {
                if block.bytes.len() > start && block.bytes.last() == Some(&b'\r') {
                    block.bytes.pop();
                }
                oversized(&self.options, block, start)
            }
        };
        if original.is_none() && is_blank(block, start) {
            block.bytes.truncate(start);
        } else {
            block.push(self.number, start, original);
        }
    }

    /// Takes the next chunk that is not empty; `false` at the end of the file.
    fn next_chunk(&mut self) -> Result<bool, ReadError> {
        let Ok(chunk) = self.chunks.recv() else {
            return Ok(false);
        };
        let spent = std::mem::replace(&mut self.chunk, chunk?);
        // A full or closed channel only means that the buffer is not used again.
        let _ = self.spent.try_send(spent);
        self.used = 0;
        if std::mem::take(&mut self.at_start) && self.chunk.starts_with(BYTE_ORDER_MARK) {
            self.used = BYTE_ORDER_MARK.len();
        }
        Ok(true)
    }
}

/// Judges a record that stands whole in the block from `start` on; takes it out if it is too long.
pub(crate) fn oversized(options: &ReadOptions, block: &mut Block, start: usize) -> Option<Box<Original>> {
    let is_long = block.bytes.len() - start > options.record_bytes_max;
    is_long.then(|| begin_long(block, start).finish())
}

/// Takes what the block holds from `start` on as the beginning of an oversized record.
fn begin_long(block: &mut Block, start: usize) -> LongRecord {
    let mut long = LongRecord::default();
    long.feed(block.bytes.get(start..).unwrap_or_default());
    block.bytes.truncate(start);
    long
}

/// Whether a record is white space alone.
fn is_blank(block: &Block, start: usize) -> bool {
    let text = block.bytes.get(start..).unwrap_or_default();
    text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

fn read_chunks(
    mut source: TextSource,
    name: &str,
    filled: &SyncSender<Result<Vec<u8>, ReadError>>,
    empty: &Receiver<Vec<u8>>,
) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK_BYTES));
        chunk.clear();
        let outcome = source.reader.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
        // What came before a failure is delivered first: those records are good.
        let failed = outcome.err();
        if chunk.is_empty() && failed.is_none() {
            return;
        }
        if !chunk.is_empty() && filled.send(Ok(chunk)).is_err() {
            return;
        }
        if let Some(error) = failed {
            let _ = filled.send(Err(source.compression.error(name, error)));
            return;
        }
    }
}
