//! Time per record of each part of the hot path, at 2 thousand and at 1 million agents.
//!
//! One run prints every figure next to the others, because only their ratios mean something on
//! another machine, and a digest of the decisions, so that a fast wrong answer shows.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::error::Error;
use std::hint::black_box;

use serde_json::json;
use sha2::{Digest, Sha256};
use weir_benches::alone::{Alone, base_only};
use weir_benches::{Stream, per_item, resident_bytes};
use weir_detectors::TABLE;
use weir_engine::Config;
use weir_events::Decision;
use weir_events::codec::parse_transaction;

/// Records before the clock starts: every agent exists and rings have their size.
const WARM_SHARE: usize = 2;

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
    let base = config.base_currency.0;
    let records = stream.lines().count() as u64;
    let (parse, parsed_bytes) = per_item(records, || {
        stream
            .lines()
            .filter(|line| black_box(parse_transaction(line, base)).is_ok())
            .map(<[u8]>::len)
            .sum::<usize>()
    });
    let parsed = stream.parsed();
    let before_bytes = resident_bytes();
    let mut engine = stream.engine(&config)?;
    let (warm, timed) = parsed.split_at(parsed.len() / WARM_SHARE);
    for tx in warm {
        engine.process(tx)?;
    }
    let (shard, decided) = per_item(timed.len() as u64, || -> Result<usize, Box<dyn Error>> {
        let mut decided = 0;
        for tx in timed {
            decided += usize::from(engine.process(tx)?);
        }
        Ok(decided)
    });
    let decided = decided?;
    let after_bytes = resident_bytes();
    let seen = engine.shard.agents_seen();
    let (serialize, digest) = encode(&stream, &config, timed.len().min(200_000))?;
    Ok(json!({
        "agents": seen,
        "records": records,
        "record_bytes": parsed_bytes as u64 / records.max(1),
        "decided": decided,
        "parse_ns": parse.as_nanos() as u64,
        "shard_ns": shard.as_nanos() as u64,
        "serialize_ns": serialize,
        "bytes_per_agent": after_bytes.zip(before_bytes).map(|(after, before)| after.saturating_sub(before) / seen.max(1) as u64),
        "digest": digest,
    }))
}

/// Time to encode a decision, and the digest of the first ones.
fn encode(stream: &Stream, config: &Config, count: usize) -> Result<(u64, String), Box<dyn Error>> {
    let parsed = stream.parsed();
    let mut engine = stream.engine(config)?;
    let (mut lines, mut spent_ns) = (Vec::new(), 0);
    let (mut hasher, digest) = (Sha256::new(), config.digest());
    for tx in parsed.iter().take(count) {
        if !engine.process(tx)? {
            continue;
        }
        lines.clear();
        let decision = Decision { transaction: tx, verdict: &engine.verdict, config_digest: &digest };
        let (spent, written) = per_item(1, || sonic_rs::to_writer(&mut lines, &decision));
        written?;
        spent_ns += spent.as_nanos() as u64;
        hasher.update(&lines);
    }
    let digest = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok((spent_ns / count.max(1) as u64, digest))
}
