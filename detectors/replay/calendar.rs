//! Calendar periods in UTC, as days counted from 1970-01-01.

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use weir_events::CapPeriod;
use weir_events::time::DAY_US;

/// The day that holds `time_us`.
pub(super) fn day_of(time_us: i64) -> i32 {
    i32::try_from(time_us.div_euclid(DAY_US)).unwrap_or(i32::MAX)
}

/// First and last day of the calendar period that holds `day`; weeks are ISO weeks.
pub(super) fn period_of(period: CapPeriod, day: i32) -> (i32, i32) {
    let Some(date) = date_of(day) else { return (day, day) };
    let first_and_last = match period {
        CapPeriod::Week => {
            let week = date.week(Weekday::Mon);
            week.checked_first_day().zip(week.checked_last_day())
        }
        CapPeriod::Month => {
            let first = date.with_day(1);
            let next = first.and_then(|first| first.checked_add_months(Months::new(1)));
            first.zip(next.and_then(|next| next.checked_sub_days(Days::new(1))))
        }
        CapPeriod::Day | CapPeriod::Lifetime => Some((date, date)),
    };
    first_and_last.map_or((day, day), |(first, last)| (days(first), days(last)))
}

fn date_of(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(day)
}

fn days(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_hold_their_day_and_meet_their_neighbours() {
        for day in 10_957..47_482 {
            for period in [CapPeriod::Day, CapPeriod::Week, CapPeriod::Month] {
                let (first, last) = period_of(period, day);
                assert!((first..=last).contains(&day));
                assert_eq!(period_of(period, last), (first, last));
                assert_eq!(period_of(period, last + 1).0, last + 1);
            }
        }
    }

    #[test]
    fn known_periods() {
        // 2026-11-20 is a Friday; its ISO week runs from the 16th to the 22nd.
        let day = days(NaiveDate::from_ymd_opt(2026, 11, 20).unwrap_or_default());
        assert_eq!(period_of(CapPeriod::Week, day), (day - 4, day + 2));
        assert_eq!(period_of(CapPeriod::Month, day), (day - 19, day + 10));
    }
}
