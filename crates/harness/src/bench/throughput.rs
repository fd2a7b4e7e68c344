//! From the beginning of a full topic to its end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::contender::{Contender, Running};
use super::report::rounded;
use super::{Bench, Input};
use crate::kafka::Observer;
use crate::site::Site;

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(600);
const WAIT: Duration = Duration::from_secs(10);
/// How many seconds after all was taken nothing more may become visible: several of Flink's checkpoints, whose last makes
/// visible what was decided before.
const SETTLED: f64 = 3.0;

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    records: u64,
    /// Records per second from the first commit to the last.
    pub(crate) rate: f64,
    /// Records per second from the start of the process to the last commit.
    pub(crate) rate_from_start: f64,
    /// Records per second of processor time of the whole process, its start included.
    pub(crate) per_cpu_second: f64,
    cpu_seconds: f64,
    pub(crate) rss_peak_mib: u64,
    commit_ms: Option<[f64; 2]>,
    /// Of the second half, where that can be told.
    pub(crate) steady: Option<Steady>,
}

/// The second half of a run: caches are filled, and a JVM has compiled what it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Steady {
    /// Records per second.
    pub(crate) rate: f64,
    /// Records per second of processor time.
    pub(crate) per_cpu_second: f64,
}

/// Where a contender stood at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Since its start.
    seconds: f64,
    /// Offsets of the output that a reader of what is committed sees. Beside decisions these hold a marker per transaction
    /// and partition, which among thousands of decisions count little.
    done: u64,
    cpu_seconds: f64,
}

impl Run {
    pub(crate) fn sentence(&self) -> String {
        let commits = self
            .commit_ms
            .map_or_else(String::new, |[p50, p99]| format!(", commits p50 {p50:.1} ms, p99 {p99:.1} ms"));
        format!(
            "{:>8.0}/s ({:.0}/s from the start of the process), {:>8.0} per CPU-second, {} MiB{commits}",
            self.rate, self.rate_from_start, self.per_cpu_second, self.rss_peak_mib
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "records": self.records,
            "records_per_second": self.rate.round(),
            "records_per_second_from_start": self.rate_from_start.round(),
            "records_per_cpu_second": self.per_cpu_second.round(),
            "cpu_seconds": rounded(self.cpu_seconds),
            "rss_peak_mib": self.rss_peak_mib,
            "second_half": self.steady.map(|steady| json!({
                "records_per_second": steady.rate.round(),
                "records_per_cpu_second": steady.per_cpu_second.round(),
            })),
            "commit_ms_p50_p99": self.commit_ms.map(|times| times.map(rounded)),
        })
    }
}

/// Lets a contender work through the topics at a site. It has stopped then, and its output is there.
pub(crate) fn measure(
    bench: &Bench,
    contender: Contender,
    site: &Site,
    input: &Input,
) -> Result<(Run, Running)> {
    let observe = |name| Observer::new(&bench.brokers, &site.prefix, &site.topic(name), bench.partitions);
    let (input_ends, output) = (observe("transactions")?, observe("decisions")?);
    let all = sum(&input_ends.ends(WAIT)?);
    bench.prepare(contender, site)?;
    let mut running = bench.start(contender, site)?;
    let started = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    loop {
        let taken = match contender.tells_progress() {
            true => running.progress(),
            false => sum(&input_ends.positions(WAIT)?),
        };
        let done = match output.ends(WAIT) {
            Ok(ends) if contender.writes() => sum(&ends),
            Ok(_) => taken,
            // A topic that was made a moment ago may have no leader yet.
            Err(_) if samples.is_empty() => 0,
            Err(error) => return Err(error),
        };
        let seconds = started.elapsed().as_secs_f64();
        if samples.last().map_or(0, |last| last.done) < done {
            samples.push(Sample { seconds, done, cpu_seconds: running.cpu_seconds() });
        }
        let quiet = samples.last().is_some_and(|last| seconds - last.seconds > SETTLED);
        if taken >= all && quiet {
            break;
        }
        if started.elapsed() > LIMIT {
            bail!("{} is at {taken} of {all} after {} s", contender.name(), LIMIT.as_secs());
        }
        running.check()?;
        sleep(Duration::from_millis(20));
    }
    let (rss_peak_mib, commit_ms) = (running.rss_peak_kib() / 1024, running.commits());
    running.stop()?;
    let run = account(&samples, input.records, rss_peak_mib, commit_ms)
        .with_context(|| format!("{} did nothing", contender.name()))?;
    Ok((run, running))
}

fn sum(offsets: &[i64]) -> u64 {
    offsets.iter().sum::<i64>().unsigned_abs()
}

/// What the samples come to.
fn account(samples: &[Sample], records: u64, rss_peak_mib: u64, commit_ms: Option<[f64; 2]>) -> Option<Run> {
    let (first, last) = (samples.first()?, samples.last()?);
    // Where all is committed at once, only the start of the process is there to count from.
    let since =
        if first.done < last.done { *first } else { Sample { seconds: 0.0, done: 0, cpu_seconds: 0.0 } };
    Some(Run {
        records,
        rate: share(records, samples, since, *last) / (last.seconds - since.seconds),
        rate_from_start: records as f64 / last.seconds,
        per_cpu_second: records as f64 / last.cpu_seconds,
        cpu_seconds: last.cpu_seconds,
        rss_peak_mib,
        commit_ms,
        steady: second_half(samples, records),
    })
}

/// Records between two samples: repeats have no decision, so what is seen is less than what was taken.
fn share(records: u64, samples: &[Sample], from: Sample, to: Sample) -> f64 {
    let all = samples.last().map_or(1, |last| last.done);
    records as f64 * (to.done - from.done) as f64 / all as f64
}

/// From the first sample past the half to the one before the last, which with commits a second apart may come most of
/// a second after its work was done.
fn second_half(samples: &[Sample], records: u64) -> Option<Steady> {
    let half = samples.last()?.done / 2;
    let from = samples.iter().find(|sample| sample.done >= half)?;
    let to = samples.iter().rev().nth(1).filter(|to| to.done > from.done)?;
    let records = share(records, samples, *from, *to);
    Some(Steady {
        rate: records / (to.seconds - from.seconds),
        per_cpu_second: records / (to.cpu_seconds - from.cpu_seconds).max(0.01),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_leaves_out_the_start_and_the_wait_at_the_end() {
        let sample = |seconds, done, cpu_seconds| Sample { seconds, done, cpu_seconds };
        let samples =
            [sample(2.0, 100, 3.0), sample(3.0, 500, 5.0), sample(4.0, 900, 6.0), sample(5.0, 1_000, 6.1)];
        let steady = |rate, per_cpu_second| Some(Steady { rate, per_cpu_second });
        assert_eq!(second_half(&samples, 1_000), steady(400.0, 400.0));
        assert_eq!(second_half(&samples, 2_000), steady(800.0, 800.0), "half of the records were repeats");
        assert_eq!(second_half(&samples[2..], 1_000), None, "nothing lies between");
    }
}
