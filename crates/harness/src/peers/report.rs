//! What was measured: a table, and the raw results in a file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::batch::{self, Files};
use super::findings::Findings;
use super::{Args, Contender};
use crate::bench::report::{free_name, load_average, machine, median};
use crate::bench::{latency, throughput};
use crate::process;

/// Sections of the raw results.
pub(crate) const BROKER: &str = "from_topic_to_topic";
pub(crate) const FILE: &str = "over_the_file";
pub(crate) const LATENCY: &str = "latency";

/// Everything that was measured.
pub(super) struct Report {
    out: PathBuf,
    results: Map<String, Value>,
    /// Names by section, in the order in which they were measured.
    names: Vec<(&'static str, String)>,
    records: u64,
    /// What the others are held against: decisions, and rows per view.
    weir: Option<Findings>,
    views: Option<Findings>,
    /// Names of those that failed.
    failed: Vec<String>,
}

impl Report {
    pub(super) fn new(args: &Args, peers: &Path, files: &Files) -> Result<Self> {
        let mut results = Map::new();
        let mut set = |name: &str, value: Value| results.insert(name.to_owned(), value);
        set("command", "cargo xtask bench peers".into());
        set("machine", machine().into());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        set("kernel", kernel.trim().into());
        set("versions", versions(args, peers)?);
        set("setting", setting(args, files.records).into());
        set("latency_rate_per_second", args.rate.into());
        set("load_average", json!([load_average()]));
        for section in [BROKER, FILE, LATENCY] {
            set(section, json!({}));
        }
        let out = args.out.clone();
        let (names, failed) = (Vec::new(), Vec::new());
        Ok(Self { out, results, names, records: files.records, weir: None, views: None, failed })
    }

    fn push(&mut self, section: &'static str, name: &str, run: Value) {
        let runs = &mut self.results[section][name];
        match runs.as_array_mut() {
            Some(runs) => runs.push(run),
            None => {
                *runs = json!([run]);
                self.names.push((section, name.to_owned()));
            }
        }
    }

    /// Notes a failure and goes on: the others took long.
    pub(super) fn note(&mut self, section: &'static str, name: &str, measured: Result<()>) {
        if let Err(error) = measured {
            eprintln!("{name} failed: {error:#}");
            self.failed.push(name.to_owned());
            self.push(section, name, json!({ "failed": format!("{error:#}") }));
        }
    }

    pub(super) fn throughput(&mut self, name: &str, run: &throughput::Run, found: Option<Findings>) {
        let mut json = run.json();
        if let Some(found) = found {
            json["found"] = found.json();
            let is_weirs = self.weir.is_none() && name == Contender::Weir { headers: true }.name();
            let weir = self.weir.get_or_insert_with(|| found.clone());
            json["beside_weir"] = if is_weirs { "the measure".into() } else { found.verdict(weir).into() };
        }
        self.push(BROKER, name, json);
    }

    pub(super) fn batch(&mut self, name: &str, run: &batch::Run) {
        let mut json = run.json(self.records);
        if let (Some(actions), Some(weir)) = (&run.actions, &self.weir) {
            json["decisions"] = actions.json();
            json["decisions_beside_weir_run"] = actions.verdict(weir).into();
        }
        if !run.found.counts.is_empty() {
            json["found"] = run.found.json();
            let is_weirs = self.views.is_none();
            let weir = self.views.get_or_insert_with(|| run.found.clone());
            json["beside_weir"] =
                if is_weirs { "the measure".into() } else { run.found.verdict(weir).into() };
        }
        self.push(FILE, name, json);
    }

    pub(super) fn latency(&mut self, name: &str, run: &latency::Run) {
        self.push(LATENCY, name, run.json());
    }

    /// Prints the table and writes the file; gives its path, and who failed.
    pub(super) fn finish(mut self) -> Result<(PathBuf, Vec<String>)> {
        if let Some(loads) = self.results["load_average"].as_array_mut() {
            loads.push(load_average().into());
        }
        let results = Value::Object(std::mem::take(&mut self.results));
        for (section, name) in &self.names {
            println!("{}", line(&results, section, name));
        }
        let path = free_name(&self.out, "peers")?;
        fs::write(&path, serde_json::to_string_pretty(&results)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("raw results: {}", path.display());
        Ok((path, self.failed))
    }
}

/// A line of the table.
fn line(results: &Value, section: &str, name: &str) -> String {
    let of = |path: &str| number(&results[section][name], path);
    if section == LATENCY {
        let [p50, p99, p999] = ["/ms_p50", "/ms_p99", "/ms_p999"].map(of);
        if p50.is_nan() {
            return format!("{name:<36} no result");
        }
        return format!("{name:<36} p50 {p50:>8.1} ms  p99 {p99:>8.1} ms  p99.9 {p999:>8.1} ms");
    }
    let runs = results[section][name].as_array().into_iter().flatten();
    // A contender that finds something else in each round shows all of it.
    let found: BTreeSet<&str> = runs.filter_map(|run| run["beside_weir"].as_str()).collect();
    let found = found.into_iter().collect::<Vec<_>>().join(" / ");
    let (rate, per_cpu) = rates(&results[section][name]);
    if rate.is_nan() {
        return format!("{name:<36} no result");
    }
    let memory = of("/rss_peak_mib");
    format!("{name:<36} {rate:>10.0}/s {per_cpu:>10.0} per CPU-second {memory:>6.0} MiB  {found}")
}

/// Medians of records per second and per CPU-second: of the second half where there is one.
pub(crate) fn rates(runs: &Value) -> (f64, f64) {
    let of = |name: &str| {
        let steady = number(runs, &format!("/second_half/{name}"));
        if steady.is_nan() { number(runs, &format!("/{name}")) } else { steady }
    };
    (of("records_per_second"), of("records_per_cpu_second"))
}

/// The median of a number over runs; NaN where no run has it.
pub(crate) fn number(runs: &Value, path: &str) -> f64 {
    let runs = runs.as_array().into_iter().flatten();
    median(runs.filter_map(|run| run.pointer(path)?.as_f64()).collect())
}

fn setting(args: &Args, records: u64) -> String {
    format!(
        "one broker on the same machine; {records} records, {} partitions; contenders in turn, {} rounds; mandates in \
         their newest version alone, without updated_at; processor time is the contender's own, not the broker's; from \
         topic to topic the second half is the rate at which decisions become visible once half of them are (without a \
         sink: as it tells itself); over the file a job is the whole process",
        args.partitions, args.rounds
    )
}

/// Of everything that is measured.
fn versions(args: &Args, peers: &Path) -> Result<Value> {
    let pom = fs::read_to_string(peers.join("pom.xml"))?;
    let of_pom = |name: &str| {
        let (_, rest) = pom.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let first = |command: &mut Command| Ok::<_, anyhow::Error>(process::output(command)?.trim().to_owned());
    let weir = first(Command::new(&args.weir).arg("--version"))?;
    // `java -version` speaks on standard error, `--version` does not.
    let java = first(Command::new(&args.java).arg("--version"))?;
    let python = first(Command::new(&args.python).arg("--version"))?;
    let duckdb = fs::read_to_string(peers.join("duckdb/requirements.txt"))?;
    let datafusion = first(Command::new(&args.datafusion).arg("--version"))?;
    Ok(json!({
        "broker": args.broker_version,
        "weir": weir,
        "java": java.lines().nth(1).or(java.lines().next()),
        "python": python,
        "duckdb": duckdb.trim().rsplit("==").next(),
        "datafusion": datafusion,
        "kafka_streams": of_pom("kafka.version"),
        "flink": of_pom("flink.version"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_is_told_where_there_is_one() {
        let runs = json!([
            { "records_per_second": 1, "records_per_cpu_second": 2, "second_half": null },
            { "records_per_second": 1, "records_per_cpu_second": 2,
              "second_half": { "records_per_second": 3, "records_per_cpu_second": 4 } },
        ]);
        assert_eq!(rates(&runs), (3.0, 4.0));
        assert_eq!(rates(&json!([{ "records_per_second": 1, "records_per_cpu_second": 2 }])), (1.0, 2.0));
    }
}
