//! The command `weir`.

mod args;
mod check;
mod config;
mod evaluate;
mod failure;
mod folder;
mod generate;
mod replay;
mod screen;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let screen = screen::Screen::new(args.quiet);
    let done = match &args.command {
        Command::Replay(replay) => replay::run(replay, &screen),
        Command::Generate(generate) => generate::run(generate, &screen),
        Command::Evaluate(evaluate) => evaluate::run(evaluate, &screen),
        Command::Check(check) => check::run(check, &screen),
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
