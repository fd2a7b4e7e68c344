//! Rows of the views and other records, as NDJSON and as Parquet.

mod ndjson;
mod parquet_records;
mod parquet_rows;

use std::io;

pub(crate) use ndjson::value_text;
pub use ndjson::write_rows_ndjson;
pub use parquet_records::{
    ALERT_COLUMNS, DECISION_COLUMNS, REJECT_COLUMNS, RISK_SCORE_COLUMNS, RecordColumn, RecordKind,
    RecordParquetWriter,
};
pub use parquet_rows::write_rows_parquet;

/// Output that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file or pipe.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The encoder.
    #[error("Parquet: {0}")]
    Parquet(String),
    /// A record that is not of the kind its file is for.
    #[error("a record does not fit its Parquet file: {0}")]
    Record(String),
    /// A value of another kind than its column's.
    #[error("view {view}: column {column} has a value of another kind")]
    Kind {
        /// The view.
        view: &'static str,
        /// The column.
        column: &'static str,
    },
}

impl From<parquet::errors::ParquetError> for WriteError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Parquet(error.to_string())
    }
}

impl From<arrow::error::ArrowError> for WriteError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Parquet(error.to_string())
    }
}
