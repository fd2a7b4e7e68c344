//! The evaluation on small cases whose answers are known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::fmt::Write;

use weir_sim::evaluate::Share;
use weir_sim::{EvaluateError, Group, Report, evaluate};

/// A decision: id, seconds after noon, agent, action, detectors.
type Decided = (&'static str, i64, &'static str, &'static str, &'static [&'static str]);

fn decisions(rows: &[Decided]) -> String {
    rows.iter().fold(String::new(), |mut out, (id, second, agent, action, detectors)| {
        let signals: Vec<String> = detectors
            .iter()
            .map(|detector| format!(r#"{{"detector":"{detector}","tier":"t","points":"5","evidence":{{"x":[1,{{}}]}}}}"#))
            .collect();
        writeln!(
            out,
            r#"{{"schema_version":1,"tx_id":"{id}","agent_id":"{agent}","user_id":"u","tx_time":"2026-05-05T12:{:02}:{:02}.500000Z","action":"{action}","signals":[{}],"mandate":null}}"#,
            second / 60,
            second % 60,
            signals.join(",")
        )
        .unwrap();
        out
    })
}

fn run(rows: &[Decided], labels: &str) -> Result<Report, EvaluateError> {
    evaluate(decisions(rows).as_bytes(), labels.as_bytes())
}

#[test]
fn a_case_by_hand() {
    let report = run(
        &[
            ("h1", 0, "a1", "allow", &[]),
            ("f1", 10, "a2", "allow", &["burst"]),
            // An action by another detector does not catch a burst.
            ("f2", 20, "a2", "challenge", &["mandate"]),
            ("f3", 40, "a2", "review", &["mandate", "burst"]),
            ("f4", 50, "a2", "block", &["burst"]),
            ("g1", 60, "a3", "allow", &[]),
            ("h2", 70, "a1", "challenge", &["burst"]),
            ("h3", 80, "a3", "block", &["scope"]),
            ("h4", 90, "a4", "review", &["collusion"]),
            ("s1", 95, "a5", "block", &["scope"]),
            ("x9", 99, "a5", "allow", &[]),
        ],
        concat!(
            "{\"tx_id\":\"h1\",\"attack\":null,\"episode\":null,\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"h2\",\"attack\":null,\"episode\":null,\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"h3\",\"attack\":null,\"episode\":null,\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"h4\",\"attack\":null,\"episode\":null,\"habit\":\"twin_agents\"}\n",
            "\n",
            "{\"tx_id\":\"f1\",\"attack\":\"burst_equal\",\"episode\":\"e1\",\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"f2\",\"attack\":\"burst_equal\",\"episode\":\"e1\",\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"f3\",\"attack\":\"burst_equal\",\"episode\":\"e1\",\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"f4\",\"attack\":\"burst_equal\",\"episode\":\"e1\",\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"g1\",\"attack\":\"burst_equal\",\"episode\":\"e2\",\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"g2\",\"attack\":\"burst_equal\",\"episode\":\"e2\",\"habit\":\"shopper\"}\n",
            "{\"tx_id\":\"s1\",\"attack\":\"scope_merchant\",\"episode\":\"e3\",\"habit\":\"shopper\"}\n",
        ),
    )
    .unwrap();

    assert_eq!((report.decisions, report.labels), (11, 11));
    assert_eq!((report.labels_without_decision, report.fraud_without_decision), (1, 1));
    assert_eq!(report.decisions_without_label, 1);

    let burst = report.attacks.iter().find(|attack| attack.attack == "burst_equal").unwrap();
    assert_eq!((burst.group, burst.payments), (Group::Overt, 5));
    assert_eq!((burst.caught.count, burst.caught.of), (1, 2));
    assert_eq!((burst.blocked.count, burst.blocked_first.count), (1, 0));
    assert_eq!(burst.stopped_payments.count, 3);
    assert_eq!(burst.seconds_to_catch.unwrap().mean, 30.0);
    assert_eq!(burst.payments_to_catch.unwrap().p95, 3.0);

    let violations = report.groups.iter().find(|group| group.group == Group::MandateViolation).unwrap();
    assert_eq!((violations.blocked_first.count, violations.blocked_first.of), (1, 1));

    let honest = &report.honest;
    assert_eq!(honest.payments, 4);
    assert_eq!((honest.blocked.count, honest.held.count, honest.challenged.count), (1, 1, 1));
    // a3 is not clean: one of its payments is fraud.
    assert_eq!((honest.agents_touched.count, honest.agents_touched.of), (2, 2));
    let names: Vec<&str> = report.habits.iter().map(|habit| habit.habit.as_str()).collect();
    assert_eq!(names, ["shopper", "twin_agents"]);
    assert_eq!(report.habits[0].agents_touched.count, 1);

    let printed = report.to_string();
    assert!(printed.contains("1 labels without a decision (1 of them fraud)"), "{printed}");
    assert!(
        printed.lines().any(|line| line.starts_with("  burst_equal") && line.contains("50.00 %")),
        "{printed}"
    );
    assert!(serde_json::to_value(&report).unwrap()["groups"][0]["group"] == "mandate_violation");
}

#[test]
fn labels_from_elsewhere_are_understood() {
    let report = run(
        &[("a", 0, "g", "challenge", &["anything"]), ("b", 1, "g", "allow", &[]), ("c", 2, "g", "allow", &[])],
        concat!(
            "\u{feff}{\"tx_id\":\"a\",\"user_id\":\"u\",\"attack\":\"Überfall\",\"episode\":7,\"extra\":[1]}\n",
            "{\"tx_id\":\"b\",\"attack\":\"\",\"habit\":null}\n",
            "{\"tx_id\":\"c\",\"attack\":\"Überfall\"}",
        ),
    )
    .unwrap();
    assert_eq!(report.attacks.len(), 1);
    assert_eq!((report.attacks[0].attack.as_str(), report.attacks[0].group), ("Überfall", Group::Unknown));
    assert_eq!((report.attacks[0].caught.count, report.attacks[0].caught.of), (1, 2));
    assert_eq!(report.habits[0].habit, "(none)");
}

#[test]
fn one_tx_id_of_two_users_has_two_labels() {
    let two = "{\"tx_id\":\"t\",\"attack\":null,\"habit\":\"h\"}\n{\"tx_id\":\"t\",\"attack\":\"burst_equal\",\"episode\":\"e\",\"habit\":\"h\"}\n";
    let report = run(&[("t", 0, "g", "allow", &[]), ("t", 5, "k", "review", &["burst"])], two).unwrap();
    assert_eq!(report.labels_without_decision, 0);
    assert_eq!((report.honest.payments, report.honest.held.count), (1, 0));
    assert_eq!(report.attacks[0].caught.count, 1);
}

#[test]
fn faults_are_named() {
    let label = "{\"tx_id\":\"a\",\"attack\":null,\"habit\":\"h\"}\n";
    assert!(matches!(run(&[], ""), Err(EvaluateError::NoLabels)));
    assert!(matches!(
        run(&[("z", 0, "g", "allow", &[])], label),
        Err(EvaluateError::NothingMatches { decisions: 1 })
    ));
    let error = evaluate(&b"\n{\"tx_id\":1}\n"[..], label.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("line 2 of the decisions is not one of the decisions: "), "{error}");
    let error = evaluate(&b""[..], &b"[]\n"[..]).unwrap_err().to_string();
    assert!(error.starts_with("line 1 of the labels"), "{error}");
}

#[test]
fn intervals_are_wilsons() {
    let share = Share::new(8, 10);
    assert!((share.low - 0.490_162_5).abs() < 1e-6, "{share:?}");
    assert!((share.high - 0.943_317_8).abs() < 1e-6, "{share:?}");
    let none = Share::new(0, 20);
    assert_eq!(none.low, 0.0);
    assert!((none.high - 0.161_125_2).abs() < 1e-6, "{none:?}");
    assert_eq!((Share::new(20, 20).high, Share::new(0, 0).high), (1.0, 1.0));
}
