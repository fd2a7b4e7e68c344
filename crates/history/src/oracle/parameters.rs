//! The configured numbers in the SQL of the views.

use std::collections::BTreeSet;

use weir_events::view::{Value, View};

use super::OracleError;

/// The SQL of each view with a literal for every `$name`.
///
/// Filled in as text because a window frame takes no placeholder.
///
/// # Errors
/// When the parameters and the SQL do not fit together.
pub fn filled_in(views: &[View], parameters: &[(&'static str, Value)]) -> Result<Vec<String>, OracleError> {
    let mut used = BTreeSet::new();
    let sql: Result<Vec<_>, _> = views.iter().map(|view| fill_in(view, parameters, &mut used)).collect();
    match parameters.iter().find(|(name, _)| !used.contains(name)) {
        Some(&(name, _)) => sql.and(Err(OracleError::UnusedParameter { name })),
        None => sql,
    }
}

fn fill_in(
    view: &View,
    parameters: &[(&'static str, Value)],
    used: &mut BTreeSet<&'static str>,
) -> Result<String, OracleError> {
    let mut pieces = view.sql.split('$');
    let mut sql = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        let Some((name, value)) = parameters.iter().find(|(known, _)| *known == name) else {
            return Err(OracleError::UnknownParameter { view: view.name, name: name.to_owned() });
        };
        used.insert(name);
        sql.push_str(&literal(name, value)?);
        sql.push_str(rest);
    }
    Ok(sql)
}

fn literal(name: &'static str, value: &Value) -> Result<String, OracleError> {
    match value {
        // In parentheses where negative: `--` would begin a comment.
        Value::Int(value) if *value < 0 => Ok(format!("({value})")),
        Value::Int(value) => Ok(value.to_string()),
        Value::Decimal(value) => Ok(format!("CAST('{}' AS DECIMAL(38, 8))", decimal(value.0))),
        Value::Null | Value::Text(_) | Value::Risk(_) | Value::Time(_) | Value::Float(_) => {
            Err(OracleError::ParameterType { name })
        }
    }
}

/// Units of 1e-8 as a decimal with all eight digits.
fn decimal(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let (whole, fraction) = (units.unsigned_abs() / 100_000_000, units.unsigned_abs() % 100_000_000);
    format!("{sign}{whole}.{fraction:08}")
}
