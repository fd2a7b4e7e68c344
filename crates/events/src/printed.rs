//! Decimals and times as text, on the stack and without the formatter: they stand in every record.

/// A short text.
#[derive(Debug, Clone, Copy)]
pub struct Printed {
    bytes: [u8; Self::BYTES_MAX],
    start: usize,
}

impl Printed {
    /// Sign, 39 digits, point.
    const BYTES_MAX: usize = 48;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let written = self.bytes.get(self.start..).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }

    /// A text of ASCII characters.
    pub(crate) fn ascii<const N: usize>(text: [u8; N]) -> Self {
        let mut printed = Self::empty();
        printed.start = Self::BYTES_MAX - N;
        if let Some(place) = printed.bytes.get_mut(printed.start..) {
            place.copy_from_slice(&text);
        }
        printed
    }

    /// `units` of which `10^decimals` make one, without trailing zeros.
    pub(crate) fn decimal(units: i128, decimals: u32) -> Self {
        let mut printed = Self::empty();
        let magnitude = units.unsigned_abs();
        // Most values fit in 64 bits, where division is several times cheaper.
        match (u64::try_from(magnitude), 10_u64.checked_pow(decimals)) {
            (Ok(small), Some(one)) => {
                printed.fraction(small % one, decimals);
                printed.digits(small / one);
            }
            _ => {
                let one = 10_u128.pow(decimals);
                printed.fraction(u64::try_from(magnitude % one).unwrap_or_default(), decimals);
                printed.wide_digits(magnitude / one);
            }
        }
        if units < 0 {
            printed.put(b'-');
        }
        printed
    }

    fn empty() -> Self {
        Self { bytes: [0; Self::BYTES_MAX], start: Self::BYTES_MAX }
    }

    /// Puts a character in front of what is there.
    fn put(&mut self, character: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = character;
        }
    }

    fn digit(&mut self, digit: u64) {
        self.put(b'0' + u8::try_from(digit % 10).unwrap_or_default());
    }

    fn fraction(&mut self, fraction: u64, decimals: u32) {
        if fraction == 0 {
            return;
        }
        let (mut fraction, mut decimals) = (fraction, decimals);
        while fraction % 10 == 0 {
            fraction /= 10;
            decimals -= 1;
        }
        for _ in 0..decimals {
            self.digit(fraction);
            fraction /= 10;
        }
        self.put(b'.');
    }

    fn digits(&mut self, number: u64) {
        let mut rest = number;
        loop {
            self.digit(rest);
            rest /= 10;
            if rest == 0 {
                return;
            }
        }
    }

    fn wide_digits(&mut self, number: u128) {
        let mut rest = number;
        while rest > u128::from(u64::MAX) {
            self.digit(u64::try_from(rest % 10).unwrap_or_default());
            rest /= 10;
        }
        self.digits(u64::try_from(rest).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::Printed;

    #[test]
    fn decimals_in_their_one_form() {
        let check = |units: i128, decimals: u32, text: &str| {
            assert_eq!(Printed::decimal(units, decimals).as_str(), text);
        };
        check(0, 8, "0");
        check(25_641_000_000, 8, "256.41");
        check(43_500_000_000, 8, "435");
        check(-50_000_000, 8, "-0.5");
        check(1, 8, "0.00000001");
        check(99_999_999_999_999_999_999_999, 8, "999999999999999.99999999");
        check(i128::MAX, 8, "1701411834604692317316873037158.84105727");
        check(i128::MIN, 8, "-1701411834604692317316873037158.84105728");
        check(i128::MIN, 16, "-17014118346046923173168.7303715884105728");
        check(u64::MAX.into(), 16, "1844.6744073709551615");
        check(i128::from(u64::MAX) + 1, 8, "184467440737.09551616");
    }
}
