//! Honest sessions: what an agent pays for in one go.

use crate::agent::{Agent, HOUR, MINUTE, Pace, SECOND};
use crate::catalog::Habit;
use crate::generate::Sim;
use crate::rng::{Rng, mix};
use crate::world::{Merchant, price_cents};

/// One payment of a session, before its mandate is seen to.
#[derive(Debug, Clone, Copy)]
struct Step {
    at: i64,
    merchant: Merchant,
    /// Minor units.
    amount: i64,
    habit: Habit,
    /// Tries the step before it again.
    retry: bool,
}

impl Sim {
    /// Plans what the agent does now.
    pub(crate) fn session(&mut self, agent: &mut Agent) {
        // Between waking and paying there is time for a mandate to be granted. Twins keep to the minute.
        let wait = if agent.habit == Habit::TwinAgents { 5 } else { self.rng.range(5, 300) };
        self.begin = self.now + wait * SECOND;
        if agent.holds_mandates() && agent.mandate.id == 0 {
            let at = self.begin;
            self.grant(agent, at, 0);
        }
        let steps = self.steps(agent);
        let steps = self.with_retries(agent, steps);
        self.commit(agent, &steps);
    }

    fn steps(&mut self, agent: &Agent) -> Vec<Step> {
        let human = !matches!(agent.habit, Habit::FixedPace | Habit::Subscriber | Habit::TwinAgents);
        if human {
            let draw = self.rng.below(100);
            let only_these = !self.does(agent.habit);
            if self.does(Habit::IdenticalItems) && (draw < 4 || (only_these && draw < 50)) {
                return self.identical(agent);
            }
            if self.does(Habit::SplitCart) && agent.pool.len() > 1 && (draw < 10 || only_these) {
                return self.split(agent);
            }
            let may_restock = agent.habit != Habit::Rebooking && agent.pool.iter().any(|m| m.category() == 0);
            if self.does(Habit::PantryRestock) && may_restock && draw < 14 && agent.holds_mandates() {
                return self.restock(agent, Habit::PantryRestock);
            }
        }
        match agent.habit {
            Habit::PantryRestock if agent.payments == 0 && self.does(Habit::FirstActRestock) => {
                self.restock(agent, Habit::FirstActRestock)
            }
            Habit::PantryRestock => self.restock(agent, Habit::PantryRestock),
            Habit::Rebooking => self.rebooking(agent),
            Habit::GeneralBuyer if self.rng.below(3) == 0 => self.errands(agent),
            Habit::FixedPace => self.run(agent),
            Habit::TwinAgents => self.timetable(agent),
            Habit::Subscriber => self.few(agent, 1, 1),
            _ => self.few(agent, 1, 3),
        }
    }

    fn step(&mut self, agent: &Agent, at: i64, merchant: Merchant) -> Step {
        Step { at, merchant, amount: agent.price(&mut self.rng, merchant), habit: agent.habit, retry: false }
    }

    /// A few things within a quarter of an hour.
    fn few(&mut self, agent: &Agent, low: usize, high: usize) -> Vec<Step> {
        let mut at = self.begin;
        let count = self.rng.count(low, high);
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            let merchant = agent.merchant(&mut self.rng);
            steps.push(self.step(agent, at, merchant));
            at += self.rng.range(15, 400) * SECOND;
        }
        steps
    }

    /// Six to forty small unequal things, seconds apart.
    fn restock(&mut self, agent: &Agent, habit: Habit) -> Vec<Step> {
        let grocer = agent.pool.iter().copied().find(|merchant| merchant.category() == 0);
        let merchant = grocer.unwrap_or_else(|| agent.merchant(&mut self.rng));
        let count = self.rng.count(6, 40).min(self.rng.count(6, 40));
        let mean = self.rng.range(2_000, 6_500) * 1_000;
        let mut at = self.begin;
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            steps.push(Step { habit, ..self.step(agent, at, merchant) });
            at += self.rng.around(mean, 600);
        }
        steps
    }

    /// Several of one thing: seats, vouchers, presents. Mostly a handful, sometimes a dozen.
    fn identical(&mut self, agent: &Agent) -> Vec<Step> {
        let merchant = agent.merchant(&mut self.rng);
        let amount = agent.price(&mut self.rng, merchant);
        let many = self.rng.below(4) == 0 && agent.holds_mandates();
        let (low, high) = if many { (6, 12) } else { (2, 4) };
        let mean = if many { self.rng.range(5, 50) } else { self.rng.range(4, 25) } * SECOND;
        let mut at = self.begin;
        let mut steps = Vec::new();
        for _ in 0..self.rng.count(low, high) {
            steps.push(Step { at, merchant, amount, habit: Habit::IdenticalItems, retry: false });
            at += self.rng.around(mean, 600);
        }
        steps
    }

    /// One cart, several sellers, one instant.
    fn split(&mut self, agent: &Agent) -> Vec<Step> {
        let mut sellers = agent.pool.clone();
        self.rng.shuffle(&mut sellers);
        sellers.truncate(self.rng.count(2, if agent.holds_mandates() { 6 } else { 4 }));
        let at = self.begin;
        let mut steps: Vec<Step> = sellers.into_iter().map(|seller| self.step(agent, at, seller)).collect();
        steps.iter_mut().for_each(|step| step.habit = Habit::SplitCart);
        steps
    }

    /// A trip falls through and is booked again, leg by leg.
    fn rebooking(&mut self, agent: &Agent) -> Vec<Step> {
        let mut at = self.begin;
        let count = if self.rng.below(3) == 0 { self.rng.count(4, 8) } else { self.rng.count(1, 3) };
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            let merchant = agent.merchant(&mut self.rng);
            steps.push(self.step(agent, at, merchant));
            at += self.rng.range(8, 240) * SECOND;
        }
        steps
    }

    /// Four to six categories within a few minutes.
    fn errands(&mut self, agent: &Agent) -> Vec<Step> {
        let mut stops = agent.pool.clone();
        self.rng.shuffle(&mut stops);
        stops.truncate(self.rng.count(4, 6));
        let mut at = self.begin;
        let mut steps = Vec::with_capacity(stops.len());
        for stop in stops {
            steps.push(self.step(agent, at, stop));
            at += self.rng.range(10, 70) * SECOND;
        }
        steps
    }

    /// A fixed-pace buyer's run: ad slots, compute hours, stock for resale.
    fn run(&mut self, agent: &Agent) -> Vec<Step> {
        let merchant = agent.merchant(&mut self.rng);
        let odd = self.rng.chance(self.tuning.lookalike);
        let (mean, spread) = match agent.pace {
            _ if odd => (self.rng.range(5, 28) * SECOND, self.rng.range(1, 25)),
            Pace::Timer(mean) => (mean, self.rng.range(1, 70)),
            Pace::Worker(mean) | Pace::Agreed(mean) => (mean, 600),
        };
        let unit = agent.price(&mut self.rng, merchant);
        let same_price = (matches!(agent.pace, Pace::Timer(_)) || odd) && self.rng.below(3) == 0;
        let count = self.rng.count(8, 56);
        let mut at = self.begin;
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            let amount = if same_price { unit } else { agent.lawful(self.rng.around(unit, 450).max(1)) };
            steps.push(Step { at, merchant, amount, habit: Habit::FixedPace, retry: false });
            at += self.rng.around(mean, spread);
        }
        steps
    }

    /// What both agents of a household do at the hours that the household keeps; now and then the same.
    fn timetable(&mut self, agent: &Agent) -> Vec<Step> {
        let mut at = self.begin + self.rng.range(0, 8) * SECOND;
        // Both draw this from the household and the hour.
        let mut household = Rng::new(mix(u64::from(agent.user) ^ mix(self.now.unsigned_abs())));
        let alike = household.chance(self.tuning.lookalike * 4.0);
        let count = if alike { 3 } else { self.rng.count(1, 3) };
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            let merchant = agent.merchant(&mut self.rng);
            let mut step = self.step(agent, at, merchant);
            if alike {
                step.amount = agent.lawful(agent.currency.minor(price_cents(&mut household, 1)));
            }
            steps.push(step);
            at += if alike { 30 * SECOND } else { self.rng.range(15, 120) * SECOND };
        }
        steps
    }

    /// Now and then a payment is declined softly and tried again under a new id.
    fn with_retries(&mut self, agent: &Agent, steps: Vec<Step>) -> Vec<Step> {
        let share = match agent.habit {
            _ if !self.does(Habit::SoftDeclineRetry) => 0.0,
            _ if !self.does(agent.habit) => 0.3,
            Habit::FixedPace => 0.001,
            _ if steps.len() > 5 => 0.004,
            _ => 0.03,
        };
        let mut all = Vec::with_capacity(steps.len() + 1);
        // What comes after waits until the retry is through.
        let mut held_up = 0;
        for step in steps {
            all.push(Step { at: step.at + held_up, ..step });
            for _ in 0..3 {
                if !self.rng.chance(share) {
                    break;
                }
                held_up += self.rng.range(3, 75) * SECOND;
                all.push(Step { at: step.at + held_up, habit: Habit::SoftDeclineRetry, retry: true, ..step });
            }
        }
        all
    }

    fn commit(&mut self, agent: &mut Agent, steps: &[Step]) {
        let last = steps.iter().map(|step| step.at).max().unwrap_or(self.begin);
        let backlog = last - self.begin < 8 * HOUR && self.is_backlog();
        let delivered = last + self.rng.range(6 * 60, 9 * 3_600) * SECOND;
        let (mut tried, mut shared) = (0, 0);
        for (at_step, step) in (0..).zip(steps) {
            let raised = self.provide(agent, step.at, step.amount, step.at);
            let mut payment = self.payment(agent, step.at, step.merchant, step.amount);
            if step.retry {
                payment.retry_of = tried;
                payment.payment_id = shared;
            }
            (tried, shared) = (payment.id, payment.payment_id);
            let mut habit = step.habit;
            if raised {
                habit = Habit::CapAmended;
            }
            if agent.is_located() && self.outage(agent, step.at).is_some() {
                habit = Habit::RegionFailover;
            }
            if backlog {
                payment.record_time = delivered + at_step * 1_500;
                agent.late_until = agent.late_until.max(payment.record_time + MINUTE);
                habit = Habit::LateBacklog;
            }
            payment.label.habit = habit.name();
            if !self.plan(agent, payment) {
                return;
            }
            agent.spend(step.at, step.amount);
        }
    }
}
