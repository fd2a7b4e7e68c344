//! One agent: what it buys, where it runs, and the mandate it holds.

use crate::catalog::Habit;
use crate::record::{Mandate, Names, Period, Scope, month_number};
use crate::rng::{Rng, mix};
use crate::world::{
    AIRLINES, CAR_RENTAL, CURRENCIES, Currency, FIRST_RISK, GROCERIES, LODGING, Merchant, PLATFORMS, Place,
    REGIONS, platform_at, price_cents, region_at,
};

/// Microseconds per hour and day, as the planners count.
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// What an agent is for: its usual habit, how often it acts and how much it pays at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Role {
    pub(crate) habit: Habit,
    /// Out of the sum of all.
    pub(crate) weight: i64,
    /// Mean time between sessions.
    pub(crate) every_us: i64,
    /// Mean payments of a session, in hundredths.
    pub(crate) payments_e2: i64,
}

const fn role(habit: Habit, weight: i64, every_hours: i64, payments_e2: i64) -> Role {
    Role { habit, weight, every_us: every_hours * HOUR, payments_e2 }
}

/// Fixed-pace buyers are a seventh of the agents and most of the payments.
pub(crate) const ROLES: [Role; 10] = [
    role(Habit::Shopper, 260, 14, 200),
    role(Habit::PantryRestock, 110, 96, 1_600),
    role(Habit::GeneralBuyer, 70, 20, 260),
    role(Habit::Rebooking, 50, 60, 300),
    role(Habit::Subscriber, 80, 72, 100),
    role(Habit::FixedPace, 130, 14, 3_200),
    role(Habit::TwinAgents, 60, 12, 180),
    role(Habit::NoMandate, 90, 16, 180),
    role(Habit::PrincipalPosition, 60, 14, 190),
    role(Habit::ForeignCurrency, 90, 14, 230),
];

/// How a fixed-pace buyer paces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A timer: half a minute and more, hardly a jitter.
    Timer(i64),
    /// Works through a list: seconds apart, unevenly.
    Worker(i64),
    /// Faster than a payment a second, at a rate that its user agreed to.
    Agreed(i64),
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) number: u32,
    pub(crate) user: u32,
    pub(crate) names: Names,
    pub(crate) habit: Habit,
    pub(crate) every_us: i64,
    pub(crate) pace: Pace,
    pub(crate) platform: u8,
    pub(crate) region: u8,
    pub(crate) currency: Currency,
    pub(crate) country: &'static str,
    pub(crate) place: Option<Place>,
    pub(crate) place_source: &'static str,
    pub(crate) zone_us: i64,
    /// The merchants it buys at; a mandate's scope is made of them.
    pub(crate) pool: Vec<Merchant>,
    pub(crate) kind_of_scope: u8,
    pub(crate) www: bool,
    /// The mandate it presents; `id` 0 before the first and for agents that hold none.
    pub(crate) mandate: Mandate,
    pub(crate) spent: i64,
    pub(crate) spent_in: i64,
    pub(crate) amendments: u8,
    /// The next payment needs a fresh mandate.
    pub(crate) renew: bool,
    pub(crate) payments: u32,
    /// Event time of the last payment planned.
    pub(crate) planned_until: i64,
    /// When the last delayed payment arrives.
    pub(crate) late_until: i64,
    /// End of the attack that runs on it.
    pub(crate) attacked_until: i64,
    /// Whether it has been led through categories that are not its own.
    pub(crate) led_astray: bool,
}

const PRODUCTS: [&str; 6] =
    ["cartpilot-2", "pantrypal", "tripmate-v3", "buybot", "procure-agent", "errand-runner"];

impl Agent {
    /// An agent as its user and number make it; the same for the same seed.
    pub(crate) fn new(seed: u64, user: u32, slot: usize, number: u32, habit: Habit, stretch: f64) -> Self {
        let user_hash = mix(seed ^ mix(u64::from(user) | 1 << 40));
        let agent_hash = mix(user_hash ^ mix(u64::from(number) | 1 << 41));
        let mut of_user = Rng::new(user_hash);
        let mut rng = Rng::new(agent_hash);
        let currency = if habit == Habit::ForeignCurrency {
            Currency(u8::try_from(rng.range(1, CURRENCIES.len() as i64 - 1)).unwrap_or(1))
        } else {
            Currency(0)
        };
        let home = region_at(u8::try_from(of_user.below(REGIONS.len() as u64)).unwrap_or(0));
        let platform = u8::try_from(rng.below(PLATFORMS.len() as u64)).unwrap_or(0);
        let region = u8::try_from(rng.below(REGIONS.len() as u64)).unwrap_or(0);
        let principal = habit == Habit::PrincipalPosition;
        // A shopping app that reports positions does so on whatever platform it runs.
        let place = if principal {
            Some(home.0.near(&mut rng, 4_000_000))
        } else if platform_at(platform).located {
            Some(region_at(region).0.near(&mut rng, 1_500_000))
        } else {
            None
        };
        let role = ROLES.iter().find(|role| role.habit == habit);
        let kind_of_scope = u8::try_from(rng.below(20)).unwrap_or(0);
        let pool = pool(&mut rng, habit, kind_of_scope);
        let every_us = stretched(role.map_or(DAY, |role| role.every_us), stretch);
        Self {
            number,
            user,
            names: Names {
                user: user_hash & 0xff_ffff_ffff,
                agent: agent_hash & 0xff_ffff_ffff,
                product: if rng.below(5) == 0 { PRODUCTS.get(slot).copied() } else { None },
            },
            habit,
            every_us,
            pace: pace(&mut rng),
            platform,
            region,
            currency,
            country: home.1,
            place,
            place_source: match (principal, rng.below(3)) {
                (true, _) => "principal",
                (false, 0) => "",
                _ => "agent",
            },
            zone_us: (home.0.lng_e7 / 150_000_000) * HOUR,
            pool,
            kind_of_scope,
            www: rng.below(40) == 0,
            mandate: Mandate::default(),
            spent: 0,
            spent_in: 0,
            amendments: 0,
            renew: false,
            payments: 0,
            planned_until: 0,
            late_until: 0,
            attacked_until: 0,
            led_astray: false,
        }
    }

    pub(crate) fn holds_mandates(&self) -> bool {
        self.habit != Habit::NoMandate
    }

    /// Whether it reports a position that is its own.
    pub(crate) fn is_located(&self) -> bool {
        self.place.is_some() && self.place_source != "principal"
    }

    /// A usual merchant of the agent.
    pub(crate) fn merchant(&self, rng: &mut Rng) -> Merchant {
        rng.pick(&self.pool)
    }

    /// A usual price at `merchant`, in minor units, within what one payment may be.
    pub(crate) fn price(&self, rng: &mut Rng, merchant: Merchant) -> i64 {
        self.lawful(self.currency.minor(price_cents(rng, merchant.category())))
    }

    /// `amount` within what one payment may be.
    pub(crate) fn lawful(&self, amount: i64) -> i64 {
        if self.mandate.per_payment_max > 0 { amount.min(self.mandate.per_payment_max) } else { amount }
    }

    /// The period of the cap that `at` falls in.
    fn period_of(&self, at: i64) -> i64 {
        let days = at.div_euclid(DAY);
        match self.mandate.period {
            Period::Lifetime => 0,
            Period::Day => days,
            // The epoch was a Thursday.
            Period::Week => (days + 3).div_euclid(7),
            Period::Month => month_number(days),
        }
    }

    /// What the cap leaves at `at`; `None` without a cap.
    pub(crate) fn remaining(&self, at: i64) -> Option<i64> {
        let spent = if self.period_of(at) == self.spent_in { self.spent } else { 0 };
        (self.mandate.cap > 0).then(|| (self.mandate.cap - spent).max(0))
    }

    /// Counts a payment under the mandate.
    pub(crate) fn spend(&mut self, at: i64, amount: i64) {
        let period = self.period_of(at);
        if period != self.spent_in {
            self.spent = 0;
            self.spent_in = period;
        }
        self.spent += amount;
    }

    /// The scope that the agent's mandates have.
    pub(crate) fn scope(&self) -> Scope {
        let mut categories: Vec<u8> = self.pool.iter().map(|merchant| merchant.category()).collect();
        categories.sort_unstable();
        categories.dedup();
        match self.kind_of_scope {
            0..=5 if self.pool.len() == 1 => self.pool.first().copied().map_or(Scope::Any, Scope::One),
            0..=9 => Scope::Merchants(self.pool.clone()),
            10..=14 => Scope::Categories(categories),
            _ => Scope::Any,
        }
    }

    /// What a price at the agent's merchants may come to, in minor units.
    pub(crate) fn dearest(&self) -> i64 {
        let high = |merchant: &Merchant| {
            crate::world::CATEGORIES.get(usize::from(merchant.category())).map_or(1_000, |c| c.high_cents)
        };
        self.currency.minor(self.pool.iter().map(high).max().unwrap_or(1_000))
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "far below 2^53")]
pub(crate) fn stretched(duration_us: i64, stretch: f64) -> i64 {
    ((duration_us as f64 * stretch) as i64).max(1)
}

fn pace(rng: &mut Rng) -> Pace {
    match rng.below(20) {
        0..=12 => Pace::Timer(rng.range(31, 280).min(rng.range(31, 280)) * SECOND),
        13..=17 => Pace::Worker(rng.range(2_000, 28_000) * 1_000),
        _ => Pace::Agreed(rng.range(600, 1_600) * 1_000),
    }
}

fn pool(rng: &mut Rng, habit: Habit, kind_of_scope: u8) -> Vec<Merchant> {
    let mut categories: Vec<u8> = match habit {
        Habit::PantryRestock => vec![GROCERIES],
        Habit::Rebooking => vec![AIRLINES, LODGING, CAR_RENTAL],
        Habit::Subscriber => vec![16, 17, 20],
        Habit::FixedPace => vec![rng.pick(&[0, 9, 17, 18, 18, 19, 19, 21])],
        Habit::GeneralBuyer => {
            let mut all: Vec<u8> = (0..FIRST_RISK).filter(|c| !(AIRLINES..=CAR_RENTAL).contains(c)).collect();
            rng.shuffle(&mut all);
            all.truncate(6);
            // Presents are honest too.
            if rng.below(12) == 0 {
                all.push(FIRST_RISK);
            }
            all
        }
        _ => {
            let mut few = vec![rng.pick(&[0, 1, 2, 3, 5, 6, 7, 8, 10]), rng.pick(&[0, 4, 5, 11, 15, 21, 7])];
            few.dedup();
            if rng.below(25) == 0 {
                few.push(rng.pick(&[22, 23, 26, 28]));
            }
            few
        }
    };
    let mut merchants: Vec<Merchant> = Vec::new();
    if kind_of_scope < 6 && habit != Habit::GeneralBuyer {
        rng.shuffle(&mut categories);
        categories.truncate(1);
        merchants.push(Merchant::draw(rng, categories.first().copied().unwrap_or(0)));
        return merchants;
    }
    for &category in &categories {
        let wanted = if categories.len() > 4 { 1 } else { rng.count(2, 4) };
        for _ in 0..wanted {
            let merchant = Merchant::draw(rng, category);
            if !merchants.contains(&merchant)
                && (merchant.sends_category() || !(10..15).contains(&kind_of_scope))
            {
                merchants.push(merchant);
            }
        }
    }
    if merchants.is_empty() {
        merchants
            .push(Merchant(u16::from(categories.first().copied().unwrap_or(0)) * crate::world::PER_CATEGORY));
    }
    merchants
}
