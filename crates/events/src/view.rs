//! Rows of the views: what a detector's incremental state and its SQL must agree on.

use crate::{Amount, Risk, Timestamp};

/// The type of a view's column, which says how it is printed and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A 64-bit integer.
    Int,
    /// An exact decimal; printed as a string without trailing zeros.
    Decimal,
    /// Points; printed like a decimal, with up to 16 decimals.
    Risk,
    /// A time; printed as in [`Timestamp`].
    Time,
    /// A float; compared to 1e-9 relative.
    Float,
}

/// A column of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The JSON key.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
}

/// A view: its name, its columns in order, and the SQL that defines it.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// File and table name.
    pub name: &'static str,
    /// Columns in the order they are printed.
    pub columns: &'static [Column],
    /// Positions of the columns that rows are sorted by, in order.
    pub sort: &'static [usize],
    /// The SQL, over the tables `transactions` and `mandates` and the views named before it.
    pub sql: &'static str,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Value {
    /// Absent.
    Null,
    /// For [`Kind::Text`].
    Text(String),
    /// For [`Kind::Int`].
    Int(i64),
    /// For [`Kind::Decimal`].
    Decimal(Amount),
    /// For [`Kind::Risk`].
    Risk(Risk),
    /// For [`Kind::Time`].
    Time(Timestamp),
    /// For [`Kind::Float`].
    Float(f64),
}

/// A row of a view: one value per column.
pub type Row = Vec<Value>;
