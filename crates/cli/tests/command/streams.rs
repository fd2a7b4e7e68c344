//! Generated streams from end to end: generate, replay and verify, evaluate.

use std::fs;

use serde_json::Value;

use crate::support::{Folder, assert_accounted, assert_same, records, replay, run};

const TRANSACTIONS: u32 = 20_000;

/// A stream of each difficulty, with late and repeated records, decided, verified and judged.
fn check(difficulty: &str) {
    let folder = Folder::new();
    let options =
        ["--seed", "7", "--difficulty", difficulty, "--late-share", "0.004", "--repeat-share", "0.02"];
    let stream = folder.generate(TRANSACTIONS, &options);
    let other = Folder::new();
    let again = other.generate(TRANSACTIONS, &options);
    for (one, same) in [
        (&stream.transactions, &again.transactions),
        (&stream.mandates, &again.mandates),
        (&stream.labels, &again.labels),
    ] {
        assert!(fs::read(one).unwrap() == fs::read(same).unwrap(), "the same seed gave other bytes in {one}");
    }

    let out = folder.text("out");
    replay(&stream.transactions, Some(&stream.mandates), &out, &["--verify", "--threads", "2"]).ended(0);
    let lines = |path: &str| fs::read(path).unwrap().iter().filter(|&&byte| byte == b'\n').count() as u64;
    let summary = assert_accounted(&out, lines(&stream.transactions), lines(&stream.mandates));
    assert_eq!(summary["verified"], true);
    assert_eq!(summary["transactions"]["decisions"], TRANSACTIONS);
    assert_eq!(summary["transactions"]["rejects"], 0);
    for (what, count) in [("late", &summary["late"]), ("repeats", &summary["transactions"]["duplicates"])] {
        assert!(count.as_u64().unwrap() > 0, "no {what}");
    }

    let decisions = format!("{out}/decisions.ndjson");
    let evaluate = ["evaluate", "--decisions", &decisions, "--labels", &stream.labels];
    let report: Value =
        serde_json::from_str(&run([&evaluate[..], &["--json"]].concat()).ended(0).out).unwrap();
    assert!(report.is_object());
    let table = run(evaluate).ended(0).out;
    let attacks =
        records(&stream.labels).into_iter().filter_map(|label| label["attack"].as_str().map(str::to_owned));
    let mut attacks: Vec<String> = attacks.collect();
    attacks.sort();
    attacks.dedup();
    assert!(attacks.len() > 5, "{attacks:?}");
    for attack in attacks {
        assert!(table.contains(&attack), "no {attack} in {table}");
    }
}

#[test]
fn easy() {
    check("easy");
}

#[test]
fn medium() {
    check("medium");
}

#[test]
fn hard() {
    check("hard");
}

/// Repeats are dropped and change nothing.
#[test]
fn a_stream_sent_twice_gives_the_same_decisions() {
    let folder = Folder::new();
    let stream =
        folder.generate(2_000, &["--seed", "4", "--days", "1", "--repeat-share", "0", "--late-share", "0"]);
    let text = fs::read_to_string(&stream.transactions).unwrap();
    let twice: String = text.lines().flat_map(|line| [line, "\n", line, "\n"]).collect();
    let twice = folder.file("twice.ndjson", twice);
    let (once_out, twice_out) = (folder.text("once"), folder.text("twice"));
    replay(&stream.transactions, Some(&stream.mandates), &once_out, &[]).ended(0);
    replay(&twice, Some(&stream.mandates), &twice_out, &["--verify"]).ended(0);
    let summary = assert_accounted(&twice_out, 4_000, records(&stream.mandates).len() as u64);
    assert_eq!(summary["transactions"]["duplicates"], 2_000);
    crate::support::assert_same_but(&once_out, &twice_out, &["/summary.json"]);
}

#[test]
fn evaluate_names_what_it_cannot_use() {
    let folder = Folder::new();
    let (empty, noise) = (folder.file("empty", ""), folder.file("noise", "noise\n"));
    let label =
        folder.file("labels", "{\"tx_id\":\"t\",\"attack\":null,\"episode\":null,\"habit\":\"shopper\"}\n");
    for (decisions, labels, told) in [
        ("nowhere", label.as_str(), "nowhere"),
        (&label, "nowhere", "nowhere"),
        (&*folder.text(""), &label, "Is a directory"),
        (&label, &empty, "the labels are empty"),
        (&noise, &label, "line 1 of the decisions"),
        (&label, &noise, "line 1 of the labels"),
    ] {
        let ran = run(["evaluate", "--decisions", decisions, "--labels", labels]).ended(1);
        let ran = ran.told(&[told]);
        assert_eq!(ran.err.matches("Is a directory").count() as u32, u32::from(told == "Is a directory"));
    }
}

#[test]
fn only_some_attacks_and_habits() {
    let folder = Folder::new();
    let stream = folder.generate(1_000, &["--only", "shopper,pantry_restock"]);
    let out = folder.text("out");
    replay(&stream.transactions, Some(&stream.mandates), &out, &["--verify"]).ended(0);
    assert!(records(&stream.labels).iter().all(|label| label["attack"].is_null()));
    let seven = folder.text("seven");
    replay(&stream.transactions, Some(&stream.mandates), &seven, &["--verify", "--threads", "7"]).ended(0);
    assert_same(&out, &seven);
}
