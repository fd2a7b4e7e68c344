//! The log under a service that decides by repeating what it reads.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::io;
use std::ops::{Bound, ControlFlow};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use redb::{BackendError, StorageBackend};
use weir_log::{Extent, Fate, Feed, MandateEvent, Output, Sink, Source};

use super::*;

const SOON: Duration = Duration::from_secs(20);
const NOW: Duration = Duration::ZERO;

fn options() -> Options {
    Options {
        retention: Duration::from_secs(7 * 86_400),
        queue_records_max: 1_000,
        queue_bytes_max: 1 << 20,
        now_us: || 1_700_000_000_000_000,
    }
}

fn open(folder: &Path) -> EmbeddedLog {
    EmbeddedLog::open(folder, options()).unwrap()
}

/// Opens the partition and goes live where it ends.
fn live(log: &EmbeddedLog) -> (Extent, Box<dyn Source>, Box<dyn Sink>) {
    let mut partition = log.partition(0).unwrap();
    let extent = partition.open().unwrap();
    let (source, sink) = partition.go_live(extent.transactions.end).unwrap();
    (extent, source, sink)
}

/// Hash of what stands for user and transaction in these tests: the record's first eight bytes.
fn key(record: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(record) {
        *to = *from;
    }
    u64::from_le_bytes(bytes)
}

/// Repeats each record; `dup…` is a repeat of the record with that key, `bad…` is rejected.
fn decide(records: &dyn weir_log::Records, output: &mut Output, position: &mut i64) {
    output.clear();
    for at in 0..records.len() {
        let record = records.get(at).unwrap();
        *position = record.offset + 1;
        let value = record.value.unwrap();
        assert_eq!((record.key, record.timestamp_us.is_some()), (None, true));
        let (fate, key) = if let Some(of) = value.strip_prefix(b"dup ") {
            (Fate::Duplicate(key(of)), 0)
        } else if value.starts_with(b"bad ") {
            let at = output.push(Topic::Rejects, Some(record.offset), |_| {}, |to| to.extend(b"no good"));
            (Fate::Rejected(at), 0)
        } else {
            let decided = |to: &mut Vec<u8>| to.extend([b"decided ", value].concat());
            let at = output.push(Topic::Decisions, Some(record.offset), |to| to.extend(b"user"), decided);
            (Fate::Decided(at), key(value))
        };
        output.fates.push(fate);
        output.keys.push(key);
    }
    output.push(
        Topic::RiskScores,
        None,
        |to| to.extend(b"profile"),
        |to| to.extend(position.to_string().bytes()),
    );
    output.push(Topic::Alerts, None, |to| to.extend(b"key"), |to| to.extend(b"alert"));
    output.push(
        Topic::Journal,
        None,
        |to| to.extend(b"J"),
        |to| to.extend(format!("up to {position}").bytes()),
    );
    output.position = *position;
}

/// Polls once and commits what came; gives the number of records.
fn step(source: &mut dyn Source, sink: &mut dyn Sink, position: &mut i64) -> Result<Option<usize>, LogError> {
    let Some(records) = source.poll(100, SOON)? else { return Ok(None) };
    let mut output = Output::default();
    decide(&*records, &mut output, position);
    sink.commit(&output, &|_| ControlFlow::Break(()))?;
    Ok(Some(records.len()))
}

/// Decides until the log is closed or fails.
fn serve(log: &EmbeddedLog) -> JoinHandle<LogError> {
    let (extent, mut source, mut sink) = live(log);
    std::thread::spawn(move || {
        let mut position = extent.transactions.end;
        loop {
            if let Err(error) = step(&mut *source, &mut *sink, &mut position) {
                return error;
            }
        }
    })
}

fn send(log: &EmbeddedLog, kind: Kind, records: &[&str]) -> Result<Receiver<(usize, Answer)>, LogError> {
    let (answers, answered) = channel();
    let records = records.iter().map(|record| record.as_bytes().to_vec()).collect();
    log.submit(kind, records, answers)?;
    Ok(answered)
}

fn pay(log: &EmbeddedLog, records: &[&str]) -> Vec<Answer> {
    all(&send(log, Kind::Transactions, records).unwrap(), records.len())
}

/// Answers by position.
fn all(answered: &Receiver<(usize, Answer)>, count: usize) -> Vec<Answer> {
    let mut answers: Vec<_> = (0..count).map(|_| answered.recv_timeout(SOON).unwrap()).collect();
    answers.sort_by_key(|(at, _)| *at);
    assert!(answers.iter().enumerate().all(|(at, (of, _))| at == *of));
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn decided(text: &str) -> Answer {
    Answer::Decided(format!("decided {text}").into_bytes())
}

fn texts(log: &EmbeddedLog, topic: Topic) -> Vec<String> {
    let rows = log.rows(topic, 0, 1_000).unwrap();
    rows.iter().map(|row| String::from_utf8(row.value.as_deref().unwrap().to_vec()).unwrap()).collect()
}

#[test]
fn what_is_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    assert_eq!(log.partitions().unwrap(), 1);
    assert!(matches!(log.next_assignment(NOW).unwrap(), Some(Assignment::Assigned(which)) if which == [0]));
    assert!(log.next_assignment(NOW).unwrap().is_none());
    let service = serve(&log);
    assert_eq!(
        pay(&log, &["a", "bad b", "c"]),
        [decided("a"), Answer::Rejected(b"no good".to_vec()), decided("c")]
    );
    assert_eq!(pay(&log, &["d"]), [decided("d")]);
    log.close();
    assert_eq!(service.join().unwrap(), LogError::Stopped);
    assert_eq!(log.next_assignment(SOON).unwrap_err(), LogError::Stopped);
    drop(log);

    let log = open(folder.path());
    let mut partition = log.partition(0).unwrap();
    let extent = partition.open().unwrap();
    assert_eq!((extent.transactions.clone(), extent.group_position), (0..4, Some(4)));
    assert_eq!(texts(&log, Topic::Decisions), ["decided a", "decided c", "decided d"]);
    assert_eq!(texts(&log, Topic::Rejects), ["no good"]);
    assert_eq!(log.risk_score(b"profile").unwrap().unwrap(), b"4");
    assert_eq!(log.risk_score(b"other").unwrap(), None);
    assert_eq!(log.rows(Topic::RiskScores, 0, 10).unwrap(), []);

    let mut reader = partition.read(Feed::Transactions, 1).unwrap();
    let mut read = Vec::new();
    while let Some(records) = reader.next(2).unwrap() {
        assert!(records.len() <= 2);
        for at in 0..records.len() {
            read.push(records.get(at).unwrap().to_owned());
        }
    }
    let values: Vec<&[u8]> = read.iter().map(|record| record.value.as_deref().unwrap()).collect();
    assert_eq!(values, [b"bad b".as_slice(), b"c", b"d"]);
    assert_eq!(read[0].timestamp_us, Some(1_700_000_000_000_000));
    assert_eq!((read[0].offset, &read[0].key), (1, &None));
    let mut reader = partition.read(Feed::Journal, extent.journal.start).unwrap();
    let last = reader.next(100).unwrap().unwrap();
    let last = last.get(last.len() - 1).unwrap().to_owned();
    assert_eq!((last.key.as_deref(), last.value.as_deref()), (Some(&b"J"[..]), Some(&b"up to 4"[..])));
    assert_eq!(last.offset + 1, extent.journal.end);

    // Nowhere else can the service go on.
    assert!(matches!(partition.go_live(3), Err(LogError::Refused(_))));
    assert!(matches!(log.partition(1), Err(LogError::Refused(_))));
    let _service = serve(&log);
    assert_eq!(pay(&log, &["e"]), [decided("e")]);
    assert_eq!(log.rows(Topic::Decisions, 3, 10).unwrap()[0].offset, 3);
    log.close();
}

#[test]
fn a_repeat_gets_its_stored_decision() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let _service = serve(&log);
    assert_eq!(
        pay(&log, &["first", "dup first", "dup never"]),
        [decided("first"), decided("first"), Answer::Forgotten]
    );
    assert_eq!(pay(&log, &["dup first"]), [decided("first")]);
    // The repeat itself is kept as input, and decided once.
    assert_eq!(texts(&log, Topic::Decisions), ["decided first"]);
    log.close();
}

#[test]
fn a_batch_ends_where_a_mandate_follows_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (_, mut source, mut sink) = live(&log);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook_seen = Arc::clone(&seen);
    log.set_mandate_hook(Box::new(move |record| {
        let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        hook_seen.lock().unwrap_or_else(PoisonError::into_inner).push((record.offset, text.clone()));
        assert_eq!((record.key, record.timestamp_us), (None, Some(1_700_000_000_000_000)));
        text.split_once(' ').map(|(id, _)| id.to_owned()).ok_or_else(|| format!("{{\"code\":\"{text}\"}}"))
    }));
    let mandates = send(&log, Kind::Mandates, &["m1 old", "junk", "m2 x"]).unwrap();
    let first = send(&log, Kind::Transactions, &["a", "b"]).unwrap();
    let later = send(&log, Kind::Mandates, &["m1 new"]).unwrap();
    let second = send(&log, Kind::Transactions, &["c"]).unwrap();
    assert_eq!(source.lag(), Some(7));

    let mut position = 0;
    assert_eq!(step(&mut *source, &mut *sink, &mut position).unwrap(), Some(2));
    let reject = Answer::Rejected(b"{\"code\":\"junk\"}".to_vec());
    assert_eq!(all(&mandates, 3), [Answer::Accepted, reject, Answer::Accepted]);
    assert_eq!(all(&first, 2), [decided("a"), decided("b")]);
    let texts_seen = |from: usize| -> Vec<String> {
        seen.lock().unwrap_or_else(PoisonError::into_inner)[from..]
            .iter()
            .map(|(_, text)| text.clone())
            .collect()
    };
    assert_eq!(texts_seen(0), ["m1 old", "junk", "m2 x"]);
    assert_eq!(step(&mut *source, &mut *sink, &mut position).unwrap(), Some(1));
    assert_eq!((all(&later, 1), all(&second, 1)), (vec![Answer::Accepted], vec![decided("c")]));
    assert_eq!(texts_seen(3), ["m1 new"]);
    assert_eq!(texts(&log, Topic::Rejects), ["{\"code\":\"junk\"}"]);

    // A batch of mandates alone has no records and is committed all the same.
    let alone = send(&log, Kind::Mandates, &["m3 y"]).unwrap();
    assert_eq!(step(&mut *source, &mut *sink, &mut position).unwrap(), Some(0));
    assert_eq!((all(&alone, 1), position), (vec![Answer::Accepted], 3));
    drop((source, sink, log));

    // The newest of each id, in the order in which they came; then nothing but the end.
    let log = open(folder.path());
    let mut stored = log.mandates().unwrap().unwrap();
    let mut events = Vec::new();
    for event in stored.next(NOW).unwrap() {
        events.push(match event {
            MandateEvent::Record(0, record) => {
                (record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap())
            }
            MandateEvent::Reached(0, end) => (end, "end".to_owned()),
            other => panic!("{other:?}"),
        });
    }
    let expected = [(1, "m2 x"), (2, "m1 new"), (3, "m3 y"), (4, "end")];
    assert_eq!(events, expected.map(|(at, text)| (at, text.to_owned())));
    assert!(stored.next(NOW).unwrap().is_empty());
    assert_eq!(stored.ends().ends(NOW).unwrap(), [4]);
}

#[test]
fn many_mandates_are_read_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path(), Options { queue_records_max: 10_000, ..options() }).unwrap();
    log.set_mandate_hook(Box::new(|record| Ok(String::from_utf8(record.value.unwrap().to_vec()).unwrap())));
    let service = serve(&log);
    let ids: Vec<String> = (0..1_001).map(|number| format!("mandate {number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answers = all(&send(&log, Kind::Mandates, &ids).unwrap(), ids.len());
    assert!(answers.iter().all(|answer| *answer == Answer::Accepted));
    let mut stored = log.mandates().unwrap().unwrap();
    let (mut records, mut pages) = (0, 0);
    loop {
        pages += 1;
        let events = stored.next(NOW).unwrap();
        records += events.iter().filter(|event| matches!(event, MandateEvent::Record(..))).count();
        if matches!(events.last(), Some(MandateEvent::Reached(0, 1_001))) {
            break;
        }
    }
    assert_eq!((records, pages), (1_001, 3));
    log.close();
    service.join().unwrap();
}

#[test]
fn the_queue_takes_its_bound_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let bounded = Options { queue_records_max: 3, queue_bytes_max: 10, ..options() };
    let log = EmbeddedLog::open(folder.path(), bounded).unwrap();
    // Before the service has recovered, nothing is taken.
    assert!(
        matches!(send(&log, Kind::Transactions, &["a"]), Err(LogError::Unavailable(why)) if why.contains("recovering"))
    );
    let (_, mut source, mut sink) = live(&log);
    // What could never be taken is refused; what might be later is not.
    assert!(matches!(send(&log, Kind::Transactions, &["a", "b", "c", "d"]), Err(LogError::Refused(_))));
    assert!(matches!(send(&log, Kind::Transactions, &["12345678901"]), Err(LogError::Refused(_))));
    let first = send(&log, Kind::Transactions, &["a", "b"]).unwrap();
    assert!(matches!(send(&log, Kind::Transactions, &["c", "d"]), Err(LogError::Unavailable(_))));
    let third = send(&log, Kind::Transactions, &["c"]).unwrap();
    assert!(matches!(send(&log, Kind::Transactions, &["d"]), Err(LogError::Unavailable(_))));
    // Given out is not answered yet: the place is free when it is.
    let records = source.poll(10, SOON).unwrap().unwrap();
    assert!(matches!(send(&log, Kind::Transactions, &["d"]), Err(LogError::Unavailable(_))));
    let (mut output, mut position) = (Output::default(), 0);
    decide(&*records, &mut output, &mut position);
    sink.commit(&output, &|_| ControlFlow::Break(())).unwrap();
    assert_eq!((all(&first, 2).len(), all(&third, 1).len()), (2, 1));
    // Ten bytes fit, one more does not.
    let ten = send(&log, Kind::Transactions, &["123456789"]).unwrap();
    let one = send(&log, Kind::Transactions, &["1"]).unwrap();
    assert!(matches!(send(&log, Kind::Transactions, &["2"]), Err(LogError::Unavailable(_))));
    step(&mut *source, &mut *sink, &mut position).unwrap();
    assert_eq!((all(&ten, 1), all(&one, 1)), (vec![decided("123456789")], vec![decided("1")]));
    assert!(send(&log, Kind::Transactions, &[]).is_ok());
}

#[test]
fn a_poll_waits_for_the_first_record_alone() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (_, mut source, _sink) = live(&log);
    let start = std::time::Instant::now();
    assert!(source.poll(10, Duration::from_millis(30)).unwrap().is_none());
    assert!(start.elapsed() >= Duration::from_millis(30));
    let from = log.clone();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        send(&from, Kind::Transactions, &["a"]).unwrap()
    });
    let start = std::time::Instant::now();
    assert_eq!(source.poll(10, SOON).unwrap().unwrap().len(), 1);
    assert!(start.elapsed() < SOON / 2);
    let _answered = later.join().unwrap();
    let _more = send(&log, Kind::Transactions, &["b", "c", "d"]).unwrap();
    assert_eq!(source.poll(2, SOON).unwrap().unwrap().len(), 2);
    assert_eq!(source.poll(2, SOON).unwrap().unwrap().len(), 1);
}

#[test]
fn batches_are_committed_in_the_order_in_which_they_were_given() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (_, mut source, mut sink) = live(&log);
    let first = send(&log, Kind::Transactions, &["a"]).unwrap();
    let one = source.poll(1, SOON).unwrap().unwrap();
    let second = send(&log, Kind::Transactions, &["b"]).unwrap();
    let two = source.poll(1, SOON).unwrap().unwrap();
    let mut position = 0;
    for records in [one, two] {
        let mut output = Output::default();
        decide(&*records, &mut output, &mut position);
        sink.commit(&output, &|_| ControlFlow::Break(())).unwrap();
    }
    assert_eq!((all(&first, 1), all(&second, 1)), (vec![decided("a")], vec![decided("b")]));
    // Nothing was given out that this could be the output of.
    assert!(matches!(sink.commit(&Output::default(), &|_| ControlFlow::Break(())), Err(LogError::Broken(_))));
    // Output of another batch is not written.
    let wrong = send(&log, Kind::Transactions, &["c"]).unwrap();
    assert!(source.poll(1, SOON).unwrap().is_some());
    assert!(matches!(sink.commit(&Output::default(), &|_| ControlFlow::Break(())), Err(LogError::Broken(_))));
    assert!(matches!(all(&wrong, 1)[..], [Answer::Unavailable(_)]));
    assert!(matches!(send(&log, Kind::Transactions, &["d"]), Err(LogError::Unavailable(_))));
    let (extent, _, _) = live(&log);
    assert_eq!(extent.transactions.end, 2);
}

#[test]
fn opening_again_fences_what_was_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (_, mut source, mut sink) = live(&log);
    let given = send(&log, Kind::Transactions, &["a"]).unwrap();
    let records = source.poll(10, SOON).unwrap().unwrap();
    let waiting = send(&log, Kind::Transactions, &["b"]).unwrap();
    let (extent, mut new_source, mut new_sink) = live(&log);
    assert_eq!(extent.transactions, 0..0);
    for answered in [given, waiting] {
        assert!(matches!(all(&answered, 1)[..], [Answer::Unavailable(_)]));
    }
    let (mut output, mut position) = (Output::default(), 0);
    decide(&*records, &mut output, &mut position);
    assert!(matches!(sink.commit(&output, &|_| ControlFlow::Break(())), Err(LogError::Fenced(_))));
    assert!(matches!(source.poll(1, NOW), Err(LogError::Fenced(_))));
    let again = send(&log, Kind::Transactions, &["a"]).unwrap();
    assert_eq!(step(&mut *new_source, &mut *new_sink, &mut 0).unwrap(), Some(1));
    assert_eq!(all(&again, 1), [decided("a")]);
}

#[test]
fn who_waits_is_told_when_the_log_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (_, mut source, _sink) = live(&log);
    let answered = send(&log, Kind::Transactions, &["a"]).unwrap();
    let mut decisions = log.decisions(None).unwrap();
    let follower = std::thread::spawn(move || decisions.next(SOON));
    log.close();
    assert!(matches!(all(&answered, 1)[..], [Answer::Unavailable(_)]));
    assert_eq!(follower.join().unwrap(), Err(LogError::Stopped));
    assert_eq!(source.poll(1, SOON).unwrap_err(), LogError::Stopped);
    assert!(matches!(send(&log, Kind::Transactions, &["a"]), Err(LogError::Unavailable(_))));
    assert_eq!(log.partition(0).unwrap().open().unwrap_err(), LogError::Stopped);
    // The file is free again, although this handle is still there.
    open(folder.path()).close();
}

#[test]
fn decisions_are_followed_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let _service = serve(&log);
    pay(&log, &["a", "b"]);
    let mut from_now = log.decisions(None).unwrap();
    assert_eq!(from_now.position(), [2]);
    assert!(from_now.next(NOW).unwrap().is_empty());
    let mut from_one = log.decisions(Some(&[1])).unwrap();
    assert_eq!(from_one.next(NOW).unwrap(), [(0, 1, b"decided b".to_vec())]);
    assert_eq!(from_one.position(), [2]);
    let follower = std::thread::spawn(move || from_one.next(SOON).unwrap());
    pay(&log, &["c"]);
    let expected = [(0, 2, b"decided c".to_vec())];
    assert_eq!(follower.join().unwrap(), expected);
    assert_eq!(from_now.next(SOON).unwrap(), expected);
    assert!(matches!(log.decisions(Some(&[4])), Err(LogError::Refused(_))));
    assert!(matches!(log.decisions(Some(&[0, 0])), Err(LogError::Refused(_))));
    // More than a page.
    let many: Vec<String> = (0..900).map(|number| format!("r{number}")).collect();
    pay(&log, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let mut reader = log.decisions(Some(&[0])).unwrap();
    let (mut read, mut pages) = (0, 0);
    while read < 903 {
        let page = reader.next(NOW).unwrap();
        assert!(page.iter().enumerate().all(|(at, row)| row.1 == read + at as i64));
        read += page.len() as i64;
        pages += 1;
    }
    assert_eq!((read, pages), (903, 2));
    log.close();
}

/// The clock of the next test.
static CLOCK_US: AtomicI64 = AtomicI64::new(0);

#[test]
fn what_is_old_is_deleted_unless_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let aging = Options {
        retention: Duration::from_secs(10),
        now_us: || CLOCK_US.load(Ordering::Relaxed),
        ..options()
    };
    let log = EmbeddedLog::open(folder.path(), aging).unwrap();
    let _service = serve(&log);
    let mut partition = OnlyPartition::new(Arc::clone(&log.shared));
    let at = |second: i64, records: &[&str]| {
        CLOCK_US.store(second * 1_000_000, Ordering::Relaxed);
        pay(&log, records)
    };
    let oldest = |topic| log.rows(topic, 0, 1_000).unwrap().first().map(|row| row.offset);
    let oldest_input = || log.shared.read(|store| store.page(Kept::Transactions, 0, 0)).unwrap().oldest;
    at(0, &["a", "b"]);
    at(5, &["c"]);
    // At the end of the retention all is there, past it only what recovery needs.
    at(10, &["d"]);
    assert_eq!(oldest(Topic::Decisions), Some(0));
    assert_eq!(at(11, &["dup a", "e"]), [Answer::Forgotten, decided("e")]);
    assert_eq!((oldest(Topic::Decisions), oldest(Topic::Alerts)), (Some(2), Some(1)));
    assert_eq!((oldest_input(), oldest(Topic::Journal)), (0, Some(0)));
    assert!(matches!(log.decisions(Some(&[1])), Err(LogError::Gone { wanted: 1, oldest: 2, .. })));
    assert!(log.decisions(Some(&[2])).is_ok());
    // A snapshot: what is before it and old goes, what is before it and young stays.
    partition.forget_before(3, 4).unwrap();
    at(12, &["f"]);
    assert_eq!((oldest_input(), oldest(Topic::Journal)), (2, Some(1)));
    at(1_000, &["g"]);
    assert_eq!((oldest_input(), oldest(Topic::Journal)), (4, Some(3)));
    assert!(matches!(partition.read(Feed::Transactions, 3), Err(LogError::Gone { oldest: 4, .. })));
    assert!(partition.read(Feed::Transactions, 4).is_ok());
    // An older snapshot changes nothing; the journal's last record stays whatever is asked for.
    partition.forget_before(i64::MIN, 2).unwrap();
    partition.forget_before(i64::MAX, i64::MAX).unwrap();
    at(2_000, &["h"]);
    at(3_000, &["i"]);
    let journal = log.rows(Topic::Journal, 0, 1_000).unwrap();
    let end = log.shared.read(|store| store.page(Kept::Journal, 0, 0)).unwrap().end;
    assert_eq!(journal.iter().map(|row| row.offset).collect::<Vec<_>>(), [end - 1]);
    assert_eq!(at(3_000, &["dup i"]), [decided("i")]);
    log.close();
}

/// A disk that takes so many more bytes.
#[derive(Debug)]
struct SmallDisk {
    file: redb::backends::FileBackend,
    room: Arc<AtomicI64>,
}

impl SmallDisk {
    fn check(&self, bytes: usize) -> io::Result<()> {
        let bytes = i64::try_from(bytes).unwrap();
        let fits = |room: i64| (room >= bytes).then_some(room - bytes);
        match self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device")),
        }
    }
}

type Limits = (Bound<u64>, Bound<u64>);

impl StorageBackend for SmallDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(data.len())?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        let range: Limits = (start, end);
        self.file.unlock_range(range.0, range.1)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let room = Arc::new(AtomicI64::new(16 << 20));
    let of_disk = Arc::clone(&room);
    let opener: Opener = Box::new(move |path| {
        let file = redb::backends::FileBackend::new(store::private_file(path)?)?;
        store::builder().create_with_backend(SmallDisk { file, room: Arc::clone(&of_disk) })
    });
    let log = EmbeddedLog::open_with(folder.path(), options(), opener).unwrap();
    let service = serve(&log);
    let mut kept = Vec::new();
    let padding = "x".repeat(100_000);
    let refused = loop {
        let record = format!("{:08}{padding}", kept.len());
        match pay(&log, &[record.as_str()]).remove(0) {
            Answer::Decided(decision) => kept.push(decision),
            other => break other,
        }
    };
    assert!(matches!(&refused, Answer::Unavailable(why) if why.contains("no space left")), "{refused:?}");
    assert!(kept.len() > 20, "{}", kept.len());
    assert!(matches!(service.join().unwrap(), LogError::Broken(why) if why.contains("no space left")));
    // While it is full, who comes is told at once, and opening it again says that it may pass.
    assert!(
        matches!(send(&log, Kind::Transactions, &["x"]), Err(LogError::Unavailable(why)) if why.contains("no space left"))
    );
    let mut partition = log.partition(0).unwrap();
    for _ in 0..3 {
        let error = partition.open().unwrap_err();
        assert!(matches!(&error, LogError::Unavailable(why) if why.contains("no space left")), "{error:?}");
        assert!(matches!(send(&log, Kind::Transactions, &["x"]), Err(LogError::Unavailable(_))));
        // Room for the file itself and not for the batch is no room.
        room.store(200_000, Ordering::Relaxed);
    }
    room.store(64 << 20, Ordering::Relaxed);
    let (extent, mut source, mut sink) = live(&log);
    let mut position = extent.transactions.end;
    assert_eq!(position, kept.len() as i64);
    let again = send(&log, Kind::Transactions, &["again"]).unwrap();
    step(&mut *source, &mut *sink, &mut position).unwrap();
    assert_eq!(all(&again, 1), [decided("again")]);
    kept.push(b"decided again".to_vec());
    let mut reader = log.decisions(Some(&[0])).unwrap();
    let mut stored = Vec::new();
    while stored.len() < kept.len() {
        stored.extend(reader.next(NOW).unwrap().into_iter().map(|(_, _, decision)| decision));
    }
    assert!(stored == kept);
}

#[test]
fn a_folder_belongs_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let error = EmbeddedLog::open(folder.path(), options()).unwrap_err();
    assert!(matches!(&error, LogError::Refused(why) if why.contains("another process uses")), "{error:?}");
    log.close();
    drop(open(folder.path()));
}

#[test]
fn what_is_no_log_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(store::FILE);
    std::fs::write(&path, b"something else that is long enough to be looked at").unwrap();
    let error = EmbeddedLog::open(folder.path(), options()).unwrap_err();
    assert!(matches!(error, LogError::Refused(_)), "{error:?}");
    assert!(std::fs::read(&path).unwrap().starts_with(b"something else"));
    // A folder that cannot be made.
    let error = EmbeddedLog::open(&path.join("below"), options()).unwrap_err();
    assert!(matches!(error, LogError::Refused(_)), "{error:?}");
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let _log = open(&folder.path().join("a/b"));
    let mode = std::fs::metadata(folder.path().join("a/b").join(store::FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
