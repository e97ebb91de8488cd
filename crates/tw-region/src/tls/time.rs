//! Moments in certificates: dates to the second, as rcgen takes them, and milliseconds since 1970, as the rest of Tradewind does.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_as_the_calendar_says() {
        assert_eq!(text(951_825_600_000), "2000-02-29 12:00 UTC");
        assert_eq!(text(0), "1970-01-01 00:00 UTC");
    }
}
