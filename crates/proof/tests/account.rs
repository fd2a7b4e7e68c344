//! Every record is accounted for, and every decision adds up.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

use std::collections::BTreeMap;

use serde_json::Value;
use weir_detectors::Bound;
use weir_engine::Config;
use weir_events::alert::AlertState;
use weir_events::codec::parse_transaction;
use weir_events::{Action, Alert, Risk};
use weir_proof::{Step, Stream, Told, check, run, same};

/// Detectors in the order in which signals stand when floor and points are equal.
const ORDER: [&str; 9] = [
    "scope",
    "replay",
    "mandate",
    "burst",
    "collusion",
    "cross_merchant",
    "cadence",
    "geo_stationarity",
    "input",
];

/// Tiers, strongest first, for which the order of a detector's table decides.
const TIERS: [&str; 27] = [
    "scope.strict",
    "scope.category_not_allowed",
    "scope.category",
    "replay.not_held",
    "replay.revoked",
    "replay.expired",
    "replay.not_yet_valid",
    "replay.over_cap",
    "replay.over_uses",
    "replay.over_per_transaction",
    "replay.wrong_currency",
    "replay.paused",
    "mandate.unknown",
    "mandate.omitted",
    "mandate.none",
    "burst.machine",
    "burst.pace",
    "burst.rate",
    "burst.rate_bounded",
    "collusion.ring",
    "collusion.pairs",
    "cross_merchant.risk_class",
    "cross_merchant.novel",
    "cross_merchant.breadth",
    "cadence.regular",
    "geo_stationarity.moved",
    "input",
];

/// The floor of a tier, as the specification lists them.
fn floor(code: &str) -> Action {
    match code {
        "replay.paused"
        | "mandate.unknown"
        | "scope.category"
        | "burst.machine"
        | "cross_merchant.risk_class" => Action::Review,
        "scope.strict" | "scope.category_not_allowed" => Action::Block,
        "mandate.omitted"
        | "burst.pace"
        | "burst.rate"
        | "cross_merchant.novel"
        | "cadence.regular"
        | "geo_stationarity.moved" => Action::Challenge,
        "burst.rate_bounded" | "cross_merchant.breadth" | "mandate.none" => Action::Allow,
        _ if code.starts_with("replay.") => Action::Block,
        _ if code.starts_with("collusion.") => Action::Review,
        _ if code.starts_with("input.") => Action::Allow,
        _ => panic!("{code} is not in the table"),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value} is no text"))
}

fn risk(value: &Value, name: &str) -> Risk {
    let printed = text(value, name);
    let risk: Risk = printed.parse().unwrap();
    assert_eq!(risk.to_string(), printed, "decimals are printed in one form");
    risk
}

/// Units of 1e-8 of a printed decimal, however great.
fn units(printed: &str) -> i128 {
    let (sign, digits) = printed.strip_prefix('-').map_or((1, printed), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    sign * format!("{whole}{fraction:0<8}").parse::<i128>().unwrap()
}

#[test]
fn records_in_are_decisions_duplicates_and_rejects() {
    check("account", 150, |seed| {
        let stream = Stream::nasty(seed);
        let (steps, mut weir) = run(&stream, 1, 1);
        let count = |is: fn(&Told) -> bool| steps.iter().filter(|step| is(&step.told)).count();
        let decisions = count(|told| matches!(told, Told::Decision { .. }));
        let duplicates = count(|told| matches!(told, Told::Duplicate));
        let rejects = count(|told| matches!(told, Told::Reject(_)));
        same("records", &stream.transactions.len(), &(decisions + duplicates + rejects))?;
        let end = weir.end().unwrap();
        let seen: u64 = end.profiles.iter().map(|profile| profile.payments_seen).sum();
        same("decisions and payments seen", &(decisions as u64), &seen)?;
        let silent = |step: &&Step| step.decision().is_none();
        same(
            "alerts without a decision",
            &0,
            &steps.iter().filter(silent).map(|step| step.alerts.len()).sum(),
        )
    });
}

#[test]
fn every_decision_adds_up() {
    check("account", 150, |seed| {
        let stream = Stream::nasty(seed);
        let (steps, _) = run(&stream, 1, 1);
        for (line, step) in stream.transactions.iter().zip(&steps) {
            if let Some(json) = step.decision() {
                let decision: Value =
                    serde_json::from_str(json).map_err(|error| format!("{error}: {json}"))?;
                echoes(&stream.config, line, &decision).map_err(|why| format!("{why}: {json}"))?;
                adds_up(&stream.config, &decision).map_err(|why| format!("{why}: {json}"))?;
            }
        }
        Ok(())
    });
}

/// The decision names its transaction as it came.
fn echoes(config: &Config, line: &str, decision: &Value) -> Result<(), String> {
    let tx = parse_transaction(line.as_bytes(), config.base_currency.0).unwrap();
    let printed_time = tx.tx_time.to_string();
    let printed_amount = tx.amount.to_string();
    let digest = config.digest();
    for (name, wanted) in [
        ("tx_id", &*tx.tx_id),
        ("agent_id", &tx.agent_id),
        ("user_id", &tx.user_id),
        ("merchant", &tx.merchant),
        ("currency", tx.currency.as_str()),
        ("tx_time", &printed_time),
        ("amount", &printed_amount),
        ("config_digest", &digest),
    ] {
        same(name, &text(decision, name), &wanted)?;
    }
    same("mandate_id", &decision["mandate_id"].as_str(), &tx.mandate_id.as_deref())?;
    same("merchant_category", &decision["merchant_category"].as_str(), &tx.merchant_category.as_deref())?;
    let masked = tx.payment_id.as_deref().map(|id| if id.starts_with("4111") { None } else { Some(id) });
    let shown = decision["payment_id"].as_str();
    match masked {
        Some(None) => same("a card number is shown", &shown.unwrap().contains("1111 1111"), &false),
        plain => same("payment_id", &shown, &plain.flatten()),
    }
}

fn adds_up(config: &Config, decision: &Value) -> Result<(), String> {
    let signals = decision["signals"].as_array().unwrap();
    let code = |signal: &Value| format!("{}.{}", text(signal, "detector"), text(signal, "tier"));
    let codes: Vec<String> = signals.iter().map(code).collect();
    let points: Vec<Risk> = signals.iter().map(|signal| risk(signal, "points")).collect();

    let sum = points.iter().fold(Risk::ZERO, |sum, points| sum.plus(*points));
    let composite = risk(decision, "composite_risk");
    same("the composite and the sum of the points", &composite, &sum)?;
    same("flagged", &decision["flagged"].as_bool(), &Some(!signals.is_empty()))?;

    let reasons = decision["reasons"].as_array().unwrap();
    let told: Vec<String> = reasons.iter().map(|reason| text(reason, "code").to_owned()).collect();
    same("the codes of signals and reasons", &codes, &told)?;
    if let Some(silent) = reasons.iter().find(|reason| !text(reason, "text").ends_with('.')) {
        return Err(format!("{silent} is no sentence"));
    }

    let rank = |code: &str| ORDER.iter().position(|name| code.split('.').next() == Some(name)).unwrap();
    let place =
        |at: usize| (std::cmp::Reverse(floor(&codes[at])), std::cmp::Reverse(points[at]), rank(&codes[at]));
    if let Some(at) = (1..codes.len()).find(|&at| place(at - 1) >= place(at)) {
        return Err(format!("signal {at} stands before a stronger one, or its detector speaks twice"));
    }

    let score = 100.0 * (1.0 - (-composite.to_f64() / config.risk.scale).exp());
    same("the score", &decision["risk_score"].as_f64(), &Some((score + 0.5).floor()))?;
    let (level, by_score) = match score {
        score if score >= config.risk.highest_from => ("highest", Action::Block),
        score if score >= config.risk.elevated_from => ("elevated", Action::Review),
        _ => ("normal", Action::Allow),
    };
    same("the level", &text(decision, "risk_level"), &level)?;
    let strongest = codes.first().map_or(Action::Allow, |code| floor(code));
    let action = strongest.max(by_score);
    same("the action", &text(decision, "action"), &action.name())?;
    let decided_by = match action {
        Action::Allow => "none".to_owned(),
        _ if strongest == action => format!("floor:{}", codes[0]),
        _ => format!("score:{level}"),
    };
    same("what decided", &text(decision, "decided_by"), &&*decided_by)?;
    standing(decision)
}

fn standing(decision: &Value) -> Result<(), String> {
    let mandate = &decision["mandate"];
    let Some(cap) = mandate["max_amount"].as_str() else { return Ok(()) };
    let left = units(cap) - units(text(mandate, "spent_before"));
    same("what remains", &units(text(mandate, "remaining")), &left.max(0))
}

/// An episode as the decisions tell it.
#[derive(Debug, Default)]
struct Episode {
    transactions: u64,
    last_tx: String,
    told: Option<(Action, usize)>,
    closed: bool,
}

#[test]
fn episodes_open_once_escalate_to_stronger_tiers_and_close_once() {
    let mut closed = 0;
    check("account", 150, |seed| {
        let stream = Stream::nasty(seed);
        let (steps, mut weir) = run(&stream, 1, 1);
        if weir.end().unwrap().reached.iter().any(|(bound, _)| *bound == Bound::LedgerAgents) {
            // A use past its bound keeps no episodes: each of its signals is a run of its own, untold.
            return Ok(());
        }
        let mut episodes = BTreeMap::<(String, String), Episode>::new();
        for step in &steps {
            let Some(json) = step.decision() else { continue };
            let decision: Value = serde_json::from_str(json).unwrap();
            follow(&mut episodes, &decision, &step.alerts).map_err(|why| format!("{why}\n  {json}"))?;
        }
        Ok(())
    });
    for seed in 0..20 {
        let (steps, _) = run(&Stream::nasty(seed), 1, 1);
        let alerts = steps.iter().flat_map(|step| &step.alerts);
        closed += alerts.filter(|alert| alert.state == AlertState::Closed).count();
    }
    assert!(closed > 20, "{closed} episodes closed in the first streams");
}

/// What the alerts of one decision must be, after those before it.
fn follow(
    episodes: &mut BTreeMap<(String, String), Episode>,
    decision: &Value,
    alerts: &[Alert],
) -> Result<(), String> {
    let user_id = text(decision, "user_id");
    let mut alerts = alerts.iter().peekable();
    while let Some(alert) = alerts.next_if(|alert| alert.state == AlertState::Closed) {
        let episode_id = format!("{}:{}", alert.detector, alert.first_tx);
        let episode = episodes.get_mut(&(user_id.to_owned(), episode_id.clone()));
        let episode = episode.ok_or_else(|| format!("{episode_id} closes and never began"))?;
        let untold = episode.closed || episode.told.is_none();
        same(&format!("{episode_id} closes twice or untold"), &untold, &false)?;
        same("transactions of a closed episode", &alert.transactions, &episode.transactions)?;
        episode.closed = true;
    }
    let mut expected = Vec::new();
    for signal in decision["signals"].as_array().unwrap() {
        let episode_id = text(signal, "episode_id").to_owned();
        let first_tx = episode_id.split_once(':').unwrap().1.to_owned();
        let episode = episodes.entry((user_id.to_owned(), episode_id.clone())).or_default();
        same(&format!("{episode_id} goes on after its end"), &episode.closed, &false)?;
        if episode.transactions == 0 {
            same("the first of an episode", &first_tx.as_str(), &text(decision, "tx_id"))?;
        }
        episode.transactions += 1;
        text(decision, "tx_id").clone_into(&mut episode.last_tx);
        let code = format!("{}.{}", text(signal, "detector"), text(signal, "tier"));
        let order = TIERS.iter().position(|tier| *tier == code || code.starts_with("input."));
        let (floor, order) = (floor(&code), order.unwrap());
        let stronger =
            episode.told.is_none_or(|(told, before)| floor > told || (floor == told && order < before));
        if floor > Action::Allow && stronger {
            let state = if episode.told.is_none() { AlertState::Opened } else { AlertState::Escalated };
            episode.told = Some((floor, order));
            expected.push((episode_id, state, code, episode.transactions, episode.last_tx.clone()));
        }
    }
    let told = alerts.map(|alert| {
        let episode_id = format!("{}:{}", alert.detector, alert.first_tx);
        let code = format!("{}.{}", alert.detector, alert.tier);
        (episode_id, alert.state, code, alert.transactions, alert.last_tx.clone())
    });
    same("the alerts", &expected, &told.collect())
}
