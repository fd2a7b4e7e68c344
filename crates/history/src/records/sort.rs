//! Records sorted by time, for an export that is not in arrival order.
//!
//! What does not fit into memory is written as sorted runs into temporary files, which are merged
//! while they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use weir_events::reject::{Original, OriginalEncoding};

use super::{Block, Line, ReadError, Records};

const RUN_BUFFER_BYTES: usize = 256 << 10;
/// Bytes of a record in a run beside its text: time, number, text length, flags.
const HEADER_BYTES: usize = 8 + 8 + 8 + 1;

/// How to sort.
#[derive(Debug, Clone, Copy)]
pub struct SortOptions {
    /// The time of a record's text, in any unit; `None` where it has none that can be read.
    pub key: fn(&[u8]) -> Option<i64>,
    /// Bytes of text held in memory at a time. Small records take about as much again in bookkeeping.
    pub memory_bytes: usize,
}

/// Gives the records of another reader by time; equal times keep the order of the file. Records whose
/// time cannot be read (oversized ones among them) come first, in the order of the file.
#[derive(Debug)]
pub struct SortedReader {
    runs: Vec<Run>,
    /// The next record of each run that has one: least key, then least number first.
    heads: BinaryHeap<Reverse<(Key, usize)>>,
    bytes_read: u64,
    total_bytes: Option<u64>,
}

/// Records are ordered by time (none before any), then by their number.
type Key = (Option<i64>, u64);

impl SortedReader {
    /// Reads all records and sorts them.
    ///
    /// # Errors
    /// As the reader; and when the temporary files fail.
    pub fn new(mut records: impl Records, name: &str, options: SortOptions) -> Result<Self, ReadError> {
        let failed = |source| ReadError::temporary(name, source);
        let mut runs = Vec::new();
        let mut gathered = Gathered::default();
        let mut block = Block::default();
        while records.next_block(&mut block)? {
            for (line, text) in block.iter() {
                gathered.push(line, text, options.key);
            }
            if gathered.bytes.len() >= options.memory_bytes {
                runs.push(gathered.spill().map_err(failed)?);
            }
        }
        gathered.sort();
        runs.push(Run::Memory { gathered, next: 0 });
        let (bytes_read, total_bytes) = (records.bytes_read(), records.total_bytes());
        let mut sorted = Self { runs, heads: BinaryHeap::new(), bytes_read, total_bytes };
        for at in 0..sorted.runs.len() {
            sorted.advance(at).map_err(failed)?;
        }
        Ok(sorted)
    }

    /// Puts the head of a run, if it has one, among the heads.
    fn advance(&mut self, at: usize) -> io::Result<()> {
        if let Some(run) = self.runs.get_mut(at)
            && let Some(key) = run.next_key()?
        {
            self.heads.push(Reverse((key, at)));
        }
        Ok(())
    }

    fn fill(&mut self, block: &mut Block) -> io::Result<()> {
        while !block.is_full()
            && let Some(Reverse((key, at))) = self.heads.pop()
        {
            let start = block.bytes.len();
            if let Some(run) = self.runs.get_mut(at) {
                let original = run.take(&mut block.bytes)?;
                block.push(key.1, start, original);
            }
            self.advance(at)?;
        }
        Ok(())
    }
}

impl Records for SortedReader {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, ReadError> {
        block.clear();
        self.fill(block).map_err(|source| ReadError::temporary("sorted records", source))?;
        Ok(!block.lines.is_empty())
    }

    fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }
}

/// Records in memory.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    entries: Vec<(Key, Line)>,
}

impl Gathered {
    fn push(&mut self, line: &Line, text: &[u8], key: fn(&[u8]) -> Option<i64>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        let time = if line.oversized.is_some() { None } else { key(text) };
        let line = Line { range: start..self.bytes.len(), ..line.clone() };
        self.entries.push(((time, line.number), line));
    }

    fn sort(&mut self) {
        self.entries.sort_unstable_by_key(|&(key, _)| key);
    }

    /// Writes everything, sorted, into a temporary file and forgets it.
    fn spill(&mut self) -> io::Result<Run> {
        self.sort();
        let mut writer = BufWriter::with_capacity(RUN_BUFFER_BYTES, tempfile::tempfile()?);
        for (key, line) in &self.entries {
            match &line.oversized {
                None => {
                    let text = self.bytes.get(line.range.clone()).unwrap_or_default();
                    write_header(&mut writer, *key, text.len(), 0)?;
                    writer.write_all(text)?;
                }
                Some(original) => write_original(&mut writer, *key, original)?,
            }
        }
        let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        self.bytes.clear();
        self.entries.clear();
        let reader = BufReader::with_capacity(RUN_BUFFER_BYTES, file);
        Ok(Run::File { reader, text_bytes: 0, flags: 0 })
    }
}

/// A sorted run.
#[derive(Debug)]
enum Run {
    Memory {
        gathered: Gathered,
        next: usize,
    },
    /// Stands behind the header of its next record.
    File {
        reader: BufReader<File>,
        text_bytes: u64,
        flags: u8,
    },
}

impl Run {
    /// The key of the next record; `None` at the end.
    fn next_key(&mut self) -> io::Result<Option<Key>> {
        match self {
            Self::Memory { gathered, next } => Ok(gathered.entries.get(*next).map(|&(key, _)| key)),
            Self::File { reader, text_bytes, flags } => {
                if reader.fill_buf()?.is_empty() {
                    return Ok(None);
                }
                let time = i64::from_le_bytes(read_array(reader)?);
                let number = u64::from_le_bytes(read_array(reader)?);
                *text_bytes = u64::from_le_bytes(read_array(reader)?);
                [*flags] = read_array(reader)?;
                Ok(Some(((*flags & HAS_TIME != 0).then_some(time), number)))
            }
        }
    }

    /// Appends the text of the record whose key was given last, or gives what is kept of it.
    fn take(&mut self, out: &mut Vec<u8>) -> io::Result<Option<Box<Original>>> {
        match self {
            Self::Memory { gathered, next } => {
                let Some((_, line)) = gathered.entries.get_mut(*next) else {
                    return Ok(None);
                };
                out.extend_from_slice(gathered.bytes.get(line.range.clone()).unwrap_or_default());
                *next += 1;
                Ok(line.oversized.take())
            }
            Self::File { reader, text_bytes, flags } if *flags & IS_OVERSIZED != 0 => {
                read_original(reader, *text_bytes, *flags).map(Some)
            }
            Self::File { reader, text_bytes, .. } => {
                read_text(reader, *text_bytes, out)?;
                Ok(None)
            }
        }
    }
}

const HAS_TIME: u8 = 1;
const IS_OVERSIZED: u8 = 2;
const IS_BASE64: u8 = 4;

fn write_header(
    writer: &mut impl Write,
    (time, number): Key,
    text_bytes: usize,
    flags: u8,
) -> io::Result<()> {
    let flags = flags | if time.is_some() { HAS_TIME } else { 0 };
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&time.unwrap_or(0).to_le_bytes());
    header.extend_from_slice(&number.to_le_bytes());
    header.extend_from_slice(&(text_bytes as u64).to_le_bytes());
    header.push(flags);
    writer.write_all(&header)
}

/// Writes an oversized record: the kept text, the length of the whole, then its digest to the end.
fn write_original(writer: &mut impl Write, key: Key, original: &Original) -> io::Result<()> {
    let base64 = if original.encoding == OriginalEncoding::Base64 { IS_BASE64 } else { 0 };
    write_header(writer, key, original.text.len(), IS_OVERSIZED | base64)?;
    writer.write_all(original.text.as_bytes())?;
    writer.write_all(&original.bytes.to_le_bytes())?;
    writer.write_all(&(original.sha256.len() as u64).to_le_bytes())?;
    writer.write_all(original.sha256.as_bytes())
}

fn read_original(reader: &mut impl Read, text_bytes: u64, flags: u8) -> io::Result<Box<Original>> {
    let string = |reader: &mut _, bytes| {
        let mut text = Vec::new();
        read_text(reader, bytes, &mut text)?;
        String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    let text = string(&mut *reader, text_bytes)?;
    let bytes = u64::from_le_bytes(read_array(reader)?);
    let sha256_bytes = u64::from_le_bytes(read_array(reader)?);
    let sha256 = string(&mut *reader, sha256_bytes)?;
    let is_base64 = flags & IS_BASE64 != 0;
    let encoding = if is_base64 { OriginalEncoding::Base64 } else { OriginalEncoding::Utf8 };
    Ok(Box::new(Original { text, encoding, bytes, sha256 }))
}

fn read_array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_text(reader: &mut impl Read, bytes: u64, out: &mut Vec<u8>) -> io::Result<()> {
    if (reader.take(bytes).read_to_end(out)? as u64) < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
