//! `weir-harness bench`: `weir run` against the copy, on one broker, one after the other, several times.

pub(crate) mod contender;
pub(crate) mod latency;
pub(crate) mod report;
pub(crate) mod throughput;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rdkafka::message::Message as _;

use crate::feed;
use crate::kafka;
use crate::site::Site;
use contender::{Contender, Java};

/// What is measured, where, and with which stream.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Subject {
    /// The broker
    #[arg(long)]
    pub(crate) brokers: String,
    /// The program `weir`, built for release
    #[arg(long)]
    pub(crate) weir: PathBuf,
    /// transactions.ndjson of `weir generate`, a million or more
    #[arg(long)]
    pub(crate) transactions: PathBuf,
    /// mandates.ndjson of `weir generate`
    #[arg(long)]
    pub(crate) mandates: PathBuf,
}

/// Arguments of `bench`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Partitions of the topics
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Transactions per second while latency is measured
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// For how many seconds latency is measured; 0: not at all
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Measure only those whose name holds one of these
    #[arg(long)]
    only: Vec<String>,
    /// Folder for the raw results
    #[arg(long, default_value = "benches/runs")]
    out: PathBuf,
}

impl Args {
    fn wants(&self, contender: Contender) -> bool {
        let name = contender.name();
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }
}

/// Whose throughput is measured.
const CONTENDERS: [Contender; 4] = [
    Contender::Copy { headers: false },
    Contender::Copy { headers: true },
    Contender::Weir { headers: true },
    Contender::Weir { headers: false },
];

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bench = Bench::new(&args.subject.weir, &args.subject.brokers, args.partitions, None)?;
    let outcome = measure(&bench, args);
    let _ = fs::remove_dir_all(&bench.dir);
    outcome
}

fn measure(bench: &Bench, args: &Args) -> Result<()> {
    let mut report = report::Report::new(args);
    let input = bench.load(&args.subject.transactions, &args.subject.mandates)?;
    for round in 0..args.rounds {
        for contender in CONTENDERS.into_iter().filter(|&contender| args.wants(contender)) {
            let site = bench.site_of(contender, round, Some(&input));
            let (run, _) = throughput::measure(bench, contender, &site, &input)?;
            bench.forget(&site)?;
            println!("{:<26} {}", contender.name(), run.sentence());
            report.throughput(contender, run);
        }
    }
    bench.forget(&input.site)?;
    let load = latency::Load {
        rate: args.rate,
        seconds: args.seconds,
        transactions: &args.subject.transactions,
        mandates: &args.subject.mandates,
    };
    let rounds = if args.seconds > 0 { args.rounds } else { 0 };
    for round in 0..rounds {
        let both = [Contender::Copy { headers: false }, Contender::Weir { headers: true }];
        for contender in both.into_iter().filter(|&contender| args.wants(contender)) {
            let site = bench.site_of(contender, round, None);
            let run = latency::measure(bench, contender, &site, &load)?;
            bench.forget(&site)?;
            println!("{:<26} {}", contender.name(), run.sentence());
            report.latency(contender, run);
        }
    }
    report.finish(input.records)
}

/// Names and places of a run.
pub(crate) struct Bench {
    /// Everything of it that is a file.
    pub(crate) dir: PathBuf,
    /// The program.
    pub(crate) weir: PathBuf,
    brokers: String,
    prefix: String,
    partitions: i32,
    /// Of Weir, at a site.
    pub(crate) instances: usize,
    /// Of peers; where they are measured.
    pub(crate) java: Option<Java>,
}

/// The stream, in topics that every contender reads.
pub(crate) struct Input {
    pub(crate) site: Site,
    /// Transactions.
    pub(crate) records: u64,
}

impl Bench {
    /// Names and places that no other run has.
    pub(crate) fn new(weir: &Path, brokers: &str, partitions: i32, java: Option<Java>) -> Result<Self> {
        let prefix = format!("bench-{}", std::process::id());
        let dir = std::env::temp_dir().join(format!("weir-{prefix}"));
        fs::create_dir_all(&dir)?;
        let weir = weir.canonicalize().with_context(|| format!("no program {}", weir.display()))?;
        Ok(Self { dir, weir, brokers: brokers.to_owned(), prefix, partitions, instances: 1, java })
    }

    /// Sends the stream.
    pub(crate) fn load(&self, transactions: &Path, mandates: &Path) -> Result<Input> {
        let site = self.site("input", None);
        self.prepare(Contender::Weir { headers: true }, &site)?;
        let send = |topic: &str, path: &Path, key: &str| {
            feed::send(&self.brokers, &site.topic(topic), path, key, None)
        };
        let mandates = send("mandates", mandates, "mandate_id")?;
        let records = send("transactions", transactions, "user_id")?;
        println!("{records} transactions and {mandates} mandates are in the topics");
        Ok(Input { site, records })
    }

    /// A contender's site in a round: reading the input that is there, or what is sent to it alone.
    pub(crate) fn site_of(&self, contender: Contender, round: usize, input: Option<&Input>) -> Site {
        let kind = if input.is_some() { "" } else { "latency-" };
        let name = format!("{kind}{}-{round}", contender.slug());
        self.site(&name, input.map(|input| input.site.prefix.as_str()))
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

    /// Reads every decision of a contender, as a reader of what is committed.
    pub(crate) fn read_output(&self, output: &str, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        kafka::read_all(&self.brokers, output, self.partitions, &mut |message| {
            each(message.payload().unwrap_or_default())
        })
    }

    /// Removes a site's own files and topics, those that frameworks made for it included.
    pub(crate) fn forget(&self, site: &Site) -> Result<()> {
        let own =
            |name: &String| name.strip_prefix(&site.prefix).is_some_and(|rest| rest.starts_with(['.', '-']));
        let names: Vec<String> = kafka::topics(&self.brokers)?.into_iter().filter(own).collect();
        if site.dir.is_dir() {
            fs::remove_dir_all(&site.dir).with_context(|| format!("cannot remove {}", site.dir.display()))?;
        }
        kafka::delete_topics(&self.brokers, &names)
    }
}
