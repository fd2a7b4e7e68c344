//! Whether a payment names a mandate that is known; has no view.

use weir_events::Action;
use weir_events::decision::Fact;

use crate::{Amount, Detector, Explain, Held, Nothing, Payment, Points, Reason, Seat, Tier, Tiers};

/// The detector.
#[derive(Debug)]
pub struct Presence;

const UNKNOWN: usize = 0;
const OMITTED: usize = 1;
const NONE: usize = 2;

impl Detector for Presence {
    const NAME: &'static str = "mandate";
    const TIERS: &'static [Tier] = &[
        Tier { name: "unknown", floor: Some(Action::Review), points: Points::ByFloor },
        Tier { name: "omitted", floor: Some(Action::Challenge), points: Points::ByFloor },
        Tier { name: "none", floor: Some(Action::Allow), points: Points::ByFloor },
    ];
    const TIER_NAMES: &'static [&'static str] = &["unknown", "omitted", "none"];

    type Params = Nothing;
    type Agent = Nothing;
    type User = Nothing;
    type Ledger = Nothing;
    type Use = Nothing;
    type Found = ();

    #[inline(always)]
    fn observe(_: &Nothing, payment: &Payment<'_>, _: &mut Seat<'_, Self>, tiers: &mut Tiers) {
        let tier = match (&payment.tx.mandate_id, payment.mandate, payment.omitted) {
            (Some(_), Some(_), _) => return,
            (Some(_), None, _) => UNKNOWN,
            (None, _, Some(_)) => OMITTED,
            (None, _, None) => NONE,
        };
        tiers.push(Held { tier, measure: Amount::units(1) });
    }

    fn explain(_: &Nothing, payment: &Payment<'_>, (): &(), held: Held, out: &mut Explain<'_>) -> Reason {
        out.fact("measure", Fact::Count(1));
        out.fact("threshold", Fact::Count(1));
        match held.tier {
            UNKNOWN => out.reason(format_args!("The agent named a mandate that is not on record.")),
            OMITTED => {
                if let Some(terms) = payment.omitted {
                    out.text("held_mandate_id", terms.mandate_id());
                }
                out.reason(format_args!("The agent holds a mandate and paid without naming it."))
            }
            _ => out.reason(format_args!("The agent paid without a mandate.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_events::{Mandate, MandateStatus, Timestamp};

    use super::*;
    use crate::testing::{Rig, T0_US, mandate, pay};

    #[test]
    fn what_is_said_of_a_payment_follows_from_what_it_names_and_what_the_agent_holds() {
        let check = |held: Mandate, names: Option<&'static str>, expected: &str| {
            let paid = names.map_or(pay(0), |mandate| pay(0).under(mandate));
            assert_eq!(Rig::<Presence>::new().with(held.clone()).pay(&paid), expected, "{names:?} {held:?}");
        };
        let m = || mandate("m");
        let time = |us: i64| Some(Timestamp(T0_US + us));
        check(m(), Some("m"), "");
        check(Mandate { status: MandateStatus::Revoked, ..m() }, Some("m"), "");
        check(Mandate { agent_id: "b".to_owned(), ..m() }, Some("m"), "");
        check(m(), Some("n"), "unknown 1");
        check(m(), None, "omitted 1");
        check(Mandate { valid_from: time(0), valid_to: time(0), ..m() }, None, "omitted 1");
        check(Mandate { valid_from: time(1), ..m() }, None, "none 1");
        check(Mandate { valid_to: time(-1), ..m() }, None, "none 1");
        check(Mandate { status: MandateStatus::Paused, ..m() }, None, "none 1");
        check(Mandate { status: MandateStatus::Revoked, ..m() }, None, "none 1");
        check(Mandate { agent_id: "b".to_owned(), ..m() }, None, "none 1");
        check(Mandate { user_id: "v".to_owned(), ..m() }, None, "none 1");
    }
}
