//! What is measured of a node: gauges that are refreshed now and then, next to the counters of the interface.

use crate::Error;
use crate::core::Core;
use crate::regions::problems;
use crate::status;
use metrics::{describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use tw_api::parts::Source;
use tw_cluster::{Owner, Owners, Standing};
use tw_process::PartitionStatus;
use tw_process::snapshot::Counts;
use tw_project::KeptAnswers;
use tw_region::service::LinkState;
use tw_types::{PartitionId, StreamPartition};

/// The metrics of the process: nodes of one process share them.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Collects the metrics of this process from now on.
///
/// # Errors
/// [`Error::Metrics`] when something else does so already.
pub(crate) fn recorder() -> Result<PrometheusHandle, Error> {
    let mut recorder = RECORDER.lock();
    if let Some(handle) = &*recorder {
        return Ok(handle.clone());
    }
    let built = PrometheusBuilder::new().build_recorder();
    let handle = built.handle();
    metrics::set_global_recorder(built).map_err(|_| Error::Metrics)?;
    describe();
    *recorder = Some(handle.clone());
    Ok(handle)
}

/// What is counted of DNS.
fn describe_dns() {
    describe_gauge!("tradewind_dns_answers", "Answers to queries of DNS since the start, by their code.");
    describe_gauge!("tradewind_dns_truncated", "Answers over UDP that were too long, and cut.");
    describe_gauge!(
        "tradewind_dns_limited",
        "Queries that got a cut answer or none, because their network asked too often."
    );
}

fn describe() {
    describe_gauge!("tradewind_uptime_seconds", "How long the node has run.");
    describe_dns();
    describe_gauge!("tradewind_disk_free_bytes", "Free bytes on the disk of the data folder.");
    describe_gauge!(
        "tradewind_problems",
        "Things that are not as they should be; `tradewind status` lists them."
    );
    describe_gauge!("tradewind_stream_events", "Events that a stream holds.");
    describe_gauge!("tradewind_stream_end", "Offsets that a stream has given, over its partitions.");
    describe_gauge!(
        "tradewind_index_bytes",
        "Memory of the part of the subject index that is not stored yet."
    );
    describe_gauge!("tradewind_dedup_bytes", "Memory of the ids that those of new events are compared with.");
    describe_gauge!("tradewind_view_lag_events", "How many events a view is behind.");
    describe_gauge!(
        "tradewind_view_lag_seconds",
        "How old the last processed event is while there are newer ones."
    );
    describe_gauge!("tradewind_view_events_per_second", "Events that a view processes per second.");
    describe_gauge!("tradewind_view_parked", "Subjects of a view that wait for a person (PRO-3).");
    describe_gauge!("tradewind_view_state_bytes", "Bytes that the state of a view takes.");
    describe_gauge!("tradewind_snapshot_stored", "Snapshots of state that were stored since the start.");
    describe_gauge!("tradewind_snapshot_stored_bytes", "Bytes of them in the depot.");
    describe_gauge!(
        "tradewind_snapshot_failures",
        "Snapshots that could not be stored, old ones that could not be removed, and depots that could not be asked."
    );
    describe_gauge!("tradewind_snapshot_restored", "Partitions that began with a snapshot.");
    describe_gauge!(
        "tradewind_snapshot_refused",
        "Snapshots that were not taken: damaged, incomplete, or of another log."
    );
    describe_gauge!(
        "tradewind_snapshot_lag_events",
        "The most events after the newest snapshot of a partition that this node stores."
    );
    describe_gauge!("tradewind_answers_hits", "Queries since the start that were answered by what was kept.");
    describe_gauge!(
        "tradewind_answers_misses",
        "Queries since the start whose answers could be kept, and were computed."
    );
    describe_gauge!("tradewind_answers_kept", "Answers that are kept.");
    describe_gauge!("tradewind_answers_bytes", "Memory of them, and of those that are still being taken.");
    describe_gauge!("tradewind_source_lag_seconds", "How far the log is behind a source.");
    describe_gauge!("tradewind_source_lag_bytes", "The same in bytes of the source's own log.");
    describe_gauge!("tradewind_source_retained_bytes", "Bytes of its own log that a source keeps for us.");
    describe_gauge!(
        "tradewind_source_streaming",
        "1 while a source streams, also while it reads rows that were there before, 0 otherwise."
    );
    describe_gauge!("tradewind_source_paused", "1 while a source is paused, 0 otherwise.");
    describe_gauge!(
        "tradewind_source_slot_reserved",
        "1 while the database keeps what the replication slot needs, 0 when it is lost or about to be."
    );
    describe_gauge!(
        "tradewind_source_slot_safe_bytes",
        "Bytes that the database may log before the slot may be lost, if there is a bound."
    );
    describe_gauge!("tradewind_source_snapshot_rows", "Rows that a running snapshot of a table has read.");
    describe_gauge!("tradewind_source_snapshot_rows_estimate", "About how many rows it will have read.");
    describe_cluster();
    describe_regions();
}

/// What only a region that is one of several measures.
fn describe_regions() {
    describe_gauge!(
        "tradewind_region_link_up",
        "1 while there is a link that takes what a region accepts, 0 otherwise."
    );
    describe_gauge!("tradewind_region_evicted", "1 while a region is evicted, 0 otherwise.");
    describe_gauge!(
        "tradewind_region_lag_events",
        "Events that a region has accepted and that are not here, as far as it has said."
    );
    describe_gauge!("tradewind_region_lag_seconds", "How old the oldest of them may be.");
    describe_gauge!(
        "tradewind_region_held_bytes",
        "Bytes of blocks of a region that wait for what they depend on."
    );
    describe_gauge!("tradewind_region_parked", "Partitions of a region of which nothing is taken.");
    describe_gauge!(
        "tradewind_region_received_bytes",
        "Bytes that came from a region since the start, compressed."
    );
    describe_gauge!(
        "tradewind_region_sent_bytes",
        "Bytes that were sent to a region since the start, compressed."
    );
    describe_gauge!(
        "tradewind_region_clock_ahead_seconds",
        "How far the clock of a region is ahead of the one here, less the way."
    );
}

/// What only nodes of a cluster measure.
fn describe_cluster() {
    describe_gauge!("tradewind_cluster_nodes", "Nodes that are registered, as far as this one knows.");
    describe_gauge!("tradewind_cluster_nodes_draining", "Those of them that drain.");
    describe_gauge!("tradewind_cluster_leads", "1 while this node makes the plans, 0 otherwise.");
    describe_gauge!("tradewind_cluster_plan_version", "The version of the plan that is carried out.");
    describe_gauge!(
        "tradewind_cluster_lease_held",
        "1 while this node is certainly registered, 0 while it takes no writes because it may not be."
    );
    describe_gauge!("tradewind_cluster_units_owned", "Partitions and sources that this node has.");
    describe_gauge!("tradewind_cluster_units_unowned", "Partitions and sources that nobody has (CLU-2).");
    describe_gauge!(
        "tradewind_cluster_unowned_seconds",
        "For how long the one of them that has waited longest has had no owner."
    );
    describe_gauge!("tradewind_cluster_units_in_transit", "Units that are not where the plan has them.");
    describe_counter!(
        "tradewind_invariant_broken_total",
        "Promises of the cluster (CLU-1 to CLU-3) that this node has found broken since its start."
    );
    describe_counter!(
        "tradewind_partition_reads_total",
        "Partitions of views that were read of a node, as their owner or as a standby."
    );
    describe_counter!(
        "tradewind_partition_reads_failed_total",
        "Partitions of views for which a node was asked, and did not answer, was too slow, or refused."
    );
}

/// A gauge of one thing: its name, and the labels that name the thing.
type Series = (&'static str, Vec<(&'static str, String)>);

/// The gauges of the node.
#[derive(Default)]
pub(crate) struct Gauges {
    /// What was said the last time.
    before: BTreeSet<Series>,
    now: BTreeSet<Series>,
}

/// The process may go on, with a node that knows nothing of what this one has said.
impl Drop for Gauges {
    fn drop(&mut self) {
        Self::forget(self.before.union(&self.now));
    }
}

impl Gauges {
    /// Refreshes every gauge. What is not known, and what is gone, is not a number: no rule of an alarm holds for it.
    pub(crate) async fn refresh(&mut self, core: &Arc<Core>) {
        let sources = status::sources_here(core).await;
        core.meters.note_sources(&sources);
        let status = status::node(core, &sources);
        self.set("tradewind_uptime_seconds", [], status.uptime_ms as f64 / 1_000.0);
        self.set("tradewind_disk_free_bytes", [], status.disk_free_bytes as f64);
        self.set("tradewind_problems", [], status.problems.len() as f64);
        self.set("tradewind_index_bytes", [], core.events.index_bytes() as f64);
        self.set("tradewind_dedup_bytes", [], core.events.dedup_bytes() as f64);
        self.streams(core);
        self.views(core);
        self.snapshots(core);
        self.answers(core);
        self.regions(core).await;
        self.dns(core);
        if let Some(owners) = core.cluster.owners() {
            self.cluster(owners);
        }
        sources.iter().for_each(|source| self.source(source));
        let now = std::mem::take(&mut self.now);
        Self::forget(self.before.difference(&now));
        self.before = now;
    }

    fn forget<'a>(gone: impl Iterator<Item = &'a Series>) {
        for (name, labels) in gone {
            gauge!(*name, labels).set(f64::NAN);
        }
    }

    fn set<const N: usize>(&mut self, name: &'static str, labels: [(&'static str, &str); N], value: f64) {
        let labels: Vec<_> = labels.into_iter().map(|(label, value)| (label, value.to_owned())).collect();
        gauge!(name, &labels).set(value);
        self.now.insert((name, labels));
    }

    /// Looks at the links with other regions, if there are any.
    fn dns(&mut self, core: &Core) {
        let counters = core.regions.dns.lock().as_ref().map(tw_dns::Server::counters);
        let Some(counters) = counters else { return };
        for (code, count) in [
            ("noerror", counters.noerror),
            ("nxdomain", counters.nxdomain),
            ("formerr", counters.formerr),
            ("servfail", counters.servfail),
            ("notimp", counters.notimp),
            ("refused", counters.refused),
            ("badvers", counters.badvers),
        ] {
            self.set("tradewind_dns_answers", [("code", code)], count as f64);
        }
        self.set("tradewind_dns_truncated", [], counters.truncated as f64);
        let limited = counters.limited_truncated + counters.limited_dropped;
        self.set("tradewind_dns_limited", [], limited as f64);
    }

    async fn regions(&mut self, core: &Core) {
        let Some(links) = core.regions.links.get() else { return };
        let Ok(state) = links.state().await else { return };
        *core.regions.problems.lock() = problems(&state);
        for peer in state.peers.iter().filter(|peer| peer.address.is_some()) {
            let region = peer.region.to_string();
            let labels = [("region", region.as_str())];
            let is_up = !matches!(peer.link, LinkState::Down | LinkState::Quarantined | LinkState::Evicted);
            self.set("tradewind_region_link_up", labels, f64::from(u8::from(is_up)));
            let is_evicted = peer.link == LinkState::Evicted;
            self.set("tradewind_region_evicted", labels, f64::from(u8::from(is_evicted)));
            self.set("tradewind_region_lag_events", labels, peer.lag_events as f64);
            self.set("tradewind_region_lag_seconds", labels, peer.lag_ms as f64 / 1_000.0);
            self.set("tradewind_region_held_bytes", labels, peer.held_bytes as f64);
            let parked = peer.partitions.iter().filter(|one| one.parked.is_some()).count();
            self.set("tradewind_region_parked", labels, parked as f64);
            self.set("tradewind_region_received_bytes", labels, peer.received_bytes as f64);
            self.set("tradewind_region_sent_bytes", labels, peer.sent_bytes as f64);
            if let Some(ahead_ms) = peer.ahead_ms {
                self.set("tradewind_region_clock_ahead_seconds", labels, ahead_ms as f64 / 1_000.0);
            }
        }
    }

    fn streams(&mut self, core: &Core) {
        for stream in core.log.streams().iter() {
            let (mut held, mut end) = (0, 0);
            for partition in 0..stream.partitions {
                if let Ok(bounds) = core.log.bounds(StreamPartition::new(stream.id, PartitionId(partition))) {
                    held += bounds.end.0.saturating_sub(bounds.start.0);
                    end += bounds.end.0;
                }
            }
            let of = [("stream", stream.name.as_str())];
            self.set("tradewind_stream_events", of, held as f64);
            self.set("tradewind_stream_end", of, end as f64);
        }
    }

    fn views(&mut self, core: &Core) {
        for view in core.workers.status() {
            let sum = |of: fn(&PartitionStatus) -> f64| view.partitions.iter().map(of).sum::<f64>();
            let oldest_ms =
                view.partitions.iter().map(|partition| partition.lag_ms).max().unwrap_or_default();
            let of = [("view", view.name.as_str())];
            self.set("tradewind_view_lag_events", of, sum(|at| at.lag_events as f64));
            self.set("tradewind_view_lag_seconds", of, oldest_ms as f64 / 1_000.0);
            self.set("tradewind_view_events_per_second", of, sum(|at| at.events_per_second));
            self.set("tradewind_view_parked", of, sum(|at| at.parked as f64));
            self.set("tradewind_view_state_bytes", of, view.state_bytes as f64);
        }
    }

    fn cluster(&mut self, owners: &Owners) {
        let (members, plan, unowned) = (owners.members(), owners.plan(), owners.unowned());
        let draining = members.values().filter(|member| member.standing == Standing::Draining).count();
        let owned = plan.iter().filter(|(unit, _)| matches!(owners.owner(unit), Owner::Here(_))).count();
        let longest_ms = unowned.values().max().copied().unwrap_or_default();
        let truth = |value: bool| f64::from(u8::from(value));
        self.set("tradewind_cluster_nodes", [], members.len() as f64);
        self.set("tradewind_cluster_nodes_draining", [], draining as f64);
        self.set("tradewind_cluster_leads", [], truth(owners.leads()));
        self.set("tradewind_cluster_plan_version", [], plan.version() as f64);
        self.set("tradewind_cluster_lease_held", [], truth(owners.lease().is_held()));
        self.set("tradewind_cluster_units_owned", [], owned as f64);
        self.set("tradewind_cluster_units_unowned", [], unowned.len() as f64);
        self.set("tradewind_cluster_unowned_seconds", [], longest_ms as f64 / 1_000.0);
        self.set("tradewind_cluster_units_in_transit", [], owners.in_transit() as f64);
    }

    fn answers(&mut self, core: &Core) {
        let KeptAnswers { hits, misses, answers, bytes } = core.engine.kept_answers();
        self.set("tradewind_answers_hits", [], hits as f64);
        self.set("tradewind_answers_misses", [], misses as f64);
        self.set("tradewind_answers_kept", [], answers as f64);
        self.set("tradewind_answers_bytes", [], bytes as f64);
    }

    fn snapshots(&mut self, core: &Core) {
        if !core.keeps_snapshots {
            return;
        }
        let Counts { stored, stored_bytes, failures, restored, refused, lag_events } =
            core.workers.snapshot_counts();
        self.set("tradewind_snapshot_stored", [], stored as f64);
        self.set("tradewind_snapshot_stored_bytes", [], stored_bytes as f64);
        self.set("tradewind_snapshot_failures", [], failures as f64);
        self.set("tradewind_snapshot_restored", [], restored as f64);
        self.set("tradewind_snapshot_refused", [], refused as f64);
        self.set("tradewind_snapshot_lag_events", [], lag_events as f64);
    }

    fn source(&mut self, source: &Source) {
        let of = [("source", source.name.as_str())];
        let number = |value: Option<u64>| value.map_or(f64::NAN, |value| value as f64);
        let truth = |value: bool| f64::from(u8::from(value));
        self.set("tradewind_source_streaming", of, truth(status::streams(source)));
        self.set("tradewind_source_paused", of, truth(source.state == "paused"));
        self.set("tradewind_source_lag_seconds", of, number(source.lag_ms) / 1_000.0);
        self.set("tradewind_source_lag_bytes", of, number(source.lag_bytes));
        self.set("tradewind_source_retained_bytes", of, number(source.retained_bytes));
        let slot = source.slot.as_ref();
        self.set(
            "tradewind_source_slot_reserved",
            of,
            slot.map_or(f64::NAN, |slot| truth(status::is_well(slot))),
        );
        let safe = slot.and_then(|slot| slot.safe_bytes);
        self.set("tradewind_source_slot_safe_bytes", of, safe.map_or(f64::NAN, |bytes| bytes as f64));
        for table in &source.tables {
            let Some(snapshot) = table.snapshot else { continue };
            let of = [("source", source.name.as_str()), ("table", table.name.as_str())];
            self.set("tradewind_source_snapshot_rows", of, snapshot.done as f64);
            self.set("tradewind_source_snapshot_rows_estimate", of, snapshot.total as f64);
        }
    }
}
