//! Telling the engine's rows of a view from the SQL's.

use std::cmp::Ordering;
use std::fmt;

use weir_events::view::{Column, Row, Value, View};

use crate::oracle::by_key;
use crate::output::value_text;

/// Differences that are told one by one; the rest is counted.
pub const DIFFERENCES_MAX: usize = 20;
/// How far two floats may lie apart, as a share of the greater.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// One difference between two results of a view.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// The engine has a row that the SQL does not give.
    EngineAlone {
        /// The view.
        view: &'static str,
        /// The row, with its column names.
        row: String,
    },
    /// The SQL gives a row that the engine does not have.
    SqlAlone {
        /// The view.
        view: &'static str,
        /// The row, with its column names.
        row: String,
    },
    /// Both have the row, with another value in a column.
    Value {
        /// The view.
        view: &'static str,
        /// The row's key, with its column names.
        key: String,
        /// The column.
        column: &'static str,
        /// What the engine has.
        engine: String,
        /// What the SQL gives.
        sql: String,
    },
    /// There are more differences than are told.
    More {
        /// The view.
        view: &'static str,
        /// How many more.
        count: usize,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EngineAlone { view, row } => write!(f, "{view}: the engine alone has {row}"),
            Self::SqlAlone { view, row } => write!(f, "{view}: the SQL alone gives {row}"),
            Self::Value { view, key, column, engine, sql } => {
                write!(f, "{view}: {key}: {column} is {engine} in the engine and {sql} by the SQL")
            }
            Self::More { view, count } => write!(f, "{view}: and {count} more differences"),
        }
    }
}

/// What differs between the engine's rows and the SQL's, in any order. Exact but for floats, which may
/// differ by 1e-9 of the greater. Empty when the two agree.
#[must_use]
pub fn compare(view: &View, engine: &[Row], sql: &[Row]) -> Vec<Difference> {
    let mut found = Found::default();
    let (engine, sql) = (sorted(view, engine), sorted(view, sql));
    let (mut engine, mut sql) = (engine.into_iter().peekable(), sql.into_iter().peekable());
    loop {
        let order = match (engine.peek(), sql.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => by_key(view, left, right),
        };
        let left = if order.is_le() { engine.next() } else { None };
        let right = if order.is_ge() { sql.next() } else { None };
        match (left, right) {
            (Some(left), Some(right)) => compare_values(view, left, right, &mut found),
            (Some(row), None) => {
                found
                    .add(|| Difference::EngineAlone { view: view.name, row: shown(view, row, 0..row.len()) });
            }
            (None, Some(row)) => {
                found.add(|| Difference::SqlAlone { view: view.name, row: shown(view, row, 0..row.len()) });
            }
            (None, None) => break,
        }
    }
    if found.untold > 0 {
        found.told.push(Difference::More { view: view.name, count: found.untold });
    }
    found.told
}

#[derive(Default)]
struct Found {
    told: Vec<Difference>,
    untold: usize,
}

impl Found {
    fn add(&mut self, difference: impl FnOnce() -> Difference) {
        if self.told.len() < DIFFERENCES_MAX {
            self.told.push(difference());
        } else {
            self.untold += 1;
        }
    }
}

fn sorted<'r>(view: &View, rows: &'r [Row]) -> Vec<&'r Row> {
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by(|left, right| by_key(view, left, right));
    sorted
}

fn compare_values(view: &View, engine: &Row, sql: &Row, found: &mut Found) {
    for (at, column) in view.columns.iter().enumerate() {
        let (left, right) = (engine.get(at), sql.get(at));
        if !same(left, right) {
            found.add(|| Difference::Value {
                view: view.name,
                key: shown(view, engine, view.sort.iter().copied()),
                column: column.name,
                engine: printed(column, left),
                sql: printed(column, right),
            });
        }
    }
}

fn same(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(Value::Float(left)), Some(Value::Float(right))) => {
            left == right || (left - right).abs() <= FLOAT_TOLERANCE * left.abs().max(right.abs())
        }
        _ => left == right,
    }
}

/// The values at some positions with their column names.
fn shown(view: &View, row: &Row, positions: impl Iterator<Item = usize>) -> String {
    let columns = positions.filter_map(|at| Some((view.columns.get(at)?, row.get(at)?)));
    let shown: Vec<_> =
        columns.map(|(column, value)| format!("{}={}", column.name, value_text(column, value))).collect();
    shown.join(" ")
}

fn printed(column: &Column, value: Option<&Value>) -> String {
    value.map_or("absent".to_owned(), |value| value_text(column, value))
}
