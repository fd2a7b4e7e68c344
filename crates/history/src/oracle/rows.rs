//! Record batches as rows of a view.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, Schema};
use weir_events::view::{Column, Kind, Row, Value, View};
use weir_events::{Amount, Risk, Timestamp};

use super::tables::{PRECISION, SCALE};
use super::{OracleError, failed};

/// Points of risk: 38 digits, 16 of them behind the point.
const RISK: DataType = DataType::Decimal128(PRECISION, 16);

/// Makes sure that the SQL gives what the view declares: these columns in this order. Types are as
/// strict as exactness needs: nothing that holds a decimal or a count may pass through a float.
pub(super) fn check_columns(view: &View, schema: &Schema) -> Result<(), OracleError> {
    let fields = schema.fields();
    for at in 0..view.columns.len().max(fields.len()) {
        let (column, field) = (view.columns.get(at), fields.get(at));
        if let (Some(column), Some(field)) = (column, field)
            && column.name == field.name()
            && fits(column.kind, field.data_type())
        {
            continue;
        }
        return Err(OracleError::Columns {
            view: view.name,
            at: at + 1,
            found: field.map_or("absent".to_owned(), |f| format!("{} {}", f.name(), f.data_type())),
            declared: column.map_or("absent".to_owned(), |c| format!("{} {:?}", c.name, c.kind)),
        });
    }
    Ok(())
}

fn fits(kind: Kind, data_type: &DataType) -> bool {
    match kind {
        Kind::Text => matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8),
        Kind::Int | Kind::Time => *data_type == DataType::Int64,
        Kind::Decimal => matches!(data_type, DataType::Decimal128(_, scale) if *scale <= SCALE),
        Kind::Risk => *data_type == RISK,
        Kind::Float => *data_type == DataType::Float64,
    }
}

/// The rows in the order they came.
pub(super) fn from_batches(view: &View, batches: &[RecordBatch]) -> Result<Vec<Row>, OracleError> {
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let columns: Result<Vec<ArrayRef>, _> = view
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(column, values)| cast(values, &arrow_type(column)))
            .collect();
        let columns = columns.map_err(|error| failed(view.name, error.into()))?;
        let kinds = || view.columns.iter().map(|column| column.kind);
        rows.extend((0..batch.num_rows()).map(|row| -> Row {
            kinds().zip(&columns).map(|(kind, values)| value(kind, values, row)).collect()
        }));
    }
    Ok(rows)
}

/// Sorts rows by the view's sort columns; text by bytes.
pub(super) fn sort(view: &View, rows: &mut [Row]) {
    rows.sort_by(|left, right| by_key(view, left, right));
}

/// Compares two rows by the view's sort columns.
pub(crate) fn by_key(view: &View, left: &[Value], right: &[Value]) -> Ordering {
    let orders = view.sort.iter().map(|&at| left.get(at).partial_cmp(&right.get(at)));
    orders
        .map(|order| order.unwrap_or(Ordering::Equal))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn arrow_type(column: &Column) -> DataType {
    match column.kind {
        Kind::Text => DataType::Utf8,
        Kind::Int | Kind::Time => DataType::Int64,
        Kind::Decimal => DataType::Decimal128(PRECISION, SCALE),
        Kind::Risk => RISK,
        Kind::Float => DataType::Float64,
    }
}

fn value(kind: Kind, values: &ArrayRef, row: usize) -> Value {
    if values.is_null(row) {
        return Value::Null;
    }
    match kind {
        Kind::Text => Value::Text(values.as_string::<i32>().value(row).to_owned()),
        Kind::Int => Value::Int(values.as_primitive::<Int64Type>().value(row)),
        Kind::Time => Value::Time(Timestamp(values.as_primitive::<Int64Type>().value(row))),
        Kind::Decimal => Value::Decimal(Amount(values.as_primitive::<Decimal128Type>().value(row))),
        Kind::Risk => Value::Risk(Risk(values.as_primitive::<Decimal128Type>().value(row))),
        Kind::Float => Value::Float(values.as_primitive::<Float64Type>().value(row)),
    }
}
