//! The corpus of hostile records through the command: each is accounted for, none stops the stream.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::{Folder, assert_accounted, assert_same, fixture, records, replay};

/// Codes that the order of arrival gives to records that are sound by themselves.
const OF_ARRIVAL: [&str; 2] = ["too_old", "duplicate_conflict"];

/// Codes by line of an input.
fn codes(rejects: &[Value], file: &str) -> BTreeMap<u64, String> {
    let of_file = rejects.iter().filter(|reject| reject["origin"]["file"] == file);
    of_file
        .map(|reject| {
            (reject["origin"]["line"].as_u64().unwrap(), reject["code"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// Every record has the code that stands beside it, and counts.
#[track_caller]
fn judged(rejects: &[Value], name: &str) -> u64 {
    let path = fixture(&format!("hostile/{name}.ndjson"));
    let text = fs::read_to_string(&path).unwrap();
    let expected = records(fixture(&format!("hostile/{name}.expected.ndjson")));
    let found = codes(rejects, &path);
    let mut read = 0;
    for ((line, expected), number) in text.split('\n').zip(&expected).zip(1..) {
        if line.trim_matches([' ', '\t', '\r']).is_empty() {
            assert!(!found.contains_key(&number), "line {number} is blank");
            continue;
        }
        read += 1;
        match (expected["code"].as_str(), found.get(&number).map(String::as_str)) {
            (None, Some(code)) => assert!(OF_ARRIVAL.contains(&code), "{name} {number}: {line}: {code}"),
            (expected, found) => assert_eq!(found, expected, "{name} {number}: {line}"),
        }
    }
    read
}

#[test]
fn every_record_of_the_corpus_is_accounted_for() {
    let folder = Folder::new();
    let out = folder.text("out");
    let (transactions, mandates) =
        (fixture("hostile/transactions.ndjson"), fixture("hostile/mandates.ndjson"));
    // The times of the corpus are all over the calendar, so late and too old ones are expected.
    let ran = replay(&transactions, Some(&mandates), &out, &["--verify"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.err);
    assert!(ran.code == Some(0) || ran.err.contains("too old"), "{}", ran.err);

    let rejects = records(format!("{out}/rejects.ndjson"));
    let (read, mandates_read) = (judged(&rejects, "transactions"), judged(&rejects, "mandates"));
    let summary = assert_accounted(&out, read, mandates_read);
    assert_eq!(summary["verified"], true);
    for (name, bytes) in crate::support::outputs(&out) {
        assert!(!String::from_utf8(bytes).unwrap().contains("4111111111111111"), "{name}");
    }

    let seven = folder.text("seven");
    replay(&transactions, Some(&mandates), &seven, &["--verify", "--threads", "7"]);
    assert_same(&out, &seven);
}

#[test]
fn a_corpus_of_nothing_but_garbage_is_read_to_its_end() {
    let mut garbage = b"{\"tx_id\":\"first\"}\n".to_vec();
    let mut state = 0x9E37_79B9_u32;
    for _ in 0..200_000 {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        garbage.push(state.to_le_bytes()[0]);
    }
    let blank = |line: &[u8]| line.iter().all(|byte| b" \t\r".contains(byte));
    let lines = garbage.split(|&byte| byte == b'\n').filter(|line| !blank(line)).count() as u64;
    let folder = Folder::new();
    let (path, out) = (folder.file("garbage", &garbage), folder.text("out"));
    replay(&path, None, &out, &["--verify"]).ended(0);
    let summary = assert_accounted(&out, lines, 0);
    assert_eq!(summary["transactions"]["rejects"], lines);
}
