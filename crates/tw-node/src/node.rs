//! A node's life: it starts things in their order, follows the definitions, and ends things in the opposite order.

use crate::core::Core;
use crate::definitions::{self, Definitions};
use crate::parts::{NodeControl, NodeParked, NodeSql};
use crate::secrets::Secrets;
use crate::sources::Sources;
use crate::{Config, Error, Folder, metrics};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tw_api::{Parts, Server};
use tw_capture::Place;
use tw_cluster::{MemoryCoordination, MemoryOptions, SystemTime};
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{CONFIG_STREAM, EmbeddedLog, Log};
use tw_process::Workers;
use tw_project::Engine;
use tw_state::{DiskStore, Store};
use tw_types::{PartitionId, StreamPartition};

/// How long a change of a definition that is under way has to end when the node ends.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// A running node. [`Node::shutdown`] ends it in order; dropping it is like a crash, after which nothing is lost.
pub struct Node {
    core: Arc<Core>,
    log: Arc<EmbeddedLog>,
    server: Server,
    follower: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// What is opened before anything runs: all of it blocks.
struct Opened {
    folder: Folder,
    log: Arc<EmbeddedLog>,
    store: Arc<dyn Store>,
    events: EventStore,
    workers: tw_process::Handle,
    secrets: Secrets,
}

impl Node {
    /// Starts a node on the folder of the configuration. It serves when this returns; views and sources go on where they
    /// were. Call it in a Tokio runtime with several threads.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has the folder, and whatever keeps a part from starting.
    pub async fn start(config: Config, env: Env) -> Result<Self, Error> {
        config.check()?;
        let recorder = metrics::recorder()?;
        let started = env.clock.monotonic();
        let (opening, opening_env) = (config.clone(), env.clone());
        let opened = tokio::task::spawn_blocking(move || open(&opening, opening_env)).await;
        let Opened { folder, log, store, events, workers, secrets } =
            opened.map_err(|_| Error::Interrupted)??;
        let shared: Arc<dyn Log> = log.clone();
        let engine = Engine::new(config.query, shared.clone(), store, Arc::new(workers.clone()))?;
        let place = Place { store: events.clone(), env: env.clone(), scratch: folder.scratch() };
        let sources = Arc::new(Sources::new(place, secrets));
        let definitions = Definitions::new(
            shared.clone(),
            events.clone(),
            engine.clone(),
            workers.clone(),
            sources.clone(),
            env.clone(),
        );
        let definitions = Arc::new(definitions);
        definitions.follow().await?;
        let time = Arc::new(SystemTime::new(&env));
        let coordination = Arc::new(MemoryCoordination::new(time, &MemoryOptions::default())?);
        let core = Arc::new(Core {
            options: config.node,
            folder,
            env,
            coordination,
            log: shared,
            events,
            workers,
            engine,
            sources,
            definitions,
            started,
            closing: AtomicBool::new(false),
        });
        let server = match Server::start(config.http, parts(&core, recorder)).await {
            Ok(server) => server,
            Err(error) => {
                end(&core, &log).await?;
                return Err(error.into());
            }
        };
        let (stop, stopped) = watch::channel(false);
        let follower = tokio::spawn(follow(core.clone(), stopped));
        tracing::info!(address = %server.address(), folder = %core.folder.path().display(), "the node is ready");
        Ok(Self { core, log, server, follower, stop })
    }

    /// The address on which it serves.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Ends the node: requests under way end, sources confirm what they have, views commit what is under way, and the log
    /// is closed. What is not done in its time is done again after the next start; nothing is lost.
    ///
    /// # Errors
    /// [`tw_process::Error::NotDrained`], which is harmless.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.core.closing.store(true, Ordering::Release);
        tracing::info!("the node is shutting down");
        self.server.shutdown().await;
        self.stop.send_replace(true);
        self.core.definitions.close(CHANGE_MAX).await;
        let _panic_was_logged = self.follower.await;
        end(&self.core, &self.log).await
    }
}

/// Ends what runs below the interface.
async fn end(core: &Arc<Core>, log: &Arc<EmbeddedLog>) -> Result<(), Error> {
    core.closing.store(true, Ordering::Release);
    core.sources.stop_all().await;
    let (core, log) = (core.clone(), log.clone());
    let ended = tokio::task::spawn_blocking(move || {
        let drained = core.workers.shutdown();
        // What is not stored of the index is replayed after the next start.
        if let Err(error) = core.events.flush() {
            tracing::warn!(error = crate::error::chain(&error), "the subject index was not stored");
        }
        log.close();
        drained
    });
    Ok(ended.await.map_err(|_| Error::Interrupted)??)
}

fn open(config: &Config, env: Env) -> Result<Opened, Error> {
    let folder = Folder::new(config.node.data.clone());
    folder.create()?;
    let busy = |error| match error {
        tw_log::Error::Locked(_) => Error::Busy(folder.path().to_owned()),
        error => Error::Log(error),
    };
    // First of all: its lock is what keeps other processes away from the folder.
    let log = Arc::new(EmbeddedLog::open(folder.log(), config.log.clone(), env.clone()).map_err(busy)?);
    let state = folder.state();
    let store = DiskStore::open(&state, config.state.clone());
    let store: Arc<dyn Store> = Arc::new(store.map_err(|source| Error::State { path: state, source })?);
    let secrets = Secrets::open(folder.secrets())?;
    let shared: Arc<dyn Log> = log.clone();
    let events = EventStore::open(shared.clone(), store.clone(), env.clone(), config.events.clone())?;
    let workers =
        Workers::start(config.process.clone(), shared, store.clone(), Arc::new(events.clone()), env)?;
    Ok(Opened { folder, log, store, events, workers, secrets })
}

fn parts(core: &Arc<Core>, metrics: metrics_exporter_prometheus::PrometheusHandle) -> Parts {
    Parts {
        events: core.events.clone(),
        sql: Arc::new(NodeSql(core.clone())),
        control: Arc::new(NodeControl::new(core.clone())),
        parked: Arc::new(NodeParked(core.clone())),
        metrics,
        env: core.env.clone(),
    }
}

/// Follows what changes definitions without a statement (a source that makes streams), tries again what did not work, and
/// refreshes the metrics.
async fn follow(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let refresh = Duration::from_millis(core.options.refresh_ms);
    let changes = core.log.definitions();
    let config = StreamPartition::new(CONFIG_STREAM, PartitionId(0));
    let Ok(events) = core.log.end_signal(config) else { return };
    let mut gauges = metrics::Gauges::default();
    loop {
        let seen = (changes.get(), events.get());
        definitions::report(core.definitions.follow().await);
        gauges.refresh(&core).await;
        tokio::select! {
            _ = changes.over(seen.0) => {}
            _ = events.over(seen.1) => {}
            () = tokio::time::sleep(refresh) => {}
            _ = stopped.changed() => return,
        }
    }
}
