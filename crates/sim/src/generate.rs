//! The stream: agents wake, plan payments, and what they planned leaves in the order of arrival.
//!
//! Memory holds the agents and what is in flight, never the stream. One generator of random numbers is
//! drawn from in the order of events, so a seed gives the same bytes everywhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::agent::{Agent, DAY, HOUR, MINUTE, ROLES, SECOND};
use crate::catalog::{ATTACKS, Attack, AttackKind, Habit, attack_named};
use crate::record::{
    Label, Mandate, Names, Payment, Period, Status, write_label, write_mandate, write_payment,
};
use crate::rng::{Rng, mix};
use crate::world::{Merchant, Place, failover, region_at};

/// How much habits and attacks overlap, and how disordered the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difficulty {
    /// Few honest payments look like an attack; arrival within a second.
    Easy,
    /// The reference.
    #[default]
    Medium,
    /// Attacks are smaller and slower, honest agents are stranger; arrival within eight seconds.
    Hard,
}

/// What stream to make.
#[derive(Debug, Clone)]
pub struct Options {
    /// Distinct transactions; repeats come on top.
    pub transactions: u64,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Overlap and disorder.
    pub difficulty: Difficulty,
    /// Share of the transactions that are fraud, 0 to 0.5.
    pub fraud_share: f64,
    /// Share of the transactions that arrive in a backlog more than five minutes late, 0 to 0.5.
    pub late_share: f64,
    /// Share of the transactions that are sent again, 0 to 0.5; one in seven of them after hours.
    pub repeat_share: f64,
    /// Start of event time, in microseconds since the Unix epoch.
    pub start_us: i64,
    /// Length of event time in days, about; longer when the agents are few for the transactions.
    pub days: u32,
    /// Agents at the start; by default one per 180 transactions, more in short streams.
    pub agents: Option<u64>,
    /// Names of attacks and habits to restrict the stream to. Habits alone give no attacks; attacks
    /// alone leave every habit.
    pub only: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transactions: 100_000,
            seed: 1,
            difficulty: Difficulty::Medium,
            fraud_share: 0.02,
            late_share: 0.002,
            repeat_share: 0.002,
            // 2026-03-02T00:00:00Z, a Monday.
            start_us: 1_772_409_600 * SECOND,
            days: 21,
            agents: None,
            only: Vec::new(),
        }
    }
}

/// Options that make no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A name in `only` is neither an attack nor a habit.
    #[error("'{0}' is neither an attack nor a habit; the attacks are {attacks}; the habits are {habits}",
        attacks = ATTACKS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", "),
        habits = crate::catalog::habits().collect::<Vec<_>>().join(", "))]
    UnknownName(String),
    /// A share is not between 0 and 0.5.
    #[error("{0} must be between 0 and 0.5")]
    Share(&'static str),
    /// A number is zero or beyond what the stream can hold.
    #[error("{0} must be between {1} and {2}")]
    Range(&'static str, i64, i64),
}

impl Options {
    /// Whether a stream can be made of this; [`generate`] refuses with the same error.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub fn validate(&self) -> Result<(), OptionsError> {
        for (name, share) in [
            ("the fraud share", self.fraud_share),
            ("the late share", self.late_share),
            ("the repeat share", self.repeat_share),
        ] {
            if !(0.0..=0.5).contains(&share) {
                return Err(OptionsError::Share(name));
            }
        }
        let (first, last) = (946_684_800 * SECOND + 60 * DAY, 4_070_908_800 * SECOND);
        if !(first..=last).contains(&self.start_us) {
            return Err(OptionsError::Range("the start, in microseconds since 1970,", first, last));
        }
        if !(1..=365).contains(&self.days) {
            return Err(OptionsError::Range("the number of days", 1, 365));
        }
        if self.transactions == 0 || self.transactions > 10_000_000_000 {
            return Err(OptionsError::Range("the number of transactions", 1, 10_000_000_000));
        }
        if self.agents.is_some_and(|agents| agents == 0 || agents > 100_000_000) {
            return Err(OptionsError::Range("the number of agents", 1, 100_000_000));
        }
        let unknown = |name: &&String| attack_named(name).is_none() && Habit::named(name).is_none();
        self.only.iter().find(unknown).map_or(Ok(()), |name| Err(OptionsError::UnknownName(name.clone())))
    }
}

/// What a stream came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Distinct transactions, one label each.
    pub transactions: u64,
    /// Records sent again on top.
    pub repeats: u64,
    /// Transactions that arrived more than five minutes late.
    pub late: u64,
    /// Mandate records.
    pub mandates: u64,
    /// Agents that made a payment or hold a mandate.
    pub agents: u64,
    /// Transactions that are fraud.
    pub fraud: u64,
    /// Episodes of fraud.
    pub episodes: u64,
    /// Fraudulent transactions by attack.
    pub attacks: BTreeMap<&'static str, u64>,
    /// Honest transactions by habit.
    pub habits: BTreeMap<&'static str, u64>,
    /// Time of arrival of the last record, in microseconds since the Unix epoch.
    pub end_us: i64,
}

/// Writes a labelled stream: transactions in order of arrival, mandates in order of change, and one
/// label `{"tx_id","attack"|null,"episode"|null,"habit"}` per transaction.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] with an [`OptionsError`], or what a writer returned.
pub fn generate(
    options: &Options,
    transactions: &mut impl Write,
    mandates: &mut impl Write,
    labels: &mut impl Write,
) -> io::Result<Summary> {
    options.validate().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut out = Out { transactions, mandates, labels, line: Vec::with_capacity(1024) };
    let mut sim = Sim::new(options);
    while let Some(Reverse((at, number))) = sim.wakes.pop() {
        if sim.planned >= sim.target {
            break;
        }
        sim.now = at;
        sim.release(at, &mut out)?;
        sim.wake(number);
        sim.attack_in_turn();
    }
    sim.release(i64::MAX, &mut out)?;
    out.transactions.flush()?;
    out.mandates.flush()?;
    out.labels.flush()?;
    Ok(sim.summary)
}

struct Out<'a, T, M, L> {
    transactions: &'a mut T,
    mandates: &'a mut M,
    labels: &'a mut L,
    line: Vec<u8>,
}

/// What difficulty comes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    /// Longest way from a payment to its record.
    pub(crate) disorder_us: i64,
    /// Share of honest sessions that look like an attack.
    pub(crate) lookalike: f64,
    /// Attacks keep more below notice: 0, 1 or 2.
    pub(crate) stealth: i64,
}

#[derive(Debug)]
enum Due {
    Payment(Box<Payment>),
    Repeat(Box<Payment>),
    Mandate(Box<Mandate>),
}

/// A platform whose regions fail over.
#[derive(Debug, Clone, Copy)]
struct Outage {
    platform: u8,
    from: i64,
    to: i64,
    /// To another region, not another site of the same one.
    far: bool,
}

/// The stream under way.
#[derive(Debug)]
pub(crate) struct Sim {
    pub(crate) rng: Rng,
    pub(crate) tuning: Tuning,
    pub(crate) now: i64,
    /// When the session under way begins to pay.
    pub(crate) begin: i64,
    start: i64,
    end: i64,
    pub(crate) planned: u64,
    pub(crate) target: u64,
    seed: u64,
    stretch: f64,
    late_share: f64,
    repeat_share: f64,
    habits: u32,
    agents: Vec<Option<Box<Agent>>>,
    homes: Vec<Home>,
    users: Vec<(u32, u8)>,
    /// Agents that have acted, for the choice of victims.
    pub(crate) active: Vec<u32>,
    wakes: BinaryHeap<Reverse<(i64, u32)>>,
    due: BinaryHeap<Reverse<(i64, u64, u32)>>,
    items: Vec<Option<Due>>,
    free: Vec<u32>,
    sequence: u64,
    outages: Vec<Outage>,
    names: Vec<Names>,
    fraud: Fraud,
    summary: Summary,
}

/// What is known of an agent before it acts.
#[derive(Debug, Clone, Copy)]
struct Home {
    user: u32,
    slot: u8,
    habit: Habit,
}

/// The pace of fraud.
#[derive(Debug)]
struct Fraud {
    /// Fraudulent payments per honest one, once it begins.
    ratio: f64,
    begins: i64,
    /// Payments that fraud is behind by; an episode begins when it is above zero.
    owed: f64,
    kinds: Vec<&'static AttackKind>,
    deck: Vec<&'static AttackKind>,
    episodes: u32,
}

impl Sim {
    fn new(options: &Options) -> Self {
        let tuning = match options.difficulty {
            Difficulty::Easy => Tuning { disorder_us: SECOND, lookalike: 0.001, stealth: 0 },
            Difficulty::Medium => Tuning { disorder_us: 3 * SECOND, lookalike: 0.003, stealth: 1 },
            Difficulty::Hard => Tuning { disorder_us: 8 * SECOND, lookalike: 0.012, stealth: 2 },
        };
        let wanted: Vec<Habit> = options.only.iter().filter_map(|name| Habit::named(name)).collect();
        let habits = if wanted.is_empty() { u32::MAX } else { wanted.iter().fold(0, |all, h| all | h.bit()) };
        let kinds: Vec<_> = if options.only.is_empty() {
            ATTACKS.iter().collect()
        } else {
            options.only.iter().filter_map(|name| attack_named(name)).collect()
        };
        let target = options.transactions;
        let agents = options.agents.unwrap_or_else(|| (target / 180).max((target / 40).min(300)).max(6));
        let mut days = i64::from(options.days);
        let mut stretch = expected(days, habits) * to_f64(agents) / to_f64(target);
        // Agents that act four times as often as agents do are no longer themselves: take more days.
        if stretch < 0.25 {
            days = days * i64::try_from(target / agents.max(1)).unwrap_or(i64::MAX / 1_000).max(1)
                / i64::from(options.days).max(1);
            days = (days / 30).clamp(i64::from(options.days), 20_000);
            stretch = (expected(days, habits) * to_f64(agents) / to_f64(target)).max(0.02);
        }
        let span = days * DAY;
        let share = if kinds.is_empty() { 0.0 } else { options.fraud_share };
        let warm_up = 0.15;
        let mut sim = Self {
            rng: Rng::new(options.seed),
            tuning,
            now: options.start_us,
            begin: options.start_us,
            start: options.start_us,
            end: options.start_us + span,
            planned: 0,
            target,
            seed: mix(options.seed),
            stretch,
            late_share: options.late_share,
            repeat_share: options.repeat_share,
            habits,
            agents: Vec::new(),
            homes: Vec::new(),
            users: Vec::new(),
            active: Vec::new(),
            wakes: BinaryHeap::new(),
            due: BinaryHeap::new(),
            items: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            outages: Vec::new(),
            names: Vec::new(),
            fraud: Fraud {
                ratio: share / (1.0 - share) / (1.0 - warm_up),
                begins: options.start_us + span * 15 / 100,
                owed: 0.0,
                kinds,
                deck: Vec::new(),
                episodes: 0,
            },
            summary: Summary::default(),
        };
        sim.settle(agents, span);
        sim
    }

    /// Creates users with one to five agents each, and the outages of the stream.
    fn settle(&mut self, agents: u64, span: i64) {
        let start = self.now;
        let roles: Vec<_> = ROLES.iter().filter(|role| self.does(role.habit)).collect();
        let total: i64 = roles.iter().map(|role| role.weight).sum();
        while (self.homes.len() as u64) < agents {
            let size = match self.rng.below(20) {
                0..=10 => 1,
                11..=14 => 2,
                15..=17 => 3,
                18 => 4,
                _ => 5,
            };
            let mut twin = false;
            let user = self.new_user();
            for slot in 0..size {
                let mut at = self.rng.range(0, (total - 1).max(0));
                let drawn = roles.iter().find(|role| {
                    at -= role.weight;
                    at < 0
                });
                let mut habit = drawn.map_or(Habit::Shopper, |role| role.habit);
                // Twins come in pairs.
                if slot == 0 && size > 1 {
                    twin = habit == Habit::TwinAgents
                        || (self.does(Habit::TwinAgents) && self.rng.below(12) == 0);
                }
                if twin && slot < 2 {
                    habit = Habit::TwinAgents;
                } else if habit == Habit::TwinAgents && self.does(Habit::Shopper) {
                    habit = Habit::Shopper;
                }
                let number = self.new_agent(user, slot, habit);
                // Two thirds are there from the start, the others join on the way.
                let first = if self.rng.below(3) > 0 { DAY.min(span / 4) } else { span * 4 / 5 };
                let wait = self.rng.range(0, first);
                self.wakes.push(Reverse((start + wait, number)));
            }
        }
        for (at, platform) in [0_u8, 1, 2, 4].into_iter().enumerate() {
            let from = start + span / 5 + self.rng.range(0, span * 7 / 10);
            let to = from + self.rng.range(90, 300) * MINUTE;
            if self.does(Habit::RegionFailover) {
                self.outages.push(Outage { platform, from, to, far: at == 0 });
            }
        }
    }

    fn new_user(&mut self) -> u32 {
        self.users.push((u32::try_from(self.homes.len()).unwrap_or(u32::MAX), 0));
        u32::try_from(self.users.len() - 1).unwrap_or(u32::MAX)
    }

    fn new_agent(&mut self, user: u32, slot: u8, habit: Habit) -> u32 {
        let number = u32::try_from(self.homes.len()).unwrap_or(u32::MAX);
        self.homes.push(Home { user, slot, habit });
        self.agents.push(None);
        self.names.push(Names { user: 0, agent: 0, product: None });
        if let Some((_, count)) = self.users.get_mut(user as usize) {
            *count += 1;
        }
        number
    }

    /// An agent that nobody has seen, of a new user, for the planners of attacks to place.
    pub(crate) fn enrol(&mut self, habit: Habit) -> Option<Box<Agent>> {
        let user = self.new_user();
        let number = self.new_agent(user, 0, habit);
        self.take(number)
    }

    /// Numbers of the user's agents.
    pub(crate) fn siblings(&self, user: u32) -> impl Iterator<Item = u32> + use<> {
        let (first, count) = self.users.get(user as usize).copied().unwrap_or_default();
        first..first + u32::from(count)
    }

    /// Takes the agent out to be planned with; it is created on first use.
    pub(crate) fn take(&mut self, number: u32) -> Option<Box<Agent>> {
        let home = *self.homes.get(number as usize)?;
        let slot = self.agents.get_mut(number as usize)?;
        if let Some(agent) = slot.take() {
            return Some(agent);
        }
        let made = Agent::new(self.seed, home.user, usize::from(home.slot), number, home.habit, self.stretch);
        *self.names.get_mut(number as usize)? = made.names;
        self.active.push(number);
        self.summary.agents += 1;
        Some(Box::new(made))
    }

    pub(crate) fn put_back(&mut self, agent: Box<Agent>) {
        let number = agent.number as usize;
        if let Some(slot) = self.agents.get_mut(number) {
            *slot = Some(agent);
        }
    }

    pub(crate) fn peek(&self, number: u32) -> Option<&Agent> {
        self.agents.get(number as usize)?.as_deref()
    }

    pub(crate) fn does(&self, habit: Habit) -> bool {
        self.habits & habit.bit() != 0
    }

    fn wake(&mut self, number: u32) {
        let Some(mut agent) = self.take(number) else { return };
        let next = if agent.attacked_until > self.now {
            agent.attacked_until + self.rng.range(1, 12) * HOUR
        } else {
            self.session(&mut agent);
            self.next_session(&agent)
        };
        self.wakes.push(Reverse((next, number)));
        self.put_back(agent);
    }

    fn next_session(&mut self, agent: &Agent) -> i64 {
        if agent.habit == Habit::TwinAgents {
            // Both twins know the user's timetable; they wake by it, not by their own clock.
            let every = agent.every_us.max(20 * MINUTE);
            let phase = i64::try_from(mix(u64::from(agent.user)) % every.unsigned_abs()).unwrap_or(0);
            let done = agent.planned_until.max(self.now);
            return (done - phase).div_euclid(every) * every + every + phase;
        }
        if agent.habit == Habit::Subscriber {
            return self.now.max(agent.planned_until) + agent.every_us;
        }
        let mut next = agent.planned_until.max(self.now) + 5 * MINUTE + self.rng.exponential(agent.every_us);
        let hour = (next + agent.zone_us).rem_euclid(DAY) / HOUR;
        if agent.habit != Habit::FixedPace && hour < 6 && self.rng.chance(0.85) {
            next += self.rng.range(5 * 60, 10 * 60) * MINUTE;
        }
        next
    }

    /// Whether the agent's platform has an outage at `at`; `true` when it fails over to another region.
    pub(crate) fn outage(&self, agent: &Agent, at: i64) -> Option<bool> {
        let hit =
            |outage: &&Outage| outage.platform == agent.platform && (outage.from..=outage.to).contains(&at);
        // What is launched during an outage is launched elsewhere and stays there.
        if agent.payments < 5 {
            return None;
        }
        self.outages.iter().find(hit).map(|outage| outage.far)
    }

    /// The position that the agent reports at `at`.
    fn place(&mut self, agent: &Agent, at: i64) -> Option<Place> {
        let base = agent.place?;
        if !agent.is_located() {
            // People travel: a tenth of the time they are far away.
            let trip = mix(agent.names.user ^ mix(at.div_euclid(3 * DAY).unsigned_abs()));
            let home = if trip.is_multiple_of(10) { region_at((trip >> 8) as u8 % 14).0 } else { base };
            return Some(home.near(&mut self.rng, 900_000));
        }
        let near = base.near(&mut self.rng, 60_000);
        match self.outage(agent, at) {
            Some(true) => Some(region_at(failover(agent.region)).0.near(&mut self.rng, 60_000)),
            Some(false) => Some(near.shifted(9_000_000, -7_000_000)),
            None => Some(near),
        }
    }

    /// A payment of the agent as its platform would send it, not yet planned.
    pub(crate) fn payment(&mut self, agent: &Agent, at: i64, merchant: Merchant, amount: i64) -> Payment {
        let place = self.place(agent, at);
        let id = mix(self.seed ^ (self.planned + 1));
        Payment {
            id,
            agent: agent.number,
            mandate: agent.mandate.id,
            merchant,
            category_sent: merchant.sends_category(),
            www: agent.www,
            amount: amount.max(1),
            currency: agent.currency,
            country: agent.country,
            place,
            place_source: agent.place_source,
            tx_time: at,
            record_time: at + self.rng.range(20_000, self.tuning.disorder_us),
            platform: agent.platform,
            retry_of: 0,
            payment_id: id >> 16,
            label: Label { attack: None, habit: agent.habit.name() },
        }
    }

    /// Plans the payment; false when the stream is full.
    pub(crate) fn plan(&mut self, agent: &mut Agent, payment: Payment) -> bool {
        if self.planned >= self.target {
            return false;
        }
        self.planned += 1;
        agent.payments += 1;
        agent.planned_until = agent.planned_until.max(payment.tx_time);
        let (attacks, habits) = (&mut self.summary.attacks, &mut self.summary.habits);
        if let Some((attack, _)) = payment.label.attack {
            *attacks.entry(attack).or_default() += 1;
            self.summary.fraud += 1;
            self.fraud.owed -= 1.0;
        } else {
            *habits.entry(payment.label.habit).or_default() += 1;
            if self.now >= self.fraud.begins {
                self.fraud.owed += self.fraud.ratio;
            }
        }
        self.summary.transactions += 1;
        self.summary.late += u64::from(payment.record_time - payment.tx_time > 5 * MINUTE);
        if self.rng.chance(self.repeat_share) {
            let after_hours = self.rng.below(7) == 0;
            let wait = if after_hours {
                self.rng.range(60, 19 * 60) * MINUTE
            } else {
                self.rng.range(1, 60) * SECOND
            };
            // A repeat within the memory of repeats, however late the first came.
            let at = (payment.record_time + wait)
                .min(payment.tx_time + 23 * HOUR)
                .max(payment.record_time + SECOND);
            self.summary.repeats += 1;
            self.push(at, Due::Repeat(Box::new(Payment { record_time: at, ..payment })));
        }
        self.push(payment.record_time, Due::Payment(Box::new(payment)));
        true
    }

    fn push(&mut self, at: i64, due: Due) {
        self.sequence += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(item) = self.items.get_mut(slot as usize) {
            *item = Some(due);
        }
        self.due.push(Reverse((at, self.sequence, slot)));
    }

    /// Publishes the mandate's state as of its `updated_at`.
    pub(crate) fn publish(&mut self, mandate: &Mandate) {
        self.summary.mandates += 1;
        let at = mandate.updated_at.unwrap_or(self.now).max(self.now);
        self.push(at, Due::Mandate(Box::new(mandate.clone())));
    }

    /// Gives the agent a fresh mandate that is in force at `at` and leaves room for `needed`.
    pub(crate) fn grant(&mut self, agent: &mut Agent, at: i64, needed: i64) {
        let first = agent.mandate.id == 0;
        let made = (at - self.rng.range(10, 600) * SECOND).max(self.now).min(at);
        let earlier = if first { self.rng.range(0, 20) * DAY } else { 0 };
        let valid_from = made - earlier;
        let dearest = agent.dearest();
        let (period, factor) = match self.rng.below(10) {
            0..=4 => (Period::Lifetime, self.rng.range(12, 60)),
            5..=6 => (Period::Month, self.rng.range(15, 60)),
            7..=8 => (Period::Week, self.rng.range(10, 30)),
            _ => (Period::Day, self.rng.range(8, 20)),
        };
        let period = if agent.habit == Habit::Subscriber { Period::Month } else { period };
        let factor = if agent.habit == Habit::FixedPace { factor * 4 } else { factor };
        let authorized_tps_e2 = match agent.pace {
            crate::agent::Pace::Agreed(gap) if agent.habit == Habit::FixedPace => {
                u64::try_from(150 * SECOND / gap.max(1)).unwrap_or(0)
            }
            _ => 0,
        };
        let mandate = Mandate {
            id: self.mandate_id(),
            agent: agent.number,
            scope: agent.scope(),
            cap: (dearest * factor).max(needed * self.rng.range(15, 40) / 10),
            period,
            per_payment_max: if self.rng.below(7) == 0 { dearest * 3 / 2 } else { 0 },
            max_uses: 0,
            currency: agent.currency,
            authorized_tps_e2,
            valid_from,
            valid_to: made + self.rng.range(8, 45) * DAY - 1,
            status: Status::Active,
            updated_at: if first && self.now < self.start + DAY && self.rng.below(2) == 0 {
                None
            } else {
                Some(made)
            },
        };
        self.publish(&mandate);
        agent.mandate = mandate;
        agent.spent = 0;
        agent.spent_in = i64::MIN;
        agent.amendments = 0;
        agent.renew = false;
    }

    pub(crate) fn mandate_id(&mut self) -> u64 {
        self.rng.next_u64() >> 16 | 1
    }

    /// Sees to it that `amount` at `at` is within the agent's mandate; true when its cap was raised for it.
    pub(crate) fn provide(&mut self, agent: &mut Agent, at: i64, amount: i64, until: i64) -> bool {
        if !agent.holds_mandates() {
            return false;
        }
        let stale = agent.mandate.id == 0 || agent.renew || until >= agent.mandate.valid_to;
        let short = agent.remaining(at).is_some_and(|left| left < amount);
        if !stale && !short {
            return false;
        }
        if !stale && agent.amendments < 3 && self.does(Habit::CapAmended) && self.rng.below(5) < 2 {
            let more = agent.mandate.cap / 2 + amount * 2;
            agent.mandate.cap += more;
            let earliest = self.now.max(agent.mandate.updated_at.map_or(i64::MIN, |last| last + 1));
            agent.mandate.updated_at = Some((at - self.rng.range(1, 90) * SECOND).max(earliest));
            agent.amendments += 1;
            let amended = agent.mandate.clone();
            self.publish(&amended);
            return true;
        }
        self.grant(agent, at, amount);
        false
    }

    /// Whether this session is one of the share that arrives in a backlog.
    pub(crate) fn is_backlog(&mut self) -> bool {
        self.does(Habit::LateBacklog) && self.rng.chance(self.late_share)
    }

    fn attack_in_turn(&mut self) {
        if self.fraud.ratio <= 0.0 || self.now < self.fraud.begins {
            return;
        }
        let mut patience = 4;
        while self.fraud.owed > 0.0 && self.planned + 80 < self.target && patience > 0 {
            patience -= 1;
            let Some(kind) = self.next_kind() else { return };
            let episode = self.fraud.episodes + 1;
            if self.strike(kind.attack, kind.name, episode) {
                self.fraud.episodes = episode;
                self.summary.episodes += 1;
            } else {
                // Nobody suits it now: let another kind go first.
                self.fraud.deck.insert(0, kind);
            }
        }
    }

    fn next_kind(&mut self) -> Option<&'static AttackKind> {
        let long = |kind: &AttackKind| matches!(kind.attack, Attack::SlowRamp | Attack::GeoDrift);
        if self.fraud.deck.is_empty() {
            self.fraud.deck = self.fraud.kinds.clone();
            self.rng.shuffle(&mut self.fraud.deck);
            // What takes days goes first.
            self.fraud.deck.sort_by_key(|kind| long(kind));
        }
        if self.now + 7 * DAY > self.end && self.fraud.kinds.len() > 2 {
            // And not at all where no days are left, unless that is what was asked for.
            self.fraud.deck.retain(|kind| !long(kind));
        }
        self.fraud.deck.pop()
    }

    /// Writes everything that arrives up to `until`.
    fn release<T: Write, M: Write, L: Write>(
        &mut self,
        until: i64,
        out: &mut Out<'_, T, M, L>,
    ) -> io::Result<()> {
        while let Some(&Reverse((at, _, slot))) = self.due.peek() {
            if at > until {
                break;
            }
            self.due.pop();
            self.free.push(slot);
            let Some(due) = self.items.get_mut(slot as usize).and_then(Option::take) else { continue };
            out.line.clear();
            let agent = match &due {
                Due::Payment(payment) | Due::Repeat(payment) => payment.agent,
                Due::Mandate(mandate) => mandate.agent,
            };
            let Some(&names) = self.names.get(agent as usize) else { continue };
            match &due {
                Due::Payment(payment) => {
                    self.summary.end_us = at;
                    write_payment(&mut out.line, payment, names);
                    out.transactions.write_all(&out.line)?;
                    out.line.clear();
                    write_label(&mut out.line, payment);
                    out.labels.write_all(&out.line)?;
                }
                Due::Repeat(payment) => {
                    self.summary.end_us = at;
                    write_payment(&mut out.line, payment, names);
                    out.transactions.write_all(&out.line)?;
                }
                Due::Mandate(mandate) => {
                    write_mandate(&mut out.line, mandate, names);
                    out.mandates.write_all(&out.line)?;
                }
            }
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Payments that an agent makes in so many days, on average over the roles.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn expected(days: i64, habits: u32) -> f64 {
    let roles = ROLES.iter().filter(|role| habits & role.habit.bit() != 0);
    let (mut payments, mut weight) = (0.0, 0.0);
    for role in roles {
        let sessions = (days * DAY) as f64 / role.every_us as f64;
        payments += role.weight as f64 * sessions * role.payments_e2 as f64 / 100.0;
        weight += role.weight as f64;
    }
    // Agents that join on the way act for less of the time; nights and long sessions cost some too.
    if weight > 0.0 { 0.8 * payments / weight } else { 0.8 * days as f64 * 3.0 }
}
