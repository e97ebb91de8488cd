//! `AT TIME ZONE`.

use super::function::{Function, over_arrays, type_error, value_error};
use crate::types::{self, Kind, timestamptz};
use crate::values::calendar;
use chrono::{LocalResult, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::{OffsetComponents, Tz};
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
    let tz = if zone.eq_ignore_ascii_case("z") {
        Tz::UTC
    } else {
        Tz::from_str_insensitive(zone).map_err(|_| unknown())?
    };
    let moment = chrono::DateTime::from_timestamp_micros(us).ok_or_else(out_of_range)?.naive_utc();
    let offset = if to_utc {
        local_offset(tz, moment)
    } else {
        tz.offset_from_utc_datetime(&moment).fix().local_minus_utc()
    };
    let offset_us = i64::from(offset) * SECOND_US;
    let shifted = if to_utc { us.checked_sub(offset_us) } else { us.checked_add(offset_us) };
    shifted.and_then(calendar::in_range).ok_or_else(out_of_range)
}

/// The offset of a local time. One that exists twice, or not at all, is taken as standard time, as PostgreSQL does.
fn local_offset(tz: Tz, local: NaiveDateTime) -> i32 {
    let fixed = |offset: &chrono_tz::TzOffset| offset.fix().local_minus_utc();
    match tz.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) => fixed(&offset),
        LocalResult::Ambiguous(a, b) => {
            let standard = if a.dst_offset().is_zero() { a } else { b };
            fixed(&standard)
        }
        LocalResult::None => {
            // Before the gap standard time was in force.
            let before = tz.offset_from_utc_datetime(&(local - chrono::TimeDelta::hours(24)));
            fixed(&before)
        }
    }
}
