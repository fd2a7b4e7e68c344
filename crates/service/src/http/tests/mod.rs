//! The server over real connections, before a service that is made up.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod bounds;
mod client;
mod decisions;
mod fake;
mod input;
mod routes;
