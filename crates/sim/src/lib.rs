//! Labelled streams of agent payments, and how well decisions did on them.
//!
//! [`generate()`] writes transactions, mandates and labels: honest habits and attacks that overlap in
//! rate and amount as they do in life. [`evaluate()`] reads decisions and labels, from here or from
//! elsewhere, and says what was caught, how soon, and what it cost honest agents. The page
//! `docs/streams.md` tells what is modelled on what and what is invented.

mod agent;
mod attacks;
mod catalog;
pub mod evaluate;
pub mod generate;
mod habits;
mod record;
mod rng;
mod world;

pub use catalog::{ATTACKS, AttackKind, Group, attack_named, habits};
pub use evaluate::{EvaluateError, Report, evaluate};
pub use generate::{Difficulty, Options, OptionsError, Summary, generate};
