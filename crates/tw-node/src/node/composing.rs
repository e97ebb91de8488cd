//! Putting together what runs below the interface.

use super::opening::{Engine as LogEngine, Opened, open};
use crate::cluster::{Balance, Cluster, Identity, NodePeers};
use crate::core::{Core, Regions};
use crate::definitions::Definitions;
use crate::meters::Meters;
use crate::regions::{CaptureGate, Drain};
use crate::routing::Plans;
use crate::secrets::{Passwords, Secrets};
use crate::sources::Sources;
use crate::{Config, Error, live, merged};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use tw_capture::Place;
use tw_cluster::{Coordination, EtcdCoordination, MemoryCoordination, MemoryOptions, Revision, SystemTime};
use tw_depot::Objects;
use tw_env::Env;
use tw_log::Log;
use tw_project::Engine;
use tw_state::Store;
use tw_trace::Traces;

/// So many changes to what is agreed on in process fit between two runs of a node: their revisions are fencing tokens, and must
/// rise over restarts. JavaScript's numbers are exact up to the two millionth run.
const CHANGES_PER_RUN: u64 = 1 << 32;

/// Everything below the interface, running.
pub(super) struct Composed {
    pub(super) core: Arc<Core>,
    pub(super) log: LogEngine,
    /// Who the node is, if it is one of many.
    pub(super) identity: Option<Identity>,
}

/// Opens what a node is made of, and has it follow the definitions. One of many has nothing to do before it has joined.
///
/// # Errors
/// Whatever keeps a part from starting.
pub(super) async fn compose(config: Config, env: Env) -> Result<Composed, Error> {
    let started = env.clock.monotonic();
    let (opening, opening_env) = (config.clone(), env.clone());
    let opened = tokio::task::spawn_blocking(move || open(&opening, opening_env)).await;
    let Opened { folder, engine: log, store, events, workers, secrets, identity, lock, epoch } =
        opened.map_err(|_| Error::Interrupted)??;
    let shared = log.log();
    let cluster = Arc::new(Cluster::default());
    let balance = identity.is_some().then(|| balance(&config, &cluster, &env)).transpose()?;
    let peers = balance.clone().map(|balance| NodePeers { ways: cluster.make_ways(), balance });
    let engine = engine(&config, shared.clone(), store, &workers, peers)?;
    let (coordination, passwords) = coordination(&config, &env, secrets, epoch)?;
    let gate = Arc::new(CaptureGate::default());
    let place =
        Place { store: events.clone(), env: env.clone(), scratch: folder.scratch(), gate: gate.clone() };
    let sources = Arc::new(Sources::new(place, passwords));
    if identity.is_some() {
        sources.allow_none();
    }
    let definitions = Arc::new(Definitions::new(
        shared.clone(),
        events.clone(),
        engine.clone(),
        workers.clone(),
        sources.clone(),
        env.clone(),
    ));
    keep_snapshots(&config, &workers, &cluster)?;
    definitions.follow().await?;
    let components = live::Components {
        engine: engine.clone(),
        workers: workers.clone(),
        events: events.clone(),
        balance,
        http: OnceLock::new(),
    };
    let meters = Meters::new(&config.metrics);
    let plans = Plans::new(&config.routing, shared.region());
    let regions = Regions::new(Drain::open(folder.drained(), shared.settled()), plans);
    let traces =
        Traces::new(env.clone(), &place_of(&config, identity.as_ref()), config.node.trace_spans_max as usize);
    let (keeps_snapshots, cluster_options) = (!config.depot.place.is_empty(), config.cluster.clone());
    let options = live::Options::new(config, env.clone(), components);
    options.follow().await?;
    let core = Arc::new(Core {
        options,
        cluster_options,
        cluster,
        folder,
        _lock: lock,
        env,
        coordination,
        log: shared,
        events,
        workers,
        keeps_snapshots,
        engine,
        sources,
        regions,
        traces,
        meters,
        definitions,
        started,
        closing: AtomicBool::new(false),
        fenced: watch::Sender::new(false),
    });
    gate.open(&core);
    Ok(Composed { core, log, identity })
}

/// What a node calls itself in traces.
fn place_of(config: &Config, identity: Option<&Identity>) -> String {
    match identity {
        Some(identity) => format!("node {}", identity.node),
        None if config.region.is_region() => format!("region {}", config.region.id),
        None => "this node".to_owned(),
    }
}

/// What nodes agree on, and where passwords are: those of a cluster share both.
fn coordination(
    config: &Config,
    env: &Env,
    secrets: Secrets,
    epoch: u64,
) -> Result<(Arc<dyn Coordination>, Passwords), Error> {
    let time = Arc::new(SystemTime::new(env));
    if config.cluster.enabled {
        let etcd = Arc::new(EtcdCoordination::new(time, &config.etcd)?);
        return Ok((etcd.clone(), Passwords::Shared(etcd)));
    }
    let first = Revision(epoch.saturating_mul(CHANGES_PER_RUN));
    let memory = MemoryCoordination::starting_at(time, &MemoryOptions::default(), first)?;
    Ok((Arc::new(memory), Passwords::File(secrets)))
}

/// Has snapshots of state stored and taken, if there is a depot.
fn keep_snapshots(
    config: &Config,
    workers: &tw_process::Handle,
    cluster: &Arc<Cluster>,
) -> Result<(), Error> {
    let Some(depot) = Objects::open(&config.depot, tokio::runtime::Handle::current())? else {
        return Ok(());
    };
    let (is_alone, cluster) = (!config.cluster.enabled, Arc::downgrade(cluster));
    let owns = move |at| is_alone || cluster.upgrade().is_some_and(|cluster| cluster.owns(at));
    // A node does without a depot that fails, but whoever wrote the configuration learns of it now.
    let probed = depot.clone();
    tokio::spawn(async move {
        let place = probed.place();
        match probed.probe().await {
            Ok(()) => tracing::info!(place, "snapshots of state are kept in a depot"),
            Err(error) => {
                let error = tw_types::chain(&error);
                tracing::warn!(
                    place,
                    error,
                    "no snapshots of state are stored or taken while the depot fails"
                );
            }
        }
    });
    Ok(workers.keep_snapshots(Arc::new(depot), config.snapshots.clone(), owns)?)
}

/// What balances the reads of views that several nodes can answer.
fn balance(config: &Config, cluster: &Arc<Cluster>, env: &Env) -> Result<Arc<Balance>, tw_cluster::Error> {
    Ok(Arc::new(Balance::new(cluster, env.clone(), &config.cluster.balance)?))
}

/// The engine of queries, which asks other nodes for what they have, and knows what other regions have seen.
fn engine(
    config: &Config,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    workers: &tw_process::Handle,
    peers: Option<NodePeers>,
) -> Result<Engine, tw_project::Error> {
    let (views, options) = (Arc::new(workers.clone()), config.query.clone());
    let engine = match peers {
        Some(peers) => Engine::joined(options, log.clone(), store, views, Arc::new(peers)),
        None => Engine::new(options, log.clone(), store, views),
    }?;
    if config.region.is_region() {
        let peers = config.region.peers.iter().map(|peer| peer.id);
        engine.set_knowledge(merged::knowledge(log, peers));
    }
    Ok(engine)
}
