//! The service as its users meet it: the real binary, records over HTTP, kills at any moment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod embedded;
mod support;

#[test]
fn a_signal_ends_a_start_that_waits_for_the_brokers() {
    use std::io::BufRead;

    let mut run = support::weir();
    // Nobody listens there.
    run.args(["run", "--log-format", "json", "--brokers", "127.0.0.1:1", "--listen", "127.0.0.1:0"]);
    let mut child = run.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("cannot be reached yet")));
    support::terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
