//! The schemas in `schemas/` are the generated ones, and what Weir writes has the shape they state.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use weir_events::alert::{AlertState, Recommended};
use weir_events::codec::parse_transaction;
use weir_events::decision::{DecidedBy, Fact, MandateStanding, Signal, Verdict};
use weir_events::profile::{ActionCounts, Current, Measures};
use weir_events::schema::{self, AlertRecord, DecisionRecord, RejectRecord, RiskProfileRecord};
use weir_events::score::RiskLevel;
use weir_events::{
    Action, Alert, Amount, Currency, Decision, Fault, MandateStatus, Origin, Reject, Risk, RiskProfile,
    Timestamp,
};

/// With `WEIR_BLESS=1` the files are written anew instead.
#[test]
fn the_files_are_the_generated_ones() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
    for (name, text) in schema::all() {
        let path = format!("{folder}/{name}");
        if std::env::var_os("WEIR_BLESS").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{name} is out of date: run WEIR_BLESS=1 cargo test -p weir-events --test schemas"
        );
    }
}

#[test]
fn the_schemas_are_of_draft_2020_12() {
    for (name, text) in schema::all() {
        let schema: Value = serde_json::from_str(&text).unwrap();
        let draft = schema.get("$schema").and_then(Value::as_str);
        assert_eq!(draft, Some("https://json-schema.org/draft/2020-12/schema"), "{name}");
    }
}

/// The mirror takes every field that was written, and writes the same again.
#[track_caller]
fn check<M: Serialize + DeserializeOwned>(written: &impl Serialize) {
    check_value::<M>(&serde_json::to_value(written).unwrap());
}

#[track_caller]
fn check_value<M: Serialize + DeserializeOwned>(written: &Value) {
    let mirror: M = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(mirror).unwrap(), *written);
}

/// The words of a signal's evidence, one of each kind.
fn verdict() -> Verdict {
    let mut verdict = Verdict {
        action: Action::Block,
        composite: Risk::points(Amount(5_050_000_000)),
        ..Verdict::default()
    };
    let episode = verdict.store("tx_0");
    let reason = verdict.store("Card 4111 1111 1111 1111 was used.");
    let text = verdict.store("4111111111111111");
    verdict.facts = vec![
        ("measure", Fact::Count(7)),
        ("amount", Fact::Decimal(Amount(1_250_000_000))),
        ("deviation", Fact::Figure(0.25)),
        ("since", Fact::Time(Timestamp::MIN_INPUT)),
        ("known", Fact::Flag(true)),
        ("merchant", Fact::Text(text)),
        ("period", Fact::Name("day")),
        ("baseline", Fact::Absent),
    ];
    verdict.signals.push(Signal {
        detector: "scope",
        tier: "strict",
        floor: Action::Block,
        points: Risk::points(Amount(5_000_000_000)),
        measure: Amount::units(1),
        rank: 0,
        episode,
        evidence: 0..8,
        also: 0b10,
        tiers: &["strict", "category"],
        reason,
    });
    verdict.decided_by = DecidedBy::Floor(0);
    verdict.mandate = Some(MandateStanding {
        status: MandateStatus::Paused,
        max_amount: Some(Amount(20_000_000_000)),
        spent_before: Amount(25_641_000_000),
    });
    verdict
}

#[test]
fn decisions_have_the_shape_of_their_schema() {
    let full = br#"{"tx_id":"tx_1","agent_id":"a","user_id":"u","mandate_id":"m","merchant":"x 4111111111111111",
        "merchant_category":"5812","amount":"12.50","currency":"EUR","country":"FR","tx_time":"2026-05-05T14:01:00Z",
        "payment_id":"p"}"#;
    let bare = br#"{"tx_id":"tx_1","agent_id":"a","user_id":"u","merchant":"x","amount":1,
        "tx_time":"2026-05-05T14:01:00Z"}"#;
    for (record, verdict) in [(&full[..], verdict()), (&bare[..], Verdict::default())] {
        let transaction = parse_transaction(record, Currency::USD).unwrap();
        let decision = Decision { transaction: &transaction, verdict: &verdict, config_digest: "abc" };
        let mut written = Vec::new();
        decision.write(&mut written);
        check_value::<DecisionRecord>(&serde_json::from_slice(&written).unwrap());
        let written = String::from_utf8(written).unwrap();
        assert!(!written.contains("4111"), "{written}");
    }
}

#[test]
fn the_other_records_have_the_shape_of_their_schema() {
    check::<AlertRecord>(&Alert {
        detector: "burst",
        tier: "rate",
        state: AlertState::Escalated,
        agent_id: "a".to_owned(),
        user_id: "u".to_owned(),
        mandate_id: None,
        first_tx: "tx_1".to_owned(),
        last_tx: "tx_2".to_owned(),
        transactions: 2,
        amount: Amount(1),
        recommended: Recommended::PauseMandate,
    });
    let measures = Measures { composite_risk: Risk::points(Amount(3_064_100_000)), ..Measures::default() };
    check::<RiskProfileRecord>(&RiskProfile {
        agent_id: "a".into(),
        user_id: "u".into(),
        lifetime: measures.clone(),
        current: Current {
            as_of: Timestamp::MAX_INPUT,
            measures: Measures { risk_level: RiskLevel::Highest, ..measures },
        },
        actions_24h: ActionCounts::default(),
        open_episodes: vec!["burst:tx_1".to_owned()],
        first_seen: Timestamp::MIN_INPUT,
        payments_seen: 2,
    });
    let origins = [
        Origin::File { file: "f".to_owned(), line: 1 },
        Origin::Kafka { topic: "weir.transactions".to_owned(), partition: 3, offset: 7 },
        Origin::Http,
    ];
    for origin in origins {
        check::<RejectRecord>(&Reject::new(Fault::empty_record(), origin, b""));
    }
}
