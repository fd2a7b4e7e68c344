//! The history crate from the outside: files in, views by SQL, rows out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod brute;
mod oracle;
mod output;
mod records;
mod traps;
mod views;
