//! GET /v1/streams: streams as they are defined, with what is measured of them. It changes nothing.

use super::definitions::{NumbersBody, OffsetsBody, StreamBody, body};
use super::{Outcome, json};
use crate::Problem;
use crate::query::Query;
use crate::service::{Api, Call};
use serde_json::json as value;
use tw_log::Log;
use tw_types::{Hlc, Offset, PartitionId, StreamDef, StreamPartition, Timestamp};

/// The most streams of a page.
const PAGE_MAX: u64 = 10_000;
/// How far before the end of a partition its last event is looked for, in offsets: a log that others write may end with marks that
/// are no events.
const LOOK_BACK: u64 = 100;

/// Lists streams by name: all of them, or a page.
pub(crate) fn list(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["limit", "after", "prefix"])?;
    let limit = query.number("limit", 1..=PAGE_MAX)?.map(|limit| limit as usize);
    let (after, prefix) = (query.text("after"), query.text("prefix").unwrap_or_default());
    let streams = call.streams();
    let mut wanted = streams
        .iter()
        .filter(|stream| stream.name.as_str().starts_with(prefix))
        .filter(|stream| after.is_none_or(|after| stream.name.as_str() > after));
    let rows: Vec<_> =
        wanted.by_ref().take(limit.unwrap_or(usize::MAX)).map(|stream| row(&call.api, stream)).collect();
    if limit.is_none() {
        return json(&value!({ "streams": rows }));
    }
    let next = wanted.next().and_then(|_| rows.last()).map(|last| last.name.clone());
    json(&value!({ "streams": rows, "next": next }))
}

/// Shows one stream.
pub(crate) async fn get(call: &Call) -> Outcome {
    let stream = call.stream().await?;
    let log = call.api.parts.log();
    let mut offsets = Vec::with_capacity(stream.partitions as usize);
    for at in partitions(&stream) {
        let bounds = log.bounds(at)?;
        offsets.push(OffsetsBody { partition: at.partition.0, start: bounds.start.0, end: bounds.end.0 });
    }
    let mut shown = row(&call.api, &stream);
    shown.offsets = Some(offsets);
    if let Some(numbers) = shown.numbers.as_mut().filter(|numbers| numbers.bytes.is_none()) {
        numbers.last_event_at = last_read(&**log, &stream).await?.map(time);
    }
    json(&shown)
}

/// All streams, in the order of their names.
pub(super) fn rows(api: &Api) -> Vec<StreamBody> {
    api.parts.log().streams().iter().map(|stream| row(api, stream)).collect()
}

/// A stream with what is measured of it. It does not wait.
fn row(api: &Api, stream: &StreamDef) -> StreamBody {
    let (mut bytes, mut last) = (Some(0), None);
    for at in partitions(stream) {
        // A partition that is just gone holds nothing.
        match api.parts.log().held(at).ok().flatten() {
            Some(held) => {
                bytes = bytes.map(|bytes| bytes + held.bytes);
                last = last.max(held.last_hlc);
            }
            None => bytes = None,
        }
    }
    let rate = api.parts.meters.rate(stream.id);
    let numbers = NumbersBody {
        rate_events_per_second: (rate * 10.0).round() / 10.0,
        bytes,
        last_event_at: last.map(time),
    };
    let mut row = body(stream);
    row.numbers = Some(numbers);
    row
}

fn partitions(stream: &StreamDef) -> impl Iterator<Item = StreamPartition> + '_ {
    (0..stream.partitions).map(|partition| StreamPartition::new(stream.id, PartitionId(partition)))
}

/// When the last event of a stream was accepted, of a log that has to be read for it.
async fn last_read(log: &dyn Log, stream: &StreamDef) -> Result<Option<Hlc>, Problem> {
    let mut last = None;
    for at in partitions(stream) {
        let bounds = log.bounds(at)?;
        for back in [1, LOOK_BACK] {
            let from = Offset(bounds.end.0.saturating_sub(back)).max(bounds.start);
            if from >= bounds.end {
                break;
            }
            let blocks = log.read(at, from, 1).await?;
            if let Some(block) = blocks.last() {
                last = last.max(Some(block.header().last_hlc));
                break;
            }
        }
    }
    Ok(last)
}

fn time(hlc: Hlc) -> String {
    Timestamp::from_millis(i64::try_from(hlc.millis()).unwrap_or(i64::MAX / 1_000_000)).to_string()
}
