//! Moments in certificates: seconds in UTC, as X.509 writes them, and milliseconds since 1970, as the rest of Tradewind does.
//!
//! It reads the wall clock, because validity is a matter of the calendar; nothing about order is decided with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds of a day.
pub(super) const DAY_MS: u64 = 86_400_000;

/// The last moment that is ever written: beyond year 9999 no certificate can say when it ends.
const LAST_MS: u64 = 253_000_000_000_000;

/// Milliseconds since 1970 by the wall clock; 0 when it stands before that.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(LAST_MS).min(LAST_MS)
}

/// Gives a moment to what takes one as rcgen's parameters do; the type has no name here.
macro_rules! date {
    ($at_ms:expr) => {
        ::rcgen::date_time_ymd(1970, 1, 1) + $crate::tls::time::since_1970($at_ms)
    };
}
pub(super) use date;

/// How long after 1970, to the second, and never so long that a date cannot say it.
pub(super) fn since_1970(at_ms: u64) -> Duration {
    Duration::from_secs(at_ms.min(LAST_MS) / 1000)
}

/// `2026-11-22 08:30 UTC`.
pub(super) fn text(at_ms: u64) -> String {
    let at = date!(at_ms);
    format!(
        "{}-{:02}-{:02} {:02}:{:02} UTC",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute()
    )
}

/// Reads a time of X.509 (RFC 5280, 4.1.2.5): `YYMMDDHHMMSSZ` (tag 23) or `YYYYMMDDHHMMSSZ` (tag 24), to milliseconds since
/// 1970; 0 for what lies before. None for anything else.
pub(super) fn read(tag: u8, text: &[u8]) -> Option<u64> {
    let (year, rest) = match tag {
        23 => {
            let (year, rest) = number(text, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        24 => number(text, 4)?,
        _ => return None,
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && rest == b"Z";
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    in_range.then(|| u64::try_from(seconds).unwrap_or(0) * 1000)
}

fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let all_digits = number.iter().all(u8::is_ascii_digit);
    let value = number.iter().fold(0, |value, digit| value * 10 + i64::from(digit.wrapping_sub(b'0')));
    all_digits.then_some((value, rest))
}

/// Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March, so that the day of a leap year
/// comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_certificates_are_read_as_the_calendar_says() {
        assert_eq!(read(23, b"700101000000Z"), Some(0));
        assert_eq!(read(23, b"000229120000Z"), Some(951_825_600_000));
        assert_eq!(read(24, b"21000301000001Z"), Some(4_107_542_401_000));
        assert_eq!(read(23, b"500101000000Z"), Some(0), "1950, before the first moment that is told apart");
        for wrong in
            [&b"7001010000Z"[..], b"700101000000", b"701301000000Z", b"7001010000x0Z", b"700101000000Zx"]
        {
            assert_eq!(read(23, wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(text(951_825_600_000), "2000-02-29 12:00 UTC");
    }

    proptest! {
        #[test]
        fn a_moment_that_is_written_is_read_back(at_s in 0_u64..253_000_000_000) {
            let at = date!(at_s * 1000);
            let (month, (hour, minute, second)) = (u8::from(at.month()), at.to_hms());
            let written = format!("{:04}{month:02}{:02}{hour:02}{minute:02}{second:02}Z", at.year(), at.day());
            prop_assert_eq!(read(24, written.as_bytes()), Some(at_s * 1000));
        }

        #[test]
        fn no_time_makes_it_panic(tag in 22_u8..26, bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _known_or_not = read(tag, &bytes);
        }
    }
}
