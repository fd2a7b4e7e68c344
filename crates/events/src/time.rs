//! Event time: integer microseconds since 1970-01-01T00:00:00Z.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Printed;

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
        let (fraction_us, rest) = match rest {
            [b'.', rest @ ..] => parse_fraction(rest)?,
            rest => (0, rest),
        };
        let instant = Self(local_us + fraction_us - parse_offset(rest)?);
        (Self::MIN_INPUT..=Self::MAX_INPUT).contains(&instant).then_some(instant)
    }

    /// Year, month, day and the microsecond of the day, by the proleptic Gregorian calendar in UTC.
    fn civil(self) -> (i64, u8, u8, i64) {
        let (days, of_day_us) = (self.0.div_euclid(DAY_US), self.0.rem_euclid(DAY_US));
        // Years are counted from March, so that the leap day comes last, in eras of 400 years.
        let days = days + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = narrow(of_year - (153 * month_from_march + 2) / 5 + 1);
        let month = narrow(if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 });
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        (year, month, day, of_day_us)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "callers give 0 to 99")]
const fn narrow(value: i64) -> u8 {
    value as u8
}

/// Microseconds of `YYYY-MM-DDTHH:MM:SS` as if it were UTC.
fn parse_local(text: &[u8; 19]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] = text else {
        return None;
    };
    let year = pair(y1, y2)? * 100 + pair(y3, y4)?;
    let (month, day) = (pair(m1, m2)?, pair(d1, d2)?);
    let (hour, minute, second) = (pair(h1, h2)?, pair(n1, n2)?, pair(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_2000(year, month, day)? + DAYS_TO_2000;
    Some(days * DAY_US + hour * HOUR_US + minute * MINUTE_US + second * SECOND_US)
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

/// Microseconds of the digits after the point, and what follows them.
fn parse_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let padded = digits.iter().map(|digit| i64::from(digit - b'0')).chain(std::iter::repeat(0));
    Some((padded.take(6).fold(0, |us, digit| us * 10 + digit), rest))
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
        let (year, month, day, of_day_us) = self.civil();
        let Some(century) = u8::try_from(year.div_euclid(100)).ok().filter(|century| *century < 100) else {
            return Printed::decimal(self.0.into(), 0);
        };
        let us = of_day_us % SECOND_US;
        let two = |value: i64| [b'0' + narrow(value / 10 % 10), b'0' + narrow(value % 10)];
        let ([y1, y2], [y3, y4]) = (two(i64::from(century)), two(year.rem_euclid(100)));
        let ([m1, m2], [d1, d2]) = (two(month.into()), two(day.into()));
        let ([h1, h2], [n1, n2]) = (two(of_day_us / HOUR_US), two(of_day_us / MINUTE_US % 60));
        let ([s1, s2], [f1, f2]) = (two(of_day_us / SECOND_US % 60), two(us / 10_000));
        let ([f3, f4], [f5, f6]) = (two(us / 100 % 100), two(us % 100));
        let printed: [u8; Self::PRINTED_BYTES] = [
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', f1,
            f2, f3, f4, f5, f6, b'Z',
        ];
        Printed::ascii(printed)
    }
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
