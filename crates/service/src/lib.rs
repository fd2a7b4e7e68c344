//! The service: a log's records through the engine, and what was decided back into the log, exactly once.
//!
//! An [`Instance`] starts a shard for each partition that its log gives it. A shard is recovered
//! ([`recovery`]), then lives (`live`): one thread decides batch after batch with its [`keeper`], another commits
//! each in one transaction, a third writes snapshots (`checkpoints`, [`snapshots`]). What a batch was decided
//! under stands in the [`journal`]; mandates come from the [`registry`].

mod catch_up;
pub mod checkpoints;
mod clock;
mod error;
pub mod http;
mod instance;
pub mod journal;
pub mod keeper;
mod keys;
mod live;
pub mod metrics;
pub mod recording;
pub mod recovery;
pub mod registry;
mod settings;
pub mod snapshots;

pub use catch_up::Portion;
pub use clock::now_us;
pub use error::ServiceError;
pub use instance::{Instance, Told};
pub use live::State;
pub use settings::{Settings, Start};
