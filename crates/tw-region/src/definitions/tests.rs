//! Regions that define things without knowing of each other, and agree in the end.

use super::fold::is_shared;
use super::{Agreed, Definition, Step};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tw_log::{ConfigChange, NewStream, Streams};
use tw_merge::Stamp;
use tw_types::{
    Column, ColumnType, Epoch, EventRef, Hlc, Origin, RegionId, Schema, Sequence, StreamMode, StreamName,
    StreamOptions,
};

const NAMES: [&str; 2] = ["orders", "visits"];

fn stream(name: &str, partitions: u32, columns: &[&str]) -> NewStream {
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        ty: ColumnType::Int8,
        nullable: true,
        class: tw_types::DataClass::default(),
        merge: None,
    };
    let schema = Schema { version: 1, columns: columns.iter().map(column).collect(), key: Vec::new() };
    let options = StreamOptions { mode: StreamMode::ActiveActive, ..StreamOptions::default() };
    let name = StreamName::new(name).unwrap();
    NewStream { schema: Some(schema), options, ..NewStream::plain(name, partitions) }
}

/// A region: its streams, and what was said to it.
#[derive(Clone)]
struct Region {
    number: u16,
    here: Streams,
    agreed: Agreed,
    sequence: u64,
    /// How much of what each region has said is here.
    heard: [usize; 3],
}

impl Region {
    fn new(number: u16) -> Self {
        Self { number, here: Streams::new(), agreed: Agreed::default(), sequence: 0, heard: [0; 3] }
    }

    fn take(&mut self, change: tw_log::Result<ConfigChange>) {
        self.here.apply(change.unwrap());
    }

    /// Does what is to be done; what cannot be.
    fn apply(&mut self) -> Vec<StreamName> {
        loop {
            let (mut differs, mut has_done) = (Vec::new(), false);
            for step in self.agreed.steps(&self.here) {
                has_done |= !matches!(step, Step::Differs { .. });
                match step {
                    Step::Create(new) => self.take(self.here.create(new)),
                    Step::Alter(new) => self.take(self.here.alter(new)),
                    Step::Drop(name) => self.take(self.here.drop_stream(&name)),
                    Step::Differs { name, .. } => differs.push(name),
                }
            }
            if has_done {
                continue;
            }
            if differs.is_empty() {
                assert_eq!(self.agreed.untold(&self.here), [], "everything that is here was said");
            }
            return differs;
        }
    }

    fn shown(&self) -> BTreeMap<String, (u32, Vec<String>, Option<u64>)> {
        let shared = self.here.iter().filter(|def| is_shared(def));
        let show = |def: &tw_types::StreamDef| {
            let columns = def.schema.iter().flat_map(|schema| &schema.columns);
            let mut columns: Vec<String> = columns.map(|column| column.name.clone()).collect();
            columns.sort();
            (def.name.to_string(), (def.partitions, columns, def.options.replaces))
        };
        shared.map(|def| show(def)).collect()
    }
}

/// Three regions that define things and hear of each other's definitions, each in the order of causes.
struct World {
    regions: Vec<Region>,
    said: Vec<Vec<(Stamp, Definition, [usize; 3])>>,
    now: u64,
}

impl World {
    fn new() -> Self {
        Self { regions: (1..=3).map(Region::new).collect(), said: vec![Vec::new(); 3], now: 1_000 }
    }

    fn say(&mut self, at: usize, definition: Definition) {
        self.now += 1;
        let region = &mut self.regions[at];
        region.sequence += 1;
        let origin =
            Origin { region: RegionId(region.number), epoch: Epoch(1), sequence: Sequence(region.sequence) };
        let stamp = Stamp { hlc: Hlc::from_u64(self.now << 16), origin };
        region.agreed.learn(stamp, definition.clone());
        let knew = region.heard;
        region.heard[at] += 1;
        self.said[at].push((stamp, definition, knew));
    }

    /// What a statement does: it is looked at, said, and done.
    fn state(&mut self, at: usize, name: &str, what: &What) {
        let region = &self.regions[at];
        let known = region.here.get(name).ok().cloned();
        let is_told = region.agreed.steps(&region.here).is_empty();
        match (what, known) {
            (What::Create { partitions, column }, None) => {
                let mut new = stream(name, *partitions, &[column.as_str()]);
                new.options.replaces = region.agreed.replaces(name);
                self.say(at, Definition::StreamCreated(new));
            }
            (What::Add { column }, Some(def)) if is_told => {
                let mut new = stream(name, def.partitions, &[]);
                let mut schema = def.schema.clone().unwrap();
                if schema.column(column).is_none() {
                    schema.columns.extend(stream(name, 1, &[column.as_str()]).schema.unwrap().columns);
                }
                (new.schema, new.options) = (Some(schema), def.options.clone());
                self.say(at, Definition::StreamAltered(new));
            }
            (What::Drop, Some(def)) if is_told => {
                let (name, replaces) = (def.name.clone(), def.options.replaces);
                self.say(at, Definition::StreamDropped { name, replaces });
            }
            _ => {}
        }
        self.regions[at].apply();
    }

    /// Lets a region hear the next thing that another one has said, if it has heard all that that one had heard.
    fn hear(&mut self, at: usize, from: usize) -> bool {
        let Some((stamp, definition, knew)) = self.said[from].get(self.regions[at].heard[from]).cloned()
        else {
            return false;
        };
        let region = &mut self.regions[at];
        let is_next =
            knew.iter().zip(region.heard).enumerate().all(|(of, (knew, heard))| of == at || *knew <= heard);
        if is_next {
            region.heard[from] += 1;
            region.agreed.learn(stamp, definition);
            region.apply();
        }
        is_next
    }
}

#[derive(Debug, Clone)]
enum What {
    Create { partitions: u32, column: String },
    Add { column: String },
    Drop,
}

#[derive(Debug, Clone)]
enum Event {
    State(usize, &'static str, What),
    Hear(usize, usize),
    Restart(usize),
}

fn any_event() -> impl Strategy<Value = Event> {
    let column = || prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let what = prop_oneof![
        3 => (1..3u32, column()).prop_map(|(partitions, column)| What::Create { partitions, column }),
        3 => column().prop_map(|column| What::Add { column }),
        2 => Just(What::Drop),
    ];
    prop_oneof![
        3 => (0..3usize, prop::sample::select(NAMES.to_vec()), what).prop_map(|(at, name, what)| Event::State(at, name, what)),
        4 => (0..3usize, 0..3usize).prop_map(|(at, from)| Event::Hear(at, from)),
        1 => (0..3usize).prop_map(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn reg_1_all_regions_agree_on_what_is_defined(events in prop::collection::vec(any_event(), 1..60)) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::State(at, name, what) => world.state(at, name, &what),
                Event::Hear(at, from) if at != from => drop(world.hear(at, from)),
                Event::Hear(..) => {}
                Event::Restart(at) => {
                    // What was said is read anew, in whatever order it came.
                    let heard = world.regions[at].heard;
                    let mut agreed = Agreed::default();
                    for from in [2, 0, 1] {
                        for (stamp, definition, _) in world.said[from].iter().take(heard[from]).cloned() {
                            agreed.learn(stamp, definition);
                        }
                    }
                    world.regions[at].agreed = agreed;
                    world.regions[at].apply();
                }
            }
        }
        while (0..9).any(|pair| pair / 3 != pair % 3 && world.hear(pair / 3, pair % 3)) {}
        for region in &mut world.regions {
            // Somebody drops what cannot be put together, here alone.
            for name in region.apply() {
                region.take(region.here.drop_stream(&name));
            }
            prop_assert_eq!(region.apply(), Vec::<StreamName>::new());
            prop_assert_eq!(region.agreed.steps(&region.here), vec![]);
        }
        prop_assert_eq!(world.regions[0].shown(), world.regions[1].shown());
        prop_assert_eq!(world.regions[0].shown(), world.regions[2].shown());
    }

    #[test]
    fn any_bytes_are_read_or_passed_over(data in prop::collection::vec(any::<u8>(), 0..200), ty in 0..5usize) {
        let ty = ["tradewind.stream.created", "tradewind.stream.dropped", "tradewind.projection.defined", "tradewind.projection.dropped", "x"][ty];
        let event = tw_types::Event { ty: ty.into(), data: tw_types::Data::Json(data), ..Default::default() };
        let _no_panic = Definition::read(&event.as_ref());
    }
}

fn stamp(at: u64, region: u16) -> Stamp {
    let origin = Origin { region: RegionId(region), epoch: Epoch(1), sequence: Sequence(at) };
    Stamp { hlc: Hlc::from_u64(at), origin }
}

#[test]
fn what_is_said_reads_as_it_was() {
    let all = [
        Definition::StreamCreated(stream("orders", 3, &["total"])),
        Definition::StreamAltered(stream("orders", 3, &["total"])),
        Definition::StreamDropped { name: StreamName::new("orders").unwrap(), replaces: Some(7) },
        Definition::Projection { name: "revenue".into(), query: "SELECT 1".into() },
        Definition::ProjectionDropped { name: "revenue".into() },
    ];
    for definition in all {
        let event = definition.event("1".into());
        let read: EventRef<'_> = event.as_ref();
        assert_eq!(Definition::read(&read), Some(definition));
    }
    let mut own = stream("orders", 3, &[]);
    own.name = StreamName::new("$homes").unwrap();
    assert_eq!(
        Definition::read(&Definition::StreamCreated(own).event("1".into()).as_ref()),
        None,
        "the platform's own"
    );
}

#[test]
fn a_stream_that_was_dropped_and_created_anew_replaces_the_one_that_is_here() {
    let (mut agreed, mut region) = (Agreed::default(), Region::new(2));
    agreed.learn(stamp(1, 1), Definition::StreamCreated(stream("orders", 1, &["a"])));
    region.agreed = agreed.clone();
    region.apply();
    // It was away while this happened.
    let name = StreamName::new("orders").unwrap();
    agreed.learn(stamp(2, 1), Definition::StreamDropped { name: name.clone(), replaces: None });
    // Somebody else drops the same one a moment later, and somebody alters it.
    agreed.learn(stamp(4, 3), Definition::StreamDropped { name, replaces: None });
    agreed.learn(stamp(5, 3), Definition::StreamAltered(stream("orders", 1, &["a", "b"])));
    let mut anew = stream("orders", 2, &["a"]);
    anew.options.replaces = agreed.replaces("orders");
    assert_eq!(anew.options.replaces, Some(2));
    agreed.learn(stamp(3, 1), Definition::StreamCreated(anew.clone()));
    region.agreed = agreed;
    assert_eq!(region.agreed.steps(&region.here), [Step::Drop(anew.name.clone())]);
    region.take(region.here.drop_stream(&anew.name));
    assert_eq!(region.agreed.steps(&region.here), [Step::Create(anew)]);
}

#[test]
fn what_does_not_fit_together_is_told_with_the_remedy() {
    let mut agreed = Agreed::default();
    agreed.learn(stamp(1, 1), Definition::StreamCreated(stream("orders", 1, &["a"])));
    let mut here = Streams::new();
    here.apply(here.create(stream("orders", 2, &["a"])).unwrap());
    let differs = |agreed: &Agreed, here: &Streams| match agreed.steps(here).as_slice() {
        [Step::Differs { why, .. }] => why.clone(),
        other => panic!("{other:?}"),
    };
    let why = differs(&agreed, &here);
    assert!(
        why.contains("that region 1 has defined: their numbers of partitions differ; drop it here"),
        "{why}"
    );
    let mut local = stream("orders", 1, &["a"]);
    local.options.mode = StreamMode::Local;
    let mut here = Streams::new();
    here.apply(here.create(local).unwrap());
    let why = differs(&agreed, &here);
    assert!(why.contains("of this region alone: drop it, or make it active-active, too"), "{why}");
}

#[test]
fn of_a_projection_what_was_said_last_counts() {
    let mut agreed = Agreed::default();
    let defined = |query: &str| Definition::Projection { name: "revenue".into(), query: query.into() };
    agreed.learn(stamp(5, 2), defined("two"));
    agreed.learn(stamp(4, 1), Definition::ProjectionDropped { name: "revenue".into() });
    agreed.learn(stamp(3, 3), defined("three"));
    assert_eq!(agreed.projections().collect::<Vec<_>>(), [("revenue", RegionId(2), Some("two"))]);
    agreed.learn(stamp(6, 1), Definition::ProjectionDropped { name: "revenue".into() });
    assert_eq!(agreed.projections().collect::<Vec<_>>(), [("revenue", RegionId(1), None)]);
}
