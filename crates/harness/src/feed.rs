//! `weir-harness feed`: sends a generated stream, mandates first.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::producer::BaseRecord;

use crate::kafka::Sender;
use crate::stream::{Lines, value};

/// Arguments of `feed`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The broker
    #[arg(long)]
    brokers: String,
    /// transactions.ndjson of `weir generate`
    #[arg(long)]
    transactions: PathBuf,
    /// mandates.ndjson of `weir generate`
    #[arg(long)]
    mandates: PathBuf,
    /// Beginning of the topics' names: PREFIX.transactions and PREFIX.mandates, which are there
    #[arg(long)]
    topic_prefix: String,
    /// Transactions per second; as fast as they are taken where it is not given
    #[arg(long)]
    rate: Option<u64>,
    /// Make the topics first, with so many partitions
    #[arg(long)]
    partitions: Option<i32>,
}

/// Sends the stream.
pub(crate) fn run(args: &Args) -> Result<()> {
    let topic = |name: &str| format!("{}.{name}", args.topic_prefix);
    let (transactions, mandates) = (topic("transactions"), topic("mandates"));
    if let Some(partitions) = args.partitions {
        let names = [transactions.clone(), mandates.clone()];
        crate::kafka::create_topics(&args.brokers, &names, partitions, &[("max.message.bytes", "2097152")])?;
    }
    let begun = Instant::now();
    let known = send(&args.brokers, &mandates, &args.mandates, "mandate_id", None)?;
    println!("{known} mandates in {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let sent = send(&args.brokers, &transactions, &args.transactions, "user_id", args.rate)?;
    let took = begun.elapsed().as_secs_f64();
    println!("{sent} transactions in {took:.1} s, {:.0} per second", sent as f64 / took);
    Ok(())
}

/// Sends a file, keyed by a field; gives the number of records.
pub(crate) fn send(brokers: &str, topic: &str, path: &Path, key: &str, rate: Option<u64>) -> Result<u64> {
    let lines = Lines::read(path)?;
    let mut sender = Sender::new(brokers)?;
    let begun = Instant::now();
    for (at, line) in lines.iter().enumerate() {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(at as f64 / rate as f64);
            while begun.elapsed() < due {
                sender.poll();
                sleep(Duration::from_millis(1));
            }
        }
        let key = value(line, key).with_context(|| format!("line {} has no {key}", at + 1))?;
        sender.send(BaseRecord::to(topic).key(key.as_bytes()).payload(line.as_bytes()))?;
    }
    sender.finish(Duration::from_secs(300))
}
