//! The records that enter and leave Weir, the JSON codec that reads and writes them, and money.
//!
//! A payment enters as [`Transaction`], next to the [`Mandate`] it is made under. What leaves is a
//! [`Decision`], an [`Alert`] per episode, a [`RiskProfile`] per agent, and a [`Reject`] for every
//! record that could not be used. This crate does no I/O, reads no clock and holds no state.

pub mod alert;
pub mod codec;
mod decimal;
pub mod decision;
mod encode;
mod escapes;
pub mod location;
pub mod mandate;
pub mod mask;
pub mod money;
pub mod plain;
pub mod points;
pub mod printed;
pub mod profile;
pub mod reject;
pub mod schema;
pub mod score;
pub mod span;
pub mod time;
pub mod transaction;
pub mod view;

pub use alert::Alert;
pub use decision::{Action, Decision, Verdict};
pub use location::{Location, LocationSource};
pub use mandate::{CapPeriod, Mandate, MandateRecord, MandateStatus};
pub use money::{Amount, Currency, Rates};
pub use plain::Plain;
pub use points::Risk;
pub use printed::Printed;
pub use profile::RiskProfile;
pub use reject::{Fault, Origin, Reject, RejectCode};
pub use span::Span;
pub use time::Timestamp;
pub use transaction::Transaction;
