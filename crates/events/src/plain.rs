//! Amounts as configuration writes them: decimal strings, never floats.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Amount;
use crate::money::UNITS;

impl Amount {
    /// A whole number.
    #[must_use]
    pub const fn units(whole: i128) -> Self {
        Self(whole * UNITS)
    }

    /// `self × count`; saturates at the ends of the range.
    #[must_use]
    pub const fn scaled(self, count: i128) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

/// An [`Amount`] that configuration writes as a string, such as `"0.1"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Plain(pub Amount);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || {
            format!(
                "`{text}` is not a decimal; write it as a string with at most 8 decimals, such as \"0.1\""
            )
        };
        let amount = text.parse::<Amount>().map_err(|_| serde::de::Error::custom(wrong()))?;
        Ok(Self(amount))
    }
}
