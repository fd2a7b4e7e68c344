//! From a JSON value to the value of a field.

use std::borrow::Cow;
use std::fmt;

use super::json::{Scanner, Value};
use crate::decimal::{self, Decimal};
use crate::reject::{Fault, RejectCode};
use crate::{Amount, Currency, Timestamp};

/// Longest id in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// Longest merchant in bytes.
pub const MAX_MERCHANT_BYTES: usize = 256;
/// Longest merchant category in bytes.
pub const MAX_CATEGORY_BYTES: usize = 64;

type Result<T> = std::result::Result<T, Fault>;

/// A field of the record: its name and what it holds.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'static str,
    pub(super) value: Value<'a>,
}

impl<'a> Field<'a> {
    #[cold]
    pub(super) fn fault(&self, code: RejectCode, expected: impl fmt::Display) -> Fault {
        Fault::new(
            code,
            Some(self.name),
            format!("{} must be {expected}; found {}", self.name, Found(&self.value)),
        )
    }

    #[cold]
    fn missing(&self) -> Fault {
        let message = format!("{} is required; found {}", self.name, Found(&self.value));
        Fault::new(RejectCode::MissingField, Some(self.name), message)
    }

    fn require(&self) -> Result<()> {
        if self.value.is_missing() { Err(self.missing()) } else { Ok(()) }
    }

    /// What `read` makes of the field where it is given.
    #[inline(always)]
    fn optional<T>(&self, read: impl FnOnce(&Self) -> Result<T>) -> Result<Option<T>> {
        if self.value.is_missing() { Ok(None) } else { read(self).map(Some) }
    }

    /// The string, if it holds one.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        match self.value {
            Value::String(text) => Some(text.unescaped()),
            _ => None,
        }
    }

    fn short_text(&self, bytes_max: usize) -> Option<Cow<'a, str>> {
        self.text().filter(|text| (1..=bytes_max).contains(&text.len()))
    }

    fn present_id(&self) -> Result<Cow<'a, str>> {
        self.short_text(MAX_ID_BYTES).filter(|id| !has_control(id)).ok_or_else(|| {
            self.fault(RejectCode::InvalidId, "a string of 1 to 128 bytes without control characters")
        })
    }

    pub(super) fn id(&self) -> Result<Cow<'a, str>> {
        self.require()?;
        self.present_id()
    }

    pub(super) fn optional_id(&self) -> Result<Option<Cow<'a, str>>> {
        self.optional(Self::present_id)
    }

    fn present_text(&self, bytes_max: usize) -> Result<Cow<'a, str>> {
        self.short_text(bytes_max).ok_or_else(|| {
            self.fault(RejectCode::InvalidField, format_args!("a string of 1 to {bytes_max} bytes"))
        })
    }

    pub(super) fn required_text(&self, bytes_max: usize) -> Result<Cow<'a, str>> {
        self.require()?;
        self.present_text(bytes_max)
    }

    pub(super) fn optional_text(&self, bytes_max: usize) -> Result<Option<Cow<'a, str>>> {
        self.optional(|field| field.present_text(bytes_max))
    }

    /// A list of texts, in the order given.
    pub(super) fn optional_texts(&self, bytes_max: usize) -> Result<Option<Vec<String>>> {
        if self.value.is_missing() {
            return Ok(None);
        }
        let wrong = |field: &Self| {
            field.fault(RejectCode::InvalidField, format_args!("a list of strings of 1 to {bytes_max} bytes"))
        };
        let Value::Array(raw, _) = self.value else { return Err(wrong(self)) };
        let mut texts = Vec::new();
        let mut odd = None;
        let scanned = Scanner::new(raw).elements(0, |scanner| {
            let element = Field { name: self.name, value: scanner.value(1)? };
            match element.short_text(bytes_max) {
                Some(text) => texts.push(text.into_owned()),
                None => odd = odd.or(Some(element)),
            }
            Ok(())
        });
        match (scanned, odd) {
            (Ok(()), None) => Ok(Some(texts)),
            (_, odd) => Err(wrong(odd.as_ref().unwrap_or(self))),
        }
    }

    /// The decimal of a string or a number.
    fn decimal_text(&self) -> Option<Cow<'a, str>> {
        match self.value {
            Value::Number(text) => Some(Cow::Borrowed(text)),
            _ => self.text(),
        }
    }

    fn number_text(&self) -> Option<&'a str> {
        match self.value {
            Value::Number(text) => Some(text),
            _ => None,
        }
    }

    /// An amount of a payment: above zero and below 10^15.
    pub(super) fn amount(&self) -> Result<Amount> {
        let amount = self.decimal_text().and_then(|text| Amount::parse(&text).ok());
        amount.filter(|amount| *amount > Amount::ZERO).ok_or_else(|| {
            let expected = "a decimal above 0, below 10^15, with at most 8 decimals, as a string or a number";
            self.fault(RejectCode::InvalidAmount, expected)
        })
    }

    /// An amount of a payment in minor units of `currency`.
    pub(super) fn amount_minor(&self, currency: Option<Currency>) -> Result<Amount> {
        // Until the currency is judged, only the number itself can be at fault.
        let minor_unit = currency.map_or(Some(0), Currency::minor_unit);
        let Some(minor_unit) = minor_unit else {
            let code = currency.unwrap_or(Currency::USD);
            return Err(self.fault(
                RejectCode::InvalidAmount,
                format_args!(
                    "left out for {code}, which has no minor unit in ISO 4217 (send amount instead)"
                ),
            ));
        };
        let amount = self.number_text().and_then(|text| Amount::parse_minor(text, minor_unit).ok());
        amount.filter(|amount| *amount > Amount::ZERO).ok_or_else(|| {
            let expected = "a whole number above 0 of minor units, below 10^15 of the currency, as a number";
            self.fault(RejectCode::InvalidAmount, expected)
        })
    }

    /// A limit of a mandate: zero or more, below 10^15.
    pub(super) fn optional_limit(&self) -> Result<Option<Amount>> {
        self.optional(|field| {
            let amount = field.decimal_text().and_then(|text| Amount::parse(&text).ok());
            amount.filter(|amount| *amount >= Amount::ZERO).ok_or_else(|| {
                let expected =
                    "a decimal of 0 or more, below 10^15, with at most 8 decimals, as a string or a number";
                field.fault(RejectCode::InvalidAmount, expected)
            })
        })
    }

    /// A rate: zero or more, rounded half-even to 1e-8.
    pub(super) fn optional_rate(&self) -> Result<Option<Amount>> {
        self.optional(|field| {
            let rate = field.number_text().and_then(|text| Amount::parse_rounded(text).ok());
            rate.filter(|rate| *rate >= Amount::ZERO)
                .ok_or_else(|| field.fault(RejectCode::InvalidField, "a number of 0 or more, below 10^15"))
        })
    }

    /// A whole number of 0 or more.
    pub(super) fn optional_count(&self) -> Result<Option<u64>> {
        self.optional(|field| {
            let count = field.number_text().and_then(|text| decimal::exact(text, 0).ok());
            count
                .and_then(|count| u64::try_from(count).ok())
                .ok_or_else(|| field.fault(RejectCode::InvalidField, "a whole number of 0 or more"))
        })
    }

    pub(super) fn flag(&self) -> Result<bool> {
        match self.value {
            Value::Absent | Value::Null => Ok(false),
            Value::Bool(flag) => Ok(flag),
            _ => Err(self.fault(RejectCode::InvalidField, "true or false")),
        }
    }

    /// One of a few names; `None` where the field is not given.
    pub(super) fn optional_name<T: Copy>(&self, names: &[(&str, T)], expected: &str) -> Result<Option<T>> {
        self.optional(|field| {
            let text = field.text();
            let found = names.iter().find(|(name, _)| text.as_deref() == Some(*name));
            found.map(|&(_, value)| value).ok_or_else(|| field.fault(RejectCode::InvalidField, expected))
        })
    }

    pub(super) fn currency(&self, base: Currency) -> Result<Currency> {
        if self.value.is_missing() {
            return Ok(base);
        }
        match self.text() {
            Some(text) if text.as_bytes() == base.0 => Ok(base),
            text => text.and_then(|text| Currency::parse(&text)).ok_or_else(|| {
                self.fault(
                    RejectCode::InvalidCurrency,
                    "an ISO 4217 code of three upper-case letters such as USD",
                )
            }),
        }
    }

    pub(super) fn country(&self) -> Result<Option<[u8; 2]>> {
        self.optional(|field| {
            let country = field.text().and_then(|text| crate::money::parse_country(&text));
            country.ok_or_else(|| {
                field.fault(
                    RejectCode::InvalidCountry,
                    "an ISO 3166 code of two upper-case letters such as US",
                )
            })
        })
    }

    /// An angle in units of 1e-7 degree, at most `degrees_max` either way.
    pub(super) fn angle_e7(&self, degrees_max: i32) -> Result<i32> {
        let max = degrees_max * 10_000_000;
        let rounded = self.number_text().and_then(|text| decimal::rounded(text, 7).ok());
        rounded
            .and_then(|(angle, exact)| Some((i32::try_from(angle).ok()?, exact)))
            // At the very end of the range rounding could hide that the value lies beyond it.
            .filter(|&(angle, exact)| {
                angle.abs() < max || (angle.abs() == max && (exact || self.is_within(degrees_max)))
            })
            .map(|(angle, _)| angle)
            .ok_or_else(|| {
                let expected = format_args!("a number of degrees from -{degrees_max} to {degrees_max}");
                self.fault(RejectCode::InvalidLocation, expected)
            })
    }

    /// Whether the number lies within `max` although rounding took it there.
    fn is_within(&self, max: i32) -> bool {
        let whole_part = self.number_text().and_then(|text| Decimal::parse(text).ok()?.truncated(0).ok());
        whole_part.is_some_and(|whole| whole.abs() < i128::from(max))
    }

    fn present_time(&self) -> Result<Timestamp> {
        self.text().and_then(|text| Timestamp::parse(&text)).ok_or_else(|| {
            let expected = "RFC 3339 with offset, in the years 2000 to 2099, such as 2026-05-05T14:01:00Z";
            self.fault(RejectCode::InvalidTime, expected)
        })
    }

    pub(super) fn time(&self) -> Result<Timestamp> {
        self.require()?;
        self.present_time()
    }

    pub(super) fn optional_time(&self) -> Result<Option<Timestamp>> {
        self.optional(Self::present_time)
    }
}

fn has_control(text: &str) -> bool {
    !is_printable_ascii(text.as_bytes()) && text.chars().any(char::is_control)
}

/// Looks at whole pieces, of which the last overlaps the one before it: ids are short.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        let (pieces, _) = bytes.as_chunks::<16>();
        return pieces.iter().all(piece_is_printable) && piece_is_printable(last);
    }
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => piece_is_printable(first) & piece_is_printable(last),
        _ => bytes.iter().all(|byte| (b' '..=b'~').contains(byte)),
    }
}

/// Written without a way out of the loop, so that it becomes a handful of vector instructions.
#[inline(always)]
fn piece_is_printable<const N: usize>(piece: &[u8; N]) -> bool {
    piece.iter().fold(true, |all, byte| all & (b' '..=b'~').contains(byte))
}

/// Prints what was found instead of what was expected; [`Fault::new`] masks and shortens it.
struct Found<'a>(&'a Value<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Absent => f.write_str("nothing"),
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(text) => f.write_str(&crate::reject::shortened(text)),
            Value::String(text) => write!(f, "{:?}", crate::reject::shortened(&text.unescaped())),
            Value::Array(..) => f.write_str("a list"),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}
