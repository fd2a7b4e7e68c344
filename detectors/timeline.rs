//! Time-ordered payments of one key, which accept late arrivals.

use std::collections::VecDeque;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use weir_events::Amount;

use crate::Payment;
use crate::slim::SlimAmount;

/// Something with a place in event time.
pub trait Timed {
    /// Microseconds since the epoch.
    fn time_us(&self) -> i64;
}

/// Room that a ring begins with; left alone it would begin with twice as much, and most agents never have
/// more than this in a window.
const ROOM_AT_FIRST: usize = 2;

/// Items looked at one by one before a binary search.
const STEPS_BACK: usize = 8;

/// A ring ordered by time; equal times keep the order of arrival.
///
/// It holds everything from a horizon behind the watermark on. Freeing is lazy and shows nowhere,
/// because every reader names the window it looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline<T> {
    ring: VecDeque<T>,
    /// Greatest time that has left the ring; the beginning of time where nothing has.
    before_us: i64,
}

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self { ring: VecDeque::new(), before_us: i64::MIN }
    }
}

impl<T: Timed + Clone> Timeline<T> {
    /// Puts `item` where it belongs, from the tail, and returns its position.
    pub fn insert(&mut self, item: T) -> usize {
        let time_us = item.time_us();
        if self.ring.capacity() == 0 {
            self.ring.reserve_exact(ROOM_AT_FIRST);
        }
        if self.is_newest(time_us) {
            self.ring.push_back(item);
            return self.ring.len() - 1;
        }
        let at = self.upper(time_us);
        self.ring.insert(at, item);
        at
    }

    /// Frees what lies before `horizon_us`.
    pub fn evict_before(&mut self, horizon_us: i64) {
        while self.pop_before(horizon_us).is_some() {}
    }

    fn pop_before(&mut self, horizon_us: i64) -> Option<T> {
        let old = self.ring.front().is_some_and(|first| first.time_us() < horizon_us);
        if old { self.pop_first() } else { None }
    }

    /// Frees the oldest while there are more than `max`; says whether there were.
    pub fn shrink_to(&mut self, max: usize) -> bool {
        let over = self.ring.len() > max;
        while self.ring.len() > max {
            self.pop_first();
        }
        over
    }

    fn pop_first(&mut self) -> Option<T> {
        let first = self.ring.pop_front()?;
        self.before_us = self.before_us.max(first.time_us());
        Some(first)
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Position of the first item at or after `time_us`.
    #[must_use]
    pub fn lower(&self, time_us: i64) -> usize {
        // Windows are mostly short and at the end, so a few steps back from there come first.
        let mut at = self.ring.len();
        for item in self.ring.iter().rev().take(STEPS_BACK) {
            if item.time_us() < time_us {
                return at;
            }
            at -= 1;
        }
        match at {
            0 => 0,
            _ => self.ring.partition_point(|item| item.time_us() < time_us),
        }
    }

    /// Position behind the last item at or before `time_us`.
    #[must_use]
    pub fn upper(&self, time_us: i64) -> usize {
        match self.ring.back() {
            // The usual case: looking from the newest payment.
            Some(last) if last.time_us() <= time_us => self.ring.len(),
            _ => self.ring.partition_point(|item| item.time_us() <= time_us),
        }
    }

    /// Number of items in the window that ends at `end_us`, both ends included.
    #[must_use]
    pub fn count(&self, end_us: i64, length_us: i64) -> usize {
        self.upper(end_us) - self.lower(end_us - length_us)
    }

    /// Items in the window that ends at `end_us`, both ends included.
    pub fn window(&self, end_us: i64, length_us: i64) -> impl DoubleEndedIterator<Item = &T> + Clone {
        let (from, to) = (self.lower(end_us - length_us), self.upper(end_us));
        self.ring.range(from.min(to)..to)
    }

    /// The distinct times of items from `start_us` to `start_us + length_us`: the ends of the windows
    /// of that length that hold `start_us`, of which one is `start_us` itself.
    pub fn window_ends(&self, start_us: i64, length_us: i64) -> impl Iterator<Item = i64> + '_ {
        let mut previous = None;
        self.window(start_us.saturating_add(length_us), length_us).filter_map(move |item| {
            let time = Some(item.time_us());
            let fresh = time != previous;
            previous = time;
            if fresh { time } else { None }
        })
    }

    /// Whether nothing is later than `time_us`.
    #[must_use]
    pub fn is_newest(&self, time_us: i64) -> bool {
        self.ring.back().is_none_or(|last| last.time_us() <= time_us)
    }

    /// Reads both ends, which the next payment will read; what it gives stands for nothing.
    #[must_use]
    pub fn touch(&self) -> i64 {
        let time_of = |item: Option<&T>| item.map_or(0, Timed::time_us);
        time_of(self.ring.back()) ^ time_of(self.ring.front())
    }

    /// Time of the item at `at`.
    #[must_use]
    pub fn time_at(&self, at: usize) -> Option<i64> {
        self.ring.get(at).map(Timed::time_us)
    }

    /// Time of the item before the one at `at`, be it still in the ring or not.
    #[must_use]
    pub fn time_before(&self, at: usize) -> Option<i64> {
        match at.checked_sub(1) {
            Some(previous) => self.time_at(previous),
            None => (self.before_us != i64::MIN).then_some(self.before_us),
        }
    }
}

/// A payment in its agent's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPayment {
    /// Event time in microseconds.
    pub time_us: i64,
    /// Hash of amount, currency and merchant.
    pub equal_key: u64,
    /// Hash of the merchant category as sent; 0: none.
    pub category: u64,
    /// Group of the category; 0: none.
    pub group: u64,
}

impl AgentPayment {
    /// What an agent's timeline keeps of a payment.
    #[must_use]
    pub fn of(payment: &Payment<'_>) -> Self {
        Self {
            time_us: payment.time_us,
            equal_key: payment.equal_key(),
            category: payment.category.raw,
            group: payment.category.group,
        }
    }
}

impl Timed for AgentPayment {
    fn time_us(&self) -> i64 {
        self.time_us
    }
}

/// A payment in its user's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPayment {
    /// Event time in microseconds.
    pub time_us: i64,
    /// The agent's number within its user.
    pub agent: u32,
    /// In the base currency; nothing without a rate.
    amount: SlimAmount,
}

impl UserPayment {
    /// A payment of `amount` in the base currency.
    #[must_use]
    pub fn new(time_us: i64, agent: u32, amount: Option<Amount>) -> Self {
        Self { time_us, agent, amount: amount.into() }
    }

    /// The amount in the base currency; `None` without a rate.
    #[must_use]
    pub fn amount(&self) -> Option<Amount> {
        self.amount.get()
    }
}

impl Timed for UserPayment {
    fn time_us(&self) -> i64 {
        self.time_us
    }
}

/// On-time payments of one agent: serves burst, cross-merchant and cadence.
pub type AgentTimeline = Timeline<AgentPayment>;

/// On-time payments of one user: serves collusion.
#[derive(Debug, Clone, Default)]
pub struct UserTimeline {
    line: Timeline<UserPayment>,
    /// Kept from the first payment of a second agent on. It follows from the line and is no state of its own.
    totals: Option<Box<Totals>>,
}

/// What the payments of a line come to, so that a day of them need not be looked at again with each.
#[derive(Debug, Clone, Default)]
struct Totals {
    spend: Amount,
    /// By number of the agent; most users have few.
    payments: SmallVec<[u32; 8]>,
    /// Agents with at least one payment.
    agents: usize,
}

impl Totals {
    fn add(&mut self, payment: &UserPayment) {
        let agent = payment.agent as usize;
        if self.payments.len() <= agent {
            self.payments.resize(agent + 1, 0);
        }
        self.spend = self.spend.plus(payment.amount().unwrap_or_default());
        if let Some(payments) = self.payments.get_mut(agent) {
            self.agents += usize::from(*payments == 0);
            *payments += 1;
        }
    }

    fn take(&mut self, payment: &UserPayment) {
        self.spend = self.spend.minus(payment.amount().unwrap_or_default());
        if let Some(payments) = self.payments.get_mut(payment.agent as usize) {
            *payments -= 1;
            self.agents -= usize::from(*payments == 0);
        }
    }
}

impl UserTimeline {
    /// As [`Timeline::insert`].
    pub fn insert(&mut self, payment: UserPayment) -> usize {
        match &mut self.totals {
            Some(totals) => totals.add(&payment),
            None if payment.agent > 0 => {
                let mut totals = Box::<Totals>::default();
                self.line.ring.iter().chain([&payment]).for_each(|payment| totals.add(payment));
                self.totals = Some(totals);
            }
            None => {}
        }
        self.line.insert(payment)
    }

    /// As [`Timeline::evict_before`].
    pub fn evict_before(&mut self, horizon_us: i64) {
        while let Some(gone) = self.line.pop_before(horizon_us) {
            self.took(&gone);
        }
    }

    /// As [`Timeline::shrink_to`].
    pub fn shrink_to(&mut self, max: usize) -> bool {
        let over = self.line.len() > max;
        while self.line.len() > max
            && let Some(gone) = self.line.pop_first()
        {
            self.took(&gone);
        }
        over
    }

    fn took(&mut self, gone: &UserPayment) {
        if let Some(totals) = &mut self.totals {
            totals.take(gone);
        }
    }

    /// Agents with a payment in the window that ends at `end_us`, both ends included, and what they spent.
    #[must_use]
    pub fn spending(&self, end_us: i64, length_us: i64) -> (usize, Amount) {
        let (from, to) = (self.line.lower(end_us - length_us), self.line.upper(end_us));
        let from = from.min(to);
        let inside = || self.line.ring.range(from..to);
        match &self.totals {
            // Whichever are fewer are looked at.
            Some(totals) if self.line.len() - (to - from) < to - from => {
                let mut rest = Totals { payments: totals.payments.clone(), ..**totals };
                let outside = self.line.ring.range(..from).chain(self.line.ring.range(to..));
                outside.for_each(|payment| rest.take(payment));
                (rest.agents, rest.spend)
            }
            _ => {
                let mut found = Totals::default();
                inside().for_each(|payment| found.add(payment));
                (found.agents, found.spend)
            }
        }
    }
}

impl Deref for UserTimeline {
    type Target = Timeline<UserPayment>;

    fn deref(&self) -> &Self::Target {
        &self.line
    }
}

impl From<Timeline<UserPayment>> for UserTimeline {
    fn from(line: Timeline<UserPayment>) -> Self {
        let mut totals = None;
        if line.ring.iter().any(|payment| payment.agent > 0) {
            let totals: &mut Box<Totals> = totals.get_or_insert_default();
            line.ring.iter().for_each(|payment| totals.add(payment));
        }
        Self { line, totals }
    }
}

impl PartialEq for UserTimeline {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line
    }
}

impl Serialize for UserTimeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.line.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UserTimeline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timeline::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A time and a number that tells items of one time apart.
    #[derive(Debug, Clone, PartialEq)]
    struct Item(i64, u32);

    impl Timed for Item {
        fn time_us(&self) -> i64 {
            self.0
        }
    }

    fn line(times: &[i64]) -> Timeline<Item> {
        let mut line = Timeline::default();
        for (&time_us, number) in times.iter().zip(0..) {
            line.insert(Item(time_us, number));
        }
        line
    }

    fn order(line: &Timeline<Item>) -> Vec<(i64, u32)> {
        line.window(i64::MAX / 2, i64::MAX / 2).map(|item| (item.0, item.1)).collect()
    }

    #[test]
    fn items_stand_in_time_order_and_equal_times_in_order_of_arrival() {
        assert_eq!(order(&line(&[5, 1, 3, 5, 1])), [(1, 1), (1, 4), (3, 2), (5, 0), (5, 3)]);
        let mut line = line(&[10, 20, 20, 30]);
        assert_eq!(line.insert(Item(20, 9)), 3);
        assert_eq!(line.insert(Item(9, 9)), 0);
        assert_eq!(line.insert(Item(31, 9)), 6);
    }

    #[test]
    fn windows_hold_both_their_ends() {
        let line = line(&[0, 10, 20, 20, 30]);
        for (end_us, length_us, count) in [
            (30, 30, 5),
            (30, 29, 4),
            (20, 20, 4),
            (19, 10, 1),
            (30, 0, 1),
            (20, 0, 2),
            (25, 4, 0),
            (99, 60, 0),
        ] {
            assert_eq!(line.count(end_us, length_us), count, "{length_us} up to {end_us}");
            assert_eq!(line.window(end_us, length_us).count(), count, "{length_us} up to {end_us}");
        }
    }

    #[test]
    fn window_ends_are_the_distinct_times_that_follow() {
        let line = line(&[0, 10, 20, 20, 30]);
        assert_eq!(line.window_ends(10, 20).collect::<Vec<_>>(), [10, 20, 30]);
        assert_eq!(line.window_ends(10, 19).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(line.window_ends(30, 60).collect::<Vec<_>>(), [30]);
    }

    proptest! {
        /// Whatever was put in and taken out, in whatever order, a window is what looking at each payment gives.
        #[test]
        fn spending_is_what_the_payments_of_the_window_come_to(
            steps in prop::collection::vec((0_i64..60, 0_u32..12, 0_i128..4, 0_i64..200, 1_usize..40), 1..80),
            restored in 0_usize..80,
        ) {
            let mut line = UserTimeline::default();
            for (at, (time_us, agent, cents, evicted_us, max)) in steps.into_iter().enumerate() {
                // Nothing is known of an amount without a rate.
                let amount = (cents > 0).then_some(Amount(cents));
                line.insert(UserPayment::new(time_us, agent, amount));
                if evicted_us < 60 {
                    line.evict_before(evicted_us / 4);
                }
                if max > 35 {
                    line.shrink_to(max - 30);
                }
                if at == restored {
                    line = UserTimeline::from(line.line.clone());
                }
                for (end_us, length_us) in [(time_us, 5), (time_us, 24), (30, 10), (59, 59), (0, 0)] {
                    let inside: Vec<_> = line.window(end_us, length_us).collect();
                    let mut agents: Vec<_> = inside.iter().map(|payment| payment.agent).collect();
                    agents.sort_unstable();
                    agents.dedup();
                    let spend = inside.iter().filter_map(|payment| payment.amount()).fold(Amount::ZERO, Amount::plus);
                    prop_assert_eq!(line.spending(end_us, length_us), (agents.len(), spend));
                }
            }
        }
    }

    #[test]
    fn what_left_is_still_the_time_before() {
        let mut line = line(&[0, 10, 20, 30]);
        assert_eq!((line.time_before(0), line.time_before(1)), (None, Some(0)));
        line.evict_before(20);
        assert_eq!((line.len(), line.time_before(0), line.time_before(1)), (2, Some(10), Some(20)));
        assert!(!line.shrink_to(2));
        assert!(line.shrink_to(1));
        assert_eq!((line.time_before(0), line.time_at(0), line.time_at(1)), (Some(20), Some(30), None));
        assert!(line.is_newest(30) && !line.is_newest(29));
    }
}
