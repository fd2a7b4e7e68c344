//! Episodes of fraud. Most run on agents that were honest until then; the payments around them that a
//! thief makes within the mandate, or that the user makes, are labelled honest.

use crate::agent::{Agent, DAY, HOUR, MINUTE, SECOND};
use crate::catalog::{Attack, Habit};
use crate::generate::Sim;
use crate::record::{Label, Mandate, Payment, Period, Scope, Status};
use crate::world::{CATEGORIES, FIRST_RISK, Merchant, PER_CATEGORY, Place, REGIONS, region_at};

/// The label of an episode's payments.
#[derive(Debug, Clone, Copy)]
struct Episode {
    name: &'static str,
    number: u32,
}

const SAFE: [u8; 8] = [4, 5, 6, 7, 8, 10, 11, 21];

impl Sim {
    /// Plans an episode; false when there is nobody to play it on.
    pub(crate) fn strike(&mut self, attack: Attack, name: &'static str, number: u32) -> bool {
        let episode = Episode { name, number };
        match attack {
            Attack::CollusionPair => return self.collusion(episode, (2, 2), false),
            Attack::CollusionRing => return self.collusion(episode, (3, 5), false),
            Attack::CollusionUnequal => return self.collusion(episode, (3, 5), true),
            Attack::EarlyBurst | Attack::EarlySpend | Attack::GeoPoisonedHome => {
                return self.newcomer(attack, episode);
            }
            _ => {}
        }
        let Some(number) = self.victim(attack) else { return false };
        let Some(mut agent) = self.take(number) else { return false };
        let start = self.now.max(agent.planned_until) + self.rng.range(65, 200) * MINUTE;
        let struck = self.on_victim(attack, &mut agent, start, episode);
        if struck {
            agent.attacked_until = agent.planned_until.max(start);
            agent.renew = true;
        }
        self.put_back(agent);
        struck
    }

    fn on_victim(&mut self, attack: Attack, agent: &mut Agent, start: i64, episode: Episode) -> bool {
        let soon_renewed = agent.renew || start + DAY >= agent.mandate.valid_to;
        match attack {
            // The mandate must be the one whose cap is a lifetime's.
            Attack::CapReplay | Attack::CapProbing if soon_renewed => return false,
            Attack::CapReplay => self.cap_replay(agent, start, episode),
            Attack::CapProbing => self.cap_probing(agent, start, episode),
            Attack::SingleUseReplay => self.single_use(agent, start, episode),
            Attack::BeforeValid => self.before_valid(agent, start, episode),
            Attack::AfterExpiry => self.after_expiry(agent, start, episode),
            Attack::Revoked | Attack::Paused => {
                self.withdrawn(agent, start, episode, attack == Attack::Paused)
            }
            Attack::RevocationRace => self.race(agent, start, episode),
            Attack::NotHeld => return self.not_held(agent, start, episode),
            Attack::ScopeMerchant | Attack::ScopeCategory => self.out_of_scope(agent, start, episode),
            Attack::Omitted => self.omitted(agent, start, episode),
            Attack::BurstEqual => self.burst(agent, start, episode, true),
            Attack::BurstJittered => self.burst(agent, start, episode, false),
            Attack::CrossMerchantRisk => self.tour(agent, start, episode, 2, 3),
            Attack::CrossMerchantSafe => {
                let stops = self.rng.count(2, 4);
                self.tour(agent, start, episode, stops, 0);
            }
            Attack::Cadence => self.cadence(agent, start, episode, false),
            Attack::CadenceJittered => self.cadence(agent, start, episode, true),
            Attack::GeoMoved => self.moved(agent, start, episode),
            Attack::GeoDrift => self.drift(agent, start, episode),
            Attack::SlowRamp => self.slow_ramp(agent, start, episode),
            Attack::UnderThresholds => self.under_thresholds(agent, start, episode),
            Attack::BackdatedBurst => return self.backdated(agent, start, episode),
            Attack::EarlyBurst
            | Attack::EarlySpend
            | Attack::GeoPoisonedHome
            | Attack::CollusionPair
            | Attack::CollusionRing
            | Attack::CollusionUnequal => return false,
        }
        true
    }

    /// An agent with a past that the attack can be played on.
    fn victim(&mut self, attack: Attack) -> Option<u32> {
        for _ in 0..400 {
            let number = self.rng.pick(&self.active);
            if self.peek(number).is_some_and(|agent| self.is_idle(agent) && suits(attack, agent)) {
                return Some(number);
            }
        }
        None
    }

    fn is_idle(&self, agent: &Agent) -> bool {
        agent.payments >= 12
            && agent.planned_until < self.now + 2 * HOUR
            && agent.late_until < self.now
            && agent.attacked_until + 36 * HOUR < self.now
    }

    /// Plans a payment of the episode.
    fn hit(&mut self, agent: &mut Agent, episode: Episode, payment: Payment) {
        let label = Label { attack: Some((episode.name, episode.number)), habit: payment.label.habit };
        self.plan(agent, Payment { label, ..payment });
    }

    fn hit_at(&mut self, agent: &mut Agent, episode: Episode, at: i64, merchant: Merchant, amount: i64) {
        let payment = self.payment(agent, at, merchant, amount);
        self.hit(agent, episode, payment);
    }

    /// Plans a payment around the episode that is honest by nature.
    fn honest(&mut self, agent: &mut Agent, at: i64, merchant: Merchant, amount: i64) {
        let payment = self.payment(agent, at, merchant, amount);
        if self.plan(agent, payment) {
            agent.spend(at, amount);
        }
    }

    /// Leaves room for a lawful-looking episode of `total` that ends by `until`.
    fn fund(&mut self, agent: &mut Agent, start: i64, total: i64, until: i64) {
        let short = agent.remaining(start).is_some_and(|left| left < total);
        let stale = agent.mandate.id == 0 || agent.renew || until >= agent.mandate.valid_to;
        if agent.holds_mandates() && (short || stale) {
            let ahead = start - self.rng.range(0, 50) * MINUTE;
            self.grant(agent, ahead.max(self.now), total);
        }
        agent.spend(start, total);
    }

    fn usual(&mut self, agent: &Agent) -> (Merchant, i64) {
        let merchant = agent.merchant(&mut self.rng);
        (merchant, agent.price(&mut self.rng, merchant))
    }

    fn cap_replay(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let mut at = start;
        self.fund(agent, start, 0, start + DAY);
        let (_, typical) = self.usual(agent);
        for _ in 0..14 {
            let left = agent.remaining(at).unwrap_or(0);
            if left <= typical * 2 {
                break;
            }
            let (merchant, _) = self.usual(agent);
            let amount = agent.lawful((left * self.rng.range(20, 60) / 100).max(1));
            self.honest(agent, at, merchant, amount);
            at += self.rng.range(60, 900) * SECOND;
        }
        let left = agent.remaining(at).unwrap_or(0);
        for _ in 0..self.rng.count(3, 10) {
            let (merchant, price) = self.usual(agent);
            let amount = left + 1 + price * self.rng.range(20, 120) / 100;
            self.hit_at(agent, episode, at, merchant, amount);
            at += self.rng.range(5, 600) * SECOND;
        }
    }

    fn cap_probing(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        self.fund(agent, start, 0, start + DAY);
        let left = agent.remaining(start).unwrap_or(0).max(2);
        let mut above = left * self.rng.range(40, 150) / 100 + 2;
        let merchant = agent.merchant(&mut self.rng);
        let mut at = start;
        for _ in 0..self.rng.count(4, 8) {
            self.hit_at(agent, episode, at, merchant, left + above);
            above = (above * self.rng.range(35, 65) / 100).max(1);
            at += self.rng.range(2, 40) * SECOND;
        }
    }

    /// A mandate beside the agent's own, for an errand.
    fn errand_mandate(&mut self, agent: &Agent, made: i64, valid: (i64, i64), cap: i64) -> Mandate {
        Mandate {
            id: self.mandate_id(),
            agent: agent.number,
            scope: agent.scope(),
            cap,
            period: Period::Lifetime,
            currency: agent.currency,
            valid_from: valid.0,
            valid_to: valid.1,
            updated_at: Some(made),
            ..Mandate::default()
        }
    }

    /// Payments under another mandate than the agent's own.
    fn hit_under(
        &mut self,
        agent: &mut Agent,
        episode: Option<Episode>,
        mandate: u64,
        at: i64,
        goods: (Merchant, i64),
    ) -> Payment {
        let payment = Payment { mandate, ..self.payment(agent, at, goods.0, goods.1) };
        match episode {
            Some(episode) => self.hit(agent, episode, payment),
            None => {
                self.plan(agent, payment);
            }
        }
        payment
    }

    fn single_use(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let made = start - self.rng.range(2, 50) * MINUTE;
        let (merchant, price) = self.usual(agent);
        let mut mandate = self.errand_mandate(agent, made, (made, made + 7 * DAY), price * 3);
        mandate.max_uses = 1;
        mandate.scope = Scope::One(merchant);
        self.publish(&mandate);
        self.hit_under(agent, None, mandate.id, start, (merchant, price));
        let mut at = start + self.rng.range(1, 600) * MINUTE;
        for _ in 0..self.rng.count(2, 6) {
            let amount = agent.lawful(self.rng.around(price, 300).max(1));
            self.hit_under(agent, Some(episode), mandate.id, at, (merchant, amount));
            at += self.rng.range(5, 900) * SECOND;
        }
    }

    fn before_valid(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let made = start - self.rng.range(2, 50) * MINUTE;
        let hours = if self.tuning.stealth == 2 { self.rng.range(4, 24) } else { self.rng.range(6, 240) };
        let from = start + hours * HOUR;
        let mandate = self.errand_mandate(agent, made, (from, from + 30 * DAY), agent.dearest() * 10);
        self.publish(&mandate);
        let mut at = start;
        for _ in 0..self.rng.count(2, 6) {
            let goods = self.usual(agent);
            self.hit_under(agent, Some(episode), mandate.id, at, goods);
            at += self.rng.range(10, 1_500) * SECOND;
        }
    }

    fn after_expiry(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let made = start - self.rng.range(2, 50) * MINUTE;
        let last = start + self.rng.range(60, 720) * MINUTE;
        let mandate = self.errand_mandate(agent, made, (made, last), agent.dearest() * 10);
        self.publish(&mandate);
        let mut at = start;
        for _ in 0..self.rng.count(1, 2) {
            let goods = self.usual(agent);
            self.hit_under(agent, None, mandate.id, at, goods);
            at += self.rng.range(1, 25) * MINUTE;
        }
        at = last
            + match self.tuning.stealth {
                2 => self.rng.range(1, 60) * SECOND,
                _ => self.rng.range(1, 1_440) * MINUTE,
            };
        for _ in 0..self.rng.count(2, 7) {
            let goods = self.usual(agent);
            self.hit_under(agent, Some(episode), mandate.id, at, goods);
            at += self.rng.range(5, 900) * SECOND;
        }
    }

    /// Publishes the agent's mandate with another status as of `at`.
    fn set_status(&mut self, agent: &mut Agent, at: i64, status: Status) {
        agent.mandate.status = status;
        agent.mandate.updated_at = Some(at);
        let changed = agent.mandate.clone();
        self.publish(&changed);
    }

    fn withdrawn(&mut self, agent: &mut Agent, start: i64, episode: Episode, paused: bool) {
        let count = self.rng.count(2, 8);
        let room = agent.dearest() * count as i64;
        self.fund(agent, start, room, start + 3 * DAY);
        self.set_status(agent, start, if paused { Status::Paused } else { Status::Revoked });
        let wait = if self.tuning.stealth == 2 { 120 } else { 1_440 };
        let mut at = start + self.rng.range(60, wait * 60) * SECOND;
        for _ in 0..count {
            let (merchant, price) = self.usual(agent);
            self.hit_at(agent, episode, at, merchant, price);
            at += self.rng.range(5, 900) * SECOND;
        }
    }

    /// The user revokes while the thief is paying.
    fn race(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let mut at = start;
        self.fund(agent, start, agent.dearest() * 4, start + DAY);
        for _ in 0..self.rng.count(2, 3) {
            let (merchant, price) = self.usual(agent);
            let payment = self.payment(agent, at, merchant, price);
            self.plan(agent, payment);
            at += self.rng.range(5, 30) * SECOND;
        }
        let revoked = at + self.tuning.disorder_us;
        self.set_status(agent, revoked, Status::Revoked);
        at = revoked + self.rng.range(1, 2_000) * 1_000;
        let mut known = 0;
        for _ in 0..self.rng.count(3, 8) {
            let (merchant, price) = self.usual(agent);
            let payment = self.payment(agent, at, merchant, price);
            known = if known == 0 { payment.record_time } else { known };
            self.hit(agent, episode, payment);
            at += self.rng.range(300, 9_000) * 1_000;
        }
        // Some claim to be from just before it, and arrive after.
        for _ in 0..self.rng.count(0, 2) {
            let (merchant, price) = self.usual(agent);
            let claimed = revoked - self.rng.range(1, 900) * 1_000;
            let mut payment = self.payment(agent, claimed, merchant, price);
            payment.record_time = payment.record_time.max(known + self.rng.range(1, 800) * 1_000);
            self.hit(agent, episode, payment);
        }
    }

    fn not_held(&mut self, agent: &mut Agent, start: i64, episode: Episode) -> bool {
        let siblings: Vec<u32> = self.siblings(agent.user).collect();
        let mut holder = None;
        for _ in 0..60 {
            let from = if self.rng.below(2) == 0 { &siblings } else { &self.active };
            let number = self.rng.pick(from);
            holder = self.peek(number).filter(|other| {
                other.number != agent.number
                    && other.mandate.id != 0
                    && other.mandate.status == Status::Active
                    && other.mandate.valid_to > start + DAY
            });
            if holder.is_some() {
                break;
            }
        }
        let Some(holder) = holder else { return false };
        let (mandate, pool, currency) = (holder.mandate.id, holder.pool.clone(), holder.currency);
        let mut at = start;
        for _ in 0..self.rng.count(2, 6) {
            let merchant = self.rng.pick(&pool);
            let price = currency.minor(crate::world::price_cents(&mut self.rng, merchant.category()));
            let payment = Payment { mandate, currency, ..self.payment(agent, at, merchant, price) };
            self.hit(agent, episode, payment);
            at += self.rng.range(10, 1_200) * SECOND;
        }
        true
    }

    fn out_of_scope(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let count = self.rng.count(1, 6);
        let dearest = agent.dearest();
        self.fund(agent, start, dearest * 6, start + DAY);
        let mut at = start;
        for _ in 0..count {
            let merchant = self.foreign_merchant(agent);
            let cents = crate::world::price_cents(&mut self.rng, merchant.category());
            // Out of scope, not over the cap as well.
            let price = agent.lawful(agent.currency.minor(cents).min(dearest));
            self.hit_at(agent, episode, at, merchant, price);
            at += self.rng.range(10, 1_800) * SECOND;
        }
    }

    /// A merchant of a category that the agent does not buy in, by label or by code.
    fn foreign_merchant(&mut self, agent: &Agent) -> Merchant {
        let own: Vec<&str> = agent
            .pool
            .iter()
            .filter_map(|merchant| CATEGORIES.get(usize::from(merchant.category())).map(|c| c.code))
            .collect();
        let foreign: Vec<u8> =
            (0..29).zip(&CATEGORIES).filter(|(_, c)| !own.contains(&c.code)).map(|(at, _)| at).collect();
        let category = self.rng.pick(&foreign);
        let merchant = Merchant::draw(&mut self.rng, category);
        if merchant.sends_category() { merchant } else { Merchant(merchant.0 - PER_CATEGORY / 2) }
    }

    fn omitted(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        self.fund(agent, start, 0, start + DAY);
        let mut at = start;
        for _ in 0..self.rng.count(2, 6) {
            let goods = self.usual(agent);
            self.hit_under(agent, Some(episode), 0, at, goods);
            at += self.rng.range(10, 1_800) * SECOND;
        }
    }

    fn burst(&mut self, agent: &mut Agent, start: i64, episode: Episode, equal: bool) {
        let (low, high, slowest) = match self.tuning.stealth {
            0 => (12, 40, 3_000),
            1 => (8, 40, 5_000),
            _ => (8, 16, 6_000),
        };
        let count = self.rng.count(low, high);
        let mean = self.rng.range(800, slowest) * 1_000;
        let (merchant, price) = self.usual(agent);
        let price = (price / 2).max(1);
        self.fund(agent, start, price * 2 * count as i64, start + DAY);
        let price = agent.lawful(price);
        let mut at = start;
        for _ in 0..count {
            let amount = if equal { price } else { agent.lawful(self.rng.around(price, 500).max(1)) };
            self.hit_at(agent, episode, at, merchant, amount);
            at += self.rng.around(mean, 600);
        }
    }

    /// Through categories that are not the agent's own, within five minutes.
    fn tour(&mut self, agent: &mut Agent, start: i64, episode: Episode, safe: usize, risky: usize) {
        let own: Vec<u8> = agent.pool.iter().map(|merchant| merchant.category()).collect();
        let pick = |rng: &mut crate::rng::Rng, from: &[u8], wanted: usize| {
            let mut free: Vec<u8> = from.iter().copied().filter(|c| !own.contains(c)).collect();
            rng.shuffle(&mut free);
            free.truncate(wanted);
            free
        };
        let transfer = self.rng.pick(&[23, 24, 25]);
        let stake = self.rng.pick(&[26, 27]);
        let mut stops = pick(&mut self.rng, &[FIRST_RISK, transfer, stake, 28], risky);
        stops.extend(pick(&mut self.rng, &SAFE, safe));
        self.rng.shuffle(&mut stops);
        self.fund(agent, start, agent.dearest() * 5, start + DAY);
        agent.led_astray = true;
        let rounds = self.rng.count(1, 2);
        let mut at = start;
        for _ in 0..rounds {
            for &category in &stops {
                let drawn = Merchant::draw(&mut self.rng, category);
                let merchant = if drawn.sends_category() { drawn } else { Merchant(drawn.0 - 1) };
                let cents = crate::world::price_cents(&mut self.rng, category);
                let amount = agent.lawful(agent.currency.minor(cents).min(agent.dearest() / 2));
                self.hit_at(agent, episode, at, merchant, amount);
                at += self.rng.range(6, 45) * SECOND;
            }
        }
    }

    fn cadence(&mut self, agent: &mut Agent, start: i64, episode: Episode, jittered: bool) {
        let count = self.rng.count(14, 40);
        let mean = self.rng.range(4_000, 27_000) * 1_000;
        let widest = if self.tuning.stealth == 2 { 900 } else { 500 };
        let spread = (widest * SECOND / (mean / 1_000)).min(70_000) / 1_000;
        let spread = if jittered { self.rng.range(280, 600) } else { self.rng.range(0, spread.max(1)) };
        let (merchant, price) = self.usual(agent);
        self.fund(agent, start, price * 3 / 2 * count as i64, start + DAY);
        let mut at = start;
        for _ in 0..count {
            let amount = agent.lawful(self.rng.around(price, 400).max(1));
            self.hit_at(agent, episode, at, merchant, amount);
            at += self.rng.around(mean, spread);
        }
    }

    fn moved(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let base = agent.place.unwrap_or_default();
        let far: Vec<u8> =
            (0..).zip(&REGIONS).filter(|(_, r)| r.0.apart(base) > 150_000_000).map(|(at, _)| at).collect();
        let region = self.rng.pick(&far);
        let there = region_at(region).0.near(&mut self.rng, 2_000_000);
        let count = self.rng.count(3, 10);
        let dearest = agent.dearest();
        self.fund(agent, start, dearest * 4, start + DAY);
        let mut at = start;
        for _ in 0..count {
            let (merchant, price) = self.usual(agent);
            let price = price.min(dearest / 3).max(1);
            let place = Some(there.near(&mut self.rng, 60_000));
            let payment = Payment { place, ..self.payment(agent, at, merchant, price) };
            self.hit(agent, episode, payment);
            at += self.rng.range(10, 600) * SECOND;
        }
    }

    fn drift(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let base = agent.place.unwrap_or_default();
        let count = self.rng.count(15, 30);
        let dearest = agent.dearest();
        self.fund(agent, start, dearest * count as i64 / 2, start + 6 * DAY);
        let step = (self.rng.range(-6_000_000, 6_000_000), self.rng.range(3_000_000, 8_000_000));
        let mut at = start;
        for leg in 1..=count as i64 {
            let (merchant, price) = self.usual(agent);
            let place = Some(base.shifted(step.0 * leg, step.1 * leg).near(&mut self.rng, 60_000));
            let payment =
                Payment { place, ..self.payment(agent, at, merchant, price.min(dearest / 2).max(1)) };
            self.hit(agent, episode, payment);
            at += self.rng.range(30, 360) * MINUTE;
        }
    }

    fn slow_ramp(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let (merchant, price) = self.usual(agent);
        let price = (price / 3).max(1);
        self.fund(agent, start, price * 100, start + 7 * DAY);
        let mut day = start;
        for count in [4, 7, 10, 15, 22] {
            let mut at = day;
            for _ in 0..count {
                let amount = agent.lawful(self.rng.around(price, 400).max(1));
                self.hit_at(agent, episode, at, merchant, amount);
                at += self.rng.range(1_000, 3_600) * 1_000;
            }
            day += self.rng.range(25 * 60, 28 * 60) * MINUTE;
        }
    }

    /// Four a minute, three categories, uneven gaps, never more than four alike.
    fn under_thresholds(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let dearest = agent.dearest();
        let rounds = self.rng.count(5, 10);
        self.fund(agent, start, dearest * 8, start + DAY);
        let mut round_at = start;
        for _ in 0..rounds {
            let mut at = round_at;
            let (merchant, price) = self.usual(agent);
            let amount = price.min(dearest / 5).max(1);
            for _ in 0..4 {
                self.hit_at(agent, episode, at, merchant, amount);
                at += self.rng.range(1, 9) * SECOND;
            }
            round_at += self.rng.range(95, 240) * SECOND;
        }
    }

    /// A burst whose times lie in the past, where the windows are closed.
    fn backdated(&mut self, agent: &mut Agent, start: i64, episode: Episode) -> bool {
        let count = self.rng.count(8, 25);
        let (merchant, price) = self.usual(agent);
        let price = (price / 2).max(1);
        self.fund(agent, start, price * count as i64, start + DAY);
        let price = agent.lawful(price);
        let oldest = (start - agent.mandate.valid_from - 2 * MINUTE).min(12 * HOUR);
        if oldest < 10 * MINUTE {
            agent.renew = true;
            return false;
        }
        let back = self.rng.range(10 * MINUTE, oldest);
        let mut at = start;
        for _ in 0..count {
            let mut payment = self.payment(agent, at, merchant, price);
            payment.tx_time -= back;
            self.hit(agent, episode, payment);
            at += self.rng.range(800, 5_000) * 1_000;
        }
        agent.planned_until = agent.planned_until.max(at);
        true
    }

    /// Two to five agents of one user spend the same money in step.
    fn collusion(&mut self, episode: Episode, size: (usize, usize), unequal: bool) -> bool {
        let Some(mut ring) = self.ring(size) else { return false };
        let latest = ring.iter().map(|agent| agent.planned_until).max().unwrap_or(self.now).max(self.now);
        let start = latest + self.rng.range(65, 200) * MINUTE;
        let rounds = self.rng.count(3, 7);
        let room = ring.iter().map(|agent| agent.dearest() / 2).min().unwrap_or(1_000);
        let amount = self.rng.range((room / 4).max(2), room.max(3));
        for agent in &mut ring {
            self.fund(agent, start, amount * 4 * rounds as i64, start + DAY);
        }
        let lawful = ring.iter().map(|agent| agent.lawful(amount)).min().unwrap_or(amount).max(2);
        let (gap, apart) = if self.tuning.stealth == 2 { (8, 5) } else { (5, 3) };
        let mut at = start;
        for _ in 0..rounds {
            let round_amount = self.rng.around(lawful, 150).min(lawful).max(2);
            for agent in &mut ring {
                let merchant = agent.merchant(&mut self.rng);
                let share = if unequal {
                    self.rng.range(15, 160) * round_amount / 100
                } else {
                    // Never as far as ten apart, whatever the price.
                    round_amount - (round_amount * self.rng.range(0, apart) / 100).min(900)
                };
                let moment = at + self.rng.range(0, gap * 1_000) * 1_000;
                self.hit_at(agent, episode, moment, merchant, agent.lawful(share.max(1)));
            }
            at += self.rng.range(20, 80) * SECOND;
        }
        for mut agent in ring {
            agent.attacked_until = at;
            agent.renew = true;
            self.put_back(agent);
        }
        true
    }

    /// As many idle agents of one user as there are within the bounds.
    #[allow(clippy::vec_box, reason = "agents are taken out and put back in their boxes")]
    fn ring(&mut self, (least, most): (usize, usize)) -> Option<Vec<Box<Agent>>> {
        for _ in 0..400 {
            let number = self.rng.pick(&self.active);
            let Some(first) = self.peek(number) else { continue };
            // Pairs are in the base currency: another one has a rate only where it is configured.
            let fit = |agent: &Agent| {
                agent.currency.is_base() && self.is_idle(agent) && suits(Attack::CollusionPair, agent)
            };
            if !fit(first) {
                continue;
            }
            let members: Vec<u32> =
                self.siblings(first.user).filter(|&n| self.peek(n).is_some_and(fit)).take(most).collect();
            if members.len() >= least {
                return members.into_iter().map(|number| self.take(number)).collect();
            }
        }
        None
    }

    /// Fraud from an agent's first payment on.
    fn newcomer(&mut self, attack: Attack, episode: Episode) -> bool {
        let Some(mut agent) = self.enrol(Habit::Shopper) else { return false };
        let start = self.now + self.rng.range(5, 60) * MINUTE;
        let made = start - self.rng.range(0, 4) * MINUTE;
        self.grant(&mut agent, made, 0);
        match attack {
            Attack::EarlyBurst => self.early_burst(&mut agent, start, episode),
            Attack::EarlySpend => self.early_spend(&mut agent, start, episode),
            _ => self.poisoned_home(&mut agent, start, episode),
        }
        agent.attacked_until = i64::MAX / 4;
        self.put_back(agent);
        true
    }

    fn early_burst(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let (merchant, price) = self.usual(agent);
        let price = (price / 3).max(1);
        self.fund(agent, start, price * 20, start + DAY);
        let mut at = start;
        // What the new agent buys first could be anybody's.
        for _ in 0..self.rng.count(1, 3) {
            let (other, _) = self.usual(agent);
            let amount = self.rng.around(price, 300).max(1);
            let payment = self.payment(agent, at, other, amount);
            self.plan(agent, payment);
            at += self.rng.range(3, 20) * MINUTE;
        }
        for _ in 0..7 {
            self.hit_at(agent, episode, at, merchant, price);
            at += self.rng.range(900, 6_500) * 1_000;
        }
    }

    fn early_spend(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let dearest = agent.dearest();
        self.fund(agent, start, dearest * 10, start + DAY);
        let mut at = start;
        for _ in 0..self.rng.count(6, 10) {
            let merchant = agent.merchant(&mut self.rng);
            let amount = agent.lawful(self.rng.range(dearest / 2, dearest).max(1));
            self.hit_at(agent, episode, at, merchant, amount);
            at += self.rng.range(20, 900) * SECOND;
        }
    }

    fn poisoned_home(&mut self, agent: &mut Agent, start: i64, episode: Episode) {
        let region = self.rng.pick(&[0, 3, 5, 7, 9, 11, 12, 13]);
        let there = region_at(region).0.near(&mut self.rng, 2_000_000);
        agent.place_source = "agent";
        agent.place = Some(Place { ..there });
        self.fund(agent, start, agent.dearest() * 8, start + 4 * DAY);
        let mut at = start;
        for _ in 0..self.rng.count(8, 15) {
            let (merchant, price) = self.usual(agent);
            self.hit_at(agent, episode, at, merchant, (price / 2).max(1));
            at += self.rng.range(5, 300) * MINUTE;
        }
    }
}

/// Whether the attack can be played on an agent of this make.
fn suits(attack: Attack, agent: &Agent) -> bool {
    let held = agent.holds_mandates() && agent.mandate.id != 0;
    match attack {
        Attack::CapReplay | Attack::CapProbing => held && agent.mandate.period == Period::Lifetime,
        Attack::ScopeMerchant => held && agent.kind_of_scope < 10,
        Attack::ScopeCategory => held && (10..15).contains(&agent.kind_of_scope),
        Attack::CrossMerchantRisk | Attack::CrossMerchantSafe => {
            (!held || agent.kind_of_scope >= 15)
                && !agent.led_astray
                && agent.pool.iter().all(|merchant| merchant.category() < FIRST_RISK)
        }
        Attack::GeoMoved => agent.is_located(),
        Attack::GeoDrift => agent.is_located() && held,
        _ => held,
    }
}
