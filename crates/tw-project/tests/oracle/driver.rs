//! Our side: views whose processors are driven by hand, with flushes, crashes and rebuilds in between.

use crate::history::{Change, Kind, Row, Table, to_json};
use crate::random::Random;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tw_env::Env;
use tw_log::{Append, Log, MemoryLog, NewStream};
use tw_order::partition_of;
use tw_process::{ApplyError, Processor, View};
use tw_project::{Catalog, Committed, Engine, Error, StateView, ViewReading, ViewStanding, Views, parse};
use tw_state::{Batch, Keyspace, MemoryStore, Snapshot, Store};
use tw_types::{
    Column, Compression, Data, Epoch, EventRef, Hlc, Offset, Origin, PartitionId, RegionId, Schema, Sequence,
    StoredRef, StreamDef, StreamKind, StreamName, StreamOptions, StreamPartition, Token, Version,
};
use tw_wire::BatchBuilder;

/// An event of the history.
struct Told {
    ty: &'static str,
    subject: Option<String>,
    json: String,
    hlc: u64,
}

/// A view, and how far each of its partitions is.
struct Running {
    view: Arc<StateView>,
    keyspace: Keyspace,
    generation: u64,
    processors: Vec<Box<dyn Processor>>,
    applied: Vec<usize>,
    committed: Vec<usize>,
    rejected: Vec<String>,
}

#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, (Arc<StateView>, Keyspace)>>);

impl Views for Shelf {
    fn reading(&self, view: &str) -> Result<ViewReading, Error> {
        let shelf = self.0.lock();
        let (view, keyspace) = shelf.get(view).unwrap();
        Ok(ViewReading { view: view.clone(), keyspace: *keyspace, held: Arc::new(()) })
    }

    fn wait_for<'a>(&'a self, _: &'a str, _: &'a Token, _: Duration) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn committed(&self, _: &dyn Snapshot, _: &ViewReading, _: PartitionId) -> Result<Committed, Error> {
        Ok(Committed::default())
    }

    fn standing(&self, _: &str) -> Option<ViewStanding> {
        None
    }
}

pub struct Driver {
    log: Arc<MemoryLog>,
    store: Arc<dyn Store>,
    shelf: Arc<Shelf>,
    pub engine: Engine,
    catalog: Catalog,
    stream: Arc<StreamDef>,
    told: Vec<Vec<Told>>,
    views: Vec<Running>,
    hlc: u64,
}

/// The name of the table in our statements.
pub fn table_name(table: &Table) -> &'static str {
    if table.kind == Kind::Events { "t" } else { "db.t" }
}

impl Driver {
    pub fn new(table: &Table) -> Self {
        let log = Arc::new(MemoryLog::new(Env::real()));
        let columns = table
            .columns
            .iter()
            .map(|(name, ty)| Column {
                name: name.clone(),
                ty: ty.name().parse().unwrap(),
                nullable: true,
                class: Default::default(),
                merge: None,
            })
            .collect();
        let key = if table.kind == Kind::Keyed { vec!["k".to_owned()] } else { Vec::new() };
        let stream = NewStream {
            name: StreamName::new(table_name(table)).unwrap(),
            kind: if table.kind == Kind::Events { StreamKind::Events } else { StreamKind::Table },
            partitions: table.partitions,
            schema: Some(Schema { version: 1, columns, key }),
            options: StreamOptions::default(),
        };
        let stream = pollster::block_on(log.create_stream(stream)).unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let shelf = Arc::new(Shelf::default());
        let options = tw_project::Options { query_threads_max: 1, ..tw_project::Options::default() };
        let engine = Engine::new(options, log.clone(), store.clone(), shelf.clone()).unwrap();
        let catalog = Catalog::new(log.streams());
        engine.set_catalog(catalog.clone());
        let told = (0..table.partitions).map(|_| Vec::new()).collect();
        Self { log, store, shelf, engine, catalog, stream, told, views: Vec::new(), hlc: 1 }
    }

    /// Creates a projection, unless it is refused.
    pub fn create(&mut self, name: &str, select: &str) -> Result<(), Error> {
        let statement = parse(&format!("CREATE PROJECTION {name} AS {select}"))?;
        let tw_project::Action::Change { change, .. } = self.engine.decide(&statement)? else {
            panic!("{select}")
        };
        self.catalog.apply(change);
        self.engine.set_catalog(self.catalog.clone());
        Ok(())
    }

    /// Begins to drive all views.
    pub fn start(&mut self) {
        for wanted in self.engine.views() {
            let view = wanted.unwrap().view;
            self.views.push(self.open(view, 0));
        }
    }

    fn open(&self, view: Arc<StateView>, generation: u64) -> Running {
        let keyspace = self.store.keyspace(&format!("{}-{generation}", view.name())).unwrap();
        let zeros = vec![0; self.told.len()];
        let mut running = Running {
            view,
            keyspace,
            generation,
            processors: Vec::new(),
            applied: zeros.clone(),
            committed: zeros,
            rejected: Vec::new(),
        };
        self.open_processors(&mut running);
        self.shelf.0.lock().insert(running.view.name().to_owned(), (running.view.clone(), keyspace));
        running
    }

    /// As after a crash: what was not committed is gone.
    fn open_processors(&self, running: &mut Running) {
        running.processors = (0..self.told.len() as u32)
            .map(|partition| {
                running.view.open(PartitionId(partition), running.keyspace, &self.store).unwrap()
            })
            .collect();
        running.applied.clone_from(&running.committed);
    }

    fn tell(&mut self, ty: &'static str, subject: Option<String>, json: String, partition: PartitionId) {
        if self.stream.kind == StreamKind::Events {
            let mut batch = BatchBuilder::new();
            batch.push(&EventRef {
                id: "1",
                source: "/t",
                ty,
                data: Data::Json(json.as_bytes()),
                ..EventRef::default()
            });
            let batch = batch.finish(Compression::None).unwrap();
            let permit = pollster::block_on(self.log.reserve(batch.bytes())).unwrap();
            let at = StreamPartition::new(self.stream.id, partition);
            pollster::block_on(
                self.log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }]),
            )
            .unwrap();
        }
        self.hlc += 1;
        let told = Told { ty, subject, json, hlc: self.hlc };
        self.told[partition.0 as usize].push(told);
    }

    /// Tells changes as capture does.
    pub fn change(&mut self, table: &Table, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Insert { row } => self.row(table, "row.insert", None, Some((row, &[]))),
                Change::Delete { before } => self.row(table, "row.delete", Some(before), None),
                Change::Update { before, after, untold } => {
                    if subject(table, before) == subject(table, after) {
                        self.row(table, "row.update", Some(before), Some((after, untold)));
                    } else {
                        self.row(table, "row.delete", Some(before), None);
                        self.row(table, "row.insert", None, Some((after, &[])));
                    }
                }
                Change::Truncate => {
                    for partition in (0..self.stream.partitions).map(PartitionId) {
                        let json = r#"{"op":"t","before":null,"after":null}"#.to_owned();
                        self.tell("table.truncate", None, json, partition);
                    }
                }
            }
        }
    }

    fn row(
        &mut self,
        table: &Table,
        ty: &'static str,
        before: Option<&Row>,
        after: Option<(&Row, &[usize])>,
    ) {
        let row = after.map(|(row, _)| row).or(before).unwrap();
        if table.kind == Kind::Events {
            let partition = partition_of(row[0].as_ref().unwrap(), table.partitions);
            return self.tell("event", None, to_json(table, row, &[]).to_string(), partition);
        }
        let subject = subject(table, row);
        let partition = partition_of(&subject, table.partitions);
        let before = before.map(|row| {
            let mut whole = to_json(table, row, &[]);
            if table.kind == Kind::Keyed {
                whole = serde_json::json!({ "k": whole["k"] });
            }
            whole
        });
        let after = after.map(|(row, untold)| to_json(table, row, untold));
        let json = serde_json::json!({ "op": "u", "before": before, "after": after }).to_string();
        self.tell(ty, Some(subject), json, partition);
    }

    /// Lets all views process what was told, with commits and crashes at random places.
    pub fn advance(&mut self, random: &mut Random) {
        let mut views = std::mem::take(&mut self.views);
        for running in &mut views {
            if random.one_in(6) {
                *running = self.open(running.view.clone(), running.generation + 1);
            }
            self.advance_one(running, random);
        }
        self.views = views;
    }

    fn advance_one(&self, running: &mut Running, random: &mut Random) {
        loop {
            let behind: Vec<usize> = (0..self.told.len())
                .filter(|partition| running.applied[*partition] < self.told[*partition].len())
                .collect();
            if behind.is_empty() {
                break;
            }
            let partition = *random.of(&behind);
            let from = running.applied[partition];
            let to = (from + 1 + random.below(12)).min(self.told[partition].len());
            self.apply(running, partition, from, to);
            if random.one_in(3) {
                self.flush(running, partition);
            }
            if random.one_in(12) {
                self.open_processors(running);
            }
        }
        (0..self.told.len()).for_each(|partition| self.flush(running, partition));
    }

    fn apply(&self, running: &mut Running, partition: usize, from: usize, to: usize) {
        let events: Vec<StoredRef<'_>> =
            (from..to).map(|offset| stored(&self.told[partition][offset], offset)).collect();
        match running.processors[partition].apply(&events) {
            Ok(()) => running.applied[partition] = to,
            Err(ApplyError::Rejected(_)) if to - from > 1 => {
                // As the workers do: one after the other.
                for offset in from..to {
                    self.apply(running, partition, offset, offset + 1);
                }
            }
            Err(ApplyError::Rejected(reason)) => {
                running.applied[partition] = to;
                running.rejected.push(reason);
            }
            Err(ApplyError::State(error)) => panic!("{error}"),
        }
    }

    fn flush(&self, running: &mut Running, partition: usize) {
        let mut batch = Batch::new();
        running.processors[partition].flush(&mut batch).unwrap();
        self.store.commit(batch).unwrap();
        running.committed[partition] = running.applied[partition];
    }

    /// Why a projection has rejected events, if it has.
    pub fn rejected(&self, name: &str) -> Option<&String> {
        let name = format!("projection/{name}");
        self.views.iter().find(|running| running.view.name() == name)?.rejected.first()
    }
}

fn stored(told: &Told, offset: usize) -> StoredRef<'_> {
    let event = EventRef {
        id: "1",
        source: "/t",
        ty: told.ty,
        subject: told.subject.as_deref(),
        data: Data::Json(told.json.as_bytes()),
        ..EventRef::default()
    };
    let origin = Origin { region: RegionId(0), epoch: Epoch(0), sequence: Sequence(0) };
    StoredRef {
        event,
        offset: Offset(offset as u64),
        version: Version::NONE,
        hlc: Hlc::from_u64(told.hlc),
        origin,
    }
}

/// The subject of a row: its key, or all of it.
fn subject(table: &Table, row: &Row) -> String {
    if table.kind == Kind::Keyed { row[0].clone().unwrap() } else { format!("{row:?}") }
}
