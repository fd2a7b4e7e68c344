//! Money, exact: amounts in units of 1e-8 of the currency, never a float.

use std::fmt;

use ethnum::I256;
use serde::{Deserialize, Serialize};

use crate::Printed;
use crate::decimal::{self, DecimalError};
use crate::printed::{self, Sink};

/// Decimals that an [`Amount`] holds.
const SCALE: usize = 8;

/// Units of [`Amount`] in one unit of currency.
pub const UNITS: i128 = 100_000_000;

/// An exact decimal in units of 1e-8. Printed without trailing zeros: `256.41`, `435`, `-0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(pub i128);

/// An ISO 4217 alphabetic code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Currency(pub [u8; 3]);

impl Currency {
    /// US dollar, the default `base_currency`.
    pub const USD: Self = Self(*b"USD");

    /// A code of ISO 4217 in upper case, funds, precious metals and codes since withdrawn included;
    /// `None` for anything else.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        if let Ok(letters) = code.as_bytes().try_into()
            && Self(letters).common_minor_unit().is_some()
        {
            return Some(Self(letters));
        }
        let known = iso_currency::Currency::from_code(code)?;
        known.code().as_bytes().try_into().ok().map(Self)
    }

    /// Decimals of the minor unit: 2 for USD, 0 for JPY, 3 for BHD; `None` where ISO 4217 gives none,
    /// as for gold (XAU).
    #[must_use]
    pub fn minor_unit(self) -> Option<u16> {
        self.common_minor_unit().or_else(|| iso_currency::Currency::from_code(self.as_str())?.exponent())
    }

    /// The minor unit of the currencies that most payments are made in: the whole list is searched by
    /// comparing texts.
    const fn common_minor_unit(self) -> Option<u16> {
        match &self.0 {
            b"AUD" | b"BRL" | b"CAD" | b"CHF" | b"CNY" | b"EUR" | b"GBP" | b"HKD" | b"INR" | b"MXN"
            | b"SEK" | b"SGD" | b"USD" => Some(2),
            b"JPY" | b"KRW" => Some(0),
            _ => None,
        }
    }

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal as JSON writes numbers.
    #[error("not a decimal number such as 12.5 or 1e2")]
    Syntax,
    /// More decimals than an amount holds.
    #[error("more than 8 decimals")]
    TooPrecise,
    /// The magnitude is 10^15 or more.
    #[error("10^15 or more")]
    OutOfRange,
}

impl From<DecimalError> for AmountError {
    fn from(error: DecimalError) -> Self {
        match error {
            DecimalError::Syntax => Self::Syntax,
            DecimalError::TooPrecise => Self::TooPrecise,
            DecimalError::OutOfRange => Self::OutOfRange,
        }
    }
}

/// The configured exchange rates into the base currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    base: Currency,
    /// Sorted by currency: base units per unit, as an [`Amount`].
    rates: Vec<(Currency, Amount)>,
}

impl Rates {
    /// Rates into `base`; the base itself is always 1. Later entries of a currency win.
    #[must_use]
    pub fn new(base: Currency, rates: impl IntoIterator<Item = (Currency, Amount)>) -> Self {
        let mut sorted: std::collections::BTreeMap<_, _> = rates.into_iter().collect();
        sorted.insert(base, Amount(UNITS));
        Self { base, rates: sorted.into_iter().collect() }
    }

    /// The base currency.
    #[must_use]
    pub fn base(&self) -> Currency {
        self.base
    }

    /// `amount` of `currency` in the base currency, rounded half-even to 1e-8; `None` without a rate.
    #[must_use]
    #[inline]
    pub fn to_base(&self, amount: Amount, currency: Currency) -> Option<Amount> {
        if currency == self.base {
            return Some(amount);
        }
        let at = self.rates.binary_search_by_key(&currency, |&(c, _)| c).ok()?;
        let (_, rate) = self.rates.get(at)?;
        Some(amount.times(*rate))
    }
}

impl Amount {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// The least amount, in units, that is out of range: 10^15 of the currency.
    pub const LIMIT: Self = Self(1_000_000_000_000_000 * UNITS);

    /// The exact value of a decimal text in JSON's grammar for numbers, exponent included: `1e2` is
    /// `100`. The decimals are those of the value: `1.0000000000` has none.
    ///
    /// # Errors
    /// Another grammar, more than 8 decimals, or a magnitude of 10^15 or more. Sign and zero are the
    /// caller's to judge.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        Self(decimal::exact(text, SCALE)?).in_range()
    }

    /// The value of a whole number of minor units, each 10^-`minor_unit` of the currency.
    ///
    /// # Errors
    /// Not a whole number, or a magnitude of 10^15 of the currency or more.
    pub fn parse_minor(text: &str, minor_unit: u16) -> Result<Self, AmountError> {
        let decimals = SCALE - usize::from(minor_unit).min(SCALE);
        let units = decimal::exact(text, 0)?;
        let factor = 10_i128.pow(u32::try_from(decimals).unwrap_or(0));
        Self(units.checked_mul(factor).ok_or(AmountError::OutOfRange)?).in_range()
    }

    /// The value of a decimal text, rounded half-even to 1e-8.
    ///
    /// # Errors
    /// Another grammar, or a magnitude of 10^15 or more.
    pub fn parse_rounded(text: &str) -> Result<Self, AmountError> {
        let (units, _) = decimal::rounded(text, SCALE)?;
        Self(units).in_range()
    }

    fn in_range(self) -> Result<Self, AmountError> {
        if self.0.unsigned_abs() < Self::LIMIT.0.unsigned_abs() {
            Ok(self)
        } else {
            Err(AmountError::OutOfRange)
        }
    }

    /// `self × factor`, rounded half-even to 1e-8; saturates at the ends of the range.
    #[must_use]
    pub fn times(self, factor: Self) -> Self {
        let product = I256::from(self.0) * I256::from(factor.0);
        let unit = I256::from(UNITS);
        let (quotient, remainder) = (product / unit, product % unit);
        let twice = remainder.abs() * I256::from(2);
        let odd = quotient % I256::from(2) != I256::from(0);
        let up = twice > unit || (twice == unit && odd);
        let rounded = if up { quotient + product.signum() } else { quotient };
        Self(i128::try_from(rounded).unwrap_or(if rounded.is_negative() { i128::MIN } else { i128::MAX }))
    }

    /// `self + other`; saturates at the ends of the range.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`; saturates at the ends of the range.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The nearest `f64`, for the score alone.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "the score is the last step of a printed figure")]
    pub fn to_f64(self) -> f64 {
        // Split so that both parts are exact: whole units below 2^53 and a fraction below 1e8.
        (self.0 / UNITS) as f64 + (self.0 % UNITS) as f64 / UNITS as f64
    }
}

impl std::str::FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        Self::parse(text)
    }
}

impl Amount {
    /// The decimal text, without trailing zeros.
    #[must_use]
    pub fn printed(self) -> Printed {
        Printed::of(|out| self.print(out))
    }

    /// Appends the decimal text.
    #[inline]
    pub(crate) fn print(self, out: &mut impl Sink) {
        printed::decimal::<1>(out, self.0);
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.printed().as_str())
    }
}

/// An ISO 3166-1 alpha-2 country code, upper case.
pub type CountryCode = [u8; 2];

/// Every code that ISO 3166-1 assigns officially, in order; user-assigned codes such as XK are not here.
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV \
    BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES \
    ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE \
    IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY \
    MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU \
    NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM \
    SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE \
    VG VI VN VU WF WS YE YT ZA ZM ZW";

/// One bit per second letter, at the position of the first: a look-up instead of a search.
const COUNTRY_BITS: [u32; 26] = country_bits();

#[allow(clippy::indexing_slicing, reason = "evaluated when compiled, where a wrong index is an error")]
const fn country_bits() -> [u32; 26] {
    let (mut bits, codes, mut at) = ([0_u32; 26], COUNTRIES.as_bytes(), 0);
    while at < codes.len() {
        bits[(codes[at] - b'A') as usize] |= 1 << (codes[at + 1] - b'A');
        at += 3;
    }
    bits
}

/// An officially assigned ISO 3166-1 alpha-2 code in upper case; `None` for anything else.
#[must_use]
pub fn parse_country(code: &str) -> Option<CountryCode> {
    let &[first, second] = code.as_bytes() else { return None };
    if !first.is_ascii_uppercase() || !second.is_ascii_uppercase() {
        return None;
    }
    let row = COUNTRY_BITS.get(usize::from(first - b'A'))?;
    (row >> (second - b'A') & 1 == 1).then_some([first, second])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::{Amount, AmountError, COUNTRIES, Currency, parse_country};
    use proptest::prelude::*;

    #[test]
    fn amounts_are_printed_without_trailing_zeros() {
        for (units, printed) in [
            (0, "0"),
            (25_641_000_000, "256.41"),
            (43_500_000_000, "435"),
            (-50_000_000, "-0.5"),
            (1, "0.00000001"),
            (100_000_001, "1.00000001"),
            (i128::MAX, "1701411834604692317316873037158.84105727"),
            (i128::MIN, "-1701411834604692317316873037158.84105728"),
        ] {
            assert_eq!(Amount(units).to_string(), printed);
        }
    }

    #[test]
    fn the_range_ends_below_a_thousand_million_million() {
        assert_eq!(Amount::parse("999999999999999.99999999"), Ok(Amount(Amount::LIMIT.0 - 1)));
        assert_eq!(Amount::parse("1e15"), Err(AmountError::OutOfRange));
        assert_eq!(Amount::parse("-1e15"), Err(AmountError::OutOfRange));
        assert_eq!(Amount::parse("0.123456789"), Err(AmountError::TooPrecise));
        assert_eq!(Amount::parse("1.0000000000"), Amount::parse("1"));
    }

    #[test]
    fn minor_units_follow_the_currency() {
        for (code, text, amount) in
            [("USD", "1250", "12.5"), ("JPY", "1250", "1250"), ("BHD", "1250", "1.25")]
        {
            let unit = Currency::parse(code).unwrap().minor_unit().unwrap();
            assert_eq!(Amount::parse_minor(text, unit).unwrap().to_string(), amount, "{code}");
        }
        assert_eq!(Currency::parse("XAU").unwrap().minor_unit(), None);
        assert_eq!(Amount::parse_minor("12.5", 2), Err(AmountError::TooPrecise));
        assert_eq!(Amount::parse_minor("1e38", 0), Err(AmountError::OutOfRange));
        assert_eq!(Amount::parse_minor("1e37", 0), Err(AmountError::OutOfRange));
    }

    #[test]
    fn currencies_are_those_of_the_list() {
        let letters = || b'A'..=b'Z';
        let pairs = letters().flat_map(|a| letters().map(move |b| [a, b]));
        let mut known = 0;
        for code in pairs.flat_map(|[a, b]| letters().map(move |c| [a, b, c])) {
            let text = std::str::from_utf8(&code).unwrap();
            let listed = iso_currency::Currency::from_code(text);
            assert_eq!(Currency::parse(text), listed.map(|_| Currency(code)), "{text}");
            assert_eq!(Currency(code).minor_unit(), listed.and_then(|listed| listed.exponent()), "{text}");
            known += usize::from(listed.is_some());
        }
        assert!(known > 150, "{known}");
    }

    #[test]
    fn codes_are_those_of_the_standards_alone() {
        for code in ["USD", "EUR", "JPY", "CLF", "XAU"] {
            assert_eq!(Currency::parse(code).unwrap().as_str(), code);
        }
        for code in ["usd", "US", "USDX", "ABC", "", "U$D", "ÜSD"] {
            assert_eq!(Currency::parse(code), None, "{code}");
        }
        assert_eq!(COUNTRIES.split(' ').count(), 249);
        assert!(
            COUNTRIES
                .split(' ')
                .all(|code| parse_country(code).is_some_and(|bytes| bytes == code.as_bytes()))
        );
        let all = (b'A'..=b'Z').flat_map(|a| (b'A'..=b'Z').map(move |b| [a, b]));
        let known = all.filter(|code| parse_country(std::str::from_utf8(code).unwrap()).is_some()).count();
        assert_eq!(known, 249);
        for code in ["us", "USA", "XX", "UK", "XK", "", "U", "Ü"] {
            assert_eq!(parse_country(code), None, "{code}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(units in -Amount::LIMIT.0 + 1..Amount::LIMIT.0) {
            prop_assert_eq!(Amount::parse(&Amount(units).to_string()), Ok(Amount(units)));
        }

        #[test]
        fn an_exponent_moves_the_point(units in 1_i128..1_000_000_000, shift in 0_i32..8) {
            let text = format!("{units}e-{shift}");
            prop_assert_eq!(Amount::parse(&text), Ok(Amount(units * 10_i128.pow(8 - shift.unsigned_abs()))));
        }
    }
}
