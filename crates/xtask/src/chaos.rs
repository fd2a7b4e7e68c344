//! `cargo xtask chaos`, `bench kafka` and `bench scale`: the harness on a broker of its own.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::kafka;
use crate::run::{self, Outcome, Program};

/// Kills in `ci`, for which every change waits, and in `ci --long`.
const KILLS: usize = 4;
const LONG_KILLS: usize = 50;
/// Transactions per second: as many as a build without optimisation keeps up with on a small machine.
const RATE: u64 = 500;
/// The same for a release: as many as the target for the latency names.
const RELEASE_RATE: u64 = 5_000;
/// Records of the benchmark's stream.
const STREAM: &str = "1500000";

/// What may be asked of the chaos.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How often an instance is killed
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// The seed of a run that is to be repeated
    #[arg(long)]
    seed: Option<u64>,
    /// Transactions per second
    #[arg(long)]
    rate: Option<u64>,
    /// Build for release, and send ten times as many records
    #[arg(long)]
    release: bool,
    /// Leave logs and topics there when it passes, too
    #[arg(long)]
    keep: bool,
}

impl Arguments {
    /// What `ci` asks for.
    pub(crate) fn of_ci(long: bool) -> Self {
        let kills = if long { LONG_KILLS } else { KILLS };
        Self { kills, seed: None, rate: None, release: false, keep: false }
    }
}

/// Builds weir and the harness, which are as the test suite builds them unless it is for release, and lets the
/// harness loose.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let built = build(arguments.release)?;
    let rate = arguments.rate.unwrap_or(if arguments.release { RELEASE_RATE } else { RATE });
    kafka::with_broker(|bootstrap| {
        let mut harness = harness(&built, "chaos", bootstrap);
        harness = harness.args(["--kills", &arguments.kills.to_string(), "--rate", &rate.to_string()]);
        if let Some(seed) = arguments.seed {
            harness = harness.args(["--seed", &seed.to_string()]);
        }
        if arguments.keep {
            harness = harness.args(["--keep"]);
        }
        // A broker that the environment names is not ours to stop.
        if kafka::given().is_none() {
            let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
            harness = harness.args(["--broker-command", &format!("'{}' kafka", own.display())]);
        }
        harness.checked()
    })
}

/// Measures `weir run` against the copy; arguments go to the harness.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    let built = build(true)?;
    let stream = stream(&built)?;
    kafka::with_broker(|bootstrap| measuring(&built, "bench", bootstrap, &stream).args(arguments).checked())
}

/// Measures how Weir's numbers grow, without a broker and then with one. With `--small` nothing has ten million of
/// anything; other arguments go to the harness.
pub(crate) fn scale(arguments: &[String]) -> Outcome {
    let built = build(true)?;
    let (small, others): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--small");
    let stream = stream(&built)?;
    let file = run::target().join("kafka").join("points.json");
    run::cargo(["build", "--release", "--package", "weir-scale", "--locked"]).checked()?;
    let points = Program::new(&built.join("weir-scale").to_string_lossy()).args(small).args([&file]);
    points.checked()?;
    kafka::with_broker(|bootstrap| {
        let harness = measuring(&built, "scale", bootstrap, &stream);
        harness.args([Path::new("--points"), &file]).args(&others).checked()
    })
}

/// The folder of a generated stream, which stays for the next time.
fn stream(built: &Path) -> Result<PathBuf, String> {
    let stream = run::target().join("kafka").join("stream");
    if !stream.join("transactions.ndjson").is_file() {
        let generate = ["generate", "--quiet", "--seed", "7", "--transactions", STREAM, "--out"];
        let weir = built.join("weir");
        Program::new(&weir.to_string_lossy()).args(generate).args([&stream]).checked()?;
    }
    Ok(stream)
}

/// A command of the harness that measures Weir on this stream.
fn measuring(built: &Path, command: &str, bootstrap: &str, stream: &Path) -> Program {
    let file = |name: &str| stream.join(name);
    let harness = harness(built, command, bootstrap);
    let harness = harness.args([Path::new("--transactions"), &file("transactions.ndjson")]);
    harness.args([Path::new("--mandates"), &file("mandates.ndjson")])
}

/// Builds both programs and tells where they are. Without `release` as the test suite does, which builds the programs
/// for its own tests: anything less would have other features of the dependencies, and compile them again.
fn build(release: bool) -> Result<PathBuf, String> {
    if release {
        let programs = ["--package", "weir", "--package", "weir-harness", "--locked"];
        run::cargo(["build", "--release"]).args(programs).checked()?;
    } else {
        run::cargo(["test", "--workspace", "--locked", "--no-run", "--quiet"]).checked()?;
    }
    Ok(run::target().join(if release { "release" } else { "debug" }))
}

fn harness(built: &Path, command: &str, bootstrap: &str) -> Program {
    let weir = built.join("weir");
    let harness = Program::new(&built.join("weir-harness").to_string_lossy());
    harness.args([command, "--brokers", bootstrap, "--weir", &weir.to_string_lossy()])
}
