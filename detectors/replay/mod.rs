//! Replay: a mandate used by another, out of its dates, or more than it allows.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_events::decision::Fact;
use weir_events::view::{Column, Kind, View};
use weir_events::{Action, Amount, CapPeriod, Currency, MandateStatus, Timestamp};

use crate::{
    Bound, Bounds, Detector, EpisodeKey, Explain, Held, Nothing, Outcome, Payment, Points, Reached, Reason,
    Seat, Terms, Tier, Tiers,
};

mod calendar;
#[cfg(test)]
mod tests;

use calendar::{day_of, period_of};

/// View `replay`: lifetime mandates whose cap was passed, by whoever presented them.
pub const VIEW: View = View {
    name: "replay",
    columns: &[
        Column { name: "mandate_id", kind: Kind::Text },
        Column { name: "agent_id", kind: Kind::Text },
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "max_amount", kind: Kind::Decimal },
        Column { name: "use_count", kind: Kind::Int },
        Column { name: "cumulative_spend", kind: Kind::Decimal },
        Column { name: "over_amount", kind: Kind::Decimal },
    ],
    sort: &[0, 1, 2],
    sql: include_str!("view.sql"),
};

/// View `replay_window`: one row per transaction outside the dates of its mandate.
pub const WINDOW_VIEW: View = View {
    name: "replay_window",
    columns: &[
        Column { name: "tx_id", kind: Kind::Text },
        Column { name: "mandate_id", kind: Kind::Text },
        Column { name: "agent_id", kind: Kind::Text },
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "tx_time", kind: Kind::Time },
        Column { name: "valid_from", kind: Kind::Time },
        Column { name: "valid_to", kind: Kind::Time },
    ],
    sort: &[0, 3],
    sql: include_str!("window.sql"),
};

/// Uses and spend of one agent under one mandate over all history, per currency, whether the mandate
/// was known or not: any version of it derives its overage from these.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Spend {
    per_currency: SmallVec<[(Currency, u64, Amount); 1]>,
}

impl Spend {
    fn add(&mut self, currency: Currency, amount: Amount, bounds: &Bounds, reached: &mut Reached) {
        if let Some((_, uses, spend)) = self.per_currency.iter_mut().find(|(code, ..)| *code == currency) {
            *uses += 1;
            *spend = spend.plus(amount);
        } else if self.per_currency.len() < bounds.use_currencies_max {
            self.per_currency.push((currency, 1, amount));
        } else {
            reached.mark(Bound::UseCurrencies);
        }
    }

    /// Uses and spend in one currency.
    #[must_use]
    pub fn in_currency(&self, currency: Currency) -> (u64, Amount) {
        let found = self.per_currency.iter().find(|(code, ..)| *code == currency);
        found.map_or((0, Amount::ZERO), |&(_, uses, spend)| (uses, spend))
    }

    /// Spend over the cap of a lifetime mandate, with uses and spend; `None` when there is no such
    /// cap or it holds.
    #[must_use]
    pub fn over_cap(&self, terms: &Terms) -> Option<(u64, Amount, Amount)> {
        let cap = terms.max_amount().filter(|_| terms.period == CapPeriod::Lifetime)?;
        let (uses, spend) = self.in_currency(terms.currency);
        (spend > cap).then(|| (uses, spend, spend.minus(cap)))
    }
}

/// What the attempts that were not blocked have reserved under one mandate by one user.
///
/// Kept per user, because a mandate belongs to one; a stranger's attempt is `not_held` and, unless
/// the floors are configured otherwise, blocked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ledger {
    uses: u64,
    lifetime: Spend,
    /// Reserved while the mandate was known, by calendar period, for as long as an accepted
    /// transaction can still fall into it.
    periods: SmallVec<[Reserved; 3]>,
}

/// The calendar periods in which a mandate can cap its amount.
const PERIODS: [CapPeriod; 3] = [CapPeriod::Day, CapPeriod::Week, CapPeriod::Month];

/// What was reserved in one calendar period in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Reserved {
    period: CapPeriod,
    first_day: i32,
    last_day: i32,
    currency: Currency,
    spend: Amount,
}

impl Reserved {
    fn holds(&self, currency: Currency, day: i32) -> bool {
        (self.first_day..=self.last_day).contains(&day) && self.currency == currency
    }
}

impl Ledger {
    /// Reads what the next payment will read; what it gives stands for nothing.
    #[inline]
    #[must_use]
    pub fn touch(&self) -> i64 {
        let period = self.periods.first().map_or(0, |reserved| i64::from(reserved.first_day));
        period ^ i64::from(self.lifetime.per_currency.is_empty())
    }

    fn spent(&self, terms: &Terms, time_us: i64) -> Amount {
        if terms.period == CapPeriod::Lifetime {
            return self.lifetime.in_currency(terms.currency).1;
        }
        let day = day_of(time_us);
        let in_period =
            |reserved: &&Reserved| reserved.period == terms.period && reserved.holds(terms.currency, day);
        self.periods.iter().find(in_period).map_or(Amount::ZERO, |reserved| reserved.spend)
    }

    fn reserve(&mut self, payment: &Payment<'_>, bounds: &Bounds, reached: &mut Reached) {
        let (currency, amount) = (payment.tx.currency, payment.tx.amount);
        self.uses += 1;
        self.lifetime.add(currency, amount, bounds, reached);
        if payment.mandate.is_none() {
            return;
        }
        // A transaction older than the memory of repeats is never accepted, so nothing can fall any
        // more into a period that ended before it.
        let oldest_day = day_of(payment.oldest_accepted_us);
        if self.periods.iter().any(|reserved| reserved.last_day < oldest_day) {
            self.periods.retain(|reserved| reserved.last_day >= oldest_day);
        }
        let day = day_of(payment.time_us);
        let mut open = 0;
        for reserved in self.periods.iter_mut().filter(|reserved| reserved.holds(currency, day)) {
            reserved.spend = reserved.spend.plus(amount);
            open += 1;
        }
        if open < PERIODS.len() {
            self.open_periods(day, currency, amount, bounds, reached);
        }
    }

    /// Begins the periods of a day that are not open yet with a first amount.
    fn open_periods(
        &mut self,
        day: i32,
        currency: Currency,
        amount: Amount,
        bounds: &Bounds,
        reached: &mut Reached,
    ) {
        for period in PERIODS {
            let open = |reserved: &Reserved| reserved.period == period && reserved.holds(currency, day);
            if self.periods.iter().any(open) {
                continue;
            }
            if self.periods.len() >= bounds.ledger_periods_max {
                reached.mark(Bound::LedgerPeriods);
                let earliest = self.periods.iter().enumerate().min_by_key(|(_, reserved)| reserved.last_day);
                if let Some(at) = earliest.map(|(at, _)| at) {
                    self.periods.remove(at);
                }
            }
            let (first_day, last_day) = period_of(period, day);
            self.periods.push(Reserved { period, first_day, last_day, currency, spend: amount });
        }
    }
}

/// What an observation found.
#[derive(Debug, Default)]
pub struct Found {
    spent_before: Amount,
    uses_before: u64,
}

/// The detector.
#[derive(Debug)]
pub struct Replay;

const NOT_HELD: usize = 0;
const REVOKED: usize = 1;
const EXPIRED: usize = 2;
const NOT_YET_VALID: usize = 3;
const OVER_CAP: usize = 4;
const OVER_USES: usize = 5;
const OVER_PER_TRANSACTION: usize = 6;
const WRONG_CURRENCY: usize = 7;
const PAUSED: usize = 8;

const fn by_floor(name: &'static str) -> Tier {
    Tier { name, floor: None, points: Points::ByFloor }
}

impl Replay {
    /// What was reserved before a payment in the cap's period and currency.
    #[must_use]
    pub fn spent_before(ledger: &Ledger, terms: &Terms, time_us: i64) -> Amount {
        ledger.spent(terms, time_us)
    }
}

impl Detector for Replay {
    const NAME: &'static str = "replay";
    const TIERS: &'static [Tier] = &[
        by_floor("not_held"),
        by_floor("revoked"),
        by_floor("expired"),
        by_floor("not_yet_valid"),
        Tier { name: "over_cap", floor: None, points: Points::Weighted { cap: 100 } },
        by_floor("over_uses"),
        by_floor("over_per_transaction"),
        by_floor("wrong_currency"),
        Tier { name: "paused", floor: Some(Action::Review), points: Points::ByFloor },
    ];
    const TIER_NAMES: &'static [&'static str] = &[
        "not_held",
        "revoked",
        "expired",
        "not_yet_valid",
        "over_cap",
        "over_uses",
        "over_per_transaction",
        "wrong_currency",
        "paused",
    ];
    const FLOOR: Action = Action::Block;
    const EPISODE: EpisodeKey = EpisodeKey::Use;
    const WEIGHT: Option<Amount> = Some(Amount(10_000_000));
    const VIEWS: &'static [View] = &[VIEW, WINDOW_VIEW];

    type Params = Nothing;
    type Agent = Nothing;
    type User = Nothing;
    type Ledger = Ledger;
    type Use = Spend;
    type Found = Found;

    #[inline(always)]
    fn observe(_: &Nothing, payment: &Payment<'_>, seat: &mut Seat<'_, Self>, tiers: &mut Tiers) -> Found {
        let (tx, time_us) = (payment.tx, payment.time_us);
        if let Some(usage) = seat.usage.as_deref_mut() {
            usage.add(tx.currency, tx.amount, seat.bounds, seat.reached);
        }
        let (Some(terms), Some(ledger)) = (payment.mandate, seat.ledger.as_deref()) else {
            return Found::default();
        };
        let found = Found { spent_before: ledger.spent(terms, time_us), uses_before: ledger.uses };
        let mut hold = |tier, holds: bool| {
            if holds {
                tiers.push(Held { tier, measure: Amount::units(1) });
            }
        };
        hold(NOT_HELD, payment.held.is_none());
        hold(REVOKED, terms.status == MandateStatus::Revoked);
        hold(EXPIRED, terms.valid_to().is_some_and(|to| time_us > to.0));
        hold(NOT_YET_VALID, terms.valid_from().is_some_and(|from| time_us < from.0));
        hold(OVER_USES, terms.max_uses.is_some_and(|most| found.uses_before >= most));
        hold(PAUSED, terms.status == MandateStatus::Paused);
        if terms.currency != tx.currency {
            hold(WRONG_CURRENCY, true);
            return found;
        }
        hold(OVER_PER_TRANSACTION, terms.per_transaction_max().is_some_and(|most| tx.amount > most));
        let overage = terms.max_amount().map(|cap| found.spent_before.plus(tx.amount).minus(cap));
        if let Some(over) = overage.filter(|&over| over > Amount::ZERO) {
            // Points are counted in the base currency; without a rate there are none.
            tiers.push(Held { tier: OVER_CAP, measure: payment.to_base(over).unwrap_or(Amount::ZERO) });
        }
        found
    }

    fn explain(
        _: &Nothing,
        payment: &Payment<'_>,
        found: &Found,
        held: Held,
        out: &mut Explain<'_>,
    ) -> Reason {
        let Some(terms) = payment.mandate else {
            return out.reason(format_args!("The mandate cannot be used."));
        };
        let tx = payment.tx;
        let time = |time: Option<Timestamp>| time.map_or(Fact::Absent, Fact::Time);
        match held.tier {
            NOT_HELD => {
                out.text("holder_agent_id", terms.agent_id());
                out.reason(format_args!("The agent used a mandate that was given to another."))
            }
            REVOKED => out.reason(format_args!("The mandate was revoked before this payment was decided.")),
            EXPIRED => {
                out.fact("measure", Fact::Time(tx.tx_time));
                out.fact("threshold", time(terms.valid_to()));
                out.reason(format_args!("The mandate had expired when the payment was made."))
            }
            NOT_YET_VALID => {
                out.fact("measure", Fact::Time(tx.tx_time));
                out.fact("threshold", time(terms.valid_from()));
                out.reason(format_args!("The mandate was not yet valid when the payment was made."))
            }
            OVER_CAP => {
                let (spent, cap) = (found.spent_before, terms.max_amount().unwrap_or_default());
                let over = spent.plus(tx.amount).minus(cap);
                out.fact("measure", Fact::Decimal(over));
                out.fact("threshold", Fact::Decimal(Amount::ZERO));
                out.fact("max_amount", Fact::Decimal(cap));
                out.fact("spent_before", Fact::Decimal(spent));
                out.text("currency", terms.currency.as_str());
                let currency = terms.currency.as_str();
                out.reason(format_args!(
                    "The payment would bring the mandate to {} {currency}, {over} {currency} over its limit of {cap} {currency}.",
                    spent.plus(tx.amount)
                ))
            }
            OVER_USES => {
                let most = terms.max_uses.unwrap_or_default();
                out.count("measure", usize::try_from(found.uses_before + 1).unwrap_or(usize::MAX));
                out.count("threshold", usize::try_from(most).unwrap_or(usize::MAX));
                out.reason(format_args!("The mandate allows {most} payments and they have been made."))
            }
            OVER_PER_TRANSACTION => {
                let most = terms.per_transaction_max().unwrap_or_default();
                out.fact("measure", Fact::Decimal(tx.amount));
                out.fact("threshold", Fact::Decimal(most));
                let currency = terms.currency.as_str();
                out.reason(format_args!(
                    "The payment of {} {currency} is above the {most} {currency} that the mandate allows at a time.",
                    tx.amount
                ))
            }
            WRONG_CURRENCY => {
                out.text("measure", tx.currency.as_str());
                out.text("threshold", terms.currency.as_str());
                out.reason(format_args!(
                    "The payment is in {}, the mandate in {}.",
                    tx.currency.as_str(),
                    terms.currency.as_str()
                ))
            }
            _ => out.reason(format_args!("The mandate is paused.")),
        }
    }

    fn settle(_: &Nothing, payment: &Payment<'_>, seat: &mut Seat<'_, Self>, outcome: &Outcome<'_>) {
        // An attempt reserves its amount and its use unless it was blocked.
        if outcome.action != Action::Block
            && let Some(ledger) = seat.ledger.as_deref_mut()
        {
            ledger.reserve(payment, seat.bounds, seat.reached);
        }
    }
}
