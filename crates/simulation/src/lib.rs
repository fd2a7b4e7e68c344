//! The service under everything that can go wrong, from a seed.
//!
//! A [`World`] has a log in memory that keeps a broker's promises and no more ([`log`]), a store of snapshots that
//! fails and rots ([`objects`]), and instances that take the steps of the service's threads one at a time
//! ([`instance`]): records arrive, batches are decided and committed, checkpoints are encoded in slices, partitions
//! move, instances die at any point or go on as zombies. All of it is drawn from one number, on one thread, so a
//! seed that fails fails again. When nothing goes wrong any more and everything has come to rest, `check` says
//! what must hold of the log, whatever happened.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "this crate serves tests alone, which fail by panicking"
)]

mod check;
pub mod instance;
pub mod log;
pub mod objects;
mod plain;
mod random;
mod retention;
mod stream;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use check::check;
pub use random::Random;
pub use retention::retention;
pub use world::{Counts, Plan, World};

use crate::log::Defect;

/// Runs a seed and checks what it left.
///
/// # Errors
/// What does not hold, and what had happened.
pub fn simulate(seed: u64, defect: Option<Defect>) -> Result<Counts, String> {
    let mut world = World::new(seed, defect);
    let result = catch_unwind(AssertUnwindSafe(|| world.run().and_then(|()| check(&mut world))));
    let why = match result {
        Ok(Ok(())) => return Ok(world.counts),
        Ok(Err(why)) => why,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
            format!("panic: {text}")
        }
    };
    let first = world.trace.len().saturating_sub(40);
    Err(format!("{why}\n{:?}\n  {}", world.plan, world.trace[first..].join("\n  ")))
}
