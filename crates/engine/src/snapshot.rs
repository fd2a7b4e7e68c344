//! The whole state as Arrow record batches, and back.
//!
//! One table per kind of entity. Keys are columns of their own, so that a snapshot can be looked
//! into with ordinary tools; the state of an entity is one binary column. Entities are numbered, and
//! others refer to those numbers, so what is restored goes on byte for byte. Of several rows with the
//! same number the last counts: a checkpoint's rows follow those of the one that it builds on.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, UInt64Array};
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use serde::de::DeserializeOwned;
use weir_detectors::terms::MerchantCategories;
use weir_detectors::{Reached, Terms};
use weir_events::Mandate;

use crate::config::Config;
use crate::entities::{Agent, Ledger, User};
use crate::intake::Intake;
use crate::keyed::{Keyed, ReachedCounts};
use crate::mandates::Mandates;
use crate::packed::Slot;
use crate::repeats::Remembered;
use crate::rows::{repeats_batch, schemas};
use crate::shard::Shard;
use crate::table::{ROWS_PER_BATCH, Table};

/// Version of the state and of how it decides. It is raised whenever the same input would be decided
/// differently, or the state is laid out differently, so that nothing is reproduced or restored by a
/// release that would make something else of it.
pub const STATE_VERSION: u32 = 1;

/// A snapshot: record batches per table name.
pub type Tables = Vec<(&'static str, Vec<RecordBatch>)>;

/// Why a snapshot cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A table is not there.
    #[error("the snapshot has no table `{0}`")]
    MissingTable(&'static str),
    /// A table has other columns than this release writes.
    #[error("table `{table}` of the snapshot has no column `{column}` of the type that this release reads")]
    WrongColumn {
        /// Of which table.
        table: &'static str,
        /// Which column.
        column: String,
    },
    /// The state of an entity cannot be read.
    #[error("row {row} of table `{table}` of the snapshot cannot be read: {source}")]
    WrongState {
        /// Of which table.
        table: &'static str,
        /// Which row.
        row: usize,
        /// Why.
        source: postcard::Error,
    },
    /// Arrow refused the data.
    #[error("the snapshot's record batches are not whole: {0}")]
    Arrow(#[from] ArrowError),
    /// An entity refers to one that is not there.
    #[error("row {row} of table `{table}` of the snapshot refers to a row that is not there")]
    Dangling {
        /// Of which table.
        table: &'static str,
        /// Which row.
        row: usize,
    },
}

impl Shard {
    /// The whole state of the shard and of its intake, all at once.
    ///
    /// # Errors
    /// When Arrow refuses a batch, which means that memory ran out.
    pub fn snapshot(&self, intake: &Intake) -> Result<Tables, ArrowError> {
        let arrived = intake.arrived();
        let remembered = intake.repeats.remembered(arrived.oldest_accepted_us);
        let repeats = if remembered.is_empty() {
            vec![repeats_batch(&[])?]
        } else {
            remembered.chunks(ROWS_PER_BATCH).map(repeats_batch).collect::<Result<_, _>>()?
        };
        Ok(vec![
            ("users", self.keyed.users.batches()?),
            ("agents", self.keyed.agents.batches()?),
            ("mandates", self.mandates.table.batches()?),
            ("ledgers", self.keyed.ledgers.batches()?),
            ("repeats", repeats),
            ("watermark", vec![arrived.batch()?]),
        ])
    }

    /// A shard and its intake from what [`Shard::snapshot`] gave, or from the batches of a chain of
    /// checkpoints, in order. Under another configuration than it was
    /// taken under, they are what [`Shard::reconfigure`] and [`Intake::reconfigure`] would have made of
    /// the shard that it was taken of.
    ///
    /// # Errors
    /// When a table is missing or does not hold what this release writes.
    pub fn restore(config: &Config, seed: u64, tables: &Tables) -> Result<(Self, Intake), RestoreError> {
        Self::restore_by(config, seed, tables, &|one, other| {
            one();
            other();
        })
    }

    /// [`Shard::restore`] for who has two threads for it, which is nobody in here: a restart waits for this.
    ///
    /// # Errors
    /// As for [`Shard::restore`].
    pub fn restore_by(
        config: &Config,
        seed: u64,
        tables: &Tables,
        both: Both<'_>,
    ) -> Result<(Self, Intake), RestoreError> {
        check_columns(tables)?;
        let mut shard = Self::new(config, seed);
        let Self { keyed, mandates, policy, .. } = &mut shard;
        let Keyed { users, agents, ledgers, .. } = keyed;
        let (mut holders, mut uses) =
            (Err(RestoreError::MissingTable("users")), Err(RestoreError::MissingTable("ledgers")));
        let mut intake = Err(RestoreError::MissingTable("repeats"));
        both(&mut || holders = restore_holders(tables, seed, users, agents), &mut || {
            uses = restore_mandates(tables, mandates, &policy.categories)
                .and_then(|()| restore_ledgers(tables, mandates, ledgers));
            intake = restored_intake(config, seed, tables);
        });
        let holders = holders?;
        check_references(&shard, &holders, &uses?)?;
        shard.keyed.reached.add(&holders.reached);
        Ok((shard, intake?))
    }
}

/// Does two pieces of work, in any order or side by side.
pub type Both<'a> = &'a dyn Fn(&mut (dyn FnMut() + Send), &mut (dyn FnMut() + Send));

/// The greatest number that a table's rows refer to another table with, and the first row that does.
#[derive(Debug, Clone, Copy, Default)]
struct Greatest {
    number: u32,
    row: usize,
    /// Whether there is any.
    known: bool,
}

impl Greatest {
    fn note(&mut self, number: u32, row: usize) {
        if !self.known || number > self.number {
            *self = Self { number, row, known: true };
        }
    }

    /// Checks that the other table, of which this is the length, has that row.
    fn within(self, len: usize, table: &'static str) -> Result<(), RestoreError> {
        let is_there = !self.known || (self.number as usize) < len;
        if is_there { Ok(()) } else { Err(RestoreError::Dangling { table, row: self.row }) }
    }
}

/// What users and agents refer to.
#[derive(Debug, Default)]
struct Holders {
    /// Agents, by users.
    agents: Greatest,
    /// Places in ledgers, by agents: the agent's row, the ledger and the place.
    uses: Vec<(u32, u32, u32)>,
    /// Bounds that they have reached.
    reached: ReachedCounts,
}

fn restore_holders(
    tables: &Tables,
    seed: u64,
    users: &mut Table<Slot<User>>,
    agents: &mut Table<Slot<Agent>>,
) -> Result<Holders, RestoreError> {
    let mut found = Holders::default();
    let places = places(tables, "users")?;
    users.reserve(places.len());
    let mut user_hashes = Vec::with_capacity(places.len());
    for (row, place) in places.enumerate() {
        let (user, bytes) =
            place?.state::<User>(row)?.ok_or(RestoreError::Dangling { table: "users", row })?;
        user.agents.iter().for_each(|&agent| found.agents.note(agent, row));
        found.reached.note(Reached::default(), user.reached);
        let hash = Keyed::user_hash(seed, &user.user_id);
        user_hashes.push(hash);
        users.insert_row(hash, bytes);
    }
    let places = self::places(tables, "agents")?;
    agents.reserve(places.len());
    for (row, place) in places.enumerate() {
        let dangling = || RestoreError::Dangling { table: "agents", row };
        let (agent, bytes) = place?.state::<Agent>(row)?.ok_or_else(dangling)?;
        let user_hash = *user_hashes.get(agent.user as usize).ok_or_else(dangling)?;
        found.reached.note(Reached::default(), agent.reached);
        let at = u32::try_from(row).unwrap_or(u32::MAX);
        found.uses.extend(agent.uses.iter().map(|&(ledger, place)| (at, ledger, place)));
        let hash = Keyed::agent_hash(seed, &agent.agent_id, user_hash);
        agents.insert_row(hash, bytes);
    }
    Ok(found)
}

fn restore_mandates(
    tables: &Tables,
    mandates: &mut Mandates,
    categories: &MerchantCategories,
) -> Result<(), RestoreError> {
    let places = places(tables, "mandates")?;
    mandates.reserve(places.len());
    for (row, place) in places.enumerate() {
        let place = place?;
        let mandate_id: &LargeStringArray = place.column("mandate_id")?;
        let version: &Int64Array = place.column("version")?;
        let state = place.state::<Mandate>(row)?;
        let terms = state.map(|(mandate, _)| Arc::new(Terms::new(&mandate, categories)));
        mandates.restore(mandate_id.value(place.row), terms, version.value(place.row));
    }
    Ok(())
}

/// What ledgers refer to, and how many uses each has.
#[derive(Debug, Default)]
struct Uses {
    users: Greatest,
    agents: Greatest,
    counts: Vec<u32>,
}

fn restore_ledgers(
    tables: &Tables,
    mandates: &mut Mandates,
    ledgers: &mut Table<Slot<Ledger>>,
) -> Result<Uses, RestoreError> {
    let mut found = Uses::default();
    let places = places(tables, "ledgers")?;
    ledgers.reserve(places.len());
    for (row, place) in places.enumerate() {
        let dangling = || RestoreError::Dangling { table: "ledgers", row };
        let (ledger, bytes) = place?.state::<Ledger>(row)?.ok_or_else(dangling)?;
        let mandate = ledger.mandate;
        if mandate as usize >= mandates.len() {
            return Err(dangling());
        }
        found.users.note(ledger.user, row);
        ledger.uses.iter().for_each(|usage| found.agents.note(usage.agent, row));
        found.counts.push(u32::try_from(ledger.uses.len()).unwrap_or(u32::MAX));
        let at = ledgers.insert_row(Keyed::ledger_hash(mandate, ledger.user), bytes);
        mandates.note_ledger(mandate, at);
    }
    Ok(found)
}

fn check_references(shard: &Shard, holders: &Holders, uses: &Uses) -> Result<(), RestoreError> {
    let Keyed { users, agents, .. } = &shard.keyed;
    uses.users.within(users.len(), "ledgers")?;
    uses.agents.within(agents.len(), "ledgers")?;
    holders.agents.within(agents.len(), "users")?;
    let is_there = |&(_, ledger, place): &(u32, u32, u32)| {
        uses.counts.get(ledger as usize).is_some_and(|&count| place < count)
    };
    match holders.uses.iter().find(|usage| !is_there(usage)) {
        Some(&(row, ..)) => Err(RestoreError::Dangling { table: "agents", row: row as usize }),
        None => Ok(()),
    }
}

fn restored_intake(config: &Config, seed: u64, tables: &Tables) -> Result<Intake, RestoreError> {
    let none = RestoreError::Dangling { table: "watermark", row: 0 };
    let latest = table(tables, "watermark")?.iter().rev().find(|batch| batch.num_rows() > 0).ok_or(none)?;
    let states = column("watermark", latest, "state")?;
    let place = Place { table: "watermark", batch: latest, states, row: latest.num_rows() - 1 };
    let time = |column| Ok::<_, RestoreError>(place.column::<Int64Array>(column)?.value(place.row));
    let mut intake = Intake::new(config, seed);
    let watermark = place.state(place.row)?.map(|(watermark, _)| watermark);
    intake.watermark = watermark.ok_or(RestoreError::Dangling { table: "watermark", row: place.row })?;
    intake.repeats.restored(time("forgotten_before_us")?, time("oldest_accepted_us")?);
    for batch in table(tables, "repeats")? {
        let numbers = |name| column::<UInt64Array>("repeats", batch, name);
        let (keys, fingerprints) = (numbers("key")?, numbers("fingerprint")?);
        let times: &Int64Array = column("repeats", batch, "time_us")?;
        let rows = keys.values().iter().zip(fingerprints.values()).zip(times.values());
        for ((&key, &fingerprint), &time_us) in rows {
            intake.repeats.restore(Remembered { key, fingerprint, time_us });
        }
    }
    Ok(intake)
}

/// Where the row of an entity stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'static str,
    batch: &'a RecordBatch,
    /// Looked up once for all rows of the batch.
    states: &'a LargeBinaryArray,
    row: usize,
}

fn column<'a, A: Array + 'static>(
    table: &'static str,
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<&'a A, RestoreError> {
    let array = batch.column_by_name(name).and_then(|array| array.as_any().downcast_ref());
    array.ok_or(RestoreError::WrongColumn { table, column: name.to_owned() })
}

impl<'a> Place<'a> {
    fn column<A: Array + 'static>(&self, name: &'static str) -> Result<&'a A, RestoreError> {
        column(self.table, self.batch, name)
    }

    /// The state of the entity and its bytes; `row` is what an error calls it.
    fn state<T: DeserializeOwned>(&self, row: usize) -> Result<Option<(T, &'a [u8])>, RestoreError> {
        let bytes = self.states.is_valid(self.row).then(|| self.states.value(self.row));
        let known = bytes.map(|bytes| postcard::from_bytes(bytes).map(|state| (state, bytes)));
        known.transpose().map_err(|source| RestoreError::WrongState { table: self.table, row, source })
    }
}

/// The latest row of every entity, in the order of their numbers; a gap is an error when it is reached.
fn places<'a>(
    tables: &'a Tables,
    name: &'static str,
) -> Result<impl ExactSizeIterator<Item = Result<Place<'a>, RestoreError>>, RestoreError> {
    let batches = table(tables, name)?;
    let most = batches.iter().map(RecordBatch::num_rows).sum();
    // Eight bytes each, because there is one per entity.
    let (mut places, nowhere) = (Vec::new(), (u32::MAX, u32::MAX));
    for (at, batch) in (0..).zip(batches) {
        let numbers: &UInt64Array = column(name, batch, "number")?;
        for (row, &number) in (0..).zip(numbers.values()) {
            // Without a gap there are no more entities than rows.
            let number = usize::try_from(number).ok().filter(|&number| number < most);
            let number = number.ok_or(RestoreError::Dangling { table: name, row: row as usize })?;
            if number >= places.len() {
                places.resize(number + 1, nowhere);
            }
            if let Some(place) = places.get_mut(number) {
                *place = (at, row);
            }
        }
    }
    let states = batches.iter().map(|batch| column(name, batch, "state"));
    let states: Vec<&LargeBinaryArray> = states.collect::<Result<_, _>>()?;
    Ok(places.into_iter().enumerate().map(move |(number, (at, row))| {
        let found = batches.get(at as usize).zip(states.get(at as usize));
        let (batch, states) = found.ok_or(RestoreError::Dangling { table: name, row: number })?;
        Ok(Place { table: name, batch, states, row: row as usize })
    }))
}

fn table<'a>(tables: &'a Tables, name: &'static str) -> Result<&'a [RecordBatch], RestoreError> {
    let found = tables.iter().find(|(known, _)| *known == name);
    found.map(|(_, batches)| batches.as_slice()).ok_or(RestoreError::MissingTable(name))
}

/// Keys stand in the states too, so a column that is not read here could be lost unseen.
fn check_columns(tables: &Tables) -> Result<(), RestoreError> {
    for (name, schema) in schemas() {
        for batch in table(tables, name)? {
            let is_there = |field: &&Arc<Field>| {
                batch
                    .column_by_name(field.name())
                    .is_some_and(|column| column.data_type() == field.data_type())
            };
            if let Some(field) = schema.fields().iter().find(|field| !is_there(field)) {
                return Err(RestoreError::WrongColumn { table: name, column: field.name().clone() });
            }
        }
    }
    Ok(())
}
