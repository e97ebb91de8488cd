//! Idempotency keys.

use super::{World, append, event, versions, write};
use crate::store::{Error, EventStore, Write};
use crate::{Append, Log};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tw_types::{Compression, Extension, ExtensionValue, StreamDef, StreamPartition, Version};
use tw_wire::BatchBuilder;

fn keyed(store: &EventStore, stream: &Arc<StreamDef>, key: &str, events: &[(&str, &str)]) -> Write {
    let mut write = write(store, stream, events);
    write.idempotency_key(key);
    write
}

/// Again and again, also after the index was stored, after a restart and after the index was lost: the same answer.
pub async fn a_keyed_write_is_stored_once(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 3).await;
    let store = world.store();
    append(&store, &stream, &[("b", "before"), ("", "x")]).await.unwrap();
    // Events without a subject, of many partitions, and some that are duplicates the first time already.
    let events =
        [("a", "1"), ("", "2"), ("b", "before"), ("c", "3"), ("", "4"), ("a", "1"), ("d", "5"), ("b", "6")];
    let first = store.append(keyed(&store, &stream, "key", &events)).await.unwrap();
    let flags: Vec<_> = first.events.iter().map(|event| event.duplicate).collect();
    assert_eq!(flags, [false, false, true, false, false, true, false, false]);
    // At the same time: one of them stores it, the other waits.
    let (one, two) =
        (keyed(&store, &stream, "two", &[("", "7")]), keyed(&store, &stream, "two", &[("", "7")]));
    let one = store.submit(one).await.unwrap();
    let two = store.submit(two).await.unwrap();
    assert_eq!(one.await.unwrap().events[0].position, two.await.unwrap().events[0].position);
    drop(store);
    for stage in ["in memory", "stored", "restarted", "index lost"] {
        world.enter(stage);
        let store = world.store();
        let again = store.append(keyed(&store, &stream, "key", &events)).await.unwrap();
        assert_eq!(versions(&again), versions(&first), "{stage}");
        for (again, first) in again.events.iter().zip(&first.events) {
            assert_eq!((again.position, again.duplicate), (first.position, true), "{stage}");
        }
        assert_eq!(store.version(stream.id, "b").await.unwrap(), Version(2), "{stage}");
    }
    // The key is the log's own affair.
    let store = world.store();
    let history = store.history(stream.id, "a", Version(1), 10).await.unwrap();
    assert_eq!((history.len(), history[0].event.extensions.len()), (1, 0));
}

/// Other events, other data, another order: all of it is other content. Nothing of it is stored.
pub async fn a_key_used_for_other_content_is_refused(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 3).await;
    let store = world.store();
    store.append(keyed(&store, &stream, "key", &[("a", "1"), ("b", "2")])).await.unwrap();
    for others in [&[("a", "1")][..], &[("a", "1"), ("b", "3")], &[("x", "9")], &[("y", "8"), ("z", "7")]] {
        let refused = store.append(keyed(&store, &stream, "key", others)).await.unwrap_err();
        assert!(matches!(refused, Error::KeyReused(ref key) if key == "key"), "{refused}");
        store.flush().unwrap();
    }
    let mut other = store.write();
    let mut changed = event("a", "1");
    changed.ty = "test.other".into();
    other.push(&stream, &changed.as_ref()).unwrap();
    other.push(&stream, &event("b", "2").as_ref()).unwrap();
    other.idempotency_key("key");
    assert!(matches!(store.append(other).await, Err(Error::KeyReused(_))));
    for subject in ["x", "y", "z"] {
        assert_eq!(store.version(stream.id, subject).await.unwrap(), Version::NONE);
    }
    assert_eq!(store.version(stream.id, "a").await.unwrap(), Version(1));
    // Other keys are other writes.
    store.append(keyed(&store, &stream, "other", &[("x", "9")])).await.unwrap();
    let empty = store.append(keyed(&store, &stream, "", &[("x", "9")])).await.unwrap_err();
    assert!(matches!(empty, Error::InvalidWrite(_)));
}

/// Of a write over several partitions only some are there: the same write again adds the others.
pub async fn a_keyed_write_that_was_cut_off_is_completed(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 3).await;
    // What the whole write would have stored, on another stream.
    let twin = world.stream("twin", 3).await;
    let store = world.store();
    let events = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5"), ("f", "6")];
    let whole = store.append(keyed(&store, &twin, "key", &events)).await.unwrap();
    let partitions: std::collections::BTreeSet<_> =
        whole.events.iter().map(|event| event.position.partition).collect();
    assert!(partitions.len() > 1);
    let torn = *partitions.first().unwrap();
    // As a log without transactions leaves it: one partition has its share. The fingerprint names the stream, so it
    // comes from a write to the right stream that goes nowhere.
    let probe = World::new(Arc::new(crate::MemoryLog::new(tw_env::Env::real())));
    let mut probe = World { options: world.options.clone(), ..probe };
    let probe_stream = probe.stream("s", 3).await;
    let probe_store = probe.store();
    probe_store.append(keyed(&probe_store, &probe_stream, "key", &events)).await.unwrap();
    let share = StreamPartition::new(probe_stream.id, torn);
    for block in probe.log.read(share, tw_types::Offset::ZERO, 1 << 20).await.unwrap() {
        let records = block.records().unwrap();
        let mut builder = BatchBuilder::new();
        for record in records.iter().unwrap() {
            let record = record.unwrap();
            builder.push_versioned(&record.event, record.version);
        }
        let batch = builder.finish(Compression::None).unwrap();
        let append =
            Append { at: StreamPartition::new(stream.id, torn), batch, expected_end: None, foreign: None };
        let permit = world.log.reserve(1 << 16).await.unwrap();
        world.log.append(permit, vec![append]).await.unwrap();
    }
    let done = store.append(keyed(&store, &stream, "key", &events)).await.unwrap();
    for (done, wanted) in done.events.iter().zip(&whole.events) {
        assert_eq!((done.position, done.version), (wanted.position, wanted.version));
        assert_eq!(done.duplicate, done.position.partition == torn);
    }
    let again = store.append(keyed(&store, &stream, "key", &events)).await.unwrap();
    assert!(again.events.iter().all(|event| event.duplicate));
    assert_eq!(versions(&again), versions(&whole));
}

/// A clock that goes on when it is told to.
pub(super) struct Later(pub(super) Arc<AtomicU64>);

impl tw_env::Clock for Later {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A key counts for the configured time; then it can be used for something else, and is removed from the index.
pub async fn a_key_is_forgotten_in_time(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let passed = Arc::new(AtomicU64::new(0));
    world.env.clock = Arc::new(Later(passed.clone()));
    world.options.idempotency_ms = 10_000;
    let stream = world.stream("s", 1).await;
    let store = world.store();
    store.append(keyed(&store, &stream, "key", &[("", "1")])).await.unwrap();
    store.append(keyed(&store, &stream, "stays", &[("", "2")])).await.unwrap();
    store.flush().unwrap();
    passed.store(10_000, Ordering::Relaxed);
    assert!(matches!(
        store.append(keyed(&store, &stream, "key", &[("", "3")])).await,
        Err(Error::KeyReused(_))
    ));
    passed.store(10_001, Ordering::Relaxed);
    let other = store.append(keyed(&store, &stream, "key", &[("", "3")])).await.unwrap();
    assert_eq!(other.events[0].position.offset.0, 2);
    store.flush().unwrap();
    let again = store.append(keyed(&store, &stream, "key", &[("", "3")])).await.unwrap();
    assert_eq!(again.events[0].position.offset.0, 2);
    // Callers cannot write the extension themselves.
    let mut forged = event("", "9");
    let value = ExtensionValue::Text("0000000000000000,1,key".to_owned());
    forged.extensions.push(Extension { name: "twidempotencykey".to_owned(), value });
    assert!(store.write().push(&stream, &forged.as_ref()).is_err());
}

/// The same write with the same key is a new one when the first has expired, and what is remembered from then on is the
/// new one, whether the record of the first is still in memory, in the index, or neither.
pub async fn a_keyed_write_is_stored_again_once_its_key_has_expired(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let passed = Arc::new(AtomicU64::new(0));
    world.env.clock = Arc::new(Later(passed.clone()));
    world.options.idempotency_ms = 10_000;
    let stream = world.stream("s", 1).await;
    let store = world.store();
    let mut offset = 0;
    for first_is_flushed in [true, false] {
        for second_is_flushed in [true, false] {
            let key = format!("{first_is_flushed}-{second_is_flushed}");
            let now_ms = passed.load(Ordering::Relaxed);
            store.append(keyed(&store, &stream, &key, &[("", "1")])).await.unwrap();
            // A flush removes what has expired, so it comes before that.
            if first_is_flushed {
                store.flush().unwrap();
            }
            passed.store(now_ms + 10_001, Ordering::Relaxed);
            let second = store.append(keyed(&store, &stream, &key, &[("", "1")])).await.unwrap();
            assert_eq!(second.events[0].position.offset.0, offset + 1, "{key}");
            if second_is_flushed {
                store.flush().unwrap();
            }
            passed.store(now_ms + 15_000, Ordering::Relaxed);
            for _ in 0..3 {
                let again = store.append(keyed(&store, &stream, &key, &[("", "1")])).await.unwrap();
                assert_eq!(again.events[0].position, second.events[0].position, "{key}");
                assert!(again.events[0].duplicate, "{key}");
            }
            offset += 2;
        }
    }
}

/// Retention has removed the events of a keyed write: it cannot be answered again, and says that.
pub async fn a_keyed_write_whose_events_were_removed_says_so(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    store.append(keyed(&store, &stream, "key", &[("a", "1"), ("", "2"), ("", "3")])).await.unwrap();
    append(&store, &stream, &[("", "4")]).await.unwrap();
    let at = StreamPartition::new(stream.id, tw_types::PartitionId(0));
    for before in [1, 4] {
        world.log.trim(at, tw_types::Offset(before)).await.unwrap();
        let events = [("a", "1"), ("", "2"), ("", "3")];
        let gone = store.append(keyed(&store, &stream, "key", &events)).await.unwrap_err();
        assert!(matches!(gone, Error::KeyGone(ref key) if key == "key"), "{gone}");
    }
}

/// What a dropped stream leaves of keys does not fill the index for ever.
pub async fn keys_of_a_dropped_stream_leave_memory(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let kept = world.stream("kept", 1).await;
    let stream = world.stream("s", 1).await;
    let store = world.store();
    store.append(keyed(&store, &kept, "kept", &[("", "1")])).await.unwrap();
    let before = store.index_bytes();
    for key in 0..20 {
        store.append(keyed(&store, &stream, &format!("key-{key}"), &[("", "1")])).await.unwrap();
    }
    assert!(store.index_bytes() > before);
    world.log.drop_stream(&stream.name).await.unwrap();
    // The index thread looks around after it has heard of it.
    let tick = &store.core.tick;
    tick.over(tick.get() + 1).await;
    assert_eq!(store.index_bytes(), before);
    store.flush().unwrap();
    let again = store.append(keyed(&store, &kept, "kept", &[("", "1")])).await.unwrap();
    assert!(again.events[0].duplicate);
}

/// A large keyed write of which nearly all was there already is answered again after few reads.
pub async fn a_large_keyed_write_of_duplicates_reads_each_block_once(log: Arc<dyn Log>) {
    let (mut world, log) = super::faults::faulty(log);
    let stream = world.stream("s", 1).await;
    let ids: Vec<_> = (0..2_000).map(|n| (format!("subject-{}", n % 700), format!("id-{n}"))).collect();
    let mut events: Vec<_> = ids.iter().map(|(subject, id)| (subject.as_str(), id.as_str())).collect();
    let before = append(&world.store(), &stream, &events).await.unwrap();
    events.insert(1_000, ("subject-0", "new"));
    let first = world.store().append(keyed(&world.store(), &stream, "key", &events)).await.unwrap();
    assert_eq!(first.events[999].position, before.events[999].position);
    assert!(!first.events[1_000].duplicate);
    for stage in ["in memory", "stored", "restarted", "index lost"] {
        world.enter(stage);
        let store = world.store();
        store.warm().await.unwrap();
        let reads = log.reads();
        let again = store.append(keyed(&store, &stream, "key", &events)).await.unwrap();
        for (again, first) in again.events.iter().zip(&first.events) {
            assert_eq!((again.position, again.version), (first.position, first.version), "{stage}");
            assert!(again.duplicate, "{stage}");
        }
        let reads = log.reads() - reads;
        assert!(reads < 10, "{stage}: {reads} reads");
    }
}

/// In one partition all events of a keyed write were duplicates: they still are when many versions have come since.
pub async fn a_part_of_duplicates_is_not_stored_later(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 3).await;
    let store = world.store();
    let partition = |subject: &str| tw_order::partition_of(subject, 3);
    let (a, b) = ("a", ["b", "c", "d", "e"].into_iter().find(|b| partition(b) != partition("a")).unwrap());
    append(&store, &stream, &[(a, "0"), (a, "1")]).await.unwrap();
    let events = [(a, "1"), (b, "2"), (a, "0"), (a, "1")];
    let first = store.append(keyed(&store, &stream, "key", &events)).await.unwrap();
    assert_eq!(versions(&first), [2, 1, 1, 2]);
    let many: Vec<_> = (0..1_100).map(|n| format!("later-{n}")).collect();
    append(&store, &stream, &many.iter().map(|id| (a, id.as_str())).collect::<Vec<_>>()).await.unwrap();
    drop(store);
    for stage in ["in memory", "stored", "restarted", "index lost"] {
        world.enter(stage);
        let store = world.store();
        let again = store.append(keyed(&store, &stream, "key", &events)).await.unwrap();
        for (again, first) in again.events.iter().zip(&first.events) {
            assert_eq!((again.position, again.version), (first.position, first.version), "{stage}");
            assert!(again.duplicate, "{stage}");
        }
        assert_eq!(store.version(stream.id, a).await.unwrap(), Version(1_102), "{stage}");
    }
}

/// A key that was last used for a stream which is gone is free again. Of a write that was stored in part in such a stream the
/// rest still counts: when that was removed, nothing is stored.
pub async fn a_key_of_a_dropped_stream_is_free(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let kept = world.stream("kept", 1).await;
    let store = world.store();
    for stored in [false, true] {
        let stream = world.stream("s", 1).await;
        let key = format!("key-{stored}");
        store.append(keyed(&store, &stream, &key, &[("a", "1")])).await.unwrap();
        let mut both = keyed(&store, &stream, &format!("both-{stored}"), &[("a", "2")]);
        both.push(&kept, &event("b", &key).as_ref()).unwrap();
        store.append(both).await.unwrap();
        if stored {
            store.flush().unwrap();
        }
        world.log.drop_stream(&stream.name).await.unwrap();
        let other = store.append(keyed(&store, &kept, &key, &[("a", &key)])).await.unwrap();
        assert!(!other.events[0].duplicate, "{key}");
        let again = store.append(keyed(&store, &kept, &key, &[("a", &key)])).await.unwrap();
        assert!(again.events[0].duplicate, "{key}");
        // The same names, the same content, another stream.
        let stream = world.stream("s", 1).await;
        let end = world.log.bounds(StreamPartition::new(kept.id, tw_types::PartitionId(0))).unwrap().end;
        world.log.trim(StreamPartition::new(kept.id, tw_types::PartitionId(0)), end).await.unwrap();
        let mut both = keyed(&store, &stream, &format!("both-{stored}"), &[("a", "2")]);
        both.push(&kept, &event("b", &key).as_ref()).unwrap();
        let gone = store.append(both).await.unwrap_err();
        assert!(matches!(gone, Error::KeyGone(_)), "{gone}");
        assert_eq!(store.version(stream.id, "a").await.unwrap(), Version::NONE, "{key}");
        world.log.drop_stream(&stream.name).await.unwrap();
    }
}

/// A write that was on its way when its stream was dropped is refused, and leaves nothing in memory.
pub async fn a_write_to_a_dropped_stream_leaves_no_memory(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    append(&store, &stream, &[("a", "1")]).await.unwrap();
    let late = keyed(&store, &stream, "key", &[("b", "2")]).prepare(&store.core).unwrap();
    world.log.drop_stream(&stream.name).await.unwrap();
    let tick = &store.core.tick;
    tick.over(tick.get() + 1).await;
    assert_eq!((store.index_bytes(), store.dedup_bytes()), (0, 0));
    let refused = store.core.submit(&late).await.unwrap_err();
    assert!(matches!(refused, Error::Log(crate::Error::NoStreamId(id)) if id == stream.id), "{refused}");
    assert_eq!((store.index_bytes(), store.dedup_bytes()), (0, 0));
}
