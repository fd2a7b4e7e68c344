//! What the input itself says about a payment: clocks, lateness, missing rates; has no view.

use weir_events::decision::Fact;

use crate::{Amount, Detector, Explain, Held, Nothing, Payment, Points, Reason, Seat, Tier, Tiers};

/// The detector.
#[derive(Debug)]
pub struct Input;

const CLOCK_SKEW: usize = 0;
const LATE: usize = 1;
const NO_RATE: usize = 2;

impl Detector for Input {
    const NAME: &'static str = "input";
    const TIERS: &'static [Tier] = &[
        Tier { name: "clock_skew", floor: None, points: Points::ByFloor },
        Tier { name: "late", floor: None, points: Points::ByFloor },
        Tier { name: "no_rate", floor: None, points: Points::ByFloor },
    ];
    const TIER_NAMES: &'static [&'static str] = &["clock_skew", "late", "no_rate"];

    type Params = Nothing;
    type Agent = Nothing;
    type User = Nothing;
    type Ledger = Nothing;
    type Use = Nothing;
    type Found = ();

    #[inline(always)]
    fn observe(_: &Nothing, payment: &Payment<'_>, _: &mut Seat<'_, Self>, tiers: &mut Tiers) {
        let measure = Amount::units(1);
        if payment.clock_skew {
            tiers.push(Held { tier: CLOCK_SKEW, measure });
        }
        if payment.time_us < payment.watermark_us {
            tiers.push(Held { tier: LATE, measure });
        }
        if payment.base_amount.is_none() {
            tiers.push(Held { tier: NO_RATE, measure });
        }
    }

    fn explain(_: &Nothing, payment: &Payment<'_>, (): &(), held: Held, out: &mut Explain<'_>) -> Reason {
        match held.tier {
            CLOCK_SKEW => {
                if let Some(recorded) = payment.tx.record_time {
                    out.fact("measure", Fact::Decimal(seconds(payment.time_us - recorded.0)));
                    out.fact("record_time", Fact::Time(recorded));
                }
                out.reason(format_args!("The payment is dated later than the time it was recorded."))
            }
            LATE => {
                out.fact("measure", Fact::Decimal(seconds(payment.watermark_us - payment.time_us)));
                out.reason(format_args!(
                    "The payment arrived too late to be compared with those made around it."
                ))
            }
            _ => {
                out.text("currency", payment.tx.currency.as_str());
                out.reason(format_args!("There is no exchange rate for the payment's currency."))
            }
        }
    }
}

/// Microseconds as decimal seconds.
fn seconds(us: i64) -> Amount {
    Amount(i128::from(us) * 100)
}

#[cfg(test)]
mod tests {
    use weir_events::{Currency, Rates};

    use super::*;
    use crate::testing::{LATENESS_US, Pay, Rig, amount, pay, secs};

    /// What a payment gives after one at time 0.
    fn check(paid: &Pay, expected: &str) {
        let mut rig = Rig::<Input>::new();
        rig.pay(&pay(0));
        assert_eq!(rig.pay(paid), expected, "{paid:?}");
    }

    #[test]
    fn late_is_older_than_the_watermark() {
        check(&pay(-LATENESS_US), "");
        check(&pay(-LATENESS_US - 1), "late 1");
        check(&pay(secs(3600)), "");
    }

    #[test]
    fn clock_skew_is_more_than_five_minutes_ahead_of_the_record() {
        check(&pay(LATENESS_US).recorded(0), "");
        check(&pay(LATENESS_US + 1).recorded(0), "clock_skew 1");
        check(&pay(-secs(3600)).recorded(0), "late 1");
        check(&pay(-LATENESS_US - 1).recorded(-2 * LATENESS_US - 2), "clock_skew 1, late 1");
    }

    #[test]
    fn a_currency_needs_a_rate() {
        check(&pay(0).currency("EUR"), "no_rate 1");
        let mut rated = Rig::<Input>::new();
        rated.rates = Rates::new(Currency::USD, [(Currency::parse("EUR").unwrap(), amount("1.08"))]);
        assert_eq!(rated.pay(&pay(0).currency("EUR")), "");
        assert_eq!(rated.pay(&pay(0).currency("GBP")), "no_rate 1");
    }
}
