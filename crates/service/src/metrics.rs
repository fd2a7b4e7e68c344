//! What the service tells Prometheus.
//!
//! Every series is made once, at the start or when a partition is taken over, so that it stands at 0 before its
//! first event and no label is looked up later. The shards count into a [`BatchCounts`] of their own, which is
//! added when the batch is committed: what is not committed was never counted.

mod histogram;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};
use weir_detectors::{Bound, TABLE};
use weir_events::alert::AlertState;
use weir_events::{Action, Alert, RejectCode, Verdict};

use histogram::{Histogram, Since, seconds};

use crate::clock::now_us;

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Most tiers that a detector can have: their set is sixteen bits in a signal.
const TIERS_MAX: usize = 16;

/// States of an alert, in the order of [`alert_state`].
const ALERT_STATES: [&str; 3] = ["opened", "escalated", "closed"];

/// Upper bounds of the times from a record's own time to its commit, and of commits, in seconds.
const LATENCY: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// Upper bounds of the engine's time per record, in seconds.
const ENGINE: &[f64] = &[1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 0.1];

/// Upper bounds of the time that a snapshot takes, in seconds.
const SNAPSHOT: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Upper bounds of the records of a batch.
const BATCH: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0, 50_000.0];

/// Label of what is told per partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    partition: i32,
}

/// Labels of [`PartitionState`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    partition: i32,
    state: &'static str,
}

/// Labels of the bounds that were reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BoundLabels {
    partition: i32,
    bound: &'static str,
}

/// Label of decisions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: &'static str,
}

/// Labels of signals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    detector: &'static str,
    tier: &'static str,
}

/// Label of rejects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

/// Labels of alerts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    detector: &'static str,
    state: &'static str,
}

/// Labels of answered requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

/// A gauge of a float.
type FloatGauge = Gauge<f64, AtomicU64>;

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionState {
    /// Assigned; earlier owners are being fenced.
    Opening,
    /// Reading its snapshot and catching up.
    Recovering,
    /// Deciding.
    Live,
    /// Trying again after a failure that may pass.
    Retrying,
    /// Stopped until somebody acts.
    Failed,
    /// Finishing what is in flight, to let it go.
    Leaving,
}

impl PartitionState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Opening, Self::Recovering, Self::Live, Self::Retrying, Self::Failed, Self::Leaving];

    /// The name in metrics and health.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Recovering => "recovering",
            Self::Live => "live",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Leaving => "leaving",
        }
    }
}

/// Position of an alert's state in [`ALERT_STATES`].
const fn alert_state(state: AlertState) -> usize {
    match state {
        AlertState::Opened => 0,
        AlertState::Escalated => 1,
        AlertState::Closed => 2,
    }
}

/// What a batch came to, counted while it is decided and added by [`Metrics::committed`]. Reused from batch to
/// batch.
#[derive(Debug, Clone, Default)]
pub struct BatchCounts {
    records: u64,
    duplicates: u64,
    profiles: u64,
    actions: [u64; Action::ALL.len()],
    /// By position in [`TABLE`] and in the detector's tiers.
    signals: [[u64; TIERS_MAX]; TABLE.len()],
    /// By position in [`RejectCode::ALL`], which is the order of the codes.
    rejects: [u64; RejectCode::ALL.len()],
    /// By position in [`TABLE`] and in [`ALERT_STATES`].
    alerts: [[u64; ALERT_STATES.len()]; TABLE.len()],
    /// The log's own times of the records.
    times_us: Vec<i64>,
}

impl BatchCounts {
    /// Empties the counts and keeps their memory.
    pub fn clear(&mut self) {
        let mut times_us = std::mem::take(&mut self.times_us);
        times_us.clear();
        *self = Self { times_us, ..Self::default() };
    }

    /// A record of the log, with the log's own time for it.
    pub fn record(&mut self, timestamp_us: Option<i64>) {
        self.records += 1;
        self.times_us.extend(timestamp_us);
    }

    /// A decision.
    pub fn decision(&mut self, verdict: &Verdict) {
        add(&mut self.actions, verdict.action as usize);
        for signal in &verdict.signals {
            let tier = signal.tiers.iter().position(|&tier| tier == signal.tier).unwrap_or(TIERS_MAX);
            if let Some(tiers) = self.signals.get_mut(usize::from(signal.rank)) {
                add(tiers, tier);
            }
        }
    }

    /// A repeat that was dropped.
    pub fn duplicate(&mut self) {
        self.duplicates += 1;
    }

    /// A record that could not be used.
    pub fn reject(&mut self, code: RejectCode) {
        add(&mut self.rejects, code as usize);
    }

    /// An alert.
    pub fn alert(&mut self, alert: &Alert) {
        let detector = TABLE.iter().position(|entry| entry.name == alert.detector);
        if let Some(states) = detector.and_then(|at| self.alerts.get_mut(at)) {
            add(states, alert_state(alert.state));
        }
    }

    /// Risk profiles that were issued.
    pub fn profiles(&mut self, issued: u64) {
        self.profiles += issued;
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }
}

/// One more at a position, where there is such.
fn add(counts: &mut [u64], at: usize) {
    if let Some(count) = counts.get_mut(at) {
        *count += 1;
    }
}

/// Counters that every shard adds to, in the order of the counts of a batch.
#[derive(Debug)]
struct Totals {
    decisions: Vec<Counter>,
    signals: Vec<Vec<Counter>>,
    rejects: Vec<Counter>,
    alerts: Vec<Vec<Counter>>,
    duplicates: Counter,
    profiles: Counter,
    batches: Counter,
    commit_retries: Counter,
    mandate_waits: Counter,
}

/// What is told per partition.
#[derive(Debug, Default)]
struct Partitions {
    records: Family<PartitionLabel, Counter>,
    lag: Family<PartitionLabel, Gauge>,
    watermark_delay: Family<PartitionLabel, Since>,
    agents: Family<PartitionLabel, Gauge>,
    mandates: Family<PartitionLabel, Gauge>,
    remembered_ids: Family<PartitionLabel, Gauge>,
    snapshot_age: Family<PartitionLabel, Since>,
    state: Family<StateLabels, Gauge>,
    bounds: Family<BoundLabels, Gauge>,
}

/// Distributions.
#[derive(Debug)]
struct Histograms {
    decision_latency: Histogram,
    engine_latency: Histogram,
    commit: Histogram,
    snapshot: Histogram,
    batch_records: Histogram,
}

/// Everything that is told.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    totals: Totals,
    partitions: Partitions,
    histograms: Histograms,
    registry_mandates: Gauge<i64, AtomicI64>,
    log_reachable: Gauge,
    requests: Family<RequestLabels, Counter>,
    followers: Gauge,
    connections: Gauge,
    started: FloatGauge,
}

/// The series of one partition, looked up once.
#[derive(Debug, Clone)]
pub struct PartitionMetrics {
    number: i32,
    records: Counter,
    lag: Gauge,
    watermark_delay: Since,
    agents: Gauge,
    mandates: Gauge,
    remembered_ids: Gauge,
    snapshot_age: Since,
    states: Arc<[Gauge]>,
    bounds: Arc<[Gauge]>,
}

impl Metrics {
    /// Metrics that have counted nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("weir");
        let totals = Totals::register(&mut registry);
        let partitions = Partitions::register(&mut registry);
        let histograms = Histograms::register(&mut registry);
        let registry_mandates = Gauge::default();
        let help = "Mandates that the registry knows, deleted ones included";
        registry.register("registry_mandates", help, registry_mandates.clone());
        let log_reachable =
            registered(&mut registry, "log_reachable", "Whether the log can be reached, 1 or 0");
        let requests = registered(&mut registry, "http_requests", "HTTP requests answered");
        let followers =
            registered(&mut registry, "http_followers", "Clients that follow decisions over HTTP");
        let connections = registered(&mut registry, "http_connections", "Open HTTP connections");
        let started = FloatGauge::default();
        started.set(seconds(now_us()));
        let help = "When this instance was started, in seconds since 1970";
        registry.register_with_unit("start_time", help, Unit::Seconds, started.clone());
        Self {
            registry,
            totals,
            partitions,
            histograms,
            registry_mandates,
            log_reachable,
            requests,
            followers,
            connections,
            started,
        }
    }

    /// The series of a partition, made where they are not there yet. The age of its snapshot is counted from
    /// now until one is known.
    #[must_use]
    pub fn partition(&self, number: i32) -> PartitionMetrics {
        let all = &self.partitions;
        let label = PartitionLabel { partition: number };
        let state = |state: PartitionState| StateLabels { partition: number, state: state.name() };
        let bound = |bound: &Bound| BoundLabels { partition: number, bound: bound.name() };
        let snapshot_age = all.snapshot_age.get_or_create_owned(&label);
        snapshot_age.set_us(now_us());
        PartitionMetrics {
            number,
            records: all.records.get_or_create_owned(&label),
            lag: all.lag.get_or_create_owned(&label),
            watermark_delay: all.watermark_delay.get_or_create_owned(&label),
            agents: all.agents.get_or_create_owned(&label),
            mandates: all.mandates.get_or_create_owned(&label),
            remembered_ids: all.remembered_ids.get_or_create_owned(&label),
            snapshot_age,
            states: PartitionState::ALL.map(|one| all.state.get_or_create_owned(&state(one))).into(),
            bounds: Bound::ALL.iter().map(|one| all.bounds.get_or_create_owned(&bound(one))).collect(),
        }
    }

    /// Drops what is told of a partition that this instance does not own any more; its records stay counted.
    pub fn forget_partition(&self, partition: &PartitionMetrics) {
        let all = &self.partitions;
        let number = partition.number;
        let label = PartitionLabel { partition: number };
        for gauges in [&all.lag, &all.agents, &all.mandates, &all.remembered_ids] {
            gauges.remove(&label);
        }
        all.watermark_delay.remove(&label);
        all.snapshot_age.remove(&label);
        for state in PartitionState::ALL {
            all.state.remove(&StateLabels { partition: number, state: state.name() });
        }
        for bound in Bound::ALL {
            all.bounds.remove(&BoundLabels { partition: number, bound: bound.name() });
        }
    }

    /// Adds a batch that was committed at `now_us`, after `engine` in the engine and `commit` in the log.
    pub fn committed(
        &self,
        partition: &PartitionMetrics,
        counts: &BatchCounts,
        engine: Duration,
        commit: Duration,
        now_us: i64,
    ) {
        partition.records.inc_by(counts.records);
        self.totals.add(counts);
        let histograms = &self.histograms;
        let mut latency = histograms.decision_latency.observed();
        for &time_us in &counts.times_us {
            latency.observe(seconds(now_us.saturating_sub(time_us).max(0)), 1);
        }
        histograms.decision_latency.add(&latency);
        if counts.records > 0 {
            #[allow(clippy::cast_precision_loss, reason = "a mean for people")]
            let each = engine.as_secs_f64() / counts.records as f64;
            let mut engine = histograms.engine_latency.observed();
            engine.observe(each, counts.records);
            histograms.engine_latency.add(&engine);
        }
        histograms.commit.observe(commit.as_secs_f64());
        #[allow(clippy::cast_precision_loss, reason = "a number of records of a batch is small")]
        histograms.batch_records.observe(counts.records as f64);
    }

    /// A commit that failed is tried again.
    pub fn commit_retried(&self) {
        self.totals.commit_retries.inc();
    }

    /// A batch waited for a mandate that it names.
    pub fn mandate_waited(&self) {
        self.totals.mandate_waits.inc();
    }

    /// A mandate record was rejected, outside any batch.
    pub fn mandate_rejected(&self, code: RejectCode) {
        if let Some(counter) = self.totals.rejects.get(code as usize) {
            counter.inc();
        }
    }

    /// The registry knows so many mandates.
    pub fn registry_mandates(&self, known: usize) {
        self.registry_mandates.set(whole(known));
    }

    /// The log can be reached, or cannot.
    pub fn log_reachable(&self, reachable: bool) {
        self.log_reachable.set(i64::from(reachable));
    }

    /// A snapshot was written, in this time.
    pub fn snapshot_written(&self, partition: &PartitionMetrics, took: Duration) {
        self.histograms.snapshot.observe(took.as_secs_f64());
        partition.snapshot_is_of(now_us());
    }

    /// A request was answered.
    pub(crate) fn request(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
    }

    /// Clients that follow decisions.
    pub(crate) fn followers(&self) -> &Gauge {
        &self.followers
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Seconds since 1970 at which this instance was started.
    #[must_use]
    pub fn started(&self) -> f64 {
        self.started.get()
    }

    /// Everything, as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl PartitionMetrics {
    /// The partition's number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.number
    }

    /// Where the partition stands now.
    pub fn state(&self, state: PartitionState) {
        for (gauge, one) in self.states.iter().zip(PartitionState::ALL) {
            gauge.set(i64::from(one == state));
        }
    }

    /// Records that wait in the log.
    pub fn lag(&self, records: u64) {
        self.lag.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// The shard's watermark: how far it is behind the clock grows from here on.
    pub fn watermark(&self, watermark_us: i64) {
        self.watermark_delay.set_us(watermark_us);
    }

    /// Sizes of the shard's state.
    pub fn sizes(&self, agents: usize, mandates: usize, remembered_ids: usize) {
        self.agents.set(whole(agents));
        self.mandates.set(whole(mandates));
        self.remembered_ids.set(whole(remembered_ids));
    }

    /// Bounds that keys of the shard have reached, with the number of keys; all others stand at 0.
    pub fn bounds_reached(&self, reached: &[(Bound, u64)]) {
        for (gauge, bound) in self.bounds.iter().zip(Bound::ALL) {
            let keys = reached.iter().find(|(one, _)| one == bound).map_or(0, |&(_, keys)| keys);
            gauge.set(i64::try_from(keys).unwrap_or(i64::MAX));
        }
    }

    /// The newest snapshot shows the state as of this time, in microseconds since 1970.
    pub fn snapshot_is_of(&self, time_us: i64) {
        self.snapshot_age.set_us(time_us);
    }
}

impl Totals {
    fn register(registry: &mut Registry) -> Self {
        let decisions: Family<ActionLabel, Counter> =
            registered(registry, "decisions", "Decisions by action");
        let signals: Family<SignalLabels, Counter> =
            registered(registry, "signals", "Signals by detector and tier");
        let rejects: Family<CodeLabel, Counter> =
            registered(registry, "rejects", "Records that could not be used, by code");
        let alerts: Family<AlertLabels, Counter> =
            registered(registry, "alerts", "Alerts by detector and state of the episode");
        let action = |action: Action| decisions.get_or_create_owned(&ActionLabel { action: action.name() });
        let code = |code: RejectCode| rejects.get_or_create_owned(&CodeLabel { code: code.name() });
        let tiers = |entry: &weir_detectors::Entry| {
            let labels = |&tier| SignalLabels { detector: entry.name, tier };
            entry.tier_names.iter().map(|tier| signals.get_or_create_owned(&labels(tier))).collect()
        };
        let states = |entry: &weir_detectors::Entry| {
            let labels = |state| AlertLabels { detector: entry.name, state };
            ALERT_STATES.map(|state| alerts.get_or_create_owned(&labels(state))).to_vec()
        };
        Self {
            decisions: Action::ALL.map(action).to_vec(),
            signals: TABLE.iter().map(tiers).collect(),
            rejects: RejectCode::ALL.map(code).to_vec(),
            alerts: TABLE.iter().map(states).collect(),
            duplicates: registered(registry, "duplicates", "Repeats dropped"),
            profiles: registered(registry, "profiles", "Risk profiles issued"),
            batches: registered(registry, "batches", "Batches committed"),
            commit_retries: registered(registry, "commit_retries", "Commits that were tried again"),
            mandate_waits: registered(
                registry,
                "mandate_waits",
                "Batches that waited for a mandate that they name",
            ),
        }
    }

    /// Adds a batch's counts.
    fn add(&self, counts: &BatchCounts) {
        let add = |counters: &[Counter], counts: &[u64]| {
            for (counter, &count) in counters.iter().zip(counts) {
                if count > 0 {
                    counter.inc_by(count);
                }
            }
        };
        add(&self.decisions, &counts.actions);
        add(&self.rejects, &counts.rejects);
        for (counters, counts) in self.signals.iter().zip(&counts.signals) {
            add(counters, counts);
        }
        for (counters, counts) in self.alerts.iter().zip(&counts.alerts) {
            add(counters, counts);
        }
        self.duplicates.inc_by(counts.duplicates);
        self.profiles.inc_by(counts.profiles);
        self.batches.inc();
    }
}

impl Partitions {
    fn register(registry: &mut Registry) -> Self {
        let delay = Family::default();
        let help = "How far the watermark is behind the clock; it grows while nothing comes";
        registry.register_with_unit("watermark_delay", help, Unit::Seconds, Family::clone(&delay));
        let age = Family::default();
        let help = "Age of the newest snapshot; where there is none, since the partition was taken over";
        registry.register_with_unit("snapshot_age", help, Unit::Seconds, Family::clone(&age));
        Self {
            records: registered(registry, "records", "Records taken in, whatever became of them"),
            lag: registered(registry, "lag_records", "Records that wait in the log"),
            watermark_delay: delay,
            agents: registered(registry, "agents", "Agents in the state"),
            mandates: registered(registry, "mandates", "Mandates in the state"),
            remembered_ids: registered(registry, "remembered_ids", "Transactions remembered against repeats"),
            snapshot_age: age,
            state: registered(registry, "partition_state", "1 at the state in which the partition is"),
            bounds: registered(registry, "bounds_reached", "Keys that have reached a bound"),
        }
    }
}

impl Histograms {
    fn register(registry: &mut Registry) -> Self {
        let mut timed = |name, help, bounds| {
            let histogram = Histogram::new(bounds);
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        let decision_latency =
            timed("decision_latency", "From the log's time of a record to its committed decision", LATENCY);
        let engine_latency =
            timed("engine_latency", "Time in the engine per record, as the mean of its batch", ENGINE);
        let commit = timed("commit", "Time of a commit in the log", LATENCY);
        let snapshot = timed("snapshot", "Time to write a snapshot", SNAPSHOT);
        let batch_records = Histogram::new(BATCH);
        registry.register("batch_records", "Records of a batch", batch_records.clone());
        Self { decision_latency, engine_latency, commit, snapshot, batch_records }
    }
}

/// A new metric, registered.
fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// A size as a gauge's value.
fn whole(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
