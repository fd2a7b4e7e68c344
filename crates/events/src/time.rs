//! Event time: integer microseconds since 1970-01-01T00:00:00Z.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Printed;
use crate::printed::{self, Sink, eight_digits};

/// Microseconds in one second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds in one minute.
pub const MINUTE_US: i64 = 60 * SECOND_US;
/// Microseconds in one hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;
/// Microseconds in one day.
pub const DAY_US: i64 = 24 * HOUR_US;

/// A point in event time, in microseconds since the Unix epoch.
///
/// Accepted input lies in the years 2000 to 2099 (UTC). Printed as
/// `2026-05-05T14:01:00.000000Z`, always with six digits and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Days from 1970-01-01 to 2000-01-01.
const DAYS_TO_2000: i64 = 10_957;

impl Timestamp {
    /// Length of the printed form in bytes.
    pub const PRINTED_BYTES: usize = 27;
    /// The first instant accepted, 2000-01-01T00:00:00Z.
    pub const MIN_INPUT: Self = Self(DAYS_TO_2000 * DAY_US);
    /// The last instant accepted, one microsecond before the year 2100.
    pub const MAX_INPUT: Self = Self((DAYS_TO_2000 + 36_525) * DAY_US - 1);

    /// Reads RFC 3339 with upper-case `T` and `Z` or a numeric offset of at most ±23:59.
    ///
    /// Digits past the microsecond are cut. The years 2000 to 2099 are those of the instant in UTC,
    /// not of the local date: `1999-12-31T23:00:00-02:00` is accepted, being in 2000. Second 60 is
    /// not. `-00:00` is, as RFC 3339 has it. `None` for everything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date_time, rest) = text.as_bytes().split_first_chunk::<19>()?;
        let local_us = parse_local(date_time)?;
        let instant = Self(local_us + parse_rest(rest)?);
        (Self::MIN_INPUT..=Self::MAX_INPUT).contains(&instant).then_some(instant)
    }
}

/// Microseconds of `YYYY-MM-DDTHH:MM:SS` as if it were UTC.
fn parse_local(text: &[u8; 19]) -> Option<i64> {
    let [y1, _, y2, _, _, month, ..] = pairs(text.first_chunk()?, b"0000-00-")?;
    let [day, _, _, hour, _, _, minute, _] = pairs(text.get(8..)?.first_chunk()?, b"00T00:00")?;
    let [_, _, _, _, _, _, second, _] = pairs(text.last_chunk()?, b"00:00:00")?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_2000(y1 * 100 + y2, month, day)? + DAYS_TO_2000;
    Some(days * DAY_US + hour * HOUR_US + minute * MINUTE_US + second * SECOND_US)
}

/// Reads eight bytes of the form `template`, in which a zero stands for any digit: the value of each byte
/// and the one behind it as two digits, which has a meaning where both are digits.
#[inline(always)]
fn pairs(text: &[u8; 8], template: &[u8; 8]) -> Option<[i64; 8]> {
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    // Digits become 0 to 9 and what stands as in the template 0. Adding sets the top bit of all else.
    let values = u64::from_le_bytes(*text) ^ u64::from_le_bytes(*template);
    let room = u64::from_le_bytes(template.map(|byte| if byte == b'0' { 0x80 - 10 } else { 0x80 - 1 }));
    let wrong = (((values & !TOPS) + room) | values) & TOPS;
    (wrong == 0).then(|| (values * 10 + (values >> 8)).to_le_bytes().map(i64::from))
}

/// Days since 2000-01-01. Offsets are under a day, so only 1999 to 2100 can lead into the range.
fn days_from_2000(year: i64, month: i64, day: i64) -> Option<i64> {
    const BEFORE_MONTH: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    if !(1999..=2100).contains(&year) {
        return None;
    }
    let at = usize::try_from(month).ok()?;
    let before = *BEFORE_MONTH.get(at.checked_sub(1)?)?;
    let leap = year % 4 == 0 && year != 2100;
    let days_in_month = BEFORE_MONTH.get(at)? - before + i64::from(leap && month == 2);
    if day < 1 || day > days_in_month {
        return None;
    }
    let years = year - 2000;
    // 2000 is a leap year and 2100 is the first that is not, so every fourth year counts.
    Some(years * 365 + (years + 3).div_euclid(4) + before + i64::from(leap && month > 2) + day - 1)
}

/// Microseconds of the fraction, where there is one, less what local time is ahead of UTC.
fn parse_rest(text: &[u8]) -> Option<i64> {
    // As Weir itself prints it.
    if let Ok(text) = text.try_into()
        && let Some([_, f1, _, f2, _, f3, ..]) = pairs(text, b".000000Z")
    {
        return Some((f1 * 100 + f2) * 100 + f3);
    }
    let (fraction_us, rest) = match text {
        [b'.', rest @ ..] => parse_fraction(rest)?,
        rest => (0, rest),
    };
    Some(fraction_us - parse_offset(rest)?)
}

/// Microseconds in a unit of the last of so many digits after the point.
const US_PER_DIGIT: [i64; 7] = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// Microseconds of the digits after the point, and what follows them.
fn parse_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let kept = digits.get(..6).unwrap_or(digits);
    let value = kept.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((value * US_PER_DIGIT.get(kept.len())?, rest))
}

/// Microseconds that local time is ahead of UTC.
fn parse_offset(text: &[u8]) -> Option<i64> {
    match *text {
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hour, minute) = (pair(h1, h2)?, pair(m1, m2)?);
            let ahead_us = hour * HOUR_US + minute * MINUTE_US;
            (hour <= 23 && minute <= 59).then_some(if sign == b'-' { -ahead_us } else { ahead_us })
        }
        _ => None,
    }
}

/// The value of two digits.
fn pair(tens: u8, units: u8) -> Option<i64> {
    let (tens, units) = (tens.wrapping_sub(b'0'), units.wrapping_sub(b'0'));
    (tens <= 9 && units <= 9).then_some(i64::from(tens) * 10 + i64::from(units))
}

impl Timestamp {
    /// The printed form; a time outside the years 0 to 9999, which no input has, is given as a number.
    #[must_use]
    pub fn printed(self) -> Printed {
        Printed::of(|out| self.print(out))
    }

    /// Appends the printed form.
    #[inline]
    pub(crate) fn print(self, out: &mut impl Sink) {
        let since_year_0_us = self.0.checked_add(YEAR_0_TO_1970_DAYS * DAY_US);
        let since_year_0_us = since_year_0_us.and_then(|us| u64::try_from(us).ok());
        match since_year_0_us.filter(|us| *us < YEAR_0_TO_10000_DAYS * DAY_US.unsigned_abs()) {
            Some(us) => print_civil(out, us),
            None => printed::integer(out, self.0),
        }
    }
}

/// Days from 0000-01-01 to 1970-01-01.
const YEAR_0_TO_1970_DAYS: i64 = 719_528;
/// Days from 0000-01-01 to 10000-01-01.
const YEAR_0_TO_10000_DAYS: u64 = 3_652_425;

/// Prints a time of the years 0 to 9999, given in microseconds since 0000-01-01.
#[inline]
fn print_civil(out: &mut impl Sink, since_year_0_us: u64) {
    let seconds = since_year_0_us / SECOND_US.unsigned_abs();
    let us = since_year_0_us % SECOND_US.unsigned_abs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (minute, second) = (second / 60, second % 60);
    let (hour, minute) = (minute / 60, minute % 60);
    let [y1, y2, y3, y4, m1, m2, d1, d2] = eight_digits(date_number(days)).to_le_bytes();
    let [_, _, h1, h2, n1, n2, s1, s2] = eight_digits(hour * 10_000 + minute * 100 + second).to_le_bytes();
    let [_, _, f1, f2, f3, f4, f5, f6] = eight_digits(us).to_le_bytes();
    let text: [u8; Timestamp::PRINTED_BYTES] = [
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', f1, f2,
        f3, f4, f5, f6, b'Z',
    ];
    out.put(&text, Timestamp::PRINTED_BYTES);
}

/// The digits of the day `days` after 0000-01-01 as one number, `YYYYMMDD`, by the proleptic Gregorian
/// calendar.
fn date_number(days: u64) -> u64 {
    // Years are counted from March, so that the leap day comes last; an era of 400 years is added, so that
    // nothing is negative.
    let days = days + 146_097 - 60;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = (era * 400 + year_of_era + u64::from(month <= 2)).saturating_sub(400);
    year * 10_000 + month * 100 + day
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.printed().as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::Timestamp;
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    /// `None` means refused.
    #[track_caller]
    fn check(text: &str, printed: Option<&str>) {
        assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), printed, "{text}");
    }

    #[test]
    fn accepted_times() {
        check("2026-05-05T14:01:00Z", Some("2026-05-05T14:01:00.000000Z"));
        check("2026-05-05T14:01:00.5+02:00", Some("2026-05-05T12:01:00.500000Z"));
        check("2026-05-05T14:01:00.1234569-00:00", Some("2026-05-05T14:01:00.123456Z"));
        check("2024-02-29T23:59:59.999999999Z", Some("2024-02-29T23:59:59.999999Z"));
        check("1999-12-31T23:00:00-02:00", Some("2000-01-01T01:00:00.000000Z"));
        check("2100-01-01T00:59:59+01:00", Some("2099-12-31T23:59:59.000000Z"));
        check("2000-01-01T00:00:00Z", Some("2000-01-01T00:00:00.000000Z"));
        check("2099-12-31T23:59:59.999999Z", Some("2099-12-31T23:59:59.999999Z"));
        check("2026-05-05T00:00:00+23:59", Some("2026-05-04T00:01:00.000000Z"));
        let long = format!("2026-05-05T14:01:00.{}Z", "9".repeat(5_000));
        check(&long, Some("2026-05-05T14:01:00.999999Z"));
    }

    #[test]
    fn refused_times() {
        for text in [
            "",
            "2026-05-05",
            "2026-05-05T14:01:00",
            "2026-05-05t14:01:00Z",
            "2026-05-05T14:01:00z",
            "2026-05-05 14:01:00Z",
            "2026-05-05T14:01:60Z",
            "2026-05-05T24:00:00Z",
            "2026-05-05T14:60:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-13-10T00:00:00Z",
            "2026-05-00T00:00:00Z",
            "2026-05-05T14:01:00.Z",
            "2026-05-05T14:01:00,5Z",
            "2026-05-05T14:01Z",
            "2026-05-05T14:01:00+24:00",
            "2026-05-05T14:01:00+02:60",
            "2026-05-05T14:01:00+0200",
            "2026-05-05T14:01:00+02",
            "2026-05-05T14:01:00 Z",
            "2026-05-05T14:01:00Z ",
            "2026-05-05T14:01:00Z\0",
            "1999-12-31T23:59:59Z",
            "2100-01-01T00:00:00Z",
            "2000-01-01T00:00:00+00:01",
            "2099-12-31T23:59:59-00:01",
            "+026-05-05T14:01:00Z",
            "２026-05-05T14:01:00Z",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn reads_as_chrono_does(
            us in Timestamp::MIN_INPUT.0..=Timestamp::MAX_INPUT.0,
            offset_min in -1439_i32..=1439,
        ) {
            let utc = DateTime::from_timestamp_micros(us).unwrap();
            let local = utc.with_timezone(&chrono::FixedOffset::east_opt(offset_min * 60).unwrap());
            prop_assert_eq!(Timestamp::parse(&local.to_rfc3339_opts(SecondsFormat::Nanos, true)), Some(Timestamp(us)));
            prop_assert_eq!(Timestamp(us).to_string(), utc.to_rfc3339_opts(SecondsFormat::Micros, true));
        }

        #[test]
        fn prints_every_year_that_has_four_digits(us in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            let utc = DateTime::from_timestamp_micros(us).unwrap();
            prop_assert_eq!(Timestamp(us).to_string(), utc.to_rfc3339_opts(SecondsFormat::Micros, true));
        }

        #[test]
        fn calendar_days_are_those_of_chrono(year in 1990_i32..2110, month in 0_u32..14, day in 0_u32..33, hour in 0_u32..26) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:30:00Z");
            let theirs = DateTime::parse_from_rfc3339(&text).ok().map(|time| Timestamp(time.timestamp_micros()));
            let theirs = theirs.filter(|time| (Timestamp::MIN_INPUT..=Timestamp::MAX_INPUT).contains(time));
            prop_assert_eq!(Timestamp::parse(&text), theirs);
        }

        #[test]
        fn no_text_panics(text in "[0-9T:.Z+ -]{0,40}|\\PC{0,40}", us in any::<i64>()) {
            let _ = Timestamp::parse(&text);
            prop_assert!(!Timestamp(us).to_string().is_empty());
        }
    }
}
