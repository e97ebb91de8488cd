//! Changes of definitions whose clients go away, and a node that ends while there is one.

use super::*;
use crate::secrets::{Passwords, Secrets};
use futures_util::FutureExt;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use tw_capture::Place;
use tw_log::{MemoryLog, store};
use tw_process::{Handle, Workers};
use tw_project::SourceDef;
use tw_state::{MemoryStore, Store};
use tw_types::{Column, ColumnType, DataClass, Schema, StreamKind, StreamOptions};

/// How long something that must happen may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Definitions over a log and a store in memory, with workers that run.
struct World {
    definitions: Arc<Definitions>,
    workers: Handle,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    /// Databases have so long to answer.
    fn with_patience(patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = Env::real();
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(env.clone()));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let options = store::Options::default();
        let events = EventStore::open(log.clone(), store.clone(), env.clone(), options).unwrap();
        let parked = Arc::new(events.clone());
        let options = tw_process::Options::default();
        let workers = Workers::start(options, log.clone(), store.clone(), parked, env.clone()).unwrap();
        let views = Arc::new(workers.clone());
        let engine = Engine::new(tw_project::Options::default(), log.clone(), store, views).unwrap();
        let mut sources = sources(folder.path(), &events, &env);
        sources.patience = patience;
        let sources = Arc::new(sources);
        let definitions = Definitions::new(log, events, engine, workers.clone(), sources, env);
        Self { definitions: Arc::new(definitions), workers, _folder: folder }
    }

    async fn run(&self, sql: &str) {
        let done = self.definitions.carry_out(&tw_project::parse(sql).unwrap()).await;
        assert!(matches!(done, Ok(Outcome::Done(_))), "{sql}: {:?}", done.err());
    }

    /// Defines a source in whose place nobody answers.
    async fn define_source(&self, name: &str) {
        let source = Change::SourceCreated(SourceDef {
            name: name.into(),
            kind: "postgres".into(),
            url: "postgres://me@127.0.0.1:1/shop".into(),
            tables: vec!["public.orders".into()],
            options: BTreeMap::new(),
        });
        self.definitions.write(&source, Version(1)).await.unwrap();
        self.definitions.follow().await.unwrap();
    }

    /// Waits until nothing is being changed: what is asked for next begins at once.
    async fn rests(&self) {
        drop(self.definitions.locked().await);
    }

    /// Asks for `sql`, and goes away when it has been asked how far it is `polls` times; says whether it was done before.
    async fn run_briefly(&self, sql: &str, polls: usize) -> bool {
        let statement = tw_project::parse(sql).unwrap();
        briefly(self.definitions.carry_out(&statement), polls).await.is_some()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _late = self.workers.shutdown();
    }
}

fn sources(folder: &Path, events: &EventStore, env: &Env) -> Sources {
    let place = Place {
        store: events.clone(),
        env: env.clone(),
        scratch: folder.join("scratch"),
        gate: Arc::new(tw_capture::Ungated),
    };
    let secrets = Secrets::open(folder.join("secrets.toml")).unwrap();
    Sources::new(place, Passwords::File(secrets))
}

/// The outcome of a future that is dropped when it has been polled so often, and would be polled again.
async fn briefly<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Waits until `is_so`, which others bring about.
async fn until(mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, so).await.unwrap();
}

#[tokio::test]
async fn a_definition_is_carried_out_although_its_client_has_gone() {
    let world = World::new();
    for polls in 1.. {
        let name = format!("s{polls}");
        world.rests().await;
        let done = world.run_briefly(&format!("CREATE STREAM {name}"), polls).await;
        until(|| world.definitions.engine.catalog().streams().get(&name).is_ok()).await;
        if done {
            break;
        }
    }
}

#[tokio::test]
async fn a_source_that_is_being_dropped_is_dropped_although_the_client_has_gone() {
    let world = World::new();
    let definitions = &world.definitions;
    for polls in 1.. {
        let name = format!("shop{polls}");
        world.define_source(&name).await;
        world.rests().await;
        assert!(definitions.engine.catalog().source(&name).is_ok());
        let done = world.run_briefly(&format!("DROP SOURCE {name}"), polls).await;
        until(|| definitions.engine.catalog().source(&name).is_err()).await;
        if done {
            break;
        }
    }
}

#[tokio::test]
async fn wherever_a_change_is_dropped_later_ones_take_effect() {
    let world = World::new();
    world.run("CREATE STREAM clicks (page text)").await;
    world.run("CREATE PROJECTION later AS SELECT page, count(*) AS n FROM clicks GROUP BY page").await;
    let paused = || world.workers.status_of("projection/later").unwrap().paused;
    for polls in 0.. {
        let text = format!("CREATE PROJECTION p{polls} AS SELECT count(*) AS n FROM clicks");
        let statement = tw_project::parse(&text).unwrap();
        // Not in a task of its own: what is dropped here is really dropped.
        let decided = async {
            let state = world.definitions.locked().await;
            world.definitions.decided(state, &statement, None).await
        };
        let done = briefly(decided, polls).await;
        world.run("PAUSE PROJECTION later").await;
        assert!(paused(), "after {polls} polls");
        world.run("RESUME PROJECTION later").await;
        assert!(!paused(), "after {polls} polls");
        assert_eq!(world.definitions.broken(), BTreeMap::new(), "after {polls} polls");
        if let Some(done) = done {
            // After how many polls depends on the threads that do the work.
            assert!(done.is_ok(), "after {polls} polls: {:?}", done.err());
            break;
        }
    }
}

#[tokio::test]
async fn what_belongs_to_a_source_is_neither_taken_nor_changed() {
    let world = World::new();
    let definitions = &world.definitions;
    world.define_source("shop").await;
    let stream = |name| NewStream::plain(StreamName::new(name).unwrap(), 1);
    for (name, code, said) in [
        ("shop", Code::AlreadyExists, "there is a source `shop` already"),
        (
            "shop.extra",
            Code::InvalidDefinition,
            "`shop.extra` cannot name a stream: names that start with `shop.` belong to the source `shop`",
        ),
    ] {
        let refused = definitions.create_stream(stream(name)).await.unwrap_err();
        assert_eq!((refused.code(), refused.detail()), (code, said));
    }
    let id = Column {
        name: "id".into(),
        ty: ColumnType::Int8,
        nullable: false,
        class: DataClass::Internal,
        merge: None,
    };
    let schema = Schema { version: 1, columns: vec![id], key: vec!["id".into()] };
    let table = NewStream { kind: StreamKind::Table, schema: Some(schema), ..stream("shop.orders") };
    definitions.log.create_stream(table.clone()).await.unwrap();
    let refused = definitions.alter_stream(NewStream { schema: None, ..table.clone() }).await.unwrap_err();
    assert_eq!(refused.detail(), "`shop.orders` is a captured table: its columns are those of its source");
    let options = StreamOptions { retention_ms: Some(60_000), ..StreamOptions::default() };
    let altered = definitions.alter_stream(NewStream { options, ..table.clone() }).await.unwrap();
    assert_eq!((altered.options.retention_ms, &altered.schema), (Some(60_000), &table.schema));
}

#[tokio::test]
async fn a_change_that_does_not_end_is_given_up_when_the_node_ends() {
    let world = World::new();
    let definitions = world.definitions.clone();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let endless = tokio::spawn({
        let definitions = definitions.clone();
        async move {
            let held = definitions.clone();
            let work = async move {
                let _state = held.state.lock().await;
                let _told = begun.send(());
                std::future::pending::<Result<(), Problem>>().await
            };
            definitions.to_its_end(work).await
        }
    });
    has_begun.await.unwrap();
    definitions.close(Duration::ZERO).await;
    let refused = tokio::time::timeout(PATIENCE, endless).await.unwrap().unwrap();
    assert_eq!(refused.unwrap_err().code(), Code::ShuttingDown);
    let later = definitions.carry_out(&tw_project::parse("CREATE STREAM late").unwrap()).await;
    assert_eq!(later.err().map(|problem| problem.code()), Some(Code::ShuttingDown));
}

#[tokio::test]
async fn a_change_that_has_not_begun_is_not_carried_out_when_its_client_goes_away() {
    let world = World::new();
    let other = world.definitions.locked().await;
    let statement = tw_project::parse("CREATE STREAM clicks").unwrap();
    assert!(world.definitions.carry_out(&statement).now_or_never().is_none());
    let stream = NewStream::plain(StreamName::new("orders").unwrap(), 1);
    assert!(world.definitions.create_stream(stream).now_or_never().is_none());
    drop(other);
    world.run("CREATE STREAM later").await;
    let catalog = world.definitions.engine.catalog();
    assert!(catalog.streams().get("clicks").is_err() && catalog.streams().get("orders").is_err());
}

#[tokio::test]
async fn what_only_asks_does_not_wait_for_changes() {
    let world = World::new();
    world.run("CREATE STREAM clicks (page text)").await;
    let _other = world.definitions.locked().await;
    for sql in
        ["SHOW STREAMS", "SHOW SOURCES", "DESCRIBE clicks", "EXPLAIN SELECT page FROM clicks", "SELECT 1"]
    {
        let statement = tw_project::parse(sql).unwrap();
        let answer = tokio::time::timeout(PATIENCE, world.definitions.carry_out(&statement)).await.unwrap();
        assert!(answer.is_ok() && !matches!(answer, Ok(Outcome::Done(_))), "{sql}: {:?}", answer.err());
    }
}

/// A server that takes connections and says nothing; its port.
async fn silent_server() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    port
}

#[tokio::test]
async fn a_database_that_does_not_answer_holds_up_no_other_definition() {
    let world = World::new();
    let port = silent_server().await;
    let create = format!(
        "CREATE SOURCE shop FROM POSTGRES 'postgres://me@127.0.0.1:{port}/shop?connect_timeout=3600&sslmode=disable' TABLES (orders)"
    );
    let waits = tokio::spawn({
        let (definitions, statement) = (world.definitions.clone(), tw_project::parse(&create).unwrap());
        async move { definitions.carry_out(&statement).await.err() }
    });
    tokio::time::timeout(PATIENCE, world.run("CREATE STREAM clicks")).await.unwrap();
    assert!(!waits.is_finished());
    waits.abort();
    assert!(waits.await.is_err());
    // And it does not wait for ever.
    let world = World::with_patience(Duration::from_millis(100));
    let refused = world.definitions.carry_out(&tw_project::parse(&create).unwrap()).await.err().unwrap();
    assert_eq!(refused.code(), Code::WrongState);
    let said = refused.detail();
    assert!(
        said.contains(&format!("127.0.0.1:{port}")) && said.contains("has not answered within"),
        "{said}"
    );
}
