//! `WEIR_SEEDS` seeds from `WEIR_SEED` on: 300 from 1 on where nothing is said.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panicking, and this one says what it covered"
)]

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use weir_simulation::log::Defect;
use weir_simulation::{Counts, retention, simulate};

/// Seeds within which a broken log has to be found out.
const DEFECT_SEEDS: u64 = 20;

fn number(name: &str, otherwise: u64) -> u64 {
    let text = env::var(name).ok();
    text.map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number"))
    })
}

#[test]
fn every_record_is_decided_once_whatever_happens() {
    let (first, seeds) = (number("WEIR_SEED", 1), number("WEIR_SEEDS", 300));
    let next = AtomicU64::new(first);
    let (counts, failed) = (Mutex::new(Counts::default()), Mutex::new(Vec::new()));
    // Each seed has one thread; that there are several at a time shows nowhere.
    let run = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                break;
            }
            match simulate(seed, None) {
                Ok(of_seed) => counts.lock().unwrap().add(&of_seed),
                Err(why) => failed.lock().unwrap().push((seed, why)),
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
        for _ in 0..threads {
            scope.spawn(run);
        }
    });
    println!("{seeds} seeds: {:?}", counts.into_inner().unwrap());
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    if let Some((seed, why)) = failed.first() {
        let all: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
        for (seed, why) in &failed {
            println!(
                "seed {seed}: {}",
                why.lines().next().unwrap_or_default().chars().take(300).collect::<String>()
            );
        }
        panic!(
            "seed {seed} fails: {why}\nof {seeds} seeds fail {}: {all:?}\nto repeat it:\n  WEIR_SEED={seed} WEIR_SEEDS=1 cargo test -p weir-simulation --test simulation",
            all.len()
        );
    }
}

#[test]
fn input_that_was_deleted_is_told_with_partition_and_offsets() {
    let (first, seeds) = (number("WEIR_SEED", 1), number("WEIR_SEEDS", 300));
    for seed in first..first + seeds.div_ceil(10) {
        retention(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_seed_does_the_same_again() {
    for seed in 1..4 {
        let counts = || format!("{:?}", simulate(seed, None));
        assert_eq!(counts(), counts());
    }
}

fn is_found_out(defect: Defect) {
    let found = (1..=DEFECT_SEEDS).any(|seed| simulate(seed, Some(defect)).is_err());
    assert!(found, "{defect:?} goes unnoticed for {DEFECT_SEEDS} seeds");
}

#[test]
fn a_log_without_fencing_is_found_out() {
    is_found_out(Defect::NoFencing);
}

#[test]
fn a_log_that_loses_positions_is_found_out() {
    is_found_out(Defect::PositionLost);
}

#[test]
fn a_log_that_loses_decisions_is_found_out() {
    is_found_out(Defect::DecisionsLost);
}

#[test]
fn a_log_that_commits_twice_is_found_out() {
    is_found_out(Defect::Twice);
}
