//! `weir-harness peers`: Weir beside what a user would take instead, on the same machine, broker and stream.
//!
//! One contender after the other, each with names and folders of its own that are removed when it is done. What each
//! found is held against what Weir found.

mod batch;
mod findings;
mod newest;
pub(crate) mod report;

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::bench::contender::{Contender, Java, Running};
use crate::bench::latency::Load;
use crate::bench::{Bench, latency, throughput};
use crate::process;
use batch::{Batch, Files};
use findings::{Decisions, Findings};
use report::Report;

/// Arguments of `peers`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The broker
    #[arg(long)]
    brokers: String,
    /// Its release, for the raw results
    #[arg(long, default_value = "unknown")]
    broker_version: String,
    /// The program `weir`, built for release
    #[arg(long)]
    weir: PathBuf,
    /// The program `weir-peer-datafusion`, built for release
    #[arg(long)]
    datafusion: PathBuf,
    /// Java 17 or newer
    #[arg(long, default_value = "java")]
    java: PathBuf,
    /// A Python that has DuckDB
    #[arg(long)]
    python: PathBuf,
    /// The folder of the peers, with the Java ones built
    #[arg(long, default_value = "benches/peers")]
    peers: PathBuf,
    /// Folder for the stream, which is generated unless it is there
    #[arg(long)]
    streams: PathBuf,
    /// Transactions of the stream: fewer for a trial
    #[arg(long, default_value_t = 2_000_000)]
    transactions: u64,
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
    /// How many seconds a job over the file may take; beyond, it counts as not having ended
    #[arg(long, default_value_t = 900)]
    limit: u64,
    /// Measure only those whose name holds one of these; Weir, whose findings are the measure, always
    #[arg(long)]
    only: Vec<String>,
    /// Also write every contender's decisions into this folder, to compare them field by field
    #[arg(long)]
    decisions: Option<PathBuf>,
    /// Folder for the raw results and the charts
    #[arg(long, default_value = "benches/runs")]
    out: PathBuf,
}

/// Who decides, or copies, from topic to topic. The first is what the others are held against.
const THROUGHPUT: [Contender; 9] = [
    Contender::Weir { headers: true },
    Contender::Weir { headers: false },
    Contender::Copy { headers: false },
    Contender::Copy { headers: true },
    Contender::Streams("eos-memory"),
    Contender::Streams("eos-rocksdb"),
    Contender::Streams("alo-nolog"),
    Contender::Flink { sink: "kafka", checkpoint_ms: 1_000 },
    Contender::Flink { sink: "none", checkpoint_ms: 1_000 },
];

/// Whose latency is measured. What Flink writes becomes visible with a checkpoint, so it is also shown with more of
/// them than anyone would have.
const LATENCY: [Contender; 6] = [
    Contender::Weir { headers: true },
    Contender::Copy { headers: false },
    Contender::Streams("eos-memory"),
    Contender::Streams("alo-nolog"),
    Contender::Flink { sink: "kafka", checkpoint_ms: 1_000 },
    Contender::Flink { sink: "kafka", checkpoint_ms: 100 },
];

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let peers = args.peers.canonicalize().with_context(|| format!("no folder {}", args.peers.display()))?;
    let java = Java { java: args.java.clone(), peers: peers.clone() };
    let bench = Bench::new(&args.weir, &args.brokers, args.partitions, Some(java.clone()))?;
    let outcome = Peers { bench: &bench, args, peers, java }.run();
    let _ = fs::remove_dir_all(&bench.dir);
    outcome
}

struct Peers<'a> {
    bench: &'a Bench,
    args: &'a Args,
    /// The folder of the peers.
    peers: PathBuf,
    java: Java,
}

impl Peers<'_> {
    fn run(&self) -> Result<()> {
        let files = self.files()?;
        let mut report = Report::new(self.args, &self.peers, &files)?;
        self.broker(&files, &mut report)?;
        self.batch(&files, &mut report)?;
        self.latency(&files, &mut report)?;
        let (results, failed) = report.finish()?;
        crate::chart::draw(&results, &self.args.out)?;
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        Ok(())
    }

    fn wanted(&self, name: &str) -> bool {
        self.args.only.is_empty() || self.args.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// The stream; and its mandates as every contender takes them the same way.
    fn files(&self) -> Result<Files> {
        let folder = self.args.streams.join(self.args.transactions.to_string());
        if !folder.is_dir() {
            // A folder of that name is always whole.
            let half = folder.with_extension("tmp");
            let mut generate = Command::new(&self.bench.weir);
            generate.args(["generate", "--quiet", "--seed", "7", "--transactions"]);
            generate.arg(self.args.transactions.to_string()).arg("--out").arg(&half);
            process::output(&mut generate)?;
            fs::rename(&half, &folder)?;
        }
        let mandates = self.bench.dir.join("mandates.ndjson");
        let known = fs::read_to_string(folder.join("mandates.ndjson"))?;
        fs::write(&mandates, newest::of(&known)?)?;
        let transactions = folder.join("transactions.ndjson").canonicalize()?;
        let records = batch::lines(&transactions)?;
        Ok(Files { transactions, mandates, records, scratch: self.bench.dir.join("batch") })
    }

    /// From topic to topic, as fast as each can.
    fn broker(&self, files: &Files, report: &mut Report) -> Result<()> {
        let input = self.bench.load(&files.transactions, &files.mandates)?;
        let mut weir = None;
        for (round, contender) in rounds(self.args.rounds, &THROUGHPUT) {
            let name = contender.name();
            if contender != THROUGHPUT[0] && !self.wanted(&name) {
                continue;
            }
            let site = self.bench.site_of(contender, round, Some(&input));
            let measured =
                throughput::measure(self.bench, contender, &site, &input).and_then(|(run, running)| {
                    println!("{name:<28} {}", run.sentence());
                    let found = self.found(contender, &running, &mut weir)?;
                    report.throughput(&name, &run, found);
                    Ok(())
                });
            self.bench.forget(&site)?;
            if contender == THROUGHPUT[0] {
                // Without it there is nothing to hold the others against.
                measured.context("weir run")?;
            } else {
                report.note(report::BROKER, &name, measured);
            }
        }
        self.bench.forget(&input.site)
    }

    /// What a contender found, beside Weir's decisions, which are the first.
    fn found(
        &self,
        contender: Contender,
        running: &Running,
        weir: &mut Option<Decisions>,
    ) -> Result<Option<Findings>> {
        match contender {
            Contender::Copy { .. } => return Ok(None),
            Contender::Flink { sink: "none", .. } => {
                return Ok(running.final_line().as_ref().map(Findings::of_actions));
            }
            _ => {}
        }
        let copy = self.args.decisions.as_ref().map(|folder| -> Result<_> {
            fs::create_dir_all(folder)?;
            let path = folder.join(format!("{}.ndjson", contender.slug()));
            let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            Ok(BufWriter::with_capacity(1 << 20, file))
        });
        let mut copy = copy.transpose()?;
        let mut decisions = Decisions::default();
        self.bench.read_output(&running.output, &mut |value| {
            decisions.take(value);
            if let Some(copy) = &mut copy {
                copy.write_all(value)?;
                copy.write_all(b"\n")?;
            }
            Ok(())
        })?;
        copy.map_or(Ok(()), |mut copy| copy.flush())?;
        let weir = weir.get_or_insert_with(|| decisions.clone());
        Ok(Some(decisions.beside(weir)))
    }

    /// Over the file, from the start of the process to its end.
    fn batch(&self, files: &Files, report: &mut Report) -> Result<()> {
        for (_, batch) in rounds(self.args.rounds, &Batch::ALL) {
            if !batch.is_weir() && !self.wanted(batch.name()) {
                continue;
            }
            let measured = batch.run(self, files).map(|run| {
                println!("{:<28} {}", batch.name(), run.sentence(files.records));
                report.batch(batch.name(), &run);
            });
            if batch.is_weir() {
                measured.context("weir replay")?;
            } else {
                report.note(report::FILE, batch.name(), measured);
            }
        }
        Ok(())
    }

    /// From a record's being sent to its outcome's being read.
    fn latency(&self, files: &Files, report: &mut Report) -> Result<()> {
        let load = Load {
            rate: self.args.rate,
            seconds: self.args.seconds,
            transactions: &files.transactions,
            mandates: &files.mandates,
        };
        for (round, contender) in rounds(self.args.rounds, &LATENCY) {
            let name = contender.name();
            if !self.wanted(&name) {
                continue;
            }
            let site = self.bench.site_of(contender, round, None);
            let measured = latency::measure(self.bench, contender, &site, &load).map(|run| {
                println!("{name:<28} {}", run.sentence());
                report.latency(&name, &run);
            });
            self.bench.forget(&site)?;
            report.note(report::LATENCY, &name, measured);
        }
        Ok(())
    }
}

/// Each in turn, so many times.
fn rounds<T: Copy>(rounds: usize, each: &[T]) -> impl Iterator<Item = (usize, T)> {
    (0..rounds).flat_map(move |round| each.iter().map(move |&one| (round, one)))
}
