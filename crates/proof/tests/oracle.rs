//! Every view of the engine against its SQL on DataFusion.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use weir_detectors::risk::VIEWS;
use weir_engine::Config;
use weir_events::codec::parse_transaction;
use weir_events::view::{Row, Value, View};
use weir_history::compare::compare;
use weir_history::oracle::{Oracle, OracleConfig};
use weir_proof::{End, Step, Stream, Told, Weir, check, run};

#[test]
fn every_view_equals_its_sql() {
    check("oracle", 40, |seed| {
        let stream = Stream::nasty(seed);
        let (steps, mut weir) = run(&stream, 1, 1);
        let end = weir.end().unwrap();
        let mut oracle = oracle(&stream.config);
        let base = stream.config.base_currency.0;
        for (line, step) in stream.transactions.iter().zip(&steps) {
            if let Told::Decision { late, .. } = step.told {
                oracle.push(&parse_transaction(line.as_bytes(), base).unwrap(), late).unwrap();
            }
        }
        oracle.mandates(weir.newest()).unwrap();
        for (view, (_, rows)) in VIEWS.iter().zip(&end.views) {
            let sql = oracle.rows(view.name).map_err(|error| error.to_string())?;
            let differences = compare(view, &whole(view, rows, &end), &whole(view, &sql, &end));
            if !differences.is_empty() {
                let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
                return Err(told.join("\n  "));
            }
        }
        Ok(())
    });
}

fn oracle(config: &Config) -> Oracle<'static> {
    let mut parameters = weir_detectors::sql_parameters(&config.detectors);
    parameters.extend(config.risk.weights.sql_parameters());
    let config = OracleConfig {
        parameters,
        rates: config.rates(),
        merchant_categories: config.detectors.scope.merchant_categories.clone(),
        views: &VIEWS,
    };
    Oracle::new(config).unwrap()
}

/// The rows of keys that reached no bound.
fn whole(view: &View, rows: &[Row], end: &End) -> Vec<Row> {
    let text = |row: &Row, name: &str| {
        let at = view.columns.iter().position(|column| column.name == name)?;
        if let Value::Text(text) = &row[at] { Some(text.clone()) } else { None }
    };
    let is_whole = |row: &&Row| {
        let user_id = text(row, "user_id").unwrap();
        let of_agent = (text(row, "agent_id"), user_id.clone());
        !end.incomplete.contains(&of_agent) && !end.incomplete.contains(&(None, user_id))
    };
    rows.iter().filter(is_whole).cloned().collect()
}

/// What the streams are worth: each view, outcome, tier and bound comes up in the first few dozen.
#[test]
fn the_streams_reach_every_corner() {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut note = |name: String| *seen.entry(name).or_default() += 1;
    for seed in 0..150 {
        let stream = Stream::nasty(seed);
        let (steps, mut weir) = run(&stream, 1, 1);
        note_steps(&steps, &mut note);
        note_end(&mut weir, &mut note);
    }
    let wanted = VIEWS.iter().map(|view| format!("view {}", view.name));
    let tiers = weir_engine::config::tier_keys().filter(|key| !key.ends_with('*'));
    let told = ["duplicate", "late", "too_old", "duplicate_conflict", "invalid_json", "duplicate_field"];
    let bounds = weir_detectors::Bound::ALL.iter().map(|bound| format!("bound {}", bound.name()));
    let unreached = ["bound agents_max", "bound mandates_max", "bound remembered_ids_max"];
    let wanted: BTreeSet<String> = wanted.chain(tiers).chain(told.map(str::to_owned)).chain(bounds).collect();
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|name| !unreached.contains(&name.as_str()) && !seen.contains_key(*name))
        .collect();
    assert!(missing.is_empty(), "never seen: {missing:?}; seen: {seen:?}");
}

fn note_steps(steps: &[Step], note: &mut impl FnMut(String)) {
    for step in steps {
        match &step.told {
            Told::Duplicate => note("duplicate".to_owned()),
            Told::Reject(code) => note(code.name().to_owned()),
            Told::Decision { json, late } => {
                if *late {
                    note("late".to_owned());
                }
                let decision: serde_json::Value = serde_json::from_str(json).unwrap();
                let reasons = decision["reasons"].as_array().unwrap();
                reasons.iter().for_each(|reason| note(reason["code"].as_str().unwrap().to_owned()));
            }
        }
    }
}

fn note_end(weir: &mut Weir, note: &mut impl FnMut(String)) {
    let end = weir.end().unwrap();
    for (name, rows) in &end.views {
        (0..rows.len()).for_each(|_| note(format!("view {name}")));
    }
    end.reached.iter().for_each(|(bound, _)| note(format!("bound {}", bound.name())));
}
