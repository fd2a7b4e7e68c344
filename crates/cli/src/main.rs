//! The command `weir`.

mod args;
mod check;
mod config;
mod demo;
mod evaluate;
mod failure;
mod folder;
mod generate;
mod replay;
mod screen;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let screen = screen::Screen::new(args.quiet);
    let done = match &args.command {
        Command::Demo(demo) => match demo::run(demo, &screen) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Run(run) => serve::run(run),
        Command::Replay(replay) => match &replay.recording {
            Some(recording) => serve::replay(recording, &replay.out, &screen),
            None => replay::run(replay, &screen),
        },
        Command::Generate(generate) => generate::run(generate, &screen),
        Command::Evaluate(evaluate) => evaluate::run(evaluate, &screen),
        Command::Check(check) => check::run(check, &screen),
        Command::Topics(args::TopicsCommand::Create { config, partitions, replication }) => {
            configured(config, Vec::new())
                .and_then(|config| serve::create(&config, *partitions, *replication, &screen))
        }
        Command::Record(record) => serve::record(record, &screen),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "weir", &mut script);
            screen.print(String::from_utf8_lossy(&script).trim_end())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen.error(&failure);
            failure.exit_code()
        }
    }
}

/// The configuration that the flags of a command name, or why there is none.
fn configured(args: &args::ConfigArgs, more: Vec<config::Override>) -> Result<config::Config, Failure> {
    let set = args.set.iter().map(|assignment| config::Override::set(assignment));
    let overrides: Vec<config::Override> = set.chain(more).collect();
    let loaded = config::load(args.config.as_deref(), &config::environment(), &overrides);
    loaded.map_err(Failure::Configuration)
}

/// A seed for the hash tables from the operating system's randomness.
pub(crate) fn hash_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
