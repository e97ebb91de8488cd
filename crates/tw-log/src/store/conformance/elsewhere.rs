//! What is here of each region, on logs that fail, that others write to, and whose first events are gone.

use super::faults::{faulty, releases};
use super::regions::{Other, hour_ago, take};
use super::{World, append, event, write};
use crate::faulty::Fault;
use crate::store::index::format;
use crate::store::{Error, EventStore, Mark};
use crate::{Append, Error as LogError, Log};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tw_state::Batch;
use tw_types::{
    Compression, Hlc, Offset, PartitionId, RegionId, Sequence, StreamDef, StreamPartition, Timestamp, Version,
};
use tw_wire::{BatchBuilder, Run};

fn first(stream: &StreamDef) -> StreamPartition {
    StreamPartition::new(stream.id, PartitionId(0))
}

/// What a log has of each region: each must be what that region accepted, without gaps where `dense` says so.
async fn in_log(log: &Arc<dyn Log>, at: StreamPartition) -> Vec<Mark> {
    let mut marks: BTreeMap<RegionId, Mark> = BTreeMap::new();
    let bounds = log.bounds(at).unwrap();
    let mut next = bounds.start;
    while next < bounds.end {
        for block in log.read(at, next, 1 << 20).await.unwrap() {
            for record in block.records().unwrap().iter().unwrap().map(Result::unwrap) {
                let mark = Mark { origin: record.origin, hlc: record.hlc };
                let before = marks.insert(record.origin.region, mark);
                let expected = before.map_or(record.origin.sequence.0, |before| before.origin.sequence.0 + 1);
                assert_eq!(record.origin.sequence.0, expected, "REG-3: {:?} after {before:?}", record.origin);
                assert!(
                    before.is_none_or(|before| before.hlc < record.hlc),
                    "{:?} runs backwards",
                    record.origin
                );
            }
            next = block.header().end_offset();
        }
    }
    marks.into_values().collect()
}

/// Compares what a store says with what the log has.
async fn check(store: &EventStore, at: StreamPartition) {
    assert_eq!(store.received(at).await.unwrap(), in_log(store.log(), at).await);
}

/// Appends an event to a log past every store: one of this region, or a run of another one.
async fn append_past(
    log: &Arc<dyn Log>,
    at: StreamPartition,
    id: &str,
    run: Option<&Run>,
) -> Result<(), LogError> {
    let mut builder = BatchBuilder::new();
    builder.push(&event("", id).as_ref());
    let (batch, foreign) = match run {
        Some(run) => (run.batch.clone(), Some(run.into())),
        None => (builder.finish(Compression::None).unwrap(), None),
    };
    let permit = log.reserve(batch.bytes()).await?;
    log.append(permit, vec![Append { at, batch, expected_end: None, foreign }]).await.map(drop)
}

/// What fails on its way is taken back, and with it what was behind it; then it comes again, and is stored once.
pub async fn reg_3_what_failed_on_its_way_comes_again_once(log: Arc<dyn Log>) {
    let (mut world, log) = faulty(log);
    let stream = world.stream("s", 1).await;
    let at = first(&stream);
    let (mut one, mut two) = (Other::new(3, hour_ago(&world)), Other::new(4, hour_ago(&world)));
    for (round, fault) in [Fault::Refused, Fault::LostUnknown, Fault::StoredUnknown].into_iter().enumerate() {
        let store = world.store();
        append(&store, &stream, &[("a", &format!("{round}-before"))]).await.unwrap();
        let runs =
            [one.accepts(&[("a", "1"), ("", "2")]), two.accepts(&[("a", "3")]), one.accepts(&[("b", "4")])];
        log.hold(true);
        let mut pending = Vec::new();
        for run in &runs {
            let mut write = store.write();
            write.push_foreign(&stream, PartitionId(0), run.clone()).unwrap();
            pending.push(store.submit(write).await.unwrap());
        }
        let own = format!("{round}-own");
        pending.push(store.submit(write(&store, &stream, &[("a", &own)])).await.unwrap());
        for run in &runs {
            let again = take(&store, &stream, run).await;
            assert!(matches!(again, Err(Error::Received { .. })), "it is under way: {again:?}");
        }
        check(&store, at).await;
        log.release(fault).await;
        while log.release(Fault::None).await {}
        log.hold(false);
        let mut outcomes = Vec::new();
        for pending in pending {
            outcomes.push(pending.await.is_ok());
        }
        let stored = fault == Fault::StoredUnknown;
        assert_eq!(outcomes, [false, stored, stored, stored], "{fault:?}");
        check(&store, at).await;
        for run in &runs {
            match take(&store, &stream, run).await {
                Err(Error::Received { origin, .. }) => assert!(stored && origin == run.origin, "{fault:?}"),
                outcome => assert!(!stored && outcome.is_ok(), "{fault:?}: {outcome:?}"),
            }
            check(&store, at).await;
        }
        append(&store, &stream, &[("a", &own)]).await.unwrap();
        check(&store, at).await;
        drop(store);
        world.enter(["stored", "index lost", "restarted"][round]);
        check(&world.store(), at).await;
    }
}

/// An append failed, somebody else wrote as many events in its place, and what was behind it found its place all the same.
pub async fn reg_3_what_did_not_arrive_is_not_taken_for_arrived_because_others_wrote_as_much(
    log: Arc<dyn Log>,
) {
    let (mut world, faulty) = faulty(log.clone());
    let stream = world.stream("s", 1).await;
    let (at, store) = (first(&stream), world.store());
    let mut other = Other::new(3, hour_ago(&world));
    append(&store, &stream, &[("a", "0")]).await.unwrap();
    let lost = other.accepts(&[("a", "1"), ("a", "2")]);
    faulty.hold(true);
    let mut foreign = store.write();
    foreign.push_foreign(&stream, PartitionId(0), lost.clone()).unwrap();
    let foreign = store.submit(foreign).await.unwrap();
    let behind = store.submit(write(&store, &stream, &[("b", "1")])).await.unwrap();
    faulty.release(Fault::Refused).await;
    for id in ["x", "y"] {
        append_past(&log, at, id, None).await.unwrap();
    }
    faulty.release(Fault::None).await;
    faulty.hold(false);
    assert_eq!(behind.await.unwrap().events[0].position.offset, Offset(3));
    check(&store, at).await;
    foreign.await.unwrap_err();
    assert_eq!(store.version(stream.id, "a").await.unwrap(), Version(1), "LOG-2");
    assert_eq!(take(&store, &stream, &lost).await.unwrap(), [2, 3]);
    check(&store, at).await;
}

/// Everything that a region accepts, in runs of three; a link asks what is here, and sends what comes next.
async fn link(store: EventStore, log: Arc<dyn Log>, stream: Arc<StreamDef>, region: u16, runs: Vec<Run>) {
    let at = first(&stream);
    let here = |marks: &[Mark]| {
        let of_region = marks.iter().find(|mark| mark.origin.region == RegionId(region));
        of_region.map_or(0, |mark| mark.origin.sequence.0)
    };
    loop {
        // Now and then reads fail.
        let Ok(marks) = store.received(at).await else { continue };
        let durable = in_log(&log, at).await;
        assert!(here(&durable) >= here(&marks), "a mark is ahead of the log");
        let next: Vec<&Run> =
            runs.iter().filter(|run| run.origin.sequence.0 > here(&marks)).take(2).collect();
        let Some(last) = next.last() else { return };
        let reached = last.origin.sequence.0 + u64::from(last.batch.count()) - 1;
        let mut write = store.write();
        for run in &next {
            write.push_foreign(&stream, PartitionId(0), (*run).clone()).unwrap();
        }
        match store.append(write).await {
            Ok(_) => {
                let marks = store.received(at).await.unwrap();
                assert!(here(&marks) >= reached, "a mark is behind what was acknowledged");
            }
            // What nobody knew of was stored after all.
            Err(Error::Received { .. }) => {}
            Err(Error::Log(LogError::Busy | LogError::Unknown(_) | LogError::WrongEnd { .. })) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Links, writers of this region, and somebody who writes past the store, on a log that fails at random, with flushes, restarts and
/// lost indexes in between.
pub async fn reg_3_marks_are_those_of_the_log_under_load_with_failing_appends(log: Arc<dyn Log>) {
    let (mut world, faulty) = faulty(log.clone());
    let seeds = std::env::var("TRADEWIND_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    for seed in 0..seeds {
        let stream = world.stream(&format!("s{seed}"), 1).await;
        let at = first(&stream);
        let mut others: Vec<Other> = (3..6).map(|region| Other::new(region, hour_ago(&world))).collect();
        let mut stranger = Other::new(9, hour_ago(&world));
        for phase in 0..3 {
            let store = world.store();
            let done = Arc::new(AtomicBool::new(false));
            faulty.hold(true);
            let releaser = releases(&faulty, &done, seed * 31 + phase, 16);
            let mut work = Vec::new();
            for (region, other) in (3..).zip(&mut others) {
                let runs = (0..12).map(|_| other.accepts(&[("a", "x"), ("", "y"), ("b", "z")])).collect();
                work.push(tokio::spawn(link(store.clone(), log.clone(), stream.clone(), region, runs)));
            }
            let (writes_past, writes) = (log.clone(), store.clone());
            let runs: Vec<Run> = (0..10).map(|_| stranger.accepts(&[("", "past")])).collect();
            work.push(tokio::spawn(async move {
                for run in &runs {
                    append_past(&writes_past, at, "", Some(run)).await.unwrap();
                    append_past(&writes_past, at, "past", None).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }));
            let own = stream.clone();
            work.push(tokio::spawn(async move {
                for n in 0..30 {
                    let _may_fail = append(&writes, &own, &[("a", &format!("{phase}-{n}")), ("", "x")]).await;
                    if n % 7 == 0 {
                        let flushed = writes.clone();
                        tokio::task::spawn_blocking(move || flushed.flush()).await.unwrap().unwrap();
                    }
                }
            }));
            for task in work {
                task.await.unwrap();
            }
            done.store(true, Ordering::SeqCst);
            releaser.await.unwrap();
            faulty.hold(false);
            check(&store, at).await;
            drop(store);
            world.enter(["restarted", "index lost", "stored"][phase as usize]);
            check(&world.store(), at).await;
            append(&world.store(), &stream, &[("a", &format!("{phase}-after"))]).await.unwrap();
            check(&world.store(), at).await;
        }
    }
}

/// Throws away what the index has of marks, as if it were of the time before there were any.
fn forget_marks(world: &World, at: StreamPartition) {
    let positions = world.state.keyspace("events/positions").unwrap();
    assert!(world.state.get(positions, &format::marks_key(at)).unwrap().is_some(), "there were none");
    let mut batch = Batch::new();
    batch.remove(positions, format::marks_key(at).to_vec());
    world.state.commit(batch).unwrap();
}

/// An index that knows how far it goes, and nothing of regions.
pub async fn an_index_of_the_time_before_marks_begins_with_the_right_ones(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let at = first(&stream);
    let mut other = Other::new(3, hour_ago(&world));
    for round in 0..3 {
        let store = world.store();
        append(&store, &stream, &[("a", &format!("{round}-1")), ("b", &format!("{round}-1"))]).await.unwrap();
        store.flush().unwrap();
        drop(store);
        world.restart();
        forget_marks(&world, at);
        if round == 1 {
            // What comes after the end of the index is found in the log.
            append_past(&world.log, at, "past", None).await.unwrap();
        }
        let store = world.store();
        check(&store, at).await;
        append(&store, &stream, &[("a", &format!("{round}-2"))]).await.unwrap();
        check(&store, at).await;
    }
    take(&world.store(), &stream, &other.accepts(&[("a", "1")])).await.unwrap();
    check(&world.store(), at).await;
}

/// How far the index goes, and the marks that are stored.
fn stored_index(world: &World, at: StreamPartition) -> [Option<Bytes>; 2] {
    let positions = world.state.keyspace("events/positions").unwrap();
    let keys: [&[u8]; 2] = [&format::position_key(at), &format::marks_key(at)];
    keys.map(|key| world.state.get(positions, key).unwrap())
}

/// Lets the index be as far as it was.
fn store_index(world: &World, at: StreamPartition, index: Option<[Option<Bytes>; 2]>) {
    let positions = world.state.keyspace("events/positions").unwrap();
    let [position, marks] = index.unwrap().map(Option::unwrap);
    let mut batch = Batch::new();
    batch.put(positions, format::position_key(at).to_vec(), position);
    batch.put(positions, format::marks_key(at).to_vec(), marks);
    world.state.commit(batch).unwrap();
}

/// Sequences go on where they were, also if nothing is left that says so but the next event.
pub async fn own_events_are_counted_right_when_the_index_and_the_first_of_them_are_lost(log: Arc<dyn Log>) {
    for (number, last_is_foreign) in [false, true].into_iter().enumerate() {
        let mut world = World::new(log.clone());
        let stream = world.stream(&format!("s{number}"), 1).await;
        let at = first(&stream);
        let mut other = Other::new(3, hour_ago(&world));
        let store = world.store();
        for n in 0..5 {
            append(&store, &stream, &[("a", &n.to_string())]).await.unwrap();
        }
        if last_is_foreign {
            take(&store, &stream, &other.accepts(&[("a", "1"), ("b", "2")])).await.unwrap();
        }
        drop(store);
        world.log.trim(at, Offset(5)).await.unwrap();
        let mut index = None;
        for (round, stage) in
            ["index lost", "stored", "restarted", "index lost", "behind"].into_iter().enumerate()
        {
            world.enter(stage);
            if stage == "behind" {
                world.restart();
                store_index(&world, at, index.take());
            }
            let store = world.store();
            let own = |marks: &[Mark]| {
                let here = store.log().region();
                marks.iter().filter(|mark| mark.origin.region == here).map(|mark| mark.origin.sequence).next()
            };
            let before = own(&store.received(at).await.unwrap());
            let appended = append(&store, &stream, &[("a", &format!("{stage}-{round}"))]).await.unwrap();
            let after = store.received(at).await.unwrap();
            assert_eq!(after, in_log(store.log(), at).await, "{stage}");
            assert!(
                own(&after).is_some()
                    && before.is_none_or(|before| own(&after) == Some(Sequence(before.0 + 1)))
            );
            store.flush().unwrap();
            index = index.or(Some(stored_index(&world, at)));
            drop(store);
            // Again only what is later is left.
            let next = appended.events[0].position.offset.next();
            world.log.trim(at, if last_is_foreign { Offset(5) } else { next }).await.unwrap();
        }
    }
}

/// Retention removes what a search was about to look at.
pub async fn a_place_in_time_is_found_while_events_are_removed(log: Arc<dyn Log>) {
    let (mut world, faulty) = faulty(log);
    for reads in 1..8 {
        let stream = world.stream(&format!("s{reads}"), 1).await;
        let at = first(&stream);
        let start = world.env.clock.now_ms() - 1_000;
        let mut other = Other::new(3, Hlc::new(start, 0));
        let store = world.store();
        for _ in 0..30 {
            take(&store, &stream, &other.accepts(&[("", "x")])).await.unwrap();
        }
        faulty.trim_at_read(reads, at, Offset(29));
        // One event each 7 ms.
        let millis = start as i64 + 27 * 7;
        let found = store.offset_at(at, Timestamp::from_millis(millis)).await;
        let found = found.unwrap_or_else(|error| panic!("{reads}: {error}"));
        assert!((27..=29).contains(&found.0), "{reads}: {found}");
    }
}
