//! The configuration through the command: files, variables and flags, and every kind of mistake.

use serde_json::Value;

use crate::support::{
    Folder, Ran, assert_nothing, reference_mandates, reference_transactions, replay, run, summary, weir,
};

/// A file with this text is refused by every command that takes one, with exit 2 and these words.
#[track_caller]
fn refused(text: &str, told: &[&str]) {
    let folder = Folder::new();
    let (config, out) = (folder.file("weir.toml", text), folder.text("out"));
    run(["check", "--offline", "--config", &config]).ended(2).told(told).told(&[&config]);
    replay(&reference_transactions(), None, &out, &["--config", &config]).ended(2).told(told);
    assert_nothing(&out);
}

#[test]
fn mistakes_in_a_file_are_told_with_line_column_and_the_nearest_name() {
    refused("[detectors.burst]\nmin_cuont = 7\n", &["weir.toml:2:1", "did you mean `min_count`?"]);
    refused("[detectrs.burst]\nmin_count = 7\n", &["weir.toml:1:2", "did you mean `detectors`?"]);
    refused("[time]\n  max_lateness = 300\n", &["weir.toml:2:18", "max_lateness"]);
    refused("[time]\nmax_lateness = \"5 min\"\n", &["weir.toml:2:16", "5m"]);
    refused("base_currency = \"USDT\"\n", &["weir.toml:1:17"]);
    refused("[decision.floors]\n\"scope.strikt\" = \"block\"\n", &["weir.toml:2:1", "`scope.strict`"]);
    refused("[risk]\nscale = 1e400\n", &["weir.toml:2:"]);
    refused("a = [\n", &["weir.toml:"]);
}

#[test]
fn files_that_are_none() {
    let folder = Folder::new();
    let not_text = folder.file("binary", b"\xFF\xFE\0");
    for (path, told) in
        [(folder.text("nowhere"), "cannot read"), (folder.text(""), "is a directory"), (not_text, "UTF-8")]
    {
        run(["check", "--offline", "--config", &path]).ended(2).told(&[told, &path]);
    }
}

#[test]
fn variables_and_flags_name_themselves() {
    let with = |name: &str, value: &str| -> Ran {
        weir().args(["check", "--offline"]).env(name, value).output().unwrap().into()
    };
    with("WEIR_DETECTORS__BURST__MIN_COUNT", "many").ended(2).told(&["WEIR_DETECTORS__BURST__MIN_COUNT"]);
    with("WEIR_TIME__MAX_LATNESS", "5m").ended(2).told(&["did you mean `WEIR_TIME__MAX_LATENESS`"]);
    with("WEIR_TIME__MAX_LATENESS", "7m").ended(0);
    run(["check", "--offline", "--set", "time.max_latness=5m"]).ended(2).told(&["--set", "`max_lateness`"]);
    run(["check", "--offline", "--set", "time"]).ended(2).told(&["--set"]);
    let out = Folder::new().text("out");
    replay(&reference_transactions(), None, &out, &["--max-lateness", "soon"])
        .ended(2)
        .told(&["--max-lateness", "`soon` is not a length of time"]);
    assert_nothing(&out);
}

/// What each way to set a key gives: the digest of the configuration, and with it the decisions.
#[test]
fn every_way_to_set_a_key_means_the_same() {
    let folder = Folder::new();
    let digest = |args: &[&str], variable: Option<(&str, &str)>| -> Value {
        let out = folder.text("out");
        let (transactions, mandates) = (reference_transactions(), reference_mandates());
        let inputs = ["replay", "--transactions", &transactions, "--mandates", &mandates, "--out", &out];
        let ran: Ran = weir().args(inputs).args(args).envs(variable).output().unwrap().into();
        ran.ended(0);
        summary(&out)["config_digest"].clone()
    };
    let file = folder.file("weir.toml", "[time]\nmax_lateness = \"7m\"\n");
    let config = ["--config", &file];
    let by_file = digest(&config, None);
    assert_eq!(digest(&["--max-lateness", "7m"], None), by_file);
    assert_eq!(digest(&["--set", "time.max_lateness=7m"], None), by_file);
    assert_eq!(digest(&[], Some(("WEIR_TIME__MAX_LATENESS", "7m"))), by_file);
    let defaults = digest(&[], None);
    assert_ne!(defaults, by_file);
    // A flag stands over a variable, a variable over the file.
    let over = [&config[..], &["--max-lateness", "5m"]].concat();
    assert_eq!(digest(&over, Some(("WEIR_TIME__MAX_LATENESS", "9m"))), defaults);
    assert_eq!(digest(&config, Some(("WEIR_TIME__MAX_LATENESS", "5m"))), defaults);
    // What decides nothing is not covered.
    assert_eq!(digest(&["--set", "http.listen=127.0.0.1:9999"], None), defaults);
}

#[test]
fn the_documented_file_is_valid_and_is_the_defaults() {
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../../weir.default.toml");
    let digest = |ran: &Ran| ran.out.lines().next().unwrap().split("digest ").nth(1).unwrap().to_owned();
    let (given, defaults) =
        (run(["check", "--offline", "--config", documented]).ended(0), run(["check", "--offline"]).ended(0));
    assert_eq!(digest(&given), digest(&defaults));
    assert!(given.out.contains("valid"), "{}", given.out);
}

#[test]
fn check_warns_of_currencies_without_a_rate() {
    run(["check", "--offline"]).ended(0).told(&["no currency has a rate", "[currency_rates]"]);
    let ran = run(["check", "--offline", "--set", "currency_rates.EUR=1.08"]).ended(0);
    assert!(ran.out.contains("rates into USD: EUR"), "{}", ran.out);
    assert_eq!(ran.err, "");
}
