//! Parquet files: each row becomes the JSON text that a line of an NDJSON file would be.

use std::fs::File;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::lines::oversized;
use super::{Block, ReadError, ReadOptions, json};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// Reads the rows of a Parquet file in order.
pub(crate) struct ParquetReader {
    batches: ParquetRecordBatchReader,
    name: String,
    options: ReadOptions,
    columns: Vec<Column>,
    batch_rows: usize,
    /// Rows of the present batch that are used up.
    used: usize,
    rows_read: u64,
    rows_total: u64,
}

struct Column {
    /// The key as it stands in an object: quoted, escaped, with a colon.
    key: Vec<u8>,
    values: ArrayRef,
}

impl std::fmt::Debug for ParquetReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetReader").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ParquetReader {
    pub(crate) fn open(file: File, name: String, options: ReadOptions) -> Result<Self, ReadError> {
        let unreadable = |error: parquet::errors::ParquetError| ReadError::Parquet {
            name: name.clone(),
            message: error.to_string(),
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
        check_columns(&name, builder.schema(), options.required_columns)?;
        let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batches = builder.with_batch_size(BATCH_ROWS).build().map_err(unreadable)?;
        let columns = Vec::new();
        Ok(Self { batches, name, options, columns, batch_rows: 0, used: 0, rows_read: 0, rows_total })
    }

    /// The share of `total_bytes` that the rows read so far stand for.
    pub(crate) fn bytes_read(&self, total_bytes: u64) -> u64 {
        let share = u128::from(total_bytes) * u128::from(self.rows_read) / u128::from(self.rows_total.max(1));
        u64::try_from(share).unwrap_or(total_bytes)
    }

    /// Appends rows to the block until it is full or the file ends.
    pub(crate) fn fill(&mut self, block: &mut Block) -> Result<(), ReadError> {
        while !block.is_full() && (self.used < self.batch_rows || self.next_batch()?) {
            let start = block.bytes.len();
            self.write_row(&mut block.bytes).map_err(|error| self.unreadable(&error))?;
            self.used += 1;
            self.rows_read += 1;
            let original = oversized(&self.options, block, start);
            block.push(self.rows_read, start, original);
        }
        Ok(())
    }

    /// Writes the present row as an object; a null is left out, as absent and null mean the same.
    fn write_row(&self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        out.push(b'{');
        let mut is_first = true;
        for column in self.columns.iter().filter(|column| column.values.is_valid(self.used)) {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            out.extend_from_slice(&column.key);
            json::write_value(out, &column.values, self.used)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Decodes the next batch that has rows; `false` at the end.
    fn next_batch(&mut self) -> Result<bool, ReadError> {
        while let Some(batch) = self.batches.next() {
            let batch = batch.map_err(|error| self.unreadable(&error))?;
            self.columns = columns(&batch).map_err(|error| self.unreadable(&error))?;
            self.batch_rows = batch.num_rows();
            self.used = 0;
            if self.batch_rows > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn unreadable(&self, error: &ArrowError) -> ReadError {
        ReadError::Parquet { name: self.name.clone(), message: error.to_string() }
    }
}

fn columns(batch: &RecordBatch) -> Result<Vec<Column>, ArrowError> {
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(batch.columns());
    fields
        .map(|(field, values)| {
            let values = match field.data_type() {
                // Unpacked once per batch rather than looked up per row.
                DataType::Dictionary(_, value_type) => cast(values, value_type)?,
                _ => ArrayRef::clone(values),
            };
            let mut key = Vec::new();
            json::write_string(&mut key, field.name().as_bytes());
            key.push(b':');
            Ok(Column { key, values })
        })
        .collect()
}

fn check_columns(name: &str, schema: &Schema, required: &[&[&str]]) -> Result<(), ReadError> {
    let has = |column: &&str| schema.column_with_name(column).is_some();
    let missing: Vec<String> =
        required.iter().filter(|names| !names.iter().any(has)).map(|names| names.join(" or ")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let found: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Err(ReadError::Columns { name: name.to_owned(), missing: missing.join(", "), found })
}
