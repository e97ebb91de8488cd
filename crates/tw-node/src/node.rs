//! A node's life: it starts things in their order, follows the definitions, and ends things in the opposite order.

mod composing;
mod opening;

use crate::claims::NodeClaims;
use crate::core::Core;
use crate::definitions;
use crate::meters::{self, NodeMeters};
use crate::parts::{
    NodeCluster, NodeControl, NodeGroups, NodeLocks, NodeParked, NodeRegions, NodeSettings, NodeSql,
    NodeTrails,
};
use crate::rights::NodeRights;
use crate::{Config, Error, live, merged, metrics, regions};
use composing::{Composed, compose};
use opening::Engine as LogEngine;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tw_api::parts::{Alone, Routes};
use tw_api::{Parts, Server};
use tw_env::Env;
use tw_log::CONFIG_PARTITION;

/// How long a change of a definition that is under way has to end when the node ends.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// What a node is called that is not one of many.
const ALONE: &str = "node";

/// A running node. [`Node::shutdown`] ends it in order; dropping it is like a crash, after which nothing is lost.
pub struct Node {
    core: Arc<Core>,
    log: LogEngine,
    server: Server,
    follower: JoinHandle<()>,
    /// Who tells conflicts.
    teller: JoinHandle<()>,
    /// Who measures over time.
    meter: JoinHandle<()>,
    stop: watch::Sender<bool>,
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
        let Composed { core, log, identity } = compose(config, env).await?;
        let http = core.options.holds().interface();
        let name = identity.as_ref().map_or_else(|| ALONE.to_owned(), |identity| identity.node.clone());
        let routes: Arc<dyn Routes> = match identity {
            Some(_) => core.cluster.make_ways(),
            None => Arc::new(Alone),
        };
        let server = match Server::start(http, parts(&core, &log, routes, recorder)).await {
            Ok(server) => server,
            Err(error) => {
                end(&core, log).await?;
                return Err(error.into());
            }
        };
        core.options.serves(server.handle());
        if let Some(identity) = identity
            && let Err(error) = core.cluster.join(&core, &identity, server.address()).await
        {
            server.shutdown().await;
            end(&core, log).await?;
            return Err(error);
        }
        if let Err(error) = regions::start(&core, log.installation(), server.handle()).await {
            core.cluster.leave().await;
            server.shutdown().await;
            end(&core, log).await?;
            return Err(error);
        }
        let (stop, stopped) = watch::channel(false);
        let follower = tokio::spawn(follow(core.clone(), stopped.clone()));
        let teller = tokio::spawn(tell(core.clone(), stopped.clone()));
        let meter = tokio::spawn(meters::run(core.clone(), name, stopped));
        tracing::info!(address = %server.address(), folder = %core.folder.path().display(), "the node is ready");
        Ok(Self { core, log, server, follower, teller, meter, stop })
    }

    /// The address on which it serves.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Waits until the node has to be started anew, with the reason: another node has taken over what this one had while it was
    /// away, and has shut it out of the log. For ever, if that does not happen.
    pub async fn outlived(&self) -> &'static str {
        let mut fenced = self.core.fenced.subscribe();
        let _never_closed = fenced.wait_for(|fenced| *fenced).await;
        "another node has taken over what this one had, and has shut it out of the log"
    }

    /// Ends the node: requests under way end, sources confirm what they have, views commit what is under way, and the log
    /// is closed. What is not done in its time is done again after the next start; nothing is lost.
    ///
    /// # Errors
    /// [`tw_process::Error::NotDrained`], which is harmless.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.core.closing.store(true, Ordering::Release);
        tracing::info!("the node is shutting down");
        // What this node has goes to others first, so that they can take what still comes here.
        self.core.cluster.leave().await;
        self.server.shutdown().await;
        self.stop.send_replace(true);
        self.core.definitions.close(CHANGE_MAX).await;
        // What it has not appended is not kept: it may be waiting for a slow log.
        self.meter.abort();
        let _panic_was_logged = (self.follower.await, self.teller.await);
        end(&self.core, self.log).await
    }
}

/// Ends what runs below the interface.
async fn end(core: &Arc<Core>, log: LogEngine) -> Result<(), Error> {
    core.closing.store(true, Ordering::Release);
    core.sources.stop_all().await;
    let dns = core.regions.dns.lock().take();
    if let Some(dns) = dns {
        dns.shutdown().await;
    }
    if let Some(links) = core.regions.links.get() {
        links.stop().await;
    }
    let core = core.clone();
    let ended = tokio::task::spawn_blocking(move || {
        let drained = core.workers.shutdown();
        // What is not stored of the index is replayed after the next start.
        if let Err(error) = core.events.flush() {
            tracing::warn!(error = tw_types::chain(&error), "the subject index was not stored");
        }
        log.close();
        drained
    });
    Ok(ended.await.map_err(|_| Error::Interrupted)??)
}

fn parts(
    core: &Arc<Core>,
    log: &LogEngine,
    routes: Arc<dyn Routes>,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
) -> Parts {
    let is_one_of_many = core.cluster_options.enabled;
    let is_region = core.options.holds().region.is_region();
    let claims = Arc::new(NodeClaims::new(core.clone()));
    Parts {
        events: core.events.clone(),
        sql: Arc::new(NodeSql(core.clone())),
        control: Arc::new(NodeControl::new(core.clone())),
        parked: Arc::new(NodeParked(core.clone())),
        cluster: is_one_of_many
            .then(|| -> Arc<dyn tw_api::parts::Cluster> { Arc::new(NodeCluster(core.clone())) }),
        regions: is_region
            .then(|| -> Arc<dyn tw_api::parts::Regions> { Arc::new(NodeRegions(core.clone())) }),
        routes,
        rights: Some(Arc::new(NodeRights::new(core.clone(), claims.clone()))),
        claims: Some(claims),
        groups: log.groups().map(|groups| -> Arc<dyn tw_api::parts::Groups> { Arc::new(NodeGroups(groups)) }),
        locks: Arc::new(NodeLocks(core.clone())),
        settings: Arc::new(NodeSettings(core.clone())),
        traces: core.traces.clone(),
        trails: Arc::new(NodeTrails(core.clone())),
        meters: Arc::new(NodeMeters(core.clone())),
        metrics,
        env: core.env.clone(),
    }
}

/// Tells conflicts until the node ends.
async fn tell(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = merged::tell(core) => {}
        _ = stopped.changed() => {}
    }
}

/// Follows what changes definitions without a statement (a source that makes streams), tries again what did not work, and
/// refreshes the metrics.
async fn follow(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let changes = core.log.definitions();
    let Ok(events) = core.log.end_signal(CONFIG_PARTITION) else { return };
    let shared = core.definitions.said();
    let mut gauges = metrics::Gauges::default();
    loop {
        let seen = (changes.get(), events.get(), shared.get());
        definitions::report(core.definitions.follow().await);
        core.look_for_fence();
        core.cluster.look_for_units();
        live::report(core.options.follow().await);
        core.regions.follow(&core.options.holds());
        let refresh = Duration::from_millis(core.options.holds().node.refresh_ms);
        gauges.refresh(&core).await;
        tokio::select! {
            _ = changes.over(seen.0) => {}
            _ = events.over(seen.1) => {}
            _ = shared.over(seen.2) => {}
            () = tokio::time::sleep(refresh) => {}
            _ = stopped.changed() => return,
        }
    }
}
