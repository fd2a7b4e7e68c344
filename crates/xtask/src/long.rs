//! The runs that take too long for every change.

use std::path::Path;

use crate::kafka;
use crate::run::{self, Outcome, Program};
use crate::steps::Finding;

/// Random streams per property in the long run; the tests themselves choose a few dozen.
const LONG_STREAMS: &str = "1000";

/// Seeds of the simulation, and kills of the embedded log, in the long run.
const LONG_SEEDS: &str = "10000";
const LONG_KILLS: &str = "50";

/// How long each fuzz target runs, in seconds.
const FUZZ_SECONDS: u32 = 60;

/// The test suite with a thousand random streams per property, ten thousand seeds of the simulation and fifty kills.
pub(crate) fn streams() -> Outcome {
    kafka::with_broker(|bootstrap| {
        let suite = run::cargo(["test", "--workspace", "--locked"]).env("WEIR_STREAMS", LONG_STREAMS);
        let suite = suite.env("WEIR_SEEDS", LONG_SEEDS).env("WEIR_KILLS", LONG_KILLS);
        suite.env(kafka::BOOTSTRAP, bootstrap).checked()
    })
}

/// Every fuzz target for a minute. cargo-fuzz needs a nightly compiler; without either this fails and says
/// what to install, because a step that was skipped reads like one that passed.
pub(crate) fn fuzz() -> Finding {
    if !Path::new(run::root()).join("fuzz").join("Cargo.toml").is_file() {
        return Err("there is no fuzz/Cargo.toml, so there is nothing to fuzz".into());
    }
    let listed = nightly().args(["fuzz", "list"]).output().map_err(|why| {
        format!(
            "{why}\nfuzzing needs both of: rustup toolchain install nightly --profile minimal; \
             cargo +nightly install cargo-fuzz --locked"
        )
    })?;
    let targets: Vec<&str> = listed.split_whitespace().collect();
    if targets.is_empty() {
        return Err("`cargo fuzz list` names no target".into());
    }
    for target in &targets {
        let limit = format!("-max_total_time={FUZZ_SECONDS}");
        nightly().args(["fuzz", "run", target, "--", &limit]).checked()?;
    }
    Ok(format!("{FUZZ_SECONDS} s each: {}", targets.join(", ")))
}

/// `cargo +nightly`, through rustup: inside `cargo xtask` the plain name is the pinned toolchain's.
fn nightly() -> Program {
    Program::new("rustup")
        .without_env("RUSTUP_TOOLCHAIN")
        .without_env("CARGO")
        .args(["run", "nightly", "cargo"])
}
