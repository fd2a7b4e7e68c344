//! Recorded streams: NDJSON and Parquet files, plain, gzip or zstd, as blocks of records.
//!
//! What a file is shows in its first bytes, never in its name. Every form comes out the same way: a
//! [`Block`] of JSON texts with their line (or row) numbers, so that one codec judges them all.

mod error;
mod json;
mod lines;
mod long;
mod rows;
mod sort;
mod source;

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

pub use error::ReadError;
pub use sort::{SortOptions, SortedReader};

use weir_events::reject::Original;

use self::lines::LineReader;
use self::rows::ParquetReader;
use self::source::{Opened, Progress};

/// Bytes of text after which a block is full. A block overshoots it by one record at most.
const BLOCK_BYTES: usize = 1 << 20;

/// Several records of a file in one reused buffer.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

/// One record of a [`Block`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Line of the file, or row of the Parquet file, from 1.
    pub number: u64,
    /// Where the text stands in the block; empty for an oversized record.
    pub range: Range<usize>,
    /// What is kept of a record longer than [`ReadOptions::record_bytes_max`].
    pub oversized: Option<Box<Original>>,
}

impl Block {
    /// The records in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&Line, &[u8])> {
        self.lines.iter().map(|line| (line, self.text(line)))
    }

    /// The records' places.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// All texts, one after the other: what [`Line::range`] points into.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text of a record of this block, without its end of line.
    #[must_use]
    pub fn text(&self, line: &Line) -> &[u8] {
        self.bytes.get(line.range.clone()).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    /// Takes what was written from `start` on as the text of a record.
    fn push(&mut self, number: u64, start: usize, oversized: Option<Box<Original>>) {
        self.lines.push(Line { number, range: start..self.bytes.len(), oversized });
    }
}

/// How to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// The longest record that is given whole, in bytes without the end of line.
    pub record_bytes_max: usize,
    /// Columns that a Parquet file must have. Each entry names alternatives, one of which suffices.
    pub required_columns: &'static [&'static [&'static str]],
}

/// The columns that a Parquet file of transactions must have.
pub const TRANSACTION_COLUMNS: &[&[&str]] =
    &[&["tx_id"], &["agent_id"], &["user_id"], &["merchant"], &["amount", "amount_minor"], &["tx_time"]];

/// The columns that a Parquet file of mandates must have.
pub const MANDATE_COLUMNS: &[&[&str]] = &[&["mandate_id"], &["agent_id"], &["user_id"]];

/// A source of records in blocks.
pub trait Records {
    /// Replaces the block's content with the next records; `false`, with an empty block, at the end.
    ///
    /// # Errors
    /// When the file cannot be read to its end: see [`ReadError`].
    fn next_block(&mut self, block: &mut Block) -> Result<bool, ReadError>;

    /// Bytes of the file consumed so far, before decompression; for Parquet by its share of rows.
    fn bytes_read(&self) -> u64;

    /// Size of the file, where it has one.
    fn total_bytes(&self) -> Option<u64>;
}

/// Reads one file, or the standard input where the path is `-`.
#[derive(Debug)]
pub struct RecordReader {
    form: Form,
    progress: Progress,
}

#[derive(Debug)]
enum Form {
    Lines(LineReader),
    Parquet(Box<ParquetReader>),
}

impl RecordReader {
    /// Opens `path` and finds out what it holds.
    ///
    /// # Errors
    /// When there is no such file, it may not be read, is a folder, is of another kind, or is Parquet
    /// without the required columns.
    pub fn open(path: &Path, options: ReadOptions) -> Result<Self, ReadError> {
        match source::open(path)? {
            Opened::Text { reader, name, progress } => {
                Ok(Self { form: Form::Lines(LineReader::new(reader, name, options)), progress })
            }
            Opened::Parquet { file, name, progress } => {
                let form = Form::Parquet(Box::new(ParquetReader::open(file, name, options)?));
                Ok(Self { form, progress })
            }
        }
    }
}

impl Records for RecordReader {
    fn next_block(&mut self, block: &mut Block) -> Result<bool, ReadError> {
        block.clear();
        match &mut self.form {
            Form::Lines(lines) => lines.fill(block)?,
            Form::Parquet(rows) => rows.fill(block)?,
        }
        Ok(!block.lines.is_empty())
    }

    fn bytes_read(&self) -> u64 {
        match &self.form {
            Form::Lines(_) => self.progress.bytes_read(),
            Form::Parquet(rows) => rows.bytes_read(self.progress.total_bytes().unwrap_or(0)),
        }
    }

    fn total_bytes(&self) -> Option<u64> {
        self.progress.total_bytes()
    }
}

/// Copies a stream into a temporary file, for forms that must be read from several places.
fn spooled(mut reader: impl Read) -> std::io::Result<std::fs::File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut reader, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
