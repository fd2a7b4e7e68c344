//! From the beginning of a full topic to its end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::report::rounded;
use super::{Bench, Contender};
use crate::kafka::Observer;

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(600);
const WAIT: Duration = Duration::from_secs(10);

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    records: u64,
    /// Records per second from the first commit to the last.
    pub(super) rate: f64,
    /// Records per second from the start of the process to the last commit.
    pub(super) rate_from_start: f64,
    /// Records per second of processor time of the whole process, its start included.
    pub(super) per_cpu_second: f64,
    cpu_seconds: f64,
    pub(super) rss_peak_mib: u64,
    commit_ms: Option<[f64; 2]>,
}

impl Run {
    pub(super) fn sentence(&self) -> String {
        let commits = self
            .commit_ms
            .map_or_else(String::new, |[p50, p99]| format!(", commits p50 {p50:.1} ms, p99 {p99:.1} ms"));
        format!(
            "{:>8.0}/s ({:.0}/s from the start of the process), {:>8.0} per CPU-second, {} MiB{commits}",
            self.rate, self.rate_from_start, self.per_cpu_second, self.rss_peak_mib
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "records": self.records,
            "records_per_second": self.rate.round(),
            "records_per_second_from_start": self.rate_from_start.round(),
            "records_per_cpu_second": self.per_cpu_second.round(),
            "cpu_seconds": rounded(self.cpu_seconds),
            "rss_peak_mib": self.rss_peak_mib,
            "commit_ms_p50_p99": self.commit_ms.map(|times| times.map(rounded)),
        })
    }
}

/// Lets a contender work through the topics.
pub(super) fn measure(
    bench: &Bench,
    contender: Contender,
    round: usize,
    input: &str,
    records: u64,
) -> Result<Run> {
    let name = format!("{}-{round}", contender.name().replace(' ', "-"));
    let site = bench.site(&name, Some(input));
    let observer =
        Observer::new(&bench.brokers, &site.prefix, &site.topic("transactions"), bench.partitions)?;
    let ends = observer.ends(WAIT)?;
    let begun = Instant::now();
    let mut running = bench.start(contender, site)?;
    let started = Instant::now();
    let mut first = None;
    loop {
        let positions = observer.positions(WAIT)?;
        let now = Instant::now();
        let committed = positions.iter().sum::<i64>().unsigned_abs();
        if committed > 0 && first.is_none() {
            first = Some((now, committed));
        }
        if positions == ends {
            let cpu_seconds = running.process.cpu_seconds();
            let (since, before) = first.unwrap_or((started, 0));
            // The copy tells its numbers once a second.
            sleep(Duration::from_millis(1_100));
            let run = Run {
                records,
                rate: (records - before) as f64 / now.duration_since(since).as_secs_f64(),
                rate_from_start: records as f64 / now.duration_since(started).as_secs_f64(),
                per_cpu_second: records as f64 / cpu_seconds,
                cpu_seconds,
                rss_peak_mib: running.process.rss_peak_kib() / 1024,
                commit_ms: running.commits(),
            };
            running.process.stop(Duration::from_secs(10))?;
            bench.forget(&running.site)?;
            return Ok(run);
        }
        if begun.elapsed() > LIMIT {
            bail!("{} is at {positions:?} of {ends:?} after {} s", contender.name(), LIMIT.as_secs());
        }
        running.check()?;
        sleep(Duration::from_millis(20));
    }
}
