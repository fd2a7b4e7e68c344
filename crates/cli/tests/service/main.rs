//! The service as its users meet it: the real binary, records over HTTP, kills at any moment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod embedded;
mod support;
