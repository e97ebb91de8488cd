//! Rows that are merged: the same in every region, whatever order changes come in, and whatever was forgotten meanwhile.

use super::config;
use crate::catalog::Catalog;
use crate::merged::Knowledge;
use crate::plan::{ProjectionPlan, compile};
use crate::rows::columns::TableColumns;
use crate::state::layout::{self, Kind};
use crate::view::ViewReader;
use crate::view::processor::{Around, ViewProcessor};
use datafusion::arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_log::{NewStream, Streams};
use tw_merge::{Context, Seen, Stamp};
use tw_process::{ApplyError, Processor as _};
use tw_state::{Batch, MemoryStore, Range, Store};
use tw_types::{
    Column, Data, Epoch, EventRef, Hlc, Merge, Offset, Origin, PartitionId, RegionId, Schema, Sequence,
    StoredRef, StreamMode, StreamName, StreamOptions, StreamPartition, Version,
};

const REGIONS: u16 = 3;
const VIEWS: &[&str] = &[
    "SELECT name, count(*) AS n, sum(visits) AS v, array_agg(_subject ORDER BY _subject) AS who FROM s GROUP BY name",
    "SELECT _subject AS who, best FROM s WHERE visits > 0",
    "SELECT last(name) AS l, max(best) AS b, count(tags) AS t, min(trail) AS m FROM s",
];

/// What is written, as JSON; None deletes.
type Said = Option<&'static str>;

#[derive(Debug, Clone)]
enum Step {
    Write {
        region: u16,
        later: u64,
        subject: &'static str,
        said: Said,
    },
    /// Everything that one region has comes to another one, which says so.
    Exchange {
        from: u16,
        to: u16,
    },
}

/// A change as its region has accepted it.
#[derive(Debug, Clone)]
struct Fact {
    stamp: Stamp,
    subject: &'static str,
    said: Said,
}

/// A region: what is in its log, in that order, and what it had seen when.
#[derive(Debug, Clone, Default)]
struct Region {
    clock: Hlc,
    log: Vec<Fact>,
    seen: Seen,
    accepted: u64,
    told: Vec<(Hlc, Seen)>,
}

#[derive(Debug, Clone, Default)]
struct World {
    regions: Vec<Region>,
}

impl World {
    fn played(steps: &[Step]) -> Self {
        let mut world = Self { regions: vec![Region::default(); usize::from(REGIONS)] };
        for step in steps {
            match step {
                Step::Write { region, later, subject, said } => world.write(*region, *later, subject, *said),
                Step::Exchange { from, to } => world.exchange(*from, *to),
            }
        }
        for (from, to) in
            (0..REGIONS).flat_map(|from| (0..REGIONS).map(move |to| (from, to))).chain([(2, 0), (2, 1)])
        {
            world.exchange(from, to);
        }
        world
    }

    fn write(&mut self, number: u16, later: u64, subject: &'static str, said: Said) {
        let region = &mut self.regions[usize::from(number)];
        region.clock = region.clock.plus(later);
        region.accepted += 1;
        let origin =
            Origin { region: RegionId(number), epoch: Epoch(1), sequence: Sequence(region.accepted) };
        region.log.push(Fact { stamp: Stamp { hlc: region.clock, origin }, subject, said });
    }

    fn exchange(&mut self, from: u16, to: u16) {
        if from == to {
            return;
        }
        let Region { log, mut seen, clock, .. } = self.regions[usize::from(from)].clone();
        seen.raise(RegionId(from), clock);
        let region = &mut self.regions[usize::from(to)];
        for fact in log {
            if fact.stamp.region() != RegionId(to) && !region.seen.holds(&fact.stamp) {
                region.log.push(fact);
            }
        }
        seen.forget(RegionId(to));
        region.seen.join(&seen);
        let latest = region.seen.iter().map(|(_, until)| until).max().unwrap_or_default();
        region.clock = region.clock.max(latest).plus(1);
        region.told.push((region.clock, region.seen.clone()));
    }

    fn at(&self, region: RegionId, until: Hlc) -> Seen {
        let told = self.regions[usize::from(region.0)].told.iter();
        told.take_while(|(at, _)| *at <= until).last().map(|(_, seen)| seen.clone()).unwrap_or_default()
    }
}

/// How what is stable is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stable {
    /// As it should be.
    Known,
    /// Nothing ever is: nothing is forgotten.
    Never,
    /// Whatever is applied is taken for it: as if there were one region.
    Always,
}

/// What a region knows of all.
#[derive(Debug)]
struct Known {
    world: World,
    me: usize,
    stable: Stable,
}

impl Knowledge for Known {
    fn context(&self, stamp: Stamp) -> tw_log::Result<Context> {
        let before = Hlc::from_u64(stamp.hlc.as_u64() - 1);
        Ok(Context { stamp, seen: self.world.at(stamp.region(), before) })
    }

    fn here(&self, _at: StreamPartition) -> tw_log::Result<(Seen, Offset)> {
        let Region { seen, clock, log, .. } = &self.world.regions[self.me];
        let mut here = seen.clone();
        here.raise(RegionId(self.me as u16), *clock);
        Ok((here, Offset(log.len() as u64)))
    }

    fn stable(&self, applied: &Seen) -> tw_log::Result<Seen> {
        let row = |region: u16| {
            let until = applied.of(RegionId(region));
            let mut row = self.world.at(RegionId(region), until);
            row.raise(RegionId(region), until);
            row
        };
        Ok(match self.stable {
            Stable::Never => Seen::new(),
            Stable::Always => applied.clone(),
            Stable::Known => {
                let mut stable = row(0);
                (1..REGIONS).for_each(|region| stable.meet(&row(region)));
                stable
            }
        })
    }
}

fn catalog() -> Catalog {
    let column = |name: &str, ty: &str, merge: Merge| Column {
        name: name.into(),
        ty: ty.parse().unwrap(),
        nullable: !matches!(merge, Merge::Counter | Merge::Set),
        class: Default::default(),
        merge: Some(merge),
    };
    let columns = vec![
        column("name", "text", Merge::Lww),
        column("best", "integer", Merge::Max),
        column("visits", "bigint", Merge::Counter),
        column("tags", "json", Merge::Set),
        // What came first is in front.
        column("trail", "text", "custom(right(coalesce(old, '') || new, 9))".parse().unwrap()),
    ];
    let plain = NewStream::plain(StreamName::new("s").unwrap(), 1);
    let schema = Some(Schema { version: 1, columns, key: Vec::new() }.completed());
    let options = StreamOptions { mode: StreamMode::ActiveActive, ..StreamOptions::default() };
    let mut streams = Streams::new();
    streams.apply(streams.create(NewStream { schema, options, ..plain }).unwrap());
    Catalog::new(Arc::new(streams))
}

/// The plan of a view; "" is the table of rows itself.
fn plan(view: &str) -> Arc<ProjectionPlan> {
    let catalog = catalog();
    if view.is_empty() {
        let stream = catalog.streams().get("s").unwrap().clone();
        return Arc::new(ProjectionPlan::all_columns(stream.clone(), TableColumns::of_rows(&stream)));
    }
    Arc::new(compile(&catalog, view).unwrap())
}

/// How a copy takes events in: how many at once, and after how many of those it is opened anew.
#[derive(Debug, Clone)]
struct Arrival {
    sizes: Vec<usize>,
    reopen: usize,
    cache_bytes_max: usize,
}

const AT_ONCE: Arrival = Arrival { sizes: Vec::new(), reopen: usize::MAX, cache_bytes_max: 1 << 20 };

/// What a copy shows, the conflicts that it has to tell, and how many bytes it keeps.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    rows: String,
    conflicts: BTreeMap<Vec<u8>, String>,
    kept_bytes: usize,
}

/// The copy of the region `me`.
fn show(
    world: &World,
    me: usize,
    stable: Stable,
    view: &str,
    arrival: &Arrival,
) -> Result<Shown, ApplyError> {
    let plan = plan(view);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let keyspace = store.keyspace("view").unwrap();
    let partition = PartitionId(0);
    let knowledge: Arc<dyn Knowledge> = Arc::new(Known { world: world.clone(), me, stable });
    let open = || {
        let around = Around {
            cache_bytes_max: arrival.cache_bytes_max,
            knowledge: knowledge.clone(),
            tells: view.is_empty(),
        };
        ViewProcessor::open(plan.clone(), partition, keyspace, &store, around).unwrap()
    };
    let events: Vec<StoredRef<'_>> =
        (0u64..).zip(&world.regions[me].log).map(|(at, fact)| stored(fact, at)).collect();
    let (mut rest, mut sizes, mut flushes) = (events.as_slice(), arrival.sizes.iter().cycle(), 0);
    let mut processor = open();
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(usize::MAX).min(rest.len());
        let (now, later) = rest.split_at(size);
        processor.apply(now)?;
        let mut batch = Batch::new();
        processor.flush(&mut batch).unwrap();
        store.commit(batch).unwrap();
        rest = later;
        flushes += 1;
        if flushes % arrival.reopen == 0 {
            processor = open();
        }
    }
    let snapshot = store.snapshot();
    let mut batches = Vec::new();
    let reader = ViewReader::new(&plan, keyspace, snapshot.as_ref(), &[partition], 1 << 20).unwrap();
    reader
        .read(&[], None, |batch| {
            batches.push(batch);
            Ok(true)
        })
        .unwrap();
    let told = snapshot.range(keyspace, Range::prefix(&layout::prefix(Kind::Conflict, partition, 0)));
    let told = told.map(|entry| {
        let (key, value) = entry.unwrap();
        (key.to_vec(), String::from_utf8(value.to_vec()).unwrap())
    });
    let kept = snapshot.range(keyspace, Range::prefix(&layout::prefix(Kind::Row, partition, 0)));
    let kept_bytes = kept.map(|entry| entry.unwrap().1.len()).sum();
    let rows = pretty_format_batches(&batches).unwrap().to_string();
    Ok(Shown { rows, conflicts: told.collect(), kept_bytes })
}

fn stored(fact: &Fact, offset: u64) -> StoredRef<'_> {
    let data = fact.said.map_or(Data::None, |said| Data::Json(said.as_bytes()));
    let event = EventRef {
        id: "id",
        source: "/t",
        ty: "t",
        subject: Some(fact.subject),
        data,
        ..EventRef::default()
    };
    let Stamp { hlc, origin } = fact.stamp;
    StoredRef { event, offset: Offset(offset), version: Version(offset + 1), hlc, origin }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let said = prop::sample::select(vec![
        None,
        Some(r#"{"name":"Ann"}"#),
        Some(r#"{"name":"Anna","visits":1}"#),
        Some(r#"{"name":null,"best":7}"#),
        Some(r#"{"best":-3,"visits":-2}"#),
        Some(r#"{"tags":{"add":["a",1]}}"#),
        Some(r#"{"tags":{"remove":["a"],"add":["b"]},"visits":5}"#),
        Some(r#"{"tags":{"remove":["b",1]}}"#),
        Some(r#"{"trail":"A","name":"Bea"}"#),
        Some(r#"{"trail":"bc"}"#),
        Some("{}"),
    ]);
    let subject = prop::sample::select(vec!["x", "y", "[z]"]);
    let write = (0..REGIONS, 1u64..4, subject, said).prop_map(|(region, later, subject, said)| Step::Write {
        region,
        later,
        subject,
        said,
    });
    let exchange = (0..REGIONS, 0..REGIONS).prop_map(|(from, to)| Step::Exchange { from, to });
    prop::collection::vec(prop_oneof![3 => write, 2 => exchange], 0..60)
}

fn arrival() -> impl Strategy<Value = Arrival> {
    (prop::collection::vec(1usize..9, 1..5), 1usize..5, prop::sample::select(vec![0, 1 << 20]))
        .prop_map(|(sizes, reopen, cache_bytes_max)| Arrival { sizes, reopen, cache_bytes_max })
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn reg_1_merged_rows_and_their_conflicts_are_the_same_in_every_region(steps in steps(), arrival in arrival()) {
        let world = World::played(&steps);
        for view in std::iter::once(&"").chain(VIEWS) {
            let whole = show(&world, 0, Stable::Never, view, &AT_ONCE).unwrap();
            for me in 0..usize::from(REGIONS) {
                let here = show(&world, me, Stable::Known, view, &arrival).unwrap();
                prop_assert_eq!(&here.rows, &whole.rows, "{} of region {}", view, me);
                prop_assert_eq!(&here.conflicts, &whole.conflicts, "{} of region {}", view, me);
            }
        }
    }
}

/// Region 1 deletes what it has seen, while region 0 counts on; a third one has both, and goes on.
fn crossing() -> Vec<Step> {
    let write = |region, said| Step::Write { region, later: 1, subject: "x", said };
    vec![
        write(0, Some(r#"{"name":"Ann","visits":5,"tags":{"add":["a"]}}"#)),
        Step::Exchange { from: 0, to: 1 },
        Step::Exchange { from: 1, to: 0 },
        write(1, None),
        write(0, Some(r#"{"name":"Bea","visits":2}"#)),
        Step::Exchange { from: 0, to: 2 },
        write(2, Some(r#"{"name":"Cid"}"#)),
    ]
}

#[test]
fn a_row_is_what_survives_and_what_was_lost_is_told_once() {
    let world = World::played(&crossing());
    let shown = show(&world, 2, Stable::Known, "", &AT_ONCE).unwrap();
    assert!(shown.rows.contains("| x        | Cid  |      | 2      | []   |"), "{}", shown.rows);
    let told: Vec<&String> = shown.conflicts.values().collect();
    assert_eq!(told.len(), 2, "the delete does not know of two changes: {told:#?}");
    assert!(
        told.iter().all(|one| one.contains(r#""kind":"outlived""#) && one.contains(r#""subject":"x""#)),
        "{told:#?}"
    );
    let grouped = show(&world, 1, Stable::Known, VIEWS[0], &AT_ONCE).unwrap();
    assert!(grouped.rows.contains("| Cid  | 1 | 2 | [x] |"), "{}", grouped.rows);
}

#[test]
fn what_an_overwritten_value_was_is_told_with_the_value_that_won() {
    let write = |region, said| Step::Write { region, later: 1, subject: "x", said: Some(said) };
    let world = World::played(&[
        write(0, r#"{"name":"Ann"}"#),
        write(1, r#"{"name":"Anna"}"#),
        write(2, r#"{"best":1}"#),
    ]);
    let shown = show(&world, 0, Stable::Known, "", &AT_ONCE).unwrap();
    let told: crate::ToldConflict = serde_json::from_str(shown.conflicts.values().next().unwrap()).unwrap();
    assert_eq!(
        (told.column.as_deref(), told.class.as_deref(), told.kind.as_str()),
        (Some("name"), Some("lww"), "overwritten")
    );
    assert_eq!((told.loser.value.as_deref(), told.winner.value.as_deref()), (Some("Ann"), Some("Anna")));
    assert_eq!((told.loser.region, told.winner.origin.as_str()), (0, "1.1.1"));
    assert_eq!(told.event().subject, told.event().subject, "one subject each time");
}

#[test]
fn what_every_region_has_seen_is_kept_as_one_result() {
    let mut steps = Vec::new();
    for n in 0..300u16 {
        steps.push(Step::Write { region: n % 3, later: 1, subject: "x", said: Some(r#"{"visits":1}"#) });
        steps.extend([(0, 1), (1, 2), (2, 0), (0, 1)].map(|(from, to)| Step::Exchange { from, to }));
    }
    let arrival = Arrival { sizes: vec![7], reopen: 9, cache_bytes_max: 0 };
    let world = World::played(&steps);
    let forgets = show(&world, 1, Stable::Known, "", &arrival).unwrap();
    let keeps = show(&world, 1, Stable::Never, "", &arrival).unwrap();
    assert_eq!(forgets.rows, keeps.rows);
    assert!(
        forgets.kept_bytes < 500 && keeps.kept_bytes > 5_000,
        "{} and {}",
        forgets.kept_bytes,
        keeps.kept_bytes
    );
}

/// The control: who takes for stable what another region may not have seen yet shows other rows, or cannot go on.
#[test]
fn reg_1_a_region_that_forgets_too_early_is_found() {
    let world = World::played(&crossing());
    let differs = (0..usize::from(REGIONS)).any(|me| {
        let whole = show(&world, me, Stable::Never, "", &AT_ONCE).unwrap();
        let arrival = Arrival { sizes: vec![1], ..AT_ONCE };
        show(&world, me, Stable::Always, "", &arrival).map_or(true, |early| early.rows != whole.rows)
    });
    assert!(differs);
}

#[test]
fn a_change_from_a_region_that_was_not_waited_for_is_refused_with_the_reason() {
    let world = World::played(&crossing());
    let arrival = Arrival { sizes: vec![1], ..AT_ONCE };
    let errors =
        (0..usize::from(REGIONS)).filter_map(|me| show(&world, me, Stable::Always, "", &arrival).err());
    let texts: Vec<String> = errors.map(|error| error.to_string()).collect();
    assert!(
        texts.iter().any(|text| text.contains("does not know of") && text.contains("write it anew")),
        "{texts:?}"
    );
}
