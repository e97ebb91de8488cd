//! Dates, times and instants in the ISO forms that PostgreSQL prints, and that JSON carries.
//!
//! Days and microseconds count from 1970-01-01, in the proleptic Gregorian calendar. What PostgreSQL accepts beyond
//! ISO 8601 (month names, `now`, named zones) is refused, never guessed. `infinity` and `-infinity` are the last and the
//! first value that the number can hold, so that they sort after and before all others.

use std::fmt::Write as _;
pub(crate) use tw_types::calendar::{
    DAY_US, civil_from_days, days_from_civil, days_in_month, is_endless, is_endless_day, print_date,
    print_time,
};
use tw_types::calendar::{SECOND_US, print_clock};

/// The days that PostgreSQL's `date` can hold: 4713-11-24 BC to 5874897-12-31.
const DAYS: std::ops::RangeInclusive<i64> = -2_440_588..=2_145_031_948;
/// The instants of PostgreSQL's `timestamp`, from 4714-11-24 BC, as far as microseconds since 1970 reach: to 294247-01-01 (there to 294276-12-31).
const INSTANTS: std::ops::Range<i64> = -210_866_803_200_000_000..9_223_371_331_200_000_000;

/// The days `-infinity` and `infinity`.
const ENDLESS_DAYS: [i32; 2] = [i32::MIN, i32::MAX];
/// The instants `-infinity` and `infinity`.
const ENDLESS: [i64; 2] = [i64::MIN, i64::MAX];

/// The instant at which a day starts; None if timestamps do not reach so far.
pub(crate) fn start_of_day(day: i32) -> Option<i64> {
    match day {
        i32::MIN => Some(i64::MIN),
        i32::MAX => Some(i64::MAX),
        day => i64::from(day).checked_mul(DAY_US).and_then(in_range),
    }
}

/// The day in which an instant lies.
pub(crate) fn day_of(instant: i64) -> i32 {
    match instant {
        i64::MIN => i32::MIN,
        i64::MAX => i32::MAX,
        instant => instant.div_euclid(DAY_US) as i32,
    }
}

/// Which end of time a text names: the first of a pair, or the second.
fn end_of_time<T: Copy>(text: &str, [before, after]: [T; 2]) -> Option<T> {
    if text.eq_ignore_ascii_case("infinity") {
        Some(after)
    } else if text.eq_ignore_ascii_case("-infinity") {
        Some(before)
    } else {
        None
    }
}

/// Reads one text after the other.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let matches = self.peek() == Some(byte);
        if matches {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        matches
    }

    /// `min` to `max` digits as a number, and how many there were.
    fn digits(&mut self, min: usize, max: usize) -> Option<(i64, usize)> {
        let count = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        if count < min {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some((digits.iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0')), count))
    }

    fn two(&mut self) -> Option<u32> {
        self.digits(2, 2).map(|(value, _)| value as u32)
    }

    /// ` BC` at the end.
    fn bc(&mut self) -> bool {
        let found = self.0.eq_ignore_ascii_case(b" BC");
        if found {
            self.0 = &[];
        }
        found
    }

    fn date(&mut self) -> Option<(i64, u32, u32)> {
        let (year, _) = self.digits(4, 7)?;
        if !self.eat(b'-') {
            return None;
        }
        let month = self.two()?;
        if !self.eat(b'-') {
            return None;
        }
        let day = self.two()?;
        (1..=12).contains(&month).then_some((year, month, day))
    }

    /// `HH:MM[:SS[.ffffff]]` in microseconds; 24:00:00 is allowed. Digits after the sixth are rounded.
    fn time(&mut self) -> Option<i64> {
        let hour = i64::from(self.two()?);
        if !self.eat(b':') {
            return None;
        }
        let minute = i64::from(self.two()?);
        let mut us = 0;
        if self.eat(b':') {
            us = i64::from(self.two()?) * SECOND_US;
            if us > 60 * SECOND_US {
                return None;
            }
            if self.eat(b'.') {
                us += self.fraction()?;
            }
        }
        let us = (hour * 60 + minute) * 60 * SECOND_US + us;
        (minute < 60 && us <= DAY_US).then_some(us)
    }

    fn fraction(&mut self) -> Option<i64> {
        let (value, count) = self.digits(1, 6)?;
        let mut us = value * 10i64.pow(6 - count as u32);
        if let Some(rest) = self.digits(1, 1) {
            us += i64::from(rest.0 >= 5);
            while self.digits(1, 18).is_some() {}
        }
        Some(us)
    }

    /// `Z`, `+HH`, `+HHMM`, `+HH:MM` or `+HH:MM:SS`, in microseconds east of UTC.
    fn zone(&mut self) -> Option<i64> {
        if self.eat(b'Z') || self.eat(b'z') {
            return Some(0);
        }
        if self.0.eq_ignore_ascii_case(b"utc") {
            self.0 = &[];
            return Some(0);
        }
        let sign = if self.eat(b'+') {
            1
        } else if self.eat(b'-') {
            -1
        } else {
            return None;
        };
        let hours = i64::from(self.two()?);
        let mut seconds = 0;
        let colon = self.eat(b':');
        let minutes = if colon || self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            i64::from(self.two()?)
        } else {
            0
        };
        if colon && self.eat(b':') {
            seconds = i64::from(self.two()?);
        }
        let in_range = hours < 16 && minutes < 60 && seconds < 60;
        in_range.then_some(sign * ((hours * 60 + minutes) * 60 + seconds) * SECOND_US)
    }
}

fn days(date: (i64, u32, u32), bc: bool) -> Option<i64> {
    let (year, month, day) = date;
    if year == 0 {
        return None;
    }
    let year = if bc { 1 - year } else { year };
    if day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    DAYS.contains(&days).then_some(days)
}

/// Reads `YYYY-MM-DD`, with ` BC` for years before 1, `infinity` or `-infinity`.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    if let Some(day) = end_of_time(text.trim(), ENDLESS_DAYS) {
        return Some(day);
    }
    let mut cursor = Cursor(text.trim().as_bytes());
    let date = cursor.date()?;
    let bc = cursor.bc();
    cursor.0.is_empty().then(|| days(date, bc))?.and_then(|days| i32::try_from(days).ok())
}

/// Reads `HH:MM[:SS[.ffffff]]` as microseconds since midnight.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text.trim().as_bytes());
    let us = cursor.time()?;
    cursor.0.is_empty().then_some(us)
}

/// Reads an instant: a date, then optionally `T` or a space and a time, then optionally an offset; or `infinity` or `-infinity`.
///
/// For a timestamp without time zone the offset is dropped, for one with time zone its absence means UTC, both as in PostgreSQL.
pub(crate) fn parse_timestamp(text: &str, with_zone: bool) -> Option<i64> {
    if let Some(instant) = end_of_time(text.trim(), ENDLESS) {
        return Some(instant);
    }
    let mut cursor = Cursor(text.trim().as_bytes());
    let date = cursor.date()?;
    let mut us = 0;
    let mut offset = 0;
    if cursor.eat(b'T')
        || cursor.eat(b't')
        || cursor.0.get(1).is_some_and(u8::is_ascii_digit) && cursor.eat(b' ')
    {
        us = cursor.time()?;
        let spaced =
            cursor.0.get(1).is_some_and(|byte| matches!(byte, b'+' | b'-' | b'U' | b'u')) && cursor.eat(b' ');
        if let Some(zone) = cursor.zone() {
            offset = zone;
        } else if spaced {
            return None;
        }
    }
    let bc = cursor.bc();
    if !cursor.0.is_empty() {
        return None;
    }
    let instant = days(date, bc)?.checked_mul(DAY_US)?.checked_add(us)?;
    let instant = if with_zone { instant.checked_sub(offset)? } else { instant };
    in_range(instant)
}

/// The instant, if PostgreSQL's timestamps can hold it; it is one of the calendar.
pub(crate) fn in_range(instant: i64) -> Option<i64> {
    INSTANTS.contains(&instant).then_some(instant)
}

/// The day, if PostgreSQL's dates can hold it.
pub(crate) fn day_in_range(days: i64) -> Option<i32> {
    if DAYS.contains(&days) { i32::try_from(days).ok() } else { None }
}

/// Prints an instant as PostgreSQL does; with `zone`, `+00` follows what is not endless.
pub(crate) fn print_timestamp(instant: i64, zone: bool, out: &mut String) {
    tw_types::calendar::print_timestamp(instant, ' ', if zone { "+00" } else { "" }, out);
}

/// A span of time as PostgreSQL keeps it: months, days and microseconds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) us: i64,
}

impl Span {
    /// What two spans are compared by: a month counts 30 days, a day 24 hours.
    pub(crate) fn order(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(DAY_US) + i128::from(self.us)
    }

    /// Prints in PostgreSQL's default style: `1 year 2 mons 3 days 04:05:06.7`.
    pub(crate) fn print(self, out: &mut String) {
        let start = out.len();
        let mut negative_before = false;
        for (value, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if value == 0 {
                continue;
            }
            let space = if out.len() > start { " " } else { "" };
            let plus = if negative_before && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            let _written = write!(out, "{space}{plus}{value} {unit}{plural}");
            negative_before = value < 0;
        }
        if self.us == 0 && out.len() > start {
            return;
        }
        if out.len() > start {
            out.push(' ');
        }
        if self.us < 0 {
            out.push('-');
        } else if negative_before {
            out.push('+');
        }
        print_clock(self.us.unsigned_abs(), out);
    }
}

/// The instant `span` later: months first (a day beyond the month's end becomes its last), then days, then the time. What is
/// endless stays so.
pub(crate) fn add_span(instant: i64, span: Span) -> Option<i64> {
    if is_endless(instant) {
        return Some(instant);
    }
    let mut days = instant.div_euclid(DAY_US);
    let time = instant.rem_euclid(DAY_US);
    if span.months != 0 {
        let (year, month, day) = civil_from_days(days);
        let months = year * 12 + i64::from(month) - 1 + i64::from(span.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        days = days_from_civil(year, month, day.min(days_in_month(year, month)));
    }
    let days = days + i64::from(span.days);
    let instant = days.checked_mul(DAY_US)?.checked_add(time)?.checked_add(span.us)?;
    in_range(instant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn instants_read_back_as_postgresql_prints_them() {
        for (text, zone, printed) in [
            ("2026-01-31T09:30:00Z", true, "2026-01-31 09:30:00+00"),
            ("2026-01-31T09:30:00.12+02:00", true, "2026-01-31 07:30:00.12+00"),
            ("2026-01-31 09:30:00+02", false, "2026-01-31 09:30:00"),
            ("2026-01-31", true, "2026-01-31 00:00:00+00"),
            ("0044-03-15 12:00:00 BC", false, "0044-03-15 12:00:00 BC"),
            ("2024-02-29 23:59:59.9999999", false, "2024-03-01 00:00:00"),
            ("1969-12-31 23:59:59.5", false, "1969-12-31 23:59:59.5"),
            ("Infinity", true, "infinity"),
            ("-infinity", false, "-infinity"),
        ] {
            let mut out = String::new();
            print_timestamp(parse_timestamp(text, zone).unwrap_or_else(|| panic!("{text}")), zone, &mut out);
            assert_eq!(out, printed);
        }
        for text in [
            "",
            "infinity BC",
            "2023-02-29",
            "2023-13-01",
            "2023-01-01 25:00:00",
            "2023-01-01 10:00 CET",
            "0000-01-01",
            "300000-01-01",
        ] {
            assert_eq!(parse_timestamp(text, true), None, "{text}");
        }
    }

    #[test]
    fn spans_print_as_in_postgresql() {
        for (months, days, us, printed) in [
            (14, 3, 14_706_700_000, "1 year 2 mons 3 days 04:05:06.7"),
            (0, 0, 0, "00:00:00"),
            (-1, 1, -1_000_000, "-1 mons +1 day -00:00:01"),
            (0, -1, 3_600_000_000, "-1 days +01:00:00"),
            (12, 0, 0, "1 year"),
        ] {
            let mut out = String::new();
            Span { months, days, us }.print(&mut out);
            assert_eq!(out, printed);
        }
    }

    #[test]
    fn a_month_later_is_at_most_the_last_day() {
        let from = parse_timestamp("2024-01-31 10:00:00", false).unwrap();
        let later = add_span(from, Span { months: 1, ..Span::default() }).unwrap();
        assert_eq!(later, parse_timestamp("2024-02-29 10:00:00", false).unwrap());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+:0-9TZ. BC]{0,40}") {
            let _ = (parse_date(&text), parse_time(&text), parse_timestamp(&text, true));
        }

        #[test]
        fn dates_read_back(days in -2_440_588i32..2_145_031_948) {
            let mut out = String::new();
            print_date(days, &mut out);
            prop_assert_eq!(parse_date(&out), Some(days));
        }
    }
}
