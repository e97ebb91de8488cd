//! A node's parts without the node: log, store, workers and engine, in memory.

use super::json;
use super::member::{Keeper, Member, Network, Standbys};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tw_env::Env;
use tw_log::{Append, Foreign, Log, MemoryLog, NewStream};
use tw_order::partition_of;
use tw_process::{Handle, LogWriter, View, Workers};
use tw_project::{Action, Catalog, Change, Engine, Error, Follower, Param, Request, SourceStanding, parse};
use tw_state::{MemoryStore, Store};
use tw_types::{
    Column, Compression, Data, EventRef, PartitionId, Schema, StreamKind, StreamName, StreamOptions,
    StreamPartition, Timestamp, Token,
};
use tw_wire::BatchBuilder;

pub struct Node {
    pub log: Arc<MemoryLog>,
    pub store: Arc<dyn Store>,
    pub engine: Engine,
    follower: Follower,
    catalog: Catalog,
    pub handle: Handle,
    running: BTreeMap<String, u64>,
    events: u64,
    pub runtime: tokio::runtime::Runtime,
    /// A cluster over the same log.
    pub network: Arc<Network>,
    pub members: Vec<Member>,
}

pub fn process_options() -> tw_process::Options {
    let retry = tw_order::gate::Options {
        attempts_max: 1,
        retry_ms_min: 1,
        retry_ms_max: 1,
        ..tw_order::gate::Options::default()
    };
    tw_process::Options { worker_threads: 2, retry, ..tw_process::Options::default() }
}

fn start(log: &Arc<MemoryLog>, store: &Arc<dyn Store>) -> (Handle, Engine) {
    let parked = Arc::new(LogWriter::new(log.clone()));
    let handle = Workers::start(process_options(), log.clone(), store.clone(), parked, Env::real()).unwrap();
    // It computes every answer, so that those of the members are compared with what is right.
    let options = tw_project::Options { answers_bytes_max: 0, ..options() };
    let engine = Engine::new(options, log.clone(), store.clone(), Arc::new(handle.clone())).unwrap();
    (handle, engine)
}

/// Lets workers drive the views that an engine wants.
pub fn drive(engine: &Engine, handle: &Handle, running: &mut BTreeMap<String, u64>, rests: bool) {
    let mut wanted = BTreeMap::new();
    for view in engine.views() {
        let view = view.unwrap();
        let (name, definition) = (view.view.name().to_owned(), view.view.definition());
        match running.get(&name) {
            None => {
                let earlier = view.earlier.into_iter().map(|view| -> Arc<dyn View> { view });
                handle.add_after(view.view, &earlier.collect::<Vec<_>>(), view.on_hold).unwrap();
            }
            Some(known) if *known != definition => handle.replace(view.view).unwrap(),
            Some(_) => {}
        }
        if view.on_hold {
            handle.hold(&name).unwrap();
        } else {
            handle.release(&name).unwrap();
        }
        if view.paused || rests {
            handle.pause(&name).unwrap();
        } else {
            handle.resume(&name).unwrap();
        }
        wanted.insert(name, definition);
    }
    for name in running.keys().filter(|name| !wanted.contains_key(*name)) {
        handle.remove(name).unwrap();
    }
    *running = wanted;
}

/// The options of the engines of tests. Members of clusters keep every answer that can be kept.
pub fn options() -> tw_project::Options {
    tw_project::Options { query_ms_max: 600_000, answers_ms_min: 0, ..tw_project::Options::default() }
}

impl Node {
    /// A node that has everything, and two that have every second partition each, and stand by for each other.
    pub fn new() -> Self {
        let every_second = |at: StreamPartition, members| at.partition.0 as usize % members;
        let options = tw_project::Options { read_from: tw_project::ReadFrom::Standbys, ..options() };
        Self::with_standbys(2, every_second, |_, members| (0..members).collect(), options)
    }

    /// A node that has everything, and a cluster beside it.
    pub fn with_members(members: usize, keeper: Keeper, options: tw_project::Options) -> Self {
        Self::with_standbys(members, keeper, |_, _| Vec::new(), options)
    }

    /// The same where members stand by for each other.
    pub fn with_standbys(
        members: usize,
        keeper: Keeper,
        standbys: Standbys,
        options: tw_project::Options,
    ) -> Self {
        let log = Arc::new(MemoryLog::new(Env::real()));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let (handle, engine) = start(&log, &store);
        let follower = Follower::new(log.clone());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (running, catalog) = (BTreeMap::new(), Catalog::new(log.streams()));
        let network = Network::new(members, keeper, standbys);
        let members = (0..members).map(|_| Member::start(&log, &network, options.clone())).collect();
        let mut node = Self {
            log,
            store,
            engine,
            follower,
            catalog,
            handle,
            running,
            events: 0,
            runtime,
            network,
            members,
        };
        node.follow();
        node
    }

    /// Everything anew, except for the log, and the state unless it is to be lost.
    pub fn restart(&mut self, keep_state: bool) {
        self.handle.shutdown().unwrap();
        if !keep_state {
            self.store = Arc::new(MemoryStore::new());
        }
        (self.handle, self.engine) = start(&self.log, &self.store);
        self.follower = Follower::new(self.log.clone());
        self.catalog = Catalog::new(self.log.streams());
        self.running.clear();
        self.follow();
    }

    /// Lets the catalogue and the views follow `$config`.
    fn follow(&mut self) {
        pollster::block_on(self.follower.catch_up(&mut self.catalog)).unwrap();
        self.engine.set_catalog(self.catalog.clone());
        drive(&self.engine, &self.handle, &mut self.running, false);
        self.members.iter_mut().for_each(Member::follow);
    }

    /// Carries a definition out; gives what was done, or the rows.
    pub fn try_run(&mut self, sql: &str) -> Result<String, Error> {
        let statement = parse(sql)?;
        let (log, store) = (self.log.clone(), ());
        let done = match self.engine.decide(&statement)? {
            Action::Query => return self.try_query(sql, &[]),
            Action::Rows(answer) => return Ok(self.rows(answer)?.join("\n")),
            Action::ShowProjections => {
                let answer = self.engine.show_projections(&self.engine.standings());
                return Ok(self.rows(answer)?.join("\n"));
            }
            Action::ShowSources => {
                let running =
                    SourceStanding { state: "streaming".into(), lag_ms: Some(7), ..Default::default() };
                let standings = [("shop".to_owned(), running)].into();
                return Ok(self.rows(self.engine.show_sources(&standings))?.join("\n"));
            }
            Action::CreateStream { stream, done } => {
                pollster::block_on(log.create_stream(stream)).map(|_| done)?
            }
            Action::AlterStream { stream, done } => {
                pollster::block_on(log.alter_stream(stream)).map(|_| done)?
            }
            Action::DropStream { name, done } => pollster::block_on(log.drop_stream(&name)).map(|()| done)?,
            Action::Change { change, done, .. } => {
                self.append_change(&change);
                done
            }
            Action::Nothing { done } => done,
        };
        let () = store;
        self.follow();
        Ok(done)
    }

    pub fn run(&mut self, sql: &str) -> String {
        self.try_run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The error of a statement.
    pub fn refused(&mut self, sql: &str) -> String {
        match self.try_run(sql) {
            Ok(done) => panic!("{sql}: {done}"),
            Err(error) => error.to_string(),
        }
    }

    fn append_change(&mut self, change: &Change) {
        self.events += 1;
        let event = change.to_event(format!("change-{}", self.events));
        let at = StreamPartition::new(tw_log::CONFIG_STREAM, PartitionId(0));
        self.append_at(at, &event.ty, event.subject.as_deref(), event.data.bytes());
    }

    fn append_at(&mut self, at: StreamPartition, ty: &str, subject: Option<&str>, json: &[u8]) {
        let mut batch = BatchBuilder::new();
        let id = self.events.to_string();
        self.events += 1;
        batch.push(&EventRef {
            id: &id,
            source: "/test",
            ty,
            subject,
            data: if json.is_empty() { Data::None } else { Data::Json(json) },
            ..EventRef::default()
        });
        let batch = batch.finish(Compression::None).unwrap();
        let permit = pollster::block_on(self.log.reserve(batch.bytes())).unwrap();
        pollster::block_on(
            self.log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }]),
        )
        .unwrap();
    }

    /// Appends an event, to the partition of its subject. An empty text is no data.
    pub fn append(&mut self, stream: &str, ty: &str, subject: Option<&str>, json: &str) {
        let def = self.log.streams().get(stream).unwrap().clone();
        let partition = subject.map_or(PartitionId(0), |subject| partition_of(subject, def.partitions));
        self.append_at(StreamPartition::new(def.id, partition), ty, subject, json.as_bytes());
    }

    /// Appends an event that another region has accepted, to the partition of its subject.
    pub fn append_foreign(&mut self, stream: &str, subject: &str, json: &str, foreign: Foreign) {
        let def = self.log.streams().get(stream).unwrap().clone();
        let at = StreamPartition::new(def.id, partition_of(subject, def.partitions));
        let mut batch = BatchBuilder::new();
        let id = foreign.origin.to_string();
        batch.push(&EventRef {
            id: &id,
            source: "/test",
            ty: "t",
            subject: Some(subject),
            data: Data::Json(json.as_bytes()),
            ..EventRef::default()
        });
        let batch = batch.finish(Compression::None).unwrap();
        let permit = pollster::block_on(self.log.reserve(batch.bytes())).unwrap();
        let append = Append { at, batch, expected_end: None, foreign: Some(foreign) };
        pollster::block_on(self.log.append(permit, vec![append])).unwrap();
    }

    /// Creates the stream of a captured table, as capture does.
    pub fn table(&mut self, name: &str, columns: &str, key: &[&str], partitions: u32) {
        let columns = columns
            .split(", ")
            .map(|column| {
                let (name, ty) = column.split_once(' ').unwrap();
                Column {
                    name: name.into(),
                    ty: ty.parse().unwrap(),
                    nullable: true,
                    class: Default::default(),
                    merge: None,
                }
            })
            .collect();
        let key = key.iter().map(|&name| name.into()).collect();
        let stream = NewStream {
            name: StreamName::new(name).unwrap(),
            kind: StreamKind::Table,
            partitions,
            schema: Some(Schema { version: 1, columns, key }),
            options: StreamOptions::default(),
        };
        pollster::block_on(self.log.create_stream(stream)).unwrap();
        self.follow();
    }

    /// A change of a captured row.
    pub fn change(&mut self, stream: &str, subject: &str, before: &str, after: &str) {
        let (ty, op) = match (before, after) {
            ("null", _) => ("row.insert", "c"),
            (_, "null") => ("row.delete", "d"),
            _ => ("row.update", "u"),
        };
        let json = format!(r#"{{"op":"{op}","before":{before},"after":{after}}}"#);
        self.append(stream, ty, Some(subject), &json);
    }

    /// TRUNCATE: an event in each partition.
    pub fn truncate(&mut self, stream: &str) {
        let def = self.log.streams().get(stream).unwrap().clone();
        for partition in (0..def.partitions).map(PartitionId) {
            let json = br#"{"op":"t","before":null,"after":null}"#;
            self.append_at(StreamPartition::new(def.id, partition), "table.truncate", None, json);
        }
    }

    /// The end of every stream.
    pub fn token(&self) -> Token {
        let streams = self.log.streams();
        let partitions = streams.iter().flat_map(|stream| {
            (0..stream.partitions).map(|partition| StreamPartition::new(stream.id, PartitionId(partition)))
        });
        partitions.map(|at| (at, self.log.bounds(at).unwrap().end)).collect()
    }

    /// The rows of a query that sees everything, as JSON arrays, sorted unless the query does. The members of the cluster answer
    /// the same.
    pub fn try_query(&self, sql: &str, params: &[Param]) -> Result<String, Error> {
        let own = self.ask(&self.engine, sql, params);
        if let Some(different) = self.different(sql, params, &own) {
            // Some may still be building what others have built.
            let until = Instant::now() + Duration::from_secs(30);
            while self.different(sql, params, &self.ask(&self.engine, sql, params)).is_some() {
                assert!(Instant::now() < until, "{sql}: {different}");
            }
        }
        own
    }

    /// What a member answers that does not answer as the node that has everything.
    fn different(&self, sql: &str, params: &[Param], own: &Result<String, Error>) -> Option<String> {
        if sql.starts_with("EXPLAIN") || matches!(own, Err(Error::NotReadable { .. })) {
            return None;
        }
        let text = |answer: &Result<String, Error>| match answer {
            Ok(rows) => rows.clone(),
            Err(error) => format!("error: {error}"),
        };
        let answers = self.members.iter().map(|member| text(&self.ask(&member.engine, sql, params)));
        let mut different = answers.enumerate().filter(|(_, answer)| *answer != text(own));
        different.next().map(|(member, answer)| format!("member {member} says {answer}, not {}", text(own)))
    }

    /// The rows of a query that sees everything, of one engine.
    pub fn ask(&self, engine: &Engine, sql: &str, params: &[Param]) -> Result<String, Error> {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let request = Request { params: params.to_vec(), token: Some(self.token()), ..Request::new(now) };
        let answer = self.runtime.block_on(engine.run(sql, request))?;
        let mut rows = self.rows(answer)?;
        if !sql.to_uppercase().contains("ORDER BY") {
            rows.sort();
        }
        Ok(rows.join("\n"))
    }

    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn rows(&self, answer: tw_project::Answer) -> Result<Vec<String>, Error> {
        let schema = answer.schema.clone();
        let batches = self.runtime.block_on(answer.collect())?;
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                rows.push(json::array(&schema, batch, row));
            }
        }
        Ok(rows)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _late = self.handle.shutdown();
    }
}
