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
use weir_detectors::Terms;
use weir_events::Mandate;

use crate::config::Config;
use crate::entities::{Agent, Ledger, User};
use crate::intake::Intake;
use crate::keyed::Keyed;
use crate::repeats::Remembered;
use crate::rows::{repeats_batch, schemas};
use crate::shard::Shard;
use crate::table::ROWS_PER_BATCH;

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
        check_columns(tables)?;
        let mut shard = Self::new(config, seed);
        shard.restore_keys(tables)?;
        shard.restore_mandates(tables)?;
        shard.restore_ledgers(tables)?;
        shard.check_references()?;
        let intake = restored_intake(config, seed, tables)?;
        Ok((shard, intake))
    }

    fn restore_keys(&mut self, tables: &Tables) -> Result<(), RestoreError> {
        let keyed = &mut self.keyed;
        for (row, place) in places(tables, "users")?.enumerate() {
            let place = place?;
            let user: User = place.state(row)?.ok_or(RestoreError::Dangling { table: "users", row })?;
            keyed.users.insert(keyed.user_hash(&user.user_id), user);
        }
        for (row, place) in places(tables, "agents")?.enumerate() {
            let place = place?;
            let agent: Option<Agent> = place.state(row)?;
            let agent = agent.filter(|agent| (agent.user as usize) < keyed.users.len());
            let agent = agent.ok_or(RestoreError::Dangling { table: "agents", row })?;
            let user_hash = keyed.user_hash(&keyed.users.read(agent.user).user_id);
            keyed.agents.insert(keyed.agent_hash(&agent.agent_id, user_hash), agent);
        }
        Ok(())
    }

    fn restore_mandates(&mut self, tables: &Tables) -> Result<(), RestoreError> {
        for (row, place) in places(tables, "mandates")?.enumerate() {
            let place = place?;
            let mandate_id: &LargeStringArray = place.column("mandate_id")?;
            let version: &Int64Array = place.column("version")?;
            let state: Option<Mandate> = place.state(row)?;
            let terms = state.map(|mandate| Arc::new(Terms::new(&mandate, &self.policy.categories)));
            self.mandates.restore(mandate_id.value(place.row), terms, version.value(place.row));
        }
        Ok(())
    }

    fn restore_ledgers(&mut self, tables: &Tables) -> Result<(), RestoreError> {
        let (keyed, mandates) = (&mut self.keyed, &mut self.mandates);
        for (row, place) in places(tables, "ledgers")?.enumerate() {
            let place = place?;
            let whole = |ledger: &Ledger| {
                (ledger.user as usize) < keyed.users.len()
                    && (ledger.mandate as usize) < mandates.len()
                    && ledger.uses.iter().all(|usage| (usage.agent as usize) < keyed.agents.len())
            };
            let ledger: Option<Ledger> = place.state(row)?;
            let ledger = ledger.filter(whole).ok_or(RestoreError::Dangling { table: "ledgers", row })?;
            let mandate = ledger.mandate;
            let at = keyed.ledgers.insert(Keyed::ledger_hash(mandate, ledger.user), ledger);
            mandates.note_ledger(mandate, at);
        }
        Ok(())
    }

    fn check_references(&self) -> Result<(), RestoreError> {
        let keyed = &self.keyed;
        let in_ledgers = |agent: &Agent| {
            agent.uses.iter().all(|&(ledger, place)| {
                let known = (ledger as usize) < keyed.ledgers.len();
                known && (place as usize) < keyed.ledgers.read(ledger).uses.len()
            })
        };
        let in_agents = |user: &User| user.agents.iter().all(|&agent| (agent as usize) < keyed.agents.len());
        if let Some(row) = keyed.agents.iter().position(|agent| !in_ledgers(&agent)) {
            return Err(RestoreError::Dangling { table: "agents", row });
        }
        match keyed.users.iter().position(|user| !in_agents(&user)) {
            Some(row) => Err(RestoreError::Dangling { table: "users", row }),
            None => Ok(()),
        }
    }
}

fn restored_intake(config: &Config, seed: u64, tables: &Tables) -> Result<Intake, RestoreError> {
    let none = RestoreError::Dangling { table: "watermark", row: 0 };
    let latest = table(tables, "watermark")?.iter().rev().find(|batch| batch.num_rows() > 0).ok_or(none)?;
    let place = Place { table: "watermark", batch: latest, row: latest.num_rows() - 1 };
    let time = |column| Ok::<_, RestoreError>(place.column::<Int64Array>(column)?.value(place.row));
    let mut intake = Intake::new(config, seed);
    let watermark = place.state(place.row)?;
    intake.watermark = watermark.ok_or(RestoreError::Dangling { table: "watermark", row: place.row })?;
    intake.repeats.restored(time("forgotten_before_us")?, time("oldest_accepted_us")?);
    for batch in table(tables, "repeats")? {
        let place = Place { table: "repeats", batch, row: 0 };
        let (keys, fingerprints): (&UInt64Array, &UInt64Array) =
            (place.column("key")?, place.column("fingerprint")?);
        let times: &Int64Array = place.column("time_us")?;
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
    row: usize,
}

impl<'a> Place<'a> {
    fn column<A: Array + 'static>(&self, name: &'static str) -> Result<&'a A, RestoreError> {
        let array = self.batch.column_by_name(name).and_then(|array| array.as_any().downcast_ref());
        array.ok_or(RestoreError::WrongColumn { table: self.table, column: name.to_owned() })
    }

    /// The state of the entity; `row` is what an error calls it.
    fn state<T: DeserializeOwned>(&self, row: usize) -> Result<Option<T>, RestoreError> {
        let column: &LargeBinaryArray = self.column("state")?;
        let known = column.is_valid(self.row).then(|| postcard::from_bytes(column.value(self.row)));
        known.transpose().map_err(|source| RestoreError::WrongState { table: self.table, row, source })
    }
}

/// The latest row of every entity, in the order of their numbers; a gap is an error when it is reached.
fn places<'a>(
    tables: &'a Tables,
    name: &'static str,
) -> Result<impl Iterator<Item = Result<Place<'a>, RestoreError>>, RestoreError> {
    let batches = table(tables, name)?;
    let most = batches.iter().map(RecordBatch::num_rows).sum();
    // Eight bytes each, because there is one per entity.
    let (mut places, nowhere) = (Vec::new(), (u32::MAX, u32::MAX));
    for (at, batch) in (0..).zip(batches) {
        let numbers: &UInt64Array = Place { table: name, batch, row: 0 }.column("number")?;
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
    Ok(places.into_iter().enumerate().map(move |(number, (at, row))| {
        let batch = batches.get(at as usize).ok_or(RestoreError::Dangling { table: name, row: number })?;
        Ok(Place { table: name, batch, row: row as usize })
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
