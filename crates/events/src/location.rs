//! Positions in units of 1e-7 degree.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A position, rounded half-even to 1e-7 degree on input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Latitude in units of 1e-7 degree, −900 000 000 to 900 000 000.
    pub lat_e7: i32,
    /// Longitude in units of 1e-7 degree, −1 800 000 000 to 1 800 000 000.
    pub lng_e7: i32,
}

/// Whose position a transaction carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LocationSource {
    /// The agent's own.
    Agent,
    /// The user's.
    Principal,
    /// Where the goods go.
    Delivery,
}
