//! `cargo xtask try`: the main job in one command, shown on the screen.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::run::{self, Outcome, Program};
use crate::setup;

const TRANSACTIONS: &str = "100000";
/// Rows shown of each output.
const SHOWN: usize = 3;

/// Builds `weir` as the tests do, so that nothing is compiled twice, generates a labelled stream, decides
/// it, shows what came out, and measures it.
pub(crate) fn run() -> Outcome {
    build()?;
    let target = run::target();
    let folder = target.join("try");
    let (stream, decided) = (folder.join("stream"), folder.join("decided"));
    let path = |folder: &Path, name: &str| folder.join(name).display().to_string();
    let weir = || Program::new(&target.join("debug").join("weir").display().to_string());
    let (stream_shown, decided_shown) = (stream.display().to_string(), decided.display().to_string());
    weir()
        .args(["generate", "--out", &stream_shown, "--transactions", TRANSACTIONS, "--seed", "7"])
        .checked()?;
    let (transactions, mandates) = (path(&stream, "transactions.ndjson"), path(&stream, "mandates.ndjson"));
    weir()
        .args(["replay", "--transactions", &transactions, "--mandates", &mandates])
        .args(["--out", &decided_shown, "--verify"])
        .checked()?;
    show("The first blocked decisions", &decided.join("decisions.ndjson"), "\"action\":\"block\"")?;
    show("The first alerts", &decided.join("alerts.ndjson"), "")?;
    show(
        "Risk profiles at the highest level",
        &decided.join("risk-scores.ndjson"),
        "\"risk_level\":\"highest\"",
    )?;
    for view in ["burst", "replay", "collusion", "risk"] {
        show(&format!("View {view}"), &decided.join("views").join(format!("{view}.ndjson")), "")?;
    }
    println!("\n== Against the labels");
    let (decisions, labels) = (path(&decided, "decisions.ndjson"), path(&stream, "labels.ndjson"));
    weir().args(["evaluate", "--decisions", &decisions, "--labels", &labels]).checked()?;
    println!("\nEverything is in {stream_shown} and {decided_shown}.");
    Ok(())
}

/// Builds `weir` in the same way and runs `weir demo` with these arguments.
pub(crate) fn demo(arguments: &[String]) -> Outcome {
    build()?;
    let weir = run::target().join("debug").join("weir");
    Program::new(&weir.display().to_string()).args(["demo"]).args(arguments).checked()
}

fn build() -> Outcome {
    setup::for_build()?;
    run::cargo(["build", "--workspace", "--locked"]).checked()
}

/// Prints the first lines of a file that contain `wanted`.
fn show(title: &str, path: &Path, wanted: &str) -> Outcome {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("\n== {title} ({})", path.file_name().unwrap_or_default().to_string_lossy());
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines.filter(|line| line.contains(wanted)).take(SHOWN).for_each(|line| println!("{line}"));
    Ok(())
}
