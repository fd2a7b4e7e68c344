//! Rows as JSON lines.

use std::io::{self, Write};

use weir_events::mask::Masked;
use weir_events::view::{Column, Row, Value, View};

/// Columns that hold an id of an accepted record: the one kind of text that is never masked.
const ID_COLUMNS: [&str; 6] = ["tx_id", "agent_id", "user_id", "mandate_id", "agent_a", "agent_b"];

/// Writes one object per row, with the columns in order as keys. Decimals are strings without trailing
/// zeros, times strings, integers and floats numbers (floats in their shortest form).
///
/// # Errors
/// When `out` fails.
pub fn write_rows_ndjson(view: &View, rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    for row in rows {
        for (at, (column, value)) in view.columns.iter().zip(row).enumerate() {
            write!(out, "{}\"{}\":", if at == 0 { '{' } else { ',' }, column.name)?;
            write_value(column, value, out)?;
        }
        out.write_all(b"}\n")?;
    }
    Ok(())
}

/// A value as it is printed in a row.
pub(crate) fn value_text(column: &Column, value: &Value) -> String {
    let mut text = Vec::new();
    // Writing into a vector cannot fail.
    let _ = write_value(column, value, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Text of a column, masked unless it is an id.
pub(super) fn is_id(column: &Column) -> bool {
    ID_COLUMNS.contains(&column.name)
}

fn write_value(column: &Column, value: &Value, out: &mut impl Write) -> io::Result<()> {
    match value {
        Value::Null => out.write_all(b"null"),
        Value::Text(text) if is_id(column) => Ok(serde_json::to_writer(out, text)?),
        Value::Text(text) => Ok(serde_json::to_writer(out, &Masked(text))?),
        Value::Int(value) => write!(out, "{value}"),
        Value::Decimal(value) => write!(out, "\"{value}\""),
        Value::Risk(value) => write!(out, "\"{value}\""),
        Value::Time(value) => write!(out, "\"{value}\""),
        Value::Float(value) => Ok(serde_json::to_writer(out, value)?),
    }
}
