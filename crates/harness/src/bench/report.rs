//! What was measured: a table, and the raw results in a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::DateTime;
use serde_json::{Value, json};

use super::contender::Contender;
use super::{Args, CONTENDERS, latency, throughput};

/// The least share of the copy's rate.
const RATE_TARGET: f64 = 0.75;
/// The most times the copy's latency.
const LATENCY_TARGET: f64 = 1.3;

/// Weir's number to the copy's.
struct Ratio {
    what: String,
    ratio: f64,
    /// What it should be and whether it is; some numbers are only told.
    target: Option<(String, bool)>,
}

/// Everything that was measured.
pub(super) struct Report {
    args: Args,
    /// Of the machine when it began.
    load_average: String,
    throughput: Vec<(Contender, throughput::Run)>,
    latency: Vec<(Contender, latency::Run)>,
}

impl Report {
    pub(super) fn new(args: &Args) -> Self {
        Self { args: args.clone(), load_average: load_average(), throughput: Vec::new(), latency: Vec::new() }
    }

    pub(super) fn throughput(&mut self, contender: Contender, run: throughput::Run) {
        self.throughput.push((contender, run));
    }

    pub(super) fn latency(&mut self, contender: Contender, run: latency::Run) {
        self.latency.push((contender, run));
    }

    /// The median of a number over the rounds.
    fn of_throughput(&self, contender: Contender, number: impl Fn(&throughput::Run) -> f64) -> f64 {
        median(
            self.throughput.iter().filter(|(who, _)| *who == contender).map(|(_, run)| number(run)).collect(),
        )
    }

    fn of_latency(&self, contender: Contender, at: usize) -> f64 {
        let runs = self.latency.iter().filter(|(who, _)| *who == contender);
        median(runs.map(|(_, run)| run.quantiles[at]).collect())
    }

    /// Prints the table and writes the file.
    pub(super) fn finish(&self, records: u64) -> Result<()> {
        let rounds = self.args.rounds;
        println!("\nmedians of {rounds} rounds, {records} records in {} partitions", self.args.partitions);
        println!("{:<26} {:>10} {:>14} {:>8}", "", "records/s", "per CPU-second", "MiB");
        let measured = |contender: &Contender| self.throughput.iter().any(|(who, _)| who == contender);
        for contender in CONTENDERS.into_iter().filter(measured) {
            println!(
                "{:<26} {:>10.0} {:>14.0} {:>8.0}",
                contender.name(),
                self.of_throughput(contender, |run| run.rate),
                self.of_throughput(contender, |run| run.per_cpu_second),
                self.of_throughput(contender, |run| run.rss_peak_mib as f64),
            );
        }
        let mut ratios = self.ratios();
        // Of who was not measured.
        ratios.retain(|ratio| ratio.ratio.is_finite() && ratio.ratio > 0.0);
        for Ratio { what, ratio, target } in &ratios {
            let target = target.as_ref().map_or_else(String::new, |(target, met)| {
                format!("target {target}: {}", if *met { "met" } else { "MISSED" })
            });
            println!("{what:<62} {ratio:>6.2}   {target}");
        }
        let path = self.write(records, &ratios)?;
        println!("raw results: {}", path.display());
        Ok(())
    }

    /// What the targets are about.
    fn ratios(&self) -> Vec<Ratio> {
        let mut ratios = Vec::new();
        let pairs = [
            (Contender::Weir { headers: true }, Contender::Copy { headers: false }),
            (Contender::Weir { headers: true }, Contender::Copy { headers: true }),
            (Contender::Weir { headers: false }, Contender::Copy { headers: false }),
        ];
        for (weir, copy) in pairs {
            let names = format!("{} to {}", weir.name(), copy.name());
            let of = |number: &dyn Fn(&throughput::Run) -> f64| {
                self.of_throughput(weir, number) / self.of_throughput(copy, number)
            };
            let ratio = of(&|run| run.rate);
            let target = Some((format!("at least {RATE_TARGET}"), ratio >= RATE_TARGET));
            ratios.push(Ratio { what: format!("records/s, {names}"), ratio, target });
            let ratio = of(&|run| run.per_cpu_second);
            ratios.push(Ratio { what: format!("records per CPU-second, {names}"), ratio, target: None });
        }
        for (at, name) in ["p50", "p99", "p99.9"].into_iter().enumerate() {
            let [weir, copy] = [Contender::Weir { headers: true }, Contender::Copy { headers: false }]
                .map(|who| self.of_latency(who, at));
            let what = format!("latency {name} at {}/s: {weir:.1} ms to {copy:.1} ms", self.args.rate);
            let target = Some((format!("at most {LATENCY_TARGET}"), weir / copy <= LATENCY_TARGET));
            ratios.push(Ratio { what, ratio: weir / copy, target });
        }
        ratios
    }

    fn write(&self, records: u64, ratios: &[Ratio]) -> Result<PathBuf> {
        let by_contender = |of: &dyn Fn(Contender) -> Vec<Value>| -> Value {
            let named = CONTENDERS.iter().map(|&who| (who.name(), Value::from(of(who))));
            Value::Object(
                named.filter(|(_, runs)| runs.as_array().is_some_and(|runs| !runs.is_empty())).collect(),
            )
        };
        let throughput = by_contender(&|who| {
            self.throughput.iter().filter(|(one, _)| *one == who).map(|(_, run)| run.json()).collect()
        });
        let latency = by_contender(&|who| {
            self.latency.iter().filter(|(one, _)| *one == who).map(|(_, run)| run.json()).collect()
        });
        let ratios: Vec<Value> = ratios
            .iter()
            .map(|Ratio { what, ratio, target }| {
                let (target, met) = target.as_ref().map(|(target, met)| (target, met)).unzip();
                json!({ "what": what, "ratio": rounded(*ratio), "target": target, "met": met })
            })
            .collect();
        let results = json!({
            "machine": machine(),
            "command": "cargo xtask bench kafka",
            "setting": format!(
                "one broker on the same machine; {records} records, {} partitions; contenders in turn, {} rounds; the \
                 ratios are of medians",
                self.args.partitions, self.args.rounds
            ),
            "latency_rate_per_second": self.args.rate,
            "load_average": [self.load_average, load_average()],
            "throughput": throughput,
            "latency": latency,
            "ratios": ratios,
        });
        let path = free_name(&self.args.out, "kafka")?;
        fs::write(&path, serde_json::to_string_pretty(&results)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// DATE-SUITE.json, or with a number.
pub(crate) fn free_name(dir: &Path, suite: &str) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let date = DateTime::from_timestamp(i64::try_from(now.as_secs())?, 0).context("no date")?;
    let date = date.format("%Y-%m-%d");
    let names = std::iter::once(format!("{date}-{suite}.json"))
        .chain((2..1_000).map(|number| format!("{date}-{suite}-{number}.json")));
    names.map(|name| dir.join(name)).find(|path| !path.exists()).context("no free name")
}

/// Cores, their kind, and memory.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let gib = kib.map_or(0, |kib: u64| kib.div_ceil(1 << 20));
    format!("{cores} cores of {}, {gib} GiB", model.unwrap_or("an unknown kind"))
}

/// Of the last minute, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// To three decimals.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => numbers[middle],
        _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
    }
}

/// A quantile of a Prometheus histogram, interpolated in its bucket.
pub(super) fn bucket_quantile(text: &str, name: &str, part: f64) -> Option<f64> {
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix("{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count.split(' ').next()?.parse().ok()?))
        })
        .collect();
    let wanted = buckets.last()?.1 * part;
    let (mut below, mut before) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= wanted {
            let share = if count > before { (wanted - before) / (count - before) } else { 1.0 };
            return Some(if bound.is_finite() { below + (bound - below) * share } else { below });
        }
        (below, before) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn quantiles_of_buckets_are_interpolated() {
        let text = "x_bucket{le=\"1.0\"} 10\nx_bucket{le=\"2.0\"} 30\nx_bucket{le=\"+Inf\"} 30\n";
        let quantile = bucket_quantile(text, "x_bucket", 0.5).unwrap();
        assert!((quantile - 1.25).abs() < 1e-9, "{quantile}");
    }
}
