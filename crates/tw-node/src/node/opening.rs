//! What is opened before anything runs. All of it blocks.

use crate::cluster::Identity;
use crate::secrets::Secrets;
use crate::{Config, Error, Folder, epoch};
use std::sync::Arc;
use tokio::runtime::Handle;
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{EmbeddedLog, Log};
use tw_log_kafka::{Groups, KafkaLog};
use tw_process::{Assigned, Workers};
use tw_state::{DiskStore, Store};

/// The log, and who has to be told that it ends.
pub(super) enum Engine {
    /// The embedded one.
    Embedded(Arc<EmbeddedLog>),
    /// Kafka's, which ends when nobody has it any more.
    Kafka(Arc<KafkaLog>),
}

impl Engine {
    pub(super) fn log(&self) -> Arc<dyn Log> {
        match self {
            Self::Embedded(log) => log.clone(),
            Self::Kafka(log) => log.clone(),
        }
    }

    /// The consumer groups of whoever reads the log's topics, if it has any.
    pub(super) fn groups(&self) -> Option<Groups> {
        match self {
            Self::Embedded(_) => None,
            Self::Kafka(log) => Some(Groups::new(log.clone())),
        }
    }

    /// Which installation this is, where one has the log to itself.
    pub(super) fn installation(&self) -> Option<u128> {
        match self {
            Self::Embedded(log) => Some(log.id()),
            Self::Kafka(_) => None,
        }
    }

    /// Ends the log in order. Blocks.
    pub(super) fn close(&self) {
        match self {
            Self::Embedded(log) => log.close(),
            Self::Kafka(_) => {}
        }
    }
}

/// What is open.
pub(super) struct Opened {
    pub(super) folder: Folder,
    pub(super) engine: Engine,
    pub(super) store: Arc<dyn Store>,
    pub(super) events: EventStore,
    pub(super) workers: tw_process::Handle,
    pub(super) secrets: Secrets,
    /// Who the node is, if it is one of many.
    pub(super) identity: Option<Identity>,
    /// Keeps other processes away from the folder.
    pub(super) lock: Option<std::fs::File>,
    /// The number of this run on the folder, if the node is alone.
    pub(super) epoch: u64,
}

/// Opens everything below the interface.
///
/// # Errors
/// [`Error::Busy`] when another process has the folder, and whatever else is in the way.
pub(super) fn open(config: &Config, env: Env) -> Result<Opened, Error> {
    let folder = Folder::new(config.node.data.clone());
    folder.create()?;
    // First of all: what keeps other processes away from the folder.
    let (engine, identity, lock) = if config.cluster.enabled {
        let (lock, instance) = folder.instance(&env)?;
        let node = config.cluster.name()?;
        let start = env.random.next_u64() as u32;
        let writer = format!("{node}-{instance}-{start:08x}");
        let options = tw_log_kafka::Options { writer: writer.clone(), ..config.kafka.clone() };
        let log = KafkaLog::open(options, env.clone())?;
        (Engine::Kafka(Arc::new(log)), Some(Identity { node, instance, writer }), Some(lock))
    } else {
        let busy = |error| match error {
            tw_log::Error::Locked(_) => Error::Busy(folder.path().to_owned()),
            error => Error::Log(error),
        };
        let log = EmbeddedLog::open(folder.log(), config.embedded_log(), env.clone()).map_err(busy)?;
        (Engine::Embedded(Arc::new(log)), None, None)
    };
    let epoch = if identity.is_none() { epoch::next(&folder.epoch())? } else { 0 };
    let state = folder.state();
    let store = DiskStore::open(&state, config.state.clone());
    let store: Arc<dyn Store> = Arc::new(store.map_err(|source| Error::State { path: state, source })?);
    let secrets = Secrets::open(folder.secrets())?;
    let log = engine.log();
    let events = EventStore::open(log.clone(), store.clone(), env.clone(), config.events.clone())?;
    if config.region.is_region() {
        let peers = config.region.peers.iter().map(|peer| peer.id);
        Handle::current().block_on(tw_region::define(log.as_ref(), peers))?;
        Handle::current().block_on(crate::routing::define(log.as_ref(), &config.routing))?;
        if tw_region::service::is_restoring(log.as_ref())? {
            // Before anybody can write; the links end it.
            events.hold(true);
        }
    }
    let workers = Workers::start(config.process.clone(), log, store.clone(), Arc::new(events.clone()), env)?;
    if identity.is_some() {
        // Nothing is processed before it is this node's.
        workers.assign(Assigned::Only([].into()))?;
    }
    Ok(Opened { folder, engine, store, events, workers, secrets, identity, lock, epoch })
}
