//! Time per record of each part of the hot path, at 2 thousand and at 1 million agents.
//!
//! One run prints every figure next to the others, because only their ratios mean something on
//! another machine, and a digest of the decisions, so that a fast wrong answer shows.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use weir_benches::alone::{Alone, base_only};
use weir_benches::{Stream, per_item, processor_time, resident_bytes};
use weir_detectors::TABLE;
use weir_engine::Config;
use weir_events::codec::parse_transaction;
use weir_events::{Decision, Transaction};

/// Records before the clock starts: every agent exists and rings have their size.
const WARM_SHARE: usize = 2;
/// Records parsed, and then decided, at a time.
const BLOCK_RECORDS: usize = 256;
/// Runs of each stream, of which the fastest counts: what slows one down is not the code.
const RUNS: usize = 3;
/// Records whose decisions are encoded.
const ENCODED: usize = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let sizes: &[(u64, u64)] =
        if quick { &[(200_000, 2_000)] } else { &[(1_500_000, 2_000), (4_000_000, 1_000_000)] };
    let mut results = vec![detectors(200_000, 2_000)?];
    for &(transactions, agents) in sizes {
        results.push(measure(transactions, agents)?);
    }
    println!("{}", serde_json::to_string_pretty(&results)?);
    Ok(())
}

/// Time per record of each detector alone, beyond what the timelines take.
fn detectors(transactions: u64, agents: u64) -> Result<serde_json::Value, Box<dyn Error>> {
    let stream = Stream::generate(transactions, agents, 42)?;
    let (parsed, rates) = (stream.parsed(), base_only());
    let alone = Alone::new(&parsed, &rates);
    let records = parsed.len() as u64;
    let least = |position| (0..5).map(|_| per_item(records, || black_box(alone.run(position))).0).min();
    let timelines = least(None).unwrap_or_default();
    let mut results = serde_json::Map::new();
    results.insert("timelines_ns".to_owned(), json!(timelines.as_nanos() as u64));
    for (position, entry) in TABLE.iter().enumerate() {
        let whole = least(Some(position)).unwrap_or_default();
        results
            .insert(format!("{}_ns", entry.name), json!(whole.saturating_sub(timelines).as_nanos() as u64));
    }
    Ok(results.into())
}

fn measure(transactions: u64, agents: u64) -> Result<serde_json::Value, Box<dyn Error>> {
    let stream = Stream::generate(transactions, agents, 42)?;
    let config = Config::default();
    let lines: Vec<&[u8]> = stream.lines().collect();
    let first = Run::of(&stream, &lines, &config)?;
    let (mut parse, mut shard) = (first.parse, first.shard);
    for _ in 1..RUNS {
        let run = Run::of(&stream, &lines, &config)?;
        (parse, shard) = (parse.min(run.parse), shard.min(run.shard));
    }
    let (encode_ns, digest) = encode(&stream, &config)?;
    Ok(json!({
        "agents": first.agents,
        "records": lines.len(),
        "record_bytes": stream.transactions.len() / lines.len().max(1),
        "decided": first.decided,
        "parse_ns": parse.as_nanos() as u64,
        "shard_ns": shard.as_nanos() as u64,
        "encode_ns": encode_ns,
        // Of the first run: the others find the memory of the one before.
        "bytes_per_agent": first.bytes.map(|bytes| bytes / first.agents.max(1) as u64),
        "digest": digest,
    }))
}

/// One run of a stream through parser and shard, in blocks as the replay's; times per record.
struct Run {
    parse: Duration,
    shard: Duration,
    decided: usize,
    agents: usize,
    bytes: Option<u64>,
}

impl Run {
    fn of(stream: &Stream, lines: &[&[u8]], config: &Config) -> Result<Self, Box<dyn Error>> {
        let base = config.base_currency.0;
        let before_bytes = resident_bytes();
        let mut engine = stream.engine(config)?;
        let (mut parse, mut shard) = (Duration::ZERO, Duration::ZERO);
        let (mut decided, mut timed) = (0, 0);
        for (at, block) in (0..).step_by(BLOCK_RECORDS).zip(lines.chunks(BLOCK_RECORDS)) {
            let begun = processor_time();
            let transactions: Vec<Transaction<'_>> =
                block.iter().filter_map(|line| parse_transaction(line, base).ok()).collect();
            let parsed = processor_time();
            let of_block = engine.process(&transactions, |_, verdict| {
                black_box(verdict);
            })?;
            if at >= lines.len() / WARM_SHARE {
                parse += parsed - begun;
                shard += processor_time() - parsed;
                timed += u32::try_from(block.len()).unwrap_or(u32::MAX);
                decided += of_block;
            }
        }
        let after_bytes = resident_bytes();
        let per_record = |time: Duration| time / timed.max(1);
        Ok(Self {
            parse: per_record(parse),
            shard: per_record(shard),
            decided,
            agents: engine.shard.agents_seen(),
            bytes: after_bytes.zip(before_bytes).map(|(after, before)| after.saturating_sub(before)),
        })
    }
}

/// Time to encode a decision, and the digest of the first ones.
fn encode(stream: &Stream, config: &Config) -> Result<(u64, String), Box<dyn Error>> {
    let base = config.base_currency.0;
    let parsed: Vec<Transaction<'_>> =
        stream.lines().take(ENCODED).filter_map(|line| parse_transaction(line, base).ok()).collect();
    let mut verdicts = Vec::new();
    stream.engine(config)?.process(&parsed, |tx, verdict| verdicts.push((tx, verdict.clone())))?;
    let (mut lines, digest) = (Vec::new(), config.digest());
    let (mut hasher, mut least) = (Sha256::new(), Duration::MAX);
    for run in 0..RUNS {
        let mut spent = Duration::ZERO;
        for some in verdicts.chunks(BLOCK_RECORDS) {
            lines.clear();
            let begun = processor_time();
            for (transaction, verdict) in some {
                Decision { transaction, verdict, config_digest: &digest }.write(&mut lines);
            }
            spent += processor_time() - begun;
            if run == 0 {
                hasher.update(&lines);
            }
        }
        least = least.min(spent);
    }
    let digest = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(((least.as_nanos() / verdicts.len().max(1) as u128) as u64, digest))
}
