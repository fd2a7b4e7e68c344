//! Lengths of time as configuration writes them: `"60s"`, `"5m"`, `"24h"`, `"50ms"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in microseconds, never negative.
///
/// Read from a whole number and a unit (`us`, `ms`, `s`, `m`, `h`, `d`), printed with the largest
/// unit that divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub i64);

/// Units, largest first, with their length in microseconds.
const UNITS: [(&str, i64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The longest span that is accepted: 100 years.
pub const SPAN_US_MAX: i64 = 36_525 * 86_400_000_000;

impl Span {
    /// Whole seconds.
    #[must_use]
    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// Whole minutes.
    #[must_use]
    pub const fn minutes(minutes: i64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// Whole hours.
    #[must_use]
    pub const fn hours(hours: i64) -> Self {
        Self::minutes(hours * 60)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, length): &&(&str, i64)| self.0 % length == 0 && self.0 >= length;
        match UNITS.iter().find(fits) {
            Some((unit, length)) => write!(f, "{}{unit}", self.0 / length),
            None => f.write_str("0s"),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a length of time; write a whole number and a unit, such as \"60s\", \"5m\", \"24h\" or \"50ms\""
            )
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let length = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?.1;
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let span = number.checked_mul(length).filter(|&us| us <= SPAN_US_MAX);
        span.map(Self).ok_or_else(|| format!("`{text}` is longer than 100 years"))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn reads_what_it_prints() {
        for (text, us) in
            [("50ms", 50_000), ("60s", 60_000_000), ("24h", 86_400_000_000), ("0s", 0), ("7us", 7)]
        {
            assert_eq!(text.parse::<Span>(), Ok(Span(us)));
            assert_eq!(Span(us).to_string().parse::<Span>(), Ok(Span(us)));
        }
        assert_eq!(Span(60_000_000).to_string(), "1m");
        for text in ["", "5", "s", "-5s", "5 parsecs", "1.5s", "40000d", "99999999999999999999s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
