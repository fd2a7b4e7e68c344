//! Arrow values as JSON text. Numbers keep every digit: decimals as they are, floats in the shortest
//! form that reads back as the same float.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

const SECONDS_PER_DAY: i64 = 86_400;

/// Appends the value at `row`; `null` where there is none.
pub(crate) fn write_value(out: &mut Vec<u8>, values: &ArrayRef, row: usize) -> Result<(), ArrowError> {
    if values.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match values.data_type() {
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::Boolean => print(out, values.as_boolean().value(row)),
        DataType::Utf8 => write_string(out, values.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => write_string(out, values.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => write_string(out, values.as_string_view().value(row).as_bytes()),
        // Some writers mark no string as such. What is not UTF-8 stays so, and the codec rejects it.
        DataType::Binary => write_string(out, values.as_binary::<i32>().value(row)),
        DataType::LargeBinary => write_string(out, values.as_binary::<i64>().value(row)),
        DataType::BinaryView => write_string(out, values.as_binary_view().value(row)),
        DataType::Int8 => print(out, number::<Int8Type>(values, row)),
        DataType::Int16 => print(out, number::<Int16Type>(values, row)),
        DataType::Int32 => print(out, number::<Int32Type>(values, row)),
        DataType::Int64 => print(out, number::<Int64Type>(values, row)),
        DataType::UInt8 => print(out, number::<UInt8Type>(values, row)),
        DataType::UInt16 => print(out, number::<UInt16Type>(values, row)),
        DataType::UInt32 => print(out, number::<UInt32Type>(values, row)),
        DataType::UInt64 => print(out, number::<UInt64Type>(values, row)),
        DataType::Float16 => write_float(out, f64::from(number::<Float16Type>(values, row).to_f32())),
        DataType::Float32 => write_float_text(out, &number::<Float32Type>(values, row).to_string()),
        DataType::Float64 => write_float(out, number::<Float64Type>(values, row)),
        DataType::Decimal32(..) => print(out, values.as_primitive::<Decimal32Type>().value_as_string(row)),
        DataType::Decimal64(..) => print(out, values.as_primitive::<Decimal64Type>().value_as_string(row)),
        DataType::Decimal128(..) => print(out, values.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(..) => print(out, values.as_primitive::<Decimal256Type>().value_as_string(row)),
        DataType::Timestamp(unit, _) => write_time(out, timestamp(values, row, *unit), *unit),
        DataType::Date32 => write_date(out, i64::from(number::<Date32Type>(values, row))),
        _ => return write_nested(out, values, row),
    }
    Ok(())
}

/// Appends a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0..0x20 => print(out, format_args!("\\u{byte:04x}")),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn write_nested(out: &mut Vec<u8>, values: &ArrayRef, row: usize) -> Result<(), ArrowError> {
    match values.data_type() {
        DataType::List(_) => write_list(out, &values.as_list::<i32>().value(row)),
        DataType::LargeList(_) => write_list(out, &values.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => write_list(out, &values.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let members = fields.iter().zip(values.as_struct().columns());
            write_object(out, members.map(|(field, member)| (field.name().clone(), member, row)))
        }
        DataType::Map(..) => {
            let entries = values.as_map().value(row);
            let [keys, members] = entries.columns() else {
                return Err(ArrowError::SchemaError("a map without keys and values".to_owned()));
            };
            let keys: Vec<String> =
                (0..entries.len()).map(|at| array_value_to_string(keys, at)).collect::<Result<_, _>>()?;
            write_object(out, keys.into_iter().enumerate().map(|(at, key)| (key, members, at)))
        }
        DataType::Dictionary(_, value_type) => write_value(out, &cast(&values.slice(row, 1), value_type)?, 0),
        _ => {
            write_string(out, array_value_to_string(values, row)?.as_bytes());
            Ok(())
        }
    }
}

fn write_list(out: &mut Vec<u8>, items: &ArrayRef) -> Result<(), ArrowError> {
    out.push(b'[');
    for at in 0..items.len() {
        if at > 0 {
            out.push(b',');
        }
        write_value(out, items, at)?;
    }
    out.push(b']');
    Ok(())
}

fn write_object<'a>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (String, &'a ArrayRef, usize)>,
) -> Result<(), ArrowError> {
    out.push(b'{');
    for (at, (key, values, row)) in members.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(out, key.as_bytes());
        out.push(b':');
        write_value(out, values, row)?;
    }
    out.push(b'}');
    Ok(())
}

fn number<T: ArrowPrimitiveType>(values: &ArrayRef, row: usize) -> T::Native {
    values.as_primitive::<T>().value(row)
}

fn print(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing into a vector cannot fail.
    let _ = write!(out, "{value}");
}

fn write_float(out: &mut Vec<u8>, value: f64) {
    write_float_text(out, &value.to_string());
}

/// JSON has no infinities and no NaN: they stand as strings, which no numeric field accepts.
fn write_float_text(out: &mut Vec<u8>, text: &str) {
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_string(out, text.as_bytes());
    }
}

fn timestamp(values: &ArrayRef, row: usize, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => number::<TimestampSecondType>(values, row),
        TimeUnit::Millisecond => number::<TimestampMillisecondType>(values, row),
        TimeUnit::Microsecond => number::<TimestampMicrosecondType>(values, row),
        TimeUnit::Nanosecond => number::<TimestampNanosecondType>(values, row),
    }
}

/// Appends an RFC 3339 time. A time zone of the column only says how to show it, and a column without
/// one is taken as UTC, so the value is printed in UTC either way.
fn write_time(out: &mut Vec<u8>, value: i64, unit: TimeUnit) {
    let (per_second, digits) = match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    };
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    print(out, format_args!("\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"));
    if digits > 0 {
        print(out, format_args!(".{fraction:0digits$}"));
    }
    out.extend_from_slice(b"Z\"");
}

fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    print(out, format_args!("\"{year:04}-{month:02}-{day:02}\""));
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
/// Counts in years that begin in March, so that a leap day is the last day of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let since_march_0000 = days + 719_468;
    let (era, day_of_era) = (since_march_0000.div_euclid(146_097), since_march_0000.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
