//! Entities as rows of the tables of a snapshot.

use std::mem::take;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, UInt64Array};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entities::{Agent, Ledger, User};
use crate::mandates::MandateEntry;
use crate::repeats::Remembered;
use crate::watermark::Watermark;

/// Tables of a snapshot, in the order in which they are written and read.
pub const TABLES: [&str; 6] = ["users", "agents", "mandates", "ledgers", "repeats", "watermark"];

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
        "users" => vec![number("number"), text("user_id"), state],
        "agents" => vec![number("number"), text("agent_id"), number("user"), state],
        "mandates" => vec![number("number"), text("mandate_id"), time("version"), state],
        "ledgers" => vec![number("number"), number("mandate"), number("user"), state],
        "repeats" => vec![number("key"), number("fingerprint"), time("time_us")],
        _ => vec![time("forgotten_before_us"), time("oldest_accepted_us"), state],
    })
}

/// An entity that has a row of its own.
pub(crate) trait Stored {
    /// Where its row stands.
    const TABLE: &'static str;

    /// Adds its columns but for the number.
    fn put(&self, rows: &mut Rows);
}

impl Stored for User {
    const TABLE: &'static str = "users";

    fn put(&self, rows: &mut Rows) {
        rows.texts.push(self.user_id.as_bytes());
        rows.push_state(Some(self));
    }
}

impl Stored for Agent {
    const TABLE: &'static str = "agents";

    fn put(&self, rows: &mut Rows) {
        rows.texts.push(self.agent_id.as_bytes());
        rows.users.push(self.user.into());
        rows.push_state(Some(self));
    }
}

impl Stored for MandateEntry {
    const TABLE: &'static str = "mandates";

    fn put(&self, rows: &mut Rows) {
        rows.texts.push(self.mandate_id.as_bytes());
        rows.versions.push(self.version);
        rows.push_state(self.terms.as_ref().map(|terms| terms.mandate()).as_ref());
    }
}

impl Stored for Ledger {
    const TABLE: &'static str = "ledgers";

    fn put(&self, rows: &mut Rows) {
        rows.mandates.push(self.mandate.into());
        rows.users.push(self.user.into());
        rows.push_state(Some(self));
    }
}

/// An entity that can be kept as the bytes of its state, which begin with its keys.
pub(crate) trait Packed: Stored + Serialize + DeserializeOwned + Default {
    /// Adds the columns of the keys from the beginning of a state.
    fn put_keys(state: &[u8], rows: &mut Rows) -> Result<(), postcard::Error>;
}

impl Packed for User {
    fn put_keys(state: &[u8], rows: &mut Rows) -> Result<(), postcard::Error> {
        let (user_id, _) = postcard::take_from_bytes::<&str>(state)?;
        rows.texts.push(user_id.as_bytes());
        Ok(())
    }
}

impl Packed for Agent {
    fn put_keys(state: &[u8], rows: &mut Rows) -> Result<(), postcard::Error> {
        let ((agent_id, user), _) = postcard::take_from_bytes::<(&str, u32)>(state)?;
        rows.texts.push(agent_id.as_bytes());
        rows.users.push(user.into());
        Ok(())
    }
}

impl Packed for Ledger {
    fn put_keys(state: &[u8], rows: &mut Rows) -> Result<(), postcard::Error> {
        let ((mandate, user), _) = postcard::take_from_bytes::<(u32, u32)>(state)?;
        rows.mandates.push(mandate.into());
        rows.users.push(user.into());
        Ok(())
    }
}

/// Rows of one table of entities on their way into a record batch. A column that the table does not have
/// stays empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    numbers: Vec<u64>,
    texts: Pieces,
    mandates: Vec<u64>,
    users: Vec<u64>,
    versions: Vec<i64>,
    states: Pieces,
    /// Whether each row has a state.
    known: Vec<bool>,
}

impl Rows {
    /// Adds the row of the entity with this number.
    pub(crate) fn push<T: Stored>(&mut self, number: u32, entity: &T) {
        self.numbers.push(number.into());
        entity.put(self);
    }

    /// Adds the row of the entity with this number, which is packed.
    pub(crate) fn push_packed<T: Packed>(&mut self, number: u32, state: &[u8]) {
        // What is packed is sound; see `Slot::pack`.
        if T::put_keys(state, self).is_ok() {
            self.numbers.push(number.into());
            self.states.push(state);
            self.known.push(true);
        }
    }

    fn push_state(&mut self, state: Option<&impl Serialize>) {
        if let Some(state) = state {
            // States are plain data of known length, which postcard always encodes.
            self.states.bytes = postcard::to_extend(state, take(&mut self.states.bytes)).unwrap_or_default();
        }
        self.states.end();
        self.known.push(state.is_some());
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Bytes of the texts and states.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.bytes.len() + self.states.bytes.len()
    }

    /// The rows as a batch of `table`; none are left here.
    pub(crate) fn batch(&mut self, table: &str) -> Result<RecordBatch, ArrowError> {
        let rows = take(self);
        let schema = schema(table);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        let Self { numbers, texts, mandates, users, versions, states, known } = rows;
        columns.push(Arc::new(UInt64Array::from(numbers)));
        if schema.fields().iter().any(|field| *field.data_type() == DataType::LargeUtf8) {
            let (ends, bytes) = texts.finish();
            columns.push(Arc::new(LargeStringArray::try_new(ends, bytes, None)?));
        }
        if schema.column_with_name("mandate").is_some() {
            columns.push(Arc::new(UInt64Array::from(mandates)));
        }
        if schema.column_with_name("user").is_some() {
            columns.push(Arc::new(UInt64Array::from(users)));
        }
        if schema.column_with_name("version").is_some() {
            columns.push(Arc::new(Int64Array::from(versions)));
        }
        let (ends, bytes) = states.finish();
        columns.push(Arc::new(LargeBinaryArray::try_new(ends, bytes, Some(NullBuffer::from(known)))?));
        RecordBatch::try_new(Arc::new(schema), columns)
    }
}

/// Byte strings of any length in one piece.
#[derive(Debug, Clone)]
struct Pieces {
    bytes: Vec<u8>,
    /// Where each begins, and where the last ends.
    ends: Vec<i64>,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: vec![0] }
    }
}

impl Pieces {
    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.end();
    }

    /// Ends a piece with the bytes so far.
    fn end(&mut self) {
        self.ends.push(i64::try_from(self.bytes.len()).unwrap_or(i64::MAX));
    }

    fn finish(self) -> (OffsetBuffer<i64>, Buffer) {
        (OffsetBuffer::new(ScalarBuffer::from(self.ends)), Buffer::from_vec(self.bytes))
    }
}

/// Remembered transactions as a batch of `repeats`.
pub(crate) fn repeats_batch(remembered: &[Remembered]) -> Result<RecordBatch, ArrowError> {
    let numbers = |number: fn(&Remembered) -> u64| {
        Arc::new(UInt64Array::from_iter_values(remembered.iter().map(number))) as ArrayRef
    };
    let times = Arc::new(Int64Array::from_iter_values(remembered.iter().map(|known| known.time_us)));
    let columns = vec![numbers(|known| known.key), numbers(|known| known.fingerprint), times];
    RecordBatch::try_new(Arc::new(schema("repeats")), columns)
}

/// The state of an intake beside what it remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrived {
    pub(crate) watermark: Watermark,
    pub(crate) forgotten_before_us: i64,
    pub(crate) oldest_accepted_us: i64,
}

impl Arrived {
    /// The one row of `watermark`.
    pub(crate) fn batch(&self) -> Result<RecordBatch, ArrowError> {
        let state = postcard::to_stdvec(&self.watermark).unwrap_or_default();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![self.forgotten_before_us])),
            Arc::new(Int64Array::from(vec![self.oldest_accepted_us])),
            Arc::new(LargeBinaryArray::from_opt_vec(vec![Some(&*state)])),
        ];
        RecordBatch::try_new(Arc::new(schema("watermark")), columns)
    }
}
