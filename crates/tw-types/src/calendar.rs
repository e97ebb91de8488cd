//! Days and instants as PostgreSQL counts and prints them.
//!
//! Days and microseconds count from 1970-01-01, in the proleptic Gregorian calendar; years are astronomical (0 is 1 BC).
//! `-infinity` and `infinity` are the first and the last value that the number can hold, so that they sort before and
//! after all others.
//!
//! Source of the arithmetic: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"; years begin in March there,
//! so that the leap day is the last one.

use std::fmt::Write as _;

/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds in a day.
pub const DAY_US: i64 = 86_400 * SECOND_US;
/// Days of 400 years.
const CYCLE_DAYS: i64 = 146_097;
/// Days from 0000-03-01, with which 400-year cycles begin, to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Whether a day is `infinity` or `-infinity`.
pub const fn is_endless_day(day: i32) -> bool {
    matches!(day, i32::MIN | i32::MAX)
}

/// Whether an instant is `infinity` or `-infinity`.
pub const fn is_endless(instant: i64) -> bool {
    matches!(instant, i64::MIN | i64::MAX)
}

/// Days since 1970-01-01 of a year, a month (1 to 12) and a day.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_cycle = year * 365 + year / 4 - year / 100 + day_of_year;
    cycle * CYCLE_DAYS + day_of_cycle - EPOCH_DAYS
}

/// The year, the month (1 to 12) and the day that are `days` after 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + EPOCH_DAYS;
    let (cycle, day) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE_DAYS - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year + cycle * 400 + i64::from(month <= 2), month, day)
}

/// How many days a month (1 to 12) has.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Prints `YYYY-MM-DD`, with ` BC` for years before 1, or `infinity` or `-infinity`.
pub fn print_date(days: i32, out: &mut String) {
    if is_endless_day(days) {
        return print_end_of_time(days > 0, out);
    }
    if print_day(days.into(), out) {
        out.push_str(" BC");
    }
}

/// Prints a time of the day in microseconds since midnight as `HH:MM:SS`, with as many digits of the fraction as it needs.
pub fn print_time(us: i64, out: &mut String) {
    print_clock(us.unsigned_abs(), out);
}

/// Prints hours, as many as there are, minutes and seconds, with as many digits of the fraction as it needs.
pub fn print_clock(us: u64, out: &mut String) {
    let (seconds, fraction) = (us / SECOND_US as u64, us % SECOND_US as u64);
    // Writing to a string cannot fail.
    let _written = write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        out.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
}

/// Prints a day, `separator` and a time, then `offset`, then ` BC` for years before 1; or `infinity` or `-infinity`.
pub fn print_timestamp(instant: i64, separator: char, offset: &str, out: &mut String) {
    if is_endless(instant) {
        return print_end_of_time(instant > 0, out);
    }
    let before_christ = print_day(instant.div_euclid(DAY_US), out);
    out.push(separator);
    print_time(instant.rem_euclid(DAY_US), out);
    out.push_str(offset);
    if before_christ {
        out.push_str(" BC");
    }
}

fn print_end_of_time(is_after: bool, out: &mut String) {
    out.push_str(if is_after { "infinity" } else { "-infinity" });
}

/// Prints a day without what tells the era; says whether its year is one before Christ.
fn print_day(days: i64, out: &mut String) -> bool {
    let (year, month, day) = civil_from_days(days);
    // There is no year 0: before the year 1 comes the year 1 BC.
    let before_christ = year < 1;
    let year = if before_christ { 1 - year } else { year };
    let _written = write!(out, "{year:04}-{month:02}-{day:02}");
    before_christ
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(us: i64, offset: &str) -> String {
        let mut text = String::new();
        print_timestamp(us, 'T', offset, &mut text);
        text
    }

    #[test]
    fn moments_are_printed_as_postgresql_prints_them() {
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
            assert_eq!(shown(us, "+00:00"), text);
        }
        assert_eq!(shown(34_200_000_000, ""), "1970-01-01T09:30:00");
        for (days, text) in [(0, "1970-01-01"), (i32::MIN, "-infinity"), (i32::MAX, "infinity")] {
            let mut shown = String::new();
            print_date(days, &mut shown);
            assert_eq!(shown, text);
        }
    }

    proptest! {
        /// The calendar agrees with another implementation of it, where that one goes.
        #[test]
        fn moments_read_back(ms in -9_000_000_000_000i64..9_000_000_000_000) {
            let read: crate::Timestamp = shown(ms * 1_000, "+00:00").parse().unwrap();
            prop_assert_eq!(read.millis(), ms);
        }

        #[test]
        fn days_convert_both_ways(days in -2_440_588i64..2_000_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month, day), days);
            prop_assert!((1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day));
        }
    }
}
