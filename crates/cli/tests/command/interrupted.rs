//! Replays that do not come to their end.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Folder, Ran, assert_nothing, assert_same, outputs, replay, weir};

const PATIENCE: Duration = Duration::from_secs(60);

/// A replay that was given a part of its stream, has written decisions, and waits for the rest.
fn begun(transactions: &str, mandates: &str, out: &str) -> Child {
    let mut command = weir();
    command.args(["replay", "--quiet", "--transactions", "-", "--mandates", mandates, "--out", out]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let text = fs::read(transactions).unwrap();
    child.stdin.as_mut().unwrap().write_all(&text[..text.len() * 3 / 4]).unwrap();
    let decisions = Path::new(out).join(".weir-replay-partial/decisions.ndjson");
    let start = Instant::now();
    while fs::metadata(&decisions).map_or(0, |file| file.len()) == 0 {
        assert!(start.elapsed() < PATIENCE, "nothing was decided");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn end(mut child: Child, signal: &str) -> ExitStatus {
    // `wait` would close it, and the replay could come to its end before it notices the signal.
    let input = child.stdin.take();
    let killed = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
    assert!(killed.unwrap().success());
    let status = child.wait().unwrap();
    drop(input);
    assert!(!status.success());
    status
}

/// What is in the folder could not be taken for a replay's output.
#[track_caller]
fn assert_no_whole_replay(out: &str) {
    for entry in fs::read_dir(out).unwrap() {
        assert_eq!(entry.unwrap().file_name(), ".weir-replay-partial");
    }
}

#[test]
fn a_killed_replay_leaves_nothing_that_looks_whole_and_the_next_one_works() {
    let folder = Folder::new();
    let stream = folder.generate(8_000, &["--seed", "2"]);
    let (clean, out) = (folder.text("clean"), folder.text("out"));
    replay(&stream.transactions, Some(&stream.mandates), &clean, &[]).ended(0);
    // Not `INT`, which whoever runs the tests in the background has them ignore.
    for signal in ["KILL", "TERM"] {
        // Into an empty folder, then over the output of an earlier replay.
        for _ in 0..2 {
            end(begun(&stream.transactions, &stream.mandates, &out), signal);
            assert_no_whole_replay(&out);
            replay(&stream.transactions, Some(&stream.mandates), &out, &[]).ended(0);
            assert_same(&clean, &out);
        }
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn an_input_that_ends_badly_leaves_nothing() {
    let folder = Folder::new();
    let stream = folder.generate(3_000, &["--seed", "2"]);
    let packed = zstd::encode_all(fs::read(&stream.transactions).unwrap().as_slice(), 1).unwrap();
    let cut = folder.file("cut.zst", &packed[..packed.len() - 10]);
    let out = folder.text("out");
    replay(&cut, Some(&stream.mandates), &out, &[]).ended(1).told(&["ends too early", &cut]);
    assert_nothing(&out);
}

/// Runs `weir` where no file may grow beyond `blocks` of 512 bytes; stands in for a full disk.
fn run_with_small_files(blocks: u32, args: &[&str]) -> Ran {
    let weir = weir();
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(weir.get_program()).args(args);
    for (name, value) in weir.get_envs() {
        assert!(value.is_none());
        shell.env_remove(name);
    }
    shell.stdin(Stdio::null()).output().unwrap().into()
}

#[test]
fn a_full_disk_fails_and_leaves_nothing() {
    let folder = Folder::new();
    let stream = folder.generate(6_000, &["--seed", "2"]);
    for format in ["ndjson", "parquet"] {
        // Fails once while decisions are written, and once only at the end.
        for blocks in [2_048, 64] {
            let out = folder.text("out");
            let inputs = ["--transactions", &stream.transactions, "--mandates", &stream.mandates];
            let how = ["--out", &out, "--format", format];
            let args = [&["replay", "--quiet"], &inputs[..], &how[..]].concat();
            if format == "parquet" && blocks == 2_048 {
                continue;
            }
            run_with_small_files(blocks, &args).ended(1).told(&["cannot", &out]);
            assert_nothing(&out);
        }
    }
}

#[test]
fn a_generated_stream_on_a_full_disk_fails() {
    let folder = Folder::new();
    let out = folder.text("out");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink("/dev/full", format!("{out}/transactions.ndjson")).unwrap();
    let ran = crate::support::run(["generate", "--out", &out, "--transactions", "5000"]);
    ran.ended(1).told(&["cannot write into", &out, "No space left"]);
}

#[test]
fn a_failed_replay_of_a_used_folder_leaves_no_earlier_output() {
    let folder = Folder::new();
    let stream = folder.generate(2_000, &["--seed", "2"]);
    let out = folder.text("out");
    replay(&stream.transactions, Some(&stream.mandates), &out, &[]).ended(0);
    assert!(!outputs(&out).is_empty());
    let packed = zstd::encode_all(fs::read(&stream.transactions).unwrap().as_slice(), 1).unwrap();
    let cut = folder.file("cut.zst", &packed[..packed.len() - 10]);
    replay(&cut, Some(&stream.mandates), &out, &[]).ended(1);
    assert_nothing(&out);
}
