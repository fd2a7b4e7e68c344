//! `weir replay` as a whole, from file to decisions and views, beside parsing the same file and doing
//! nothing else, at 2 thousand and at 1 million agents.
//!
//! The command under test is the program named by `WEIR`; `cargo xtask bench` builds it and says so.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest, Sha256};
use weir_benches::{Stream, processor_time};
use weir_engine::Config;
use weir_events::codec::parse_transaction;

/// Runs of each, of which the fastest counts.
const RUNS: usize = 3;
/// Clock ticks of the system's accounts of processor time.
const TICKS_PER_SECOND: f64 = 100.0;
const READ_BYTES: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(weir) = std::env::var_os("WEIR").map(PathBuf::from) else {
        return Err("WEIR names no program; run `cargo xtask bench`".into());
    };
    let quick = std::env::args().any(|arg| arg == "--quick");
    let sizes: &[(u64, u64)] =
        if quick { &[(200_000, 2_000)] } else { &[(2_000_000, 2_000), (4_000_000, 1_000_000)] };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("whole_replay");
    let mut results = Vec::new();
    for &(transactions, agents) in sizes {
        fs::create_dir_all(&folder)?;
        results.push(measure(&weir, &folder, transactions, agents)?);
        fs::remove_dir_all(&folder)?;
    }
    println!("{}", serde_json::to_string_pretty(&results)?);
    Ok(())
}

fn measure(
    weir: &Path,
    folder: &Path,
    transactions: u64,
    agents: u64,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let (file, mandates, out) =
        (folder.join("tx.ndjson"), folder.join("mandates.ndjson"), folder.join("out"));
    {
        let stream = Stream::generate(transactions, agents, 42)?;
        fs::write(&file, &stream.transactions)?;
        fs::write(&mandates, &stream.mandates)?;
    }
    let (mut parse_s, mut records) = (f64::INFINITY, 0);
    let mut best: Option<Replay> = None;
    for _ in 0..RUNS {
        let begun = processor_time();
        records = parse_only(&file)?;
        parse_s = parse_s.min((processor_time() - begun).as_secs_f64());
        let replay = Replay::run(weir, &file, &mandates, &out)?;
        if best.as_ref().is_none_or(|best| replay.processor_s < best.processor_s) {
            best = Some(replay);
        }
    }
    let replay = best.ok_or("no run")?;
    let summary: serde_json::Value = serde_json::from_slice(&fs::read(out.join("summary.json"))?)?;
    let seen = summary.get("agents").and_then(serde_json::Value::as_u64).unwrap_or_default();
    Ok(json!({
        "agents": seen,
        "records": records,
        "record_bytes": fs::metadata(&file)?.len() / records.max(1),
        "parse_only_processor_s": parse_s,
        "replay_processor_s": replay.processor_s,
        "replay_wall_s": replay.wall_s,
        "replay_rate_per_core_of_parse_only": parse_s / replay.processor_s,
        "peak_bytes_per_agent": replay.peak_bytes / seen.max(1),
        "digest": digest(&out.join("decisions.ndjson"))?,
    }))
}

/// Reads and parses a file and does nothing else; how many records it has.
fn parse_only(path: &Path) -> Result<u64, Box<dyn Error>> {
    let base = Config::default().base_currency.0;
    let mut file = BufReader::with_capacity(READ_BYTES, File::open(path)?);
    let (mut line, mut records) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        records += u64::from(black_box(parse_transaction(&line, base)).is_ok());
        line.clear();
    }
    Ok(records)
}

/// One run of the command.
struct Replay {
    processor_s: f64,
    wall_s: f64,
    peak_bytes: u64,
}

impl Replay {
    fn run(weir: &Path, file: &Path, mandates: &Path, out: &Path) -> Result<Self, Box<dyn Error>> {
        let (begun, before_s) = (Instant::now(), children_processor_s()?);
        let mut child = Command::new(weir)
            .args(["replay", "--threads", "1", "--transactions"])
            .arg(file)
            .arg("--mandates")
            .arg(mandates)
            .arg("--out")
            .arg(out)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut peak_bytes = 0;
        let status = loop {
            peak_bytes = peak_bytes.max(peak_of(child.id()).unwrap_or_default());
            match child.try_wait()? {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        if !status.success() {
            return Err(format!("weir replay failed: {status}").into());
        }
        let wall_s = begun.elapsed().as_secs_f64();
        Ok(Self { processor_s: children_processor_s()? - before_s, wall_s, peak_bytes })
    }
}

/// Processor time of the children that have ended.
fn children_processor_s() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // What follows the name in brackets; user and system time of the children are 14th and 15th there.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

/// The most memory that a running process has held.
fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

fn digest(path: &Path) -> Result<String, Box<dyn Error>> {
    let (mut file, mut hasher, mut bytes) = (File::open(path)?, Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut bytes)? {
            0 => break,
            read => hasher.update(bytes.get(..read).unwrap_or_default()),
        }
    }
    Ok(hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
