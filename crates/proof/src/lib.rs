//! Proof by random streams.
//!
//! [`Stream::nasty`] makes a small recorded stream from a seed: ties, edges to the microsecond,
//! amounts exactly at a limit, late records, wrong clocks, repeats, conflicts, broken records,
//! mandates that come and go. [`Weir`] takes one through the codec, the intake and the shards, one
//! record at a time. The tests say what must hold of any such stream.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "this crate serves tests alone, which fail by panicking"
)]

mod configuration;
mod draft;
mod harness;
mod mandates;
mod random;
mod stream;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use draft::World;
pub use harness::{End, Step, Told, Weir, run, serialized};
pub use random::Random;
pub use stream::Stream;

/// Checks `holds` on `streams` seeds, or on as many as `WEIR_STREAMS` says, or on the one that
/// `WEIR_SEED` names. `test` is the file of the test, for the command that repeats a failure.
pub fn check(test: &str, streams: u64, holds: impl Fn(u64) -> Result<(), String>) {
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
    };
    let seeds = match number("WEIR_SEED") {
        Some(seed) => seed..=seed,
        None => 0..=number("WEIR_STREAMS").unwrap_or(streams).saturating_sub(1),
    };
    for seed in seeds {
        let why = match catch_unwind(AssertUnwindSafe(|| holds(seed))) {
            Ok(Ok(())) => continue,
            Ok(Err(why)) => why,
            Err(_) => "it panicked, as told above".to_owned(),
        };
        panic!(
            "the stream of seed {seed} fails: {why}\nto repeat it:\n  WEIR_SEED={seed} cargo test -p weir-proof --test {test}"
        );
    }
}

/// Fails with what differs unless `left` and `right` are equal.
///
/// # Errors
/// When they differ.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, left: &T, right: &T) -> Result<(), String> {
    if left == right { Ok(()) } else { Err(format!("{what} differ:\n  {left:?}\n  {right:?}")) }
}
