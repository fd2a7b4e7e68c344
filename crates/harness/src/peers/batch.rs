//! Jobs over the file, each measured from the start of its process to its end.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Peers;
use super::findings::Findings;
use crate::bench::contender::{FLINK, final_line};
use crate::bench::report::rounded;
use crate::process::{Process, Used};

/// The stream, and where jobs may write.
pub(super) struct Files {
    pub(super) transactions: PathBuf,
    pub(super) mandates: PathBuf,
    /// Transactions in the file.
    pub(super) records: u64,
    /// Of one job at a time; removed after it.
    pub(super) scratch: PathBuf,
}

/// A job over the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    /// `weir replay`, on this many cores.
    Weir {
        cores: usize,
    },
    FlinkSql,
    DataFusion,
    /// The script's mode.
    DuckDb(&'static str),
}

/// How a job went.
pub(super) struct Run {
    /// Nothing where it did not end in time.
    pub(super) used: Option<Used>,
    pub(super) found: Findings,
    /// Decisions per action, of those that decide.
    pub(super) actions: Option<Findings>,
}

impl Batch {
    /// In this order, because the first is what the others are held against.
    pub(super) const ALL: [Self; 7] = [
        Self::Weir { cores: 1 },
        Self::Weir { cores: 2 },
        Self::FlinkSql,
        Self::DataFusion,
        Self::DuckDb("views"),
        Self::DuckDb("bucketed"),
        Self::DuckDb("parse"),
    ];

    /// The name in tables and in the raw results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weir { cores: 1 } => "weir replay, one core",
            Self::Weir { .. } => "weir replay, two cores",
            Self::FlinkSql => "Flink SQL",
            Self::DataFusion => "DataFusion",
            Self::DuckDb("bucketed") => "DuckDB, collusion bucketed",
            Self::DuckDb("parse") => "DuckDB, reading alone",
            Self::DuckDb(_) => "DuckDB",
        }
    }

    pub(super) const fn is_weir(self) -> bool {
        matches!(self, Self::Weir { .. })
    }

    /// Does the job, and removes what it wrote.
    pub(super) fn run(self, peers: &Peers<'_>, files: &Files) -> Result<Run> {
        fs::create_dir_all(&files.scratch)?;
        let log = peers.bench.dir.join("batch.log");
        let mut process = Process::start(&mut self.command(peers, files), &log)?;
        let used = process.used(Duration::from_secs(peers.args.limit));
        let run = used.with_context(|| self.name()).and_then(|used| {
            let said = match used {
                Some(_) => self.said(&log, files)?,
                None => Value::Null,
            };
            let actions = self.is_weir().then(|| Findings::of_counts(&said["actions"]));
            Ok(Run { used, found: Findings::of_counts(&said["views"]), actions })
        });
        fs::remove_dir_all(&files.scratch)?;
        run
    }

    fn command(self, peers: &Peers<'_>, files: &Files) -> Command {
        let (transactions, mandates, scratch) = (&files.transactions, &files.mandates, &files.scratch);
        match self {
            Self::Weir { cores } => {
                // On one core also for what would run beside: reading, writing.
                let mut weir = match cores {
                    1 => Command::new("taskset"),
                    _ => Command::new(&peers.bench.weir),
                };
                if cores == 1 {
                    weir.args(["-c", "0"]).arg(&peers.bench.weir);
                }
                weir.args(["replay", "--quiet", "--threads", &cores.to_string(), "--transactions"]);
                weir.arg(transactions).arg("--mandates").arg(mandates).arg("--out").arg(scratch.join("out"));
                weir
            }
            Self::FlinkSql => {
                let mut flink = peers.java.command(&["-Xmx6g"], FLINK, scratch);
                flink.args(["--job", "sql", "--parallelism", "2", "--managed-mb", "2048", "--transactions"]);
                flink.arg(transactions).arg("--mandates").arg(mandates).arg("--out").arg(scratch.join("out"));
                flink
            }
            Self::DataFusion => {
                let mut datafusion = Command::new(&peers.args.datafusion);
                datafusion.arg(transactions).arg(mandates);
                datafusion
            }
            Self::DuckDb(mode) => {
                let mut python = Command::new(&peers.args.python);
                python.arg(peers.peers.join("duckdb/run.py")).arg(mode);
                python.arg(transactions).arg(mandates).arg(scratch);
                python
            }
        }
    }

    /// What it says that it found.
    fn said(self, log: &Path, files: &Files) -> Result<Value> {
        if self.is_weir() {
            let summary = fs::read_to_string(files.scratch.join("out/summary.json"))?;
            return Ok(serde_json::from_str(&summary)?);
        }
        let log = fs::read_to_string(log)?;
        let said = final_line(&log).with_context(|| format!("{} told no end:\n{log}", self.name()))?;
        let records = said["records"].as_u64();
        anyhow::ensure!(records == Some(files.records), "{} read {records:?} records", self.name());
        Ok(said)
    }
}

impl Run {
    pub(super) fn sentence(&self, records: u64) -> String {
        let Some(used) = self.used else { return "did not end in time".to_owned() };
        format!(
            "{:>8.0}/s, {:>8.0} per CPU-second, {} MiB",
            records as f64 / used.wall_seconds,
            records as f64 / used.cpu_seconds,
            used.rss_peak_kib / 1024
        )
    }

    pub(super) fn json(&self, records: u64) -> Value {
        let Some(used) = self.used else { return json!({ "ended": false }) };
        json!({
            "ended": true,
            "records": records,
            "records_per_second": (records as f64 / used.wall_seconds).round(),
            "records_per_cpu_second": (records as f64 / used.cpu_seconds).round(),
            "seconds": rounded(used.wall_seconds),
            "cpu_seconds": rounded(used.cpu_seconds),
            "rss_peak_mib": used.rss_peak_kib / 1024,
        })
    }
}

/// How many lines a file has.
pub(super) fn lines(path: &Path) -> Result<u64> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut lines = 0;
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        lines += buffer.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let read = buffer.len();
        file.consume(read);
    }
}
