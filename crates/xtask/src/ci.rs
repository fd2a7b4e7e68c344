//! The steps of `cargo xtask ci`. The dependencies are compiled twice, once checked (clippy, doc) and once
//! built (tests, schemas): DataFusion is most of the time, and every further profile would be a third.
//! The release builds (digest, instructions) are of the engine alone, which does without it.

use std::time::Duration;

use crate::run::{self, Outcome, Program};
use crate::steps::{Finding, Steps};
use crate::{chaos, instructions, kafka, layering, long, setup};

/// Everything that has to hold.
pub(crate) fn all(long: bool) -> Outcome {
    let mut steps = Steps::new();
    steps.step("setup", || quiet(setup::for_tests()));
    steps.step("fmt", || quiet(run::cargo(["fmt", "--all", "--check"]).checked()));
    steps.step("layering", layering::check);
    steps.step("clippy", || {
        let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        quiet(run::cargo(clippy).checked())
    });
    steps.step("doc", || {
        let doc = run::cargo(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
        quiet(doc.env("RUSTDOCFLAGS", "-D warnings").checked())
    });
    steps.step("test", || quiet(test(false)));
    steps.step("chaos", || quiet(chaos::run(&chaos::Arguments::of_ci(long))));
    steps.step("digest", || quiet(digest()));
    steps.step("instructions", instructions::check);
    steps.step("schemas", || quiet(schemas(true)));
    steps.step("deny", deny);
    if long {
        steps.step("streams", || quiet(long::streams()));
        steps.step("fuzz", long::fuzz);
    }
    steps.finish(if long { "ci --long" } else { "ci" })
}

/// The test suite, and the long runs on demand. It is built before there is a broker, which would only take
/// memory from the linker.
pub(crate) fn test(long: bool) -> Outcome {
    let suite = || run::cargo(["test", "--workspace", "--locked"]).without_env("WEIR_BLESS");
    suite().args(["--no-run"]).checked()?;
    kafka::with_broker(|bootstrap| {
        suite().args(["--no-fail-fast"]).env(kafka::BOOTSTRAP, bootstrap).checked()
    })?;
    if long {
        long::streams()?;
        println!("{}", long::fuzz()?);
    }
    Ok(())
}

/// The decisions of a fixed stream, held in a release build to the digest that the test suite holds the debug
/// build to.
fn digest() -> Outcome {
    let tests = run::cargo(["test", "--release", "--locked", "--package", "weir-engine", "--test", "digest"]);
    tests.without_env("WEIR_BLESS").checked()
}

/// Compares `schemas/` with the code, or writes it. Every crate that has schemas has a test target of that
/// name, which compares, and with `WEIR_BLESS=1` writes. For the whole workspace, so that the features, and
/// with them what is built, are those of the test suite.
pub(crate) fn schemas(check: bool) -> Outcome {
    let tests = run::cargo(["test", "--quiet", "--workspace", "--locked", "--test", "schemas"]);
    if check { tests.without_env("WEIR_BLESS").checked() } else { tests.env("WEIR_BLESS", "1").checked() }
}

/// Licences, bans and sources always; advisories when their database can be fetched, and the table says
/// which.
fn deny() -> Finding {
    let path = setup::cargo_deny()?;
    let deny = || Program::new(&path.to_string_lossy()).args(["--log-level", "error", "--workspace"]);
    deny().args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]).checked()?;
    if let Err(why) = deny().args(["fetch", "db"]).within(Duration::from_secs(60)) {
        eprintln!("advisories: {why}");
        return Ok("licenses, bans, sources; advisories NOT checked, their database cannot be fetched".into());
    }
    deny().args(["check", "--disable-fetch", "advisories"]).checked()?;
    Ok("licenses, bans, sources, advisories".into())
}

fn quiet(outcome: Outcome) -> Finding {
    outcome.map(|()| String::new())
}
