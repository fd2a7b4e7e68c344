//! Names of merchants and categories as they are compared.

use std::ops::Deref;

use smallvec::SmallVec;

use crate::cross_merchant::groups::{Group, GroupMap};
use crate::hash::name_hash;

/// A merchant's name as signals compare it: trimmed, lower case, without leading `www.`.
#[must_use]
pub fn normalize(merchant: &str) -> String {
    normalized(merchant).to_string()
}

/// The same without an allocation, unless the name is not ASCII.
#[must_use]
pub fn normalized(merchant: &str) -> Lowered<'_> {
    let lowered = lowered(merchant);
    let skip = if lowered.starts_with("www.") { 4 } else { 0 };
    Lowered { skip, ..lowered }
}

/// A name trimmed and in lower case.
#[must_use]
pub fn lowered(name: &str) -> Lowered<'_> {
    let name = name.trim();
    let form = if !name.is_ascii() {
        Form::Owned(name.to_lowercase())
    } else if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Form::Stack(name.bytes().map(|byte| byte.to_ascii_lowercase()).collect())
    } else {
        Form::Same(name)
    };
    Lowered { form, skip: 0 }
}

/// A name in lower case, borrowed or on the stack where that is possible: this is asked for at every
/// payment.
#[derive(Debug, Clone)]
pub struct Lowered<'a> {
    form: Form<'a>,
    /// Bytes at the start that do not belong to the name.
    skip: usize,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "it lives for one call, and boxing it would allocate")]
enum Form<'a> {
    Same(&'a str),
    /// ASCII; as long as the longest merchant's name.
    Stack(SmallVec<[u8; 256]>),
    Owned(String),
}

impl Deref for Lowered<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        let whole = match &self.form {
            Form::Same(name) => name,
            Form::Stack(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            Form::Owned(name) => name,
        };
        whole.get(self.skip..).unwrap_or_default()
    }
}

/// What follows from the text of a merchant or of a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Name {
    /// Hash of the text as sent; 0: no text.
    pub raw: u64,
    /// Hash of it trimmed and in lower case, as categories are compared; 0: no text.
    pub lowered: u64,
    /// Hash of it as [`normalize`] gives it, as merchants are compared; 0: no text.
    pub normalized: u64,
    /// Its group as a category; 0: none.
    pub group: Group,
}

impl Name {
    /// Reads a text.
    #[must_use]
    pub fn of(text: &str, groups: &GroupMap) -> Self {
        let raw = name_hash(text.as_bytes());
        Self {
            raw,
            lowered: name_hash(lowered(text).as_bytes()),
            normalized: name_hash(normalized(text).as_bytes()),
            group: groups.group(text, raw),
        }
    }
}
