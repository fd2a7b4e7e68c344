//! The command explains itself.

use crate::support::{Folder, Ran, run, weir};

#[test]
fn help_teaches_by_examples_that_work() {
    let help = run(["--help"]).ended(0).out;
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    let after = help.split("Try it:\n").nth(1).unwrap().replace("\\\n", "");
    let examples: Vec<&str> = after.lines().take_while(|line| line.starts_with("  weir ")).collect();
    assert_eq!(examples.len(), 3, "{help}");
    let folder = Folder::new();
    for example in examples {
        let words = example.trim().trim_start_matches("weir ").replace("100000", "2000");
        let mut command = weir();
        command.args(words.split_whitespace()).current_dir(folder.path(""));
        let ran: Ran = command.output().unwrap().into();
        assert!(!ran.ended(0).out.is_empty(), "{example}");
    }
}

#[test]
fn every_command_has_help_and_the_version_is_told() {
    for command in
        ["run", "demo", "replay", "generate", "evaluate", "check", "topics", "record", "completions"]
    {
        let help = run([command, "--help"]).ended(0);
        assert!(help.out.contains(&format!("Usage: weir {command}")), "{}", help.out);
    }
    assert!(run(["replay", "--help"]).out.contains("--max-lateness <SPAN>"));
    assert_eq!(run(["--version"]).ended(0).out.trim(), format!("weir {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_was_meant() {
    for (args, told) in [
        (&["replay", "--transaction", "x"][..], "'--transactions"),
        (&["repaly"][..], "'replay'"),
        (&["replay", "--bogus"][..], "unexpected argument '--bogus'"),
        (&["replay"][..], "--transactions <FILE>"),
        (&["replay", "--transactions", "x", "--out", "y", "--threads", "0"][..], "1..=1024"),
        (&["replay", "--transactions", "x", "--out", ""][..], "a value is required"),
        (&["replay", "--transactions", "x", "--out", "y", "--format", "csv"][..], "ndjson, parquet"),
        (&["generate", "--out", "y", "--difficulty", "mild"][..], "easy, medium, hard"),
        (&["generate", "--out", "y", "--fraud-share", "2"][..], "between 0 and 0.5"),
        (&["generate", "--out", "y", "--only", "nonsense"][..], "neither an attack nor a habit"),
        (&["generate", "--out", "y", "--transactions", "0"][..], "between 1 and"),
        (&["completions", "tcsh"][..], "possible values"),
    ] {
        run(args).ended(2).told(&[told]);
    }
    run(&[] as &[&str]).ended(2).told(&["Usage: weir"]);
}

#[test]
fn completions_know_the_flags() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(["completions", shell]).ended(0).out;
        assert!(script.contains("max-lateness") && script.contains("generate"), "{shell}: {script}");
    }
}
