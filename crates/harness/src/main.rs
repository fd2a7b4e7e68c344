//! Proofs and measurements of Weir on a real broker.
//!
//! `chaos` kills instances of `weir run` at random moments under load and then accounts for every record; `bench`
//! measures `weir run` against `copy`, which does the same consuming and producing without deciding anything; `peers`
//! measures Weir beside what a user would take instead.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test tool: a fault of its own may end it, and it talks to the person in front of it"
)]

mod bench;
mod chaos;
mod chart;
mod copy;
mod feed;
mod kafka;
mod peers;
mod process;
mod random;
mod scale;
mod site;
mod stream;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Proofs and measurements of Weir on a real broker.
#[derive(Debug, Parser)]
#[command(name = "weir-harness")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a generated stream
    Feed(feed::Args),
    /// Kill instances under load, then account for every record
    Chaos(chaos::Args),
    /// Copy a topic exactly once: what Weir is measured against
    Copy(copy::Args),
    /// Measure `weir run` against the copy
    Bench(bench::Args),
    /// Measure Weir beside Kafka Streams, Flink, DataFusion and DuckDB
    Peers(Box<peers::Args>),
    /// Measure how Weir's rate grows with partitions and instances, and draw that and other curves
    Scale(scale::Args),
    /// Draw the charts of raw results of `peers` or `scale` anew
    Draw(chart::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Feed(args) => feed::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Copy(args) => copy::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Draw(args) => chart::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-harness: {error:#}");
            ExitCode::FAILURE
        }
    }
}
