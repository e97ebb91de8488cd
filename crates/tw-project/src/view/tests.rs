//! Views in several regions, which have the same events in different orders.

mod merges;

use super::*;
use crate::catalog::Catalog;
use crate::merged::Alone;
use crate::plan::compile;
use bytes::Bytes;
use datafusion::arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use tw_env::Env;
use tw_log::{MemoryLog, NewStream, Streams};
use tw_state::{Batch, MemoryStore, Range};
use tw_types::{
    Column, ColumnType, Data, Epoch, EventRef, Hlc, Offset, Origin, RegionId, Schema, Sequence, StoredRef,
    StreamMode, StreamName, StreamOptions, Timestamp, Version,
};

const PARTITIONS: u32 = 2;
const REGIONS: u16 = 3;

/// A view of each kind that an active-active stream can have.
const VIEWS: [&str; 7] = [
    "SELECT k, n * 2 AS n, _id, _hlc, _partition, _time FROM s WHERE n IS NOT NULL",
    "SELECT k, count(*) AS c, count(n) AS ns, sum(n) AS sn, avg(x) AS ax, sum(f) AS sf, avg(f) AS af, min(t) AS low,
        max(f) AS high, bool_and(b) AS every, bool_or(b) AS some FROM s GROUP BY k",
    "SELECT DISTINCT k, b FROM s",
    "SELECT k, count(DISTINCT n) AS n, sum(DISTINCT x) AS x, avg(DISTINCT f) AS f, array_agg(DISTINCT t) AS t,
        array_agg(DISTINCT n ORDER BY n DESC) AS down FROM s GROUP BY k",
    "SELECT k, first(t) AS f, last(n) AS l, first(t ORDER BY n) AS fo, last(t ORDER BY b DESC) AS lo,
        first(_id) FILTER (WHERE b) AS fb FROM s GROUP BY k",
    "SELECT k, array_agg(_id) AS ids, array_agg(t ORDER BY b) AS texts FROM s GROUP BY k HAVING count(*) > 1",
    "SELECT _subject AS who, last(data ->> 't') AS t, max(_time) AS at, count(*) AS c FROM events.s GROUP BY _subject",
];

/// An event as its region has accepted it.
#[derive(Debug, Clone)]
struct Accepted {
    id: String,
    partition: PartitionId,
    hlc: Hlc,
    origin: Origin,
    subject: Option<&'static str>,
    json: String,
}

/// How a copy takes the events in: whose turn it is, how many events come at once, and after how many of those it is opened anew.
#[derive(Debug, Clone)]
struct Arrival {
    turns: Vec<prop::sample::Index>,
    sizes: Vec<usize>,
    reopen: usize,
    cache_bytes_max: usize,
}

fn catalog(mode: StreamMode) -> Catalog {
    let column = |name: &str, ty| Column {
        name: name.into(),
        ty,
        nullable: true,
        class: Default::default(),
        merge: None,
    };
    let numeric = "numeric(10,2)".parse::<ColumnType>().unwrap();
    let columns = vec![
        column("k", ColumnType::Text),
        column("n", "integer".parse().unwrap()),
        column("x", numeric),
        column("f", "double precision".parse().unwrap()),
        column("b", "boolean".parse().unwrap()),
        column("t", ColumnType::Text),
    ];
    let plain = NewStream::plain(StreamName::new("s").unwrap(), PARTITIONS);
    let schema = Some(Schema { version: 1, columns, key: Vec::new() });
    let options = StreamOptions { mode, ..StreamOptions::default() };
    let mut streams = Streams::new();
    streams.apply(streams.create(NewStream { schema, options, ..plain }).unwrap());
    Catalog::new(Arc::new(streams))
}

/// What each region accepts. Timestamps of different regions are often equal; those of one rise.
fn accepted() -> impl Strategy<Value = Vec<Vec<Accepted>>> {
    let event = (
        1u64..3,
        0..PARTITIONS,
        prop::option::of(prop::sample::select(vec!["ann", "bob", "cid"])),
        prop::sample::select(vec!["\"a\"", "\"b\"", "null"]),
        prop::sample::select(vec!["null", "1", "2", "-7"]),
        prop::sample::select(vec!["null", "1.50", "1.5", "0.01"]),
        prop::sample::select(vec!["null", "0.1", "-0.0", "0", "1e16", "-1e16", "3e-9"]),
        prop::sample::select(vec!["null", "true", "false"]),
        prop::sample::select(vec!["null", "\"x\"", "\"y\"", "\"\""]),
    );
    let region = prop::collection::vec(event, 0..20);
    prop::collection::vec(region, usize::from(REGIONS)).prop_map(|regions| {
        let regions = (1u16..).zip(regions);
        regions
            .map(|(region, events)| {
                let (mut hlc, mut sequences) = (Hlc::new(1_000, 0), [0; PARTITIONS as usize]);
                let events = events.into_iter().map(|(step, partition, subject, k, n, x, f, b, t)| {
                    hlc = hlc.plus(step);
                    let sequence = &mut sequences[partition as usize];
                    *sequence += 1;
                    let sequence = Sequence(*sequence);
                    Accepted {
                        id: format!("{region}-{partition}-{sequence}"),
                        partition: PartitionId(partition),
                        hlc,
                        origin: Origin { region: RegionId(region), epoch: Epoch(1), sequence },
                        subject,
                        json: format!(r#"{{"k":{k},"n":{n},"x":{x},"f":{f},"b":{b},"t":{t}}}"#),
                    }
                });
                events.collect()
            })
            .collect()
    })
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let turns = prop::collection::vec(any::<prop::sample::Index>(), 60);
    let sizes = prop::collection::vec(1usize..12, 1..6);
    (turns, sizes, 1usize..5, prop::sample::select(vec![0, 1 << 20]))
        .prop_map(|(turns, sizes, reopen, cache_bytes_max)| Arrival { turns, sizes, reopen, cache_bytes_max })
}

/// The events in the order in which they arrive: of each region in its own.
fn merged<'a>(regions: &'a [Vec<Accepted>], turns: &[prop::sample::Index]) -> Vec<&'a Accepted> {
    let mut rest: Vec<_> = regions.iter().map(|events| events.iter()).collect();
    let mut merged = Vec::new();
    let mut turns = turns.iter().cycle();
    loop {
        rest.retain(|events| events.len() > 0);
        if rest.is_empty() {
            return merged;
        }
        let turn = turns.next().unwrap().index(rest.len());
        merged.extend(rest[turn].next());
    }
}

/// A region's copy of a view: what is stored of it, and what it shows.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    stored: Vec<(Bytes, Bytes)>,
    rows: String,
}

/// Whose order rows have.
#[derive(Clone, Copy)]
enum Order {
    /// That of their regions.
    Accepted,
    /// As it was before several regions wrote: by time, then by offset.
    Offsets,
}

fn show(plan: &Arc<ProjectionPlan>, events: &[&Accepted], arrival: &Arrival, order: Order) -> Shown {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let keyspace = store.keyspace("view").unwrap();
    let open = |partition| {
        let knowledge = Arc::new(Alone(Arc::new(MemoryLog::new(Env::real()))));
        let around = Around { cache_bytes_max: arrival.cache_bytes_max, knowledge, tells: false };
        ViewProcessor::open(plan.clone(), partition, keyspace, &store, around).unwrap()
    };
    let partitions: Vec<_> = (0..PARTITIONS).map(PartitionId).collect();
    for &partition in &partitions {
        let here = events.iter().filter(|event| event.partition == partition);
        let stored: Vec<_> = (0u64..).zip(here).map(|(offset, event)| stored(event, offset, order)).collect();
        let (mut rest, mut sizes) = (stored.as_slice(), arrival.sizes.iter().cycle());
        let mut processor = open(partition);
        let mut flushes = 0;
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            processor.apply(now).unwrap();
            let mut batch = Batch::new();
            processor.flush(&mut batch).unwrap();
            store.commit(batch).unwrap();
            rest = later;
            flushes += 1;
            if flushes % arrival.reopen == 0 {
                processor = open(partition);
            }
        }
    }
    let snapshot = store.snapshot();
    let mut batches = Vec::new();
    let reader = ViewReader::new(plan, keyspace, snapshot.as_ref(), &partitions, 1 << 20).unwrap();
    reader
        .read(&[], None, |batch| {
            batches.push(batch);
            Ok(true)
        })
        .unwrap();
    let stored = snapshot.range(keyspace, Range::prefix(&[])).map(Result::unwrap).collect();
    Shown { stored, rows: pretty_format_batches(&batches).unwrap().to_string() }
}

/// An event as a region that has received it stores it.
fn stored(event: &Accepted, offset: u64, order: Order) -> StoredRef<'_> {
    let origin = match order {
        Order::Accepted => event.origin,
        Order::Offsets => Origin { sequence: Sequence(offset), ..Origin::default() },
    };
    let time = Some(Timestamp::from_millis(event.hlc.as_u64() as i64));
    let data = Data::Json(event.json.as_bytes());
    let subject = event.subject;
    let as_sent =
        EventRef { id: &event.id, source: "/t", ty: "t", subject, time, data, ..EventRef::default() };
    StoredRef { event: as_sent, offset: Offset(offset), version: Version(offset + 1), hlc: event.hlc, origin }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases: tw_testing::cases(cases), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn reg_1_regions_with_the_same_events_have_the_same_views(
        regions in accepted(), here in arrival(), there in arrival(),
    ) {
        let catalog = catalog(StreamMode::ActiveActive);
        for view in VIEWS {
            let plan = Arc::new(compile(&catalog, view).unwrap());
            let one = show(&plan, &merged(&regions, &here.turns), &here, Order::Accepted);
            let other = show(&plan, &merged(&regions, &there.turns), &there, Order::Accepted);
            prop_assert_eq!(&one.rows, &other.rows, "{}", view);
            prop_assert_eq!(&one.stored, &other.stored, "{}", view);
            // As if they had come in order.
            let mut events: Vec<_> = regions.iter().flatten().collect();
            events.sort_by_key(|event| (event.hlc, event.origin));
            prop_assert_eq!(one, show(&plan, &events, &here, Order::Accepted), "{}", view);
        }
    }
}

/// Two regions that accept an event at the same time, and a third one that was a little earlier and comes last.
fn concurrent() -> Vec<Accepted> {
    let one = |region, counter, t: &str| Accepted {
        id: format!("{region}"),
        partition: PartitionId(0),
        hlc: Hlc::new(1_000, counter),
        origin: Origin { region: RegionId(region), epoch: Epoch(1), sequence: Sequence(1) },
        subject: Some("ann"),
        json: format!(r#"{{"k":"a","n":1,"b":true,"t":"{t}"}}"#),
    };
    vec![one(1, 5, "x"), one(2, 5, "y"), one(3, 4, "z")]
}

/// What two regions show of the same events that have come to them in opposite orders.
fn shown_twice(mode: StreamMode, view: &str, order: Order) -> (Shown, Shown) {
    let arrival = Arrival { turns: Vec::new(), sizes: vec![1], reopen: 1, cache_bytes_max: 0 };
    let plan = Arc::new(compile(&catalog(mode), view).unwrap());
    let events = concurrent();
    let here: Vec<_> = events.iter().collect();
    let there: Vec<_> = events.iter().rev().collect();
    (show(&plan, &here, &arrival, order), show(&plan, &there, &arrival, order))
}

#[test]
fn reg_1_a_late_event_takes_the_place_that_its_time_gives_it() {
    let view = "SELECT k, first(t) AS f, last(t) AS l, array_agg(t) AS all FROM s GROUP BY k";
    let (here, there) = shown_twice(StreamMode::ActiveActive, view, Order::Accepted);
    assert_eq!(here, there);
    assert!(here.rows.contains("| a | z | y | [z, x, y] |"), "{}", here.rows);
}

/// The control: what is compared above does differ where offsets decide.
#[test]
fn reg_1_views_that_put_equal_times_in_the_order_of_offsets_differ() {
    for view in [VIEWS[0], VIEWS[4], VIEWS[5], VIEWS[6]] {
        let (here, there) = shown_twice(StreamMode::ActiveActive, view, Order::Accepted);
        assert_eq!(here, there, "{view}");
        let (here, there) = shown_twice(StreamMode::ActiveActive, view, Order::Offsets);
        assert_ne!(here, there, "{view}");
    }
}

/// The control of what is refused: it would differ.
#[test]
fn reg_1_what_differs_from_region_to_region_is_refused_and_nothing_else() {
    for column in ["_offset", "_version"] {
        for view in [
            format!("SELECT t, {column} AS c FROM s"),
            format!("SELECT k, last(t ORDER BY {column}) AS c FROM s GROUP BY k"),
            format!("SELECT t FROM s WHERE {column} < 2"),
            format!("SELECT {column} / 2 AS k, array_agg(t) AS c FROM s GROUP BY 1"),
            format!(
                "SELECT _subject AS k, max({column} * n) AS c, last(t ORDER BY {column}) AS l FROM s GROUP BY 1"
            ),
        ] {
            let (here, there) = shown_twice(StreamMode::Local, &view, Order::Accepted);
            assert_ne!(here, there, "{view}");
            let error = compile(&catalog(StreamMode::ActiveActive), &view).unwrap_err().to_string();
            let expected =
                format!("not supported in a projection of `s`: `{column}`: the stream is active-active");
            assert!(error.starts_with(&expected), "{view}: {error}");
        }
    }
    assert!(compile(&catalog(StreamMode::ActiveActive), "SELECT * FROM s").is_err());
    for column in ["_partition", "_id", "_source", "_type", "_subject", "_time", "_hlc"] {
        compile(&catalog(StreamMode::ActiveActive), &format!("SELECT {column} AS c FROM s")).unwrap();
    }
}
