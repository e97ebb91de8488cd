//! Definitions of streams, and the signals around them.

use super::{Engine, append, batch, name_of, ok, partition, put, read_all, stream};
use crate::{CONFIG_PARTITION, ConfigChange, Error, Log, NewStream};
use tw_types::{Compression, Offset, StreamOptions, Version};

/// A stream's whole life.
pub async fn streams_are_created_altered_and_dropped(engine: &dyn Engine) {
    let log = engine.create().await;
    let def = stream(&*log, "life", 2).await;
    let again = log.create_stream(NewStream::plain(name_of("life"), 2)).await;
    assert!(matches!(again, Err(Error::StreamExists(_))));
    let none = log.create_stream(NewStream::plain(name_of("none"), 0)).await;
    assert!(matches!(none, Err(Error::InvalidStream { .. })));
    let options = StreamOptions { retention_ms: Some(5_000), ..StreamOptions::default() };
    let changed = NewStream { options: options.clone(), ..NewStream::plain(name_of("life"), 2) };
    let altered = ok(log.alter_stream(changed).await);
    assert_eq!((altered.id, &altered.options), (def.id, &options));
    assert_eq!(ok(log.streams().get("life").cloned()).options, options);
    let wider = log.alter_stream(NewStream::plain(name_of("life"), 3)).await;
    assert!(matches!(wider, Err(Error::InvalidStream { .. })));
    put(&*log, partition(&def, 1), ["1"]).await;
    ok(log.drop_stream(&name_of("life")).await);
    assert!(matches!(log.drop_stream(&name_of("life")).await, Err(Error::NoStream(_))));
    assert!(matches!(log.bounds(partition(&def, 1)), Err(Error::NoStreamId(_))));
    let late = append(&*log, vec![(partition(&def, 1), batch(["2"], Compression::None), None)]).await;
    assert!(matches!(late, Err(Error::NoStreamId(_))));
    let new = stream(&*log, "life", 2).await;
    assert!(new.id > def.id, "the number of a dropped stream was given out again");
    assert_eq!(ok(log.bounds(partition(&new, 1))).end, Offset::ZERO);
}

/// The registry is a fold of `$config`, and what was dropped stays dropped.
pub async fn definitions_are_events_and_survive_a_reopen(engine: &dyn Engine) {
    let log = engine.create().await;
    for name in ["a", "b", "c"] {
        stream(&*log, name, 3).await;
    }
    ok(log.drop_stream(&name_of("b")).await);
    stream(&*log, "b", 1).await;
    let names = |log: &dyn Log| {
        log.streams().iter().map(|def| (def.name.to_string(), def.id.0, def.partitions)).collect::<Vec<_>>()
    };
    let expected = [("$config", 0, 1), ("a", 1, 3), ("b", 4, 1), ("c", 3, 3)]
        .map(|(name, id, p)| (name.to_owned(), id, p));
    assert_eq!(names(&*log), expected);
    let events = read_all(&*log, CONFIG_PARTITION, Offset::ZERO).await;
    let versions: Vec<_> =
        events.iter().map(|read| (read.event.subject.clone().unwrap_or_default(), read.version.0)).collect();
    let told = [("stream/a", 1), ("stream/b", 1), ("stream/c", 1), ("stream/b", 2), ("stream/b", 3)];
    assert_eq!(versions, told.map(|(subject, version)| (subject.to_owned(), version)));
    let log = engine.reopen(log).await;
    assert_eq!(names(&*log), expected);
    assert_eq!(log.streams().next_version(&name_of("b")), Version(4));
    assert_eq!(stream(&*log, "d", 1).await.id.0, 5);
}

/// `$config` takes other components' events, but neither a drop, nor a trim, nor other options, nor forged definitions. Nor
/// do the other streams of the platform take other options.
pub async fn the_config_stream_is_protected(engine: &dyn Engine) {
    let log = engine.create().await;
    let def = stream(&*log, "mine", 1).await;
    assert!(matches!(log.drop_stream(&name_of("$config")).await, Err(Error::InvalidStream { .. })));
    assert!(matches!(log.trim(CONFIG_PARTITION, Offset(1)).await, Err(Error::InvalidStream { .. })));
    let system = stream(&*log, "$cursors", 1).await;
    for name in ["$config", "$cursors"] {
        let options = StreamOptions { retention_ms: Some(5_000), ..StreamOptions::default() };
        let changed = NewStream { options, ..NewStream::plain(name_of(name), 1) };
        let altered = log.alter_stream(changed).await;
        assert!(matches!(&altered, Err(Error::InvalidStream { name: of, .. }) if of.as_str() == name));
    }
    assert_eq!(ok(log.streams().get("$cursors").cloned()).options, system.options);
    put(&*log, CONFIG_PARTITION, ["of another component"]).await;
    let mut builder = tw_wire::BatchBuilder::new();
    builder.push(&ConfigChange::Dropped((*def).clone()).to_event("forged".into()).as_ref());
    let forged = builder.finish(Compression::None).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(
        append(&*log, vec![(CONFIG_PARTITION, forged, None)]).await,
        Err(Error::InvalidStream { .. })
    ));
    assert_eq!(ok(log.bounds(CONFIG_PARTITION)).end, Offset(3));
}

/// Commits, ends, definitions.
pub async fn signals_rise_with_what_they_count(engine: &dyn Engine) {
    let log = engine.create().await;
    let (commits, definitions) = (log.commits(), log.definitions());
    let (commits_before, definitions_before) = (commits.get(), definitions.get());
    let at = partition(&*stream(&*log, "signalled", 1).await, 0);
    assert!(definitions.over(definitions_before).await > definitions_before);
    assert!(commits.over(commits_before).await > commits_before);
    let end = ok(log.end_signal(at));
    let (seen, _) = futures_util::future::join(end.over(2), async { put(&*log, at, 0..3).await }).await;
    assert_eq!(seen, 3);
}
