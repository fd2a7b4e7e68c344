//! What must hold of the log once everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, Int64Array, LargeBinaryArray, LargeStringArray};
use weir_engine::Config;
use weir_events::codec::parse_mandate;
use weir_events::{Alert, MandateRecord};
use weir_log::{Output, OwnedRecord, Records, Topic};
use weir_service::journal::Digest;
use weir_service::keeper::Keeper;
use weir_service::recovery::{JournalReader, Journaled, recover};

use crate::log::{MANDATES, SimReader, Stored, Stream};
use crate::plain::{Plain, Told};
use crate::world::{MANDATES_MAX, World};

/// What one partition left behind.
struct Partition {
    number: usize,
    input: Vec<OwnedRecord>,
    batches: Vec<Journaled>,
    written: BTreeMap<Topic, Vec<Stored>>,
}

/// Checks everything.
///
/// # Errors
/// What does not hold.
pub fn check(world: &mut World) -> Result<(), String> {
    let partitions = world.log.cluster().transactions.len();
    for number in 0..partitions {
        let found = Partition::of(world, number).and_then(|partition| partition.check(world));
        found.map_err(|why| format!("partition {number}: {why}"))?;
    }
    bad_mandates(world)?;
    for number in 0..partitions {
        cold_start(world, number).map_err(|why| format!("partition {number}, started anew: {why}"))?;
    }
    Ok(())
}

impl Partition {
    fn of(world: &World, number: usize) -> Result<Self, String> {
        let mut cluster = world.log.cluster();
        let input = cluster.transactions[number].records.iter().map(|stored| stored.record.clone()).collect();
        let partition = i32::try_from(number).unwrap();
        let written: BTreeMap<Topic, Vec<Stored>> =
            Topic::ALL.map(|topic| (topic, cluster.stream(topic, partition).records.clone())).into();
        let journal = written[&Topic::Journal].iter().map(|stored| stored.record.clone()).collect();
        // The digest of nothing: the whole chain is checked.
        let mut reader = JournalReader::new(Box::new(SimReader::of(journal)), Some(&Digest::default()));
        let mut batches = Vec::new();
        while let Some(batch) = reader.next_batch().map_err(|error| error.to_string())? {
            batches.push(batch);
        }
        Ok(Self { number, input, batches, written })
    }

    fn check(&self, world: &World) -> Result<(), String> {
        self.is_contiguous()?;
        self.redone(world)?;
        let told = self.told(world)?;
        self.is_accounted(&told)?;
        if world.plan.quiet {
            self.is_plain(world, &told)?;
        }
        self.alerts(&told)?;
        self.profiles(world)?;
        self.mandates(world)
    }

    /// The input of a batch.
    fn records(&self, batch: &Journaled) -> Vec<OwnedRecord> {
        let within = batch.entry.from..batch.entry.to;
        self.input.iter().filter(|record| within.contains(&record.offset)).cloned().collect()
    }

    /// Positions follow each other from the first record to the last.
    fn is_contiguous(&self) -> Result<(), String> {
        let mut position = 0;
        for (sequence, batch) in (0..).zip(&self.batches) {
            let entry = &batch.entry;
            same("the batch's number and position", &(entry.sequence, entry.from), &(sequence, position))?;
            position = entry.to;
            if entry.records == 0 && batch.mandates.len() > MANDATES_MAX {
                return Err(format!("{} mandates in a batch of nothing else", batch.mandates.len()));
            }
            same("the batch's records", &(self.records(batch).len() as u64), &entry.records)?;
            let sum = entry.decisions + entry.duplicates + entry.rejects;
            same("records and what became of them", &entry.records, &sum)?;
        }
        match self.input.last() {
            Some(last) if last.offset >= position => {
                Err(format!("offset {} is not in any batch", last.offset))
            }
            _ => Ok(()),
        }
    }

    /// The journal gives the same output again, byte for byte.
    fn redone(&self, world: &World) -> Result<(), String> {
        let settings = Arc::new(world.settings.clone());
        let (number, partitions) = (self.number, world.log.cluster().transactions.len());
        let of = |number: usize| i32::try_from(number).unwrap();
        let mut keeper = Keeper::new(&settings, of(number), of(partitions), 0);
        let mut again: BTreeMap<Topic, Vec<Text>> = BTreeMap::new();
        for batch in &self.batches {
            let records = self.records(batch);
            let mut output = Output::default();
            let mut feed = |decide: &mut dyn FnMut(&dyn Records) -> Result<(), _>| {
                // Portions of another size than they had.
                records.chunks(7).try_for_each(|portion| decide(&portion.to_vec()))
            };
            keeper.redo(batch, &mut feed, Some(&mut output)).map_err(|error| error.to_string())?;
            for message in &output.messages {
                let (key, value) = output.message(message);
                again.entry(message.topic).or_default().push((message.source_offset, text(key), text(value)));
            }
        }
        for topic in [Topic::Decisions, Topic::RiskScores, Topic::Alerts, Topic::Rejects] {
            let rejects = |stored: &&Stored| topic != Topic::Rejects || stored.source_offset.is_some();
            let committed: Vec<Text> = self.written[&topic].iter().filter(rejects).map(texts).collect();
            same_lists(
                &format!("{topic:?} done again"),
                &again.remove(&topic).unwrap_or_default(),
                &committed,
            )?;
        }
        Ok(())
    }

    /// What the engine alone tells, batch for batch under what the journal says.
    fn told(&self, world: &World) -> Result<Vec<(OwnedRecord, Told)>, String> {
        let partitions = i32::try_from(world.log.cluster().transactions.len()).unwrap();
        let number = i32::try_from(self.number).unwrap();
        let mut plain = Plain::new(&world.settings.config, world.settings.partitioner, number, partitions);
        let mut told = Vec::new();
        for batch in &self.batches {
            if let Some(entry) = &batch.config {
                let config: Config =
                    serde_json::from_str(entry.config.get()).map_err(|error| error.to_string())?;
                plain.reconfigure(&config);
            }
            for entry in &batch.mandates {
                let text = entry.record.as_ref().map(|record| record.get().as_bytes());
                plain.apply(&entry.mandate_id, text, entry.version)?;
            }
            for record in self.records(batch) {
                let of_record = plain.step(&record)?;
                told.push((record, of_record));
            }
        }
        self.is_written(&told)?;
        Ok(told)
    }

    /// Decisions, alerts and rejects are what was told, each once and in order.
    fn is_written(&self, told: &[(OwnedRecord, Told)]) -> Result<(), String> {
        let (mut decisions, mut alerts, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
        for (record, told) in told {
            match told {
                Told::Decision(json, of_decision) => {
                    decisions.push((Some(record.offset), json.clone()));
                    alerts.extend(of_decision.iter().map(|alert| serde_json::to_string(alert).unwrap()));
                }
                Told::Duplicate => {}
                Told::Reject(code) => rejects.push((Some(record.offset), code.clone())),
            }
        }
        let of = |topic: Topic| self.written[&topic].iter().map(texts);
        let found: Vec<_> = of(Topic::Decisions).map(|(offset, _, value)| (offset, value)).collect();
        same_lists("decisions", &found, &decisions)?;
        same_lists("alerts", &of(Topic::Alerts).map(|(.., value)| value).collect::<Vec<_>>(), &alerts)?;
        let of_input = of(Topic::Rejects).filter(|(offset, ..)| offset.is_some());
        let found: Vec<_> = of_input.map(|(offset, _, value)| (offset, member(&value, "code"))).collect();
        same_lists("rejects", &found, &rejects)
    }

    /// Every record has one fate, and the journal counts them.
    fn is_accounted(&self, told: &[(OwnedRecord, Told)]) -> Result<(), String> {
        let offsets: Vec<i64> = told.iter().map(|(record, _)| record.offset).collect();
        let input: Vec<i64> = self.input.iter().map(|record| record.offset).collect();
        same_lists("offsets told of", &offsets, &input)?;
        let mut counts = [0; 3];
        told.iter().for_each(|(_, told)| match told {
            Told::Decision(..) => counts[0] += 1,
            Told::Duplicate => counts[1] += 1,
            Told::Reject(_) => counts[2] += 1,
        });
        let sum = |of: fn(&Journaled) -> u64| self.batches.iter().map(of).sum::<u64>();
        let journal = [
            sum(|batch| batch.entry.decisions),
            sum(|batch| batch.entry.duplicates),
            sum(|batch| batch.entry.rejects),
        ];
        same("the journal's counts", &journal, &counts)
    }

    /// With nothing changing beside the stream, batches and their order do not show at all.
    fn is_plain(&self, world: &World, told: &[(OwnedRecord, Told)]) -> Result<(), String> {
        let partitions = i32::try_from(world.log.cluster().transactions.len()).unwrap();
        let number = i32::try_from(self.number).unwrap();
        let mut plain = Plain::new(&world.settings.config, world.settings.partitioner, number, partitions);
        let mandates = newest_mandates(world);
        if mandates.values().any(|newest| newest.is_lost) {
            return Ok(());
        }
        for (mandate_id, newest) in mandates {
            plain.apply(&mandate_id, newest.text.as_deref(), newest.version)?;
        }
        for (record, told) in told {
            same(&format!("offset {} all by itself", record.offset), told, &plain.step(record)?)?;
        }
        let profiles = plain.profiles();
        let last = self.last_profiles();
        same("the profiles of an uninterrupted run", &last, &profiles)
    }

    /// The last risk profile of each agent, by key.
    fn last_profiles(&self) -> BTreeMap<String, String> {
        self.written[&Topic::RiskScores].iter().map(texts).map(|(_, key, value)| (key, value)).collect()
    }

    /// An episode opens once, grows after that, and closes at most once.
    fn alerts(&self, told: &[(OwnedRecord, Told)]) -> Result<(), String> {
        let decisions = told.iter().filter_map(|(_, told)| match told {
            Told::Decision(json, alerts) => Some((json, alerts)),
            _ => None,
        });
        let mut accepted: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut all: Vec<&Alert> = Vec::new();
        for (json, alerts) in decisions {
            *accepted.entry((member(json, "user_id"), member(json, "tx_id"))).or_default() += 1;
            all.extend(alerts);
        }
        let mut open: BTreeMap<_, bool> = BTreeMap::new();
        let mut opened: BTreeMap<_, usize> = BTreeMap::new();
        for alert in all {
            let json = serde_json::to_string(alert).unwrap();
            let episode = (alert.user_id.clone(), member(&json, "episode_id"));
            let is_open = open.entry(episode.clone()).or_default();
            let state = member(&json, "state");
            if *is_open == (state == "opened") {
                return Err(format!("episode {episode:?} is {state}, but open: {is_open}"));
            }
            *is_open = state != "closed";
            if state == "opened" {
                let times = opened.entry(episode.clone()).or_default();
                *times += 1;
                let most = accepted.get(&(alert.user_id.clone(), alert.first_tx.clone())).copied();
                if *times > most.unwrap_or_default() {
                    return Err(format!("episode {episode:?} opens {times} times"));
                }
            }
        }
        Ok(())
    }

    /// The last profile of each agent is that of the state.
    fn profiles(&self, world: &World) -> Result<(), String> {
        let Some((_, live)) = world.live(self.number) else { return Err("nobody is live".to_owned()) };
        let configurations = self.batches.iter().filter(|batch| batch.config.is_some()).count();
        let last = self.last_profiles();
        let agents: BTreeSet<String> = self.written[&Topic::Decisions]
            .iter()
            .map(texts)
            .map(|(.., json)| {
                serde_json::to_string(&[member(&json, "user_id"), member(&json, "agent_id")]).unwrap()
            })
            .collect();
        same("the agents with a profile", &last.keys().cloned().collect(), &agents)?;
        for (key, profile) in last {
            let [user_id, agent_id]: [String; 2] = serde_json::from_str(&key).unwrap();
            let held = live.keeper.profile(&user_id, &agent_id).map(|json| text(&json)).unwrap_or_default();
            // Another configuration shows when the agent pays again.
            if configurations == 1 {
                same(&format!("the profile of {key}"), &profile, &held)?;
            }
        }
        Ok(())
    }

    /// The mandates that the state refers to are the newest.
    fn mandates(&self, world: &World) -> Result<(), String> {
        let Some((_, live)) = world.live(self.number) else { return Err("nobody is live".to_owned()) };
        let newest = newest_mandates(world);
        let tables = live.keeper.state().map_err(|error| error.to_string())?;
        let batches =
            tables.iter().filter(|(table, _)| *table == "mandates").flat_map(|(_, batches)| batches);
        for batch in batches {
            let ids: &LargeStringArray = batch["mandate_id"].as_any().downcast_ref().unwrap();
            let versions: &Int64Array = batch["version"].as_any().downcast_ref().unwrap();
            let states: &LargeBinaryArray = batch["state"].as_any().downcast_ref().unwrap();
            for row in 0..batch.num_rows() {
                let held = states.is_valid(row).then(|| versions.value(row));
                let newest = newest.get(ids.value(row));
                if newest.is_some_and(|newest| newest.is_lost) {
                    continue;
                }
                let newest = newest.filter(|newest| newest.text.is_some());
                let wanted = newest.map(|newest| newest.version);
                let of_id = |why| format!("{why}\n{}", records_of(world, ids.value(row)));
                same(&format!("the version in force of {}", ids.value(row)), &held, &wanted)
                    .map_err(of_id)?;
            }
        }
        Ok(())
    }
}

/// The newest good record of a mandate; without a text it is gone.
struct Newest {
    version: i64,
    text: Option<Vec<u8>>,
    /// A bad record with its key came later, and compaction took this one away: who reads the topic from then on
    /// does not know of it, and who read it before does.
    is_lost: bool,
}

/// A mandate record as anybody would read it: whose it is and its terms' text; `None`: a bad one.
fn read_mandate(world: &World, partition: usize, record: &OwnedRecord) -> Option<(String, Option<Vec<u8>>)> {
    let partitions = i32::try_from(world.log.cluster().transactions.len()).unwrap();
    let base = world.settings.config.base_currency.0;
    let (id, text) = match record.value.as_deref() {
        None => (String::from_utf8(record.key.as_deref()?.to_vec()).ok()?, None),
        Some(value) => match parse_mandate(value, base).ok()? {
            MandateRecord::Deleted { mandate_id, .. } => (mandate_id, None),
            MandateRecord::State(mandate) => (mandate.mandate_id, Some(value.to_vec())),
        },
    };
    let partition = i32::try_from(partition).unwrap();
    world.settings.partitioner.check(record.key.as_deref(), &id, partition, partitions).ok()?;
    Some((id, text))
}

fn mandate_streams(world: &World) -> Vec<Stream> {
    world.log.cluster().mandates.clone()
}

fn newest_mandates(world: &World) -> BTreeMap<String, Newest> {
    let mut newest = BTreeMap::new();
    for (partition, stream) in mandate_streams(world).iter().enumerate() {
        for (at, Stored { record, compacted, .. }) in stream.records.iter().enumerate() {
            if let Some((id, text)) = read_mandate(world, partition, record) {
                let superseded =
                    || stream.records[at + 1..].iter().any(|later| later.record.key == record.key);
                let is_lost = *compacted && superseded();
                newest.insert(id, Newest { version: record.offset, text, is_lost });
            }
        }
    }
    newest
}

/// All that the mandates topic ever held of an id, for who looks for the cause of a failure.
fn records_of(world: &World, mandate_id: &str) -> String {
    let mut told = String::new();
    for (partition, stream) in mandate_streams(world).iter().enumerate() {
        for Stored { record, compacted, .. } in &stream.records {
            let bytes =
                |bytes: &Option<Box<[u8]>>| bytes.as_deref().map(|b| String::from_utf8_lossy(b).into_owned());
            let (key, value) = (bytes(&record.key), bytes(&record.value));
            let offset = record.offset;
            if key.as_deref() == Some(mandate_id)
                || value.as_ref().is_some_and(|text| text.contains(mandate_id))
            {
                told += &format!("  {partition}/{offset} {key:?} {value:?} compacted: {compacted}\n");
            }
        }
    }
    for ((topic, number), stream) in &world.log.cluster().written {
        let of_mandate = |value: &str| value.contains(r#""kind":"mandate""#) && value.contains(mandate_id);
        for (at, (_, _, value)) in stream.records.iter().map(texts).enumerate() {
            if *topic == Topic::Journal && of_mandate(&value) {
                told += &format!("  journal of {number}, {at}: {value}\n");
            }
        }
    }
    told
}

/// Every bad mandate is rejected once, by partition 0.
fn bad_mandates(world: &World) -> Result<(), String> {
    let mut rejected: BTreeMap<(usize, i64), usize> = BTreeMap::new();
    for ((topic, number), stream) in &world.log.cluster().written {
        if *topic != Topic::Rejects {
            continue;
        }
        for (offset, _, json) in stream.records.iter().map(texts) {
            let reject: serde_json::Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
            let origin = &reject["origin"];
            if origin["topic"] != MANDATES {
                same("the offset that a reject names", &origin["offset"].as_i64(), &offset)?;
                continue;
            }
            same("the partition that rejects mandates", number, &0)?;
            let at = (origin["partition"].as_u64().unwrap(), origin["offset"].as_i64().unwrap());
            *rejected.entry((usize::try_from(at.0).unwrap(), at.1)).or_default() += 1;
        }
    }
    for (partition, stream) in mandate_streams(world).iter().enumerate() {
        for Stored { record, compacted, .. } in &stream.records {
            let times = rejected.remove(&(partition, record.offset)).unwrap_or_default();
            let bad = read_mandate(world, partition, record).is_none();
            // What compaction took away may not have been seen.
            let right = if bad { times == 1 || *compacted && times == 0 } else { times == 0 };
            if !right {
                let offset = record.offset;
                return Err(format!(
                    "mandate record {offset} of {partition}, bad: {bad}, is rejected {times} times"
                ));
            }
        }
    }
    if rejected.is_empty() { Ok(()) } else { Err(format!("rejected out of nowhere: {rejected:?}")) }
}

/// A new owner comes to the same state from every snapshot that there is, the newest first, and from none.
fn cold_start(world: &mut World, number: usize) -> Result<(), String> {
    let partition = i32::try_from(number).unwrap();
    let partitions = i32::try_from(world.log.cluster().transactions.len()).unwrap();
    let live = world.live(number).map(|(_, live)| live.keeper.state().unwrap()).unwrap();
    loop {
        let token = world.take_over(number);
        let mut own = world.log.owned(partition, token);
        let mut settings = world.settings.clone();
        settings.seed = token;
        let store = Some(&*world.store);
        let recovered = recover(&mut *own, (partition, partitions), &Arc::new(settings), store, &|| false);
        let recovered = recovered.map_err(|error| error.to_string())?;
        let found = recovered.keeper.state().unwrap();
        for ((table, found), (_, live)) in found.iter().zip(&live) {
            if found != live {
                let from = recovered.snapshot.as_ref().map(|manifest| manifest.sequence);
                return Err(format!(
                    "table {table}, from snapshot {from:?}, differs: {found:?} is not {live:?}"
                ));
            }
        }
        let Some(used) = recovered.snapshot else { return Ok(()) };
        let name = format!("manifest-{:020}-{:020}", used.sequence, used.journal_offset);
        let folder = format!("partition-{partition:05}/");
        for (path, _) in world.objects.all() {
            if path.as_ref().starts_with(&folder) && path.as_ref().contains(&name) {
                world.objects.set(&path, None);
            }
        }
        if !world.is_recoverable(partition) {
            return Ok(());
        }
    }
}

/// Source offset, key and value of a record that was written.
type Text = (Option<i64>, String, String);

fn texts(stored: &Stored) -> Text {
    let bytes = |bytes: &Option<Box<[u8]>>| text(bytes.as_deref().unwrap_or_default());
    (stored.source_offset, bytes(&stored.record.key), bytes(&stored.record.value))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A text member of a JSON object.
fn member(json: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value[name].as_str().unwrap_or_default().to_owned()
}

fn same<T: PartialEq + Debug>(what: &str, left: &T, right: &T) -> Result<(), String> {
    if left == right { Ok(()) } else { Err(format!("{what} differ:\n  {left:?}\n  {right:?}")) }
}

fn same_lists<T: PartialEq + Debug>(what: &str, left: &[T], right: &[T]) -> Result<(), String> {
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
        same(&format!("{what}, at {at}"), left, right)?;
    }
    same(&format!("the numbers of {what}"), &left.len(), &right.len())
}
