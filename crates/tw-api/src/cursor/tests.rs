//! Cursors: every event once, partitions in order, from any cut on.
#![allow(clippy::indexing_slicing, reason = "test code")]

use super::*;
use proptest::prelude::*;
use tw_env::Env;
use tw_log::{Append, MemoryLog, NewStream};
use tw_types::{Compression, EventRef, RegionId, StreamName};
use tw_wire::BatchBuilder;

/// Polls a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("a log in memory does not wait")
}

/// A log whose appends are (partition, count of events); the n-th event of all has the id n.
fn log(partitions: u32, appends: &[(u32, usize)]) -> (Arc<dyn Log>, Arc<StreamDef>) {
    let log = MemoryLog::new(Env::real());
    let def = now(log.create_stream(NewStream::plain(StreamName::new("s").unwrap(), partitions))).unwrap();
    let mut number = 0;
    for (partition, count) in appends {
        let mut batch = BatchBuilder::new();
        for _ in 0..*count {
            let (id, ty) = (number.to_string(), if number % 3 == 0 { "three" } else { "other" });
            batch.push(&EventRef { id: &id, source: "/t", ty, ..EventRef::default() });
            number += 1;
        }
        let at = StreamPartition::new(def.id, PartitionId(partition % partitions));
        let batch = batch.finish(Compression::Lz4).unwrap();
        let permit = log.try_reserve(batch.bytes()).unwrap();
        now(log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])).unwrap();
    }
    (Arc::new(log), def)
}

fn cursor(log: &Arc<dyn Log>, def: &StreamDef, token: &Token, filter: Filter) -> Cursor {
    let start = |partition| token.end(StreamPartition::new(def.id, partition)).unwrap_or(Offset::ZERO);
    let starts = (0..def.partitions).map(PartitionId).map(|partition| (partition, start(partition)));
    Cursor::new(log.clone(), def, starts, filter, ClientToken::default())
}

/// Reads to the end in steps of `step` events, with a new cursor for each step.
fn read(log: &Arc<dyn Log>, def: &StreamDef, step: usize, filter: &Filter) -> Vec<(u32, u64, String)> {
    let (mut token, mut all) = (Token::new(), Vec::new());
    loop {
        let mut cursor = cursor(log, def, &token, filter.clone());
        let (mut count, mut last) = (0, None);
        while count < step && !cursor.at_end().unwrap() {
            now(cursor.load()).unwrap();
            cursor
                .emit(|event, at, progress| {
                    all.push((at.partition.0, event.offset.0, event.event.id.to_owned()));
                    last = Some(progress.token());
                    count += 1;
                    count < step
                })
                .unwrap();
        }
        if let Some(last) = last.filter(|_| count == step) {
            assert_eq!(cursor.token(), last, "the cut after an event is where its reader stops");
        }
        token = cursor.token().into_cut();
        if cursor.at_end().unwrap() {
            return all;
        }
    }
}

#[test]
fn one_writer_is_read_in_the_order_of_its_appends() {
    let (log, def) = log(3, &[(0, 2), (1, 1), (0, 1), (2, 3), (1, 2)]);
    let ids: Vec<String> =
        read(&log, &def, 100, &Filter::default()).into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[test]
fn what_was_read_behind_the_end_of_a_moment_ago_is_not_waited_for() {
    let (log, def) = log(2, &[(0, 3), (1, 2)]);
    let mut cursor = cursor(&log, &def, &Token::new(), Filter::default());
    now(cursor.load()).unwrap();
    // As if two events had been appended between the look at the end and the read, which brought them, too.
    cursor.lanes[0].stop = Offset(1);
    let mut ids = Vec::new();
    for _ in 0..2 {
        now(cursor.load()).unwrap();
        let each = |event: &StoredRef<'_>, _, _: &Progress<'_>| {
            ids.push(event.event.id.to_owned());
            true
        };
        cursor.emit(each).unwrap();
    }
    ids.sort();
    assert_eq!(ids, ["0", "1", "2", "3", "4"]);
    assert!(cursor.at_end().unwrap());
}

#[test]
fn what_comes_later_is_not_in_a_reading_until_now() {
    let (log, def) = log(1, &[(0, 2)]);
    let mut cursor = cursor(&log, &def, &Token::new(), Filter::default());
    cursor.until_now().unwrap();
    let mut batch = BatchBuilder::new();
    batch.push(&EventRef { id: "late", source: "/t", ty: "t", ..EventRef::default() });
    let at = StreamPartition::new(def.id, PartitionId(0));
    let batch = batch.finish(Compression::None).unwrap();
    let permit = log.try_reserve(1).unwrap();
    now(log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])).unwrap();
    now(cursor.load()).unwrap();
    assert_eq!(cursor.emit(|_, _, _| true).unwrap().events, 2);
    assert!(cursor.at_end().unwrap());
    assert_eq!(cursor.token().into_cut(), cursor.end());
}

#[test]
fn prj_2_a_token_demands_the_last_event_that_was_passed_of_what_other_regions_have_too() {
    let (log, def) = log(2, &[(0, 2), (1, 3), (0, 2)]);
    let starts = || (0..2).map(|partition| (PartitionId(partition), Offset::ZERO));
    let mut seen = ClientToken::new(RegionId(1), Token::new());
    let filter = Filter { type_prefix: Some("three".into()), ..Filter::default() };
    let read = |seen: &ClientToken| {
        let mut cursor = Cursor::new(log.clone(), &def, starts(), filter.clone(), seen.clone());
        now(cursor.load()).unwrap();
        let mut passed = Vec::new();
        cursor
            .emit(|event, _, progress| {
                passed.push((event.hlc, progress.token()));
                passed.len() < 2
            })
            .unwrap();
        (passed, cursor.token())
    };
    // It stays in its region.
    let (_, token) = read(&seen);
    assert_eq!((token.region(), token.demands().count(), token.stays()), (RegionId(1), 0, true));
    seen.demand(RegionId(1), Hlc::ZERO);
    seen.demand(RegionId(7), Hlc::new(5, 0));
    let (passed, token) = read(&seen);
    for (hlc, token) in &passed {
        // The log of a test is of region 0.
        let demands: Vec<_> = token.demands().collect();
        assert_eq!(demands, [(RegionId(0), *hlc), (RegionId(1), Hlc::ZERO), (RegionId(7), Hlc::new(5, 0))]);
    }
    assert_eq!(passed.last().map(|(_, token)| token), Some(&token));
    assert!(passed.len() == 2 && !token.stays());
}

#[test]
fn a_cursor_waits_for_any_of_its_partitions() {
    for partitions in [1, 3] {
        let (log, def) = log(partitions, &[(0, 1), (partitions - 1, 1)]);
        let mut cursor = cursor(&log, &def, &Token::new(), Filter::default());
        assert!(futures_util::FutureExt::now_or_never(cursor.wait()).is_some());
        now(cursor.load()).unwrap();
        cursor.emit(|_, _, _| true).unwrap();
        assert!(futures_util::FutureExt::now_or_never(cursor.wait()).is_none());
    }
}

proptest! {
    #[test]
    fn log_4_every_event_is_read_once_in_the_order_of_its_partition(
        partitions in 1u32..5,
        appends in prop::collection::vec((0u32..5, 1usize..40), 0..12),
        step in 1usize..50,
        filtered in any::<bool>(),
    ) {
        let (log, def) = log(partitions, &appends);
        let type_prefix = filtered.then(|| "thr".to_owned());
        let events = read(&log, &def, step, &Filter { type_prefix, ..Filter::default() });
        let total: usize = appends.iter().map(|(_, count)| count).sum();
        let mut numbers: Vec<usize> = events.iter().map(|(_, _, id)| id.parse().unwrap()).collect();
        for partition in 0..partitions {
            let offsets: Vec<u64> = events.iter().filter(|(p, _, _)| *p == partition).map(|(_, o, _)| *o).collect();
            prop_assert!(offsets.is_sorted_by(|a, b| a < b));
        }
        numbers.sort_unstable();
        let expected: Vec<usize> = (0..total).filter(|n| !filtered || n % 3 == 0).collect();
        prop_assert_eq!(numbers, expected);
    }
}
