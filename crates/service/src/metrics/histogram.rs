//! Metric types of our own: a histogram that takes a batch in at once, and a time that passes by itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::clock::now_us;

/// Observations of one batch, counted without an atomic or a lock each.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    /// One more than there are bounds: the last is above them all.
    counts: Vec<u64>,
    bounds: &'static [f64],
    sum: f64,
}

impl Observed {
    /// Counts `value` as seen `times` times.
    pub(super) fn observe(&mut self, value: f64, times: u64) {
        let at = self.bounds.partition_point(|&bound| bound < value);
        if let Some(count) = self.counts.get_mut(at) {
            *count += times;
        }
        #[allow(clippy::cast_precision_loss, reason = "a sum for people")]
        let times = times as f64;
        self.sum += value * times;
    }
}

/// A histogram; copies count together.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    counts: Arc<[AtomicU64]>,
    /// The bits of a float.
    sum: Arc<AtomicU64>,
}

impl Histogram {
    /// A histogram with these upper bounds, in rising order.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: Arc::new(AtomicU64::new(0f64.to_bits())) }
    }

    /// Room for a batch's observations, with this histogram's bounds.
    pub(super) fn observed(&self) -> Observed {
        Observed { counts: vec![0; self.counts.len()], bounds: self.bounds, sum: 0.0 }
    }

    /// Counts one value.
    pub(super) fn observe(&self, value: f64) {
        let mut one = self.observed();
        one.observe(value, 1);
        self.add(&one);
    }

    /// Takes a batch in.
    pub(super) fn add(&self, observed: &Observed) {
        for (count, &more) in self.counts.iter().zip(&observed.counts) {
            if more > 0 {
                count.fetch_add(more, Ordering::Relaxed);
            }
        }
        let added = |sum: u64| Some((f64::from_bits(sum) + observed.sum).to_bits());
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // The sum of the buckets, so that the two agree while others count.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Seconds since a point in time, as a gauge: it grows without anybody setting it, so that what has stopped
/// shows.
#[derive(Debug, Clone)]
pub(super) struct Since(Arc<AtomicI64>);

impl Since {
    /// The point in time is not known: nothing is told.
    const UNKNOWN: i64 = i64::MIN;

    /// Sets the point in time, in microseconds since 1970.
    pub(super) fn set_us(&self, time_us: i64) {
        self.0.store(time_us, Ordering::Relaxed);
    }
}

impl Default for Since {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(Self::UNKNOWN)))
    }
}

impl EncodeMetric for Since {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let since_us = self.0.load(Ordering::Relaxed);
        if since_us == Self::UNKNOWN {
            return Ok(());
        }
        encoder.encode_gauge(&seconds(now_us().saturating_sub(since_us)))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Since {
    const TYPE: MetricType = MetricType::Gauge;
}

/// Microseconds as seconds.
#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
pub(super) fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
