//! Events of other regions, on logs that hold such: versions, what is here, what is refused, places in time.

use super::faults::Dice;
use super::{World, append, event, versions, write};
use crate::store::{Error, EventStore, Filter, Mark};
use crate::{Error as LogError, Log};
use std::sync::Arc;
use tw_types::{
    Compression, Epoch, Hlc, Offset, Origin, PartitionId, RegionId, Sequence, StreamDef, StreamPartition,
    Timestamp, Version,
};
use tw_wire::{BatchBuilder, Block, Placement, Run};

/// Another region, with its own clock.
pub(super) struct Other {
    region: RegionId,
    sequence: u64,
    hlc: Hlc,
}

impl Other {
    pub(super) fn new(region: u16, hlc: Hlc) -> Self {
        Self { region: RegionId(region), sequence: 0, hlc }
    }

    /// What it accepts next, each a subject and an id, as it comes over a link: with versions of its own.
    pub(super) fn accepts(&mut self, events: &[(&str, &str)]) -> Run {
        let mut builder = BatchBuilder::new();
        for (number, (subject, id)) in (900..).zip(events) {
            builder.push_versioned(&event(subject, id).as_ref(), Version(number));
        }
        let place = Placement {
            at: StreamPartition::new(tw_types::StreamId(77), PartitionId(0)),
            base_offset: Offset(5_000),
            first_hlc: self.hlc,
            region: self.region,
            epoch: Epoch(1),
            base_sequence: Sequence(self.sequence + 1),
        };
        let block = Block::new(&builder.finish(Compression::Lz4).unwrap(), &place);
        self.sequence += events.len() as u64;
        // Its next events come later.
        self.hlc = self.hlc.plus(events.len() as u64 + (7 << 16));
        block.runs(0..u32::MAX, Compression::None).unwrap().remove(0)
    }

    /// What is here once all that it has accepted is.
    fn mark(&self) -> Mark {
        let origin = Origin { region: self.region, epoch: Epoch(1), sequence: Sequence(self.sequence) };
        Mark { origin, hlc: Hlc::from_u64(self.hlc.as_u64() - (7 << 16) - 1) }
    }
}

/// What is here of other regions; of this one, so many events.
async fn received(store: &EventStore, at: StreamPartition, own: u64) -> Vec<Mark> {
    let here = store.log().region();
    let (ours, theirs): (Vec<_>, Vec<_>) =
        store.received(at).await.unwrap().into_iter().partition(|mark| mark.origin.region == here);
    let accepted: Vec<u64> = ours.iter().map(|mark| mark.origin.sequence.0).collect();
    assert_eq!(accepted, if own > 0 { vec![own] } else { vec![] });
    theirs
}

pub(super) async fn take(store: &EventStore, stream: &Arc<StreamDef>, run: &Run) -> Result<Vec<u64>, Error> {
    let mut write = store.write();
    write.push_foreign(stream, PartitionId(0), run.clone())?;
    Ok(versions(&store.append(write).await?))
}

pub(super) fn hour_ago(world: &World) -> Hlc {
    Hlc::new(world.env.clock.now_ms() - 3_600_000, 0)
}

/// Versions of a subject are dense in this region, whoever has accepted its events; origins stay.
pub async fn log_2_versions_are_dense_whoever_accepted_the_events(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let mut other = Other::new(9, hour_ago(&world));
    for stage in ["fresh", "stored", "restarted", "index lost"] {
        let store = world.store();
        let before = store.version(stream.id, "a").await.unwrap().0;
        let here = append(&store, &stream, &[("a", &format!("{stage}-1"))]).await.unwrap();
        assert_eq!(versions(&here), [before + 1]);
        let run = other.accepts(&[("a", &format!("{stage}-2")), ("b", "x"), ("a", &format!("{stage}-1"))]);
        let b = store.version(stream.id, "b").await.unwrap().0;
        assert_eq!(
            take(&store, &stream, &run).await.unwrap(),
            [before + 2, b + 1, before + 3],
            "an id is no identity"
        );
        let here = append(&store, &stream, &[("a", &format!("{stage}-3"))]).await.unwrap();
        assert_eq!(versions(&here), [before + 4]);
        drop(store);
        world.enter(stage);
    }
    let store = world.store();
    let at = StreamPartition::new(stream.id, PartitionId(0));
    assert_eq!(received(&store, at, 8).await, [other.mark()]);
    let history = store.history(stream.id, "a", Version(1), 100).await.unwrap();
    assert!(history.iter().zip(1..).all(|(stored, version)| stored.version == Version(version)));
    let theirs: Vec<u64> = history
        .iter()
        .filter(|stored| stored.origin.region == RegionId(9))
        .map(|stored| stored.origin.sequence.0)
        .collect();
    assert_eq!((history.len(), theirs), (16, vec![1, 3, 4, 6, 7, 9, 10, 12]));
}

/// What is here of a region is told with the event that comes next, and nothing comes twice: also after restarts, and while an append is
/// under way.
pub async fn reg_3_what_is_here_already_is_refused(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let at = StreamPartition::new(stream.id, PartitionId(0));
    let (mut one, mut two) = (Other::new(3, hour_ago(&world)), Other::new(4, hour_ago(&world)));
    assert_eq!(received(&world.store(), at, 0).await, []);
    for stage in ["fresh", "stored", "restarted", "index lost", "stored again", "restarted"] {
        let store = world.store();
        let (first, second, third) =
            (one.accepts(&[("a", "1"), ("", "2")]), two.accepts(&[("a", "3")]), one.accepts(&[("b", "4")]));
        for run in [&first, &second] {
            take(&store, &stream, run).await.unwrap();
        }
        // Under way, or just arrived.
        let mut writes = Vec::new();
        for _ in 0..2 {
            let mut write = store.write();
            write.push_foreign(&stream, PartitionId(0), third.clone()).unwrap();
            writes.push(store.submit(write).await);
        }
        let refused = writes.pop().unwrap();
        assert!(matches!(refused, Err(Error::Received { origin, .. }) if origin == third.origin));
        writes.pop().unwrap().unwrap().await.unwrap();
        for run in [&first, &second, &third] {
            assert!(matches!(take(&store, &stream, run).await, Err(Error::Received { .. })), "{stage}");
        }
        drop(store);
        world.enter(stage);
        assert_eq!(received(&world.store(), at, 0).await, [one.mark(), two.mark()], "{stage}");
    }
    let all = world.store().read(at, Offset::ZERO, &Filter::default(), 1_000, usize::MAX).await.unwrap();
    assert_eq!(all.events.len(), 6 * 4);
    // What retention has removed is still known.
    world.store().flush().unwrap();
    world.log.trim(at, Offset(20)).await.unwrap();
    world.restart();
    assert_eq!(received(&world.store(), at, 0).await, [one.mark(), two.mark()]);
}

/// A write is all or nothing: what another region has accepted, and what is said here about it.
pub async fn events_of_another_region_and_of_this_one_are_stored_together(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let (stream, beside) = (world.stream("s", 2).await, world.stream("beside", 1).await);
    let store = world.store();
    let mut other = Other::new(5, hour_ago(&world));
    let run = other.accepts(&[("a", "1"), ("b", "2")]);
    for expected in [Ok(3), Err(())] {
        let mut write = store.write();
        write.push_foreign(&stream, PartitionId(1), run.clone()).unwrap();
        write.push_to(&beside, PartitionId(0), &event("", "told").as_ref()).unwrap();
        let stored = store.append(write).await;
        assert_eq!(stored.as_ref().map(|stored| stored.events.len()).map_err(drop), expected, "{stored:?}");
    }
    let told = StreamPartition::new(beside.id, PartitionId(0));
    let told = store.read(told, Offset::ZERO, &Filter::default(), 9, 1 << 20).await.unwrap();
    assert_eq!(told.events.len(), 1);
}

/// Several runs of one partition, of several regions, are one step.
pub async fn reg_3_runs_of_several_regions_are_stored_together(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let at = StreamPartition::new(stream.id, PartitionId(0));
    let (mut one, mut two) = (Other::new(3, hour_ago(&world)), Other::new(4, hour_ago(&world)));
    let store = world.store();
    append(&store, &stream, &[("a", "0")]).await.unwrap();
    let runs = [
        one.accepts(&[("a", "1"), ("b", "1")]),
        two.accepts(&[("a", "2")]),
        one.accepts(&[("b", "2"), ("a", "3")]),
    ];
    let taken = |order: &[usize]| {
        let mut write = store.write();
        for index in order {
            write.push_foreign(&stream, PartitionId(0), runs[*index].clone()).unwrap();
        }
        write
    };
    for twice in [&[0, 0][..], &[0, 2, 1, 0], &[2, 0]] {
        assert!(matches!(store.append(taken(twice)).await, Err(Error::Received { .. })), "{twice:?}");
    }
    let stored = store.append(taken(&[0, 1, 2])).await.unwrap();
    assert_eq!(versions(&stored), [2, 1, 3, 2, 4]);
    let offsets: Vec<u64> = stored.events.iter().map(|event| event.position.offset.0).collect();
    assert_eq!(offsets, [1, 2, 3, 4, 5]);
    assert_eq!(received(&store, at, 1).await, [one.mark(), two.mark()]);
    assert_eq!(versions(&append(&store, &stream, &[("a", "4")]).await.unwrap()), [5]);
    drop(store);
    world.lose_index();
    assert_eq!(world.store().version(stream.id, "b").await.unwrap(), Version(2));
    assert_eq!(received(&world.store(), at, 2).await, [one.mark(), two.mark()]);
}

/// What cannot be is refused with a reason, and leaves no trace.
pub async fn what_breaks_a_rule_of_regions_is_refused(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    let mut other = Other::new(5, Hlc::new(world.env.clock.now_ms() + 3_600_000, 0));
    let run = other.accepts(&[("a", "1")]);
    let early = take(&store, &stream, &run).await;
    assert!(matches!(early, Err(Error::Log(LogError::Skewed { region: RegionId(5), .. }))), "{early:?}");
    let mut keyed = store.write();
    keyed.push_foreign(&stream, PartitionId(0), run.clone()).unwrap();
    keyed.idempotency_key("k");
    let mut mixed = write(&store, &stream, &[("a", "here")]);
    let refused = mixed.push_foreign(&stream, PartitionId(0), run.clone());
    for refused in [store.append(keyed).await.map(drop), refused] {
        assert!(matches!(refused, Err(Error::InvalidWrite(_))), "{refused:?}");
    }
    let mut foreign = store.write();
    foreign.push_foreign(&stream, PartitionId(0), run).unwrap();
    let refused = foreign.push(&stream, &event("a", "here").as_ref());
    assert!(matches!(refused, Err(Error::InvalidEvent { .. })), "{refused:?}");
    let here = append(&store, &stream, &[("a", "1")]).await.unwrap();
    assert_eq!(versions(&here), [1]);
}

/// The bounds of what clients write at once are not those of other regions' events; time does not run backwards; ids of other regions are never
/// looked at.
pub async fn what_other_regions_send_rises_in_time_and_may_be_large(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let mut other = Other::new(5, hour_ago(&world));
    // Two of them are longer than the shortest bound, and do not get shorter when they are compressed.
    let mut dice = Dice::new(5);
    let same: String = (0..40_000).map(|_| char::from(b'0' + dice.roll(40) as u8)).collect();
    let runs: Vec<Run> = (0..3).map(|_| other.accepts(&[("a", &same), ("b", &same)])).collect();
    world.options.write_bytes_max = 64 << 10;
    world.options.write_events_max = 3;
    let store = world.store();
    let mut write = store.write();
    for run in &runs[..2] {
        write.push_foreign(&stream, PartitionId(0), run.clone()).unwrap();
    }
    write.dedup_by_id(true);
    assert_eq!(versions(&store.append(write).await.unwrap()), [1, 1, 2, 2]);
    for first_hlc in [runs[1].first_hlc, runs[1].first_hlc.plus(1), Hlc::from_u64(1)] {
        let backwards = Run { first_hlc, ..runs[2].clone() };
        let refused = take(&store, &stream, &backwards).await;
        assert!(matches!(refused, Err(Error::Log(LogError::NotForeign { .. }))), "{refused:?}");
        let epoch = Epoch(2);
        let of_a_copy = Run { origin: Origin { epoch, ..backwards.origin }, ..backwards };
        let refused = take(&store, &stream, &of_a_copy).await;
        assert!(matches!(refused, Err(Error::Log(LogError::NotForeign { .. }))), "{refused:?}");
    }
    assert_eq!(take(&store, &stream, &runs[2]).await.unwrap(), [3, 3]);
}

/// Events of other regions come late, or are all that there is: a place in time is before everything that was accepted since.
pub async fn a_place_in_time_is_found_among_events_of_other_regions(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let store = world.store();
    // Which of the regions goes on with each step: 0 is this one.
    for (number, steps) in
        ["1112", "0102120", "1222222201", "10111111", "0000", "2121000012222222"].iter().enumerate()
    {
        let stream = world.stream(&format!("s{number}"), 1).await;
        let at = StreamPartition::new(stream.id, PartitionId(0));
        let start = world.env.clock.now_ms() - 40;
        let mut others = [Other::new(1, Hlc::new(start, 0)), Other::new(2, Hlc::new(start - 25, 3))];
        for (step, region) in steps.bytes().enumerate() {
            let ids = [format!("{step}-a"), format!("{step}-b"), format!("{step}-c")];
            let events: Vec<(&str, &str)> = ids.iter().map(|id| ("a", id.as_str())).collect();
            match usize::from(region - b'0').checked_sub(1) {
                Some(other) => drop(take(&store, &stream, &others[other].accepts(&events)).await.unwrap()),
                None => drop(append(&store, &stream, &events).await.unwrap()),
            }
        }
        let all = store.read(at, Offset::ZERO, &Filter::default(), 100, usize::MAX).await.unwrap().events;
        for millis in start as i64 - 30..start as i64 + 250 {
            let found = store.offset_at(at, Timestamp::from_millis(millis)).await.unwrap();
            let first = all.iter().find(|stored| stored.hlc.millis() as i64 >= millis);
            let expected = first.map_or(Offset(all.len() as u64), |stored| stored.position.offset);
            assert_eq!(found, expected, "{steps} at {}", millis - start as i64);
        }
    }
}
