//! The written decision: its bytes, and every field of it read back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use weir_events::decision::{DecidedBy, Fact, MandateStanding, Signal, Verdict};
use weir_events::mask::mask;
use weir_events::score::RiskLevel;
use weir_events::{Action, Amount, Currency, Decision, MandateStatus, Risk, Timestamp, Transaction};

fn write(transaction: &Transaction<'_>, verdict: &Verdict, config_digest: &str) -> String {
    let mut out = Vec::new();
    Decision { transaction, verdict, config_digest }.write(&mut out);
    String::from_utf8(out).unwrap()
}

fn plain_transaction() -> Transaction<'static> {
    Transaction {
        tx_id: "tx_1".into(),
        agent_id: "agt_1".into(),
        user_id: "usr_1".into(),
        mandate_id: None,
        merchant: "amazon.com".into(),
        merchant_category: None,
        amount: Amount(1_250_000_000),
        currency: Currency::USD,
        country: None,
        location: None,
        location_source: None,
        tx_time: Timestamp::MIN_INPUT,
        record_time: None,
        payment_id: None,
        fingerprint: 0,
    }
}

#[test]
fn a_record_with_nothing_to_say() {
    assert_eq!(
        write(&plain_transaction(), &Verdict::default(), "abc"),
        r#"{"schema_version":1,"tx_id":"tx_1","payment_id":null,"agent_id":"agt_1","user_id":"usr_1","mandate_id":null,"merchant":"amazon.com","merchant_category":null,"amount":"12.5","currency":"USD","country":null,"tx_time":"2000-01-01T00:00:00.000000Z","action":"allow","flagged":false,"risk_score":0,"risk_level":"normal","composite_risk":"0","decided_by":"none","signals":[],"reasons":[],"mandate":null,"late":false,"config_digest":"abc"}"#
    );
}

#[test]
fn a_record_with_everything() {
    let transaction = Transaction {
        mandate_id: Some("mdt \"1\"".into()),
        merchant: "shop\n4111 1111 1111 1111".into(),
        merchant_category: Some("food\\delivery".into()),
        country: Some(*b"FR"),
        payment_id: Some("pay_4111111111111111".into()),
        ..plain_transaction()
    };
    let mut verdict = Verdict {
        action: Action::Block,
        composite: Risk(306_410_000_000_000_000),
        risk_score: 100,
        risk_level: RiskLevel::Highest,
        decided_by: DecidedBy::Floor(0),
        late: true,
        mandate: Some(MandateStanding {
            status: MandateStatus::Active,
            max_amount: Some(Amount::units(200)),
            spent_before: Amount(25_641_000_000),
        }),
        ..Verdict::default()
    };
    let (episode, reason) = (verdict.store("tx\t0"), verdict.store("Card 4111111111111111."));
    let text = verdict.store("a \"card\": 4111111111111111");
    verdict.facts = vec![
        ("count", Fact::Count(i64::MIN)),
        ("decimal", Fact::Decimal(Amount(-1))),
        ("figure", Fact::Figure(0.25)),
        ("time", Fact::Time(Timestamp::MAX_INPUT)),
        ("flag", Fact::Flag(true)),
        ("text", Fact::Text(text)),
        ("name", Fact::Name("day")),
        ("absent", Fact::Absent),
    ];
    verdict.signals.push(Signal {
        detector: "scope",
        tier: "category",
        floor: Action::Block,
        points: Risk::points(Amount::units(50)),
        measure: Amount::units(1),
        rank: 0,
        episode: episode.clone(),
        evidence: 0..8,
        also: 0b101,
        tiers: &["merchant", "category", "amount"],
        reason: reason.clone(),
    });
    verdict.signals.push(Signal {
        detector: "burst",
        tier: "rate",
        evidence: 8..8,
        also: 0b1,
        tiers: &["rate_bounded", "rate"],
        ..verdict.signals[0].clone()
    });
    assert_eq!(
        write(&transaction, &verdict, "abc"),
        concat!(
            r#"{"schema_version":1,"tx_id":"tx_1","payment_id":"pay_************1111","agent_id":"agt_1","user_id":"usr_1","mandate_id":"mdt \"1\"","merchant":"shop\n**** **** **** 1111","merchant_category":"food\\delivery","amount":"12.5","currency":"USD","country":"FR","tx_time":"2000-01-01T00:00:00.000000Z","action":"block","flagged":true,"risk_score":100,"risk_level":"highest","composite_risk":"30.641","decided_by":"floor:scope.category","signals":["#,
            r#"{"detector":"scope","tier":"category","points":"50","episode_id":"scope:tx\t0","evidence":{"count":-9223372036854775808,"decimal":"-0.00000001","figure":"0.250000","time":"2099-12-31T23:59:59.999999Z","flag":true,"text":"a \"card\": ************1111","name":"day","absent":null,"also":["merchant","amount"]}},"#,
            r#"{"detector":"burst","tier":"rate","points":"50","episode_id":"burst:tx\t0","evidence":{"also":["rate_bounded"]}}],"#,
            r#""reasons":[{"code":"scope.category","text":"Card ************1111."},{"code":"burst.rate","text":"Card ************1111."}],"#,
            r#""mandate":{"status":"active","max_amount":"200","spent_before":"256.41","remaining":"0"},"late":true,"config_digest":"abc"}"#,
        )
    );
}

#[test]
fn names_are_those_that_serde_reads_and_writes() {
    for status in [MandateStatus::Active, MandateStatus::Paused, MandateStatus::Revoked] {
        assert_eq!(json!(status), json!(status.name()));
    }
    for level in [RiskLevel::Normal, RiskLevel::Elevated, RiskLevel::Highest] {
        assert_eq!(json!(level), json!(level.name()));
    }
    for action in Action::ALL {
        assert_eq!(json!(action), json!(action.name()));
    }
}

/// Text of every length around the steps of the writer, with what needs escapes and with card numbers.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9_.]{0,40}",
        "[a-c\"\\\\\u{0}-\u{1f}\u{7f}é😀]{0,40}",
        "[a-z ]{0,9}4111[ -]?1111[ -]?1111[ -]?1111[\" a-z]{0,9}",
    ]
}

fn amounts() -> impl Strategy<Value = Amount> {
    (any::<i128>(), 0_u32..128).prop_map(|(units, shift)| Amount(units >> shift))
}

prop_compose! {
    fn transactions()(
        ids in vec(texts(), 3),
        optional in vec(option::of(texts()), 3),
        merchant in texts(),
        amount in amounts(),
        country in option::of("[A-Z]{2}"),
        us in any::<i64>(),
    ) -> Transaction<'static> {
        let own = |text: &String| Cow::Owned(text.clone());
        Transaction {
            tx_id: own(&ids[0]),
            agent_id: own(&ids[1]),
            user_id: own(&ids[2]),
            mandate_id: optional[0].as_ref().map(own),
            merchant: Cow::Owned(merchant),
            merchant_category: optional[1].as_ref().map(own),
            payment_id: optional[2].as_ref().map(own),
            amount,
            country: country.map(|code| code.as_bytes().try_into().unwrap()),
            tx_time: Timestamp(us),
            ..plain_transaction()
        }
    }
}

/// A fact without its text's place, which is known when the verdict is put together.
fn facts() -> impl Strategy<Value = (Fact, Option<String>)> {
    let alone = |fact| (fact, None);
    prop_oneof![
        any::<i64>().prop_map(Fact::Count).prop_map(alone),
        amounts().prop_map(Fact::Decimal).prop_map(alone),
        any::<f64>().prop_map(Fact::Figure).prop_map(alone),
        any::<i64>().prop_map(|us| Fact::Time(Timestamp(us))).prop_map(alone),
        any::<bool>().prop_map(Fact::Flag).prop_map(alone),
        texts().prop_map(|text| (Fact::Absent, Some(text))),
        prop_oneof![Just("day"), Just("a_longer_name")].prop_map(Fact::Name).prop_map(alone),
        Just(Fact::Absent).prop_map(alone),
    ]
}

const TIERS: &[&str] = &["merchant", "category", "per_transaction", "x"];
const NAMES: [&str; 9] = ["a", "bc", "def", "ghij", "klmno", "pqrstu", "vwxyz_01", "twelve_bytes", "i"];

prop_compose! {
    fn verdicts()(
        (action, level) in (0_usize..4, 0_usize..3),
        (composite, risk_score, late) in (any::<i128>(), any::<u8>(), any::<bool>()),
        decided_by in prop_oneof![
            Just(DecidedBy::None),
            (0_usize..4).prop_map(DecidedBy::Floor),
            Just(DecidedBy::Score(RiskLevel::Elevated)),
        ],
        mandate in option::of((0_usize..3, option::of(amounts()), amounts())),
        signals in vec((0_usize..2, 0_usize..4, amounts(), any::<u16>(), texts(), texts(), vec(facts(), 0..9)), 0..4),
    ) -> Verdict {
        let mut verdict = Verdict {
            action: Action::ALL[action],
            composite: Risk(composite),
            risk_score,
            risk_level: [RiskLevel::Normal, RiskLevel::Elevated, RiskLevel::Highest][level],
            decided_by,
            late,
            mandate: mandate.map(|(status, max_amount, spent_before)| MandateStanding {
                status: [MandateStatus::Active, MandateStatus::Paused, MandateStatus::Revoked][status],
                max_amount,
                spent_before,
            }),
            ..Verdict::default()
        };
        for (detector, tier, points, also, episode, reason, facts) in signals {
            let evidence = verdict.facts.len()..verdict.facts.len() + facts.len();
            for (name, (fact, text)) in NAMES.iter().zip(facts) {
                let fact = text.map_or(fact, |text| Fact::Text(verdict.store(&text)));
                verdict.facts.push((name, fact));
            }
            let (episode, reason) = (verdict.store(&episode), verdict.store(&reason));
            verdict.signals.push(Signal {
                detector: ["burst", "cross_merchant"][detector],
                tier: TIERS[tier],
                floor: Action::Review,
                points: Risk(points.0),
                measure: Amount::ZERO,
                rank: 0,
                episode,
                evidence,
                also: also & 0b1111,
                tiers: TIERS,
                reason,
            });
        }
        verdict
    }
}

/// The record as a value, put together from the parts by their `Display` and by `serde_json`.
fn expected(tx: &Transaction<'_>, verdict: &Verdict, config_digest: &str) -> Value {
    let standing = |mandate: &MandateStanding| {
        json!({
            "status": mandate.status,
            "max_amount": mandate.max_amount.map(|amount| amount.to_string()),
            "spent_before": mandate.spent_before.to_string(),
            "remaining": mandate.remaining().map(|amount| amount.to_string()),
        })
    };
    let decided_by = match verdict.decided_by {
        DecidedBy::Score(level) => format!("score:{}", level.name()),
        DecidedBy::Floor(at) if at < verdict.signals.len() => {
            format!("floor:{}.{}", verdict.signals[at].detector, verdict.signals[at].tier)
        }
        _ => "none".to_owned(),
    };
    json!({
        "schema_version": 1,
        "tx_id": tx.tx_id,
        "payment_id": tx.payment_id.as_deref().map(mask),
        "agent_id": tx.agent_id,
        "user_id": tx.user_id,
        "mandate_id": tx.mandate_id,
        "merchant": mask(&tx.merchant),
        "merchant_category": tx.merchant_category.as_deref().map(mask),
        "amount": tx.amount.to_string(),
        "currency": tx.currency.to_string(),
        "country": tx.country.map(|code| String::from_utf8(code.to_vec()).unwrap()),
        "tx_time": tx.tx_time.to_string(),
        "action": verdict.action,
        "flagged": !verdict.signals.is_empty(),
        "risk_score": verdict.risk_score,
        "risk_level": verdict.risk_level,
        "composite_risk": verdict.composite.to_string(),
        "decided_by": decided_by,
        "signals": verdict.signals.iter().map(|signal| expected_signal(verdict, signal)).collect::<Vec<_>>(),
        "reasons": verdict.signals.iter().map(|signal| json!({
            "code": format!("{}.{}", signal.detector, signal.tier),
            "text": mask(verdict.text(&signal.reason)),
        })).collect::<Vec<_>>(),
        "mandate": verdict.mandate.as_ref().map(standing),
        "late": verdict.late,
        "config_digest": config_digest,
    })
}

fn expected_signal(verdict: &Verdict, signal: &Signal) -> Value {
    let mut evidence = Map::new();
    for (name, fact) in &verdict.facts[signal.evidence.clone()] {
        let value = match fact {
            Fact::Count(count) => json!(count),
            Fact::Decimal(amount) => json!(amount.to_string()),
            Fact::Figure(figure) => json!(format!("{figure:.6}")),
            Fact::Time(time) => json!(time.to_string()),
            Fact::Flag(flag) => json!(flag),
            Fact::Text(range) => json!(mask(verdict.text(range))),
            Fact::Name(name) => json!(name),
            Fact::Absent => Value::Null,
        };
        evidence.insert((*name).to_owned(), value);
    }
    if signal.also != 0 {
        let also = TIERS.iter().enumerate().filter(|(at, _)| signal.also >> at & 1 == 1);
        evidence.insert("also".to_owned(), also.map(|(_, tier)| *tier).collect());
    }
    json!({
        "detector": signal.detector,
        "tier": signal.tier,
        "points": signal.points.to_string(),
        "episode_id": format!("{}:{}", signal.detector, verdict.text(&signal.episode)),
        "evidence": evidence,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_field_reads_back(transaction in transactions(), verdict in verdicts(), digest in texts()) {
        let written = write(&transaction, &verdict, &digest);
        let read: Value = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&read, &expected(&transaction, &verdict, &digest), "{}", written);
        // No space, and every escape in its one form.
        prop_assert_eq!(read.to_string().len(), written.len(), "{}", written);
    }
}
