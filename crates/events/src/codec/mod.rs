//! JSON in: transactions and mandates, strict, exact and borrowed.
//!
//! A record with several faults is rejected for one: what is wrong with the whole (`too_large`,
//! `empty_record`, `invalid_json`, `not_an_object`, `duplicate_field`) comes first, then the fields in
//! the order of the field table, wherever they stand in the record. An optional field that is null
//! counts as absent; a required one that is null is missing.

mod fields;
mod fingerprint;
mod json;
mod mandate;
mod transaction;

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::reject::{Fault, RejectCode};

pub use fields::{MAX_CATEGORY_BYTES, MAX_ID_BYTES, MAX_MERCHANT_BYTES};
pub use json::MAX_NESTING;
pub use mandate::parse_mandate;
pub use transaction::parse_transaction;

use json::{JsonError, Scanner, Value};

/// The longest record accepted, in bytes.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// What a kind of record keeps of an object's members.
trait Slots<'a> {
    /// Where the field `key` is kept; `None` for an attribute.
    fn slot(&mut self, key: &str) -> Option<&mut Value<'a>>;

    /// Takes an attribute.
    fn attribute(&mut self, key: &str, value: Value<'a>);
}

/// Attributes whose keys are compared pair by pair; beyond, they are sorted.
const FEW_ATTRIBUTES: usize = 16;

type Keys<'a> = SmallVec<[Cow<'a, str>; FEW_ATTRIBUTES]>;

/// Reads a record's members into `slots`, or finds what is wrong with the record as a whole.
fn read_members<'a>(record: &'a [u8], slots: &mut impl Slots<'a>) -> Result<(), Fault> {
    if record.len() > MAX_RECORD_BYTES {
        return Err(Fault::too_large(record.len() as u64));
    }
    let text = std::str::from_utf8(record)
        .map_err(|error| invalid_json(JsonError { at: error.valid_up_to(), what: "not UTF-8" }))?;
    let mut scanner = Scanner::new(text);
    match scanner.next_token() {
        Some(b'{') => {}
        None => return Err(Fault::empty_record()),
        Some(_) => {
            scanner.value(0).and_then(|_| scanner.end()).map_err(invalid_json)?;
            let message = "a record must be a JSON object such as {\"tx_id\": …}".to_owned();
            return Err(Fault::new(RejectCode::NotAnObject, None, message));
        }
    }
    let mut keys = Keys::new();
    let mut repeated = None;
    let members = scanner.members(0, |scanner, key| {
        let key = key.unescaped();
        match slots.slot(&key) {
            Some(slot @ Value::Absent) => scanner.value_into(1, slot)?,
            Some(_) => {
                scanner.value(1)?;
                repeated.get_or_insert(key);
            }
            None => {
                slots.attribute(&key, scanner.value(1)?);
                keys.push(key);
            }
        }
        Ok(())
    });
    members.and_then(|()| scanner.end()).map_err(invalid_json)?;
    match repeated.or_else(|| first_repeated(keys)) {
        Some(key) => Err(duplicate_field(&key)),
        None => Ok(()),
    }
}

/// A key that stands twice.
fn first_repeated(mut keys: Keys<'_>) -> Option<Cow<'_, str>> {
    if keys.len() <= FEW_ATTRIBUTES {
        let repeats =
            |&(at, key): &(usize, &Cow<'_, str>)| keys.iter().take(at).any(|earlier| earlier == key);
        return keys.iter().enumerate().find(repeats).map(|(_, key)| key.clone());
    }
    keys.sort_unstable();
    keys.windows(2).find_map(|pair| match pair {
        [first, second] if first == second => Some(first.clone()),
        _ => None,
    })
}

#[cold]
fn invalid_json(error: JsonError) -> Fault {
    Fault::new(RejectCode::InvalidJson, None, format!("invalid JSON at byte {}: {}", error.at, error.what))
}

#[cold]
fn duplicate_field(key: &str) -> Fault {
    let message = format!("{:?} stands more than once; send each field once", crate::reject::shortened(key));
    Fault::new(RejectCode::DuplicateField, Some(key), message)
}
