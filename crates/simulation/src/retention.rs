//! What is needed is not there any more: that is told, with partition and offsets, and nothing is changed.

use std::sync::Arc;

use weir_log::{LogError, Topic};
use weir_service::ServiceError;
use weir_service::recovery::recover;

use crate::Random;
use crate::log::TRANSACTIONS;
use crate::world::World;

/// Runs a seed to its end; then input is deleted that a shard needs, without snapshots or before it was decided.
///
/// # Errors
/// When it is not told, or told wrongly.
pub fn retention(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed, None);
    world.run()?;
    let mut random = Random::new(seed);
    let partitions = world.log.cluster().transactions.len();
    for number in 0..partitions {
        undecided(&mut world, number, &mut random)?;
        decided(&mut world, number, &mut random)?;
    }
    Ok(())
}

/// Records are deleted before a live shard has come to them.
fn undecided(world: &mut World, number: usize, random: &mut Random) -> Result<(), String> {
    let partition = i32::try_from(number).unwrap();
    let (_, live) = world.live(number).ok_or("nobody is live")?;
    let wanted = live.keeper.position();
    let oldest = {
        let mut cluster = world.log.cluster();
        let input = &mut cluster.transactions[number];
        for _ in 0..5 {
            input.append(None, None, Some(b"{}"));
        }
        input.start = input.end - 2;
        input.start
    };
    let gone = LogError::Gone { topic: TRANSACTIONS.to_owned(), partition, wanted, oldest };
    for instance in world.instances.iter_mut().flatten().filter(|one| one.shards.contains_key(&partition)) {
        let halted = (0..100).find_map(|_| instance.step(partition, random, false).err());
        told(halted, &gone)?;
    }
    Ok(())
}

/// Records are deleted that a shard without a snapshot needs.
fn decided(world: &mut World, number: usize, random: &mut Random) -> Result<(), String> {
    let partition = i32::try_from(number).unwrap();
    let folder = format!("partition-{partition:05}/");
    for (path, _) in world.objects.all() {
        if path.as_ref().starts_with(&folder) {
            world.objects.set(&path, None);
        }
    }
    let (wanted, oldest, whole, before) = {
        let mut cluster = world.log.cluster();
        let journal = cluster.stream(Topic::Journal, partition);
        let (whole, before) = (journal.start == 0, journal.records.len());
        let input = &mut cluster.transactions[number];
        let wanted = input.records.iter().find(|stored| stored.record.value.as_deref() != Some(b"{}"));
        let wanted = wanted.map(|stored| stored.record.offset);
        let last = input.records.iter().map(|stored| stored.record.offset).max().unwrap_or_default();
        input.start = wanted.map_or(last, |wanted| random.between(wanted + 1, last));
        (wanted, input.start, whole, before)
    };
    // Where nothing was decided, nothing is needed.
    let Some(_) = wanted else { return Ok(()) };
    let token = world.take_over(number);
    let partitions = i32::try_from(world.log.cluster().transactions.len()).unwrap();
    let settings = Arc::new(world.settings.clone());
    let mut own = world.log.owned(partition, token);
    let recovered = recover(&mut *own, (partition, partitions), &settings, Some(&world.store), &|| false);
    if whole {
        // The first batch with records begins at the beginning: those before it moved nothing.
        let gone = LogError::Gone { topic: TRANSACTIONS.to_owned(), partition, wanted: 0, oldest };
        told(recovered.err(), &gone)?;
    } else {
        let error = recovered.err().map(|error| error.to_string()).unwrap_or_default();
        // A journal of which nothing that counts was deleted tells of the input instead.
        let named = format!("partition {partition}: no usable snapshot, and the journal begins with batch");
        let of_input = format!("of {TRANSACTIONS}, partition {partition}, was deleted");
        if !error.starts_with(&named) && !error.contains(&of_input) {
            return Err(format!("it should have been told that the journal is not whole: {error:?}"));
        }
    }
    let after = world.log.cluster().stream(Topic::Journal, partition).records.len();
    if before == after { Ok(()) } else { Err("something was written".to_owned()) }
}

fn told(error: Option<ServiceError>, gone: &LogError) -> Result<(), String> {
    match error {
        Some(ServiceError::Log(error)) if error == *gone => Ok(()),
        Some(error) => Err(format!("{error} is told instead of {gone}")),
        None => Err(format!("nobody says that {gone}")),
    }
}
