//! The streams are what they are said to be: reproducible, in order, consistent with their labels, and
//! honest where the labels say so, judged by a plain reading of the mandates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::Datelike;
use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_sim::{ATTACKS, Difficulty, Group, Options, Summary, generate, habits};

struct Stream {
    transactions: Vec<u8>,
    mandates: Vec<u8>,
    labels: Vec<u8>,
    summary: Summary,
}

fn stream(options: &Options) -> Stream {
    let (mut transactions, mut mandates, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let summary = generate(options, &mut transactions, &mut mandates, &mut labels).unwrap();
    Stream { transactions, mandates, labels, summary }
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn time_us(value: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap().timestamp_micros()
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_else(|| panic!("{field} in {record}"))
}

fn options(difficulty: Difficulty, transactions: u64, seed: u64) -> Options {
    Options { transactions, seed, difficulty, ..Options::default() }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for (difficulty, golden) in [
        (Difficulty::Easy, "8c3a8d838a0ccc4259a7ace6691771166c8a1b3d4acb34e2cf21e903799d7dd2"),
        (Difficulty::Medium, "021f4ddf3473582541d13c377bc08e7126ebc10f37d55f783e9317449da80528"),
        (Difficulty::Hard, "e82a10552450f14859808f9902c7a262bdb58c00f9c71264eb3af37078dcee72"),
    ] {
        // Fraud enough for an episode of every kind.
        let made = stream(&Options { fraud_share: 0.1, ..options(difficulty, 12_000, 42) });
        assert_eq!(made.summary.attacks.len(), ATTACKS.len());
        let mut digest = Sha256::new();
        for part in [&made.transactions, &made.mandates, &made.labels] {
            digest.update(part);
        }
        let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden, "{difficulty:?}");
        let other = stream(&options(difficulty, 4_000, 43));
        assert_ne!(made.transactions, other.transactions);
    }
}

#[test]
fn every_attack_and_habit_appears() {
    for difficulty in [Difficulty::Easy, Difficulty::Medium, Difficulty::Hard] {
        let made = stream(&options(difficulty, 60_000, 5));
        let attacks: Vec<&str> = ATTACKS.iter().map(|kind| kind.name).collect();
        let missing: Vec<_> =
            attacks.iter().filter(|name| !made.summary.attacks.contains_key(*name)).collect();
        assert!(missing.is_empty(), "{difficulty:?}: {missing:?}");
        let missing: Vec<_> = habits().filter(|name| !made.summary.habits.contains_key(name)).collect();
        assert!(missing.is_empty(), "{difficulty:?}: {missing:?}");
    }
}

#[test]
fn records_have_the_fields_of_the_specification() {
    let made = stream(&options(Difficulty::Medium, 20_000, 9));
    let mut ids = BTreeSet::new();
    let mut repeats = 0;
    for record in lines(&made.transactions) {
        for field in ["tx_id", "agent_id", "user_id", "merchant"] {
            assert!((1..=128).contains(&text(&record, field).len()));
        }
        assert!(record["amount"].is_null() != record["amount_minor"].is_null(), "{record}");
        assert_eq!(text(&record, "currency").len(), 3);
        assert_eq!(text(&record, "country").len(), 2);
        assert_eq!(record["lat"].is_null(), record["lng"].is_null());
        if let Some(lat) = record["lat"].as_f64() {
            assert!(lat.abs() <= 90.0 && record["lng"].as_f64().unwrap().abs() <= 180.0);
        }
        assert!(time_us(&record["tx_time"]) < time_us(&record["record_time"]));
        repeats += u64::from(!ids.insert(text(&record, "tx_id").to_owned()));
    }
    assert_eq!(ids.len() as u64, made.summary.transactions);
    assert_eq!(made.summary.transactions, 20_000);
    assert_eq!(repeats, made.summary.repeats);
    assert!(repeats > 10);

    let mut mandates = 0;
    let mut last = i64::MIN;
    for mandate in lines(&made.mandates) {
        mandates += 1;
        for field in ["mandate_id", "agent_id", "user_id", "currency", "status"] {
            assert!(!text(&mandate, field).is_empty());
        }
        assert!(time_us(&mandate["valid_from"]) <= time_us(&mandate["valid_to"]));
        if !mandate["updated_at"].is_null() {
            assert!(time_us(&mandate["updated_at"]) >= last, "mandates are in the order of their changes");
            last = time_us(&mandate["updated_at"]);
        }
    }
    assert_eq!(mandates, made.summary.mandates);
}

#[test]
fn labels_belong_to_the_records() {
    let made = stream(&options(Difficulty::Medium, 20_000, 11));
    let ids: BTreeSet<String> =
        lines(&made.transactions).iter().map(|r| text(r, "tx_id").to_owned()).collect();
    let mut labelled = BTreeSet::new();
    let (mut fraud, mut kinds) = (0, BTreeMap::new());
    for label in lines(&made.labels) {
        assert!(ids.contains(text(&label, "tx_id")));
        assert!(labelled.insert(text(&label, "tx_id").to_owned()), "one label per transaction");
        assert!(habits().any(|habit| habit == text(&label, "habit")));
        assert_eq!(label["attack"].is_null(), label["episode"].is_null());
        if !label["attack"].is_null() {
            fraud += 1;
            let kind =
                kinds.entry(text(&label, "episode").to_owned()).or_insert(text(&label, "attack").to_owned());
            assert_eq!(kind, text(&label, "attack"), "an episode is of one kind");
        }
    }
    assert_eq!(labelled, ids);
    assert_eq!(fraud, made.summary.fraud);
    assert_eq!(kinds.len() as u64, made.summary.episodes);
}

#[test]
fn arrival_is_in_order_and_disorder_is_bounded() {
    for (difficulty, bound_us) in
        [(Difficulty::Easy, 1_000_000), (Difficulty::Medium, 3_000_000), (Difficulty::Hard, 8_000_000)]
    {
        let made = stream(&Options { late_share: 0.01, ..options(difficulty, 20_000, 3) });
        let (mut recorded, mut greatest, mut late, mut behind) = (0, 0, 0, 0);
        let mut seen = BTreeSet::new();
        for record in lines(&made.transactions) {
            let (at, arrived) = (time_us(&record["tx_time"]), time_us(&record["record_time"]));
            assert!(arrived >= recorded);
            recorded = arrived;
            if !seen.insert(text(&record, "tx_id").to_owned()) {
                assert!(arrived - at < 24 * 3_600_000_000, "a repeat comes within the memory of repeats");
            } else if arrived - at > 300_000_000 {
                late += 1;
                assert!(arrived - at < 20 * 3_600_000_000);
            } else {
                behind = behind.max(greatest - at);
                greatest = greatest.max(at);
            }
        }
        assert!(behind <= bound_us, "{difficulty:?}: {behind}");
        assert!(behind > bound_us / 4, "{difficulty:?}: some disorder is wanted, not {behind}");
        assert_eq!(late, made.summary.late);
    }
}

#[test]
fn shares_are_kept() {
    for share in [0.0, 0.01, 0.05, 0.2] {
        let made = stream(&Options { fraud_share: share, ..options(Difficulty::Medium, 50_000, 17) });
        let got = made.summary.fraud as f64 / made.summary.transactions as f64;
        assert!((got - share).abs() <= share * 0.15 + 0.0005, "{share}: {got}");
    }
    let made =
        stream(&Options { repeat_share: 0.05, late_share: 0.03, ..options(Difficulty::Medium, 50_000, 17) });
    assert!((2_300..2_700).contains(&made.summary.repeats), "{}", made.summary.repeats);
    assert!((900..2_200).contains(&made.summary.late), "{}", made.summary.late);
}

#[test]
fn only_what_was_asked_for() {
    let only = |names: &[&str]| Options {
        only: names.iter().map(|&name| name.to_owned()).collect(),
        ..options(Difficulty::Medium, 10_000, 2)
    };
    let made = stream(&only(&["shopper", "burst_equal"]));
    assert_eq!(made.summary.habits.keys().copied().collect::<Vec<_>>(), ["shopper"]);
    assert_eq!(made.summary.attacks.keys().copied().collect::<Vec<_>>(), ["burst_equal"]);
    assert!(stream(&only(&["fixed_pace"])).summary.attacks.is_empty());
    assert_eq!(
        only(&["burts_equal"]).validate().unwrap_err().to_string().split(';').next().unwrap(),
        "'burts_equal' is neither an attack nor a habit"
    );
}

#[test]
fn small_and_crowded_streams_work() {
    assert_eq!(stream(&options(Difficulty::Medium, 1, 1)).summary.transactions, 1);
    let crowded = Options { agents: Some(3), ..options(Difficulty::Medium, 20_000, 1) };
    assert_eq!(stream(&crowded).summary.transactions, 20_000);
    let sparse = Options { agents: Some(50_000), ..options(Difficulty::Medium, 20_000, 1) };
    let made = stream(&sparse);
    assert_eq!(made.summary.transactions, 20_000);
    assert!(made.summary.agents > 2_000, "{}", made.summary.agents);
}

/// Amounts in units of 1e-8, read from the text, so that nothing is rounded.
fn units(record: &Value) -> i128 {
    let exponent = match text(record, "currency") {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    };
    if let Some(minor) = record["amount_minor"].as_i64() {
        return i128::from(minor) * 10_i128.pow(8 - exponent);
    }
    let printed = match &record["amount"] {
        Value::String(printed) => printed.clone(),
        other => other.to_string(),
    };
    decimal(&printed)
}

fn decimal(printed: &str) -> i128 {
    let (whole, fraction) = printed.split_once('.').unwrap_or((printed, ""));
    let fraction: i128 = format!("{fraction:0<8}").parse().unwrap();
    whole.parse::<i128>().unwrap() * 100_000_000 + fraction
}

/// A plain reading of SPEC 2 to 4 on mandates, in order of arrival.
#[derive(Default)]
struct Registry {
    versions: HashMap<String, Vec<Value>>,
    watermark_us: i64,
    spent: HashMap<(String, i64), i128>,
    uses: HashMap<String, i64>,
    held: HashMap<(String, String), Vec<String>>,
}

impl Registry {
    fn new(mandates: &[Value]) -> Self {
        let mut registry = Self { watermark_us: i64::MIN, ..Self::default() };
        for mandate in mandates {
            let id = text(mandate, "mandate_id").to_owned();
            let holder = (text(mandate, "user_id").to_owned(), text(mandate, "agent_id").to_owned());
            registry.held.entry(holder).or_default().push(id.clone());
            registry.versions.entry(id).or_default().push(mandate.clone());
        }
        registry
    }

    fn current(&self, id: &str) -> Option<&Value> {
        let known = |m: &&Value| m["updated_at"].is_null() || time_us(&m["updated_at"]) <= self.watermark_us;
        self.versions.get(id)?.iter().rev().find(known)
    }

    fn judge(&mut self, record: &Value) -> Option<&'static str> {
        let at = time_us(&record["tx_time"]);
        self.watermark_us = self.watermark_us.max(at.min(time_us(&record["record_time"])));
        let Some(id) = record["mandate_id"].as_str() else {
            let holder = (text(record, "user_id").to_owned(), text(record, "agent_id").to_owned());
            let active = |id: &String| {
                self.current(id).is_some_and(|m| {
                    m["status"] == "active"
                        && (time_us(&m["valid_from"])..=time_us(&m["valid_to"])).contains(&at)
                })
            };
            return self.held.get(&holder).is_some_and(|ids| ids.iter().any(active)).then_some("omitted");
        };
        let Some(mandate) = self.current(id).cloned() else { return Some("unknown") };
        let amount = units(record);
        let days = at.div_euclid(86_400_000_000);
        let period = match mandate["max_amount_period"].as_str() {
            Some("day") => days,
            Some("week") => (days + 3).div_euclid(7),
            Some("month") => {
                let date = chrono::DateTime::from_timestamp_micros(at).unwrap().date_naive();
                i64::from(date.year() * 12) + i64::from(date.month())
            }
            _ => 0,
        };
        let spent = self.spent.get(&(id.to_owned(), period)).copied().unwrap_or(0);
        let uses = self.uses.get(id).copied().unwrap_or(0);
        let violation = violation(&mandate, record, at, spent + amount, uses);
        if violation.is_none_or(|name| name == "paused") {
            *self.spent.entry((id.to_owned(), period)).or_default() += amount;
            *self.uses.entry(id.to_owned()).or_default() += 1;
        }
        violation
    }
}

fn violation(mandate: &Value, record: &Value, at: i64, spend: i128, uses: i64) -> Option<&'static str> {
    let merchant = text(record, "merchant").to_lowercase();
    let merchant = merchant.trim_start_matches("www.");
    let mut allowed: Vec<&str> = mandate["scope_merchant"].as_str().into_iter().collect();
    allowed.extend(mandate["allowed_merchants"].as_array().into_iter().flatten().filter_map(Value::as_str));
    let categories = mandate["allowed_categories"].as_array();
    let max = |field: &str| mandate[field].as_str().map(decimal);
    if mandate["agent_id"] != record["agent_id"] || mandate["user_id"] != record["user_id"] {
        Some("not_held")
    } else if mandate["status"] == "revoked" {
        Some("revoked")
    } else if at > time_us(&mandate["valid_to"]) {
        Some("expired")
    } else if at < time_us(&mandate["valid_from"]) {
        Some("not_yet_valid")
    } else if mandate["currency"] != record["currency"] {
        Some("wrong_currency")
    } else if max("max_amount").is_some_and(|cap| spend > cap) {
        Some("over_cap")
    } else if mandate["max_uses"].as_i64().is_some_and(|most| uses >= most) {
        Some("over_uses")
    } else if max("per_transaction_max").is_some_and(|most| units(record) > most) {
        Some("over_per_transaction")
    } else if !allowed.is_empty() && !allowed.contains(&merchant) {
        Some("strict")
    } else if categories.is_some_and(|list| !list.contains(&record["merchant_category"])) {
        Some("category_not_allowed")
    } else if mandate["status"] == "paused" {
        Some("paused")
    } else {
        None
    }
}

fn expected(attack: &str) -> &'static [&'static str] {
    match attack {
        "cap_replay" | "cap_probing" => &["over_cap"],
        "single_use_replay" => &["over_uses", "over_cap"],
        "use_before_valid" => &["not_yet_valid"],
        "use_after_expiry" => &["expired"],
        "use_revoked" | "revocation_race" => &["revoked"],
        "use_not_held" => &["not_held"],
        "scope_merchant" => &["strict"],
        "scope_category" => &["category_not_allowed"],
        "use_paused" => &["paused"],
        "mandate_omitted" => &["omitted"],
        _ => &[],
    }
}

#[test]
fn a_plain_reading_of_the_mandates_agrees_with_the_labels() {
    for (difficulty, seed) in
        [(Difficulty::Easy, 1), (Difficulty::Medium, 2), (Difficulty::Medium, 3), (Difficulty::Hard, 4)]
    {
        let made =
            stream(&Options { fraud_share: 0.06, late_share: 0.01, ..options(difficulty, 60_000, seed) });
        let labels: HashMap<String, Value> =
            lines(&made.labels).into_iter().map(|label| (text(&label, "tx_id").to_owned(), label)).collect();
        let mut registry = Registry::new(&lines(&made.mandates));
        let mut seen = BTreeSet::new();
        let mut fraud = 0;
        for record in lines(&made.transactions) {
            if !seen.insert(text(&record, "tx_id").to_owned()) {
                continue;
            }
            let label = &labels[text(&record, "tx_id")];
            let found = registry.judge(&record);
            let attack = label["attack"].as_str().unwrap_or("");
            let wanted = expected(attack);
            let agrees = found.map_or(wanted.is_empty(), |tier| wanted.contains(&tier));
            assert!(agrees, "{difficulty:?} seed {seed}: {found:?} for {label} of {record}");
            fraud += u64::from(!wanted.is_empty());
        }
        assert!(fraud > 400, "{fraud}");
    }
}

#[test]
fn each_kind_of_attack_is_of_its_own_nature() {
    let names: BTreeSet<&str> = ATTACKS.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), ATTACKS.len());
    for kind in ATTACKS {
        let lawful = expected(kind.name).is_empty();
        assert_eq!(
            kind.group == Group::MandateViolation,
            !lawful && !["use_paused", "mandate_omitted"].contains(&kind.name)
        );
        assert!(!kind.detectors.is_empty());
    }
}
