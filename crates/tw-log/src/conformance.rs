//! The conformance suite: what every engine behind [`Log`] must do, tested by the same code.
//!
//! An engine implements [`Engine`] in its tests and writes `tw_log::conformance!(engine)`; each check then is a test of
//! its own, named for its condition and outcome, with the id of the invariant where one is tested.

mod append;
mod definitions;
mod reading;
mod regions;

pub use append::*;
pub use definitions::*;
pub use reading::*;
pub use regions::*;

use crate::{Append, BoxFuture, Log, NewStream, Placed, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_types::{
    Compression, Data, Event, Hlc, Offset, Origin, PartitionId, StreamDef, StreamName, StreamPartition,
    Version,
};
use tw_wire::{Batch, BatchBuilder, Block};

/// An engine under test.
pub trait Engine: Send + Sync {
    /// An empty log.
    fn create(&self) -> BoxFuture<'_, Arc<dyn Log>>;

    /// Closes a log and opens it again. An engine that forgets everything when it is closed gives it back as it is.
    fn reopen(&self, log: Arc<dyn Log>) -> BoxFuture<'_, Arc<dyn Log>>;
}

/// Makes a test of each check for the engine that the expression gives; `regions` behind it also of those for an engine that holds
/// events of other regions. Needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance {
    ($engine:expr) => {
        $crate::conformance!($engine;
            log_1_acknowledged_events_survive_a_reopen,
            log_1_an_append_of_several_parts_is_all_or_nothing,
            log_2_offsets_and_timestamps_strictly_increase,
            log_4_tailing_readers_see_every_event_once_and_in_order,
            log_4_nothing_is_visible_before_it_is_acknowledged_or_durable,
            log_4_reading_ahead_skips_and_repeats_nothing,
            events_of_every_kind_read_back,
            an_append_without_parts_succeeds,
            an_append_that_expects_another_end_is_refused,
            pipelined_appends_that_expect_their_ends_succeed,
            parts_of_one_partition_follow_each_other,
            versioned_and_plain_batches_keep_their_versions,
            a_read_starts_with_the_block_that_holds_the_offset,
            reads_outside_the_bounds_are_refused,
            trimmed_events_are_gone_and_stay_gone,
            a_trimmed_partition_goes_on_at_its_end,
            streams_are_created_altered_and_dropped,
            definitions_are_events_and_survive_a_reopen,
            the_config_stream_is_protected,
            refreshing_and_fencing_others_leaves_a_log_as_it_is,
            signals_rise_with_what_they_count
        );
    };
    ($engine:expr, regions) => {
        $crate::conformance!($engine);
        $crate::conformance!($engine;
            reg_3_events_of_another_region_keep_their_origin_and_their_time,
            reg_2_what_is_accepted_after_an_event_of_another_region_is_later,
            what_cannot_come_from_another_region_is_refused
        );
    };
    ($engine:expr; $($check:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                $crate::conformance::$check(&$engine).await;
            }
        )+
    };
}

/// An event as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Its offset.
    pub offset: Offset,
    /// Its version.
    pub version: Version,
    /// Its timestamp.
    pub hlc: Hlc,
    /// Its origin.
    pub origin: Origin,
    /// The event.
    pub event: Event,
}

/// The events that a block holds.
///
/// # Panics
/// When the block does not decode.
pub fn events_of(block: &Block) -> Vec<Read> {
    let records = block.records().unwrap_or_else(|error| panic!("{error}"));
    let events = records.iter().unwrap_or_else(|error| panic!("{error}"));
    events
        .map(|record| {
            let record = record.unwrap_or_else(|error| panic!("{error}"));
            let event = record.event.to_owned();
            let (offset, version, hlc, origin) = (record.offset, record.version, record.hlc, record.origin);
            Read { offset, version, hlc, origin, event }
        })
        .collect()
}

/// Everything from `from` to the end that the partition has now.
///
/// # Panics
/// When a read fails, or gives nothing before the end.
pub async fn read_all(log: &dyn Log, at: StreamPartition, from: Offset) -> Vec<Read> {
    let end = ok(log.bounds(at)).end;
    let (mut next, mut events) = (from, Vec::new());
    while next < end {
        let blocks = ok(log.read(at, next, 64 * 1024).await);
        assert!(!blocks.is_empty(), "nothing at {next} of {at}, before the end {end}");
        for block in &blocks {
            assert_eq!(block.header().at, at);
            assert!(block.header().end_offset() > next, "a block before the wanted offset {next}");
            events.extend(events_of(block).into_iter().filter(|read| read.offset >= from));
            next = block.header().end_offset();
        }
    }
    events
}

/// The value, or the error as a panic.
pub(crate) fn ok<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("unexpected error: {error} ({error:?})"))
}

/// A stream of plain events.
pub(crate) async fn stream(log: &dyn Log, name: &str, partitions: u32) -> Arc<StreamDef> {
    ok(log.create_stream(NewStream::plain(name_of(name), partitions)).await)
}

pub(crate) fn name_of(name: &str) -> StreamName {
    StreamName::new(name).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn partition(def: &StreamDef, number: u32) -> StreamPartition {
    StreamPartition::new(def.id, PartitionId(number))
}

/// The event with this id.
pub(crate) fn event(id: impl ToString) -> Event {
    let id = id.to_string();
    let data = Data::Json(format!("{{\"id\":\"{id}\"}}").into_bytes());
    Event {
        source: "/suite".into(),
        ty: "thing.happened".into(),
        subject: Some(format!("s-{id}")),
        data,
        id,
        ..Event::default()
    }
}

/// A batch of the events with these ids.
pub(crate) fn batch(ids: impl IntoIterator<Item = impl ToString>, compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new();
    for id in ids {
        builder.push(&event(id).as_ref());
    }
    builder.finish(compression).unwrap_or_else(|error| panic!("{error}"))
}

/// Appends parts; `None` where no end is expected.
pub(crate) async fn append(
    log: &dyn Log,
    parts: Vec<(StreamPartition, Batch, Option<Offset>)>,
) -> Result<Vec<Placed>> {
    let parts: Vec<Append> = parts
        .into_iter()
        .map(|(at, batch, expected_end)| Append { at, batch, expected_end, foreign: None })
        .collect();
    let permit = log.reserve(parts.iter().map(|part| part.batch.bytes()).sum()).await?;
    log.append(permit, parts).await
}

/// Appends the events with these ids to one partition.
pub(crate) async fn put(
    log: &dyn Log,
    at: StreamPartition,
    ids: impl IntoIterator<Item = impl ToString>,
) -> Placed {
    let placed = ok(append(log, vec![(at, batch(ids, Compression::Lz4), None)]).await);
    assert_eq!(placed.len(), 1);
    placed.first().copied().unwrap_or_else(|| panic!("nothing was placed"))
}

/// The ids of events.
pub(crate) fn ids(events: &[Read]) -> Vec<&str> {
    events.iter().map(|read| read.event.id.as_str()).collect()
}

/// Checks what must hold of the events of one partition of a log that was never compacted: offsets without gaps,
/// rising timestamps, dense sequences.
pub fn check_dense(events: &[Read]) {
    for pair in events.windows(2) {
        if let [a, b] = pair {
            assert_eq!(b.offset, a.offset.next(), "LOG-2: offsets have a gap or run backwards");
            assert!(b.hlc > a.hlc, "timestamps run backwards: {} after {}", b.hlc, a.hlc);
            assert_eq!(b.origin.sequence.0, a.origin.sequence.0 + 1, "sequences have a gap");
        }
    }
}

/// Groups what was placed by partition, and checks that no two overlap.
pub(crate) fn by_partition(placed: &[Placed]) -> BTreeMap<StreamPartition, Vec<Placed>> {
    let mut all: BTreeMap<StreamPartition, Vec<Placed>> = BTreeMap::new();
    for place in placed {
        all.entry(place.at).or_default().push(*place);
    }
    for places in all.values_mut() {
        places.sort_by_key(|place| place.base_offset);
        assert!(
            places.windows(2).all(|pair| matches!(pair, [a, b] if a.end() <= b.base_offset)),
            "offsets overlap"
        );
    }
    all
}
