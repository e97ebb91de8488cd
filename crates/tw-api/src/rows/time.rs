//! Dates and times as PostgreSQL's `to_json` writes them: `2026-01-31T09:30:00.5+00:00`. It covers PostgreSQL's years, which
//! are more than Arrow's text forms know.

use std::fmt::Write as _;

const DAY_US: i64 = 86_400_000_000;
/// Days from 0000-03-01, with which 400-year cycles begin, to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
/// Days of 400 years.
const CYCLE_DAYS: i64 = 146_097;

/// Appends a date that is `days` after 1970-01-01; the first and the last are `-infinity` and `infinity`.
pub(super) fn date(days: i32, out: &mut String) {
    if endless(days == i32::MIN, days == i32::MAX, out) {
        return;
    }
    if day(days.into(), out) {
        out.push_str(" BC");
    }
}

/// Appends a time of the day, in microseconds since midnight.
pub(super) fn time(us: i64, out: &mut String) {
    let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let _infallible = write!(out, "{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if fraction > 0 {
        out.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
}

/// Appends a moment that is `us` microseconds after 1970-01-01T00:00:00, with the offset of UTC or without any; the first and
/// the last are `-infinity` and `infinity`.
pub(super) fn timestamp(us: i64, with_zone: bool, out: &mut String) {
    if endless(us == i64::MIN, us == i64::MAX, out) {
        return;
    }
    let before_christ = day(us.div_euclid(DAY_US), out);
    out.push('T');
    time(us.rem_euclid(DAY_US), out);
    if with_zone {
        out.push_str("+00:00");
    }
    if before_christ {
        out.push_str(" BC");
    }
}

/// Appends one of the ends of time, if it is one.
fn endless(is_first: bool, is_last: bool, out: &mut String) -> bool {
    if is_first {
        out.push('-');
    }
    if is_first || is_last {
        out.push_str("infinity");
    }
    is_first || is_last
}

/// Appends a day; says whether its year is one before Christ.
fn day(days: i64, out: &mut String) -> bool {
    let (year, month, day) = civil(days);
    // There is no year 0: before the year 1 comes the year 1 BC.
    let before_christ = year < 1;
    let year = if before_christ { 1 - year } else { year };
    let _infallible = write!(out, "{year:04}-{month:02}-{day:02}");
    before_christ
}

/// Year, month and day in the Gregorian calendar, extended to all times (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms": years begin in March there, so that the leap day is the last one).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (cycle, day) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE_DAYS - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + cycle * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(us: i64, with_zone: bool) -> String {
        let mut text = String::new();
        timestamp(us, with_zone, &mut text);
        text
    }

    #[test]
    fn moments_are_written_as_postgresql_writes_them() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (-1, "1969-12-31T23:59:59.999999+00:00"),
            (951_782_400_500_000, "2000-02-29T00:00:00.5+00:00"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00+00:00"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00+00:00"),
            (-62_135_596_800_000_001, "0001-12-31T23:59:59.999999+00:00 BC"),
            (9_223_371_331_199_999_999, "294247-01-01T23:59:59.999999+00:00"),
            (i64::MIN, "-infinity"),
            (i64::MAX, "infinity"),
            (-210_866_803_200_000_000, "4714-11-24T00:00:00+00:00 BC"),
        ] {
            assert_eq!(shown(us, true), text);
        }
        assert_eq!(shown(34_200_000_000, false), "1970-01-01T09:30:00");
        for (days, text) in [(0, "1970-01-01"), (i32::MIN, "-infinity"), (i32::MAX, "infinity")] {
            let mut shown = String::new();
            date(days, &mut shown);
            assert_eq!(shown, text);
        }
    }

    proptest! {
        /// The calendar agrees with another implementation of it, where that one goes.
        #[test]
        fn moments_read_back(ms in -9_000_000_000_000i64..9_000_000_000_000) {
            let read: tw_types::Timestamp = shown(ms * 1_000, true).parse().unwrap();
            prop_assert_eq!(read.millis(), ms);
        }
    }
}
