//! Rows as a typed Parquet file.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use weir_events::mask::mask;
use weir_events::view::{Column, Kind, Row, Value, View};

use super::WriteError;
use super::ndjson::is_id;

/// Rows encoded at a time.
const BATCH_ROWS: usize = 64 << 10;
/// Decimals as in the tables of the views: 38 digits, 8 of them behind the point.
const PRECISION: u8 = 38;
const SCALE: i8 = 8;
/// Points of risk have twice as many decimals.
const RISK_SCALE: i8 = 16;

/// Writes the rows of a view: text as UTF-8, integers as 64 bits, decimals as `Decimal128(38, 8)`, times
/// as microseconds in UTC, floats as 64 bits; compressed with zstd. Card numbers are masked as in JSON.
///
/// # Errors
/// When `out` fails or a value is not of its column's kind.
pub fn write_rows_parquet(view: &View, rows: &[Row], out: impl Write + Send) -> Result<(), WriteError> {
    let field = |column: &Column| Field::new(column.name, arrow_type(column.kind), true);
    let schema = Arc::new(Schema::new(view.columns.iter().map(field).collect::<Vec<_>>()));
    let mut writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties()))?;
    for rows in rows.chunks(BATCH_ROWS) {
        let columns = view.columns.iter().enumerate();
        let columns: Result<Vec<ArrayRef>, _> =
            columns.map(|(at, column)| array(view, column, at, rows)).collect();
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns?)?)?;
    }
    writer.close()?;
    Ok(())
}

/// How every Parquet file is written.
pub(super) fn properties() -> WriterProperties {
    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build()
}

/// The type of a column of this kind.
pub(super) fn arrow_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Int => DataType::Int64,
        Kind::Decimal => DataType::Decimal128(PRECISION, SCALE),
        Kind::Risk => DataType::Decimal128(PRECISION, RISK_SCALE),
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Float => DataType::Float64,
    }
}

/// One column of some rows.
fn array(view: &View, column: &Column, at: usize, rows: &[Row]) -> Result<ArrayRef, WriteError> {
    let wrong = || WriteError::Kind { view: view.name, column: column.name };
    let values = rows.iter().map(|row| row.get(at).unwrap_or(&Value::Null));
    /// Collects the values of one variant; null where there is none.
    macro_rules! collect {
        ($array:ty, $variant:path, $convert:expr) => {
            values
                .map(|value| match value {
                    Value::Null => Ok(None),
                    $variant(value) => Ok(Some($convert(value))),
                    _ => Err(wrong()),
                })
                .collect::<Result<$array, WriteError>>()?
        };
    }
    Ok(match column.kind {
        Kind::Text => Arc::new(collect!(StringArray, Value::Text, |text| shown(column, text))),
        Kind::Int => Arc::new(collect!(Int64Array, Value::Int, |value: &i64| *value)),
        Kind::Float => Arc::new(collect!(Float64Array, Value::Float, |value: &f64| *value)),
        Kind::Time => {
            let times =
                collect!(TimestampMicrosecondArray, Value::Time, |time: &weir_events::Timestamp| time.0);
            Arc::new(times.with_timezone("UTC"))
        }
        Kind::Decimal => {
            let amounts = collect!(Decimal128Array, Value::Decimal, |amount: &weir_events::Amount| amount.0);
            Arc::new(amounts.with_precision_and_scale(PRECISION, SCALE)?)
        }
        Kind::Risk => {
            let points = collect!(Decimal128Array, Value::Risk, |risk: &weir_events::Risk| risk.0);
            Arc::new(points.with_precision_and_scale(PRECISION, RISK_SCALE)?)
        }
    })
}

fn shown<'t>(column: &Column, text: &'t str) -> Cow<'t, str> {
    if is_id(column) { Cow::Borrowed(text) } else { mask(text) }
}
