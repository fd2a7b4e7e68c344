//! Whether each partition, recorded and decided again, gives what stands in the topics byte for byte.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process;
use crate::site::Site;

/// What came of it.
pub(crate) struct Recordings {
    /// For people.
    pub(crate) sentence: String,
    /// What differs.
    pub(crate) findings: Vec<String>,
}

/// Records and replays every partition, and compares with `copies` of the topics.
pub(crate) fn check(site: &Site, copies: &Path) -> Result<Recordings> {
    let mut findings = Vec::new();
    let mut lines = 0;
    for partition in 0..site.partitions {
        let number = partition.to_string();
        let file = site.dir.join(format!("recording-{partition}.ndjson"));
        let out = site.dir.join(format!("replayed-{partition}"));
        let mut record = site.command(&["record", "--quiet", "--partition", &number]);
        let mut replay = std::process::Command::new(&site.weir);
        replay.args(["replay", "--quiet", "--recording"]).arg(&file).arg("--out").arg(&out);
        let done = process::output(record.arg("--out").arg(&file)).and_then(|_| process::output(&mut replay));
        if let Err(error) = done {
            findings.push(format!("partition {partition} cannot be recorded and replayed: {error:#}"));
            continue;
        }
        for name in ["decisions", "alerts", "rejects"] {
            let (topic, again) =
                (copies.join(format!("{name}-{partition}.ndjson")), out.join(format!("{name}.ndjson")));
            match difference(&topic, &again)? {
                Ok(same) => lines += same,
                Err(what) => findings.push(format!("{name} of partition {partition}: {what}")),
            }
        }
        let profiles = copies.join(format!("risk-scores-{partition}.ndjson"));
        let again = sorted(&out.join("risk-scores.ndjson"))?;
        if sorted(&profiles)? != again {
            findings.push(format!("the last risk profiles of partition {partition} differ when replayed"));
        }
        lines += again.len() as u64;
        fs::remove_file(&file)?;
    }
    let differ = if findings.is_empty() { "the same" } else { "NOT the same" };
    let sentence = format!(
        "recorded and replayed: {} partitions, {lines} decisions, alerts, rejects and profiles, {differ} byte for byte",
        site.partitions
    );
    Ok(Recordings { sentence, findings })
}

/// Compares line by line: the number of lines, or the first difference.
fn difference(topic: &Path, again: &Path) -> Result<Result<u64, String>> {
    let open = |path: &Path| -> Result<_> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    };
    let (mut topic, mut again) = (open(topic)?, open(again)?);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for line in 0.. {
        one.clear();
        other.clear();
        let more = topic.read_until(b'\n', &mut one)? + again.read_until(b'\n', &mut other)?;
        if more == 0 {
            return Ok(Ok(line));
        }
        if one != other {
            let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
            return Ok(Err(format!(
                "line {} is\n{}in the topic, and\n{}replayed",
                line + 1,
                shown(&one),
                shown(&other)
            )));
        }
    }
    Ok(Ok(0))
}

fn sorted(path: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}
