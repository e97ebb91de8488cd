//! What the parts of a node share.

use crate::cluster::{Cluster, ClusterOptions};
use crate::definitions::Definitions;
use crate::folder::Folder;
use crate::live::Options;
use crate::meters::Meters;
use crate::sources::Sources;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tw_cluster::Coordination;
use tw_env::Env;
use tw_log::Log;
use tw_log::store::EventStore;
use tw_project::Engine;
use tw_region::service::Links;
use tw_trace::Traces;

/// Everything that runs in a node below its interface.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) cluster_options: ClusterOptions,
    /// The node's part in its cluster; empty of one that is alone.
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) folder: Folder,
    /// Keeps other processes away from the folder, where the log does not.
    pub(crate) _lock: Option<std::fs::File>,
    pub(crate) env: Env,
    /// What the nodes of a cluster agree on; of a node that is alone, what its clients do.
    pub(crate) coordination: Arc<dyn Coordination>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) events: EventStore,
    pub(crate) workers: tw_process::Handle,
    /// Whether there is a depot for snapshots of state.
    pub(crate) keeps_snapshots: bool,
    pub(crate) engine: Engine,
    pub(crate) sources: Arc<Sources>,
    pub(crate) regions: Regions,
    /// What is recorded of requests.
    pub(crate) traces: Arc<Traces>,
    /// What is measured over time.
    pub(crate) meters: Meters,
    pub(crate) definitions: Arc<Definitions>,
    /// When the node was started, on the clock that only rises.
    pub(crate) started: Duration,
    pub(crate) closing: AtomicBool,
    /// Whether this process was shut out of the log.
    pub(crate) fenced: watch::Sender<bool>,
}

/// The links with other regions; empty of an installation that is the only one.
pub(crate) struct Regions {
    /// The links, once they run.
    pub(crate) links: OnceLock<Links>,
    /// How requests get to them.
    pub(crate) wire: crate::regions::Wire,
    /// What answers queries of DNS, if this region does.
    pub(crate) dns: Mutex<Option<tw_dns::Server>>,
    /// By which plan users are spread over them.
    pub(crate) plans: crate::routing::Plans,
    /// Whether this region is drained.
    pub(crate) drain: crate::regions::Drain,
    /// What was wrong with them when they were looked at last.
    pub(crate) problems: Mutex<Vec<String>>,
    /// Held by whoever reads everything to hash it: one at a time, so that memory stays bounded.
    pub(crate) hashing: tokio::sync::Mutex<()>,
}

impl Regions {
    /// Does what holds now of what can be set while nodes run.
    pub(crate) fn follow(&self, config: &crate::Config) {
        if let Some(links) = self.links.get() {
            links.limit_sending(config.region.send_bytes_per_second_max);
        }
    }

    /// None yet, of a region that may be drained.
    pub(crate) fn new(drain: crate::regions::Drain, plans: crate::routing::Plans) -> Self {
        Self {
            links: OnceLock::new(),
            wire: crate::regions::Wire::default(),
            dns: Mutex::default(),
            plans,
            drain,
            problems: Mutex::default(),
            hashing: tokio::sync::Mutex::default(),
        }
    }
}

impl Core {
    /// Whether the node is about to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Notes it when this process was shut out of the log: then only a new start helps.
    pub(crate) fn look_for_fence(&self) {
        if matches!(self.log.refusal(), Some(tw_log::Error::Fenced { .. })) {
            self.fenced.send_replace(true);
        }
    }

    /// How long the log has given no sign of life, in milliseconds, if that is too long.
    pub(crate) fn log_silent_ms(&self) -> Option<u64> {
        self.cluster.pulse().silent_ms(self.env.clock.monotonic())
    }

    /// Why the log takes no events, if it does not.
    pub(crate) fn log_failure(&self) -> Option<tw_log::Error> {
        self.log.refusal()
    }
}
