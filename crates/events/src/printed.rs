//! Decimals and times as text, without the formatter and without the heap: they stand in every record.
//!
//! Digits are made eight at a time and written as one word, of which the part that is wanted is kept.

/// What takes text in: the buffer of a record, or a short text on the stack.
pub(crate) trait Sink {
    /// Appends the first `length` bytes of `bytes`.
    fn put<const N: usize>(&mut self, bytes: &[u8; N], length: usize);
}

impl Sink for Vec<u8> {
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        let end = self.len() + length;
        // A copy of a length that is known when compiled is a move or two; the surplus is taken back.
        self.extend_from_slice(bytes);
        self.truncate(end);
    }
}

/// A short text.
#[derive(Debug, Clone, Copy)]
pub struct Printed {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl Printed {
    /// Sign, 39 digits, point; and room for the surplus of the last word.
    const BYTES_MAX: usize = 48;

    /// The text that `print` writes.
    pub(crate) fn of(print: impl FnOnce(&mut Self)) -> Self {
        let mut printed = Self { bytes: [0; Self::BYTES_MAX], length: 0 };
        print(&mut printed);
        printed
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }
}

impl Sink for Printed {
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        if let Some(place) = self.bytes.get_mut(self.length..self.length + N) {
            place.copy_from_slice(bytes);
            self.length += length;
        }
    }
}

/// Digits in a word.
const WORD_DIGITS: usize = 8;
/// What a word of digits counts to.
const WORD: u64 = 100_000_000;
/// The digit zero in every byte of a word.
const ZEROS: u64 = u64::from_le_bytes([b'0'; WORD_DIGITS]);

/// Prints `units` of which `10^(8 × WORDS)` make one, without trailing zeros; `WORDS` is 1 or 2.
#[inline]
pub(crate) fn decimal<const WORDS: u32>(out: &mut impl Sink, units: i128) {
    const { assert!(WORDS == 1 || WORDS == 2, "one unit must fit in 64 bits") };
    if units < 0 {
        out.put(b"-", 1);
    }
    let one = const { WORD.pow(WORDS) };
    // Most values fit in 64 bits, where division is several times cheaper.
    match u64::try_from(units.unsigned_abs()) {
        Ok(small) => {
            natural(out, small / one);
            fraction::<WORDS>(out, small % one);
        }
        Err(_) => wide_decimal::<WORDS>(out, units.unsigned_abs()),
    }
}

#[cold]
fn wide_decimal<const WORDS: u32>(out: &mut impl Sink, magnitude: u128) {
    let one = u128::from(const { WORD.pow(WORDS) });
    wide_natural(out, magnitude / one);
    fraction::<WORDS>(out, u64::try_from(magnitude % one).unwrap_or_default());
}

/// Prints a whole number.
#[inline]
pub(crate) fn integer(out: &mut impl Sink, number: i64) {
    if number < 0 {
        out.put(b"-", 1);
    }
    natural(out, number.unsigned_abs());
}

/// Prints a whole number that has no sign.
#[inline]
pub(crate) fn natural(out: &mut impl Sink, number: u64) {
    if number < WORD {
        return leading(out, number);
    }
    long_natural(out, number);
}

fn long_natural(out: &mut impl Sink, number: u64) {
    let (front, last) = (number / WORD, number % WORD);
    if front < WORD {
        leading(out, front);
    } else {
        leading(out, front / WORD);
        full(out, front % WORD);
    }
    full(out, last);
}

fn wide_natural(out: &mut impl Sink, number: u128) {
    match u64::try_from(number) {
        Ok(number) => natural(out, number),
        Err(_) => {
            let word = u128::from(WORD);
            wide_natural(out, number / word);
            full(out, u64::try_from(number % word).unwrap_or_default());
        }
    }
}

#[inline]
fn fraction<const WORDS: u32>(out: &mut impl Sink, fraction: u64) {
    if fraction == 0 {
        return;
    }
    out.put(b".", 1);
    if WORDS == 1 {
        return trailing(out, fraction);
    }
    let (first, last) = (fraction / WORD, fraction % WORD);
    if last == 0 {
        trailing(out, first);
    } else {
        full(out, first);
        trailing(out, last);
    }
}

/// Prints a word without its leading zeros; zero keeps its last digit.
#[inline(always)]
fn leading(out: &mut impl Sink, number: u64) {
    let word = eight_digits(number);
    let zeros = ((word ^ ZEROS) | 1 << 56).trailing_zeros() / 8;
    out.put(&(word >> (8 * zeros)).to_le_bytes(), WORD_DIGITS - zeros as usize);
}

/// Prints a word with all its digits.
#[inline(always)]
fn full(out: &mut impl Sink, number: u64) {
    out.put(&eight_digits(number).to_le_bytes(), WORD_DIGITS);
}

/// Prints a word without its trailing zeros.
#[inline(always)]
fn trailing(out: &mut impl Sink, number: u64) {
    let word = eight_digits(number);
    let zeros = (word ^ ZEROS).leading_zeros() / 8;
    out.put(&word.to_le_bytes(), WORD_DIGITS - zeros as usize);
}

/// The digits of a number below 10^8, the first in the lowest byte.
///
/// The number is halved into lanes of four, two and one digits. Each step divides all lanes at once:
/// multiplying by `10486 / 2^20` divides what has four digits by 100, by `103 / 2^10` what has two by 10.
#[inline(always)]
pub(crate) fn eight_digits(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    let ones = tens | ((twos - tens * 10) << 8);
    ones | ZEROS
}

#[cfg(test)]
mod tests {
    use super::{Printed, decimal, eight_digits, integer, natural};
    use proptest::prelude::*;

    fn decimal_8(units: i128) -> String {
        Printed::of(|out| decimal::<1>(out, units)).as_str().to_owned()
    }

    fn decimal_16(units: i128) -> String {
        Printed::of(|out| decimal::<2>(out, units)).as_str().to_owned()
    }

    fn whole(number: u64) -> String {
        Printed::of(|out| natural(out, number)).as_str().to_owned()
    }

    fn signed(number: i64) -> String {
        Printed::of(|out| integer(out, number)).as_str().to_owned()
    }

    #[test]
    fn decimals_in_their_one_form() {
        let check = |printed: String, text: &str| assert_eq!(printed, text);
        check(decimal_8(0), "0");
        check(decimal_8(25_641_000_000), "256.41");
        check(decimal_8(43_500_000_000), "435");
        check(decimal_8(-50_000_000), "-0.5");
        check(decimal_8(1), "0.00000001");
        check(decimal_8(-1), "-0.00000001");
        check(decimal_8(99_999_999_999_999_999_999_999), "999999999999999.99999999");
        check(decimal_8(u64::MAX.into()), "184467440737.09551615");
        check(decimal_8(i128::from(u64::MAX) + 1), "184467440737.09551616");
        check(decimal_8(-i128::from(u64::MAX) - 1), "-184467440737.09551616");
        check(decimal_8(i128::MAX), "1701411834604692317316873037158.84105727");
        check(decimal_8(i128::MIN), "-1701411834604692317316873037158.84105728");
        check(decimal_16(0), "0");
        check(decimal_16(1), "0.0000000000000001");
        check(decimal_16(100_000_000), "0.00000001");
        check(decimal_16(-306_410_000_000_000_000), "-30.641");
        check(decimal_16(u64::MAX.into()), "1844.6744073709551615");
        check(decimal_16(i128::from(u64::MAX) + 1), "1844.6744073709551616");
        check(decimal_16(i128::MAX), "17014118346046923173168.7303715884105727");
        check(decimal_16(i128::MIN), "-17014118346046923173168.7303715884105728");
    }

    /// The same text, put together by the formatter.
    fn formatted(units: i128, decimals: usize) -> String {
        let digits = format!("{:0>1$}", units.unsigned_abs(), decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let sign = if units < 0 { "-" } else { "" };
        let text = format!("{sign}{whole}.{fraction}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    #[test]
    fn every_power_of_ten_and_its_neighbours() {
        let powers = (0..39).map(|exponent| 10_i128.pow(exponent));
        for units in powers.flat_map(|power| [power - 1, power, power + 1, -power, 5 * (power / 10)]) {
            assert_eq!(decimal_8(units), formatted(units, 8));
            assert_eq!(decimal_16(units), formatted(units, 16));
            if let Ok(number) = u64::try_from(units) {
                assert_eq!(whole(number), number.to_string());
            }
        }
        for number in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(signed(number), number.to_string());
        }
    }

    #[test]
    fn four_digits_of_every_value_in_either_half() {
        for number in 0..10_000 {
            assert_eq!(eight_digits(number).to_le_bytes(), *format!("{number:08}").as_bytes());
            assert_eq!(
                eight_digits(number * 10_000).to_le_bytes(),
                *format!("{:08}", number * 10_000).as_bytes()
            );
        }
    }

    proptest! {
        #[test]
        fn prints_as_the_formatter_does(wide in any::<i128>(), shift in 0_u32..128, number in any::<i64>()) {
            let units = wide >> shift;
            prop_assert_eq!(decimal_8(units), formatted(units, 8));
            prop_assert_eq!(decimal_16(units), formatted(units, 16));
            prop_assert_eq!(signed(number), number.to_string());
            let mut line = b"line:".to_vec();
            decimal::<1>(&mut line, units);
            prop_assert_eq!(line, format!("line:{}", formatted(units, 8)).into_bytes());
        }
    }
}
