//! The command as its users meet it: the real binary, files in, files, messages and exit codes out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod configuration;
mod folders;
mod forms;
mod help;
mod hostile;
mod inputs;
mod interrupted;
mod lateness;
mod long_lines;
mod masking;
mod reference;
mod screen;
mod streams;
mod support;
