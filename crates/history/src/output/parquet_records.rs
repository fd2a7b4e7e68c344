//! JSON records as a typed Parquet file, for decisions, rejects, alerts and risk profiles.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::compute::kernels::cast_utils::{parse_decimal, string_to_timestamp_nanos};
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use serde_json::value::RawValue;
use weir_events::view::Kind;

use super::WriteError;
use super::parquet_rows::{arrow_type, properties};

/// Records encoded at a time.
const BATCH_ROWS: usize = 32 << 10;
const NANOSECONDS_PER_MICROSECOND: i64 = 1_000;

/// What a key of a record becomes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A typed column: text, integers and floats from JSON, decimals and times from strings.
    Scalar(Kind),
    /// A boolean column.
    Bool,
    /// A text column with the value's JSON: lists and objects.
    Json,
}

/// A column of a file of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordColumn {
    /// The JSON key.
    pub name: &'static str,
    /// What it becomes.
    pub kind: RecordKind,
}

const TEXT: RecordKind = RecordKind::Scalar(Kind::Text);
const INT: RecordKind = RecordKind::Scalar(Kind::Int);
const DECIMAL: RecordKind = RecordKind::Scalar(Kind::Decimal);
const TIME: RecordKind = RecordKind::Scalar(Kind::Time);
const BOOL: RecordKind = RecordKind::Bool;
const JSON: RecordKind = RecordKind::Json;

const fn column(name: &'static str, kind: RecordKind) -> RecordColumn {
    RecordColumn { name, kind }
}

/// `decisions.parquet`: SPEC 5, lists and objects as JSON.
pub const DECISION_COLUMNS: &[RecordColumn] = &[
    column("schema_version", INT),
    column("tx_id", TEXT),
    column("payment_id", TEXT),
    column("agent_id", TEXT),
    column("user_id", TEXT),
    column("mandate_id", TEXT),
    column("merchant", TEXT),
    column("merchant_category", TEXT),
    column("amount", DECIMAL),
    column("currency", TEXT),
    column("country", TEXT),
    column("tx_time", TIME),
    column("action", TEXT),
    column("flagged", BOOL),
    column("risk_score", INT),
    column("risk_level", TEXT),
    column("composite_risk", RecordKind::Scalar(Kind::Risk)),
    column("decided_by", TEXT),
    column("signals", JSON),
    column("reasons", JSON),
    column("mandate", JSON),
    column("late", BOOL),
    column("config_digest", TEXT),
];

/// `rejects.parquet`.
pub const REJECT_COLUMNS: &[RecordColumn] = &[
    column("schema_version", INT),
    column("code", TEXT),
    column("field", TEXT),
    column("message", TEXT),
    column("origin", JSON),
    column("original", TEXT),
    column("original_encoding", TEXT),
    column("original_bytes", INT),
    column("sha256", TEXT),
];

/// `alerts.parquet`.
pub const ALERT_COLUMNS: &[RecordColumn] = &[
    column("episode_id", TEXT),
    column("detector", TEXT),
    column("tier", TEXT),
    column("state", TEXT),
    column("agent_id", TEXT),
    column("user_id", TEXT),
    column("mandate_id", TEXT),
    column("first_tx", TEXT),
    column("last_tx", TEXT),
    column("transactions", INT),
    column("amount", DECIMAL),
    column("recommended", TEXT),
];

/// `risk-scores.parquet`: the lifetime and the current measures as JSON.
pub const RISK_SCORE_COLUMNS: &[RecordColumn] = &[
    column("agent_id", TEXT),
    column("user_id", TEXT),
    column("lifetime", JSON),
    column("current", JSON),
    column("actions_24h", JSON),
    column("open_episodes", JSON),
    column("first_seen", TIME),
    column("payments_seen", INT),
];

/// Writes JSON records of one kind into a Parquet file, in batches, compressed with zstd.
///
/// The columns are fixed: a key that has none is an error, so that nothing is lost unseen; a column
/// that a record lacks is null.
pub struct RecordParquetWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
    columns: &'static [RecordColumn],
    builders: Vec<Builder>,
    rows: usize,
}

enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Decimal(Kind, Decimal128Builder),
    Time(TimestampMicrosecondBuilder),
    Json(StringBuilder),
}

impl<W: Write + Send> RecordParquetWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn new(out: W, columns: &'static [RecordColumn]) -> Result<Self, WriteError> {
        let builders: Vec<Builder> = columns.iter().map(|column| Builder::new(column.kind)).collect();
        let fields = columns.iter().map(|column| Field::new(column.name, data_type(column.kind), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties()))?;
        Ok(Self { writer, schema, columns, builders, rows: 0 })
    }

    /// Appends a record, given as its JSON object.
    ///
    /// # Errors
    /// When the record does not fit the columns, or `out` fails.
    pub fn push(&mut self, record: &[u8]) -> Result<(), WriteError> {
        let parsed = serde_json::from_slice::<BTreeMap<std::borrow::Cow<'_, str>, &RawValue>>(record);
        let mut members = parsed.map_err(|error| WriteError::Record(error.to_string()))?;
        for (column, builder) in self.columns.iter().zip(&mut self.builders) {
            let value = members.remove(column.name).map(RawValue::get).filter(|text| *text != "null");
            builder
                .push(value)
                .map_err(|message| WriteError::Record(format!("{}: {message}", column.name)))?;
        }
        if let Some((name, _)) = members.first_key_value() {
            return Err(WriteError::Record(format!("there is no column {name}")));
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    /// Writes what is left and the file's footer, and gives `out` back.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.flush()?;
        Ok(self.writer.into_inner()?)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.rows = 0;
        let columns: Result<Vec<ArrayRef>, _> = self.builders.iter_mut().map(Builder::finish).collect();
        Ok(self.writer.write(&RecordBatch::try_new(Arc::clone(&self.schema), columns?)?)?)
    }
}

impl<W: Write + Send> std::fmt::Debug for RecordParquetWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordParquetWriter").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Builder {
    fn new(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Json => Self::Json(StringBuilder::new()),
            RecordKind::Bool => Self::Bool(BooleanBuilder::new()),
            RecordKind::Scalar(Kind::Text) => Self::Text(StringBuilder::new()),
            RecordKind::Scalar(Kind::Int) => Self::Int(Int64Builder::new()),
            RecordKind::Scalar(Kind::Float) => Self::Float(Float64Builder::new()),
            RecordKind::Scalar(kind @ (Kind::Decimal | Kind::Risk)) => {
                Self::Decimal(kind, Decimal128Builder::new())
            }
            RecordKind::Scalar(Kind::Time) => Self::Time(TimestampMicrosecondBuilder::new()),
        }
    }

    /// Appends a value given as JSON text.
    fn push(&mut self, json: Option<&str>) -> Result<(), String> {
        match self {
            Self::Json(builder) => builder.append_option(json),
            Self::Text(builder) => builder.append_option(parsed::<String>(json)?),
            Self::Int(builder) => builder.append_option(parsed(json)?),
            Self::Float(builder) => builder.append_option(parsed(json)?),
            Self::Bool(builder) => builder.append_option(parsed(json)?),
            Self::Decimal(kind, builder) => {
                let DataType::Decimal128(precision, scale) = arrow_type(*kind) else {
                    return Err("not a decimal type".to_owned());
                };
                let amount =
                    parsed::<String>(json)?.map(|t| parse_decimal::<Decimal128Type>(&t, precision, scale));
                builder.append_option(amount.transpose().map_err(|error| error.to_string())?);
            }
            Self::Time(builder) => {
                let time = parsed::<String>(json)?.map(|text| string_to_timestamp_nanos(&text));
                let time = time.transpose().map_err(|error| error.to_string())?;
                builder.append_option(time.map(|time_ns| time_ns.div_euclid(NANOSECONDS_PER_MICROSECOND)));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, WriteError> {
        Ok(match self {
            Self::Text(builder) | Self::Json(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Decimal(kind, builder) => Arc::new(builder.finish().with_data_type(arrow_type(*kind))),
            Self::Time(builder) => Arc::new(builder.finish().with_timezone("UTC")),
        })
    }
}

fn parsed<'j, T: serde::Deserialize<'j>>(json: Option<&'j str>) -> Result<Option<T>, String> {
    json.map(serde_json::from_str).transpose().map_err(|error: serde_json::Error| error.to_string())
}

fn data_type(kind: RecordKind) -> DataType {
    match kind {
        RecordKind::Scalar(kind) => arrow_type(kind),
        RecordKind::Bool => DataType::Boolean,
        RecordKind::Json => DataType::Utf8,
    }
}
