//! A fixed stream decided from end to end, and one digest over everything that came out. The digest is
//! committed, so every build that runs this test (debug and release, today's platform and another) is
//! held to the same bytes. After a change that is meant to change them:
//! `WEIR_BLESS=1 cargo test -p weir-engine --test digest`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde::Serialize;
use sha2::{Digest, Sha256};
use weir_detectors::risk::VIEWS;
use weir_engine::{Admission, Config, Intake, MandateChange, Schedule, Shard};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::{Currency, Decision, Verdict};
use weir_sim::{Difficulty, Options};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/digest.golden");

/// What was counted on the way, so that a digest over nothing cannot pass.
#[derive(Debug, Default)]
struct Counts {
    decisions: usize,
    signals: usize,
    late: usize,
    duplicates: usize,
    alerts: usize,
}

/// One digest over records as they are published.
#[derive(Default)]
struct Bytes(Sha256);

impl Bytes {
    fn add(&mut self, record: &impl Serialize) {
        self.0.update(serde_json::to_vec(record).unwrap());
        self.0.update(b"\n");
    }

    fn decision(&mut self, decision: &Decision<'_>) {
        let mut line = Vec::new();
        decision.write(&mut line);
        line.push(b'\n');
        self.0.update(line);
    }

    fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Applies mandates as they come into force.
fn apply(shard: &mut Shard, changes: impl Iterator<Item = MandateChange>) {
    changes.for_each(|change| shard.apply(&change).unwrap());
}

/// The digest of all decisions, alerts, profiles and rows on one generated stream.
fn decided(difficulty: Difficulty, counts: &mut Counts) -> String {
    let options = Options {
        transactions: 12_000,
        seed: 20_260_301,
        difficulty,
        fraud_share: 0.1,
        late_share: 0.01,
        repeat_share: 0.02,
        ..Options::default()
    };
    let (mut transactions, mut mandates, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    weir_sim::generate(&options, &mut transactions, &mut mandates, &mut labels).unwrap();

    let config = Config::default();
    let digest = config.digest();
    // The seeds spread the hash tables alone. Another one in every run would find out if they did not.
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let (mut intake, mut shard) = (Intake::new(&config, seed), Shard::new(&config, seed));
    let changes = lines(&mandates).map(|line| shard.prepare(&parse_mandate(line, Currency::USD).unwrap()));
    let mut schedule = Schedule::new(changes.collect());
    apply(&mut shard, schedule.take_due(None));

    let mut bytes = Bytes::default();
    let (mut verdict, mut alerts) = (Verdict::default(), Vec::new());
    for line in lines(&transactions) {
        let tx = parse_transaction(line, Currency::USD).unwrap();
        let admission = intake.admit(&tx, Intake::key(&tx));
        apply(&mut shard, schedule.take_due(intake.greatest_us()));
        match admission {
            Admission::New(stamp) => {
                shard.decide(&tx, &stamp, &mut verdict, &mut alerts).unwrap();
                bytes.decision(&Decision { transaction: &tx, verdict: &verdict, config_digest: &digest });
                counts.decisions += 1;
                counts.signals += verdict.signals.len();
                counts.late += usize::from(stamp.late);
            }
            Admission::Duplicate => counts.duplicates += 1,
            Admission::Rejected(fault) => bytes.add(&fault.code),
        }
        counts.alerts += alerts.len();
        alerts.drain(..).for_each(|alert| bytes.add(&alert));
    }
    apply(&mut shard, schedule.take_rest());
    let mut profiles: Vec<_> = shard.profiles().collect();
    profiles.sort_unstable_by(|a, b| (&a.agent_id, &a.user_id).cmp(&(&b.agent_id, &b.user_id)));
    profiles.iter().for_each(|profile| bytes.add(profile));
    for view in &VIEWS {
        bytes.add(&view.name);
        bytes.add(&format!("{:?}", shard.rows(view)));
    }
    bytes.hex()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

#[test]
fn every_build_gives_the_same_bytes() {
    let mut counts = Counts::default();
    let mut found = String::new();
    for (name, difficulty) in
        [("easy", Difficulty::Easy), ("medium", Difficulty::Medium), ("hard", Difficulty::Hard)]
    {
        found.push_str(&format!("{name} {}\n", decided(difficulty, &mut counts)));
    }
    let Counts { decisions, signals, late, duplicates, alerts } = counts;
    assert_eq!(decisions, 36_000);
    assert!(signals > 2_000 && late > 100 && duplicates > 100 && alerts > 100, "{counts:?}");
    if std::env::var_os("WEIR_BLESS").is_some() {
        return std::fs::write(GOLDEN, found).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    assert_eq!(
        found, golden,
        "the decisions are other bytes than tests/digest.golden says. If that is meant: \
         WEIR_BLESS=1 cargo test -p weir-engine --test digest"
    );
}
