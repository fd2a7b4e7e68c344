//! Cross-merchant: many unrelated kinds of purchase within minutes.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_events::decision::Fact;
use weir_events::time::HOUR_US;
use weir_events::view::{Column, Kind, Row, Value, View};
use weir_events::{Action, Amount, Span};

use crate::timeline::AgentPayment;
use crate::{
    AgentTimeline, Bound, Bounds, Detector, Explain, Held, Nothing, Outcome, Payment, Points, Reached,
    Reason, Seat, Tier, Tiers,
};

pub mod groups;
#[cfg(test)]
mod tests;

use groups::{Group, is_risk};

/// View `cross_merchant`: agents that bought in at least `min_categories` categories within the
/// window.
pub const VIEW: View = View {
    name: "cross_merchant",
    columns: &[
        Column { name: "agent_id", kind: Kind::Text },
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "peak_categories", kind: Kind::Int },
    ],
    sort: &[0, 1],
    sql: include_str!("view.sql"),
};

/// Groups in a window that the agent never used, from which it is `novel`.
pub const NOVEL_MIN_GROUPS: usize = 3;
/// Payments that must have been learned before anything is novel.
pub const NOVEL_MIN_LEARNED: u32 = 10;
/// How far behind the watermark a payment must lie before it teaches.
pub const LEARNING_DELAY_US: i64 = HOUR_US;
/// The greatest breadth that an agent can learn to be usual.
pub const USUAL_BREADTH_MAX: u32 = 8;

/// Section `[detectors.cross_merchant]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Length of the window, both ends included.
    pub window: Span,
    /// Categories (view) and groups of categories (signal) from which it is reported.
    pub min_categories: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { window: Span::minutes(5), min_categories: 4 }
    }
}

impl Params {
    /// With fewer groups in a window no tier holds.
    fn min_groups(&self) -> usize {
        NOVEL_MIN_GROUPS.min(self.min_categories as usize)
    }
}

/// State per agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// The view: the greatest number of categories in a window.
    peak: u32,
    /// When each category, and each group, was last used, within the window behind the watermark.
    categories: LastUse,
    groups: LastUse,
    usual: Usual,
}

/// Latest time of use by hash; serves the windows that end at the newest payment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct LastUse {
    used: SmallVec<[(u64, i64); 1]>,
}

impl LastUse {
    fn note(&mut self, key: u64, time_us: i64, horizon_us: i64, bounds: &Bounds, reached: &mut Reached) {
        if key == 0 {
            return;
        }
        if let Some((_, last_us)) = self.used.iter_mut().find(|(known, _)| *known == key) {
            *last_us = (*last_us).max(time_us);
            return;
        }
        self.used.retain(|(_, last_us)| *last_us >= horizon_us);
        if self.used.len() < bounds.agent_categories_max {
            self.used.push((key, time_us));
        } else {
            reached.mark(Bound::AgentCategories);
        }
    }

    fn since(&self, from_us: i64) -> impl Iterator<Item = u64> + '_ {
        self.used.iter().filter(move |(_, last_us)| *last_us >= from_us).map(|&(key, _)| key)
    }
}

/// What is usual for an agent: learned from payments far enough behind the watermark alone, so that
/// an attack cannot teach it while it runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Usual {
    /// Groups with their first use, sorted; known when that was before `before_us`.
    groups: SmallVec<[(Group, i64); 1]>,
    /// What lies before this is far enough behind the watermark.
    before_us: i64,
    /// Payments learned, at most [`NOVEL_MIN_LEARNED`].
    learned: u32,
    /// Times of those that will bring them to that number, sorted.
    next_us: SmallVec<[i64; 2]>,
    /// The greatest breadth learned.
    breadth: u32,
    /// Breadths not yet learned: times and breadths both rise.
    rising: SmallVec<[(i64, u32); 1]>,
}

impl Usual {
    fn learn(&mut self, watermark_us: i64) {
        self.before_us = watermark_us - LEARNING_DELAY_US;
        while let Some(&(time_us, breadth)) = self.rising.first()
            && time_us < self.before_us
        {
            self.breadth = self.breadth.max(breadth);
            self.rising.remove(0);
        }
        while self.next_us.first().is_some_and(|&time_us| time_us < self.before_us) {
            self.next_us.remove(0);
            self.learned += 1;
            if self.has_enough() {
                self.next_us = SmallVec::new();
            }
        }
    }

    fn has_enough(&self) -> bool {
        self.learned >= NOVEL_MIN_LEARNED
    }

    fn knows(&self, group: Group) -> bool {
        let at = self.groups.binary_search_by_key(&group, |&(known, _)| known);
        let first_use = at.ok().and_then(|at| self.groups.get(at));
        first_use.is_some_and(|&(_, first_us)| first_us < self.before_us)
    }

    fn note_payment(&mut self, time_us: i64) {
        if self.has_enough() {
            return;
        }
        let wanted = (NOVEL_MIN_LEARNED - self.learned) as usize;
        let at = self.next_us.partition_point(|&earlier| earlier <= time_us);
        if at < wanted {
            self.next_us.truncate(wanted - 1);
            self.next_us.insert(at, time_us);
        }
    }

    fn note_group(&mut self, group: Group, time_us: i64, bounds: &Bounds, reached: &mut Reached) {
        if group == 0 {
            return;
        }
        match self.groups.binary_search_by_key(&group, |&(known, _)| known) {
            Ok(at) => {
                if let Some((_, first_us)) = self.groups.get_mut(at) {
                    *first_us = (*first_us).min(time_us);
                }
            }
            Err(_) if self.groups.len() >= bounds.agent_categories_max => {
                reached.mark(Bound::AgentCategories);
            }
            Err(at) => self.groups.insert(at, (group, time_us)),
        }
    }

    fn note_breadth(&mut self, time_us: i64, breadth: u32) {
        let breadth = breadth.min(USUAL_BREADTH_MAX);
        if breadth <= self.breadth {
            return;
        }
        let at = self.rising.partition_point(|&(earlier_us, _)| earlier_us <= time_us);
        let before = at
            .checked_sub(1)
            .and_then(|at| self.rising.get(at))
            .map_or(self.breadth, |&(_, breadth)| breadth);
        if breadth <= before {
            return;
        }
        self.rising.insert(at, (time_us, breadth));
        while self.rising.get(at + 1).is_some_and(|&(_, later)| later <= breadth) {
            self.rising.remove(at + 1);
        }
    }
}

impl State {
    /// Row of the view, if the agent has one.
    #[must_use]
    pub fn row(&self, params: &Params, agent_id: &str, user_id: &str) -> Option<Row> {
        (self.peak(params) > 0).then(|| {
            let peak = Value::Int(i64::from(self.peak));
            vec![Value::Text(agent_id.to_owned()), Value::Text(user_id.to_owned()), peak]
        })
    }

    fn note_peak(&mut self, categories: usize) {
        self.peak = self.peak.max(u32::try_from(categories).unwrap_or(u32::MAX));
    }

    /// The peak of the view; 0 without a row.
    #[must_use]
    pub fn peak(&self, params: &Params) -> u32 {
        if self.peak >= params.min_categories { self.peak } else { 0 }
    }
}

/// What an observation found: the strongest window by number of groups.
#[derive(Debug, Default, Clone)]
pub struct Found {
    groups: usize,
    novel: usize,
    risk: Option<&'static str>,
    usual: u32,
}

/// The detector.
#[derive(Debug)]
pub struct CrossMerchant;

const RISK_CLASS: usize = 0;
const NOVEL: usize = 1;
const BREADTH: usize = 2;

impl Detector for CrossMerchant {
    const NAME: &'static str = "cross_merchant";
    const TIERS: &'static [Tier] = &[
        Tier { name: "risk_class", floor: Some(Action::Review), points: Points::Weighted { cap: 60 } },
        Tier { name: "novel", floor: Some(Action::Challenge), points: Points::Weighted { cap: 60 } },
        Tier { name: "breadth", floor: Some(Action::Allow), points: Points::Weighted { cap: 30 } },
    ];
    const TIER_NAMES: &'static [&'static str] = &["risk_class", "novel", "breadth"];
    const WEIGHT: Option<Amount> = Some(Amount::units(10));
    const VIEWS: &'static [View] = &[VIEW];

    type Params = Params;
    type Agent = State;
    type User = Nothing;
    type Ledger = Nothing;
    type Use = Nothing;
    type Found = Found;

    fn episode_window_us(params: &Params) -> i64 {
        params.window.0
    }

    #[inline(always)]
    fn observe(
        params: &Params,
        payment: &Payment<'_>,
        seat: &mut Seat<'_, Self>,
        tiers: &mut Tiers,
    ) -> Found {
        if payment.late {
            return Found::default();
        }
        let (state, time_us, window_us) = (&mut *seat.agent, payment.time_us, params.window.0);
        let horizon_us = payment.watermark_us - window_us;
        state.categories.note(payment.category.raw, time_us, horizon_us, seat.bounds, seat.reached);
        state.groups.note(payment.category.group, time_us, horizon_us, seat.bounds, seat.reached);
        state.usual.learn(payment.watermark_us);

        let mut strongest = Strongest::default();
        if seat.payments.is_newest(time_us) {
            let from_us = time_us - window_us;
            if state.categories.used.len() > state.peak as usize {
                state.note_peak(state.categories.since(from_us).count());
            }
            if state.groups.used.len() < params.min_groups() {
                return Found::default();
            }
            strongest.add(Found::of(state.groups.since(from_us), &state.usual), params, &state.usual);
        } else {
            let windows = Windows::holding(seat.payments, time_us, window_us, seat.bounds);
            if !windows.all_judged {
                seat.reached.mark(Bound::WindowsJudged);
            }
            state.note_peak(windows.peak_categories);
            for groups in windows.judged {
                strongest.add(Found::of(groups.into_iter(), &state.usual), params, &state.usual);
            }
        }
        for (tier, &groups) in strongest.most.iter().enumerate().filter(|&(_, &groups)| groups > 0) {
            tiers.push(Held { tier, measure: Amount::units(i128::try_from(groups).unwrap_or(i128::MAX)) });
        }
        strongest.found
    }

    fn explain(params: &Params, _: &Payment<'_>, found: &Found, held: Held, out: &mut Explain<'_>) -> Reason {
        let minutes = params.window.0 / weir_events::time::MINUTE_US;
        let groups = held.measure;
        out.fact("measure", Fact::Count(i64::try_from(groups.0 / Amount::units(1).0).unwrap_or(i64::MAX)));
        out.count(
            "threshold",
            if held.tier == NOVEL { NOVEL_MIN_GROUPS } else { params.min_categories as usize },
        );
        out.fact("baseline", Fact::Count(i64::from(found.usual)));
        out.count("new_groups", found.novel);
        if let Some(risk) = found.risk {
            out.fact("risk_group", Fact::Name(risk));
        }
        match held.tier {
            RISK_CLASS => out.reason(format_args!(
                "The agent bought {groups} different kinds of things within {minutes} minutes, among them {}, which it never bought before.",
                found.risk.unwrap_or("goods as good as money").replace('_', " ")
            )),
            NOVEL => out.reason(format_args!(
                "The agent bought {} kinds of things within {minutes} minutes that it never bought before.",
                found.novel
            )),
            _ => out.reason(format_args!(
                "The agent bought {groups} different kinds of things within {minutes} minutes, more than usual for it."
            )),
        }
    }

    fn settle(params: &Params, payment: &Payment<'_>, seat: &mut Seat<'_, Self>, outcome: &Outcome<'_>) {
        if payment.late {
            return;
        }
        let state = &mut *seat.agent;
        state.usual.note_payment(payment.time_us);
        // What was itself held back teaches nothing, however long ago it was.
        if outcome.raised(Self::NAME, "risk_class") || outcome.raised(Self::NAME, "novel") {
            return;
        }
        state.usual.note_group(payment.category.group, payment.time_us, seat.bounds, seat.reached);
        let window_us = params.window.0;
        let breadth = if seat.payments.is_newest(payment.time_us) {
            state.groups.since(payment.time_us - window_us).count()
        } else {
            let mut groups = Tally::default();
            seat.payments.window(payment.time_us, window_us).for_each(|other| groups.enter(other.group));
            groups.0.len()
        };
        state.usual.note_breadth(payment.time_us, u32::try_from(breadth).unwrap_or(u32::MAX));
    }

    #[inline]
    fn touch(state: &State) -> i64 {
        let time_of = |used: &[(u64, i64)]| used.first().map_or(0, |&(_, time_us)| time_us);
        let used = time_of(&state.categories.used) ^ time_of(&state.groups.used);
        used ^ time_of(&state.usual.groups) ^ state.usual.rising.first().map_or(0, |&(time_us, _)| time_us)
    }

    fn agent_row(params: &Params, state: &State, agent_id: &str, user_id: &str) -> Option<Row> {
        state.row(params, agent_id, user_id)
    }

    fn check(params: &Params) -> Option<(&'static str, String)> {
        (params.min_categories == 0).then(|| ("min_categories", "must be at least 1".to_owned()))
    }

    fn sql_parameters(params: &Params) -> Vec<(&'static str, Value)> {
        vec![
            ("cross_merchant_window_us", Value::Int(params.window.0)),
            ("cross_merchant_min_categories", Value::Int(i64::from(params.min_categories))),
        ]
    }
}

impl Found {
    fn of(groups: impl Iterator<Item = Group>, usual: &Usual) -> Self {
        let mut found = Self { usual: usual.breadth, ..Self::default() };
        for group in groups {
            found.groups += 1;
            if !usual.knows(group) {
                found.novel += 1;
                // The least name stands for all, so that no output follows the order of arrival.
                let risk = if is_risk(group) { groups::name(group) } else { None };
                found.risk = [found.risk, risk].into_iter().flatten().min();
            }
        }
        found
    }

    fn tiers(&self, params: &Params, enough: bool) -> [(usize, bool); 3] {
        let wide = self.groups >= params.min_categories as usize;
        let breadth = wide && self.groups > self.usual as usize;
        let novel = enough && self.novel >= NOVEL_MIN_GROUPS;
        [(RISK_CLASS, (breadth || novel) && self.risk.is_some()), (NOVEL, novel), (BREADTH, breadth)]
    }
}

/// The strongest of the windows that hold a payment: the most groups by tier.
#[derive(Default)]
struct Strongest {
    found: Found,
    most: [usize; 3],
}

impl Strongest {
    fn add(&mut self, found: Found, params: &Params, usual: &Usual) {
        for (tier, holds) in found.tiers(params, usual.has_enough()) {
            if let Some(most) = self.most.get_mut(tier).filter(|most| holds && found.groups > **most) {
                *most = found.groups;
            }
        }
        self.found = Found {
            groups: self.found.groups.max(found.groups),
            novel: self.found.novel.max(found.novel),
            risk: [self.found.risk, found.risk].into_iter().flatten().min(),
            usual: found.usual,
        };
    }
}

/// The windows that hold a payment out of order.
#[derive(Default)]
struct Windows {
    /// The greatest number of categories in any of them.
    peak_categories: usize,
    /// The groups of each one that is judged.
    judged: SmallVec<[SmallVec<[Group; 8]>; 8]>,
    all_judged: bool,
}

impl Windows {
    /// One sweep: as the end moves on, payments enter at one side and leave at the other.
    fn holding(timeline: &AgentTimeline, time_us: i64, window_us: i64, bounds: &Bounds) -> Self {
        let mut windows = Self { all_judged: true, ..Self::default() };
        let (mut categories, mut groups) = (Tally::default(), Tally::default());
        let range = timeline.window(time_us + window_us, 2 * window_us);
        let (mut entering, mut leaving) = (range.clone().peekable(), range.peekable());
        for end_us in timeline.window_ends(time_us, window_us) {
            let inside = |payment: &&AgentPayment| payment.time_us <= end_us;
            while let Some(payment) = entering.next_if(inside) {
                categories.enter(payment.category);
                groups.enter(payment.group);
            }
            let outside = |payment: &&AgentPayment| payment.time_us < end_us - window_us;
            while let Some(payment) = leaving.next_if(outside) {
                categories.leave(payment.category);
                groups.leave(payment.group);
            }
            // The view looks at every window, the signal at a bounded number.
            windows.peak_categories = windows.peak_categories.max(categories.0.len());
            if windows.judged.len() < bounds.windows_judged_max {
                windows.judged.push(groups.0.iter().map(|&(group, _)| group).collect());
            } else {
                windows.all_judged = false;
            }
        }
        windows
    }
}

/// Counts by key, without those at zero.
#[derive(Default)]
struct Tally(SmallVec<[(u64, usize); 8]>);

impl Tally {
    fn enter(&mut self, key: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            _ if key == 0 => {}
            Some((_, count)) => *count += 1,
            None => self.0.push((key, 1)),
        }
    }

    fn leave(&mut self, key: u64) {
        if let Some(at) = self.0.iter().position(|&(known, _)| known == key)
            && let Some((_, count)) = self.0.get_mut(at)
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(at);
            }
        }
    }
}
