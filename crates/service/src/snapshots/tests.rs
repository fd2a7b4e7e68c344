//! Snapshots written, damaged, pruned, merged and read again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use tempfile::TempDir;
use weir_engine::{Admission, Config, Intake, STATE_VERSION, Shard, Tables};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::time::{DAY_US, SECOND_US};
use weir_events::{Currency, Decision, Timestamp, Verdict};

use super::{Manifest, Published, SnapshotError, Store, Taken, Writer};

/// 2026-05-05T00:00:00Z.
const T0_US: i64 = 20_578 * DAY_US;
const AGENTS: usize = 12;

/// A shard that takes checkpoints.
struct Line {
    shard: Shard,
    intake: Intake,
    sent: usize,
}

impl Line {
    fn new() -> Self {
        let config = Config::default();
        let mut line = Self { shard: Shard::new(&config, 1), intake: Intake::new(&config, 1), sent: 0 };
        line.shard.track_changes();
        line.intake.track_changes();
        for agent in 0..AGENTS {
            let record = format!(
                r#"{{"mandate_id":"mdt_{agent}","agent_id":"agt_{agent}","user_id":"usr_{}","scope_merchant":"shop.example","max_amount":"40"}}"#,
                agent / 2
            );
            let record = parse_mandate(record.as_bytes(), Currency::USD).unwrap();
            line.shard
                .apply_version(&line.shard.prepare(&record), 100 + i64::try_from(agent).unwrap())
                .unwrap();
        }
        line
    }

    /// The payment with this number, fast enough for signals now and then.
    fn record(number: usize) -> String {
        let agent = number * 5 % AGENTS.min(2 + number / 4);
        let time = Timestamp(T0_US + i64::try_from(number).unwrap() * 3 * SECOND_US);
        let merchant = if number % 7 == 3 { "elsewhere.example" } else { "shop.example" };
        format!(
            r#"{{"tx_id":"tx_{number}","agent_id":"agt_{agent}","user_id":"usr_{}","mandate_id":"mdt_{agent}","merchant":"{merchant}","amount":"{}.5","currency":"USD","tx_time":"{time}"}}"#,
            agent / 2,
            number % 9 + 1
        )
    }

    fn pay(&mut self) -> String {
        let record = Self::record(self.sent);
        self.sent += 1;
        let tx = parse_transaction(record.as_bytes(), Currency::USD).unwrap();
        let Admission::New(stamp) = self.intake.admit(&tx, Intake::key(&tx)) else { panic!("{record}") };
        let mut verdict = Verdict::default();
        self.shard.decide(&tx, &stamp, &mut verdict, &mut Vec::new()).unwrap();
        let digest = self.shard.config().digest();
        let mut json = Vec::new();
        Decision { transaction: &tx, verdict: &verdict, config_digest: &digest }.write(&mut json);
        String::from_utf8(json).unwrap()
    }

    fn taken(&self, sequence: u64) -> Taken {
        let config = self.shard.config();
        Taken {
            state_version: STATE_VERSION,
            partition: 0,
            partitions: 4,
            sequence,
            digest: format!("{sequence:064x}"),
            position: i64::try_from(self.sent).unwrap(),
            config: serde_json::to_value(config).unwrap(),
            config_digest: config.digest(),
            mandates_rejected_to: vec![7, 8],
        }
    }

    /// Pays a few times and writes a snapshot, in small slices.
    fn snapshot(&mut self, writer: &mut Writer, sequence: u64) -> Published {
        for _ in 0..5 {
            self.pay();
        }
        self.checkpoint(writer);
        let published = writer.finish(&self.taken(sequence), offset(sequence)).unwrap();
        self.shard.checkpoint_kept();
        published
    }

    fn checkpoint(&mut self, writer: &mut Writer) {
        self.shard.begin_checkpoint(&mut self.intake);
        writer.begin().unwrap();
        let mut finished = false;
        while !finished {
            let slice = self.shard.continue_checkpoint(3).unwrap();
            finished = slice.finished;
            slice.batches.iter().for_each(|(table, batch)| writer.add(table, batch).unwrap());
        }
    }

    fn state(&self) -> Tables {
        self.shard.snapshot(&self.intake).unwrap()
    }
}

/// Journals have records that are no batches.
fn offset(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap() * 3 + 1
}

/// The state that a snapshot holds.
fn state(store: &Store, manifest: &Manifest) -> Tables {
    let tables = store.load(manifest).unwrap();
    let (shard, intake) = Shard::restore(&Config::default(), 9, &tables).unwrap();
    shard.snapshot(&intake).unwrap()
}

fn store(folder: &Path) -> Arc<Store> {
    Arc::new(Store::open(&format!("file://{}", folder.display())).unwrap())
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let folder = folder.join("partition-00000");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Two snapshots, the second of which builds on the first.
fn two() -> (TempDir, Arc<Store>, [(Manifest, Tables); 2]) {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    let (mut line, mut writer) = (Line::new(), Writer::new(Arc::clone(&store), 0));
    let taken = [3, 8].map(|sequence| {
        let manifest = line.snapshot(&mut writer, sequence).manifest;
        (manifest, line.state())
    });
    (folder, store, taken)
}

#[test]
fn the_newest_snapshot_is_the_state_that_it_was_taken_of() {
    let (_folder, store, [(first, before), (second, after)]) = two();
    assert_eq!(store.manifests(0).unwrap(), [second.clone(), first.clone()]);
    assert_eq!(store.manifests(1).unwrap(), []);
    assert_eq!((state(&store, &first), state(&store, &second)), (before, after));
    assert_eq!((second.journal_offset, second.position, second.partitions), (25, 10, 4));
}

#[test]
fn a_slice_of_any_file_is_told_and_the_snapshot_before_still_stands() {
    let (folder, store, [(first, before), (second, _)]) = two();
    let older: BTreeSet<PathBuf> = {
        let names = first.files.iter().map(|entry| entry.name.clone()).chain([first.name()]);
        names.map(|name| folder.path().join("partition-00000").join(name)).collect()
    };
    let mut tried = 0;
    for path in files(folder.path()) {
        let whole = fs::read(&path).unwrap();
        let is_manifest = path.extension().is_some_and(|extension| extension == "json");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            tried += 1;
            let (of_first, of_second) = if is_manifest {
                let usable = usable(&store);
                (usable.contains(&first.sequence), usable.contains(&second.sequence))
            } else {
                (store.load(&first).is_ok(), store.load(&second).is_ok())
            };
            // The second lists the files of the first as well, but not its manifest.
            let of_older = older.contains(&path);
            assert_eq!(of_first, !of_older, "{path:?} cut to {length}");
            assert_eq!(of_second, of_older && is_manifest, "{path:?} cut to {length}");
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(tried > 5_000, "{tried}");
    assert_eq!(usable(&store), [second.sequence, first.sequence]);
    assert_eq!(state(&store, &first), before);
}

/// Sequences of the snapshots that can be loaded, the newest first.
fn usable(store: &Store) -> Vec<u64> {
    let manifests = store.manifests(0).unwrap().into_iter();
    manifests.filter(|manifest| store.load(manifest).is_ok()).map(|manifest| manifest.sequence).collect()
}

#[test]
fn a_flipped_byte_anywhere_is_told() {
    let (folder, store, [(first, _), (second, _)]) = two();
    for path in files(folder.path()) {
        let whole = fs::read(&path).unwrap();
        let is_manifest = path.extension().is_some_and(|extension| extension == "json");
        for place in (0..whole.len()).step_by(if is_manifest { 3 } else { 89 }) {
            let mut damaged = whole.clone();
            damaged[place] ^= [0x01, 0x20, 0x80][place / 3 % 3];
            fs::write(&path, &damaged).unwrap();
            let usable = usable(&store);
            assert_ne!(usable, [second.sequence, first.sequence], "{path:?} at {place}");
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(usable(&store), [second.sequence, first.sequence]);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let (folder, store, [_, (second, _)]) = two();
    let entry = second.files.last().unwrap();
    let path = folder.path().join("partition-00000").join(&entry.name);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[1..]).unwrap();
    assert!(matches!(store.load(&second), Err(SnapshotError::Torn { .. })));
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    fs::write(&path, altered).unwrap();
    assert!(matches!(store.load(&second), Err(SnapshotError::Altered { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.load(&second), Err(SnapshotError::Missing { file }) if file == entry.name));
}

#[test]
fn a_manifest_is_written_once_and_a_strangers_does_not_clash() {
    let (folder, store, [_, (second, after)]) = two();
    let path = folder.path().join("partition-00000").join(second.name());
    let before = fs::read(&path).unwrap();
    // Another writer, which has seen the same, and one with another history.
    let (mut line, mut writer) = (Line::new(), Writer::new(Arc::clone(&store), 0));
    line.pay();
    line.checkpoint(&mut writer);
    writer.finish(&Taken { digest: second.digest.clone(), ..line.taken(8) }, offset(8)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before, "create only");
    let mut writer = Writer::new(Arc::clone(&store), 0);
    line.checkpoint(&mut writer);
    let stranger =
        writer.finish(&Taken { digest: "f".repeat(64), ..line.taken(8) }, offset(8)).unwrap().manifest;
    let manifests = store.manifests(0).unwrap();
    assert!(manifests.contains(&stranger) && manifests.contains(&second));
    assert_eq!(state(&store, &second), after);
}

#[test]
fn a_merged_chain_is_the_chain_and_old_files_go() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    let (mut line, mut writer) = (Line::new(), Writer::new(Arc::clone(&store), 0));
    let (mut merges, mut longest) = (0, 0);
    for sequence in 0..40 {
        let published = line.snapshot(&mut writer, sequence);
        let manifests = store.manifests(0).unwrap();
        let kept: Vec<u64> = manifests.iter().map(|manifest| manifest.sequence).collect();
        assert_eq!(kept, (sequence.saturating_sub(2)..=sequence).rev().collect::<Vec<_>>());
        assert_eq!(published.oldest_journal_offset, offset(sequence.saturating_sub(2)));
        assert_eq!(published.journal_needed_from, None, "a local folder");
        let chain = published.manifest.files.len();
        longest = longest.max(chain);
        assert_eq!(state(&store, &published.manifest), line.state(), "{sequence}");
        // Half of the time nobody tidies, and it is done when there is no other way.
        if sequence < 20 {
            let before = writer.chain.clone();
            writer.tidy().unwrap();
            if before != writer.chain {
                merges += 1;
                let merged = Manifest { files: writer.chain.clone(), ..published.manifest };
                assert_eq!(state(&store, &merged), line.state(), "merged at {sequence}");
                assert!(merged.files.iter().all(|entry| entry.base));
            }
        }
        let listed: BTreeSet<String> = manifests
            .iter()
            .flat_map(|manifest| {
                manifest.files.iter().map(|entry| entry.name.clone()).chain([manifest.name()])
            })
            .chain(writer.chain.iter().map(|entry| entry.name.clone()))
            .collect();
        let there: BTreeSet<String> = files(folder.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(there, listed, "{sequence}");
    }
    assert!(merges >= 2, "{merges}");
    assert!(longest > 60 && longest <= 6 * 17, "{longest}");
}

#[test]
fn a_writer_goes_on_after_a_restore_and_leaves_what_is_newer_alone() {
    let (folder, store, [(first, _), (second, _)]) = two();
    let tables = store.load(&first).unwrap();
    let (shard, intake) = Shard::restore(&Config::default(), 2, &tables).unwrap();
    let mut line = Line { shard, intake, sent: usize::try_from(first.position).unwrap() };
    line.shard.track_changes();
    line.intake.track_changes();
    let mut writer = Writer::new(Arc::clone(&store), 0);
    writer.resume(&first);
    for sequence in 4..8 {
        let published = line.snapshot(&mut writer, sequence);
        assert_eq!(state(&store, &published.manifest), line.state());
        assert!(published.manifest.files.starts_with(&first.files));
    }
    // It does not know that the newer one is of no use.
    let sequences: Vec<u64> = store.manifests(0).unwrap().iter().map(|manifest| manifest.sequence).collect();
    assert_eq!(sequences, [second.sequence, 7, 6, 5]);
    drop(folder);
}

#[test]
fn a_file_that_no_snapshot_lists_goes_when_it_is_old() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    let (mut line, mut writer) = (Line::new(), Writer::new(Arc::clone(&store), 0));
    line.snapshot(&mut writer, 0);
    let [young, old] = ["users-young.arrows", "users-old.arrows"].map(|name| {
        let path = folder.path().join("partition-00000").join(name);
        fs::write(&path, "x").unwrap();
        path
    });
    let an_hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3700);
    fs::File::options().write(true).open(&old).unwrap().set_modified(an_hour_ago).unwrap();
    line.snapshot(&mut writer, 1);
    assert_eq!((young.exists(), old.exists()), (true, false));
}

#[test]
fn a_url_that_cannot_be_used_says_why() {
    let why = |url: &str| Store::open(url).unwrap_err().to_string();
    assert_eq!(
        why("s3://bucket/weir"),
        "snapshots cannot be kept at `s3://bucket/weir`: this build has no support for cloud storage (cargo feature `cloud`); write `file:` and the path of a folder"
    );
    assert!(why("snapshots").contains("it is no URL"));
    assert!(why("ftp://host/x").contains("the scheme `ftp` is not known"));
    assert!(why("file://host/x").contains("another host"));
    assert!(why("file:").contains("it names no folder"));
}

/// A snapshot of each format that was ever released, with what is decided after it.
#[test]
fn snapshots_of_old_formats_are_restored() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/snapshots");
    let current = fixtures.join("format-1");
    if env::var("WEIR_BLESS").is_ok() {
        let _ = fs::remove_dir_all(&current);
        let mut line = Line::new();
        for _ in 0..40 {
            line.pay();
        }
        let mut writer = Writer::new(store(&current), 0);
        line.snapshot(&mut writer, 12);
        let decisions: Vec<String> = (0..20).map(|_| line.pay() + "\n").collect();
        fs::write(current.join("decisions.ndjson"), decisions.concat()).unwrap();
    }
    let formats = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    for folder in formats.filter(|path| path.is_dir()) {
        let store = store(&folder);
        let manifests = store.manifests(0).unwrap();
        let [manifest] = &*manifests else { panic!("{folder:?}: {manifests:?}") };
        let config: Config = serde_json::from_value(manifest.config.clone()).unwrap();
        assert_eq!(config.digest(), manifest.config_digest);
        let (shard, intake) = Shard::restore(&config, 3, &store.load(manifest).unwrap()).unwrap();
        let mut line = Line { shard, intake, sent: usize::try_from(manifest.position).unwrap() };
        for decision in fs::read_to_string(folder.join("decisions.ndjson")).unwrap().lines() {
            assert_eq!(line.pay(), decision, "{folder:?}");
        }
    }
}
