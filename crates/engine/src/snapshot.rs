//! The whole state as Arrow record batches, and back.
//!
//! One table per kind of entity. Keys are columns of their own, so that a snapshot can be looked
//! into with ordinary tools; the state of an entity is one binary column. Rows stand in the order of
//! the entities' numbers, which other entities refer to, so what is restored goes on byte for byte.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_detectors::Terms;
use weir_events::Mandate;

use crate::config::Config;
use crate::entities::{Agent, Ledger, User};
use crate::intake::Intake;
use crate::keyed::Keyed;
use crate::mandates::MandateEntry;
use crate::repeats::{Remembered, Repeats};
use crate::shard::Shard;

/// Rows per record batch.
pub const ROWS_PER_BATCH: usize = 65_536;

/// Tables of a snapshot, in the order in which they are written and read.
pub const TABLES: [&str; 6] = ["users", "agents", "mandates", "ledgers", "repeats", "watermark"];

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

/// Arrow schema of each table.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Schema)> {
    TABLES.into_iter().map(|table| (table, schema(table))).collect()
}

fn schema(table: &str) -> Schema {
    let text = |name: &str| Field::new(name, DataType::LargeUtf8, false);
    let state = Field::new("state", DataType::LargeBinary, true);
    let number = |name: &str| Field::new(name, DataType::UInt64, false);
    let time = |name: &str| Field::new(name, DataType::Int64, false);
    Schema::new(match table {
        "users" => vec![text("user_id"), state],
        "agents" => vec![text("agent_id"), number("user"), state],
        "mandates" => vec![text("mandate_id"), state],
        "ledgers" => vec![number("mandate"), number("user"), state],
        "repeats" => vec![number("key"), number("fingerprint"), time("time_us")],
        _ => vec![time("forgotten_before_us"), state],
    })
}

impl Shard {
    /// The state of the shard and of its intake.
    ///
    /// # Errors
    /// When Arrow refuses a batch, which means that memory ran out.
    pub fn snapshot(&self, intake: &Intake) -> Result<Tables, ArrowError> {
        let users: Vec<&User> = self.keyed.users.iter().collect();
        let agents: Vec<&Agent> = self.keyed.agents.iter().collect();
        let mandates: Vec<&MandateEntry> = self.mandates.iter().collect();
        let ledgers: Vec<&Ledger> = self.keyed.ledgers.iter().collect();
        let (remembered, forgotten_before_us) = intake.repeats.remembered();
        let number = |value: u32| u64::from(value);
        Ok(vec![
            (
                "users",
                batches("users", &users, |rows| {
                    vec![texts(rows, |user| &user.user_id), states(rows, |user| Some(encoded(user)))]
                })?,
            ),
            (
                "agents",
                batches("agents", &agents, |rows| {
                    let states = states(rows, |agent| Some(encoded(agent)));
                    vec![
                        texts(rows, |agent| &agent.agent_id),
                        numbers(rows, |agent| number(agent.user)),
                        states,
                    ]
                })?,
            ),
            (
                "mandates",
                batches("mandates", &mandates, |rows| {
                    let state =
                        |entry: &&MandateEntry| entry.terms.as_ref().map(|terms| encoded(&terms.mandate()));
                    vec![texts(rows, |entry| &entry.mandate_id), states(rows, state)]
                })?,
            ),
            (
                "ledgers",
                batches("ledgers", &ledgers, |rows| {
                    let (mandate, user) =
                        (numbers(rows, |at| number(at.mandate)), numbers(rows, |at| number(at.user)));
                    vec![mandate, user, states(rows, |ledger| Some(encoded(ledger)))]
                })?,
            ),
            (
                "repeats",
                batches("repeats", &remembered, |rows| {
                    let times = Int64Array::from_iter_values(rows.iter().map(|known| known.time_us));
                    vec![
                        numbers(rows, |known| known.key),
                        numbers(rows, |known| known.fingerprint),
                        Arc::new(times),
                    ]
                })?,
            ),
            (
                "watermark",
                batches("watermark", &[&intake.watermark], |rows| {
                    let forgotten = Int64Array::from_iter_values(rows.iter().map(|_| forgotten_before_us));
                    vec![Arc::new(forgotten), states(rows, |watermark| Some(encoded(watermark)))]
                })?,
            ),
        ])
    }

    /// A shard and its intake from what [`Shard::snapshot`] gave, under the same configuration.
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
        for (row, user) in decoded_rows::<User>(tables, "users")?.into_iter().enumerate() {
            let user = user.ok_or(RestoreError::Dangling { table: "users", row })?;
            keyed.users.insert(keyed.user_hash(&user.user_id), user);
        }
        for (row, agent) in decoded_rows::<Agent>(tables, "agents")?.into_iter().enumerate() {
            let agent = agent.filter(|agent| (agent.user as usize) < keyed.users.len());
            let agent = agent.ok_or(RestoreError::Dangling { table: "agents", row })?;
            let user_hash = keyed.user_hash(&keyed.users[agent.user].user_id);
            keyed.agents.insert(keyed.agent_hash(&agent.agent_id, user_hash), agent);
        }
        Ok(())
    }

    fn restore_mandates(&mut self, tables: &Tables) -> Result<(), RestoreError> {
        let ids = column_values::<LargeStringArray, _>(tables, "mandates", "mandate_id", |column, row| {
            column.value(row).to_owned()
        })?;
        let states = decoded_rows::<Mandate>(tables, "mandates")?;
        for (row, (mandate_id, state)) in ids.into_iter().zip(states).enumerate() {
            let terms = state.map(|mandate| Arc::new(Terms::new(&mandate, &self.policy.categories)));
            let applied = self.mandates.apply(&mandate_id, terms.as_ref());
            applied.map_err(|_| RestoreError::Dangling { table: "mandates", row })?;
        }
        Ok(())
    }

    fn restore_ledgers(&mut self, tables: &Tables) -> Result<(), RestoreError> {
        let (keyed, mandates) = (&mut self.keyed, &self.mandates);
        for (row, ledger) in decoded_rows::<Ledger>(tables, "ledgers")?.into_iter().enumerate() {
            let whole = |ledger: &Ledger| {
                (ledger.user as usize) < keyed.users.len()
                    && (ledger.mandate as usize) < mandates.len()
                    && ledger.uses.iter().all(|usage| (usage.agent as usize) < keyed.agents.len())
            };
            let ledger = ledger.filter(whole).ok_or(RestoreError::Dangling { table: "ledgers", row })?;
            keyed.ledgers.insert(Keyed::ledger_hash(ledger.mandate, ledger.user), ledger);
        }
        Ok(())
    }

    fn check_references(&self) -> Result<(), RestoreError> {
        let keyed = &self.keyed;
        let in_ledgers = |agent: &Agent| {
            agent.uses.iter().all(|&(ledger, place)| {
                let known = (ledger as usize) < keyed.ledgers.len();
                known && (place as usize) < keyed.ledgers[ledger].uses.len()
            })
        };
        let in_agents = |user: &User| user.agents.iter().all(|&agent| (agent as usize) < keyed.agents.len());
        if let Some(row) = keyed.agents.iter().position(|agent| !in_ledgers(agent)) {
            return Err(RestoreError::Dangling { table: "agents", row });
        }
        match keyed.users.iter().position(|user| !in_agents(user)) {
            Some(row) => Err(RestoreError::Dangling { table: "users", row }),
            None => Ok(()),
        }
    }
}

fn restored_intake(config: &Config, seed: u64, tables: &Tables) -> Result<Intake, RestoreError> {
    let number = |column: &UInt64Array, row: usize| column.value(row);
    let time = |column: &Int64Array, row: usize| column.value(row);
    let keys = column_values(tables, "repeats", "key", number)?;
    let fingerprints = column_values(tables, "repeats", "fingerprint", number)?;
    let times = column_values(tables, "repeats", "time_us", time)?;
    let forgotten = column_values(tables, "watermark", "forgotten_before_us", time)?;
    let watermark = decoded_rows(tables, "watermark")?.into_iter().next().flatten();
    let remembered = keys.into_iter().zip(fingerprints).zip(times);
    let remembered = remembered.map(|((key, fingerprint), time_us)| Remembered { key, fingerprint, time_us });
    let mut intake = Intake::new(config, seed);
    intake.repeats = Repeats::new(seed, config.bounds.remembered_ids_max);
    intake.repeats.restore(remembered, forgotten.first().copied().unwrap_or(i64::MIN));
    intake.watermark = watermark.ok_or(RestoreError::Dangling { table: "watermark", row: 0 })?;
    Ok(intake)
}

/// The table's rows in batches of [`ROWS_PER_BATCH`]; one empty batch for an empty table.
fn batches<T>(
    table: &'static str,
    rows: &[T],
    columns: impl Fn(&[T]) -> Vec<ArrayRef>,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let schema = Arc::new(schema(table));
    let batch = |rows: &[T]| RecordBatch::try_new(Arc::clone(&schema), columns(rows));
    if rows.is_empty() { Ok(vec![batch(rows)?]) } else { rows.chunks(ROWS_PER_BATCH).map(batch).collect() }
}

fn texts<T>(rows: &[T], text: impl Fn(&T) -> &str) -> ArrayRef {
    Arc::new(LargeStringArray::from_iter_values(rows.iter().map(text)))
}

fn numbers<T>(rows: &[T], number: impl Fn(&T) -> u64) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(rows.iter().map(number)))
}

fn states<T>(rows: &[T], state: impl Fn(&T) -> Option<Vec<u8>>) -> ArrayRef {
    Arc::new(rows.iter().map(state).collect::<LargeBinaryArray>())
}

fn encoded(state: &impl Serialize) -> Vec<u8> {
    // States are plain data of known length, which postcard always encodes.
    postcard::to_stdvec(state).unwrap_or_default()
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

fn column_values<A: Array + 'static, T>(
    tables: &Tables,
    name: &'static str,
    column: &'static str,
    value: impl Fn(&A, usize) -> T,
) -> Result<Vec<T>, RestoreError> {
    let mut values = Vec::new();
    for batch in table(tables, name)? {
        let array = batch.column_by_name(column).and_then(|array| array.as_any().downcast_ref::<A>());
        let array = array.ok_or(RestoreError::WrongColumn { table: name, column: column.to_owned() })?;
        values.extend((0..array.len()).map(|row| value(array, row)));
    }
    Ok(values)
}

fn decoded_rows<T: DeserializeOwned>(
    tables: &Tables,
    name: &'static str,
) -> Result<Vec<Option<T>>, RestoreError> {
    let bytes = column_values::<LargeBinaryArray, _>(tables, name, "state", |column, row| {
        (!column.is_null(row)).then(|| postcard::from_bytes(column.value(row)))
    })?;
    let rows = bytes.into_iter().enumerate();
    rows.map(|(row, state)| {
        state.transpose().map_err(|source| RestoreError::WrongState { table: name, row, source })
    })
    .collect()
}
