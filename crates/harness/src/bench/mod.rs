//! `weir-harness bench`: `weir run` against the copy, on one broker, one after the other, several times.

mod latency;
mod report;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::feed;
use crate::kafka;
use crate::process::Process;
use crate::site::{Options, Site, TOPICS};

/// Arguments of `bench`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The broker
    #[arg(long)]
    brokers: String,
    /// The program `weir`, built for release
    #[arg(long)]
    weir: PathBuf,
    /// transactions.ndjson of `weir generate`, a million or more
    #[arg(long)]
    transactions: PathBuf,
    /// mandates.ndjson of `weir generate`
    #[arg(long)]
    mandates: PathBuf,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Partitions of the topics
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Transactions per second while latency is measured
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// For how many seconds latency is measured
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Folder for the raw results
    #[arg(long, default_value = "benches/runs")]
    out: PathBuf,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Contender {
    /// The copy, which writes keys and values alone.
    Copy,
    /// The copy, with the two headers that decisions have.
    CopyWithHeaders,
    /// `weir run` as it is configured by default.
    Weir,
    /// `weir run` with `kafka.headers = false`.
    WeirWithoutHeaders,
}

impl Contender {
    const ALL: [Self; 4] = [Self::Copy, Self::CopyWithHeaders, Self::Weir, Self::WeirWithoutHeaders];

    /// The name in the table and in the raw results.
    const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::CopyWithHeaders => "copy with headers",
            Self::Weir => "weir run",
            Self::WeirWithoutHeaders => "weir run without headers",
        }
    }

    const fn is_weir(self) -> bool {
        matches!(self, Self::Weir | Self::WeirWithoutHeaders)
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bench = Bench::new(args)?;
    let outcome = bench.run(args);
    let _ = std::fs::remove_dir_all(&bench.dir);
    outcome
}

/// Names and places of a run.
struct Bench {
    dir: PathBuf,
    weir: PathBuf,
    brokers: String,
    prefix: String,
    partitions: i32,
}

/// A contender at work: its process and where it reads and writes.
struct Running {
    process: Process,
    /// Of an instance of Weir.
    port: Option<u16>,
    site: Site,
    /// The topic whose records answer to the input's.
    output: String,
}

impl Bench {
    fn new(args: &Args) -> Result<Self> {
        let prefix = format!("bench-{}", std::process::id());
        let dir = std::env::temp_dir().join(format!("weir-{prefix}"));
        std::fs::create_dir_all(&dir)?;
        let weir = args.weir.canonicalize().with_context(|| format!("no program {}", args.weir.display()))?;
        let (brokers, partitions) = (args.brokers.clone(), args.partitions);
        Ok(Self { dir, weir, brokers, prefix, partitions })
    }

    fn run(&self, args: &Args) -> Result<()> {
        let mut report = report::Report::new(args);
        let input = self.site("input", None);
        input.configure(&Self::options(true))?;
        input.create_topics()?;
        let send = |topic: &str, path: &Path, key: &str| {
            feed::send(&self.brokers, &input.topic(topic), path, key, None)
        };
        let mandates = send("mandates", &args.mandates, "mandate_id")?;
        let records = send("transactions", &args.transactions, "user_id")?;
        println!("{records} transactions and {mandates} mandates are in the topics");
        for round in 0..args.rounds {
            for contender in Contender::ALL {
                let run = throughput::measure(self, contender, round, &input.prefix, records)?;
                println!("{:<26} {}", contender.name(), run.sentence());
                report.throughput(contender, run);
            }
        }
        self.forget(&input)?;
        for round in 0..args.rounds {
            for contender in [Contender::Copy, Contender::Weir] {
                let run = latency::measure(self, contender, round, args)?;
                println!("{:<26} {}", contender.name(), run.sentence());
                report.latency(contender, run);
            }
        }
        report.finish(records)
    }

    fn options(headers: bool) -> Options {
        // Several snapshots in each run, as a service would have.
        Options { snapshots_every: "60s", properties: &[], headers }
    }

    /// A site; with `input`, its input topics are those of another.
    fn site(&self, name: &str, input: Option<&str>) -> Site {
        let prefix = format!("{}-{name}", self.prefix);
        Site {
            dir: self.dir.join(name),
            weir: self.weir.clone(),
            brokers: self.brokers.clone(),
            input: input.map_or_else(|| prefix.clone(), str::to_owned),
            prefix,
            partitions: self.partitions,
        }
    }

    /// Starts a contender with topics and a group of its own.
    fn start(&self, contender: Contender, site: Site) -> Result<Running> {
        site.configure(&Self::options(contender != Contender::WeirWithoutHeaders))?;
        site.create_topics()?;
        let log = site.dir.join("log");
        if contender.is_weir() {
            let (process, port) = site.start(&log)?;
            let output = site.topic("decisions");
            return Ok(Running { process, port: Some(port), site, output });
        }
        let output = site.topic("decisions");
        let mut copy = Command::new(std::env::current_exe()?);
        copy.args(["copy", "--brokers", &self.brokers, "--group", &site.prefix]);
        copy.args(["--from", &site.topic("transactions"), "--to", &output]);
        if contender == Contender::CopyWithHeaders {
            copy.arg("--headers");
        }
        let process = Process::start(&mut copy, &log)?;
        Ok(Running { process, port: None, site, output })
    }

    /// Removes a site's own topics.
    fn forget(&self, site: &Site) -> Result<()> {
        let names = TOPICS.map(|name| site.topic(name));
        let names: Vec<String> =
            names.into_iter().filter(|name| name.starts_with(&format!("{}.", site.prefix))).collect();
        kafka::delete_topics(&self.brokers, &names)
    }
}

impl Running {
    /// Fails when it has ended.
    fn check(&mut self) -> Result<()> {
        match self.process.ended() {
            None => Ok(()),
            Some(status) => anyhow::bail!("it ended ({status}):\n{}", self.process.tail(20)),
        }
    }

    /// Its times of commits in milliseconds, p50 and p99, as it tells them itself.
    fn commits(&self) -> Option<[f64; 2]> {
        match self.port {
            Some(port) => {
                let text = crate::chaos::get(port, "/metrics")?;
                let quantile = |part| report::bucket_quantile(&text, "weir_commit_seconds_bucket", part);
                Some([quantile(0.5)? * 1e3, quantile(0.99)? * 1e3])
            }
            None => {
                let tail = self.process.tail(1);
                let line: serde_json::Value = serde_json::from_str(&tail).ok()?;
                Some([line["commit_ms_p50"].as_f64()?, line["commit_ms_p99"].as_f64()?])
            }
        }
    }
}
