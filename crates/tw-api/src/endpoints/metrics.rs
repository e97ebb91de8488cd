//! GET /v1/metrics: numbers over the last day.

use super::{Outcome, json};
use crate::Problem;
use crate::parts::Wanted;
use crate::query::Query;
use crate::service::Call;
use serde_json::json as value;
use tw_types::Timestamp;

/// How far back there is anything, in milliseconds.
const BACK_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// From when on if the request does not say, in milliseconds before now.
const BACK_MS: u64 = 60 * 60 * 1_000;
/// How many points a series has at most, if the request does not say, and if it does.
const POINTS: u64 = 300;
const POINTS_MAX: u64 = 2_000;
/// How many series one request may ask for.
const SERIES_MAX: usize = 100;

/// Shows series, or which there are.
pub(crate) fn read(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["series", "from", "to", "points"])?;
    let meters = &call.api.parts.meters;
    let Some(names) = query.text("series").filter(|names| !names.is_empty()) else {
        return json(&value!({ "series": meters.series() }));
    };
    let now_ms = call.api.parts.env.clock.now_ms();
    let to_ms = time(&query, "to")?.map_or(now_ms, |to_ms| to_ms.min(now_ms));
    let from_ms = time(&query, "from")?.unwrap_or(to_ms.saturating_sub(BACK_MS));
    let from_ms = from_ms.max(now_ms.saturating_sub(BACK_MS_MAX));
    if from_ms >= to_ms {
        let detail = "`from` is not before `to`, or the span ends more than 24 hours ago: ask for a part of the last 24 hours";
        return Err(Problem::parameter("from", detail));
    }
    let points_max = query.number("points", 1..=POINTS_MAX)?.unwrap_or(POINTS) as u32;
    let series: Vec<String> = names.split(',').map(str::to_owned).collect();
    if series.len() > SERIES_MAX {
        let detail = format!("{} series are asked for: ask for {SERIES_MAX} at most", series.len());
        return Err(Problem::parameter("series", detail));
    }
    if let Some(unknown) = series.iter().find(|name| !meters.is_known(name)) {
        let shown: String = unknown.chars().take(200).collect();
        let detail = format!("there is no series `{shown}`: `GET /v1/metrics` lists those that there are");
        return Err(Problem::parameter("series", detail));
    }
    json(&meters.history(&Wanted { series, from_ms, to_ms, points_max }))
}

/// A parameter that is a time, in milliseconds since 1970: RFC 3339, or just these milliseconds.
fn time(query: &Query<'_>, name: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = query.text(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    if let Ok(ms) = text.parse() {
        return Ok(Some(ms));
    }
    // A plus that was not percent-encoded arrives as a space.
    let time: Timestamp = text.replace(' ', "+").parse().map_err(|_| {
        let detail = format!(
            "parameter `{name}` is `{text}`: use a time such as 2026-01-31T09:30:00Z, or milliseconds since 1970"
        );
        Problem::parameter(name, detail)
    })?;
    Ok(Some(u64::try_from(time.millis()).unwrap_or_default()))
}
