//! `cargo xtask bench --check`: how many instructions the hot path takes per record, counted by callgrind and
//! held to what is written in `benches/instructions.txt`. Counts repeat where times do not, whatever else the
//! machine does.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::run::{self, Outcome, Program};
use crate::setup;
use crate::steps::Finding;

/// The parts that are counted, each a function of `benches/instructions.rs`. Together they are what a replay
/// does with a record between reading and writing.
const PARTS: [&str; 3] = ["parse", "shard", "encode"];
/// Their sum.
const WHOLE: &str = "replay";
/// How far a count may be from what is written, in percent. Fewer are to be written down too, or they would be
/// lost again unseen.
const TOLERANCE_PERCENT: u64 = 5;

/// Instructions per record, by part.
type Counts = BTreeMap<String, u64>;

/// Counts, and fails on a difference.
pub(crate) fn check() -> Finding {
    let (written, counted) = (read()?, count()?);
    let report = report(&written, &counted);
    if different(&written, &counted) {
        return Err(format!("{report}\nwhere that is meant: cargo xtask bench --bless"));
    }
    Ok(report)
}

/// Counts, and writes it down.
pub(crate) fn bless() -> Outcome {
    let counted = count()?;
    let text: String = counted.iter().map(|(part, count)| format!("{part} {count}\n")).collect();
    fs::write(baseline(), text).map_err(|error| format!("{}: {error}", baseline().display()))?;
    println!("{}", report(&counted, &counted));
    Ok(())
}

fn baseline() -> PathBuf {
    run::root().join("benches").join("instructions.txt")
}

fn read() -> Result<Counts, String> {
    let path = baseline();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let entry = |line: &str| {
        let (part, count) = line.split_once(' ')?;
        Some((part.to_owned(), count.parse().ok()?))
    };
    let entries = text.lines().map(|line| entry(line).ok_or_else(|| format!("{}: {line}", path.display())));
    entries.collect()
}

fn count() -> Result<Counts, String> {
    setup::for_counting()?;
    let program = built()?;
    let mut counts = Counts::new();
    for part in PARTS {
        counts.insert(part.to_owned(), count_part(&program, part)?);
    }
    counts.insert(WHOLE.to_owned(), counts.values().sum());
    Ok(counts)
}

/// Builds what is counted; where it lies.
fn built() -> Result<String, String> {
    let arguments = ["bench", "--package", "weir-benches", "--bench", "instructions", "--locked", "--no-run"];
    run::cargo(arguments).checked()?;
    let told = run::cargo(arguments).args(["--message-format", "json"]).output()?;
    // One message for each crate; those of libraries name no program.
    let mut programs = told.lines().filter_map(|message| {
        let (_, program) = message.split_once("\"executable\":\"")?;
        program.split('"').next()
    });
    programs.next_back().map(str::to_owned).ok_or_else(|| "cargo names no program of the bench".to_owned())
}

fn count_part(program: &str, part: &str) -> Result<u64, String> {
    let counts = run::target().join(format!("callgrind-{part}"));
    let file = format!("--callgrind-out-file={}", counts.display());
    let toggle = format!("--toggle-collect=instructions::counted_{part}");
    let records = Program::new("valgrind").args(["--tool=callgrind", &file, &toggle, program]).output()?;
    let records: u64 = records.trim().parse().map_err(|_| format!("no number of records: {records}"))?;
    let text = fs::read_to_string(&counts).map_err(|error| format!("{}: {error}", counts.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
    match total {
        Some(total) if total > 0 => Ok(total / records.max(1)),
        _ => {
            Err(format!("{}: callgrind has counted nothing; is `counted_{part}` inlined?", counts.display()))
        }
    }
}

/// Whether some count is farther from what is written than it may be.
fn different(written: &Counts, counted: &Counts) -> bool {
    let far = |(part, &count): (&String, &u64)| {
        let before = written.get(part).copied().unwrap_or(0);
        count.abs_diff(before) * 100 > before * TOLERANCE_PERCENT
    };
    written.len() != counted.len() || counted.iter().any(far)
}

fn report(written: &Counts, counted: &Counts) -> String {
    let line = |(part, &count): (&String, &u64)| match written.get(part) {
        Some(&before) if before == count => format!("{part} {count}"),
        Some(&before) => format!("{part} {count} (written: {before})"),
        None => format!("{part} {count} (new)"),
    };
    let parts: Vec<String> = counted.iter().map(line).collect();
    format!("instructions per record: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(parts: &[(&str, u64)]) -> Counts {
        parts.iter().map(|&(part, count)| (part.to_owned(), count)).collect()
    }

    #[test]
    fn five_percent_pass_and_a_little_more_does_not() {
        let written = counts(&[("parse", 1_000), ("shard", 4_000)]);
        for (parse, differs) in [(1_000, false), (1_050, false), (950, false), (1_051, true), (949, true)] {
            let counted = counts(&[("parse", parse), ("shard", 4_000)]);
            assert_eq!(different(&written, &counted), differs, "{parse}");
        }
    }

    #[test]
    fn a_part_that_is_missing_or_new_is_a_difference() {
        let written = counts(&[("parse", 1_000)]);
        assert!(different(&written, &counts(&[])));
        assert!(different(&written, &counts(&[("parse", 1_000), ("shard", 1)])));
        assert!(different(&written, &counts(&[("shard", 1_000)])));
    }

    #[test]
    fn every_part_is_a_function_of_the_bench() {
        let bench = fs::read_to_string(run::root().join("benches").join("instructions.rs")).unwrap();
        for part in PARTS {
            assert!(bench.contains(&format!("#[inline(never)]\nfn counted_{part}")), "{part}");
        }
        assert_eq!(read().unwrap().len(), PARTS.len() + 1);
    }
}
