//! What is printed where: tables, warnings, colors, and a standard output that does not take them.

use std::fs::File;
use std::process::Stdio;

use crate::support::{Folder, Ran, reference_mandates, reference_transactions, run, summary, weir};

fn replay_args(out: &str) -> Vec<String> {
    let (transactions, mandates) = (reference_transactions(), reference_mandates());
    let args = ["replay", "--transactions", &transactions, "--mandates", &mandates, "--out", out];
    args.map(str::to_owned).into()
}

#[test]
fn a_replay_ends_with_a_table_and_quiet_with_nothing() {
    let folder = Folder::new();
    let ran = run(replay_args(&folder.text("out"))).ended(0);
    for part in
        ["28 transactions: 28 decisions", "block", "replay.over_cap", "collusion", "records per second"]
    {
        assert!(ran.out.contains(part), "no '{part}' in {}", ran.out);
    }
    assert_eq!(ran.err, "", "no progress where there is no terminal");
    assert!(!ran.out.contains('\u{1b}'), "no colors where there is no terminal");

    let quiet = replay_args(&folder.text("out")).into_iter().chain(["--quiet".to_owned()]);
    let ran = run(quiet).ended(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
}

#[test]
fn quiet_still_prints_errors_and_what_was_asked_for() {
    let folder = Folder::new();
    let out = folder.text("out");
    let ran = run(["--quiet", "replay", "--transactions", "nowhere", "--out", &out]).ended(1);
    ran.told(&["error: nowhere: there is no such file"]);
    assert!(run(["completions", "zsh", "--quiet"]).ended(0).out.contains("weir"));
}

#[test]
fn no_color_is_respected() {
    let ran: Ran = weir().args(["check", "--set", "lgo=1"]).env("NO_COLOR", "1").output().unwrap().into();
    let ran = ran.ended(2).told(&["did you mean `log`?"]);
    assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
}

/// A standard output that is full is an error; the output of a replay is whole all the same.
#[test]
fn a_full_standard_output_is_told() {
    let folder = Folder::new();
    let out = folder.text("out");
    let commands = [
        replay_args(&out),
        vec!["check".to_owned(), "--offline".to_owned()],
        ["completions", "bash"].map(str::to_owned).into(),
        ["generate", "--transactions", "10", "--out", &folder.text("g")].map(str::to_owned).into(),
    ];
    for args in commands {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran: Ran = weir().args(&args).stdout(full).output().unwrap().into();
        ran.ended(1).told(&["cannot write to the standard output"]);
    }
    assert_eq!(summary(&out)["transactions"]["decisions"], 28);
}

/// A reader that has seen enough is no error.
#[test]
fn a_closed_pipe_is_no_error() {
    let folder = Folder::new();
    for args in [replay_args(&folder.text("out")), vec!["completions".to_owned(), "bash".to_owned()]] {
        let mut command = weir();
        let mut child = command.args(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.ended(0).err, "");
    }
}
