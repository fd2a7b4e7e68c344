//! Keys as paths: `detectors.burst.min_count` is `["detectors", "burst", "min_count"]`.

use std::str::FromStr;

use toml::{Table, Value};

/// The prefix of every environment variable that is a configuration key.
pub(super) const PREFIX: &str = "WEIR_";

/// The variable that stands for a key.
pub(super) fn variable_name(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").to_uppercase())
}

/// The parts of a dotted key.
pub(super) fn dotted(key: &str) -> Option<Vec<String>> {
    let mut table = Table::from_str(&format!("{key} = 0")).ok()?;
    let mut path = Vec::new();
    loop {
        let (key, value) = table.into_iter().next()?;
        path.push(key);
        match value {
            Value::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

pub(super) fn dotted_text(path: &[String]) -> String {
    path.join(".")
}

/// The path of every value of a table; an open map is one value.
pub(super) fn leaves(table: &Table) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                found.extend(leaves(inner).into_iter().map(|below| [vec![key.clone()], below].concat()));
            }
            _ => found.push(vec![key.clone()]),
        }
    }
    found.sort();
    found
}

pub(super) fn value_at<'t>(table: &'t Table, path: &[String]) -> Option<&'t Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(first)?, |value, key| value.as_table()?.get(key))
}

/// Sets or removes the value at a path whose tables exist.
pub(super) fn set(table: &mut Table, path: &[String], value: Option<Value>) {
    match (path, value) {
        ([], _) => {}
        ([key], Some(value)) => {
            table.insert(key.clone(), value);
        }
        ([key], None) => {
            table.remove(key);
        }
        ([key, rest @ ..], value) => {
            if let Some(Value::Table(inner)) = table.get_mut(key) {
                set(inner, rest, value);
            }
        }
    }
}
