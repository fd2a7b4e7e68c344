//! A strict JSON scanner that reads each byte once and allocates nothing.
//!
//! A record needs more than a general parser gives: numbers as they were written (a decimal must not
//! pass through a float), a limit on nesting that holds inside fields nobody reads, full strictness
//! there too, the wrong type told apart from bad JSON, and a hash of every unknown field that depends
//! on its value alone. All of it falls out of one pass over the text.

use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::fingerprint;
use crate::decimal::Decimal;

/// The deepest nesting accepted; the record's own object is the first level.
pub const MAX_NESTING: usize = 64;

/// What a field holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Value<'a> {
    /// The field is not in the record.
    #[default]
    Absent,
    Null,
    Bool(bool),
    /// As written.
    Number(&'a str),
    String(Text<'a>),
    /// As written, and the hash of its value.
    Array(&'a str, u64),
    Object(u64),
}

/// A string between its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

/// The key of a field that is looked for where it most likely stands.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Bytes of the name in quotes and the colon.
    length: usize,
    /// They, as words to be compared at once.
    words: [u64; KEY_WORDS],
    masks: [u64; KEY_WORDS],
}

const KEY_WORDS: usize = 3;
const KEY_BYTES_MAX: usize = 8 * KEY_WORDS;

/// Keys looked at, from the one that most likely comes next on: most fields can be left out.
const KEYS_LOOKED_AT: usize = 3;

impl Key {
    /// The key of that name, which stands in a record as `written`: in quotes, with the colon.
    #[allow(clippy::indexing_slicing, reason = "the compiler runs it, and an index too great is its error")]
    pub(super) const fn new(name: &'static str, written: &str) -> Self {
        let (mut words, mut masks) = ([0; KEY_WORDS], [0; KEY_WORDS]);
        let bytes = written.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            words[at / 8] |= (bytes[at] as u64) << (at % 8 * 8);
            masks[at / 8] |= 0xFF << (at % 8 * 8);
            at += 1;
        }
        Self { name, length: bytes.len(), words, masks }
    }

    #[inline(always)]
    fn begins(&self, text: &[u64; KEY_WORDS]) -> bool {
        let ([a, b, c], [ka, kb, kc], [ma, mb, mc]) = (text, &self.words, &self.masks);
        (a & ma ^ ka) | (b & mb ^ kb) | (c & mc ^ kc) == 0
    }
}

/// What a member of an object is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    /// The field at this position of those that were looked for.
    Field(usize),
    /// Whatever stands there, which may be a field all the same.
    Text(Text<'a>),
}

/// Where the text stops being JSON, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JsonError {
    /// Position in bytes.
    pub(super) at: usize,
    pub(super) what: &'static str,
}

type Result<T> = std::result::Result<T, JsonError>;

/// A position in a text.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[cold]
    fn fail<T>(&self, what: &'static str) -> Result<T> {
        Err(JsonError { at: self.at, what })
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline(always)]
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Skips whitespace and tells the byte that follows.
    #[inline(always)]
    pub(super) fn next_token(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Makes sure that nothing but whitespace follows.
    pub(super) fn end(&mut self) -> Result<()> {
        match self.next_token() {
            None => Ok(()),
            Some(_) => self.fail("text after the end of the value"),
        }
    }

    /// Reads one value; `depth` containers are open around it.
    pub(super) fn value(&mut self, depth: usize) -> Result<Value<'a>> {
        let mut value = Value::Absent;
        self.value_into(depth, &mut value)?;
        Ok(value)
    }

    /// Reads one value to where it is kept. Most are strings, which are not worth a call or a copy.
    #[inline(always)]
    pub(super) fn value_into(&mut self, depth: usize, place: &mut Value<'a>) -> Result<()> {
        match self.next_token() {
            Some(b'"') => *place = Value::String(self.string()?),
            token => *place = self.other_value(token, depth)?,
        }
        Ok(())
    }

    fn other_value(&mut self, token: Option<u8>, depth: usize) -> Result<Value<'a>> {
        match token {
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b'{') => self.object(depth).map(Value::Object),
            Some(b'[') => self.array(depth),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            Some(_) => self.fail("a value must start here"),
            None => self.fail("the text ends where a value must start"),
        }
    }

    fn literal(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return self.fail("neither true, false nor null");
        }
        self.at += word.len();
        Ok(value)
    }

    fn open(&mut self, depth: usize) -> Result<()> {
        if depth >= MAX_NESTING {
            return self.fail("nested more than 64 levels deep");
        }
        self.at += 1;
        Ok(())
    }

    /// Reads an object, calling `member` at the start of each value, which it must read. Keys of `fields`
    /// are found at little cost where they follow one another in that order.
    #[inline(always)]
    pub(super) fn members(
        &mut self,
        depth: usize,
        fields: &[Key],
        mut member: impl FnMut(&mut Self, Name<'a>) -> Result<()>,
    ) -> Result<()> {
        self.open(depth)?;
        if self.next_token() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut next = 0;
        loop {
            if self.next_token() != Some(b'"') {
                return self.fail("a key in quotes must stand here");
            }
            let name = match self.expected(fields, next) {
                Some(at) => {
                    next = at + 1;
                    Name::Field(at)
                }
                None => Name::Text(self.key()?),
            };
            member(self, name)?;
            match self.next_token() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fail("a comma or a closing brace must stand here"),
            }
        }
    }

    /// Skips the key of the field at `next` or of one of those behind it, if one stands here.
    #[inline(always)]
    fn expected(&mut self, fields: &[Key], next: usize) -> Option<usize> {
        let bytes = self.text.as_bytes().get(self.at..)?.first_chunk::<KEY_BYTES_MAX>()?;
        let (words, _) = bytes.as_chunks::<8>();
        let &[a, b, c] = words else { return None };
        let text = [a, b, c].map(u64::from_le_bytes);
        // An iterator's adapters would cost more here than what they go over.
        let mut at = next;
        while at < next + KEYS_LOOKED_AT {
            let key = fields.get(at)?;
            if key.begins(&text) {
                self.at += key.length;
                return Some(at);
            }
            at += 1;
        }
        None
    }

    fn key(&mut self) -> Result<Text<'a>> {
        let key = self.string()?;
        self.next_token();
        if self.eat(b':') { Ok(key) } else { self.fail("a colon must follow the key") }
    }

    /// Reads an array, calling `element` at the start of each value, which it must read.
    pub(super) fn elements(
        &mut self,
        depth: usize,
        mut element: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.open(depth)?;
        if self.next_token() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            match self.next_token() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fail("a comma or a closing bracket must stand here"),
            }
        }
    }

    /// The hash of an object: a sum over its members, so that their order does not matter.
    fn object(&mut self, depth: usize) -> Result<u64> {
        let mut sum = 0_u64;
        self.members(depth, &[], |scanner, name| {
            // No fields are looked for.
            let Name::Text(key) = name else { return Ok(()) };
            let value = scanner.value(depth + 1)?;
            sum = sum.wrapping_add(member_hash(&key.unescaped(), &value));
            Ok(())
        })?;
        Ok(sum)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>> {
        let start = self.at;
        let mut hasher = fingerprint::hasher();
        self.elements(depth, |scanner| {
            scanner.value(depth + 1)?.hash(&mut hasher);
            Ok(())
        })?;
        Ok(Value::Array(self.since(start), hasher.finish()))
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Text<'a>> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.eat(b'"') {
            return Ok(Text { raw: self.text.get(start..self.at - 1).unwrap_or_default(), escaped: false });
        }
        self.string_with_escapes(start)
    }

    /// Reads on where the plain beginning of a string ends.
    #[cold]
    fn string_with_escapes(&mut self, start: usize) -> Result<Text<'a>> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    let raw = self.since(start);
                    self.at += 1;
                    return Ok(Text { raw, escaped: true });
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.fail("a control character in a string must be escaped"),
                None => return self.fail("the text ends inside a string"),
            }
            self.skip_plain();
        }
    }

    /// Skips to the first quote, backslash or control character.
    #[inline(always)]
    fn skip_plain(&mut self) {
        self.at += plain_prefix(self.text.as_bytes().get(self.at..).unwrap_or_default());
    }

    fn escape(&mut self) -> Result<()> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.unit()? {
                0xDC00..=0xDFFF => self.fail("half of a surrogate pair"),
                0xD800..=0xDBFF => {
                    if !self.eat(b'\\') || self.peek() != Some(b'u') {
                        return self.fail("half of a surrogate pair");
                    }
                    match self.unit()? {
                        0xDC00..=0xDFFF => Ok(()),
                        _ => self.fail("half of a surrogate pair"),
                    }
                }
                _ => Ok(()),
            },
            _ => self.fail("no such escape"),
        }
    }

    /// Reads `uXXXX`.
    fn unit(&mut self) -> Result<u32> {
        self.at += 1;
        let Some(unit) = self.text.as_bytes().get(self.at..).and_then(hex_unit) else {
            return self.fail("four hexadecimal digits must follow \\u");
        };
        self.at += 4;
        Ok(unit)
    }

    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        } else if matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fail("a number must not begin with 0");
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _signed = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(self.since(start))
    }

    fn digits(&mut self) -> Result<()> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if count == 0 {
            return self.fail("a digit must stand here");
        }
        self.at += count;
        Ok(())
    }
}

const LANES: u64 = u64::from_le_bytes([1; 8]);

/// Bytes before the first quote, backslash or control character, looked at eight at a time.
#[inline(always)]
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return bytes.len() - rest.len() + (stops.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    let ends = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
    bytes.len() - rest.len() + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Sets the top bit of each byte at which a plain part of a string ends. A borrow can set bits beyond
/// the first such byte, never before it, and only the first is asked for.
#[inline(always)]
fn stops(word: u64) -> u64 {
    let below = |word: u64, limit: u8| word.wrapping_sub(LANES * u64::from(limit)) & !word;
    // Flipping the second bit puts the quote right behind the control characters.
    let quote_or_control = below(word ^ (LANES * 2), 0x21);
    let backslash = below(word ^ (LANES * u64::from(b'\\')), 1);
    (quote_or_control | backslash) & (LANES << 7)
}

/// The first four bytes as hexadecimal digits.
fn hex_unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

/// The hash of one member of an object.
pub(super) fn member_hash(key: &str, value: &Value<'_>) -> u64 {
    let mut hasher = fingerprint::hasher();
    hasher.write_u64(key.len() as u64);
    hasher.write(key.as_bytes());
    value.hash(&mut hasher);
    hasher.finish()
}

impl<'a> Value<'a> {
    /// Whether the field counts as not given.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }

    /// Feeds the value, tagged with its type, so that equal values hash alike however written.
    fn hash(&self, hasher: &mut SipHasher13) {
        match self {
            Self::Absent | Self::Null => hasher.write_u8(0),
            Self::Bool(value) => hasher.write_u8(1 + u8::from(*value)),
            Self::Number(text) => {
                hasher.write_u8(3);
                if let Ok(decimal) = Decimal::parse(text) {
                    decimal.hash(hasher);
                }
            }
            Self::String(text) => {
                let text = text.unescaped();
                hasher.write_u8(4);
                hasher.write_u64(text.len() as u64);
                hasher.write(text.as_bytes());
            }
            Self::Array(_, hash) => {
                hasher.write_u8(5);
                hasher.write_u64(*hash);
            }
            Self::Object(hash) => {
                hasher.write_u8(6);
                hasher.write_u64(*hash);
            }
        }
    }
}

impl<'a> Text<'a> {
    /// The string itself; borrowed unless it has escapes.
    #[inline]
    pub(super) fn unescaped(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

/// Undoes escapes that the scanner has found to be sound.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut after = escape.chars();
        match after.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let (char, used) = unescape_units(after.as_str());
                out.push(char);
                rest = after.as_str().get(used..).unwrap_or_default();
                continue;
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = after.as_str();
    }
    out.push_str(rest);
    out
}

/// The character of `XXXX` or `XXXX\uXXXX`, and the bytes it took.
fn unescape_units(text: &str) -> (char, usize) {
    let bytes = text.as_bytes();
    let high = hex_unit(bytes).unwrap_or_default();
    let low = bytes.get(6..).and_then(hex_unit).unwrap_or_default();
    match (high, low) {
        (0xD800..=0xDBFF, 0xDC00..=0xDFFF) => {
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10)
        }
        _ => (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 4),
    }
}
