//! Decimal text, judged digit by digit: no float, no overflow, however long the text is.

use std::hash::Hasher;

/// Why a decimal text has no value at the asked scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Not a decimal in JSON's grammar for numbers.
    Syntax,
    /// The value has more decimals than the scale holds.
    TooPrecise,
    /// More digits than 38 before the end of the scale.
    OutOfRange,
}

/// A decimal text taken apart: `±0.DIGITS × 10^k`, where DIGITS neither begins nor ends with zero.
///
/// Two texts of one value come apart alike: `12.50`, `12.5` and `1.25e1` are equal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal<'a> {
    negative: bool,
    /// The significant digits are those of `head` followed by those of `tail`; none for zero.
    head: &'a [u8],
    tail: &'a [u8],
    /// Power of ten of the last significant digit.
    exponent: i64,
    /// Whether the exponent was too long to be held, and `exponent` only says its sign.
    huge_exponent: bool,
}

/// The integer part at a scale, and what was cut off.
#[derive(Debug, Clone, Copy)]
struct Cut {
    magnitude: u128,
    /// The first digit cut off.
    next: u8,
    /// Whether any digit after it is not zero.
    more: bool,
}

/// Exponents beyond this are only told apart by their text; no value that far out is in any range.
const EXPONENT_MAX: i64 = 1_000_000_000_000;

/// Digits that an `i128` always holds.
const DIGITS_MAX: i64 = 38;

/// The value of `text` in units of 10^-`scale`, exactly.
pub(crate) fn exact(text: &str, scale: usize) -> Result<i128, DecimalError> {
    match short(text.as_bytes(), scale) {
        Some(units) => Ok(units),
        None => Decimal::parse(text)?.exact(scale as i64),
    }
}

/// The value of `text` in units of 10^-`scale`, rounded half to even, and whether it was exact.
pub(crate) fn rounded(text: &str, scale: usize) -> Result<(i128, bool), DecimalError> {
    match short(text.as_bytes(), scale) {
        Some(units) => Ok((units, true)),
        None => Decimal::parse(text)?.rounded(scale as i64),
    }
}

/// The value of what nearly all texts are: a few digits with no more decimals than the scale holds, and no
/// exponent. `None` for any other text, which may have a value all the same.
fn short(text: &[u8], scale: usize) -> Option<i128> {
    /// That many digits always fit in 64 bits.
    const BYTES_MAX: usize = 19;
    const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > BYTES_MAX {
        return None;
    }
    let (mut value, mut point) = (0_u64, None);
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let whole = point.unwrap_or(digits.len());
    let decimals = point.map_or(0, |at| digits.len() - at - 1);
    let grammatical = whole == 1 || (whole > 1 && digits.first() != Some(&b'0'));
    if !grammatical || (point.is_some() && decimals == 0) {
        return None;
    }
    let units = i128::from(value) * i128::from(*POWERS.get(scale.checked_sub(decimals)?)?);
    Some(if negative { -units } else { units })
}

impl<'a> Decimal<'a> {
    /// Takes `text` apart; it must follow JSON's grammar for numbers.
    pub(crate) fn parse(text: &'a str) -> Result<Self, DecimalError> {
        Self::take_apart(text).ok_or(DecimalError::Syntax)
    }

    fn take_apart(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (negative, rest) = match bytes.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, bytes),
        };
        let (whole, rest) = leading_digits(rest);
        if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
            return None;
        }
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => {
                let (fraction, rest) = leading_digits(rest);
                if fraction.is_empty() {
                    return None;
                }
                (fraction, rest)
            }
            _ => (rest.get(..0)?, rest),
        };
        let (exponent, huge_exponent) = exponent(rest)?;
        Some(Self::normal(negative, whole, fraction, exponent, huge_exponent))
    }

    fn normal(negative: bool, whole: &'a [u8], fraction: &'a [u8], exponent: i64, huge: bool) -> Self {
        let mut exponent = exponent.saturating_sub_unsigned(fraction.len() as u64);
        let mut head = without_leading_zeros(whole);
        let mut tail = if head.is_empty() { without_leading_zeros(fraction) } else { fraction };
        let trimmed = without_trailing_zeros(tail);
        exponent = exponent.saturating_add_unsigned((tail.len() - trimmed.len()) as u64);
        tail = trimmed;
        if tail.is_empty() {
            let trimmed = without_trailing_zeros(head);
            exponent = exponent.saturating_add_unsigned((head.len() - trimmed.len()) as u64);
            head = trimmed;
        }
        if head.is_empty() && tail.is_empty() {
            return Self { negative: false, head, tail, exponent: 0, huge_exponent: false };
        }
        Self { negative, head, tail, exponent, huge_exponent: huge }
    }

    fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.head.iter().chain(self.tail).map(|digit| digit - b'0')
    }

    fn digit_count(&self) -> i64 {
        i64::try_from(self.head.len() + self.tail.len()).unwrap_or(i64::MAX)
    }

    /// The value in units of 10^-`scale`, exactly.
    pub(crate) fn exact(&self, scale: i64) -> Result<i128, DecimalError> {
        let cut = self.cut(scale)?;
        if cut.next != 0 || cut.more {
            return Err(DecimalError::TooPrecise);
        }
        self.signed(cut.magnitude)
    }

    /// The value in units of 10^-`scale`, rounded half to even, and whether it was exact.
    pub(crate) fn rounded(&self, scale: i64) -> Result<(i128, bool), DecimalError> {
        let cut = self.cut(scale)?;
        let half = cut.next == 5 && !cut.more;
        let up = if half { cut.magnitude & 1 == 1 } else { cut.next >= 5 };
        let exact = cut.next == 0 && !cut.more;
        Ok((self.signed(cut.magnitude + u128::from(up))?, exact))
    }

    /// The value in units of 10^-`scale`, cut towards zero.
    pub(crate) fn truncated(&self, scale: i64) -> Result<i128, DecimalError> {
        self.signed(self.cut(scale)?.magnitude)
    }

    fn signed(&self, magnitude: u128) -> Result<i128, DecimalError> {
        let value = i128::try_from(magnitude).map_err(|_| DecimalError::OutOfRange)?;
        Ok(if self.negative { -value } else { value })
    }

    /// Looks at no more than 40 digits, however many there are.
    fn cut(&self, scale: i64) -> Result<Cut, DecimalError> {
        let shift = self.exponent.saturating_add(scale);
        let count = self.digit_count();
        let kept = count.saturating_add(shift);
        if count == 0 {
            return Ok(Cut { magnitude: 0, next: 0, more: false });
        }
        if kept > DIGITS_MAX {
            return Err(DecimalError::OutOfRange);
        }
        if kept < 0 {
            return Ok(Cut { magnitude: 0, next: 0, more: true });
        }
        let mut digits = self.digits();
        // Nearly every value fits in 64 bits, where this is several times cheaper.
        let mut low: u64 = 0;
        for _ in 0..kept.min(18) {
            low = low * 10 + u64::from(digits.next().unwrap_or(0));
        }
        let mut magnitude = u128::from(low);
        for _ in 18..kept {
            magnitude = magnitude * 10 + u128::from(digits.next().unwrap_or(0));
        }
        let next = digits.next().unwrap_or(0);
        Ok(Cut { magnitude, next, more: digits.next().is_some() })
    }

    /// Feeds the value to `hasher`, so that texts of one value hash alike.
    ///
    /// Exponents beyond 10^12 count as one: nothing that far out is in the range of a known field.
    pub(crate) fn hash(&self, hasher: &mut impl Hasher) {
        let exponent = if self.huge_exponent { self.exponent.signum() * EXPONENT_MAX } else { self.exponent };
        hasher.write_u8(u8::from(self.negative));
        hasher.write_i64(exponent);
        hasher.write_u64(self.digit_count().unsigned_abs());
        hasher.write(self.head);
        hasher.write(self.tail);
    }
}

fn leading_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    bytes.split_at(end)
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let start = digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    digits.get(start..).unwrap_or_default()
}

fn without_trailing_zeros(digits: &[u8]) -> &[u8] {
    let end = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    digits.get(..end).unwrap_or_default()
}

/// The exponent at the end of a number, and whether it was beyond [`EXPONENT_MAX`].
fn exponent(bytes: &[u8]) -> Option<(i64, bool)> {
    let digits = match bytes {
        [] => return Some((0, false)),
        [b'e' | b'E', rest @ ..] => rest,
        _ => return None,
    };
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value =
        digits.iter().fold(0, |value: i64, digit| (value * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX));
    Some((if negative { -value } else { value }, value == EXPONENT_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::{Decimal, DecimalError};
    use proptest::prelude::*;

    fn exact(text: &str, scale: i64) -> Result<i128, DecimalError> {
        Decimal::parse(text).and_then(|decimal| decimal.exact(scale))
    }

    /// The short way and the long way give one answer.
    #[track_caller]
    fn check_short(text: &str) {
        for scale in [0, 2, 7, 8] {
            let long = Decimal::parse(text);
            let scale_long = i64::try_from(scale).unwrap();
            assert_eq!(super::exact(text, scale), long.and_then(|long| long.exact(scale_long)), "{text}");
            assert_eq!(super::rounded(text, scale), long.and_then(|long| long.rounded(scale_long)), "{text}");
        }
    }

    #[test]
    fn short_texts() {
        for text in [
            "",
            "-",
            ".",
            "-.",
            "0",
            "-0",
            "00",
            "01",
            "-01",
            "0.",
            "-0.0",
            ".5",
            "5.",
            "1.2.3",
            "1..2",
            "1e2",
            "12.50",
            "0.00000001",
            "0.000000010",
            "0.000000001",
            "9999999999999999999",
            "99999999999999999999",
            "-9999999999999999999",
            "999999999999999999.9",
            "9.999999999999999999",
            "1-2",
            "--1",
            "+1",
            "1 ",
        ] {
            check_short(text);
        }
    }

    proptest! {
        #[test]
        fn short_and_long_agree(text in "-?[0-9]{0,12}(\\.[0-9]{0,10})?|-?[0-9.]{0,22}|[-+0-9.eE ]{0,8}") {
            check_short(&text);
        }
    }

    #[test]
    fn values_are_exact() {
        let long_zeros = format!("1.{}", "0".repeat(400));
        for (text, scale, value) in [
            ("0", 8, 0),
            ("-0", 8, 0),
            ("0e999999999999999999999", 8, 0),
            ("1e2", 8, 10_000_000_000),
            ("1E+2", 0, 100),
            ("100", 0, 100),
            ("12.50", 2, 1250),
            ("1250e-2", 2, 1250),
            ("0.00000001", 8, 1),
            ("-0.5", 1, -5),
            (long_zeros.as_str(), 8, 100_000_000),
            ("1000000000000000000000000000000000000000e-30", 0, 1_000_000_000),
        ] {
            assert_eq!(exact(text, scale), Ok(value), "{text}");
        }
    }

    #[test]
    fn faults_are_told_apart() {
        let digits = "9".repeat(400);
        for (text, fault) in [
            ("0.000000001", DecimalError::TooPrecise),
            ("1e-999999999", DecimalError::TooPrecise),
            ("1e999999999", DecimalError::OutOfRange),
            (digits.as_str(), DecimalError::OutOfRange),
            ("", DecimalError::Syntax),
            ("-", DecimalError::Syntax),
            ("+1", DecimalError::Syntax),
            ("01", DecimalError::Syntax),
            ("1.", DecimalError::Syntax),
            (".5", DecimalError::Syntax),
            ("1e", DecimalError::Syntax),
            ("1e+", DecimalError::Syntax),
            ("NaN", DecimalError::Syntax),
            ("1 ", DecimalError::Syntax),
            ("1,5", DecimalError::Syntax),
            ("١", DecimalError::Syntax),
        ] {
            assert_eq!(exact(text, 8), Err(fault), "{text}");
        }
    }

    #[test]
    fn rounding_is_half_to_even() {
        for (text, value, exact) in [
            ("0.00000005", 0, false),
            ("-0.00000005", 0, false),
            ("0.00000015", 2, false),
            ("0.00000025", 2, false),
            ("0.000000250", 2, false),
            ("0.0000002500001", 3, false),
            ("0.00000006", 1, false),
            ("0.000000051", 1, false),
            ("0.000000049", 0, false),
            ("1e-400", 0, false),
            ("-52.5", -525_000_000, true),
            ("9e1", 900_000_000, true),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().rounded(7), Ok((value, exact)), "{text}");
        }
    }
}
