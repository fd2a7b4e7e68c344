//! How far event time has come.

use serde::{Deserialize, Serialize};
use weir_events::time::DAY_US;

/// Transactions further than this past the greatest time that counted are set aside.
pub const LEAP_US_MAX: i64 = DAY_US;
/// So many different ones set aside are believed: it is the clock of the stream that moved.
pub const SET_ASIDE_MAX: usize = 100;

/// The watermark: the greatest time that counted, less `max_lateness`.
///
/// One bad clock must not make a whole stream late, so a leap of more than a day counts only when
/// [`SET_ASIDE_MAX`] different transactions agree on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watermark {
    greatest_us: Option<i64>,
    /// Hash of (`user_id`, `tx_id`) and time of each transaction set aside.
    set_aside: Vec<(u64, i64)>,
}

impl Watermark {
    /// Counts a transaction, known by a hash of its user and id.
    pub fn count(&mut self, key: u64, time_us: i64) {
        let greatest_us = *self.greatest_us.get_or_insert(time_us);
        if time_us - greatest_us <= LEAP_US_MAX {
            self.greatest_us = Some(greatest_us.max(time_us));
            return;
        }
        if self.set_aside.iter().any(|&(known, _)| known == key) {
            return;
        }
        self.set_aside.push((key, time_us));
        if self.set_aside.len() >= SET_ASIDE_MAX {
            self.believe();
        }
    }

    /// Moves to the least that was set aside, and judges the others again in time order.
    fn believe(&mut self) {
        let mut set_aside = std::mem::take(&mut self.set_aside);
        set_aside.sort_unstable_by_key(|&(key, time_us)| (time_us, key));
        let Some((_, least_us)) = set_aside.first().copied() else { return };
        let mut greatest_us = self.greatest_us.map_or(least_us, |greatest_us| greatest_us.max(least_us));
        set_aside.retain(|&(_, time_us)| {
            let leap = time_us - greatest_us > LEAP_US_MAX;
            if !leap {
                greatest_us = greatest_us.max(time_us);
            }
            leap
        });
        self.greatest_us = Some(greatest_us);
        self.set_aside = set_aside;
    }

    /// The greatest time that counted; `None` before the first transaction.
    #[must_use]
    pub fn greatest_us(&self) -> Option<i64> {
        self.greatest_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_800_000_000_000_000;

    fn after(times: impl IntoIterator<Item = i64>) -> Watermark {
        let mut watermark = Watermark::default();
        for (key, time_us) in (1..).zip(times) {
            watermark.count(key, time_us);
        }
        watermark
    }

    #[test]
    fn a_leap_of_a_day_counts_and_one_microsecond_more_does_not() {
        assert_eq!(after([T, T + DAY_US]).greatest_us(), Some(T + DAY_US));
        assert_eq!(after([T, T + DAY_US + 1]).greatest_us(), Some(T));
    }

    #[test]
    fn a_hundred_different_ones_are_believed_and_ninety_nine_are_not() {
        let far = |count: i64| std::iter::once(T).chain((0..count).map(|at| T + 10 * DAY_US + at));
        assert_eq!(after(far(99)).greatest_us(), Some(T));
        assert_eq!(after(far(100)).greatest_us(), Some(T + 10 * DAY_US + 99));
        let mut repeated = after(far(99));
        for _ in 0..1000 {
            repeated.count(50, T + 10 * DAY_US);
        }
        assert_eq!(repeated.greatest_us(), Some(T), "the same one again is not different");
    }

    #[test]
    fn of_those_set_aside_the_ones_still_too_far_stay_there() {
        let times = (0..99).map(|at| T + 10 * DAY_US + at).chain([T + 1000 * DAY_US]);
        let watermark = after(std::iter::once(T).chain(times));
        assert_eq!(watermark.greatest_us(), Some(T + 10 * DAY_US + 98));
        assert_eq!(watermark.set_aside.len(), 1);
    }
}
