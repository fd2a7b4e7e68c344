//! What has to be on the machine before anything is built.

use std::path::PathBuf;

use crate::run::{self, Outcome, Program};

/// The release of cargo-deny that `ci` uses.
const CARGO_DENY: &str = "0.20.2";

/// Installs everything that `ci` needs.
pub(crate) fn everything() -> Outcome {
    for_tests()?;
    cargo_deny().map(|_| ())
}

/// What the test suite needs: a C compiler and the sources of the dependencies. Rust itself comes through
/// `rust-toolchain.toml`.
pub(crate) fn for_tests() -> Outcome {
    c_compiler()?;
    run::cargo(["fetch", "--locked"]).checked()
}

/// zstd is C and is compiled from source.
fn c_compiler() -> Outcome {
    let chosen = std::env::var("CC").ok();
    let candidates: Vec<&str> = chosen.as_deref().map_or(vec!["cc", "gcc", "clang"], |cc| vec![cc]);
    if candidates.iter().any(|name| Program::new(name).args(["--version"]).output().is_ok()) {
        return Ok(());
    }
    Err(format!(
        "no C compiler (looked for {}). On Debian or Ubuntu: sudo apt-get install -y gcc libc6-dev",
        candidates.join(", ")
    ))
}

/// The path of cargo-deny in the pinned release: the user's own if it is that one, else one that is built
/// once into target/tools. Debug profile: it starts no slower and compiles in half the time.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    let ours = run::tools().join("bin").join("cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), ours.clone()] {
        let version = Program::new(&candidate.to_string_lossy()).args(["--version"]).output();
        if version.is_ok_and(|text| text.trim().ends_with(CARGO_DENY)) {
            return Ok(candidate);
        }
    }
    run::cargo(["install", "--locked", "--quiet", "--debug", "--force", "--root"])
        .args([run::tools()])
        .args([format!("cargo-deny@{CARGO_DENY}")])
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .checked()?;
    Ok(ours)
}
