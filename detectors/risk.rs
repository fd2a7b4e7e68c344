//! The view `risk`: every agent seen, with what each view reports of it and their weighted sum.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use weir_events::view::{Column, Kind, Row, Value, View};
use weir_events::{Amount, Plain, Risk};

use crate::TABLE;

/// View `risk`, over the other views.
pub const VIEW: View = View {
    name: "risk",
    columns: &[
        Column { name: "agent_id", kind: Kind::Text },
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "burst_score", kind: Kind::Int },
        Column { name: "replay_over_amount", kind: Kind::Decimal },
        Column { name: "scope_violations", kind: Kind::Int },
        Column { name: "collusion_pairs", kind: Kind::Int },
        Column { name: "cross_merchant_categories", kind: Kind::Int },
        Column { name: "cadence_regular", kind: Kind::Int },
        Column { name: "geo_moved", kind: Kind::Int },
        Column { name: "composite_risk", kind: Kind::Risk },
    ],
    sort: &[0, 1],
    sql: include_str!("risk.sql"),
};

/// The views in the order they are computed: the detectors', by the table, then `risk`, which reads
/// them.
pub const VIEWS: [View; count() + 1] = collected();

const fn count() -> usize {
    let (mut entry, mut count) = (0, 0);
    while entry < TABLE.len() {
        count += views_of(entry).len();
        entry += 1;
    }
    count
}

#[allow(clippy::indexing_slicing, reason = "evaluated when compiled, where a wrong index is an error")]
const fn collected() -> [View; count() + 1] {
    let (mut views, mut entry, mut at) = ([VIEW; count() + 1], 0, 0);
    while entry < TABLE.len() {
        let mut own = 0;
        while own < views_of(entry).len() {
            views[at] = views_of(entry)[own];
            at += 1;
            own += 1;
        }
        entry += 1;
    }
    views
}

#[allow(clippy::indexing_slicing, reason = "evaluated when compiled, where a wrong index is an error")]
const fn views_of(entry: usize) -> &'static [View] {
    TABLE[entry].views
}

/// Section `[risk.weights]`: points per unit of each detector's measure, by detector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Weights(BTreeMap<String, Plain>);

impl Default for Weights {
    fn default() -> Self {
        let weighted = TABLE.iter().filter_map(|entry| Some((entry.name.to_owned(), Plain(entry.weight?))));
        Self(weighted.collect())
    }
}

impl<'de> Deserialize<'de> for Weights {
    /// Keys that are given replace the defaults; a key of no detector with a weight is an error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut weights = Self::default();
        for (name, weight) in BTreeMap::<String, Plain>::deserialize(deserializer)? {
            match weights.0.get_mut(&name) {
                Some(known) => *known = weight,
                None => {
                    return Err(serde::de::Error::custom(format!(
                        "`{name}` is not a detector with a weight"
                    )));
                }
            }
        }
        Ok(weights)
    }
}

impl Weights {
    /// The weight of a detector, by name; zero for one without.
    #[must_use]
    pub fn of(&self, detector: &str) -> Amount {
        self.0.get(detector).map_or(Amount::ZERO, |weight| weight.0)
    }

    /// Detectors with a weight.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Parameters of the view's SQL.
    #[must_use]
    pub fn sql_parameters(&self) -> Vec<(&'static str, Value)> {
        let of = |detector| Value::Decimal(self.of(detector));
        vec![
            ("risk_weight_burst", of("burst")),
            ("risk_weight_replay", of("replay")),
            ("risk_weight_scope", of("scope")),
            ("risk_weight_collusion", of("collusion")),
            ("risk_weight_cross_merchant", of("cross_merchant")),
            ("risk_weight_cadence", of("cadence")),
            ("risk_weight_geo_stationarity", of("geo_stationarity")),
        ]
    }
}

/// The measures of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measures {
    /// Peak, or present, number of transactions in the burst window.
    pub burst: i64,
    /// Spend over caps, in the base currency.
    pub replay_over: Amount,
    /// Transactions out of scope.
    pub scope: i64,
    /// Coordinated pairs.
    pub collusion: i64,
    /// Categories.
    pub cross_merchant: i64,
    /// 0 or 1.
    pub cadence: i64,
    /// 0 or 1.
    pub geo: i64,
}

impl Measures {
    /// The weighted sum, exact.
    #[must_use]
    pub fn composite(&self, weights: &Weights) -> Risk {
        let counted = |detector, count: i64| Risk::of(weights.of(detector), Amount::units(count.into()));
        [
            counted("burst", self.burst),
            Risk::of(weights.of("replay"), self.replay_over),
            counted("scope", self.scope),
            counted("collusion", self.collusion),
            counted("cross_merchant", self.cross_merchant),
            counted("cadence", self.cadence),
            counted("geo_stationarity", self.geo),
        ]
        .into_iter()
        .fold(Risk::ZERO, Risk::plus)
    }

    /// Row of the view.
    #[must_use]
    pub fn row(&self, agent_id: &str, user_id: &str, weights: &Weights) -> Row {
        vec![
            Value::Text(agent_id.to_owned()),
            Value::Text(user_id.to_owned()),
            Value::Int(self.burst),
            Value::Decimal(self.replay_over),
            Value::Int(self.scope),
            Value::Int(self.collusion),
            Value::Int(self.cross_merchant),
            Value::Int(self.cadence),
            Value::Int(self.geo),
            Value::Risk(self.composite(weights)),
        ]
    }
}
