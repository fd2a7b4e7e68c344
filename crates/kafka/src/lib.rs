//! Kafka as the log of Weir: consume, exactly-once commit, assignment, topics.
//!
//! One consumer joins the group and serves rebalances only; every partition's records come through a queue of
//! their own, from the offset that recovery names. Every partition has a transactional producer of its own, whose
//! id is the group and the partition: opening it ends whatever an earlier owner had not committed, so the end of
//! the journal is final before anybody reads it.

mod commit;
mod config;
mod context;
mod error;
mod follow;
mod group;
mod log;
mod native;
mod partition;
mod produce;
mod query;
pub mod topics;
mod watch;

pub use config::{KafkaConfig, Topics};
pub use log::KafkaLog;
