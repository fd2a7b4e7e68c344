//! The embedded log: the same promise on one machine.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Home, ask, decisions, run, stream};

fn id(decision: &str) -> (String, String) {
    let decision: Value = serde_json::from_str(decision).unwrap();
    let text = |field: &str| decision[field].as_str().unwrap_or_default().to_owned();
    (text("user_id"), text("tx_id"))
}

#[test]
fn decisions_are_those_of_a_replay_byte_for_byte() {
    let home = Home::new("");
    let (transactions, mandates) = stream(&home.path("stream"), 3000, 5);
    let file = |name: &str, lines: &[String]| {
        std::fs::write(home.path(name), lines.join("\n")).unwrap();
        home.path(name).to_str().unwrap().to_owned()
    };
    let (transactions_file, mandates_file) = (file("t.ndjson", &transactions), file("m.ndjson", &mandates));
    let out = home.path("replayed").to_str().unwrap().to_owned();
    run(&[
        "replay",
        "--quiet",
        "--transactions",
        &transactions_file,
        "--mandates",
        &mandates_file,
        "--out",
        &out,
    ]);
    let replayed = std::fs::read_to_string(home.path("replayed/decisions.ndjson")).unwrap();

    let service = home.start();
    service.post("/v1/mandates", &mandates.join("\n"));
    for (number, lines) in transactions.chunks(700).enumerate() {
        let answers = service.post("/v1/transactions", &lines.join("\n"));
        assert_eq!(answers.len(), lines.len(), "portion {number}");
    }
    let count = replayed.lines().count();
    let made = decisions(&service.address, count);
    assert!(
        made.iter().map(String::as_str).eq(replayed.lines()),
        "decisions differ from those of the replay"
    );
    service.stop();

    // The same again from the recording, after the service has ended.
    let config = home.path("weir.toml").to_str().unwrap().to_owned();
    let recording = home.path("recording").to_str().unwrap().to_owned();
    run(&["record", "--quiet", "--config", &config, "--partition", "0", "--out", &recording]);
    let again = home.path("again").to_str().unwrap().to_owned();
    run(&["replay", "--quiet", "--recording", &recording, "--out", &again]);
    let recorded = std::fs::read_to_string(home.path("again/decisions.ndjson")).unwrap();
    assert!(recorded == replayed, "decisions of the recording differ");
}

#[test]
fn a_repeat_gets_its_stored_decision_and_other_values_a_conflict() {
    let home = Home::new("");
    let service = home.start();
    let payment = r#"{"tx_id":"t1","agent_id":"a","user_id":"u","merchant":"m","amount":"5","tx_time":"2026-05-05T10:00:00Z"}"#;
    let first =
        ask(&service.address, "POST", "/v1/transactions", "application/json", payment.as_bytes()).unwrap();
    assert_eq!(first.status, 200, "{}", first.body);
    let again =
        ask(&service.address, "POST", "/v1/transactions", "application/json", payment.as_bytes()).unwrap();
    assert_eq!((again.status, &again.body), (200, &first.body));
    let other = payment.replace("\"5\"", "\"6\"");
    let other =
        ask(&service.address, "POST", "/v1/transactions", "application/json", other.as_bytes()).unwrap();
    assert_eq!(other.status, 409, "{}", other.body);
    assert!(other.body.contains("duplicate_conflict"), "{}", other.body);
    let profile = service.get("/v1/agents/u/a");
    assert_eq!(profile.status, 200, "{}", profile.body);
    assert_eq!(serde_json::from_str::<Value>(&profile.body).unwrap()["payments_seen"], 1);
    assert_eq!(service.get("/v1/agents/u/nobody").status, 404);
    service.stop();
}

/// The first batch commits the configuration alone, when nothing has come yet.
#[test]
fn a_service_that_has_waited_takes_records() {
    let home = Home::new("");
    let service = home.start();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let payment = r#"{"tx_id":"t1","agent_id":"a","user_id":"u","merchant":"m","amount":"5","tx_time":"2026-05-05T10:00:00Z"}"#;
    assert_eq!(service.post("/v1/transactions", payment).len(), 1);
    std::thread::sleep(std::time::Duration::from_millis(400));
    let mandate = r#"{"mandate_id":"m1","agent_id":"a","user_id":"u"}"#;
    assert_eq!(service.post("/v1/mandates", mandate), [r#"{"accepted":true}"#]);
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(service.post("/v1/transactions", &payment.replace("t1", "t2")).len(), 1);
    let log = service.stop();
    assert!(!log.contains("recovered again"), "{log}");
}

/// Kills the service again and again while records come in. What was answered is there, once; what was not is sent
/// again, and is there once too.
#[test]
fn what_was_answered_survives_every_kill() {
    let kills: usize = std::env::var("WEIR_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6);
    let home = Home::new("");
    let (transactions, mandates) = stream(&home.path("stream"), 4000, 9);
    let mut answered: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut service = home.start();
    service.post("/v1/mandates", &mandates.join("\n"));
    let portions: Vec<String> = transactions.chunks(40).map(|lines| lines.join("\n")).collect();
    let every = portions.len().div_ceil(kills + 1).max(1);
    let mut at = 0;
    while at < portions.len() {
        let address = service.address.clone();
        let portion = portions[at].clone();
        let dies = at % every == every - 1;
        let sending = std::thread::spawn(move || {
            ask(&address, "POST", "/v1/transactions", "application/x-ndjson", portion.as_bytes())
        });
        if dies {
            // Somewhere between the request and its answer.
            std::thread::sleep(std::time::Duration::from_micros((at as u64 * 7919) % 9000));
            service.kill();
            service = home.start();
        }
        let answer = sending.join().unwrap();
        if let Ok(answer) = answer
            && answer.status == 200
        {
            for decision in answer.body.lines().filter(|line| line.contains("\"action\"")) {
                let before = answered.insert(id(decision), decision.to_owned());
                assert!(before.is_none_or(|before| before == decision), "two decisions: {decision}");
            }
        }
        if !dies {
            at += 1;
        } else {
            // Once more, whatever became of it.
            let again = service.post("/v1/transactions", &portions[at]);
            for decision in again.iter().filter(|line| line.contains("\"action\"")) {
                let before = answered.insert(id(decision), decision.clone());
                assert!(before.is_none_or(|before| before == *decision), "two decisions: {decision}");
            }
            at += 1;
        }
    }
    let made = decisions(&service.address, answered.len());
    let kept: BTreeMap<(String, String), String> = made.iter().map(|made| (id(made), made.clone())).collect();
    assert_eq!(kept.len(), made.len(), "a decision was made twice");
    assert!(kept == answered, "decisions kept and decisions answered differ");
    service.stop();
}
