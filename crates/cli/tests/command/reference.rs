//! The reference data set: every view byte for byte, each verified by its SQL.

use std::fs;

use crate::support::{
    Folder, assert_accounted, fixture, records, reference_mandates, reference_transactions, replay, run,
};

const VIEWS: [&str; 9] = [
    "burst",
    "cadence",
    "collusion",
    "cross_merchant",
    "geo_stationarity",
    "replay",
    "replay_window",
    "risk",
    "scope",
];

/// Replays the set with more arguments; `replaced` is expected from another folder.
fn check(more: &[&str], replaced: &[(&str, &str)]) {
    let folder = Folder::new();
    let out = folder.text("out");
    let more = [&["--verify"], more].concat();
    replay(&reference_transactions(), Some(&reference_mandates()), &out, &more).ended(0);
    for view in VIEWS {
        let from = replaced.iter().find(|(name, _)| *name == view).map_or("views", |(_, from)| from);
        let expected = fs::read_to_string(fixture(&format!("reference/expected/{from}/{view}.ndjson")));
        let found = fs::read_to_string(format!("{out}/views/{view}.ndjson")).unwrap();
        assert_eq!(found, expected.unwrap(), "{view}");
    }
    let summary = assert_accounted(&out, 28, 7);
    assert_eq!(summary["verified"], true);
    assert_eq!(summary["views"].as_object().unwrap().len(), VIEWS.len());
    assert_eq!(summary["transactions"]["decisions"], 28);
}

#[test]
fn with_the_defaults() {
    check(&[], &[]);
}

#[test]
fn with_two_merchants_of_one_category() {
    check(&["--config", &fixture("reference/weir.toml")], &[("scope", "mapped")]);
}

#[test]
fn on_seven_threads() {
    check(&["--threads", "7"], &[]);
}

/// Rows of keys that reached a bound are left out of the comparison, and both the summary and the last line
/// say how many.
#[test]
fn rows_that_a_bound_cut_short_are_told_apart() {
    let folder = Folder::new();
    let out = folder.text("out");
    let (transactions, mandates) = (reference_transactions(), reference_mandates());
    let inputs = ["replay", "--transactions", &transactions, "--mandates", &mandates, "--out", &out];
    let more = ["--verify", "--set", "bounds.agent_payments_max=2"];
    let ran = run([&inputs[..], &more].concat()).ended(0);
    let summary = assert_accounted(&out, 28, 7);
    assert_eq!(summary["verified"], true);
    let left_out = summary["rows_not_verified"].as_u64().unwrap();
    assert!(left_out > 0, "{summary}");
    assert!(summary["bounds_reached"]["agent_payments_max"].as_u64().unwrap() > 0, "{summary}");
    assert!((ran.out + &ran.err).contains(&format!("but for {left_out} rows")));
    let whole = folder.text("whole");
    replay(&transactions, Some(&mandates), &whole, &["--verify"]).ended(0);
    assert_eq!(assert_accounted(&whole, 28, 7)["rows_not_verified"], 0);
}

/// The set itself: what its text promises of ids, agents and times.
#[test]
fn the_files_are_as_described() {
    let transactions = records(reference_transactions());
    let text = |record: &serde_json::Value, key: &str| record[key].as_str().unwrap().to_owned();
    let mut ids: Vec<String> = transactions.iter().map(|tx| text(tx, "tx_id")).collect();
    ids.sort();
    assert_eq!(ids, (1..=28).map(|number| format!("tx_{number:03}")).collect::<Vec<_>>());
    let found = |id: &str| transactions.iter().find(|tx| tx["tx_id"] == id).unwrap();
    for (id, merchant, amount, time) in [
        ("tx_017", "airbnb.com", "320.00", "2026-05-04T12:30:00Z"),
        ("tx_018", "casino-online.com", "800.00", "2026-05-04T13:00:00Z"),
    ] {
        let tx = found(id);
        let fields = ["agent_id", "merchant", "amount", "tx_time"].map(|key| text(tx, key));
        assert_eq!(fields, ["agt_gamma", merchant, amount, time]);
    }
    assert_eq!(records(reference_mandates()).len(), 7);
}
