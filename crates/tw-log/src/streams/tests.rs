//! Definitions of streams: what is refused, and what is for good.

use super::*;
use tw_types::RegionId;

fn def(name: &str, id: u32) -> StreamDef {
    let Ok(ConfigChange::Created(def)) =
        Streams::new().create(NewStream::plain(StreamName::new(name).unwrap(), 1))
    else {
        panic!("a plain stream is refused");
    };
    StreamDef { id: StreamId(id), ..def }
}

/// Where compaction has left of a stream only that it was dropped.
#[test]
fn the_number_of_a_dropped_stream_is_taken_even_if_only_the_drop_is_known() {
    let mut streams = Streams::new();
    streams.apply(ConfigChange::Dropped(def("gone", 7)));
    let created = streams.create(NewStream::plain(StreamName::new("new").unwrap(), 1)).unwrap();
    assert_eq!(created.definition().id, StreamId(8));
}

/// As a log has it whose streams were altered when that was still possible.
#[test]
fn a_stream_of_the_platform_gets_its_default_options_back_and_no_others() {
    let mut streams = Streams::new();
    let parked = def("$parked", 1);
    let bounded = StreamOptions { retention_ms: Some(5_000), ..StreamOptions::default() };
    streams.apply(ConfigChange::Altered(StreamDef { options: bounded.clone(), ..parked.clone() }));
    let plain = NewStream::plain(parked.name.clone(), 1);
    let refused = streams.alter(NewStream { options: bounded, ..plain.clone() });
    assert!(matches!(refused, Err(Error::InvalidStream { .. })));
    assert_eq!(streams.alter(plain).unwrap().definition(), &parked);
}

#[test]
fn only_streams_that_can_be_merged_are_written_in_several_regions() {
    let streams = Streams::new();
    let new = |kind, options| {
        let plain = NewStream::plain(StreamName::new("s").unwrap(), 1);
        let options = StreamOptions { mode: StreamMode::ActiveActive, ..options };
        streams.create(NewStream { kind, options, ..plain })
    };
    new(StreamKind::Events, StreamOptions::default()).unwrap();
    let compact = StreamOptions { cleanup: Cleanup::Compact, ..StreamOptions::default() };
    for (kind, options) in [(StreamKind::Events, compact), (StreamKind::Table, StreamOptions::default())] {
        assert!(matches!(new(kind, options), Err(Error::InvalidStream { .. })));
    }
}

#[test]
fn the_first_home_of_a_stream_is_for_good() {
    let mut streams = Streams::new();
    let at = |mode, home: Option<u16>| StreamOptions {
        mode,
        home: home.map(RegionId),
        ..StreamOptions::default()
    };
    let plain = NewStream::plain(StreamName::new("s").unwrap(), 1);
    let home = at(StreamMode::HomeRegion, Some(2));
    streams.apply(streams.create(NewStream { options: home.clone(), ..plain.clone() }).unwrap());
    for other in [at(StreamMode::HomeRegion, Some(3)), at(StreamMode::ActiveActive, None)] {
        let refused = streams.alter(NewStream { options: other, ..plain.clone() });
        assert!(matches!(refused, Err(Error::InvalidStream { .. })));
    }
    let kept = StreamOptions { retention_ms: Some(5_000), ..home };
    streams.alter(NewStream { options: kept, ..plain }).unwrap();
}

#[test]
fn of_the_platforms_streams_only_those_of_all_regions_are_in_several() {
    let options = StreamOptions { mode: StreamMode::ActiveActive, ..StreamOptions::default() };
    let create = |name: &str| {
        let plain = NewStream::plain(StreamName::new(name).unwrap(), 1);
        Streams::new().create(NewStream { options: options.clone(), ..plain })
    };
    create("$homes").unwrap();
    create("$seen.2").unwrap();
    assert!(matches!(create("$parked"), Err(Error::InvalidStream { .. })));
}

#[test]
fn only_an_engine_that_can_show_topics_attaches_one_and_for_good() {
    let mut streams = Streams::new();
    let options = StreamOptions { topic: Some("orders".to_owned()), ..StreamOptions::default() };
    let new = NewStream { options, ..NewStream::plain(StreamName::new("shown").unwrap(), 3) };
    assert!(matches!(streams.create(new.clone()), Err(Error::InvalidStream { .. })));
    streams.apply(streams.attach(new.clone()).unwrap());
    let other = StreamOptions { topic: None, ..StreamOptions::default() };
    let refused = streams.alter(NewStream { options: other, ..new.clone() });
    assert!(matches!(refused, Err(Error::InvalidStream { .. })));
    streams.alter(new).unwrap();
}
