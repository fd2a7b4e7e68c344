//! What `cargo xtask bench --check` counts the instructions of: each part of the hot path in one call, over
//! the second half of a fixed stream, when agents, mandates and memory are there. It prints the number of
//! records; the counting is done from outside, by callgrind, which knows the parts by their names.
#![allow(clippy::print_stdout, reason = "the number of records is read by who counts")]

use std::error::Error;
use std::hint::black_box;

use weir_benches::{Engine, Stream};
use weir_engine::Config;
use weir_events::codec::parse_transaction;
use weir_events::{Currency, Decision, Transaction, Verdict};

/// Enough that one record more or less does not show, and few enough to be simulated in seconds.
const TRANSACTIONS: u64 = 20_000;
const AGENTS: u64 = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let stream = Stream::generate(TRANSACTIONS, AGENTS, 42)?;
    let config = Config::default();
    let base = config.base_currency.0;
    let lines: Vec<&[u8]> = stream.lines().collect();
    let (warm, counted) = lines.split_at(lines.len() / 2);
    let warm: Vec<Transaction<'_>> =
        warm.iter().filter_map(|line| parse_transaction(line, base).ok()).collect();
    let transactions = counted_parse(counted, base);

    let mut engine = stream.engine(&config)?;
    engine.process(&warm, |_, _| {})?;
    counted_shard(&mut engine, &transactions)?;

    let mut verdicts = Vec::new();
    let mut engine = stream.engine(&config)?;
    engine.process(&warm, |_, _| {})?;
    engine.process(&transactions, |tx, verdict| verdicts.push((tx, verdict.clone())))?;
    // Room, so that making it is not counted.
    let mut out = Vec::with_capacity(stream.transactions.len() * 4);
    counted_encode(&verdicts, &config.digest(), &mut out);
    black_box(out);
    println!("{}", transactions.len());
    Ok(())
}

#[inline(never)]
fn counted_parse<'a>(lines: &[&'a [u8]], base: Currency) -> Vec<Transaction<'a>> {
    lines.iter().filter_map(|line| parse_transaction(line, base).ok()).collect()
}

#[inline(never)]
fn counted_shard<'t>(engine: &mut Engine, transactions: &'t [Transaction<'t>]) -> Result<(), Box<dyn Error>> {
    engine.process(transactions, |_, verdict| {
        black_box(verdict);
    })?;
    Ok(())
}

#[inline(never)]
fn counted_encode(verdicts: &[(&Transaction<'_>, Verdict)], config_digest: &str, out: &mut Vec<u8>) {
    for (transaction, verdict) in verdicts {
        Decision { transaction, verdict, config_digest }.write(out);
    }
}
