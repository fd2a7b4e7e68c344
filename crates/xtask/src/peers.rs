//! `cargo xtask bench peers`: builds Weir, the harness and the peers, and lets the harness measure them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Outcome, Program};
use crate::{kafka, setup};

/// Programs of this workspace that are measured or measure.
const PROGRAMS: [&str; 3] = ["weir", "weir-harness", "weir-peer-datafusion"];

/// Measures Weir beside its peers; arguments go to the harness.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    setup::for_peers()?;
    let programs = programs()?;
    let source = run::root().join("benches").join("peers");
    let java = setup::java().ok_or("no Java 17 or newer")?;
    build_java(&source)?;
    let python = python(&source.join("duckdb").join("requirements.txt"))?;
    kafka::with_broker(|bootstrap| {
        let [weir, harness, datafusion] = PROGRAMS.map(|name| programs.join(name));
        let paths = [
            ("--weir", weir),
            ("--datafusion", datafusion),
            ("--java", java),
            ("--python", python),
            ("--peers", source),
            ("--streams", folder().join("streams")),
        ];
        let mut harness = Program::new(&harness.to_string_lossy()).args(["peers", "--brokers", bootstrap]);
        for (name, path) in paths {
            harness = harness.args([Path::new(name), &path]);
        }
        // Of a broker that the environment names, the release is not known.
        if kafka::given().is_none() {
            harness = harness.args(["--broker-version", kafka::VERSION]);
        }
        harness.args(arguments).checked()
    })
}

/// Where everything lies that is made for this.
fn folder() -> PathBuf {
    run::target().join("peers")
}

/// Builds the programs and gives the folder of copies: a run takes long, and what is measured must stay the same when
/// something is built meanwhile.
fn programs() -> Result<PathBuf, String> {
    let packages = PROGRAMS.iter().flat_map(|name| ["--package", name]);
    run::cargo(["build", "--release", "--locked"]).args(packages).checked()?;
    let (from, to) = (run::target().join("release"), folder().join("bin"));
    fs::create_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
    for name in PROGRAMS {
        let copied = fs::copy(from.join(name), to.join(name));
        copied.map_err(|error| format!("{name} cannot be copied to {}: {error}", to.display()))?;
    }
    Ok(to)
}

/// Builds the Java peers and tests them; without the network where Maven has everything.
fn build_java(source: &Path) -> Outcome {
    let pom = source.join("pom.xml").display().to_string();
    let package = ["--batch-mode", "--quiet", "--file", &pom, "package"];
    if Program::new("mvn").args(["--offline"]).args(package).output().is_ok() {
        return Ok(());
    }
    setup::told(Command::new("mvn").args(package))
}

/// A Python of its own with the pinned DuckDB; made anew where it has another.
fn python(requirements: &Path) -> Result<PathBuf, String> {
    let wanted =
        fs::read_to_string(requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let venv = folder().join("venv");
    let python = venv.join("bin").join("python");
    let shown = python.to_string_lossy().into_owned();
    let installed = "import duckdb; print('duckdb==' + duckdb.__version__)";
    if Program::new(&shown).args(["-c", installed]).output().is_ok_and(|has| has.trim() == wanted.trim()) {
        return Ok(python);
    }
    setup::told(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    setup::told(Command::new(&python).args(install).arg(requirements))?;
    Ok(python)
}
