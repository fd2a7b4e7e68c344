//! The deciding configuration: everything a decision follows from, beside the input and the journal.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use weir_detectors::risk::Weights;
use weir_detectors::{Bounds, Entry, Params, Points, TABLE};
use weir_events::score::Scale;
use weir_events::{Action, Amount, Currency, Plain, Rates, Risk, Span};

/// The deciding configuration. [`Config::digest`] covers all of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Currency that amounts are compared in.
    pub base_currency: CurrencyCode,
    /// Section `[time]`.
    pub time: Time,
    /// Sections `[detectors.NAME]`.
    pub detectors: Params,
    /// Section `[risk]`.
    pub risk: Scoring,
    /// Section `[decision]`.
    pub decision: Decision,
    /// Section `[currency_rates]`: base currency per unit of each currency.
    pub currency_rates: BTreeMap<CurrencyCode, Plain>,
    /// Section `[bounds]`.
    pub bounds: Bounds,
}

/// An ISO 4217 code in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CurrencyCode(pub Currency);

impl Default for CurrencyCode {
    fn default() -> Self {
        Self(Currency::USD)
    }
}

impl Serialize for CurrencyCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for CurrencyCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        let wrong =
            || D::Error::custom(format!("`{code}` is not an ISO 4217 currency code, such as \"USD\""));
        Currency::parse(&code).map(Self).ok_or_else(wrong)
    }
}

/// Section `[time]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Time {
    /// How far the watermark stays behind the greatest time that counted.
    pub max_lateness: Span,
    /// How far `tx_time` may be ahead of `record_time`.
    pub max_clock_skew: Span,
    /// How long a `tx_id` is remembered behind the watermark.
    pub dedup_horizon: Span,
    /// How long a shard waits for a mandate that it does not know; the engine itself never waits.
    pub mandate_wait: Span,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            max_lateness: Span::minutes(5),
            max_clock_skew: Span::minutes(5),
            dedup_horizon: Span::hours(24),
            mandate_wait: Span(50_000),
        }
    }
}

/// Section `[risk]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scoring {
    /// Points per unit of each measure.
    pub weights: Weights,
    /// The composite at which the score is 100·(1 − 1/e).
    pub scale: f64,
    /// Least score of level `elevated`.
    pub elevated_from: f64,
    /// Least score of level `highest`.
    pub highest_from: f64,
    /// The most points of a tier: `"burst.rate" = "50"`.
    pub caps: Caps,
}

impl Default for Scoring {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            scale: 72.13,
            elevated_from: 60.0,
            highest_from: 75.0,
            caps: Caps::default(),
        }
    }
}

/// Section `[decision]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decision {
    /// The least action of a tier: `"scope.strict" = "block"`, `"replay.*" = "block"`; the exact key
    /// first.
    pub floors: Floors,
}

/// Points that a tier gives at most, by `detector.tier`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Caps(BTreeMap<String, Plain>);

impl Default for Caps {
    fn default() -> Self {
        let of_entry = |entry: &'static Entry| {
            entry.tiers.iter().filter_map(|tier| match tier.points {
                Points::Weighted { cap } => Some((key(entry.name, tier.name), Plain(Amount::units(cap)))),
                Points::ByFloor => None,
            })
        };
        Self(TABLE.iter().flat_map(of_entry).collect())
    }
}

impl Caps {
    /// Keys that have a default.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<'de> Deserialize<'de> for Caps {
    /// Keys that are given replace the defaults.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut caps = Self::default();
        for (name, cap) in BTreeMap::<String, Plain>::deserialize(deserializer)? {
            if !is_tier(&name) {
                return Err(D::Error::custom(format!("`{name}` is not a tier; write `detector.tier`")));
            }
            caps.0.insert(name, cap);
        }
        Ok(caps)
    }
}

/// Floors by `detector.tier` or `detector.*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Floors(BTreeMap<String, Floor>);

/// A floor as the configuration writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    /// Leaves it to the score.
    None,
    /// At least `challenge`.
    Challenge,
    /// At least `review`.
    Review,
    /// `block`.
    Block,
}

impl From<Action> for Floor {
    fn from(action: Action) -> Self {
        match action {
            Action::Allow => Self::None,
            Action::Challenge => Self::Challenge,
            Action::Review => Self::Review,
            Action::Block => Self::Block,
        }
    }
}

impl From<Floor> for Action {
    fn from(floor: Floor) -> Self {
        match floor {
            Floor::None => Self::Allow,
            Floor::Challenge => Self::Challenge,
            Floor::Review => Self::Review,
            Floor::Block => Self::Block,
        }
    }
}

impl Default for Floors {
    /// One line per tier with a floor of its own, one wildcard per detector whose other tiers share
    /// one.
    fn default() -> Self {
        let mut floors = BTreeMap::new();
        for entry in TABLE {
            for tier in entry.tiers {
                match tier.floor {
                    Some(floor) => floors.insert(key(entry.name, tier.name), Floor::from(floor)),
                    None => floors.insert(key(entry.name, "*"), Floor::from(entry.floor)),
                };
            }
        }
        Self(floors)
    }
}

impl Floors {
    /// Keys that have a default.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn of(&self, detector: &str, tier: &str) -> Action {
        let floor = self.0.get(&key(detector, tier)).or_else(|| self.0.get(&key(detector, "*")));
        floor.map_or(Action::Allow, |&floor| floor.into())
    }
}

impl<'de> Deserialize<'de> for Floors {
    /// Keys that are given replace the defaults.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut floors = Self::default();
        for (name, floor) in BTreeMap::<String, Floor>::deserialize(deserializer)? {
            if !is_tier(&name) && !is_wildcard(&name) {
                return Err(D::Error::custom(format!(
                    "`{name}` is not a tier; write `detector.tier` or `detector.*`"
                )));
            }
            floors.0.insert(name, floor);
        }
        Ok(floors)
    }
}

fn key(detector: &str, tier: &str) -> String {
    format!("{detector}.{tier}")
}

fn is_tier(name: &str) -> bool {
    TABLE.iter().any(|entry| entry.tier_names.iter().any(|tier| key(entry.name, tier) == name))
}

fn is_wildcard(name: &str) -> bool {
    TABLE.iter().any(|entry| key(entry.name, "*") == name)
}

/// Every key that `[decision.floors]` and, but for the wildcards, `[risk.caps]` accept.
pub fn tier_keys() -> impl Iterator<Item = String> {
    let names =
        |entry: &'static Entry| entry.tier_names.iter().chain(&["*"]).map(|tier| key(entry.name, tier));
    TABLE.iter().flat_map(names)
}

/// What one tier asks for and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TierPolicy {
    /// The least action.
    pub(crate) floor: Action,
    /// Points per unit of measure; `None`: `flat` instead.
    pub(crate) weight: Option<Amount>,
    /// Points where they do not follow from the measure.
    pub(crate) flat: Risk,
    /// The most points.
    pub(crate) cap: Option<Risk>,
}

impl TierPolicy {
    /// Points for a measure.
    pub(crate) fn points(&self, measure: Amount) -> Risk {
        let points = self.weight.map_or(self.flat, |weight| Risk::of(weight, measure));
        self.cap.map_or(points, |cap| points.min(cap))
    }
}

impl Config {
    /// Policy per detector and tier, in the order of [`TABLE`].
    pub(crate) fn policies(&self) -> Vec<Vec<TierPolicy>> {
        let of_entry = |entry: &Entry| entry.tiers.iter().map(|tier| self.policy(entry, tier)).collect();
        TABLE.iter().map(of_entry).collect()
    }

    fn policy(&self, entry: &Entry, tier: &weir_detectors::Tier) -> TierPolicy {
        let floor = self.decision.floors.of(entry.name, tier.name);
        let flat =
            if floor == Action::Block { Risk::points(weir_detectors::BLOCK_POINTS) } else { Risk::ZERO };
        let cap = self.risk.caps.0.get(&key(entry.name, tier.name)).map(|cap| Risk::points(cap.0));
        let weight = match tier.points {
            Points::Weighted { .. } => Some(self.risk.weights.of(entry.name)),
            Points::ByFloor => None,
        };
        TierPolicy { floor, weight, flat, cap }
    }

    /// The scale from points to score.
    #[must_use]
    pub fn scale(&self) -> Scale {
        let Scoring { scale, elevated_from, highest_from, .. } = self.risk;
        Scale { scale, elevated_from, highest_from }
    }

    /// The exchange rates.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates::new(self.base_currency.0, self.currency_rates.iter().map(|(code, rate)| (code.0, rate.0)))
    }

    /// SHA-256 of the deciding configuration in its canonical JSON form, as 16 hexadecimal digits:
    /// stands in every decision.
    #[must_use]
    pub fn digest(&self) -> String {
        // A configuration is plain data with string keys, so it always has a JSON form.
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(canonical).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first value that cannot be right, as `(dotted key, message)`.
    #[must_use]
    pub fn check(&self) -> Option<(String, String)> {
        if let Some((section, key, message)) = weir_detectors::check_all(&self.detectors) {
            return Some((format!("detectors.{section}.{key}"), message));
        }
        if let Some((key, message)) = self.bounds.check() {
            return Some((format!("bounds.{key}"), message));
        }
        let rate = |rate: &Plain| rate.0 > Amount::ZERO && rate.0 <= RATE_MAX;
        let wrong_rate = self.currency_rates.iter().find(|(_, value)| !rate(value));
        let risk = &self.risk;
        let wrong_score = |score: f64| !(0.0..=100.0).contains(&score);
        let checks = [
            (
                self.time.dedup_horizon < self.time.max_lateness,
                "time.dedup_horizon",
                "must be at least `time.max_lateness`",
            ),
            (!(risk.scale > 0.0 && risk.scale.is_finite()), "risk.scale", "must be above 0"),
            (wrong_score(risk.elevated_from), "risk.elevated_from", "must lie between 0 and 100"),
            (wrong_score(risk.highest_from), "risk.highest_from", "must lie between 0 and 100"),
            (
                risk.highest_from < risk.elevated_from,
                "risk.highest_from",
                "must be at least `risk.elevated_from`",
            ),
        ];
        if let Some((_, key, message)) = checks.into_iter().find(|(wrong, ..)| *wrong) {
            return Some((key.to_owned(), message.to_owned()));
        }
        let negative = risk.weights.names().find(|name| risk.weights.of(name) < Amount::ZERO);
        if let Some(name) = negative {
            return Some((format!("risk.weights.{name}"), "must not be negative".to_owned()));
        }
        if let Some((name, _)) = risk.caps.0.iter().find(|(_, cap)| cap.0 < Amount::ZERO) {
            return Some((format!("risk.caps.{name}"), "must not be negative".to_owned()));
        }
        wrong_rate.map(|(code, _)| {
            (format!("currency_rates.{}", code.0.as_str()), "must be above 0 and at most 1000000".to_owned())
        })
    }
}

/// The greatest exchange rate: keeps every sum of amounts in the base currency within range.
pub const RATE_MAX: Amount = Amount::units(1_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(floors: &Floors, tier: &str) -> Action {
        let (detector, tier) = tier.split_once('.').unwrap_or_default();
        floors.of(detector, tier)
    }

    #[test]
    fn default_floors_are_those_of_the_specification() {
        let floors = Floors::default();
        let check = |action, tiers: &str| {
            for tier in tiers.split_whitespace() {
                assert_eq!(floor(&floors, tier), action, "{tier}");
            }
        };
        check(
            Action::Block,
            "scope.strict scope.category_not_allowed replay.not_held replay.revoked replay.expired replay.not_yet_valid replay.over_cap replay.over_uses replay.over_per_transaction replay.wrong_currency",
        );
        check(
            Action::Review,
            "replay.paused mandate.unknown scope.category burst.machine collusion.ring collusion.pairs cross_merchant.risk_class",
        );
        check(
            Action::Challenge,
            "mandate.omitted burst.pace burst.rate cross_merchant.novel cadence.regular geo_stationarity.moved",
        );
        check(
            Action::Allow,
            "burst.rate_bounded cross_merchant.breadth mandate.none input.clock_skew input.late input.no_rate",
        );
    }

    #[test]
    fn the_exact_key_comes_first() {
        let floors: Floors = serde_json::from_str(r#"{"replay.*": "none"}"#).unwrap_or_default();
        assert_eq!(floor(&floors, "replay.revoked"), Action::Allow);
        assert_eq!(floor(&floors, "replay.paused"), Action::Review);
        assert!(serde_json::from_str::<Floors>(r#"{"replay.nonsense": "none"}"#).is_err());
    }

    #[test]
    fn default_points_are_those_of_the_specification() {
        let config = Config::default();
        let policies = config.policies();
        let points = |detector: &str, tier: &str, measure: i128| {
            let at = TABLE.iter().position(|entry| entry.name == detector).unwrap_or_default();
            let of = TABLE.get(at).and_then(|entry| entry.tier_names.iter().position(|name| *name == tier));
            let policy = policies.get(at).and_then(|tiers| tiers.get(of.unwrap_or(99)));
            policy.map(|policy| policy.points(Amount::units(measure)))
        };
        for (detector, tier, measure, expected) in [
            ("burst", "rate", 7, 35),
            ("burst", "rate", 40, 50),
            ("burst", "rate_bounded", 40, 20),
            ("replay", "over_cap", 500, 50),
            ("replay", "over_cap", 5000, 100),
            ("replay", "revoked", 1, 50),
            ("replay", "paused", 1, 0),
            ("scope", "strict", 1, 50),
            ("scope", "category_not_allowed", 1, 50),
            ("scope", "category", 1, 25),
            ("collusion", "pairs", 1, 30),
            ("collusion", "ring", 9, 120),
            ("cross_merchant", "novel", 5, 50),
            ("cross_merchant", "risk_class", 9, 60),
            ("cross_merchant", "breadth", 5, 30),
            ("cadence", "regular", 1, 40),
            ("geo_stationarity", "moved", 1, 50),
            ("mandate", "unknown", 1, 0),
            ("input", "late", 1, 0),
        ] {
            assert_eq!(
                points(detector, tier, measure),
                Some(Risk::points(Amount::units(expected))),
                "{detector}.{tier}"
            );
        }
    }

    #[test]
    fn the_digest_covers_every_section() {
        let base = Config::default();
        for change in [
            r#"{"base_currency": "EUR"}"#,
            r#"{"time": {"max_lateness": "6m"}}"#,
            r#"{"detectors": {"burst": {"min_count": 6}}}"#,
            r#"{"risk": {"weights": {"burst": "6"}}}"#,
            r#"{"risk": {"caps": {"burst.rate": "51"}}}"#,
            r#"{"decision": {"floors": {"scope.strict": "review"}}}"#,
            r#"{"currency_rates": {"EUR": "1.08"}}"#,
            r#"{"bounds": {"agents_max": 7}}"#,
        ] {
            let changed: Config = serde_json::from_str(change).unwrap_or_default();
            assert_ne!(changed.digest(), base.digest(), "{change}");
        }
        assert_eq!(base.digest(), Config::default().digest());
    }
}
