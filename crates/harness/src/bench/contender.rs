//! Who is measured on the broker, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Bench, report};
use crate::process::Process;
use crate::site::{Options, Site};

/// How long one may take to end when it is asked to: Flink writes a savepoint, Kafka Streams commits.
const STOP: Duration = Duration::from_secs(60);

/// Reads transactions from a topic and answers each in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The copy, which decides nothing.
    Copy {
        /// With the two headers that decisions have; else keys and values alone.
        headers: bool,
    },
    /// `weir run`.
    Weir {
        /// As it is configured by default; else with `kafka.headers = false`.
        headers: bool,
    },
    /// The peer on Kafka Streams, by its `--mode`.
    Streams(&'static str),
    /// The peer on Flink's `KeyedProcessFunction`.
    Flink {
        /// Its `--sink`: `kafka`, which is exactly once, or `none`.
        sink: &'static str,
        /// How often what it wrote becomes visible.
        checkpoint_ms: u32,
    },
}

/// Where the Java peers are.
#[derive(Debug, Clone)]
pub(crate) struct Java {
    /// The JVM.
    pub(crate) java: PathBuf,
    /// The folder `benches/peers`, built.
    pub(crate) peers: PathBuf,
}

impl Java {
    /// The JVM with these flags and one of the peers, told where to put what is temporary.
    pub(crate) fn command(&self, flags: &[&str], jar: &str, temporary: &Path) -> Command {
        let mut java = Command::new(&self.java);
        // On two cores more throughput than the default collector.
        java.arg("-XX:+UseParallelGC").args(flags);
        java.arg(format!("-Djava.io.tmpdir={}", temporary.display()));
        java.arg("-jar").arg(self.peers.join(jar));
        java
    }
}

/// The peer on Kafka Streams.
const STREAMS: &str = "kafka-streams/target/peers-kafka-streams.jar";
/// The peers on Flink.
pub(crate) const FLINK: &str = "flink/target/peers-flink.jar";

impl Contender {
    /// The name in tables and in the raw results.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Copy { headers: false } => "copy".to_owned(),
            Self::Copy { headers: true } => "copy with headers".to_owned(),
            Self::Weir { headers: true } => "weir run".to_owned(),
            Self::Weir { headers: false } => "weir run without headers".to_owned(),
            Self::Streams(mode) => format!("Kafka Streams {mode}"),
            Self::Flink { sink: "none", .. } => "Flink without a sink".to_owned(),
            Self::Flink { checkpoint_ms: 1_000, .. } => "Flink exactly once".to_owned(),
            Self::Flink { checkpoint_ms, .. } => format!("Flink exactly once, every {checkpoint_ms} ms"),
        }
    }

    /// The name as part of a topic's or a file's.
    pub(crate) fn slug(self) -> String {
        self.name().to_lowercase().replace(' ', "-").replace(',', "")
    }

    /// Whether there are decisions to read.
    pub(super) fn writes(self) -> bool {
        !matches!(self, Self::Flink { sink: "none", .. })
    }

    /// Whether it says itself how many records it has taken. Of the others the group's offsets tell; at the end of a
    /// topic, those of Flink's were seen to come ten seconds late.
    pub(super) const fn tells_progress(self) -> bool {
        matches!(self, Self::Streams(_) | Self::Flink { .. })
    }

    /// What it runs as.
    fn command(self, bench: &Bench, site: &Site) -> Result<Command> {
        let (transactions, decisions) = (site.topic("transactions"), site.topic("decisions"));
        let java = || bench.java.as_ref().context("the Java peers are not there");
        let heap = ["-Xms4g", "-Xmx4g"];
        let mut command = match self {
            Self::Weir { .. } => return Ok(site.command(&["run"])),
            Self::Copy { headers } => {
                let mut copy = Command::new(std::env::current_exe()?);
                copy.args(["copy", "--brokers", &bench.brokers, "--group", &site.prefix]);
                copy.args(["--from", &transactions, "--to", &decisions]);
                copy.args(headers.then_some("--headers"));
                return Ok(copy);
            }
            Self::Streams(mode) => {
                let mut streams = java()?.command(&heap, STREAMS, &site.dir);
                streams.args(["--mode", mode, "--threads", "2"]);
                streams
            }
            Self::Flink { sink, checkpoint_ms } => {
                let mut flink = java()?.command(&heap, FLINK, &site.dir);
                flink.args(["--job", "process", "--sink", sink, "--parallelism", "2"]);
                flink.args(["--checkpoint-ms", &checkpoint_ms.to_string()]);
                flink
            }
        };
        command.args([
            "--brokers",
            &bench.brokers,
            "--app-id",
            &site.prefix,
            "--transactions",
            &transactions,
        ]);
        command.args(["--mandates", &site.topic("mandates"), "--decisions", &decisions]);
        command.arg("--state-dir").arg(site.dir.join("state"));
        Ok(command)
    }
}

/// A contender at work: its process and where it reads and writes.
pub(crate) struct Running {
    pub(crate) process: Process,
    /// Further instances in the same group.
    others: Vec<Process>,
    /// Of an instance of Weir.
    port: Option<u16>,
    /// The topic whose records answer to the input's.
    pub(crate) output: String,
}

impl Bench {
    /// Makes a contender's configuration and topics.
    pub(super) fn prepare(&self, contender: Contender, site: &Site) -> Result<()> {
        let headers = contender != Contender::Weir { headers: false };
        // Several snapshots in each run, as a service would have.
        site.configure(&Options { snapshots_every: "60s", properties: &[], headers })?;
        site.create_topics()
    }

    /// Starts a contender, which has a group of its own.
    pub(super) fn start(&self, contender: Contender, site: &Site) -> Result<Running> {
        let (log, output) = (site.dir.join("log"), site.topic("decisions"));
        if let Contender::Weir { .. } = contender {
            let (process, port) = site.start(&log)?;
            let other = |number| Ok(site.start(&site.dir.join(format!("log-{number}")))?.0);
            let others = (1..self.instances).map(other).collect::<Result<_>>()?;
            return Ok(Running { process, others, port: Some(port), output });
        }
        let process = Process::start(&mut contender.command(self, site)?, &log)?;
        Ok(Running { process, others: Vec::new(), port: None, output })
    }
}

impl Running {
    /// Fails when it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        for process in self.processes() {
            if let Some(status) = process.ended() {
                bail!("it ended ({status}):\n{}", process.tail(20));
            }
        }
        Ok(())
    }

    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        std::iter::once(&mut self.process).chain(&mut self.others)
    }

    /// Processor time of all its processes.
    pub(super) fn cpu_seconds(&self) -> f64 {
        self.process.cpu_seconds() + self.others.iter().map(Process::cpu_seconds).sum::<f64>()
    }

    /// Most memory of each of its processes, together.
    pub(super) fn rss_peak_kib(&self) -> u64 {
        self.process.rss_peak_kib() + self.others.iter().map(Process::rss_peak_kib).sum::<u64>()
    }

    /// Lets it end in order; it is killed where it does not.
    pub(super) fn stop(&mut self) -> Result<()> {
        for process in self.processes() {
            if process.stop(STOP)?.is_none() {
                eprintln!("it had to be killed:\n{}", process.tail(20));
                process.kill();
            }
        }
        Ok(())
    }

    /// Records that it has taken, where it tells so once a second.
    pub(super) fn progress(&self) -> u64 {
        let output = self.process.tail(20);
        let mut lines = output.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find_map(|line| line["records"].as_u64()).unwrap_or(0)
    }

    /// The last line that it printed as it ended, where it is one that does so.
    pub(crate) fn final_line(&self) -> Option<Value> {
        final_line(&self.process.tail(50))
    }

    /// Its times of commits in milliseconds, p50 and p99, where it tells them itself.
    pub(super) fn commits(&self) -> Option<[f64; 2]> {
        match self.port {
            Some(port) => {
                let text = crate::chaos::get(port, "/metrics")?;
                let quantile = |part| report::bucket_quantile(&text, "weir_commit_seconds_bucket", part);
                Some([quantile(0.5)? * 1e3, quantile(0.99)? * 1e3])
            }
            None => {
                let line: Value = serde_json::from_str(&self.process.tail(1)).ok()?;
                Some([line["commit_ms_p50"].as_f64()?, line["commit_ms_p99"].as_f64()?])
            }
        }
    }
}

/// The line that a peer marks as its last.
pub(crate) fn final_line(output: &str) -> Option<Value> {
    let lines = output.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().find(|line| line["final"] == true)
}
