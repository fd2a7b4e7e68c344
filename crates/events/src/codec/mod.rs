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

use fields::Field;
use json::{JsonError, Key, Name, Scanner, Value};

/// The longest record accepted, in bytes.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Defines the fields of a record: their places, their keys in the order in which most producers send them, and
/// what holds them.
macro_rules! known_fields {
    ($($place:ident = $key:literal,)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "it only counts the places")]
        enum Place { $($place,)* COUNT }
        $(const $place: usize = Place::$place as usize;)*
        static FIELDS: [$crate::codec::json::Key; Place::COUNT as usize] =
            [$($crate::codec::json::Key::new($key, concat!("\"", $key, "\":")),)*];
        type Fields<'a> = $crate::codec::Known<'a, { Place::COUNT as usize }>;
    };
}
use known_fields;

/// The known fields of a record.
struct Known<'a, const N: usize> {
    keys: &'static [Key; N],
    values: [Value<'a>; N],
}

impl<'a, const N: usize> Known<'a, N> {
    fn new(keys: &'static [Key; N]) -> Self {
        Self { keys, values: [Value::Absent; N] }
    }

    #[inline(always)]
    fn get(&self, place: usize) -> Field<'a> {
        let name = self.keys.get(place).map_or("", |key| key.name);
        Field { name, value: self.values.get(place).copied().unwrap_or_default() }
    }
}

/// Attributes whose keys are compared pair by pair; beyond, they are sorted.
const FEW_ATTRIBUTES: usize = 16;

type Keys<'a> = SmallVec<[Cow<'a, str>; FEW_ATTRIBUTES]>;

/// Reads a record's members into `known`, or finds what is wrong with the record as a whole. What is no
/// field is given to `attribute`.
#[inline(always)]
fn read_members<'a, const N: usize>(
    record: &'a [u8],
    known: &mut Known<'a, N>,
    mut attribute: impl FnMut(&str, Value<'a>),
) -> Result<(), Fault> {
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
    let fields = known.keys;
    let mut keys = Keys::new();
    let mut repeated = None;
    let members = scanner.members(0, fields, |scanner, name| {
        let at = match name {
            Name::Field(at) => at,
            Name::Text(text) => {
                let key = text.unescaped();
                let Some(at) = fields.iter().position(|field| field.name == key) else {
                    attribute(&key, scanner.value(1)?);
                    keys.push(key);
                    return Ok(());
                };
                at
            }
        };
        match known.values.get_mut(at) {
            Some(place @ Value::Absent) => scanner.value_into(1, place),
            _ => {
                repeated = repeated.or(fields.get(at));
                scanner.value(1).map(drop)
            }
        }
    });
    members.and_then(|()| scanner.end()).map_err(invalid_json)?;
    let repeated = repeated.map(|field| Cow::Borrowed(field.name));
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
