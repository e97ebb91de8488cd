//! A log whose epoch was raised, with an event store on it: what comes back, what is refused, and what is counted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::path::Path;
use std::sync::Arc;
use tw_env::Env;
use tw_log::store::{Error, EventStore, Mark};
use tw_log::{EmbeddedLog, Log, NewStream, Options};
use tw_state::MemoryStore;
use tw_types::{
    Compression, Epoch, Event, Hlc, Offset, Origin, PartitionId, RegionId, Sequence, StreamDef, StreamMode,
    StreamName, StreamOptions, StreamPartition, Version,
};
use tw_wire::{BatchBuilder, Block, Placement, Run};

const HERE: RegionId = RegionId(4);

fn options() -> Options {
    Options {
        segment_bytes: 1 << 20,
        append_bytes_max: 256 << 10,
        group_bytes_max: 64 << 10,
        region: HERE,
        ..Options::default()
    }
}

fn open(folder: &Path, state: &Arc<MemoryStore>) -> EventStore {
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(folder, options(), Env::real()).unwrap());
    EventStore::open(log, state.clone(), Env::real(), tw_log::store::Options::default()).unwrap()
}

fn raise(folder: &Path) -> Epoch {
    EmbeddedLog::raise_epoch(folder, &options(), &Env::real()).unwrap()
}

async fn stream(store: &EventStore, name: &str, mode: StreamMode) -> Arc<StreamDef> {
    let options = StreamOptions { mode, ..StreamOptions::default() };
    let new = NewStream { options, ..NewStream::plain(StreamName::new(name).unwrap(), 1) };
    store.log().create_stream(new).await.unwrap()
}

fn event(id: &str) -> Event {
    Event {
        id: id.into(),
        source: "/s".into(),
        ty: "t".into(),
        subject: Some("a".into()),
        ..Event::default()
    }
}

async fn put(store: &EventStore, def: &Arc<StreamDef>, id: &str) -> Result<u64, Error> {
    let mut write = store.write();
    write.push(def, &event(id).as_ref()).unwrap();
    store.append(write).await.map(|appended| appended.events[0].version.0)
}

/// An event of this region, as another one sends it back.
async fn take(
    store: &EventStore,
    def: &Arc<StreamDef>,
    epoch: u32,
    sequence: u64,
    hlc: Hlc,
) -> Result<(), Error> {
    let mut builder = BatchBuilder::new();
    builder.push_versioned(&event(&format!("{epoch}.{sequence}")).as_ref(), Version(77));
    let place = Placement {
        at: StreamPartition::new(tw_types::StreamId(900), PartitionId(0)),
        base_offset: Offset(5_000),
        first_hlc: hlc,
        region: HERE,
        epoch: Epoch(epoch),
        base_sequence: Sequence(sequence),
    };
    let block = Block::new(&builder.finish(Compression::None).unwrap(), &place);
    let run: Run = block.runs(0..u32::MAX, Compression::None).unwrap().remove(0);
    let mut write = store.write();
    write.push_foreign(def, PartitionId(0), run).unwrap();
    store.append(write).await.map(drop)
}

async fn marks(store: &EventStore, def: &StreamDef) -> Vec<(u32, u64)> {
    let of = |mark: &Mark| (mark.origin.epoch.0, mark.origin.sequence.0);
    let marks = store.received(StreamPartition::new(def.id, PartitionId(0))).await.unwrap();
    assert!(marks.iter().all(|mark| mark.origin.region == HERE));
    marks.iter().map(of).collect()
}

#[tokio::test]
async fn reg_3_what_comes_back_of_an_earlier_epoch_is_taken_once_and_counted_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, mut state) = (folder.path().join("log"), Arc::new(MemoryStore::new()));
    let store = open(&folder, &state);
    let def = stream(&store, "s", StreamMode::ActiveActive).await;
    for n in 1..=3 {
        assert_eq!(put(&store, &def, &format!("1.{n}")).await.unwrap(), n);
    }
    assert_eq!(marks(&store, &def).await, [(1, 3)]);
    let mut hlc = store.received(StreamPartition::new(def.id, PartitionId(0))).await.unwrap()[0].hlc;
    store.flush().unwrap();
    drop(store);
    assert_eq!(raise(&folder), Epoch(2));
    for (round, index) in ["stored", "lost", "stored"].into_iter().enumerate() {
        let n = round as u64;
        if index == "lost" {
            state = Arc::new(MemoryStore::new());
        }
        let store = open(&folder, &state);
        assert_eq!(store.log().epoch(), Epoch(2));
        hlc = hlc.plus(5);
        take(&store, &def, 1, 4 + n, hlc).await.unwrap();
        assert_eq!(marks(&store, &def).await, [(1, 4 + n)]);
        let twice = take(&store, &def, 1, 4 + n, hlc.plus(1)).await;
        assert!(matches!(twice, Err(Error::Received { .. })), "{twice:?}");
        let current = take(&store, &def, 2, 1, hlc.plus(1)).await;
        assert!(matches!(current, Err(Error::Log(tw_log::Error::NotForeign { .. }))), "{current:?}");
        store.flush().unwrap();
    }
    let store = open(&folder, &state);
    let at = StreamPartition::new(def.id, PartitionId(0));
    assert_eq!(store.log().accepted(at).unwrap(), Some(0));
    // LOG-2: versions go on, whatever they were elsewhere.
    assert_eq!(put(&store, &def, "2.1").await.unwrap(), 7);
    assert_eq!(store.log().accepted(at).unwrap(), Some(1));
    assert_eq!(marks(&store, &def).await, [(1, 6), (2, 1)]);
    // Its time would run backwards now.
    let late = take(&store, &def, 1, 7, hlc.plus(9)).await;
    assert!(matches!(late, Err(Error::Log(tw_log::Error::NotForeign { .. }))), "{late:?}");
    let history = store.history(def.id, "a", Version(1), 100).await.unwrap();
    let found: Vec<(Origin, u64)> = history.iter().map(|one| (one.origin, one.version.0)).collect();
    let of = |(epoch, sequence)| Origin { region: HERE, epoch: Epoch(epoch), sequence: Sequence(sequence) };
    let expected: Vec<_> = (1..=6).map(|n| (1, n)).chain([(2, 1)]).map(of).zip(1..).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_store_that_is_held_takes_only_what_others_do_not_see_and_what_comes_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, state) = (folder.path().join("log"), Arc::new(MemoryStore::new()));
    let store = open(&folder, &state);
    let shared = stream(&store, "shared", StreamMode::ActiveActive).await;
    let local = stream(&store, "local", StreamMode::Local).await;
    put(&store, &shared, "1.1").await.unwrap();
    drop(store);
    raise(&folder);
    let store = open(&folder, &state);
    store.hold(true);
    let refused = put(&store, &shared, "2.1").await.unwrap_err();
    assert!(refused.to_string().contains("`shared`"), "{refused}");
    assert_eq!(put(&store, &local, "l").await.unwrap(), 1);
    take(&store, &shared, 1, 2, store.log().settled().plus(1)).await.unwrap();
    let mut write = store.write();
    write.push(&shared, &event("the end").as_ref()).unwrap();
    write.while_held();
    store.append(write).await.unwrap();
    store.hold(false);
    assert_eq!(put(&store, &shared, "2.2").await.unwrap(), 4);
    assert_eq!(marks(&store, &shared).await, [(1, 2), (2, 2)]);
}
