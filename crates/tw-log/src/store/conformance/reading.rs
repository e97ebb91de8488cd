//! Histories, pages, places in time.

use super::{World, append, event};
use crate::store::{Error, Filter};
use crate::{Error as LogError, Log, NewStream};
use std::sync::Arc;
use tw_types::{
    Cleanup, Offset, PartitionId, StreamName, StreamOptions, StreamPartition, Timestamp, Version,
};

fn at(stream: &tw_types::StreamDef, partition: u32) -> StreamPartition {
    StreamPartition::new(stream.id, PartitionId(partition))
}

/// A history in pages of any size is the history, wherever its parts are kept.
pub async fn histories_come_in_pages(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 2).await;
    let store = world.store();
    for round in 0..30 {
        let events: Vec<_> = (0..40).map(|n| (["a", "b", "a", "c"][n % 4], format!("{round}-{n}"))).collect();
        let events: Vec<_> = events.iter().map(|(subject, id)| (*subject, id.as_str())).collect();
        append(&store, &stream, &events).await.unwrap();
        if [3, 4, 17].contains(&round) {
            store.flush().unwrap();
        }
    }
    drop(store);
    for stage in ["some stored", "restarted", "index lost"] {
        world.enter(stage);
        let store = world.store();
        for (subject, total) in [("a", 600), ("b", 300), ("nobody", 0)] {
            let all = store.history(stream.id, subject, Version::NONE, usize::MAX).await.unwrap();
            assert_eq!(all.len(), total, "{stage}");
            assert!(all.iter().zip(1..).all(|(stored, version)| stored.version == Version(version)));
            assert!(all.iter().all(|stored| stored.event.subject.as_deref() == Some(subject)));
            assert!(all.windows(2).all(|pair| pair[0].position.offset < pair[1].position.offset));
            for size in [1, 7, 256, 1_000] {
                let mut paged = Vec::new();
                let mut from = Version(1);
                loop {
                    let page = store.history(stream.id, subject, from, size).await.unwrap();
                    let Some(last) = page.last() else { break };
                    from = last.version.next();
                    paged.extend(page);
                    if paged.len() > 60 && size == 1 {
                        break;
                    }
                }
                assert_eq!(paged, all[..paged.len()], "{stage}, pages of {size}");
                assert!(size == 1 || paged.len() == total);
            }
        }
        let middle = store.history(stream.id, "a", Version(333), 2).await.unwrap();
        assert_eq!(middle.iter().map(|stored| stored.version.0).collect::<Vec<_>>(), [333, 334]);
        assert_eq!(store.history(stream.id, "a", Version(601), 2).await.unwrap(), []);
        assert_eq!(store.history(stream.id, "a", Version(u64::MAX), 2).await.unwrap(), []);
        assert_eq!(store.history(stream.id, "a", Version(1), 0).await.unwrap(), []);
    }
    assert!(world.store().history(tw_types::StreamId(99), "a", Version(1), 1).await.is_err());
}

/// Pages with and without a filter, of any size, are what a look at every event would show.
pub async fn pages_show_what_the_filter_shows(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    for round in 0..20 {
        let mut write = store.write();
        for n in 0..15 {
            let mut event = event(["a", "b", ""][n % 3], &format!("{round}-{n}"));
            event.ty = ["order.placed", "order.paid", "orders", "invoice.sent"][n % 4].into();
            write.push(&stream, &event.as_ref()).unwrap();
        }
        store.append(write).await.unwrap();
        if round % 6 == 5 {
            store.flush().unwrap();
        }
    }
    let at = at(&stream, 0);
    let all = store.read(at, Offset::ZERO, &Filter::default(), usize::MAX, usize::MAX).await.unwrap();
    assert_eq!((all.events.len(), all.next), (300, Offset(300)));
    assert!(all.events.iter().zip(0..).all(|(stored, offset)| stored.position.offset == Offset(offset)));
    let text = |text: &str| Some(text.to_owned());
    for filter in [
        Filter::default(),
        Filter { type_prefix: text("order."), subject: None },
        Filter { type_prefix: None, subject: text("b") },
        Filter { type_prefix: text("order.p"), subject: text("a") },
        Filter { type_prefix: text("nothing"), subject: None },
        Filter { type_prefix: None, subject: text("nobody") },
    ] {
        let shown = all.events.iter().filter(|stored| {
            let (ty, subject) = (&stored.event.ty, &stored.event.subject);
            filter.type_prefix.as_ref().is_none_or(|prefix| ty.starts_with(prefix))
                && filter.subject.as_ref().is_none_or(|wanted| subject.as_ref() == Some(wanted))
        });
        let shown: Vec<_> = shown.cloned().collect();
        for (limit, bytes_max) in [(1_000, usize::MAX), (7, usize::MAX), (1_000, 1), (1_000, 900)] {
            let (mut events, mut from) = (Vec::new(), Offset(0));
            while from < Offset(300) {
                let page = store.read(at, from, &filter, limit, bytes_max).await.unwrap();
                assert!(page.events.len() <= limit && page.next > from);
                from = page.next;
                events.extend(page.events);
            }
            assert_eq!(events, shown, "{filter:?} {limit} {bytes_max}");
        }
    }
    let end = store.read(at, Offset(300), &Filter::default(), 10, 100).await.unwrap();
    assert_eq!((end.events, end.next), (vec![], Offset(300)));
    let beyond = store.read(at, Offset(301), &Filter::default(), 10, 100).await.unwrap_err();
    assert!(matches!(beyond, Error::Log(LogError::BeyondEnd { .. })));
}

/// What a trim removes is passed over; versions go on as if it were there.
pub async fn trimmed_histories_start_at_what_is_left(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let at = at(&stream, 0);
    let store = world.store();
    for round in 0..10 {
        let events = [("a", format!("a{round}")), ("b", format!("b{round}"))];
        let events: Vec<_> = events.iter().map(|(subject, id)| (*subject, id.as_str())).collect();
        append(&store, &stream, &events).await.unwrap();
        if round == 3 {
            store.flush().unwrap();
        }
    }
    world.log.trim(at, Offset(13)).await.unwrap();
    drop(store);
    for (stage, last) in [("trimmed", 10), ("restarted", 11), ("index lost", 12)] {
        world.enter(stage);
        let store = world.store();
        let start = world.log.bounds(at).unwrap().start;
        let history = store.history(stream.id, "a", Version(1), 100).await.unwrap();
        assert!(history.iter().all(|stored| stored.position.offset >= start), "{stage}");
        assert_eq!(history.last().unwrap().version, Version(last), "{stage}");
        assert!(history.windows(2).all(|pair| pair[1].version == pair[0].version.next()), "{stage}");
        // Event a of version v is at offset 2v − 2.
        assert_eq!(history[0].version.0, start.0.div_ceil(2) + 1, "{stage}");
        let next = append(&store, &stream, &[("a", &format!("a-{stage}"))]).await.unwrap();
        assert_eq!(next.events[0].version, Version(last + 1), "{stage}");
        let trimmed = store.read(at, Offset::ZERO, &Filter::default(), 10, 100).await.unwrap_err();
        assert!(matches!(trimmed, Error::Log(LogError::Trimmed { start: from, .. }) if from == start));
    }
    // Everything is gone: the index still knows the version.
    let store = world.store();
    let end = world.log.bounds(at).unwrap().end;
    world.log.trim(at, end).await.unwrap();
    assert_eq!(store.history(stream.id, "b", Version(1), 100).await.unwrap(), []);
    assert_eq!(store.version(stream.id, "b").await.unwrap(), Version(10));
    let next = append(&store, &stream, &[("b", "next")]).await.unwrap();
    assert_eq!(next.events[0].version, Version(11));
    let history = store.history(stream.id, "b", Version(1), 100).await.unwrap();
    assert_eq!(history.iter().map(|stored| stored.version.0).collect::<Vec<_>>(), [11]);
}

/// The first event at or after an instant, for instants before, between, on and after the events.
pub async fn a_place_in_time_is_found(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let options = StreamOptions { cleanup: Cleanup::Delete, ..StreamOptions::default() };
    let new = NewStream { options, ..NewStream::plain(StreamName::new("s").unwrap(), 1) };
    let stream = world.log.create_stream(new).await.unwrap();
    let at = at(&stream, 0);
    let store = world.store();
    assert_eq!(store.offset_at(at, Timestamp::from_millis(0)).await.unwrap(), Offset(0));
    for round in 0..12 {
        let events: Vec<_> = (0..5).map(|n| format!("{round}-{n}")).collect();
        let events: Vec<_> = events.iter().map(|id| ("a", id.as_str())).collect();
        append(&store, &stream, &events).await.unwrap();
        if round % 4 == 1 {
            // Time passes, so that there are gaps to ask for.
            let now = world.env.clock.now_ms();
            while world.env.clock.now_ms() < now + 3 {
                tokio::task::yield_now().await;
            }
        }
    }
    let all = store.read(at, Offset::ZERO, &Filter::default(), 100, usize::MAX).await.unwrap().events;
    let first_at = |millis: i64| {
        let found = all.iter().find(|stored| stored.hlc.millis() as i64 >= millis);
        found.map_or(Offset(60), |stored| stored.position.offset)
    };
    let (first, last) = (all[0].hlc.millis() as i64, all[59].hlc.millis() as i64);
    for millis in first - 2..=last + 2 {
        let found = store.offset_at(at, Timestamp::from_millis(millis)).await.unwrap();
        assert_eq!(found, first_at(millis));
        // A part of a millisecond is after that millisecond.
        let found = store.offset_at(at, Timestamp::from_nanos(millis * 1_000_000 + 1)).await.unwrap();
        assert_eq!(found, first_at(millis + 1));
    }
    assert_eq!(store.offset_at(at, Timestamp::from_millis(-5)).await.unwrap(), Offset(0));
    world.log.trim(at, Offset(20)).await.unwrap();
    let start = world.log.bounds(at).unwrap().start;
    assert_eq!(store.offset_at(at, Timestamp::from_millis(first)).await.unwrap(), start);
}
