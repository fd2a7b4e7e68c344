//! Each view by SQL against the reference data set of SPEC 6 and against plain loops.

use weir_events::time::SECOND_US;
use weir_events::view::{Value, View};
use weir_events::{Mandate, Timestamp, Transaction};
use weir_history::compare::compare;
use weir_history::oracle::{Oracle, OracleConfig, OracleError};

use crate::brute;
use crate::views::{VIEWS, at, mandate, oracle, parameters, printed, rates, transaction, units};

const MANDATES: [(&str, &str, &str, &str, &str); 7] = [
    ("mdt_001", "agt_alpha", "usr_100", "amazon.com", "200"),
    ("mdt_002", "agt_beta", "usr_200", "instacart.com", "150"),
    ("mdt_003", "agt_gamma", "usr_300", "expedia.com", "1000"),
    ("mdt_004", "agt_delta", "usr_400", "doordash.com", "80"),
    ("mdt_005", "agt_epsilon", "usr_500", "walmart.com", "300"),
    ("mdt_006", "agt_zeta", "usr_500", "target.com", "300"),
    ("mdt_007", "agt_eta", "usr_600", "apple.com", "500"),
];

/// Mandate, time, amount, merchant where it is not the mandate's.
const PAYMENTS: &[(usize, &str, &str, &str)] = &[
    (0, "2026-05-05T09:00:00Z", "30.00", ""),
    (0, "2026-05-05T10:30:00Z", "36.49", ""),
    (0, "2026-05-05T12:15:00Z", "30.00", ""),
    (1, "2026-05-03T10:00:00Z", "110.00", ""),
    (1, "2026-05-05T10:00:00Z", "105.00", ""),
    (1, "2026-05-07T10:00:00Z", "100.00", ""),
    (1, "2026-05-09T10:00:00Z", "120.00", ""),
    (2, "2026-05-04T09:00:00Z", "450.00", ""),
    (2, "2026-05-04T12:30:00Z", "320.00", "airbnb.com"),
    (2, "2026-05-04T13:00:00Z", "800.00", "casino-online.com"),
    (3, "2026-05-06T18:00:00Z", "25.00", ""),
    (3, "2026-05-08T18:00:00Z", "25.00", ""),
    (4, "2026-05-06T12:00:00Z", "297.00", ""),
    (5, "2026-05-06T12:00:05Z", "296.00", ""),
    (4, "2026-05-06T12:01:00Z", "299.00", ""),
    (5, "2026-05-06T12:01:05Z", "298.00", ""),
    (4, "2026-05-06T12:02:00Z", "295.00", ""),
    (5, "2026-05-06T12:02:05Z", "295.00", ""),
    (6, "2026-05-06T18:00:00Z", "99.00", ""),
];

fn reference() -> (Vec<Transaction<'static>>, Vec<Mandate>) {
    let mut transactions = Vec::new();
    let mut pay = |(of, time, amount, merchant): (usize, Timestamp, &str, &str)| {
        let (mandate_id, agent_id, user_id, scope, _) = MANDATES[of];
        let id = format!("tx_{:03}", transactions.len());
        let mut made = transaction(&id, agent_id, user_id, time);
        made.mandate_id = Some(mandate_id.into());
        made.merchant = if merchant.is_empty() { scope.into() } else { merchant.to_owned().into() };
        made.amount = units(amount);
        transactions.push(made);
    };
    for &(of, time, amount, merchant) in PAYMENTS {
        pay((of, at(time), amount, merchant));
    }
    for step in 0..8 {
        let time = at("2026-05-05T14:00:00Z").0 + step * 15 * SECOND_US;
        pay((0, Timestamp(time), "19.99", ""));
    }
    let mandates = MANDATES.map(|(mandate_id, agent_id, user_id, merchant, cap)| {
        let mut made = mandate(mandate_id, agent_id, user_id);
        made.scope_merchant = Some(merchant.to_owned());
        made.max_amount = Some(units(cap));
        made.valid_from = Some(at("2026-05-01T00:00:00Z"));
        made.valid_to = Some(at("2026-05-31T23:59:59Z"));
        made
    });
    (transactions, mandates.into())
}

#[test]
fn the_reference_set_gives_the_views_of_the_specification() {
    let (transactions, mandates) = reference();
    let mut oracle = oracle();
    for made in &transactions {
        oracle.push(made, false).unwrap();
    }
    oracle.mandates(mandates.iter().cloned()).unwrap();
    let mut lines = |view: &str| printed(view, &oracle.rows(view).unwrap());
    assert_eq!(
        lines("burst"),
        [
            r#"{"agent_id":"agt_alpha","user_id":"usr_100","peak_burst_count":5,"burst_start":"2026-05-05T14:01:00.000000Z","burst_end":"2026-05-05T14:01:45.000000Z"}"#
        ]
    );
    let replay = lines("replay");
    assert_eq!(
        replay[0],
        r#"{"mandate_id":"mdt_001","agent_id":"agt_alpha","user_id":"usr_100","max_amount":"200","use_count":11,"cumulative_spend":"256.41","over_amount":"56.41"}"#
    );
    let overages = ["\"56.41\"", "\"285\"", "\"570\"", "\"591\"", "\"589\""];
    assert_eq!(replay.len(), overages.len());
    for (row, over) in replay.iter().zip(overages) {
        assert!(row.ends_with(&format!("\"over_amount\":{over}}}")), "{row}");
    }
    let scope = lines("scope");
    assert!(scope[0].contains("airbnb.com") && scope[0].ends_with(r#""tier":"category"}"#), "{scope:?}");
    assert!(scope[1].contains("casino-online.com") && scope[1].ends_with(r#""tier":"strict"}"#), "{scope:?}");
    assert_eq!(
        lines("collusion"),
        [
            r#"{"user_id":"usr_500","agent_a":"agt_epsilon","agent_b":"agt_zeta","coordinated_pair_count":3,"coordinated_total_amount":"1780"}"#
        ]
    );
    for empty in ["replay_window", "cross_merchant", "cadence", "geo_stationarity"] {
        assert!(lines(empty).is_empty(), "{empty}");
    }
    let composites: Vec<String> = lines("risk")
        .iter()
        .map(|row| row.rsplit_once(':').unwrap().1.trim_end_matches('}').to_owned())
        .collect();
    let wanted = ["30.641", "28.5", "0", "149.1", "0", "157", "148.9"];
    assert_eq!(composites, wanted.map(|composite| format!("\"{composite}\"")));
}

#[test]
fn random_streams_agree_with_plain_loops() {
    for seed in 0..40 {
        let stream = brute::stream(seed);
        let mut oracle = oracle();
        for (made, late) in &stream.transactions {
            oracle.push(made, *late).unwrap();
        }
        oracle.mandates(stream.mandates.iter().cloned()).unwrap();
        // Not in their order: what a view reads is computed for it.
        for view in VIEWS.iter().rev() {
            let rows = oracle.rows(view.name).unwrap();
            let wanted = brute::rows(view.name, &stream);
            let differences = compare(view, &wanted, &rows);
            assert!(differences.is_empty(), "seed {seed}: {differences:#?}");
        }
    }
}

#[test]
fn random_streams_reach_every_view() {
    for view in &VIEWS {
        let rows: usize = (0..40).map(|seed| brute::rows(view.name, &brute::stream(seed)).len()).sum();
        assert!(rows >= 5, "{}: {rows} rows in all", view.name);
    }
}

#[test]
fn an_empty_stream_gives_empty_views() {
    let mut oracle = oracle();
    for view in &VIEWS {
        assert!(oracle.rows(view.name).unwrap().is_empty(), "{}", view.name);
    }
}

#[test]
fn parameters_and_columns_must_fit() {
    let config = |parameters, views: &'static [View]| OracleConfig {
        parameters,
        rates: rates(),
        merchant_categories: Default::default(),
        views,
    };
    let missing = Oracle::new(config(Vec::new(), &VIEWS)).unwrap_err();
    assert!(matches!(missing, OracleError::UnknownParameter { view: "burst", .. }), "{missing}");
    let mut more = parameters();
    more.push(("spare", Value::Int(1)));
    let unused = Oracle::new(config(more, &VIEWS)).unwrap_err();
    assert!(matches!(unused, OracleError::UnusedParameter { name: "spare" }), "{unused}");

    let mut wrong = VIEWS[5];
    wrong.sql = "SELECT agent_id, user_id, 1.5 AS peak_categories FROM transactions";
    let views = Box::leak(Box::new([wrong]));
    let error = Oracle::new(config(Vec::new(), views)).unwrap().rows("cross_merchant").unwrap_err();
    assert_eq!(
        error.to_string(),
        "view cross_merchant: column 3 is peak_categories Float64, but it is declared as peak_categories Int"
    );
}
