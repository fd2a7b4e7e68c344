//! `weir record`, and `weir replay --recording`, which gives the same decisions from it byte for byte.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use weir_log::{Output, Topic};
use weir_service::recording;
use weir_service::snapshots::Store;

use super::{As, open, settings};
use crate::args::RecordArgs;
use crate::configured;
use crate::failure::Failure;
use crate::folder;
use crate::screen::Screen;

/// Files that a replayed recording gives, by topic.
const FILES: [(Topic, &str); 3] = [
    (Topic::Decisions, "decisions.ndjson"),
    (Topic::Alerts, "alerts.ndjson"),
    (Topic::Rejects, "rejects.ndjson"),
];

/// Records one partition, live or not.
pub(crate) fn record(args: &RecordArgs, screen: &Screen) -> Result<(), Failure> {
    let config = configured(&args.config, Vec::new())?;
    let settings = settings(&config);
    let log = open(&config, As::Reader)?.log;
    let partitions = log.partitions().context("cannot reach the log")?;
    if !(0..partitions).contains(&args.partition) {
        return Err(Failure::Usage(format!("--partition {}: the topic has {partitions}", args.partition)));
    }
    let mut partition = log.partition(args.partition).context("cannot read the log")?;
    let store = Store::open(&settings.snapshots_url).context("cannot open snapshots.url")?;
    let shown = args.out.display();
    let file = OpenOptions::new().write(true).create_new(true).open(&args.out);
    let file = file.with_context(|| format!("cannot create {shown}"))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let number = (args.partition, partitions);
    let recorded = recording::record(&mut *partition, number, &settings, &store, &mut out);
    if recorded.is_err() {
        // What is there is no whole recording.
        let _ = fs::remove_file(&args.out);
    }
    let extent = recorded.with_context(|| format!("cannot record partition {}", args.partition))?;
    screen.say(&format!("{} transactions in {} batches, in {shown}", extent.records, extent.batches))
}

/// Decides a recording again.
pub(crate) fn replay(recording: &Path, out: &Path, screen: &Screen) -> Result<(), Failure> {
    let shown = recording.display();
    let file = File::open(recording).with_context(|| format!("cannot read {shown}"))?;
    folder::make(out)?;
    let mut files = Vec::new();
    for (topic, name) in FILES {
        let path = out.join(name);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        files.push((topic, BufWriter::with_capacity(1 << 20, file)));
    }
    let mut profiles = BTreeMap::new();
    let mut to = |output: &Output, _: &_| {
        for message in &output.messages {
            let (key, value) = output.message(message);
            if message.topic == Topic::RiskScores {
                profiles.insert(key.to_vec(), value.to_vec());
            }
            if let Some((_, file)) = files.iter_mut().find(|(topic, _)| *topic == message.topic) {
                file.write_all(value)?;
                file.write_all(b"\n")?;
            }
        }
        Ok(())
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let replayed = recording::replay(&mut reader, crate::hash_seed(), &mut to);
    let extent = replayed.with_context(|| format!("cannot replay {shown}"))?;
    let path = out.join("risk-scores.ndjson");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    files.push((Topic::RiskScores, BufWriter::new(file)));
    if let Some((_, file)) = files.last_mut() {
        for profile in profiles.values() {
            file.write_all(profile)?;
            file.write_all(b"\n")?;
        }
    }
    for (_, mut file) in files {
        file.flush().context("cannot write the output")?;
    }
    screen.say(&format!(
        "{} transactions in {} batches, each as the journal says, in {}",
        extent.records,
        extent.batches,
        out.display()
    ))
}
