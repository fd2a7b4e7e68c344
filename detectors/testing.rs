//! A rig that drives one detector payment by payment, as the engine does, for the detectors' tests.

use std::borrow::Cow;
use std::collections::BTreeMap;

use weir_events::decision::Signal;
use weir_events::time::{DAY_US, MINUTE_US, SECOND_US};
use weir_events::{
    Action, Amount, CapPeriod, Currency, Location, LocationSource, Mandate, MandateStatus, Rates, Risk,
    Timestamp, Transaction, Verdict,
};

use crate::cross_merchant::groups::GroupMap;
use crate::names::Name;
use crate::terms::MerchantCategories;
use crate::timeline::{AgentPayment, UserPayment};
use crate::{
    AgentTimeline, Bounds, Detector, Explain, Outcome, Payment, Reached, Seat, Terms, Tiers, UserTimeline,
};

/// 2026-05-05T00:00:00Z, a Tuesday; times of payments count from here.
pub(crate) const T0_US: i64 = 20_578 * DAY_US;
/// How far the watermark trails the greatest time.
pub(crate) const LATENESS_US: i64 = 5 * MINUTE_US;
const AGENT_SPAN_US: i64 = 5 * MINUTE_US;

/// Whole seconds in microseconds.
pub(crate) const fn secs(seconds: i64) -> i64 {
    seconds * SECOND_US
}

pub(crate) fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

/// A payment in the making: 10.00 by agent `a` of user `u` at `shop`, without a mandate.
#[derive(Debug, Clone)]
pub(crate) struct Pay {
    time_us: i64,
    recorded_us: Option<i64>,
    agent: &'static str,
    user: &'static str,
    mandate: Option<&'static str>,
    merchant: &'static str,
    category: Option<&'static str>,
    amount: Amount,
    currency: Currency,
    location: Option<Location>,
    source: Option<LocationSource>,
    blocked: bool,
    also: Option<&'static str>,
}

/// A payment at `time_us` microseconds after [`T0_US`].
pub(crate) fn pay(time_us: i64) -> Pay {
    Pay {
        time_us: T0_US + time_us,
        recorded_us: None,
        agent: "a",
        user: "u",
        mandate: None,
        merchant: "shop",
        category: None,
        amount: Amount::units(10),
        currency: Currency::USD,
        location: None,
        source: None,
        blocked: false,
        also: None,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "degrees of tests are in range")]
pub(crate) fn location(lat: f64, lng: f64) -> Location {
    let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
    Location { lat_e7: e7(lat), lng_e7: e7(lng) }
}

impl Pay {
    pub(crate) fn by(self, agent: &'static str) -> Self {
        Self { agent, ..self }
    }

    pub(crate) fn of(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    pub(crate) fn under(self, mandate: &'static str) -> Self {
        Self { mandate: Some(mandate), ..self }
    }

    pub(crate) fn to(self, merchant: &'static str) -> Self {
        Self { merchant, ..self }
    }

    pub(crate) fn category(self, category: &'static str) -> Self {
        Self { category: Some(category), ..self }
    }

    pub(crate) fn amount(self, text: &str) -> Self {
        Self { amount: amount(text), ..self }
    }

    /// An amount that no payment of another `number` has.
    pub(crate) fn unequal(self, number: i64) -> Self {
        Self { amount: Amount(Amount::units(10).0 + i128::from(number) * 1_000_000), ..self }
    }

    pub(crate) fn currency(self, code: &str) -> Self {
        Self { currency: Currency::parse(code).unwrap(), ..self }
    }

    pub(crate) fn from(self, lat: f64, lng: f64) -> Self {
        Self { location: Some(location(lat, lng)), ..self }
    }

    pub(crate) fn source(self, source: LocationSource) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Recorded `time_us` microseconds after [`T0_US`].
    pub(crate) fn recorded(self, time_us: i64) -> Self {
        Self { recorded_us: Some(T0_US + time_us), ..self }
    }

    /// Blocked by what another detector finds.
    pub(crate) fn blocked(self) -> Self {
        Self { blocked: true, ..self }
    }

    /// Another detector gives a signal that blocks nothing.
    pub(crate) fn also(self, detector: &'static str) -> Self {
        Self { also: Some(detector), ..self }
    }

    fn transaction(&self, number: u64) -> Transaction<'static> {
        Transaction {
            tx_id: Cow::Owned(format!("tx_{number}")),
            agent_id: Cow::Borrowed(self.agent),
            user_id: Cow::Borrowed(self.user),
            mandate_id: self.mandate.map(Cow::Borrowed),
            merchant: Cow::Borrowed(self.merchant),
            merchant_category: self.category.map(Cow::Borrowed),
            amount: self.amount,
            currency: self.currency,
            country: None,
            location: self.location,
            location_source: self.source,
            tx_time: Timestamp(self.time_us),
            record_time: self.recorded_us.map(Timestamp),
            payment_id: None,
            fingerprint: number,
        }
    }
}

/// An active mandate of agent `a` of user `u` without any limit.
pub(crate) fn mandate(mandate_id: &str) -> Mandate {
    Mandate {
        mandate_id: mandate_id.to_owned(),
        agent_id: "a".to_owned(),
        user_id: "u".to_owned(),
        scope_merchant: None,
        allowed_merchants: None,
        allowed_categories: None,
        max_amount: None,
        max_amount_period: CapPeriod::Lifetime,
        per_transaction_max: None,
        max_uses: None,
        currency: Currency::USD,
        authorized_tps: None,
        valid_from: None,
        valid_to: None,
        status: MandateStatus::Active,
        updated_at: None,
    }
}

/// A mandate with a cap.
pub(crate) fn capped(mandate_id: &str, cap: &str, period: CapPeriod) -> Mandate {
    Mandate { max_amount: Some(amount(cap)), max_amount_period: period, ..mandate(mandate_id) }
}

/// The states of one detector, and all that a payment needs.
pub(crate) struct Rig<D: Detector> {
    pub(crate) params: D::Params,
    pub(crate) bounds: Bounds,
    pub(crate) reached: Reached,
    pub(crate) rates: Rates,
    pub(crate) categories: MerchantCategories,
    groups: GroupMap,
    mandates: BTreeMap<String, Terms>,
    agents: BTreeMap<(&'static str, &'static str), (u32, D::Agent, AgentTimeline)>,
    users: BTreeMap<&'static str, (D::User, UserTimeline)>,
    ledgers: BTreeMap<(&'static str, &'static str), D::Ledger>,
    uses: BTreeMap<(&'static str, &'static str, &'static str), D::Use>,
    greatest_us: Option<i64>,
    payments: u64,
    /// The last reason given.
    pub(crate) reason: String,
}

impl<D: Detector> Rig<D> {
    pub(crate) fn new() -> Self {
        Self {
            params: D::Params::default(),
            bounds: Bounds::default(),
            reached: Reached::default(),
            rates: Rates::new(Currency::USD, []),
            categories: MerchantCategories::default(),
            groups: GroupMap::default(),
            mandates: BTreeMap::new(),
            agents: BTreeMap::new(),
            users: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            uses: BTreeMap::new(),
            greatest_us: None,
            payments: 0,
            reason: String::new(),
        }
    }

    /// With a mandate in force.
    pub(crate) fn with(mut self, mandate: Mandate) -> Self {
        self.set(mandate);
        self
    }

    /// Puts a mandate, or its new state, in force.
    pub(crate) fn set(&mut self, mandate: Mandate) {
        self.mandates.insert(mandate.mandate_id.clone(), Terms::new(&mandate, &self.categories));
    }

    pub(crate) fn terms(&self, mandate_id: &str) -> &Terms {
        &self.mandates[mandate_id]
    }

    /// State of agent `agent` of user `u`.
    pub(crate) fn agent(&self, agent: &'static str) -> &D::Agent {
        &self.agents[&("u", agent)].1
    }

    /// State of user `u`.
    pub(crate) fn user(&self) -> &D::User {
        &self.users["u"].0
    }

    /// Number of agent `agent` of user `u`.
    pub(crate) fn number(&self, agent: &'static str) -> u32 {
        self.agents[&("u", agent)].0
    }

    /// State of mandate, agent and user `u`.
    pub(crate) fn usage(&self, mandate: &'static str, agent: &'static str) -> &D::Use {
        &self.uses[&(mandate, "u", agent)]
    }

    /// Takes payments and returns what [`Rig::pay`] says of the last.
    pub(crate) fn last(&mut self, pays: impl IntoIterator<Item = Pay>) -> String {
        pays.into_iter().map(|pay| self.pay(&pay)).last().unwrap_or_default()
    }

    /// Takes a payment and returns the tiers that hold with their measures, strongest first, such as
    /// `pace 10, rate 10`.
    pub(crate) fn pay(&mut self, pay: &Pay) -> String {
        let tx = pay.transaction(self.payments);
        self.payments += 1;
        let greatest_us = self.greatest_us.max(Some(tx.watermark_time().0)).unwrap();
        self.greatest_us = Some(greatest_us);
        let watermark_us = greatest_us - LATENESS_US;
        let clock_skew = pay.recorded_us.is_some_and(|recorded| pay.time_us - recorded > LATENESS_US);
        let late = clock_skew || pay.time_us < watermark_us;

        let agents_of_user = self.agents.keys().filter(|(user, _)| *user == pay.user).count();
        let fresh =
            || (u32::try_from(agents_of_user).unwrap(), D::Agent::default(), AgentTimeline::default());
        let (number, agent, payments) = self.agents.entry((pay.user, pay.agent)).or_insert_with(fresh);
        let (user, user_payments) =
            self.users.entry(pay.user).or_insert_with(|| (D::User::default(), UserTimeline::default()));
        let usable = |terms: &&Terms| {
            tx.mandate_id.is_none() && terms.held_by(pay.agent, pay.user) && terms.usable_at(pay.time_us)
        };
        let mut payment = Payment {
            tx: &tx,
            time_us: pay.time_us,
            believed_us: pay.time_us,
            late,
            clock_skew,
            watermark_us,
            oldest_accepted_us: watermark_us - DAY_US,
            rates: &self.rates,
            base_amount: self.rates.to_base(pay.amount, pay.currency),
            agent: *number,
            merchant: Name::of(pay.merchant, &self.groups),
            category: pay.category.map_or(Name::default(), |category| Name::of(category, &self.groups)),
            mandate: None,
            held: None,
            usable: None,
            omitted: self.mandates.values().find(usable),
            at: None,
        };
        payment.put_under(pay.mandate.and_then(|mandate| self.mandates.get(mandate)));
        if !late {
            payment.at = Some(take_in(&payment, payments, user_payments));
        }
        let key = pay.mandate.map(|mandate| (mandate, pay.user));
        let mut seat = Seat {
            agent,
            user,
            ledger: key.map(|key| self.ledgers.entry(key).or_default()),
            usage: key.map(|(mandate, user)| self.uses.entry((mandate, user, pay.agent)).or_default()),
            payments,
            user_payments,
            bounds: &self.bounds,
            reached: &mut self.reached,
        };
        let mut tiers = Tiers::new();
        let found = D::observe(&self.params, &payment, &mut seat, &mut tiers);
        tiers.sort_by_key(|held| held.tier);
        let mut verdict = Verdict::default();
        let floor = |tier: usize| D::TIERS[tier].floor.unwrap_or(D::FLOOR);
        let strongest = tiers.iter().max_by_key(|held| (floor(held.tier), std::cmp::Reverse(held.tier)));
        if let Some(&held) = strongest {
            let reason = D::explain(&self.params, &payment, &found, held, &mut Explain::new(&mut verdict));
            verdict.text(&reason).clone_into(&mut self.reason);
            let tier = D::TIER_NAMES[held.tier];
            verdict.signals.push(signal(D::NAME, tier, floor(held.tier), held.measure));
            verdict.action = floor(held.tier);
        }
        if let Some(detector) = pay.also {
            verdict.signals.push(signal(detector, "", Action::Challenge, Amount::ZERO));
        }
        if pay.blocked {
            verdict.action = Action::Block;
        }
        let outcome = Outcome { action: verdict.action, verdict: &verdict };
        D::settle(&self.params, &payment, &mut seat, &outcome);
        let held: Vec<String> =
            tiers.iter().map(|held| format!("{} {}", D::TIER_NAMES[held.tier], held.measure)).collect();
        held.join(", ")
    }
}

fn take_in(payment: &Payment<'_>, payments: &mut AgentTimeline, user_payments: &mut UserTimeline) -> usize {
    let time_us = payment.time_us;
    payments.evict_before(payment.watermark_us - AGENT_SPAN_US);
    user_payments.evict_before(payment.watermark_us - DAY_US);
    user_payments.insert(UserPayment::new(time_us, payment.agent, payment.base_amount));
    payments.insert(AgentPayment::of(payment))
}

fn signal(detector: &'static str, tier: &'static str, floor: Action, measure: Amount) -> Signal {
    Signal {
        detector,
        tier,
        floor,
        points: Risk::ZERO,
        measure,
        rank: 0,
        episode: 0..0,
        evidence: 0..0,
        also: 0,
        tiers: &[],
        reason: 0..0,
    }
}

#[test]
fn times_count_from_a_tuesday_in_may() {
    assert_eq!(Timestamp::parse("2026-05-05T00:00:00Z"), Some(Timestamp(T0_US)));
}
