//! What this node has: the other end of the cluster's decisions.

use super::gates::Gates;
use super::weights::{self, Weights};
use super::{Identity, Subject, audit, history};
use crate::core::Core;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use tokio::sync::watch;
use tw_cluster::Units;
use tw_log::CONFIG_PARTITION;
use tw_plan::placement::Unit;
use tw_process::Assigned;
use tw_types::chain;
use tw_types::{PartitionId, StreamPartition};

/// Carries out what the node's part in the cluster demands.
pub(crate) struct Host {
    core: Weak<Core>,
    pub(crate) gates: Arc<Gates>,
    /// The writers that are shut out already. Locked while one is: who shuts out the same one at the same time is shut out of
    /// that by the other.
    fenced: tokio::sync::Mutex<BTreeSet<String>>,
    /// The partitions whose views are to be kept up to date here.
    kept: watch::Sender<BTreeSet<StreamPartition>>,
    identity: Identity,
    /// The incarnation whose registration is in the log.
    said: tokio::sync::Mutex<u64>,
    /// The units that there were at the last look.
    seen: Mutex<BTreeSet<Unit>>,
    weights: Mutex<Weights>,
    /// How much others had written to each partition when it was opened here.
    by_others: Mutex<HashMap<StreamPartition, u64>>,
}

impl Host {
    pub(crate) fn new(core: &Arc<Core>, identity: Identity) -> Self {
        let (kept, changes) = watch::channel(BTreeSet::new());
        tokio::spawn(assign(core.workers.clone(), changes));
        Self {
            core: Arc::downgrade(core),
            gates: Arc::default(),
            fenced: tokio::sync::Mutex::default(),
            kept,
            identity,
            said: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
            weights: Mutex::default(),
            by_others: Mutex::default(),
        }
    }

    /// Looks where all partitions end, by which they are weighed.
    pub(super) fn weigh(&self, core: &Core) {
        let streams = core.log.streams();
        let ends = streams.iter().flat_map(|stream| {
            (0..stream.partitions).filter_map(|partition| {
                let at = StreamPartition::new(stream.id, PartitionId(partition));
                Some((at, core.log.bounds(at).ok()?.end.0))
            })
        });
        self.weights.lock().look(ends, core.env.clock.monotonic());
    }

    /// Whether there are other units than at the last look.
    pub(super) fn has_other_units(&self) -> bool {
        let units = self.all();
        let mut seen = self.seen.lock();
        let differ = *seen != units;
        *seen = units;
        differ
    }

    fn core(&self) -> Result<Arc<Core>, String> {
        self.core.upgrade().ok_or_else(|| "the node is shutting down".to_owned())
    }

    /// Shuts these writers out, each once.
    async fn fence(&self, core: &Core, writers: &[String]) -> Result<(), String> {
        let mut fenced = self.fenced.lock().await;
        for writer in writers {
            if fenced.contains(writer) {
                continue;
            }
            core.log.fence(writer).await.map_err(|error| chain(&error))?;
            tracing::info!(writer, "the writer is shut out of the log");
            fenced.insert(writer.clone());
        }
        Ok(())
    }

    /// Says in the log that this node is registered, once for each incarnation.
    async fn say_registered(&self, core: &Core) -> Result<(), String> {
        let Some(owners) = core.cluster.owners() else { return Err("the node is joining".to_owned()) };
        let incarnation = owners.incarnation();
        let mut said = self.said.lock().await;
        if *said != incarnation {
            let outcome = history::registered(core, &self.identity, incarnation).await;
            core.look_for_fence();
            outcome?;
            *said = incarnation;
        }
        Ok(())
    }

    async fn open_unit(&self, unit: &Unit, fence: &[String]) -> Result<(), String> {
        let core = self.core()?;
        self.say_registered(&core).await?;
        self.fence(&core, fence).await?;
        match Subject::of(unit) {
            Some(Subject::Partition(at)) => {
                // Not known here yet, if it was made a moment ago.
                if core.log.bounds(at).is_err() {
                    core.log.refresh(&[CONFIG_PARTITION]).await.map_err(|error| chain(&error))?;
                }
                let began = core.env.clock.monotonic();
                core.log.refresh(&[at]).await.map_err(|error| chain(&error))?;
                let known = core.env.clock.monotonic();
                core.events.catch_up(at).await.map_err(|error| chain(&error))?;
                self.by_others.lock().insert(at, core.events.by_others(at));
                self.gates.open(at);
                let (refresh, catch_up) = (known - began, core.env.clock.monotonic() - known);
                tracing::debug!(%at, ?refresh, ?catch_up, "the partition takes appends here");
            }
            Some(Subject::Source(name)) => {
                core.sources.allow(&name);
                core.definitions.follow_anew().await.map_err(|error| chain(&error))?;
            }
            None => return Err(format!("`{unit}` is of a later version: upgrade this node")),
        }
        Ok(())
    }
}

impl Units for Host {
    fn all(&self) -> BTreeSet<Unit> {
        let Ok(core) = self.core() else { return BTreeSet::new() };
        let mut units = BTreeSet::new();
        for stream in core.log.streams().iter() {
            let partitions = (0..stream.partitions).map(PartitionId);
            units.extend(partitions.map(|partition| Unit::from(StreamPartition::new(stream.id, partition))));
        }
        units.extend(core.engine.catalog().sources().filter_map(|source| Subject::source(&source.def.name)));
        units
    }

    fn weight(&self, unit: &Unit) -> Option<u32> {
        Some(match Subject::of(unit) {
            Some(Subject::Partition(at)) => self.weights.lock().of(at),
            _ => weights::IDLE,
        })
    }

    fn keep(&self, kept: &BTreeSet<Unit>) {
        let partition = |unit: &Unit| match Subject::of(unit) {
            Some(Subject::Partition(at)) => Some(at),
            _ => None,
        };
        self.kept.send_replace(kept.iter().filter_map(partition).collect());
    }

    fn is_warm(&self, unit: &Unit) -> bool {
        let Ok(core) = self.core() else { return false };
        match Subject::of(unit) {
            Some(Subject::Partition(at)) => {
                let warmth = core.workers.warmth(at);
                warmth.views == 0 || warmth.is_within(core.cluster_options.warm_events_max)
            }
            // What a source needs is in its database and in the log.
            Some(Subject::Source(_)) => true,
            None => false,
        }
    }

    fn is_meddled_with(&self, unit: &Unit) -> bool {
        let (Some(Subject::Partition(at)), Ok(core)) = (Subject::of(unit), self.core()) else { return false };
        let streams = core.log.streams();
        let by_owner = streams.by_id(at.stream).is_ok_and(|stream| audit::is_written_by_its_owner(stream));
        let opened = self.by_others.lock().get(&at).copied();
        by_owner && opened.is_some_and(|opened| core.events.by_others(at) > opened)
    }

    fn open<'a>(
        &'a self,
        unit: &'a Unit,
        epoch: u64,
        fence: &'a [String],
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            self.open_unit(unit, fence).await?;
            tracing::debug!(%unit, epoch, "this node owns the unit");
            Ok(())
        })
    }

    fn shut<'a>(&'a self, unit: &'a Unit) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match (Subject::of(unit), self.core()) {
                (Some(Subject::Partition(at)), _) => {
                    self.gates.shut(at).await;
                    self.by_others.lock().remove(&at);
                }
                (Some(Subject::Source(name)), Ok(core)) => core.sources.disallow(&name).await,
                _ => {}
            }
            tracing::debug!(%unit, "this node gives the unit up");
        })
    }
}

/// Says in the log that the node is registered, before it gets anything. If it cannot now, it does so with its first unit.
pub(super) async fn introduce(core: Weak<Core>) {
    let Some(core) = core.upgrade() else { return };
    let Some(host) = core.cluster.host() else { return };
    if let Err(error) = host.say_registered(&core).await {
        tracing::debug!(error, "that the node is registered is said later");
    }
}

/// Has the workers process what is kept here, one change after the other; only the latest counts.
async fn assign(workers: tw_process::Handle, mut kept: watch::Receiver<BTreeSet<StreamPartition>>) {
    while kept.changed().await.is_ok() {
        let partitions = kept.borrow_and_update().clone();
        let workers = workers.clone();
        // The store is asked: not in a task.
        let assigned = tokio::task::spawn_blocking(move || workers.assign(Assigned::Only(partitions))).await;
        match assigned {
            Ok(Ok(())) => {}
            Ok(Err(tw_process::Error::Closed)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "partitions are not processed as they are placed");
            }
        }
    }
}
