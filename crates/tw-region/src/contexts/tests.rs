//! What was seen at any time is found again, however much was told since.

use super::*;
use proptest::prelude::*;
use tw_env::Env;
use tw_log::store::{EventStore, Options};
use tw_log::{MemoryLog, NewStream};
use tw_types::{Epoch, Origin, Sequence, StreamName};

/// That of a log in memory.
const US: RegionId = RegionId(0);
const THEM: RegionId = RegionId(2);

/// A log with what two regions have told.
struct World {
    events: EventStore,
    /// What was told, and when.
    told: BTreeMap<RegionId, Vec<(Hlc, Seen)>>,
}

impl World {
    fn new() -> Self {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Env::real()));
        let state = Arc::new(tw_state::MemoryStore::new());
        let events = EventStore::open(log, state, Env::real(), Options::default()).unwrap();
        for name in ["$seen.0", "$seen.2", "orders"] {
            let new = NewStream::plain(StreamName::new(name).unwrap(), 1);
            pollster::block_on(events.log().create_stream(new)).unwrap();
        }
        Self { events, told: BTreeMap::new() }
    }

    fn partition(&self, name: &str) -> StreamPartition {
        StreamPartition::new(self.events.log().streams().get(name).unwrap().id, PartitionId(0))
    }

    fn tell(&mut self, region: RegionId, seen: Seen) {
        let streams = self.events.log().streams();
        let (name, id) =
            (seen_stream(region), format!("{}", self.told.values().map(Vec::len).sum::<usize>()));
        let mut write = self.events.write();
        write.push_to(streams.get(&name).unwrap(), PartitionId(0), &seen::event(&seen, id).as_ref()).unwrap();
        pollster::block_on(self.events.append(write)).unwrap();
        let at = self.partition(&name);
        let end = self.events.log().bounds(at).unwrap().end;
        let last = Offset(end.0 - 1);
        let blocks = pollster::block_on(self.events.log().read(at, last, 1)).unwrap();
        let hlc = blocks.last().unwrap().header().last_hlc;
        self.told.entry(region).or_default().push((hlc, seen));
    }

    /// What a region had seen at a time, looked up one by one.
    fn expected(&self, region: RegionId, until: Hlc) -> Seen {
        let told = self.told.get(&region).into_iter().flatten();
        told.take_while(|(at, _)| *at <= until).last().map(|(_, seen)| seen.clone()).unwrap_or_default()
    }

    fn contexts(&self, chunk_entries: usize) -> Contexts {
        Contexts { chunk_entries, ..Contexts::new(self.events.log().clone(), [THEM]) }
    }
}

fn stamp(region: RegionId, hlc: Hlc) -> Stamp {
    Stamp { hlc, origin: Origin { region, epoch: Epoch(1), sequence: Sequence(1) } }
}

fn seen(region: RegionId, until: Hlc) -> Seen {
    [(region, until)].into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_seen_is_the_last_that_was_told_before(
        told in proptest::collection::vec(proptest::bool::ANY, 1..60),
        chunk_entries in 1usize..9,
        again in proptest::collection::vec((proptest::bool::ANY, 0usize..60), 0..40),
    ) {
        let mut world = World::new();
        // One that goes along, and so finds the last entries first.
        let along = world.contexts(chunk_entries);
        for (number, is_us) in told.iter().enumerate() {
            let (region, other) = if *is_us { (US, THEM) } else { (THEM, US) };
            world.tell(region, seen(other, Hlc::from_u64(number as u64 + 1)));
            let now = world.told[&region].last().unwrap().0;
            let found = along.of(stamp(region, now)).unwrap();
            prop_assert_eq!(found.seen, world.expected(region, Hlc::from_u64(now.as_u64() - 1)));
        }
        let behind = world.contexts(chunk_entries);
        for (is_us, number) in again {
            let region = if is_us { US } else { THEM };
            let all: Vec<Hlc> = world.told.values().flatten().map(|(at, _)| *at).collect();
            let at = all[number % all.len()];
            for contexts in [&along, &behind] {
                prop_assert_eq!(&contexts.of(stamp(region, at)).unwrap().seen, &world.expected(region, Hlc::from_u64(at.as_u64() - 1)));
            }
        }
    }
}

#[test]
fn stable_is_what_every_member_has_seen_of_what_was_applied() {
    let mut world = World::new();
    let contexts = world.contexts(4);
    let here = contexts.here(world.partition("orders")).unwrap().0;
    assert_eq!(contexts.stable(&here).unwrap(), Seen::new(), "the other region has told nothing");
    world.tell(THEM, seen(US, Hlc::from_u64(7)));
    world.tell(US, seen(THEM, world.told[&THEM][0].0));
    let (here, end) = contexts.here(world.partition("orders")).unwrap();
    assert_eq!(end, Offset::ZERO);
    let told = world.told[&THEM][0].0;
    assert_eq!(here.of(THEM), told);
    let stable: Seen = [(US, Hlc::from_u64(7)), (THEM, told)].into_iter().collect();
    assert_eq!(
        contexts.stable(&here).unwrap(),
        stable,
        "each knows of itself what it has told, of the other what it names"
    );
    let behind = seen(US, here.of(US));
    assert_eq!(
        contexts.stable(&behind).unwrap(),
        Seen::new(),
        "of which nothing is applied, that knows nothing"
    );
}

#[test]
fn a_log_that_is_no_region_s_knows_all_that_was_applied() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Env::real()));
    let contexts = Contexts::new(log, []);
    let applied = seen(RegionId(0), Hlc::from_u64(9));
    assert_eq!(contexts.stable(&applied).unwrap(), applied);
    assert_eq!(contexts.of(stamp(RegionId(0), Hlc::ZERO)).unwrap().seen, Seen::new());
}
