//! `weir demo` as a newcomer meets it: it plays, it accounts for everything, and it leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// `weir demo` without a terminal, with its temporary folder in `folder`.
fn demo(folder: &Path, args: &[&str]) -> Command {
    let mut command = weir();
    command.arg("demo").args(args).env("TMPDIR", folder);
    command
}

fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn succeeded(output: Output) -> String {
    let err = String::from_utf8(output.stderr).unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert_eq!(err, "");
    out
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The number before a word of the line of accounts.
#[track_caller]
fn accounted(out: &str, word: &str) -> u64 {
    let line = out.lines().find(|line| line.contains(" sent = ")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let at = words.iter().position(|found| *found == word).unwrap();
    words.get(at - 1).unwrap().parse().unwrap()
}

#[test]
fn it_plays_to_the_end_accounts_for_everything_and_removes_its_folder() {
    let folder = TempDir::new().unwrap();
    let args = ["--transactions", "1500", "--rate", "5000", "--seed", "9"];
    let out = succeeded(demo(folder.path(), &args).output().unwrap());
    let of = |word| accounted(&out, word);
    assert_eq!(of("decisions"), 1_500);
    assert_eq!(of("rejects"), 0);
    assert_eq!(of("sent"), of("decisions") + of("duplicates") + of("rejects"));
    for told in [
        "1500 decisions, 1500 labels",
        "Attacks caught: 2 of 2 evasive.",
        " challenge ",
        " normal ",
        "`weir run`",
    ] {
        assert!(out.contains(told), "no '{told}' in: {out}");
    }
    assert!(!out.contains('\x1b'), "{out}");
    assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn it_decides_as_a_replay_of_the_same_stream_does() {
    let folder = TempDir::new().unwrap();
    let args = ["--transactions", "3000", "--rate", "100000", "--seed", "11", "--quiet", "--keep"];
    let set = ["--set", "decision.floors.\"burst.machine\"=block"];
    let out = succeeded(demo(folder.path(), &args).args(set).output().unwrap());
    let kept = entries(folder.path());
    let [kept] = kept.as_slice() else { panic!("{kept:?}") };
    assert!(out.starts_with(&format!("kept in {}\n", kept.display())), "{out}");
    let file = |name: &str| kept.join(name).display().to_string();
    let (transactions, mandates, again) =
        (file("transactions.ndjson"), file("mandates.ndjson"), file("again"));
    let replay = ["replay", "--transactions", &transactions, "--mandates", &mandates, "--out", &again];
    succeeded(weir().args(replay).args(set).arg("--quiet").output().unwrap());
    let decisions = fs::read(file("decisions.ndjson")).unwrap();
    assert!(decisions == fs::read(file("again/decisions.ndjson")).unwrap(), "the decisions differ");
    // An alert is raised when an episode opens.
    let alerts = fs::read_to_string(file("again/alerts.ndjson")).unwrap();
    let opened = alerts.lines().filter(|alert| alert.contains("\"state\":\"opened\"")).count();
    assert!(out.contains(&format!("; alerts: {opened}\n")), "{opened}: {out}");
}

#[test]
fn a_signal_ends_it_with_the_code_of_the_signal_and_nothing_is_left() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = TempDir::new().unwrap();
        let mut demo = demo(folder.path(), &[]);
        let mut child = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // It is under way: the state of the first second.
        while !line.contains(" sent, ") {
            line.clear();
            if out.read_line(&mut line).unwrap() == 0 {
                panic!("it has ended by itself: {:?}", child.wait_with_output());
            }
        }
        assert_eq!(entries(folder.path()).len(), 1);
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
        assert!(sent.unwrap().success());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        out.read_to_string(&mut line).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(code), ""));
        assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn wrong_usage_leaves_nothing_either() {
    let folder = TempDir::new().unwrap();
    for args in
        [&["--set", "no.such=1"][..], &["--transactions", "0"], &["--rate", "0"], &["--keep", "--set", "x=1"]]
    {
        let output = demo(folder.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
}
