//! The command line. This also has the test suite build the program, which `cargo xtask chaos` then runs.

use std::process::Command;

#[test]
fn every_subcommand_explains_itself() {
    for subcommand in ["feed", "chaos", "copy", "bench", "peers"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_weir-harness")).args([subcommand, "--help"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("--brokers"), "{subcommand}: {text}");
    }
}
