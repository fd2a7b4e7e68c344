//! `cargo xtask`: the workspace's own commands. `cargo xtask help` lists them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a development tool that talks to the person in front of it"
)]

mod chaos;
mod ci;
mod instructions;
mod kafka;
mod layering;
mod long;
mod peers;
mod run;
mod setup;
mod steps;
mod tryout;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of this workspace. The two that a newcomer needs: `test` and, before a change is handed in,
/// `ci`.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build weir and run `weir demo`: the service on this machine with a live stream; arguments after `--` go to it
    Demo {
        /// For instance `--rate 200`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Build weir, generate a stream, decide it, and show decisions, profiles and views
    Try,
    /// Look for compilers and Java, fetch the sources and the broker's jars, install what `ci` needs
    /// (cargo-deny) under target/tools
    Setup,
    /// Set up, then run the whole test suite
    Test {
        /// Also the long run: a thousand random streams per property and each fuzz target for a minute
        #[arg(long)]
        long: bool,
    },
    /// Everything that has to hold before a change is merged
    Ci {
        /// Also a thousand random streams per property and each fuzz target for a minute
        #[arg(long)]
        long: bool,
    },
    /// The Kafka broker of the tests; with KAFKA_BOOTSTRAP set, that broker is used and none is started
    Kafka {
        #[command(subcommand)]
        action: kafka::Action,
    },
    /// Prove that events, detectors and engine have no runtime, no clock, no randomness and no I/O
    Layering,
    /// Write schemas/ from the code
    Schemas {
        /// Compare only, and fail on a difference
        #[arg(long)]
        check: bool,
    },
    /// On a real broker: kill instances of weir at random moments under load, then account for every record
    Chaos(chaos::Arguments),
    /// Build weir for release and run the benchmarks; arguments after `--` go to them
    Bench {
        /// Which: those of the engine and of `weir replay` where none is named
        #[arg(conflicts_with_all = ["check", "bless"])]
        suite: Option<Suite>,
        /// Count the hot path's instructions per record, and fail where they are not as they were
        #[arg(long, conflicts_with = "bless")]
        check: bool,
        /// Count them, and write them down as they are
        #[arg(long)]
        bless: bool,
        /// For instance `--quick`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

/// Benchmarks that are run by name.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Suite {
    /// `weir run` on a broker, against a copy that decides nothing
    Kafka,
    /// Weir beside Kafka Streams, Flink, DataFusion and DuckDB; with `-- --transactions 200000 --rounds 1` as a trial
    Peers,
    /// How Weir's numbers grow: with agents, mandates, partitions and more; with `-- --small` as a trial
    Scale,
}

/// The benchmarks, of which one runs the command as its users build it.
fn bench(arguments: &[String]) -> run::Outcome {
    run::cargo(["build", "--release", "--package", "weir", "--locked"]).checked()?;
    let weir = run::target().join("release").join("weir");
    let benches = run::cargo(["bench", "--package", "weir-benches", "--locked"]);
    let benches = benches.args(["--bench", "hot_path", "--bench", "whole_replay", "--"]);
    benches.env("WEIR", &weir.to_string_lossy()).args(arguments).checked()
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo { arguments } => tryout::demo(&arguments),
        Command::Try => tryout::run(),
        Command::Setup => setup::everything(),
        Command::Test { long } => setup::for_tests().and_then(|()| ci::test(long)),
        Command::Ci { long } => ci::all(long),
        Command::Kafka { action } => kafka::run(&action),
        Command::Layering => layering::check().map(|report| println!("{report}")),
        Command::Schemas { check } => ci::schemas(check),
        Command::Chaos(arguments) => chaos::run(&arguments),
        Command::Bench { check: true, .. } => instructions::check().map(|report| println!("{report}")),
        Command::Bench { bless: true, .. } => instructions::bless(),
        Command::Bench { suite: None, arguments, .. } => bench(&arguments),
        Command::Bench { suite: Some(Suite::Kafka), arguments, .. } => chaos::bench(&arguments),
        Command::Bench { suite: Some(Suite::Peers), arguments, .. } => peers::bench(&arguments),
        Command::Bench { suite: Some(Suite::Scale), arguments, .. } => chaos::scale(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
