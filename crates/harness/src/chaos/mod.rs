//! `weir-harness chaos`: kills instances of `weir run` at random moments under load, then accounts for everything.

mod account;
mod instances;
mod load;
mod monitor;
mod recordings;
mod script;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::kafka::{self, Observer};
use crate::process;
use crate::random::{Random, fresh_seed};
use crate::site::{Options, Site, TOPICS};
use crate::stream::Lines;
use account::Account;
use instances::Instances;
use load::{Load, Sent, Source};
pub(crate) use monitor::get;
use monitor::{Monitor, Seen};
use script::Script;

/// How the mandates topic is made: so that the broker compacts it every few seconds, as it does after days.
const COMPACTED: [(&str, &str); 7] = [
    ("cleanup.policy", "compact"),
    ("max.message.bytes", "2097152"),
    ("segment.ms", "2000"),
    ("segment.bytes", "4194304"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("delete.retention.ms", "100"),
    ("min.compaction.lag.ms", "0"),
];

/// Findings that are printed.
const SHOWN: usize = 40;

/// Arguments of `chaos`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The broker
    #[arg(long)]
    brokers: String,
    /// The program `weir`
    #[arg(long)]
    weir: PathBuf,
    /// How often an instance is killed
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// What happens when is drawn from this
    #[arg(long)]
    seed: Option<u64>,
    /// Transactions per second
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Partitions of the topics
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Transactions in the stream, before it begins again
    #[arg(long, default_value_t = 100_000)]
    stream: u64,
    /// Most memory, in MiB, that an instance may ever hold
    #[arg(long, default_value_t = 1_536)]
    memory: u64,
    /// A command for the shell, to which kill, stop, start, pause or resume is appended; none: the broker is left alone
    #[arg(long)]
    broker_command: Option<String>,
    /// How long the instances may take, in seconds, to reach the end of the input once it has ended
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Leave the folder and the topics there
    #[arg(long)]
    keep: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let site = site(args, seed)?;
    println!("chaos: seed {seed}, {} kills, in {}", args.kills, site.dir.display());
    let outcome = chaos(args, seed, &site);
    let passed = matches!(&outcome, Ok(findings) if findings.is_empty());
    if passed && !args.keep {
        let names: Vec<String> = TOPICS.iter().map(|name| site.topic(name)).collect();
        kafka::delete_topics(&args.brokers, &names)?;
        fs::remove_dir_all(&site.dir)?;
    } else {
        println!("logs, configuration and topics' contents are in {}", site.dir.display());
        println!("again: cargo xtask chaos --kills {} --seed {seed} --rate {}", args.kills, args.rate);
    }
    let findings = outcome?;
    if findings.is_empty() {
        println!("chaos: passed");
        return Ok(());
    }
    for finding in findings.iter().take(SHOWN) {
        println!("FAILED: {finding}");
    }
    bail!("{} findings with seed {seed}", findings.len())
}

/// A folder and names that nothing else has.
fn site(args: &Args, seed: u64) -> Result<Site> {
    let prefix = format!("chaos-{seed}-{}", std::process::id());
    let site = Site {
        dir: std::env::temp_dir().join(format!("weir-{prefix}")),
        weir: args.weir.canonicalize().with_context(|| format!("no program {}", args.weir.display()))?,
        brokers: args.brokers.clone(),
        input: prefix.clone(),
        prefix,
        partitions: args.partitions,
    };
    // A member that was killed is missed after its session, so a short one makes for more rebalances.
    site.configure(&Options {
        snapshots_every: "2s",
        properties: &[("session.timeout.ms", "6000")],
        headers: true,
    })?;
    Ok(site)
}

/// Topics and stream, then load and kills, then the account; gives what was found wrong.
fn chaos(args: &Args, seed: u64, site: &Site) -> Result<Vec<String>> {
    kafka::create_topics(&args.brokers, &[site.topic("mandates")], args.partitions, &COMPACTED)?;
    site.create_topics()?;
    let source = source(args, seed, site)?;
    let mut instances = Instances::new(site.clone());
    let monitor = Monitor::start(site, instances.running())?;
    let load = Load::start(source, args.rate, seed)?;
    let begun = Instant::now();
    instances.start()?;
    instances.start()?;
    let mut script = Script::new(args, Random::new(seed, 2), &mut instances, &load, &monitor);
    let played = script.play();
    let (counts, mut findings) = script.finish();
    // If the load has failed, that is why the script has.
    let sent = load.finish().context("the load")?;
    played?;
    println!(
        "[{:6.1} s] the input has ended after {} records",
        begun.elapsed().as_secs_f64(),
        sent.transactions
    );
    findings.extend(catch_up(args, site, &mut instances)?);
    findings.extend(instances.stop_all()?);
    let seen = monitor.finish();
    findings.extend(judge_seen(args, &seen));
    let logs = instances.logs()?;
    findings.extend(logs.findings.iter().cloned());
    let account = account::account(site, &site.dir.join("topics"))?;
    findings.extend(account.findings());
    if account.totals().inputs != sent.transactions {
        findings.push(format!(
            "{} records were sent, {} are in the topic",
            sent.transactions,
            account.totals().inputs
        ));
    }
    println!("{}", account.sentence());
    let recordings = recordings::check(site, &site.dir.join("topics"))?;
    findings.extend(recordings.findings);
    println!("{}", recordings.sentence);
    tell(&counts, &seen, &sent, &account, &logs, begun.elapsed());
    Ok(findings)
}

fn source(args: &Args, seed: u64, site: &Site) -> Result<Source> {
    let dir = site.dir.join("stream");
    let mut generate = std::process::Command::new(&site.weir);
    generate.args(["generate", "--quiet", "--repeat-share", "0.02", "--out"]).arg(&dir);
    generate.args(["--transactions", &args.stream.to_string(), "--seed", &seed.to_string()]);
    process::output(&mut generate)?;
    Ok(Source {
        transactions: Lines::read(&dir.join("transactions.ndjson"))?,
        mandates: Lines::read(&dir.join("mandates.ndjson"))?,
        topic: site.topic("transactions"),
        mandates_topic: site.topic("mandates"),
        partitions: site.partitions,
        brokers: site.brokers.clone(),
    })
}

/// Waits until the group has committed the end of the input.
fn catch_up(args: &Args, site: &Site, instances: &mut Instances) -> Result<Vec<String>> {
    let wait = Duration::from_secs(5);
    let observer = Observer::new(&site.brokers, &site.prefix, &site.topic("transactions"), site.partitions)?;
    let ends = observer.ends(wait)?;
    let begun = Instant::now();
    let mut findings = Vec::new();
    loop {
        findings.extend(instances.restart_ended()?);
        let positions = observer.positions(wait).unwrap_or_default();
        if positions == ends {
            println!("caught up in {:.1} s", begun.elapsed().as_secs_f64());
            return Ok(findings);
        }
        if begun.elapsed() > Duration::from_secs(args.patience) {
            findings.push(format!(
                "the group is at {positions:?} {} s after the input ended at {ends:?}",
                args.patience
            ));
            return Ok(findings);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn judge_seen(args: &Args, seen: &Seen) -> Vec<String> {
    let mut findings = Vec::new();
    let most = seen.rss_peak_kib / 1024;
    if most > args.memory {
        findings.push(format!("an instance held {most} MiB, more than {}", args.memory));
    }
    if seen.metrics_read > 0 && seen.lag_told == 0 && seen.lag_max > 1_000 {
        findings.push("the metrics never told of any lag".to_owned());
    }
    findings
}

fn tell(
    counts: &script::Counts,
    seen: &Seen,
    sent: &Sent,
    account: &Account,
    logs: &instances::Logs,
    took: Duration,
) {
    let totals = account.totals();
    let metrics = match seen.metrics_read {
        0 => "not served".to_owned(),
        times => format!("read {times} times, told of a lag of up to {}", seen.lag_told),
    };
    let rows = [
        ("time", format!("{:.0} s", took.as_secs_f64())),
        ("actions", counts.to_string()),
        ("recoveries", logs.recoveries.to_string()),
        ("", format!("from a snapshot {}, the slowest {:.2} s", logs.from_snapshots, logs.slowest)),
        ("commits tried again", logs.retried.to_string()),
        ("greatest lag", format!("{} records", seen.lag_max)),
        ("metrics", metrics),
        ("slow reader", format!("{} connections of /v1/decisions left unread", seen.followers)),
        ("most memory", format!("{} MiB", seen.rss_peak_kib / 1024)),
        ("input", format!("{} records in {} rounds", sent.transactions, sent.rounds)),
        ("journal", format!("{} batches, {} versions of mandates", totals.batches, totals.mandate_entries)),
        ("rejects", account.codes()),
        ("told outcomes", format!("{} records said what has to become of them", totals.expectations)),
        (
            "mandates",
            format!(
                "{} records sent, {} left by compaction, {} rejected",
                sent.mandates, totals.mandates_left, totals.mandate_rejects
            ),
        ),
    ];
    for (name, value) in rows {
        println!("  {name:<20} {value}");
    }
}
