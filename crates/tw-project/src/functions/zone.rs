//! `AT TIME ZONE`.

use super::function::{Function, over_arrays, type_error, value_error};
use crate::types::{self, Kind, timestamptz};
use crate::values::calendar;
use chrono::{LocalResult, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;
use datafusion::arrow::array::types::TimestampMicrosecondType;
use datafusion::arrow::array::{Array, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

const SECOND_US: i64 = 1_000_000;

/// `x AT TIME ZONE zone`: a local time as an instant, an instant as a local time.
pub(crate) fn timezone() -> Arc<ScalarUDF> {
    Function::of(
        "timezone",
        |types, _| match types.get(1).map(Kind::of) {
            Some(Kind::Timestamp) => Ok(timestamptz()),
            Some(Kind::TimestampTz) => Ok(types::TIMESTAMP),
            _ => Err(type_error("AT TIME ZONE takes a timestamp")),
        },
        |args, rows, ty| {
            over_arrays(args, rows, |arrays| {
                let [zones, instants] = arrays else {
                    return Err(type_error("timezone takes two arguments"));
                };
                let to_utc = matches!(ty, DataType::Timestamp(_, Some(_)));
                let zones = zones.as_string_view();
                let instants = instants.as_primitive::<TimestampMicrosecondType>();
                let values = (0..instants.len())
                    .map(|row| {
                        if zones.is_null(row) || instants.is_null(row) {
                            return Ok(None);
                        }
                        shift(zones.value(row), instants.value(row), to_utc).map(Some)
                    })
                    .collect::<Result<PrimitiveArray<TimestampMicrosecondType>>>()?;
                Ok(Arc::new(values.with_data_type(ty.clone())))
            })
        },
    )
}

fn shift(zone: &str, us: i64, to_utc: bool) -> Result<i64> {
    let unknown =
        || value_error(format!("time zone `{zone}` is not known: use a name such as Europe/Berlin"));
    let out_of_range = || value_error("timestamp out of range");
    if calendar::is_endless(us) {
        return Ok(us);
    }
    let moment = chrono::DateTime::from_timestamp_micros(us).ok_or_else(out_of_range)?.naive_utc();
    let offset = match abbreviated(zone) {
        Some(offset) => offset,
        None => {
            let tz = Tz::from_str_insensitive(zone).map_err(|_| unknown())?;
            if to_utc {
                local_offset(tz, moment)
            } else {
                tz.offset_from_utc_datetime(&moment).fix().local_minus_utc()
            }
        }
    };
    let offset_us = i64::from(offset) * SECOND_US;
    let shifted = if to_utc { us.checked_sub(offset_us) } else { us.checked_add(offset_us) };
    shifted.and_then(calendar::in_range).ok_or_else(out_of_range)
}

/// The offset in seconds of what is both a zone with a history and an abbreviation: PostgreSQL takes it as the latter, the same
/// all year.
///
/// Source: its table `pg_timezone_abbrevs`.
fn abbreviated(zone: &str) -> Option<i32> {
    const HOURS: [(&str, i32); 8] =
        [("CET", 1), ("EET", 2), ("EST", -5), ("HST", -10), ("MET", 1), ("MST", -7), ("WET", 0), ("Z", 0)];
    let (_, hours) = HOURS.iter().find(|(name, _)| zone.eq_ignore_ascii_case(name))?;
    Some(hours * 3_600)
}

/// The offset of a local time. One that exists twice is taken as after the transition, one that does not exist as before it, as
/// PostgreSQL does: both is the later instant.
///
/// Source: PostgreSQL, `DetermineTimeZoneOffset`.
fn local_offset(tz: Tz, local: NaiveDateTime) -> i32 {
    let fixed = |offset: &chrono_tz::TzOffset| offset.fix().local_minus_utc();
    match tz.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) => fixed(&offset),
        LocalResult::Ambiguous(a, b) => fixed(&a).min(fixed(&b)),
        LocalResult::None => {
            let before = tz.offset_from_utc_datetime(&(local - chrono::TimeDelta::hours(24)));
            fixed(&before)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::scan;

    /// What PostgreSQL 14, 15 and 18 answer.
    #[test]
    fn local_times_are_the_instants_that_postgresql_says() {
        for (zone, local, utc) in [
            ("CET", "2023-07-01 12:00", "2023-07-01 11:00"),
            ("cet", "2023-01-01 12:00", "2023-01-01 11:00"),
            ("EET", "2023-07-01 12:00", "2023-07-01 10:00"),
            ("MET", "2023-07-01 12:00", "2023-07-01 11:00"),
            ("WET", "2023-07-01 12:00", "2023-07-01 12:00"),
            ("EST", "2023-07-01 12:00", "2023-07-01 17:00"),
            ("EST5EDT", "2023-07-01 12:00", "2023-07-01 16:00"),
            ("Europe/Dublin", "2023-07-01 12:00", "2023-07-01 11:00"),
            ("Europe/Dublin", "2023-10-29 01:30", "2023-10-29 01:30"),
            ("Europe/Dublin", "2023-03-26 01:30", "2023-03-26 01:30"),
            ("Europe/Moscow", "2014-10-26 01:30", "2014-10-25 22:30"),
            ("Europe/Moscow", "2014-10-26 00:30", "2014-10-25 20:30"),
            ("Europe/Berlin", "2023-10-29 02:30", "2023-10-29 01:30"),
            ("Europe/Berlin", "2023-03-26 02:30", "2023-03-26 01:30"),
            ("America/New_York", "2023-11-05 01:30", "2023-11-05 06:30"),
            ("America/New_York", "2023-03-12 02:30", "2023-03-12 07:30"),
            ("Africa/Casablanca", "2023-03-19 02:30", "2023-03-19 02:30"),
            ("Africa/Casablanca", "2023-04-23 02:30", "2023-04-23 02:30"),
            ("Pacific/Apia", "2011-12-30 12:00", "2011-12-30 22:00"),
            ("Australia/Lord_Howe", "2023-04-02 01:45", "2023-04-01 15:15"),
            ("Australia/Lord_Howe", "2023-10-01 02:15", "2023-09-30 15:45"),
            ("Asia/Pyongyang", "2018-05-04 23:45", "2018-05-04 15:15"),
            ("America/Caracas", "2016-05-01 02:45", "2016-05-01 07:15"),
            ("America/Caracas", "2007-12-09 02:45", "2007-12-09 07:15"),
        ] {
            let us = |text: &str| scan::parse_timestamp(text, false).unwrap();
            assert_eq!(shift(zone, us(local), true).unwrap(), us(utc), "{zone} {local}");
        }
    }
}
