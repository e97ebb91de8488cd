//! Appending: atomic, ordered, durable.

use super::{
    Engine, append, batch, by_partition, check_dense, event, events_of, ids, ok, partition, put, read_all,
    stream,
};
use crate::{Append, Bounds, Error, Placed};
use futures_util::future::join_all;
use tw_types::{Compression, Data, Event, Extension, ExtensionValue, Offset, Timestamp, Version};
use tw_wire::BatchBuilder;

/// LOG-1 over a clean restart: events, places, timestamps, and where the partition goes on.
pub async fn log_1_acknowledged_events_survive_a_reopen(engine: &dyn Engine) {
    let log = engine.create().await;
    let def = stream(&*log, "orders", 3).await;
    for round in 0..20 {
        for number in 0..3 {
            put(&*log, partition(&def, number), [format!("{round}-a"), format!("{round}-b")]).await;
        }
    }
    let mut before = Vec::new();
    for number in 0..3 {
        before.push(read_all(&*log, partition(&def, number), Offset::ZERO).await);
    }
    let log = engine.reopen(log).await;
    for (number, before) in before.iter().enumerate() {
        let at = partition(&def, number as u32);
        assert_eq!(&read_all(&*log, at, Offset::ZERO).await, before, "LOG-1");
        let placed = put(&*log, at, ["later"]).await;
        assert_eq!(placed.base_offset, Offset(40));
        let after = read_all(&*log, at, Offset::ZERO).await;
        check_dense(&after);
    }
}

/// An append of several parts, one of which cannot be: none is.
pub async fn log_1_an_append_of_several_parts_is_all_or_nothing(engine: &dyn Engine) {
    let log = engine.create().await;
    let def = stream(&*log, "pairs", 2).await;
    let (a, b) = (partition(&def, 0), partition(&def, 1));
    let both = |id: &str, expected: u64| {
        let part = |expected| (batch([id], Compression::None), expected);
        let ((first, _), (second, end)) = (part(0), part(expected));
        vec![(a, first, None), (b, second, Some(Offset(end)))]
    };
    let placed = ok(append(&*log, both("1", 0)).await);
    assert_eq!(
        placed.iter().map(|p| (p.at, p.base_offset)).collect::<Vec<_>>(),
        [(a, Offset(0)), (b, Offset(0))]
    );
    let refused = append(&*log, both("2", 7)).await;
    assert!(
        matches!(refused, Err(Error::WrongEnd { at, expected: Offset(7), actual: Offset(1) }) if at == b)
    );
    assert_eq!(ids(&read_all(&*log, a, Offset::ZERO).await), ["1"]);
    assert_eq!(ok(log.bounds(a)).end, Offset(1));
    let missing = tw_types::StreamPartition::new(def.id, tw_types::PartitionId(2));
    let parts =
        vec![(a, batch(["3"], Compression::None), None), (missing, batch(["3"], Compression::None), None)];
    assert!(matches!(append(&*log, parts).await, Err(Error::NoPartition { .. })));
    assert_eq!(ok(log.bounds(a)).end, Offset(1));
}

/// LOG-2: concurrent appenders, and what they are told is what is read.
pub async fn log_2_offsets_and_timestamps_strictly_increase(engine: &dyn Engine) {
    let log = engine.create().await;
    let def = stream(&*log, "busy", 4).await;
    let appenders = (0..16u32).map(|appender| {
        let (log, def) = (&log, &def);
        async move {
            let mut placed = Vec::new();
            for round in 0..40u32 {
                let at = partition(def, (appender + round) % 4);
                let count = 1 + (appender * 7 + round) % 5;
                let names = (0..count).map(|n| format!("{appender}-{round}-{n}"));
                let one = put(&**log, at, names).await;
                assert_eq!(one.count, count);
                placed.push((one, format!("{appender}-{round}-0")));
            }
            placed
        }
    });
    let placed: Vec<_> = join_all(appenders).await.into_iter().flatten().collect();
    by_partition(&placed.iter().map(|(place, _)| *place).collect::<Vec<_>>());
    for number in 0..4 {
        let at = partition(&def, number);
        let events = read_all(&*log, at, Offset::ZERO).await;
        check_dense(&events);
        for (place, id) in placed.iter().filter(|(place, _)| place.at == at) {
            let first = events.get(place.base_offset.0 as usize);
            let told = Some((id.as_str(), place.base_offset, place.first_hlc));
            assert_eq!(first.map(|read| (read.event.id.as_str(), read.offset, read.hlc)), told);
        }
    }
}

/// All kinds of data and attributes, compressed and not, in batches small and large.
pub async fn events_of_every_kind_read_back(engine: &dyn Engine) {
    let log = engine.create().await;
    let def = stream(&*log, "kinds", 1).await;
    let at = partition(&def, 0);
    let mut events = vec![
        Event { id: "1".into(), source: "/a".into(), ty: "none".into(), ..Event::default() },
        Event { data: Data::Text(b"text".to_vec()), time: Some(Timestamp::from_millis(5)), ..event("2") },
        Event { data: Data::Binary(vec![0, 255, 7]), dataschema: Some("urn:x".into()), ..event("3") },
        Event {
            extensions: vec![Extension {
                name: "traceparent".into(),
                value: ExtensionValue::Text("00".into()),
            }],
            ..event("4")
        },
    ];
    events.extend((0..300).map(|n| Event { data: Data::Text(vec![b'x'; 2_000]), ..event(n + 10) }));
    let mut builder = BatchBuilder::new();
    for (chunk, compression) in [(1, Compression::None), (7, Compression::Lz4), (1_000, Compression::None)] {
        for events in events.chunks(chunk) {
            events.iter().for_each(|event| builder.push(&event.as_ref()));
            let batch = builder.finish(compression).unwrap_or_else(|error| panic!("{error}"));
            ok(append(&*log, vec![(at, batch, None)]).await);
        }
    }
    let read: Vec<Event> =
        read_all(&*log, at, Offset::ZERO).await.into_iter().map(|read| read.event).collect();
    assert_eq!(read, [events.clone(), events.clone(), events].concat());
}

/// Nothing to append is no error.
pub async fn an_append_without_parts_succeeds(engine: &dyn Engine) {
    let log = engine.create().await;
    assert!(ok(append(&*log, Vec::new()).await).is_empty());
}

/// `expected_end` says which end it found.
pub async fn an_append_that_expects_another_end_is_refused(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "strict", 1).await, 0);
    put(&*log, at, ["1", "2"]).await;
    let refused = append(&*log, vec![(at, batch(["3"], Compression::None), Some(Offset(1)))]).await;
    let Err(Error::WrongEnd { expected: Offset(1), actual: Offset(2), .. }) = refused else {
        panic!("the append gave {refused:?}");
    };
    ok(append(&*log, vec![(at, batch(["3"], Compression::None), Some(Offset(2)))]).await);
    assert_eq!(ids(&read_all(&*log, at, Offset::ZERO).await), ["1", "2", "3"]);
}

/// A writer need not wait for one append before it sends the next, and after a refused one all that build on it are
/// refused.
pub async fn pipelined_appends_that_expect_their_ends_succeed(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "pipeline", 1).await, 0);
    let send = |n: u64, expected: u64| {
        let batch = batch([n], Compression::None);
        let permit = ok(log.try_reserve(batch.bytes()));
        log.append(permit, vec![Append { at, batch, expected_end: Some(Offset(expected)), foreign: None }])
    };
    let acks: Vec<_> = (0..100).map(|n| send(n, n)).collect();
    for (n, outcome) in join_all(acks).await.into_iter().enumerate() {
        assert_eq!(ok(outcome).first().map(|placed| placed.base_offset), Some(Offset(n as u64)));
    }
    let acks: Vec<_> = (0..10).map(|n| send(n, 101 + n)).collect();
    for outcome in join_all(acks).await {
        assert!(matches!(outcome, Err(Error::WrongEnd { .. })));
    }
    assert_eq!(ok(log.bounds(at)).end, Offset(100));
}

/// Two parts of the same partition in one append.
pub async fn parts_of_one_partition_follow_each_other(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "twice", 1).await, 0);
    let parts = vec![
        (at, batch(["1", "2"], Compression::None), Some(Offset(0))),
        (at, batch(["3"], Compression::Lz4), Some(Offset(2))),
    ];
    let placed = ok(append(&*log, parts).await);
    assert_eq!(placed.iter().map(|p| (p.base_offset.0, p.count)).collect::<Vec<_>>(), [(0, 2), (2, 1)]);
    let events = read_all(&*log, at, Offset::ZERO).await;
    assert_eq!(ids(&events), ["1", "2", "3"]);
    check_dense(&events);
    for place in placed {
        assert_eq!(events.get(place.base_offset.0 as usize).map(|read| read.hlc), Some(place.first_hlc));
    }
}

/// Batches with and without versions may share a commit.
pub async fn versioned_and_plain_batches_keep_their_versions(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "mixed", 1).await, 0);
    let acks: Vec<_> = (0..60u64)
        .map(|n| {
            let mut batch = batch([n], Compression::None);
            if n % 3 == 0 {
                batch = batch.with_versions([Version(n + 1)]).unwrap_or_else(|error| panic!("{error}"));
            }
            let permit = ok(log.try_reserve(batch.bytes()));
            log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])
        })
        .collect();
    for outcome in join_all(acks).await {
        ok(outcome);
    }
    for (n, read) in (0u64..).zip(read_all(&*log, at, Offset::ZERO).await) {
        let version = if n % 3 == 0 { Version(n + 1) } else { Version::NONE };
        assert_eq!((read.event.id, read.version), (n.to_string(), version));
    }
    let blocks = ok(log.read(at, Offset(30), 1).await);
    assert!(blocks.iter().flat_map(events_of).any(|read| read.offset == Offset(30)));
}

/// What several processes need does no harm to one.
pub async fn refreshing_and_fencing_others_leaves_a_log_as_it_is(engine: &dyn Engine) {
    let log = engine.create().await;
    let def = stream(&*log, "alone", 1).await;
    let at = partition(&def, 0);
    let placed = put(&*log, at, ["1", "2"]).await;
    ok(log.refresh(&[at]).await);
    ok(log.refresh(&[]).await);
    assert_eq!(ok(log.bounds(at)), Bounds { start: Offset::ZERO, end: placed.end() });
    ok(log.fence("a-process-that-never-was").await);
    let third = ok(append(&*log, vec![(at, batch(["3"], Compression::None), Some(placed.end()))]).await);
    ok(log.refresh(&[at]).await);
    assert_eq!(third.last().map(Placed::end), Some(ok(log.bounds(at)).end));
    assert_eq!(ids(&read_all(&*log, at, Offset::ZERO).await), ["1", "2", "3"]);
    assert!(log.refusal().is_none());
}
