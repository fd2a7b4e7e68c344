//! Optional amounts without a byte more than the amount.

use serde::{Deserialize, Serialize};
use weir_events::Amount;

/// An `Option<Amount>` in 16 bytes instead of 32, for what is kept by the million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SlimAmount(Amount);

impl SlimAmount {
    /// Far outside the range of amounts.
    const NONE: Amount = Amount(i128::MIN);

    /// The amount, if there is one.
    #[must_use]
    pub(crate) fn get(self) -> Option<Amount> {
        (self.0 != Self::NONE).then_some(self.0)
    }
}

impl From<Option<Amount>> for SlimAmount {
    fn from(amount: Option<Amount>) -> Self {
        Self(amount.unwrap_or(Self::NONE))
    }
}
