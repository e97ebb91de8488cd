//! A node as one of many: what it has of the cluster's units, and where the others are.
//!
//! ```text
//! plan, claims ──▶ Owners ──open, shut, keep──▶ Host ──▶ gates (writes), workers (views), sources
//!                     ▲                          │
//!  requests ──▶ Ways ─┘ who has what             └─▶ log: fence, refresh
//! ```
//!
//! A unit is a partition of a stream (`7/0`) or a source (`source/shop`). Its owner takes writes to the partition, or runs the
//! source; owner and standbys keep the views of the partition up to date.

mod audit;
mod balance;
mod gates;
mod history;
mod host;
mod load;
mod options;
mod peers;
mod probes;
mod pulse;
mod remote;
mod units;
mod ways;
mod weights;
mod wire;

pub(crate) use audit::name_of;
pub(crate) use balance::Balance;
pub use balance::BalanceOptions;
pub(crate) use host::Host;
pub use options::ClusterOptions;
pub(crate) use peers::NodePeers;
pub(crate) use pulse::Pulse;
pub(crate) use units::Subject;
pub(crate) use ways::Ways;

use crate::Error;
use crate::core::Core;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::task::JoinHandle;
use tw_cluster::{Capacity, DATA_ROLE, Owner, Owners, Registration};
use tw_plan::placement::Unit;
use tw_types::StreamPartition;

/// The name under which a node's interface is registered.
pub(crate) const PROTOCOL: &str = "http";

/// A node's part in its cluster. Empty until it has joined.
#[derive(Default)]
pub(crate) struct Cluster {
    joined: OnceLock<Joined>,
    ways: OnceLock<Arc<Ways>>,
    pulse: Pulse,
    breaches: audit::Breaches,
}

struct Joined {
    owners: Owners,
    host: Arc<Host>,
    tasks: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// The units of the nodes, once this one has joined.
    pub(crate) fn owners(&self) -> Option<&Owners> {
        self.joined.get().map(|joined| &joined.owners)
    }

    /// Whether this node writes to a partition.
    pub(crate) fn owns(&self, at: StreamPartition) -> bool {
        let owner = self.owners().map(|owners| owners.owner(&Unit::from(at)));
        matches!(owner, Some(Owner::Here(_)))
    }

    /// Makes the ways to the other nodes.
    pub(crate) fn make_ways(self: &Arc<Self>) -> Arc<Ways> {
        self.ways.get_or_init(|| Arc::new(Ways::new(Arc::downgrade(self)))).clone()
    }

    /// The ways to the other nodes, if there are any.
    pub(crate) fn ways(&self) -> Option<&Ways> {
        self.ways.get().map(AsRef::as_ref)
    }

    /// Whether the log gives signs of life.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Which promises this node has found broken.
    pub(crate) fn breaches(&self) -> &audit::Breaches {
        &self.breaches
    }

    /// What this node has.
    pub(crate) fn host(&self) -> Option<&Arc<Host>> {
        self.joined.get().map(|joined| &joined.host)
    }

    /// Registers the node, which listens on `address`, and takes its share.
    ///
    /// # Errors
    /// [`Error::Coordination`].
    pub(crate) async fn join(
        &self,
        core: &Arc<Core>,
        identity: &Identity,
        address: SocketAddr,
    ) -> Result<(), Error> {
        let options = &core.cluster_options;
        let address = match options.advertise.as_str() {
            "" => address.to_string(),
            advertised => advertised.to_owned(),
        };
        let coordination = core.coordination.clone();
        let registration = Registration {
            node: identity.node.clone(),
            instance: identity.instance.clone(),
            writer: identity.writer.clone(),
            roles: BTreeSet::from([DATA_ROLE.to_owned()]),
            capacity: capacity(options, &core.folder),
            addresses: BTreeMap::from([(PROTOCOL.to_owned(), address)]),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let host = Arc::new(Host::new(core, identity.clone()));
        let (probes, ownership) = (Arc::new(probes::Probes::new(core)), options.ownership.clone());
        let owners = Owners::join(coordination, registration, host.clone(), probes, ownership).await?;
        let tasks = vec![
            tokio::spawn(load::tell(Arc::downgrade(core), options.report_ms)),
            tokio::spawn(history::tell_left(Arc::downgrade(core))),
            tokio::spawn(pulse::beat(Arc::downgrade(core), options.log_silent_ms_max)),
            tokio::spawn(audit::audit(Arc::downgrade(core), options.audit_ms)),
        ];
        let joined = Joined { owners, host, tasks };
        // Only this function sets it, and a node joins once.
        let _first = self.joined.set(joined);
        // So that the first unit that it gets need not wait for it.
        tokio::spawn(host::introduce(Arc::downgrade(core)));
        Ok(())
    }

    /// Has the units looked at again if there are others than the last time.
    pub(crate) fn look_for_units(&self) {
        let Some(Joined { owners, host, .. }) = self.joined.get() else { return };
        if host.has_other_units() {
            owners.units_changed();
        }
    }

    /// Gives up what this node has, in order: others take it over at once.
    pub(crate) async fn leave(&self) {
        let Some(joined) = self.joined.get() else { return };
        joined.tasks.iter().for_each(JoinHandle::abort);
        if let Err(error) = joined.owners.leave().await {
            tracing::warn!(%error, "the node is registered until its lease has ended");
        }
    }
}

/// Who a node is among the others.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Its name.
    pub(crate) node: String,
    /// Its folder, whatever the node is called.
    pub(crate) instance: String,
    /// The name in which this process writes to the log. No other process ever has it.
    pub(crate) writer: String,
}

fn capacity(options: &ClusterOptions, folder: &crate::Folder) -> Capacity {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let cpu_millicores = match options.capacity_millicores {
        0 => processors * 1_000,
        millicores => millicores,
    };
    Capacity {
        cpu_millicores,
        memory_bytes: load::memory_bytes().unwrap_or_default(),
        disk_bytes: folder.free_bytes().unwrap_or_default(),
    }
}
