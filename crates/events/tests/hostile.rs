//! The corpus of hostile records: each gets the code that stands beside it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use serde::Deserialize;
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::{Currency, Fault, Origin, Reject, RejectCode};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    code: Option<RejectCode>,
    field: Option<String>,
}

fn check(name: &str, parse: impl Fn(&[u8]) -> Option<Fault>) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/hostile");
    let records = std::fs::read_to_string(format!("{folder}/{name}.ndjson")).unwrap();
    let expected = std::fs::read_to_string(format!("{folder}/{name}.expected.ndjson")).unwrap();
    assert_eq!(records.lines().count(), expected.lines().count());
    let mut wrong = Vec::new();
    for (at, (record, expected)) in records.lines().zip(expected.lines()).enumerate() {
        let expected: Expected = serde_json::from_str(expected).unwrap();
        let fault = parse(record.as_bytes());
        let found = Expected {
            code: fault.as_ref().map(|fault| fault.code),
            field: fault.as_ref().and_then(|fault| fault.field.clone()),
        };
        if found != expected {
            wrong.push(format!("line {}: {record}\n  expected {expected:?}\n  found    {fault:?}", at + 1));
        }
        let Some(fault) = fault else { continue };
        assert!(!fault.message.is_empty() && fault.message.len() < 400, "{}", fault.message);
        let reject = Reject::new(fault, Origin::Http, record.as_bytes());
        let printed = serde_json::to_string(&reject).unwrap();
        assert!(!printed.contains("4111111111111111"), "{printed}");
    }
    assert!(wrong.is_empty(), "{} of {name}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn transactions() {
    check("transactions", |record| parse_transaction(record, Currency::USD).err());
}

#[test]
fn mandates() {
    check("mandates", |record| parse_mandate(record, Currency::USD).err());
}
