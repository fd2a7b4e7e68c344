//! A process that takes records is killed without warning, again and again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use weir_embedded::{EmbeddedLog, Options};
use weir_log::{Answer, Fate, Feed, Kind, Log, LogError, Output, Partition, Sink, Source, Submit, Topic};

/// Folder of the log, for the process that is to be killed.
const FOLDER: &str = "WEIR_TEST_KILLED_FOLDER";
/// First number it hands in.
const FIRST: &str = "WEIR_TEST_KILLED_FIRST";
/// Most records it hands in at once.
const AT_ONCE: u64 = 16;

fn open(folder: &Path) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(
        folder,
        Options {
            retention: Duration::from_secs(3_600),
            queue_records_max: 1_000,
            queue_bytes_max: 1 << 20,
            now_us: || 1_700_000_000_000_000,
        },
    )
}

/// Repeats what it reads, with a journal record for each batch, and with repeats recognised.
fn serve(mut source: Box<dyn Source>, mut sink: Box<dyn Sink>, mut position: i64, mut seen: HashSet<u64>) {
    let mut output = Output::default();
    while let Ok(records) = source.poll(1_000, Duration::from_millis(100)) {
        let Some(records) = records else { continue };
        output.clear();
        for at in 0..records.len() {
            let record = records.get(at).unwrap();
            let value = record.value.unwrap();
            let number = String::from_utf8_lossy(value).parse().unwrap();
            position = record.offset + 1;
            let fate = if seen.insert(number) {
                Fate::Decided(output.push(Topic::Decisions, None, |_| {}, |to| to.extend(value)))
            } else {
                Fate::Duplicate(number)
            };
            output.fates.push(fate);
            output.keys.push(number);
        }
        output.push(Topic::Journal, None, |_| {}, |to| to.extend(position.to_string().bytes()));
        output.position = position;
        if sink.commit(&output, &|_| ControlFlow::Break(())).is_err() {
            return;
        }
    }
}

/// All the input that is there, read as recovery does.
fn input(partition: &mut dyn Partition, from: i64) -> Vec<u64> {
    let mut reader = partition.read(Feed::Transactions, from).unwrap();
    let mut numbers = Vec::new();
    while let Some(records) = reader.next(100).unwrap() {
        for at in 0..records.len() {
            numbers.push(String::from_utf8_lossy(records.get(at).unwrap().value.unwrap()).parse().unwrap());
        }
    }
    numbers
}

/// Hands numbers in until it is killed, and says which were answered.
fn child(folder: &Path) {
    let log = open(folder).unwrap();
    let mut partition = log.partition(0).unwrap();
    let extent = partition.open().unwrap();
    let seen = input(&mut *partition, extent.transactions.start).into_iter().collect();
    let (source, sink) = partition.go_live(extent.transactions.end).unwrap();
    std::thread::spawn(move || serve(source, sink, extent.transactions.end, seen));
    let mut next: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        // Each of its own, so that batches of any size come about; the first of each is a repeat.
        let numbers: Vec<u64> = (next.saturating_sub(1)..next + AT_ONCE).collect();
        let (answers, answered) = channel();
        for number in &numbers {
            log.submit(Kind::Transactions, vec![number.to_string().into_bytes()], answers.clone()).unwrap();
        }
        for _ in &numbers {
            let Ok((0, Answer::Decided(decision))) = answered.recv() else { panic!("not decided") };
            writeln!(out, "answered {}", String::from_utf8(decision).unwrap()).unwrap();
        }
        out.flush().unwrap();
        next += AT_ONCE;
    }
}

#[test]
fn what_was_answered_is_there_once_after_every_kill() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        child(Path::new(&folder));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut answered = HashSet::new();
    for round in 0..10u32 {
        let first = answered.iter().max().map_or(0, |last| last + 1);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["what_was_answered_is_there_once_after_every_kill", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(FIRST, u64::to_string(&first))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut of_round = 0;
        // A few batches further each time, so that it dies at different moments of one.
        while of_round < 50 + 37 * round {
            let line = lines.next().unwrap().unwrap();
            if let Some(number) = line.strip_prefix("answered ") {
                answered.insert(number.parse::<u64>().unwrap());
                of_round += 1;
            }
        }
        if round == 0 {
            // While it lives, nobody else gets in.
            let error = open(folder.path()).unwrap_err();
            assert!(
                matches!(&error, LogError::Refused(why) if why.contains("another process uses")),
                "{error}"
            );
        }
        child.kill().unwrap();
        // What it had said when it died was answered, too.
        let told =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("answered ")?.parse().ok());
        answered.extend(told.collect::<Vec<u64>>());
        child.wait().unwrap();
        check(folder.path(), &answered);
    }
    println!("{} numbers answered over 10 kills", answered.len());
}

/// Every answered number is in the input and decided once; nothing is decided that was not handed in.
fn check(folder: &Path, answered: &HashSet<u64>) {
    let log = open(folder).unwrap();
    let mut partition = log.partition(0).unwrap();
    let extent = partition.open().unwrap();
    let handed_in: HashSet<u64> = input(&mut *partition, 0).into_iter().collect();
    let mut decisions = log.decisions(Some(&[0])).unwrap();
    let mut decided = HashSet::new();
    loop {
        let page = decisions.next(Duration::ZERO).unwrap();
        if page.is_empty() {
            break;
        }
        for (_, _, decision) in page {
            let number = String::from_utf8(decision).unwrap().parse().unwrap();
            assert!(decided.insert(number), "{number} was decided twice");
        }
    }
    assert_eq!(decided, handed_in);
    assert!(answered.is_subset(&decided), "{:?} were lost", answered.difference(&decided));
    // The journal's last record tells of the same position: all was written together.
    let mut journal = partition.read(Feed::Journal, extent.journal.end - 1).unwrap();
    let last = journal.next(1).unwrap().unwrap();
    let position = String::from_utf8_lossy(last.get(0).unwrap().value.unwrap()).into_owned();
    assert_eq!(position, extent.transactions.end.to_string());
    log.close();
}
