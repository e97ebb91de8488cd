//! Which of the nodes that can answer a read of a partition is asked: the shell around [`tw_plan::balance`].

use super::Cluster;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tw_cluster::Owners;
use tw_env::Env;
use tw_plan::balance::{self, Balancer, Outcome, Policy, Target};
use tw_project::{Candidate, Heard, Place};
use tw_types::NodeId;

/// How nodes are chosen for reads where several can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceOptions {
    /// The policy: `round_robin`, one after another; `least_loaded`, the one with the fewest reads of this node under way; `two_choices`, the less
    /// loaded one of two that are drawn; `adaptive`, of a few that are drawn the one with the lowest product of reads under way and
    /// latency; `sticky`, for reads of one subject, and for the same statement, always the same node, unless that has more than its part.
    /// Default `two_choices`.
    pub policy: Policy,
    /// Whether the capacities of nodes count; otherwise all are taken for equal. Default true.
    pub capacity_aware: bool,
    /// How many nodes `adaptive` draws: 2 to 4. Default 3.
    pub adaptive_choices: u32,
    /// How far `sticky` lets a node be over its part of the reads under way, in thousandths: 10 to 10,000. Default 250.
    pub sticky_epsilon_permille: u32,
    /// With `sticky`, so many reads under way are always within a node's part: 1 to 10,000. Default 4.
    pub sticky_in_flight_min: u32,
    /// The latency that a failed read counts as, in milliseconds, unless it took longer: 1 to 600,000. So a node that fails quickly does not
    /// look fast. Default 5,000.
    pub failure_ms: u32,
    /// After so many failures in a row a node is left alone for a while: 1 to 1,000. Default 3.
    pub failures_max: u32,
    /// For how long, in milliseconds: 1 to 600,000. It doubles with each further failure, up to 64 times. Default 500.
    pub avoid_ms: u32,
}

impl Default for BalanceOptions {
    fn default() -> Self {
        let core = balance::Options::default();
        Self {
            policy: core.policy,
            capacity_aware: core.capacity_aware,
            adaptive_choices: core.adaptive_choices,
            sticky_epsilon_permille: core.sticky_epsilon_permille,
            sticky_in_flight_min: core.sticky_in_flight_min,
            failure_ms: core.failure_ms,
            failures_max: core.failures_max,
            avoid_ms: core.avoid_ms,
        }
    }
}

impl BalanceOptions {
    /// As the core has them. What is about reports of nodes stays as it is: none come.
    pub(super) fn core(&self) -> balance::Options {
        balance::Options {
            policy: self.policy,
            capacity_aware: self.capacity_aware,
            adaptive_choices: self.adaptive_choices,
            sticky_epsilon_permille: self.sticky_epsilon_permille,
            sticky_in_flight_min: self.sticky_in_flight_min,
            failure_ms: self.failure_ms,
            failures_max: self.failures_max,
            avoid_ms: self.avoid_ms,
            ..balance::Options::default()
        }
    }
}

/// The balance of the reads that this node sends to others and to itself.
pub(crate) struct Balance {
    cluster: Weak<Cluster>,
    env: Env,
    state: Mutex<State>,
}

struct State {
    balancer: Balancer,
    /// Whether the nodes may be others than the balancer has; None before they were looked at.
    changes: Option<watch::Receiver<u64>>,
}

impl Balance {
    /// Without nodes, until `cluster` is joined.
    ///
    /// # Errors
    /// An option is outside its bounds.
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        env: Env,
        options: &BalanceOptions,
    ) -> Result<Self, tw_plan::Error> {
        let balancer = Balancer::new(options.core())?;
        let state = Mutex::new(State { balancer, changes: None });
        Ok(Self { cluster: Arc::downgrade(cluster), env, state })
    }

    /// Puts other options into effect; what is known of nodes is kept.
    ///
    /// # Errors
    /// An option is outside its bounds; then nothing has changed.
    pub(crate) fn reconfigure(&self, options: &BalanceOptions) -> Result<(), tw_plan::Error> {
        let mut state = self.state.lock();
        state.balancer.set_options(options.core())?;
        // The capacities may count now, or not any more.
        state.changes = None;
        Ok(())
    }

    /// Chooses one of the candidates: its number.
    pub(crate) fn choose(&self, candidates: &[Candidate], about: Option<&str>) -> usize {
        let Some(cluster) = self.cluster.upgrade() else { return 0 };
        let Some(owners) = cluster.owners() else { return 0 };
        let names: Vec<NodeId> =
            candidates.iter().filter_map(|one| node(&one.place, owners).cloned()).collect();
        let request = balance::Request { subject: about, tried: &[], among: Some(&names) };
        let mut state = self.state.lock();
        state.look(owners);
        let chosen = state.balancer.choose(request, self.env.random.next_u64(), self.now_us());
        let is_chosen = |one: &Candidate| chosen.as_ref() == node(&one.place, owners);
        candidates.iter().position(is_chosen).unwrap_or(0)
    }

    /// What became of so many choices.
    pub(crate) fn heard(&self, asked: &Candidate, choices: usize, heard: Heard) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        let Some(owners) = cluster.owners() else { return };
        let Some(node) = node(&asked.place, owners) else { return };
        let (latency, outcome) = match heard {
            Heard::Answered(latency) => (latency, Outcome::Answered),
            Heard::Failed(latency) => (latency, Outcome::Failed),
            // It is about these partitions: others may be asked of it at once.
            Heard::Declined => (Duration::ZERO, Outcome::Refused { retry_after_ms: 0 }),
            Heard::Dropped => (Duration::ZERO, Outcome::Dropped),
        };
        let (latency_us, now_us) = (micros(latency), self.now_us());
        let mut state = self.state.lock();
        for _ in 0..choices {
            state.balancer.done(node, latency_us, outcome, now_us);
        }
        drop(state);
        let role = if asked.owns { "owner" } else { "standby" };
        let counter = match outcome {
            Outcome::Answered => "tradewind_partition_reads_total",
            Outcome::Failed | Outcome::Refused { .. } => "tradewind_partition_reads_failed_total",
            Outcome::Dropped => return,
        };
        metrics::counter!(counter, "node" => node.to_string(), "role" => role).increment(choices as u64);
    }

    fn now_us(&self) -> u64 {
        micros(self.env.clock.monotonic())
    }
}

impl State {
    /// Takes the nodes that are registered, if they may be others.
    fn look(&mut self, owners: &Owners) {
        let is_known = self.changes.as_ref().is_some_and(|changes| !changes.has_changed().unwrap_or(false));
        if is_known {
            return;
        }
        self.changes.get_or_insert_with(|| owners.changes()).mark_unchanged();
        let target = |(name, member): (String, tw_cluster::Member)| {
            let capacity = u32::try_from(member.registration.capacity.cpu_millicores).unwrap_or(u32::MAX);
            Some(Target { node: NodeId::new(&name).ok()?, capacity })
        };
        let targets: Vec<Target> = owners.members().into_iter().filter_map(target).collect();
        if let Err(error) = self.balancer.set_nodes(&targets) {
            tracing::warn!(%error, "reads are not balanced over the nodes that there are now");
        }
    }
}

/// The name of the node at a place.
fn node<'a>(place: &'a Place, owners: &'a Owners) -> Option<&'a NodeId> {
    match place {
        Place::Here => Some(owners.node()),
        Place::Node(node) => Some(node),
        Place::Nowhere => None,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_core_and_every_option_reaches_it() {
        assert_eq!(BalanceOptions::default().core(), balance::Options::default());
        let others = BalanceOptions {
            policy: Policy::Sticky,
            capacity_aware: false,
            adaptive_choices: 2,
            sticky_epsilon_permille: 11,
            sticky_in_flight_min: 12,
            failure_ms: 13,
            failures_max: 14,
            avoid_ms: 15,
        };
        let core = others.core();
        assert_eq!((core.policy, core.capacity_aware, core.adaptive_choices), (Policy::Sticky, false, 2));
        assert_eq!((core.sticky_epsilon_permille, core.sticky_in_flight_min), (11, 12));
        assert_eq!((core.failure_ms, core.failures_max, core.avoid_ms), (13, 14, 15));
    }
}
