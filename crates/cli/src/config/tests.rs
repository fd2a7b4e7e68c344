//! One block per case: what the operator wrote, and every word of what they are told.

use std::fs;
use std::path::Path;

use weir_events::span::Span;

use super::path::leaves;
use super::service::Log;
use super::{Config, Override, Problems, defaults, load, parse};

/// The file that documents every key.
const DOCUMENTED: &str = include_str!("../../../../weir.default.toml");

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(text: &str, variables: &[(&str, &str)], flags: &[Override]) -> Config {
    parse(text, &environment(variables), flags).unwrap_or_else(|problems| {
        let problems = Problems { name: "weir.toml".to_owned(), text: text.to_owned(), problems };
        panic!("{problems}")
    })
}

fn told(text: &str, variables: &[(&str, &str)], flags: &[Override]) -> String {
    let problems = parse(text, &environment(variables), flags).expect_err("it must be refused");
    Problems { name: "weir.toml".to_owned(), text: text.to_owned(), problems }.to_string()
}

/// The file is refused with exactly this message.
#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(told(text, &[], &[]), expected.trim_matches('\n'), "{text}");
}

/// A variable is refused with exactly this message.
#[track_caller]
fn check_variable(name: &str, value: &str, expected: &str) {
    assert_eq!(told("", &[(name, value)], &[]), expected.trim_matches('\n'), "{name}={value}");
}

/// `--set` is refused with exactly this message.
#[track_caller]
fn check_set(assignment: &str, expected: &str) {
    assert_eq!(told("", &[], &[Override::set(assignment)]), expected.trim_matches('\n'), "{assignment}");
}

#[test]
fn an_unknown_key_names_the_nearest() {
    check(
        "lgo = \"kafka\"",
        r#"
error: unknown key `lgo`
 --> weir.toml:1:1
  |
1 | lgo = "kafka"
  | ^^^ did you mean `log`?
  |
  = help: the keys at the top level are `base_currency`, `bounds`, `currency_rates`, `data_dir`, `decision`, `detectors`, `http`, `kafka`, `log`, `registry`, `risk`, `snapshots`, `time`
"#,
    );
    check(
        "log = \"embedded\"\n\n[detectors.burst]\nwindow = \"30s\"\n  min_cuont = 7 # seven\n",
        r"
error: unknown key `min_cuont` in [detectors.burst]
 --> weir.toml:5:3
  |
5 |   min_cuont = 7 # seven
  |   ^^^^^^^^^ did you mean `min_count`?
  |
  = help: the keys in [detectors.burst] are `max_threshold`, `min_count`, `window`
",
    );
}

#[test]
fn an_unknown_section_names_the_nearest() {
    check(
        "[snapshot]\nevery = \"60s\"",
        r"
error: unknown key `snapshot`
 --> weir.toml:1:2
  |
1 | [snapshot]
  |  ^^^^^^^^ did you mean `snapshots`?
  |
  = help: the keys at the top level are `base_currency`, `bounds`, `currency_rates`, `data_dir`, `decision`, `detectors`, `http`, `kafka`, `log`, `registry`, `risk`, `snapshots`, `time`
",
    );
}

#[test]
fn a_key_in_the_wrong_section_names_the_right_one() {
    check(
        "[snapshots]\nradius_km = 300",
        r"
error: unknown key `radius_km` in [snapshots]
 --> weir.toml:2:1
  |
2 | radius_km = 300
  | ^^^^^^^^^ `radius_km` is a key of [detectors.geo_stationarity]
  |
  = help: the keys in [snapshots] are `every`, `url`
",
    );
    check(
        "[http]\nbananas = 3",
        r"
error: unknown key `bananas` in [http]
 --> weir.toml:2:1
  |
2 | bananas = 3
  | ^^^^^^^ no key has such a name
  |
  = help: the keys in [http] are `listen`, `max_requests_per_second`, `token_file`
",
    );
}

#[test]
fn a_wrong_type_says_what_was_found_and_what_is_expected() {
    check(
        "[time]\nmax_lateness = 5",
        r#"
error: wrong type for `time.max_lateness`
 --> weir.toml:2:16
  |
2 | max_lateness = 5
  |                ^ found the whole number 5, expected a length of time such as "5m"
"#,
    );
    check(
        "[detectors.burst]\nmin_count = \"five\"",
        r#"
error: wrong type for `detectors.burst.min_count`
 --> weir.toml:2:13
  |
2 | min_count = "five"
  |             ^^^^^^ found the text "five", expected a whole number such as 5
"#,
    );
    check(
        "[detectors.burst]\nmin_count = 5.5",
        r"
error: wrong type for `detectors.burst.min_count`
 --> weir.toml:2:13
  |
2 | min_count = 5.5
  |             ^^^ found the number 5.5, expected a whole number such as 5
",
    );
    check(
        "detectors = 3",
        r"
error: wrong type for `detectors`
 --> weir.toml:1:13
  |
1 | detectors = 3
  |             ^ found the whole number 3, expected a table
",
    );
    check(
        "[kafka]\nbrokers = [\"a:1\", \"b:1\"]",
        r#"
error: wrong type for `kafka.brokers`
 --> weir.toml:2:11
  |
2 | brokers = ["a:1", "b:1"]
  |           ^^^^^^^^^^^^^^ found a list, expected a text in quotes such as "localhost:9092"
"#,
    );
}

#[test]
fn a_decimal_stands_in_quotes() {
    check(
        "[detectors.collusion]\nmax_amount_difference = 10",
        r#"
error: wrong type for `detectors.collusion.max_amount_difference`
 --> weir.toml:2:25
  |
2 | max_amount_difference = 10
  |                         ^^ found the whole number 10, expected a decimal in quotes such as "10"
"#,
    );
}

#[test]
fn a_wrong_value_says_what_is_expected() {
    check(
        "[time]\nmax_lateness = \"5 minutes\"",
        r#"
error: wrong value for `time.max_lateness`
 --> weir.toml:2:16
  |
2 | max_lateness = "5 minutes"
  |                ^^^^^^^^^^^ `5 minutes` is not a length of time; write a whole number and a unit, such as "60s", "5m", "24h" or "50ms"
"#,
    );
    check(
        "[detectors.burst]\nmin_count = -1",
        r"
error: wrong value for `detectors.burst.min_count`
 --> weir.toml:2:13
  |
2 | min_count = -1
  |             ^^ invalid value: integer `-1`, expected a whole number from 0 to 4294967295 (the default is 5)
",
    );
    check(
        "log = \"kafak\"",
        r#"
error: wrong value for `log`
 --> weir.toml:1:7
  |
1 | log = "kafak"
  |       ^^^^^^^ unknown variant `kafak`, expected `kafka` or `embedded`; did you mean `kafka`?
"#,
    );
    check(
        "[http]\nlisten = \"localhost\"",
        r#"
error: wrong value for `http.listen`
 --> weir.toml:2:10
  |
2 | listen = "localhost"
  |          ^^^^^^^^^^^ invalid socket address syntax (the default is "127.0.0.1:8080")
"#,
    );
}

#[test]
fn values_that_can_be_read_are_judged() {
    check(
        "[http]\nlisten = \"0.0.0.0:8080\"",
        r#"
error: wrong value for `http.listen`
 --> weir.toml:2:10
  |
2 | listen = "0.0.0.0:8080"
  |          ^^^^^^^^^^^^^^ is reachable from other machines, so `http.token_file` must name a file that holds a token (the default is "127.0.0.1:8080")
"#,
    );
    loaded("[http]\nlisten = \"0.0.0.0:8080\"\ntoken_file = \"token\"", &[], &[]);
    check(
        "[snapshots]\nurl = \"ftp://x\"",
        r#"
error: wrong value for `snapshots.url`
 --> weir.toml:2:7
  |
2 | url = "ftp://x"
  |       ^^^^^^^^^ must be a URL that begins with file:, s3:, gs: or az: (the default is "file:weir-data/snapshots")
"#,
    );
    check(
        "[detectors.burst]\nmin_count = 0",
        r"
error: wrong value for `detectors.burst.min_count`
 --> weir.toml:2:13
  |
2 | min_count = 0
  |             ^ must be at least 1 (the default is 5)
",
    );
}

#[test]
fn a_dot_in_a_name_needs_quotes() {
    check(
        "[detectors.scope.merchant_categories]\nexpedia.com = \"travel\"",
        r#"
error: wrong value for `detectors.scope.merchant_categories.expedia`
 --> weir.toml:2:1
  |
2 | expedia.com = "travel"
  | ^^^^^^^ found a table
  |
  = help: a name that holds a dot stands in quotes: "expedia.com"
"#,
    );
    check_set(
        "risk.caps.burst.rate=50",
        r#"
error: --set risk.caps.burst.rate: wrong value for `risk.caps.burst`: found a table
 |
 = help: a name that holds a dot stands in quotes: "burst.rate"
"#,
    );
}

#[test]
fn caps_and_floors_are_of_tiers() {
    check(
        "[decision.floors]\n\"replay.*\" = \"review\"\n\"scope.strikt\" = \"block\"",
        r#"
error: unknown tier `scope.strikt` in [decision.floors]
 --> weir.toml:3:1
  |
3 | "scope.strikt" = "block"
  | ^^^^^^^^^^^^^^ did you mean `scope.strict`?
  |
  = help: the tiers of scope are `scope.strict`, `scope.category_not_allowed`, `scope.category`, `scope.*`
"#,
    );
    check(
        "[risk.caps]\n\"burst.*\" = \"50\"",
        r#"
error: unknown tier `burst.*` in [risk.caps]
 --> weir.toml:2:1
  |
2 | "burst.*" = "50"
  | ^^^^^^^^^ the detector has no such tier
  |
  = help: the tiers of burst are `burst.machine`, `burst.pace`, `burst.rate`, `burst.rate_bounded`
"#,
    );
    check(
        "[risk.caps]\n\"weather.rain\" = \"50\"",
        r#"
error: unknown tier `weather.rain` in [risk.caps]
 --> weir.toml:2:1
  |
2 | "weather.rain" = "50"
  | ^^^^^^^^^^^^^^ no detector has such a name
"#,
    );
    check(
        "[decision.floors]\n\"scope.strict\" = \"refuse\"",
        r#"
error: wrong value for `decision.floors.scope.strict`
 --> weir.toml:2:18
  |
2 | "scope.strict" = "refuse"
  |                  ^^^^^^^^ unknown variant `refuse`, expected one of `none`, `challenge`, `review`, `block` (the default is "block")
"#,
    );
}

#[test]
fn what_is_not_toml_points_at_the_fault() {
    check(
        "log = \"kafka\"\n[time\nmax_lateness = \"5m\"",
        r"
error: the file is not valid TOML
 --> weir.toml:2:6
  |
2 | [time
  |      ^ unclosed table, expected `]`
",
    );
    check(
        "log = \"kafka\"\nlog = \"embedded\"",
        r#"
error: the file is not valid TOML
 --> weir.toml:2:1
  |
2 | log = "embedded"
  | ^^^ duplicate key
"#,
    );
}

#[test]
fn every_problem_is_told_in_the_order_of_the_file() {
    check(
        "lgo = 1\n[time]\nmax_lateness = \"x\"\nmandate_wait = 3\n[kafka]\nstart = \"first\"",
        r#"
error: unknown key `lgo`
 --> weir.toml:1:1
  |
1 | lgo = 1
  | ^^^ did you mean `log`?
  |
  = help: the keys at the top level are `base_currency`, `bounds`, `currency_rates`, `data_dir`, `decision`, `detectors`, `http`, `kafka`, `log`, `registry`, `risk`, `snapshots`, `time`

error: wrong value for `time.max_lateness`
 --> weir.toml:3:16
  |
3 | max_lateness = "x"
  |                ^^^ `x` is not a length of time; write a whole number and a unit, such as "60s", "5m", "24h" or "50ms"

error: wrong type for `time.mandate_wait`
 --> weir.toml:4:16
  |
4 | mandate_wait = 3
  |                ^ found the whole number 3, expected a length of time such as "50ms"

error: wrong value for `kafka.start`
 --> weir.toml:6:9
  |
6 | start = "first"
  |         ^^^^^^^ unknown variant `first`, expected `earliest` or `latest` (the default is "earliest")
"#,
    );
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    check_variable(
        "WEIR_HTTP__LISTNE",
        "x",
        r"
error: WEIR_HTTP__LISTNE: unknown key `listne` in [http]: did you mean `WEIR_HTTP__LISTEN`?
 |
 = help: the keys in [http] are `WEIR_HTTP__LISTEN`, `WEIR_HTTP__MAX_REQUESTS_PER_SECOND`, `WEIR_HTTP__TOKEN_FILE`
",
    );
    check_variable(
        "WEIR_KAFKA_BROKERS",
        "x",
        "error: WEIR_KAFKA_BROKERS: unknown key: did you mean `WEIR_KAFKA__BROKERS`?",
    );
    check_variable("WEIR_LGO", "x", "error: WEIR_LGO: unknown key: did you mean `WEIR_LOG`?");
    check_variable(
        "WEIR_DETECTORS__BURST__MIN_COUNT",
        "five",
        "error: WEIR_DETECTORS__BURST__MIN_COUNT: wrong type for `detectors.burst.min_count`: found the text \"five\", expected a whole number such as 5",
    );
    check_variable(
        "WEIR_TIME__MAX_LATENESS",
        "5",
        "error: WEIR_TIME__MAX_LATENESS: wrong value for `time.max_lateness`: `5` is not a length of time; write a whole number and a unit, such as \"60s\", \"5m\", \"24h\" or \"50ms\"",
    );
    check_variable(
        "WEIR_KAFKA",
        "localhost",
        "error: WEIR_KAFKA: wrong type for `kafka`: found the text \"localhost\", expected a table",
    );
}

#[test]
fn a_flag_that_is_wrong_is_named() {
    check_set(
        "detectors.brust.min_count=3",
        r"
error: --set detectors.brust.min_count: unknown key `brust` in [detectors]: did you mean `burst`?
 |
 = help: the keys in [detectors] are `burst`, `cadence`, `collusion`, `cross_merchant`, `geo_stationarity`, `input`, `mandate`, `replay`, `scope`
",
    );
    check_set(
        "a b=3",
        r"
error: --set a b: `a b` is not a key
 |
 = help: write --set section.key=value
",
    );
    let flag = [Override::flag("--max-lateness", "time.max_lateness", "soon")];
    assert_eq!(
        told("", &[], &flag),
        "error: --max-lateness: wrong value for `time.max_lateness`: `soon` is not a length of time; write a whole number and a unit, such as \"60s\", \"5m\", \"24h\" or \"50ms\""
    );
}

#[test]
fn secrets_stay_out_of_messages() {
    let told = told("", &[("WEIR_KAFKA__PROPERTIES", "hunter2")], &[]);
    assert!(told.contains("kafka.properties") && !told.contains("hunter2"), "{told}");
    let config = loaded("[kafka.properties]\n\"sasl.password\" = \"hunter2\"", &[], &[]);
    let shown = format!("{config:?}");
    assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn other_peoples_variables_are_left_alone() {
    let variables = [
        ("WEIR_STREAMS", "1000"),
        ("WEIR_SEED", "7"),
        ("WEIR_BLESS", "1"),
        ("WEIR_SERVICE_HOST", "10.0.0.1"),
        ("WEIR_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("KAFKA__BROKERS", "x"),
        ("PATH", "/bin"),
    ];
    assert_eq!(loaded("", &variables, &[]), Config::default());
}

#[test]
fn later_sources_win() {
    let text = "[time]\nmax_lateness = \"1m\"\nmax_clock_skew = \"1m\"\ndedup_horizon = \"48h\"";
    let variables = [("WEIR_TIME__MAX_LATENESS", "2m"), ("WEIR_TIME__MAX_CLOCK_SKEW", "\"2m\"")];
    let flags =
        [Override::flag("--max-lateness", "time.max_lateness", "3m"), Override::set("log = embedded")];
    let config = loaded(text, &variables, &flags);
    assert_eq!(config.engine.time.max_lateness, Span::minutes(3));
    assert_eq!(config.engine.time.max_clock_skew, Span::minutes(2));
    assert_eq!(config.engine.time.dedup_horizon, Span::hours(48));
    assert_eq!(config.engine.time.mandate_wait, Config::default().engine.time.mandate_wait);
    assert_eq!(config.service.log, Log::Embedded);
}

#[test]
fn text_takes_what_is_written_and_maps_grow_by_entries() {
    let text = "[kafka.properties]\n\"linger.ms\" = 5\n\"security.protocol\" = \"plaintext\"";
    let variables = [
        ("WEIR_KAFKA__GROUP_ID", "42"),
        ("WEIR_KAFKA__PROPERTIES", "{ \"security.protocol\" = \"ssl\", \"enable.x\" = true }"),
        ("WEIR_DETECTORS__SCOPE__MERCHANT_CATEGORIES__Shop", "travel"),
        ("WEIR_DETECTORS__GEO_STATIONARITY__RADIUS_KM", "300"),
    ];
    let flags = [Override::set("kafka.properties.\"sasl.username\"=7")];
    let config = loaded(text, &variables, &flags);
    assert_eq!(config.service.kafka.group_id, "42");
    let properties: Vec<(&str, &str)> = config
        .service
        .kafka
        .properties
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected =
        [("enable.x", "true"), ("linger.ms", "5"), ("sasl.username", "7"), ("security.protocol", "ssl")];
    assert_eq!(properties, expected);
    assert_eq!(
        config.engine.detectors.scope.merchant_categories.get("Shop").map(String::as_str),
        Some("travel")
    );
    assert!((config.engine.detectors.geo_stationarity.radius_km - 300.0).abs() < f64::EPSILON);
}

#[test]
fn a_file_that_cannot_be_read_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let told = |path: &Path| load(Some(path), &[], &[]).expect_err("it must be refused").to_string();

    let missing = told(&folder.path().join("weir.toml"));
    assert!(missing.contains("cannot read the configuration file"), "{missing}");
    assert!(missing.contains("weir.toml") && missing.contains("may be left out"), "{missing}");

    let directory = told(folder.path());
    assert!(directory.contains("is a directory") && directory.contains("weir.default.toml"), "{directory}");

    let binary = folder.path().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).expect("it is written");
    assert!(told(&binary).contains("is not UTF-8 text"), "{}", told(&binary));
}

#[test]
fn color_changes_nothing_but_color() {
    let problems = parse("lgo = 1", &[], &[]).expect_err("it must be refused");
    let problems = Problems { name: "weir.toml".to_owned(), text: "lgo = 1".to_owned(), problems };
    let colored = problems.render(true);
    assert!(colored.contains('\u{1b}'));
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').expect("an escape ends with m").1;
    }
    plain.push_str(rest);
    assert_eq!(plain, problems.render(false));
}

#[test]
fn a_damaged_file_is_refused_in_words() {
    let mut refused = 0;
    for (at, _) in DOCUMENTED.char_indices().step_by(23) {
        let (before, after) = DOCUMENTED.split_at(at);
        for damaged in [
            before.to_owned(),
            format!("{before}é{after}"),
            format!("{before}\"{after}"),
            format!("{before}[{after}"),
        ] {
            if let Err(problems) = parse(&damaged, &[], &[]) {
                let told = Problems { name: "weir.toml".to_owned(), text: damaged, problems }.render(true);
                assert!(told.contains("weir.toml"), "{told}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn the_documented_file_is_the_defaults() {
    let documented: toml::Table = DOCUMENTED.parse().expect("weir.default.toml is TOML");
    let typed = defaults(&Config::default()).expect("the defaults are TOML");
    let (written, known) = (leaves(&documented), leaves(&typed));
    let missing: Vec<_> = known.iter().filter(|key| !written.contains(key)).collect();
    let unknown: Vec<_> = written.iter().filter(|key| !known.contains(key)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}\nunknown: {unknown:?}");
    assert_eq!(loaded(DOCUMENTED, &[], &[]), Config::default());
}

#[test]
fn every_documented_key_has_its_words() {
    let mut commented = false;
    for line in DOCUMENTED.lines() {
        match line.chars().next() {
            None => commented = false,
            Some('#') => commented = true,
            // A section's own words stand over its header, and do for all its keys.
            Some('[') => {}
            Some(_) => assert!(commented, "no comment for: {line}"),
        }
    }
}
