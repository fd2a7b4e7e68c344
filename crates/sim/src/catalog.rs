//! The names of habits and attacks, and which detectors should see which attack.

use serde::Serialize;

/// What is asked of the engine for a kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Outside the user's authorization: to be blocked at the first payment.
    MandateViolation,
    /// Visible in behaviour: should be caught.
    Overt,
    /// Built to stay out of sight: reported as it comes out.
    Evasive,
    /// A name this crate does not know, from a stream made elsewhere.
    Unknown,
}

/// A kind of attack.
#[derive(Debug, Clone, Copy)]
pub struct AttackKind {
    /// The stable name in labels.
    pub name: &'static str,
    /// What is asked of the engine.
    pub group: Group,
    /// The detectors whose signals count as catching it.
    pub detectors: &'static [&'static str],
    pub(crate) attack: Attack,
}

/// The attacks, as the generator tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Attack {
    CapReplay,
    CapProbing,
    SingleUseReplay,
    BeforeValid,
    AfterExpiry,
    Revoked,
    RevocationRace,
    NotHeld,
    ScopeMerchant,
    ScopeCategory,
    Paused,
    Omitted,
    BurstEqual,
    EarlyBurst,
    CollusionPair,
    CollusionRing,
    CrossMerchantRisk,
    Cadence,
    GeoMoved,
    BurstJittered,
    CollusionUnequal,
    CrossMerchantSafe,
    CadenceJittered,
    GeoDrift,
    GeoPoisonedHome,
    SlowRamp,
    UnderThresholds,
    EarlySpend,
    BackdatedBurst,
}

const fn kind(
    name: &'static str,
    group: Group,
    detectors: &'static [&'static str],
    attack: Attack,
) -> AttackKind {
    AttackKind { name, group, detectors, attack }
}

/// Every kind of attack that [`generate`](crate::generate()) makes.
pub const ATTACKS: &[AttackKind] = &[
    kind("cap_replay", Group::MandateViolation, &["replay"], Attack::CapReplay),
    kind("cap_probing", Group::MandateViolation, &["replay"], Attack::CapProbing),
    kind("single_use_replay", Group::MandateViolation, &["replay"], Attack::SingleUseReplay),
    kind("use_before_valid", Group::MandateViolation, &["replay"], Attack::BeforeValid),
    kind("use_after_expiry", Group::MandateViolation, &["replay"], Attack::AfterExpiry),
    kind("use_revoked", Group::MandateViolation, &["replay"], Attack::Revoked),
    kind("revocation_race", Group::MandateViolation, &["replay"], Attack::RevocationRace),
    kind("use_not_held", Group::MandateViolation, &["replay"], Attack::NotHeld),
    kind("scope_merchant", Group::MandateViolation, &["scope"], Attack::ScopeMerchant),
    kind("scope_category", Group::MandateViolation, &["scope"], Attack::ScopeCategory),
    kind("use_paused", Group::Overt, &["replay"], Attack::Paused),
    kind("mandate_omitted", Group::Overt, &["mandate"], Attack::Omitted),
    kind("burst_equal", Group::Overt, &["burst"], Attack::BurstEqual),
    kind("early_burst", Group::Overt, &["burst"], Attack::EarlyBurst),
    kind("collusion_pair", Group::Overt, &["collusion"], Attack::CollusionPair),
    kind("collusion_ring", Group::Overt, &["collusion"], Attack::CollusionRing),
    kind("cross_merchant_risk", Group::Overt, &["cross_merchant"], Attack::CrossMerchantRisk),
    kind("cadence_regular", Group::Overt, &["cadence"], Attack::Cadence),
    kind("geo_moved", Group::Overt, &["geo_stationarity"], Attack::GeoMoved),
    kind("burst_jittered", Group::Evasive, &["burst"], Attack::BurstJittered),
    kind("collusion_unequal", Group::Evasive, &["collusion"], Attack::CollusionUnequal),
    kind("cross_merchant_safe", Group::Evasive, &["cross_merchant"], Attack::CrossMerchantSafe),
    kind("cadence_jittered", Group::Evasive, &["cadence"], Attack::CadenceJittered),
    kind("geo_drift", Group::Evasive, &["geo_stationarity"], Attack::GeoDrift),
    kind("geo_poisoned_home", Group::Evasive, &["geo_stationarity"], Attack::GeoPoisonedHome),
    kind("slow_ramp", Group::Evasive, &["burst"], Attack::SlowRamp),
    kind(
        "under_thresholds",
        Group::Evasive,
        &["burst", "cadence", "cross_merchant", "collusion"],
        Attack::UnderThresholds,
    ),
    kind("early_spend", Group::Evasive, &["burst", "cross_merchant", "cadence"], Attack::EarlySpend),
    kind("backdated_burst", Group::Evasive, &["burst", "cadence", "replay"], Attack::BackdatedBurst),
];

/// The kind of attack with this name.
#[must_use]
pub fn attack_named(name: &str) -> Option<&'static AttackKind> {
    ATTACKS.iter().find(|kind| kind.name == name)
}

/// An honest way to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Habit {
    #[default]
    Shopper,
    PantryRestock,
    FirstActRestock,
    IdenticalItems,
    SplitCart,
    Rebooking,
    GeneralBuyer,
    Subscriber,
    FixedPace,
    TwinAgents,
    SoftDeclineRetry,
    PrincipalPosition,
    RegionFailover,
    ForeignCurrency,
    CapAmended,
    NoMandate,
    LateBacklog,
}

impl Habit {
    pub(crate) const ALL: [Self; 17] = [
        Self::Shopper,
        Self::PantryRestock,
        Self::FirstActRestock,
        Self::IdenticalItems,
        Self::SplitCart,
        Self::Rebooking,
        Self::GeneralBuyer,
        Self::Subscriber,
        Self::FixedPace,
        Self::TwinAgents,
        Self::SoftDeclineRetry,
        Self::PrincipalPosition,
        Self::RegionFailover,
        Self::ForeignCurrency,
        Self::CapAmended,
        Self::NoMandate,
        Self::LateBacklog,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Shopper => "shopper",
            Self::PantryRestock => "pantry_restock",
            Self::FirstActRestock => "first_act_restock",
            Self::IdenticalItems => "identical_items",
            Self::SplitCart => "split_cart",
            Self::Rebooking => "rebooking",
            Self::GeneralBuyer => "general_buyer",
            Self::Subscriber => "subscriber",
            Self::FixedPace => "fixed_pace",
            Self::TwinAgents => "twin_agents",
            Self::SoftDeclineRetry => "soft_decline_retry",
            Self::PrincipalPosition => "principal_position",
            Self::RegionFailover => "region_failover",
            Self::ForeignCurrency => "foreign_currency",
            Self::CapAmended => "cap_amended",
            Self::NoMandate => "no_mandate",
            Self::LateBacklog => "late_backlog",
        }
    }

    /// One bit per habit.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|habit| habit.name() == name)
    }
}

/// The names of all honest habits.
pub fn habits() -> impl Iterator<Item = &'static str> {
    Habit::ALL.into_iter().map(Habit::name)
}
