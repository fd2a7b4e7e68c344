//! One detector at a time, on its own states and timelines, with nothing else around it.

use std::collections::BTreeMap;

use weir_detectors::cross_merchant::groups::GroupMap;
use weir_detectors::names::Name;
use weir_detectors::timeline::{AgentPayment, UserPayment};
use weir_detectors::{
    AgentStates, AgentTimeline, Bounds, Entities, Explain, Held, Judge, LedgerStates, Params, Payment,
    Reached, Reason, Tiers, UseStates, UserStates, UserTimeline, observe_one,
};
use weir_events::time::{DAY_US, MINUTE_US};
use weir_events::{Currency, Rates, Transaction};

/// Everything kept of one agent, which is also its only user's and mandate's.
#[derive(Debug, Default)]
struct Slot {
    agent: AgentStates,
    user: UserStates,
    ledger: LedgerStates,
    usage: UseStates,
    payments: AgentTimeline,
    user_payments: UserTimeline,
    reached: Reached,
}

/// Payments of a stream, resolved to the slots of their agents.
#[derive(Debug)]
pub struct Alone<'a> {
    payments: Vec<(usize, Payment<'a>)>,
    slots: usize,
}

/// Counts what is reported; explains nothing.
struct Counted(u64);

impl Judge for Counted {
    fn judge(
        &mut self,
        _: usize,
        _: &Tiers,
        _: Reached,
        _: &mut dyn FnMut(Held, &mut Explain<'_>) -> Reason,
    ) {
        self.0 += 1;
    }
}

impl<'a> Alone<'a> {
    /// Resolves the agents once, so that look-ups are not measured.
    #[must_use]
    pub fn new(transactions: &'a [Transaction<'a>], rates: &'a Rates) -> Self {
        let (groups, mut known) = (GroupMap::default(), BTreeMap::new());
        let mut resolve = |tx: &'a Transaction<'a>| {
            let slots = known.len();
            let slot = *known.entry((&*tx.user_id, &*tx.agent_id)).or_insert(slots);
            (slot, payment(tx, rates, &groups))
        };
        let payments = transactions.iter().map(&mut resolve).collect();
        Self { payments, slots: known.len() }
    }

    /// Runs the detector at `position`, or with `None` the timelines alone; gives the number of
    /// payments on which it reported something.
    #[must_use]
    pub fn run(&self, position: Option<usize>) -> u64 {
        let (params, bounds) = (Params::default(), Bounds::default());
        let mut slots: Vec<Slot> = std::iter::repeat_with(Slot::default).take(self.slots).collect();
        let mut counted = Counted(0);
        for (slot, payment) in &self.payments {
            let Some(slot) = slots.get_mut(*slot) else { continue };
            let payment = Payment { at: Some(slot.take_in(payment)), ..*payment };
            if let Some(position) = position {
                observe_one(position, &params, &payment, &mut slot.entities(&bounds), &mut counted);
            }
        }
        counted.0
    }
}

impl Slot {
    fn take_in(&mut self, payment: &Payment<'_>) -> usize {
        let time_us = payment.time_us;
        self.payments.evict_before(payment.watermark_us - 5 * MINUTE_US);
        self.user_payments.evict_before(payment.watermark_us - DAY_US);
        self.user_payments.insert(UserPayment::new(time_us, 0, payment.base_amount));
        self.payments.insert(AgentPayment::of(payment))
    }

    fn entities<'s>(&'s mut self, bounds: &'s Bounds) -> Entities<'s> {
        Entities {
            agent: &mut self.agent,
            user: &mut self.user,
            ledger: Some(&mut self.ledger),
            usage: Some(&mut self.usage),
            payments: &self.payments,
            user_payments: &self.user_payments,
            bounds,
            reached: &mut self.reached,
        }
    }
}

fn payment<'a>(tx: &'a Transaction<'a>, rates: &'a Rates, groups: &GroupMap) -> Payment<'a> {
    let watermark_us = tx.watermark_time().0 - 5 * MINUTE_US;
    Payment {
        tx,
        time_us: tx.tx_time.0,
        believed_us: tx.tx_time.0,
        late: false,
        clock_skew: false,
        watermark_us,
        oldest_accepted_us: watermark_us - DAY_US,
        rates,
        base_amount: rates.to_base(tx.amount, tx.currency),
        agent: 0,
        merchant: Name::of(&tx.merchant, groups),
        category: tx.merchant_category.as_deref().map_or(Name::default(), |name| Name::of(name, groups)),
        mandate: None,
        held: None,
        usable: None,
        omitted: None,
        at: None,
    }
}

/// Rates with nothing but the base currency.
#[must_use]
pub fn base_only() -> Rates {
    Rates::new(Currency::USD, [])
}
