//! From points to a score and a level.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Risk;

/// The level of a risk score.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Below `elevated_from`.
    #[default]
    Normal,
    /// From `elevated_from` (60).
    Elevated,
    /// From `highest_from` (75).
    Highest,
}

impl RiskLevel {
    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::Highest => "highest",
        }
    }
}

/// Turns a composite risk into a score between 0 and 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The composite at which the score is 100·(1 − 1/e).
    pub scale: f64,
    /// Least score of [`RiskLevel::Elevated`].
    pub elevated_from: f64,
    /// Least score of [`RiskLevel::Highest`].
    pub highest_from: f64,
}

impl Scale {
    /// The score rounded half up, and the level of the unrounded score.
    ///
    /// `exp` comes from the `libm` crate, so that every platform prints the same bytes.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
    pub fn score(&self, composite: Risk) -> (u8, RiskLevel) {
        if composite <= Risk::ZERO {
            return (0, self.level(0.0));
        }
        let score = 100.0 * (1.0 - libm::exp(-composite.to_f64() / self.scale));
        ((score + 0.5).floor().clamp(0.0, 100.0) as u8, self.level(score))
    }

    fn level(&self, score: f64) -> RiskLevel {
        if score >= self.highest_from {
            RiskLevel::Highest
        } else if score >= self.elevated_from {
            RiskLevel::Elevated
        } else {
            RiskLevel::Normal
        }
    }
}
