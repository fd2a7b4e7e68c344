//! One shard of Weir, pure and synchronous.
//!
//! A parsed transaction passes [`Intake`] (watermark, lateness, repeats), then [`Shard::decide`]
//! (state, detectors, score, decision), which live service, replay, simulation and benchmarks all
//! call. No clock, no randomness, no I/O: state is a function of what was handed in.

mod ahead;
mod checkpoint;
pub mod config;
mod entities;
mod episodes;
mod intake;
mod judge;
mod keyed;
mod mandates;
mod names;
mod packed;
mod profiles;
mod repeats;
mod rows;
mod schedule;
mod shard;
mod snapshot;
mod table;
mod tracked;
mod views;
mod watermark;

pub use ahead::{AHEAD_MAX, Ahead};
pub use checkpoint::Slice;
pub use config::Config;
pub use intake::{Admission, Intake, Stamp};
pub use mandates::MandateChange;
pub use rows::{TABLES, schemas};
pub use schedule::Schedule;
pub use shard::{BoundReached, Changed, Shard};
pub use snapshot::{Both, RestoreError, STATE_VERSION, Tables};
pub use table::ROWS_PER_BATCH;
pub use views::{TransactionViews, rows_sorted};
pub use watermark::{LEAP_US_MAX, SET_ASIDE_MAX, Watermark};
