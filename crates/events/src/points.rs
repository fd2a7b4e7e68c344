//! Points of risk, exact.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::UNITS;
use crate::printed::{self, Sink};
use crate::{Amount, Printed};

/// Decimals of a [`Risk`]: twice those of an [`Amount`], for it is a product of two.
pub const RISK_DECIMALS: usize = 16;

/// Points in units of 1e-16: the exact product of a weight and a measure, and sums of such.
///
/// Printed without trailing zeros: `30.641`, `157`, `0.976194487`. Sums saturate at about 1.7e22.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Risk(pub i128);

impl Risk {
    /// None.
    pub const ZERO: Self = Self(0);

    /// `weight × measure`, exact.
    #[must_use]
    pub const fn of(weight: Amount, measure: Amount) -> Self {
        Self(weight.0.saturating_mul(measure.0))
    }

    /// A decimal number of points.
    #[must_use]
    pub const fn points(points: Amount) -> Self {
        Self(points.0.saturating_mul(UNITS))
    }

    /// `self + other`.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The nearest `f64`, for the score alone.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "the score is the last step of a printed figure")]
    pub fn to_f64(self) -> f64 {
        // Split so that both parts are exact or nearly so: whole points and a fraction below one.
        let unit = UNITS * UNITS;
        (self.0 / unit) as f64 + (self.0 % unit) as f64 / unit as f64
    }
}

impl Risk {
    /// The decimal text, without trailing zeros.
    #[must_use]
    pub fn printed(self) -> Printed {
        Printed::of(|out| self.print(out))
    }

    /// Appends the decimal text.
    #[inline]
    pub(crate) fn print(self, out: &mut impl Sink) {
        printed::decimal::<2>(out, self.0);
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.printed().as_str())
    }
}

impl FromStr for Risk {
    type Err = String;

    /// Reads what [`Risk`] prints.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a decimal with at most {RISK_DECIMALS} decimals");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > RISK_DECIMALS || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let units: i128 = format!("{whole}{fraction:0<RISK_DECIMALS$}").parse().map_err(|_| wrong())?;
        Ok(Self(units))
    }
}

#[cfg(test)]
mod tests {
    use super::Risk;
    use crate::Amount;

    #[test]
    fn products_are_exact_and_printed_without_trailing_zeros() {
        let check = |weight: i128, measure: i128, printed: &str| {
            let risk = Risk::of(Amount(weight), Amount(measure));
            assert_eq!(risk.to_string(), printed);
            assert_eq!(printed.parse(), Ok(risk));
        };
        check(10_000_000, 976_194_487, "0.976194487");
        check(10_000_000, 1, "0.000000001");
        check(1, 1, "0.0000000000000001");
        check(500_000_000, 500_000_000, "25");
        check(10_000_000, -5_641_000_000, "-5.641");
        check(0, 7, "0");
    }
}
