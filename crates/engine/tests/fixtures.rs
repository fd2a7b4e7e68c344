//! Every folder of `fixtures/` that names a detector: it fires on one stream and not on its near-miss
//! twin, in signals and in views.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use weir_detectors::TABLE;
use weir_detectors::risk::VIEWS;
use weir_engine::{Admission, Config, Intake, MandateChange, Schedule, Shard, TransactionViews};
use weir_events::Verdict;
use weir_events::codec::{parse_mandate, parse_transaction};

/// What a stream gives: its reason codes, and the number of rows of each view that has any, but for
/// `risk`, which has one per agent.
#[derive(Debug, PartialEq, Eq)]
struct Gives {
    reasons: BTreeSet<String>,
    rows: BTreeMap<String, u64>,
}

impl Gives {
    fn expected(expected: &Value) -> Self {
        let reasons = expected["reasons"].as_array().unwrap().iter();
        let rows = expected["rows"].as_object().unwrap().iter();
        Self {
            reasons: reasons.map(|code| code.as_str().unwrap().to_owned()).collect(),
            rows: rows.map(|(view, rows)| (view.clone(), rows.as_u64().unwrap())).collect(),
        }
    }

    /// Decides the stream in `folder` as a replay does.
    fn of(folder: &Path) -> Self {
        let config = Config::default();
        let (mut intake, mut shard) = (Intake::new(&config, 1), Shard::new(&config, 1));
        let (mut verdict, mut alerts) = (Verdict::default(), Vec::new());
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let changes: Vec<MandateChange> = read("mandates.ndjson")
            .lines()
            .map(|line| shard.prepare(&parse_mandate(line.as_bytes(), config.base_currency.0).unwrap()))
            .collect();
        let per_transaction = TransactionViews::new(&shard, &changes);
        let mut schedule = Schedule::new(changes);
        let mut put_in_force = |shard: &mut Shard, greatest_us: Option<i64>| {
            schedule.take_due(greatest_us).for_each(|change| shard.apply(&change).unwrap());
        };
        put_in_force(&mut shard, None);
        let mut gives = Self { reasons: BTreeSet::new(), rows: BTreeMap::new() };
        for line in read("transactions.ndjson").lines() {
            let tx = parse_transaction(line.as_bytes(), config.base_currency.0).unwrap();
            let admission = intake.admit(&tx, Intake::key(&tx));
            put_in_force(&mut shard, intake.greatest_us());
            let Admission::New(stamp) = admission else { panic!("{line} is not accepted") };
            shard.decide(&tx, &stamp, &mut verdict, &mut alerts).unwrap();
            let codes = verdict.signals.iter().map(|signal| format!("{}.{}", signal.detector, signal.tier));
            gives.reasons.extend(codes);
            let (scope_row, window_row) = per_transaction.rows(&tx);
            gives.count("scope", u64::from(scope_row.is_some()));
            gives.count("replay_window", u64::from(window_row.is_some()));
        }
        for view in VIEWS.iter().filter(|view| view.name != "risk") {
            gives.count(view.name, shard.rows(view).len() as u64);
        }
        gives
    }

    fn count(&mut self, view: &str, rows: u64) {
        if rows > 0 {
            *self.rows.entry(view.to_owned()).or_default() += rows;
        }
    }
}

#[test]
fn every_detector_fires_on_its_fixture_and_not_on_the_near_miss() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    // A detector without a view judges the input itself and has no folder.
    for detector in TABLE.iter().filter(|entry| !entry.views.is_empty()) {
        let folder = fixtures.join(detector.name);
        let text = fs::read_to_string(folder.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        for stream in ["fires", "near_miss"] {
            let gives = Gives::of(&folder.join(stream));
            assert_eq!(gives, Gives::expected(&expected[stream]), "{}/{stream}", detector.name);
            let own = |code: &String| code.starts_with(&format!("{}.", detector.name));
            assert_eq!(gives.reasons.iter().any(own), stream == "fires", "{}/{stream}", detector.name);
            for view in detector.views {
                assert_eq!(
                    gives.rows.contains_key(view.name),
                    stream == "fires",
                    "{} of {stream}",
                    view.name
                );
            }
        }
    }
}
