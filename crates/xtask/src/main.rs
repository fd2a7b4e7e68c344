//! `cargo xtask`: the workspace's own commands. `cargo xtask help` lists them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a development tool that talks to the person in front of it"
)]

mod ci;
mod layering;
mod long;
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
    /// Build weir, generate a stream, decide it, and show decisions, profiles and views
    Try,
    /// Look for the compilers, fetch the sources, install what `ci` needs (cargo-deny) under target/tools
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
    /// Prove that events, detectors and engine have no runtime, no clock, no randomness and no I/O
    Layering,
    /// Write schemas/ from the code
    Schemas {
        /// Compare only, and fail on a difference
        #[arg(long)]
        check: bool,
    },
    /// Build weir for release and run the benchmarks; arguments after `--` go to them
    Bench {
        /// For instance `--quick`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

/// The benchmarks, of which one runs the command as its users build it.
fn bench(arguments: &[String]) -> run::Outcome {
    run::cargo(["build", "--release", "--package", "weir", "--locked"]).checked()?;
    let weir = run::target().join("release").join("weir");
    let benches = run::cargo(["bench", "--package", "weir-benches", "--locked", "--"]);
    benches.env("WEIR", &weir.to_string_lossy()).args(arguments).checked()
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Try => tryout::run(),
        Command::Setup => setup::everything(),
        Command::Test { long } => setup::for_tests().and_then(|()| ci::test(long)),
        Command::Ci { long } => ci::all(long),
        Command::Layering => layering::check().map(|report| println!("{report}")),
        Command::Schemas { check } => ci::schemas(check),
        Command::Bench { arguments } => bench(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
