//! The text that Prometheus reads.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use weir_events::Amount;
use weir_events::Risk;
use weir_events::alert::Recommended;
use weir_events::decision::Signal;

use super::*;

/// A signal of the detector at a position of the table, with the tier at a position of its tiers.
fn signal(detector: usize, tier: usize) -> Signal {
    let entry = &TABLE[detector];
    Signal {
        detector: entry.name,
        tier: entry.tier_names[tier],
        floor: Action::Block,
        points: Risk::ZERO,
        measure: Amount::ZERO,
        rank: u16::try_from(detector).unwrap(),
        episode: 0..0,
        evidence: 0..0,
        also: 0,
        tiers: entry.tier_names,
        reason: 0..0,
    }
}

fn alert(detector: usize) -> Alert {
    Alert {
        detector: TABLE[detector].name,
        tier: TABLE[detector].tier_names[0],
        state: AlertState::Escalated,
        agent_id: "a".to_owned(),
        user_id: "u".to_owned(),
        mandate_id: None,
        first_tx: "t".to_owned(),
        last_tx: "t".to_owned(),
        transactions: 1,
        amount: Amount::ZERO,
        recommended: Recommended::None,
    }
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

#[test]
fn everything_stands_at_zero_before_its_first_event() {
    let metrics = Metrics::new();
    let partition = metrics.partition(3);
    partition.state(PartitionState::Opening);
    let text = metrics.encode();
    assert!(text.ends_with("# EOF\n"));
    for series in [
        "weir_records_total{partition=\"3\"}",
        "weir_decisions_total{action=\"block\"}",
        "weir_signals_total{detector=\"burst\",tier=\"machine\"}",
        "weir_rejects_total{code=\"duplicate_conflict\"}",
        "weir_duplicates_total",
        "weir_alerts_total{detector=\"scope\",state=\"opened\"}",
        "weir_profiles_total",
        "weir_decision_latency_seconds_count",
        "weir_engine_latency_seconds_bucket{le=\"+Inf\"}",
        "weir_lag_records{partition=\"3\"}",
        "weir_agents{partition=\"3\"}",
        "weir_mandates{partition=\"3\"}",
        "weir_remembered_ids{partition=\"3\"}",
        "weir_registry_mandates",
        "weir_bounds_reached{partition=\"3\",bound=\"agents_max\"}",
        "weir_snapshot_seconds_sum",
        "weir_commit_seconds_count",
        "weir_commit_retries_total",
        "weir_batches_total",
        "weir_batch_records_count",
        "weir_mandate_waits_total",
        "weir_partition_state{partition=\"3\",state=\"live\"}",
    ] {
        assert_eq!(value(&text, series), Some(0.0), "{series} in\n{text}");
    }
    assert_eq!(value(&text, "weir_partition_state{partition=\"3\",state=\"opening\"}"), Some(1.0));
    let age = value(&text, "weir_snapshot_age_seconds{partition=\"3\"}").unwrap();
    assert!((0.0..60.0).contains(&age), "{age}");
    // Nobody knows a watermark yet.
    assert_eq!(value(&text, "weir_watermark_delay_seconds{partition=\"3\"}"), None);
}

#[test]
fn a_batch_is_counted_when_it_is_committed() {
    let metrics = Metrics::new();
    let partition = metrics.partition(0);
    let mut counts = BatchCounts::default();
    for time_us in [1_000_000, 1_900_000, 2_000_000] {
        counts.record(Some(time_us));
    }
    counts.record(None);
    let mut verdict = Verdict { action: Action::Review, ..Verdict::default() };
    verdict.signals = vec![signal(0, 0), signal(1, 1)];
    counts.decision(&verdict);
    counts.reject(RejectCode::TooOld);
    counts.duplicate();
    counts.profiles(2);
    counts.alert(&alert(1));
    let nothing = metrics.encode();
    assert_eq!(value(&nothing, "weir_decisions_total{action=\"review\"}"), Some(0.0));

    metrics.committed(&partition, &counts, Duration::from_micros(40), Duration::from_millis(3), 2_000_400);
    let text = metrics.encode();
    let second = &TABLE[1];
    for (series, expected) in [
        ("weir_records_total{partition=\"0\"}", 4.0),
        ("weir_decisions_total{action=\"review\"}", 1.0),
        ("weir_rejects_total{code=\"too_old\"}", 1.0),
        ("weir_duplicates_total", 1.0),
        ("weir_profiles_total", 2.0),
        ("weir_batches_total", 1.0),
        ("weir_decision_latency_seconds_count", 3.0),
        ("weir_decision_latency_seconds_bucket{le=\"0.001\"}", 1.0),
        ("weir_decision_latency_seconds_bucket{le=\"0.25\"}", 2.0),
        ("weir_decision_latency_seconds_bucket{le=\"2.5\"}", 3.0),
        ("weir_engine_latency_seconds_count", 4.0),
        ("weir_engine_latency_seconds_bucket{le=\"0.00001\"}", 4.0),
        ("weir_commit_seconds_bucket{le=\"0.005\"}", 1.0),
        ("weir_batch_records_bucket{le=\"5.0\"}", 1.0),
        (
            &format!("weir_signals_total{{detector=\"{}\",tier=\"{}\"}}", second.name, second.tier_names[1]),
            1.0,
        ),
        (&format!("weir_alerts_total{{detector=\"{}\",state=\"escalated\"}}", second.name), 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    let sum = value(&text, "weir_decision_latency_seconds_sum").unwrap();
    assert!((sum - 1.101_2).abs() < 1e-9, "{sum}");

    counts.clear();
    metrics.committed(&partition, &counts, Duration::ZERO, Duration::ZERO, 0);
    assert_eq!(value(&metrics.encode(), "weir_records_total{partition=\"0\"}"), Some(4.0));
    assert_eq!(value(&metrics.encode(), "weir_batches_total"), Some(2.0));
}

#[test]
fn a_partition_that_is_let_go_is_told_no_more() {
    let metrics = Metrics::new();
    let partition = metrics.partition(7);
    partition.lag(12);
    partition.sizes(1, 2, 3);
    partition.watermark(now_us() - 5_000_000);
    partition.bounds_reached(&[(Bound::Agents, 4)]);
    partition.state(PartitionState::Live);
    metrics.snapshot_written(&partition, Duration::from_secs(2));
    metrics.registry_mandates(9);
    metrics.commit_retried();
    metrics.mandate_waited();
    metrics.mandate_rejected(RejectCode::InvalidId);
    let text = metrics.encode();
    for (series, expected) in [
        ("weir_lag_records{partition=\"7\"}", 12.0),
        ("weir_agents{partition=\"7\"}", 1.0),
        ("weir_mandates{partition=\"7\"}", 2.0),
        ("weir_remembered_ids{partition=\"7\"}", 3.0),
        ("weir_bounds_reached{partition=\"7\",bound=\"agents_max\"}", 4.0),
        ("weir_partition_state{partition=\"7\",state=\"live\"}", 1.0),
        ("weir_snapshot_seconds_bucket{le=\"2.5\"}", 1.0),
        ("weir_registry_mandates", 9.0),
        ("weir_commit_retries_total", 1.0),
        ("weir_mandate_waits_total", 1.0),
        ("weir_rejects_total{code=\"invalid_id\"}", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    let delay = value(&text, "weir_watermark_delay_seconds{partition=\"7\"}").unwrap();
    assert!((5.0..65.0).contains(&delay), "{delay}");

    metrics.forget_partition(&partition);
    let text = metrics.encode();
    let of_it: Vec<&str> = text.lines().filter(|line| line.contains("partition=\"7\"")).collect();
    assert_eq!(of_it, ["weir_records_total{partition=\"7\"} 0"]);
}

#[test]
fn positions_are_those_of_the_codes() {
    for (at, code) in RejectCode::ALL.into_iter().enumerate() {
        assert_eq!(code as usize, at);
    }
    for entry in TABLE {
        assert!(entry.tier_names.len() <= TIERS_MAX);
    }
}
