//! Recorded streams: reading them, recomputing the views over them with SQL, and writing rows.
//!
//! - [`records`] reads NDJSON and Parquet files in blocks.
//! - [`oracle`] runs the SQL definition of each view on DataFusion over the same transactions and
//!   mandates that the incremental engine saw; [`compare`] tells the two results apart.
//! - [`output`] writes rows of the views and other records as NDJSON and as Parquet.
//!
//! This crate knows nothing of the engine: what a view is comes in as [`weir_events::view::View`].

pub mod compare;
pub mod oracle;
pub mod output;
pub mod records;
