//! Restarts, lost indexes, other writers, dropped streams, refused events.

use super::{World, append, event, versions, write};
use crate::store::{Error, Options};
use crate::{Append, Error as LogError, Log};
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_types::{
    Compression, EventRef, ExpectedVersion, Extension, ExtensionValue, Offset, PartitionId, StreamOptions,
    StreamPartition, Version,
};
use tw_wire::BatchBuilder;

/// Restarts at any moment, with more or less of the index stored.
pub async fn versions_go_on_after_a_restart(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 3).await;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..24u64 {
        let store = world.store();
        for n in 0..20 {
            let subject = format!("subject-{}", (n * round) % 31);
            let appended = append(&store, &stream, &[(&subject, &format!("{round}-{n}"))]).await.unwrap();
            let count = counts.entry(subject).or_default();
            *count += 1;
            assert_eq!(versions(&appended), [*count], "round {round}");
        }
        match round % 4 {
            0 => store.flush().unwrap(),
            1 => {
                // Nothing of what follows is stored before the restart.
                let state = world.state.clone();
                drop(store);
                world.restart();
                world.state = state;
            }
            2 => {
                drop(store);
                world.lose_index();
            }
            _ => {}
        }
    }
    world.restart();
    world.store().warm().await.unwrap();
    for (subject, count) in counts {
        let history = world.store().history(stream.id, &subject, Version(1), 1_000).await.unwrap();
        assert_eq!(history.len() as u64, count);
        assert!(history.iter().zip(1..).all(|(stored, version)| stored.version == Version(version)));
    }
}

/// Versions, histories and duplicates are the same before and after.
pub async fn nothing_changes_when_the_index_is_lost(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let streams = [world.stream("one", 2).await, world.stream("two", 1).await];
    let store = world.store();
    for round in 0..50u64 {
        for (number, stream) in streams.iter().enumerate() {
            let subject = format!("s{}", round % (7 + number as u64));
            append(&store, stream, &[(&subject, &format!("{round}"))]).await.unwrap();
        }
        if round % 20 == 7 {
            store.flush().unwrap();
        }
    }
    let mut before = Vec::new();
    for stream in &streams {
        for subject in (0..9).map(|n| format!("s{n}")) {
            let history = store.history(stream.id, &subject, Version(1), 100).await.unwrap();
            before.push((store.version(stream.id, &subject).await.unwrap(), history));
        }
    }
    // While it is open, keyspaces are deleted under it; then it starts without any.
    drop(store);
    world.restart();
    for name in world.state.keyspaces().unwrap() {
        if name != "events/positions" {
            world.state.drop_keyspace(&name).unwrap();
        }
    }
    world.lose_index();
    let store = world.store();
    let mut after = Vec::new();
    for stream in &streams {
        for subject in (0..9).map(|n| format!("s{n}")) {
            let version = store.version(stream.id, &subject).await.unwrap();
            after.push((version, store.history(stream.id, &subject, Version(1), 100).await.unwrap()));
            let last = store.history(stream.id, &subject, version, 1).await.unwrap();
            if let Some(last) = last.first() {
                let again = append(&store, stream, &[(&subject, &last.event.id)]).await.unwrap();
                assert!(again.events[0].duplicate);
                assert_eq!(again.events[0].version, version);
            }
        }
    }
    assert!(after == before, "the same after the index was lost");
    // An index that belongs to another log is noticed, too.
    drop(store);
    world.restart();
    let mut other = World::new(Arc::new(crate::MemoryLog::new(tw_env::Env::real())));
    other.state = world.state.clone();
    let stream = other.stream("one", 2).await;
    other.stream("two", 1).await;
    let appended = append(&other.store(), &stream, &[("s1", "x")]).await.unwrap();
    assert_eq!(versions(&appended), [1]);
}

async fn append_directly(log: &Arc<dyn Log>, at: StreamPartition, events: &[(&str, &str, u64)]) {
    let mut builder = BatchBuilder::new();
    for (subject, id, version) in events {
        let event = event(subject, id);
        if *version > 0 {
            builder.push_versioned(&event.as_ref(), Version(*version));
        } else {
            builder.push(&event.as_ref());
        }
    }
    let batch = builder.finish(Compression::None).unwrap();
    let permit = log.reserve(1 << 16).await.unwrap();
    log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }]).await.unwrap();
}

/// Events that others append, with or without versions, count; appends that meet them are tried again.
pub async fn appends_of_others_are_noticed(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let at = StreamPartition::new(stream.id, PartitionId(0));
    let store = world.store();
    append(&store, &stream, &[("a", "1")]).await.unwrap();
    assert_eq!(store.by_others(at), 0);
    append_directly(&world.log, at, &[("a", "2", 2), ("b", "1", 1)]).await;
    assert_eq!(store.version(stream.id, "a").await.unwrap(), Version(2));
    assert_eq!(store.by_others(at), 2, "CLU-1");
    let next = append(&store, &stream, &[("a", "3"), ("a", "2"), ("b", "2")]).await.unwrap();
    assert_eq!(versions(&next), [3, 2, 2]);
    assert!(next.events[1].duplicate);
    store.flush().unwrap();
    // Without versions, as foreign records come: they are given the next ones.
    append_directly(&world.log, at, &[("a", "4", 0), ("c", "1", 0), ("a", "5", 0)]).await;
    let next = append(&store, &stream, &[("a", "6"), ("c", "2")]).await.unwrap();
    assert_eq!(versions(&next), [6, 2]);
    assert_eq!(store.by_others(at), 5, "CLU-1");
    store.flush().unwrap();
    drop(store);
    for stage in ["running", "restarted", "index lost"] {
        world.enter(stage);
        let store = world.store();
        let history = store.history(stream.id, "a", Version(1), 100).await.unwrap();
        let ids: Vec<_> = history.iter().map(|stored| stored.event.id.as_str()).collect();
        assert_eq!(ids, ["1", "2", "3", "4", "5", "6"], "{stage}");
        assert!(history.iter().zip(1..).all(|(stored, version)| stored.version == Version(version)));
    }
    // The log itself appends to `$config`, at any time.
    let store = world.store();
    let config = world.log.streams().get("$config").unwrap().clone();
    let define = {
        let log = world.log.clone();
        tokio::spawn(async move {
            for number in 0..30 {
                let name = tw_types::StreamName::new(&format!("more-{number}")).unwrap();
                log.create_stream(crate::NewStream::plain(name, 1)).await.unwrap();
            }
        })
    };
    for number in 0..60u64 {
        let mut write = write(&store, &config, &[("setting", &format!("set-{number}"))]);
        let expected =
            if number == 0 { ExpectedVersion::None } else { ExpectedVersion::Exact(Version(number)) };
        write.expect(&config, "setting", expected);
        assert_eq!(versions(&store.append(write).await.unwrap()), [number + 1]);
    }
    define.await.unwrap();
    assert_eq!(store.version(config.id, "stream/more-29").await.unwrap(), Version(1));
    assert_eq!(store.version(config.id, "setting").await.unwrap(), Version(60));
}

/// Its index goes with it; a stream of the same name knows nothing of it.
pub async fn a_dropped_stream_starts_anew(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let other = world.stream("other", 1).await;
    for round in 0..3 {
        let stream = world.stream("s", 2).await;
        let store = world.store();
        let appended = append(&store, &stream, &[("a", "1"), ("b", "1")]).await.unwrap();
        assert_eq!(versions(&appended), [1, 1], "round {round}");
        append(&store, &other, &[("a", &format!("{round}"))]).await.unwrap();
        let mut keyed = write(&store, &stream, &[("", "1")]);
        keyed.idempotency_key("same");
        assert!(!store.append(keyed).await.unwrap().events[0].duplicate, "round {round}");
        store.flush().unwrap();
        let keyspace = format!("events/{}", stream.id);
        assert!(world.state.keyspaces().unwrap().contains(&keyspace));
        world.log.drop_stream(&stream.name).await.unwrap();
        assert!(store.version(stream.id, "a").await.is_err());
        let refused = append(&store, &stream, &[("a", "2")]).await.unwrap_err();
        assert!(matches!(refused, Error::Log(LogError::NoStreamId(_))), "{refused}");
        drop(store);
        world.restart();
        assert_eq!(world.store().version(other.id, "a").await.unwrap(), Version(round + 1));
        assert!(!world.state.keyspaces().unwrap().contains(&keyspace));
    }
}

/// What breaks a rule is refused with the reason, and the rest of the write is not harmed.
pub async fn what_breaks_a_rule_is_refused(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let small = StreamOptions { event_bytes_max: 1024, ..StreamOptions::default() };
    let new = crate::NewStream {
        options: small,
        ..crate::NewStream::plain(tw_types::StreamName::new("s").unwrap(), 1)
    };
    let stream = world.log.create_stream(new).await.unwrap();
    // Of another partition than "a".
    let other = event("elsewhere", "1");
    let roomy = world.stream("roomy", 64).await;
    (world.options.write_events_max, world.options.write_bytes_max) = (3, 64 << 10);
    let store = world.store();
    let mut write = store.write();
    let valid = event("a", "1");
    let refuse = |write: &mut crate::store::Write, event: &EventRef<'_>| {
        let error = write.push(&stream, event).unwrap_err();
        error.to_string()
    };
    let extension = |name| vec![Extension { name, value: ExtensionValue::Bool(true) }];
    let large = "x".repeat(1024);
    for (event, reason) in [
        (EventRef { id: "", ..valid.as_ref() }, "attribute `id` is empty"),
        (EventRef { source: "", ..valid.as_ref() }, "attribute `source` is empty"),
        (EventRef { ty: "", ..valid.as_ref() }, "attribute `type` is empty"),
        (EventRef { subject: Some(""), ..valid.as_ref() }, "attribute `subject` is empty"),
        (EventRef { extensions: extension("twversion"), ..valid.as_ref() }, "rename `twversion`"),
        (EventRef { extensions: extension("Bad"), ..valid.as_ref() }, "extension `Bad` is not made of"),
        (
            EventRef { data: tw_types::Data::Text(large.as_bytes()), ..valid.as_ref() },
            "over the limit of 1024 bytes",
        ),
    ] {
        let error = refuse(&mut write, &event);
        assert!(error.contains(reason) && error.starts_with("event `"), "{error}");
    }
    let chosen = write.push_to(&stream, PartitionId(0), &valid.as_ref()).unwrap_err();
    assert!(chosen.to_string().contains("its subject decides on its partition"), "{chosen}");
    write.push(&stream, &valid.as_ref()).unwrap();
    write.push(&stream, &event("a", "2").as_ref()).unwrap();
    write.push(&stream, &event("b", "1").as_ref()).unwrap();
    assert!(refuse(&mut write, &event("b", "2").as_ref()).contains("over 3 events"));
    assert_eq!((write.len(), write.is_empty()), (3, false));
    assert_eq!(versions(&store.append(write).await.unwrap()), [1, 2, 1]);
    // One that no write may hold is refused, and leaves nothing behind.
    let large = "x".repeat(100 << 10);
    let mut write = super::write(&store, &roomy, &[("a", "1")]);
    let error =
        write.push(&roomy, &EventRef { data: tw_types::Data::Text(large.as_bytes()), ..other.as_ref() });
    assert!(error.unwrap_err().to_string().contains("over 65536 bytes"));
    assert_eq!(versions(&store.append(write).await.unwrap()), [1]);
    let empty = store.append(store.write()).await.unwrap_err();
    assert!(matches!(empty, Error::InvalidWrite(_)));
    let mut pointless = super::write(&store, &stream, &[("a", "3")]);
    pointless.expect(&stream, "elsewhere", ExpectedVersion::None);
    assert!(matches!(store.append(pointless).await, Err(Error::InvalidWrite(_))));
    for options in [
        Options { index_bytes_max: 1, ..Options::default() },
        Options { write_bytes_max: 1 << 40, ..Options::default() },
    ] {
        let refused = crate::store::EventStore::open(
            world.log.clone(),
            world.state.clone(),
            world.env.clone(),
            options,
        );
        assert!(matches!(refused, Err(Error::InvalidOption { .. })));
    }
    assert_eq!(store.history(stream.id, "a", Version(1), 10).await.unwrap()[1].position.offset, Offset(1));
}
