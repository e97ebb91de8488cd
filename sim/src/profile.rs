//! What a seed makes of a cluster: how large it is, and which faults it has to bear, how often.

use crate::clock::Clock;
use crate::defect::Defect;
use crate::node::Shared;
use crate::random::Random;
use crate::stored::Keys;
use tw_plan::placement::{self, Unit};
use tw_types::NodeId;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node stands still for so long, and then goes on where it was.
    Pause { node: usize, us: u64 },
    /// A process ends without a word, and another one is started after so long. Perhaps the machine is gone with it: then nothing
    /// says that nobody listens.
    Crash { node: usize, is_machine: bool, again_after_us: u64 },
    /// Nothing passes between a node and coordination: from it, to it.
    Cut { node: usize, from: bool, to: bool, us: u64 },
    /// Nothing passes between a node and the other nodes.
    Alone { node: usize, us: u64 },
    /// Every message is lost with this chance.
    Loss { permille: u64, us: u64 },
    /// Messages take long, some of them very long.
    Slow { us: u64 },
    /// What is to be stored arrives late, perhaps after nobody waits for it any more.
    LateStores { us: u64 },
    /// The log takes long.
    SlowLog { us: u64 },
    /// Transactions arrive twice.
    Twice { us: u64 },
    /// Coordination is away.
    Outage { us: u64 },
    /// Somebody ends a node's lease: it was taken for dead, and is not.
    Evict { node: usize },
    /// A node is to give up its units, or not any more.
    Drain { node: usize, drains: bool },
    /// An operator ends a node, and starts it again after so long.
    Leave { node: usize, again_after_us: u64 },
    /// Coordination forgets its history.
    Compact,
    /// The load of units changes, so that some of them move.
    Shift,
    /// There is one unit more, or one less.
    Units,
}

/// How a node of a cluster is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// How many nodes there are: 2 or more.
    pub nodes: u64,
    /// How long their leases last, in milliseconds.
    pub ttl_ms: u64,
    /// Whether the machine is gone, and not only the process (`kill -9`).
    pub is_machine: bool,
}

/// A cluster and what happens to it.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) nodes: Vec<(NodeId, Clock)>,
    pub(crate) shared: Shared,
    /// When, in microseconds since the beginning, and what; in order.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// From then on nothing goes wrong.
    pub(crate) calm_us: u64,
    /// Then everything must be as it should.
    pub(crate) healed_us: u64,
    /// Whether the nodes are to find what is broken by themselves.
    pub(crate) nodes_judge: bool,
}

const SECOND: u64 = 1_000_000;

/// What healing may take besides two terms of the lease (one for what is registered still, one for who leads): a process that is
/// started again, a request that was lost, watches that are asked again, planning, units that are warmed and move.
const HEAL_US: u64 = 14 * SECOND;

impl Profile {
    /// A cluster of any kind, to which anything happens.
    pub(crate) fn new(random: &mut Random, defect: Option<Defect>) -> Self {
        let nodes = machines(random.within(2, 5), random);
        let units = (0..random.within(2, 8)).map(|number| (unit(number), 10)).collect();
        let ttl_ms = [1_000, 2_000, 3_000, 5_000][random.place(4)];
        let placement = placement::Options {
            cooldown_ms: 1_000,
            standbys: random.below(2) as u32,
            ..placement::Options::default()
        };
        let shared = Shared {
            keys: Keys::new(),
            units,
            ttl_ms,
            looks_at_the_clock: random.chance(500),
            renews_writer: random.chance(800),
            detects: random.chance(300),
            placement,
            defect,
        };
        let calm_us = random.within(10, 25) * SECOND;
        let healed_us = calm_us + 2 * ttl_ms * 1000 + HEAL_US;
        let faults = schedule(random, nodes.len(), ttl_ms * 1000, calm_us);
        Self { nodes, shared, faults, calm_us, healed_us, nodes_judge: false }
    }

    /// A cluster in which nodes stand still for up to a second, and one is killed for good.
    pub(crate) fn killing(random: &mut Random, kill: Kill) -> Self {
        let nodes = machines(kill.nodes, random);
        let shared = Shared {
            keys: Keys::new(),
            units: (0..4 * kill.nodes).map(|number| (unit(number), 10)).collect(),
            ttl_ms: kill.ttl_ms,
            looks_at_the_clock: true,
            renews_writer: true,
            detects: true,
            placement: placement::Options::default(),
            defect: None,
        };
        let killed_us = random.within(5_000, 8_000) * 1_000;
        let mut faults = Vec::new();
        let mut at_us = 2 * SECOND;
        while at_us < killed_us {
            faults.push((
                at_us,
                Fault::Pause { node: random.place(nodes.len()), us: random.within(10_000, SECOND) },
            ));
            // One pause after another of the same node would be one long one.
            at_us += random.within(1_500_000, 2_500_000);
        }
        let never_us = 3_600 * SECOND;
        let node = random.place(nodes.len());
        faults
            .push((killed_us, Fault::Crash { node, is_machine: kill.is_machine, again_after_us: never_us }));
        // Before its lease can have ended.
        let healed_us = killed_us + kill.ttl_ms * 2 / 3 * 1000;
        Self { nodes, shared, faults, calm_us: healed_us + SECOND, healed_us, nodes_judge: false }
    }
}

fn machines(count: u64, random: &mut Random) -> Vec<(NodeId, Clock)> {
    let node =
        |number: u64| NodeId::new(&format!("n{number}")).unwrap_or_else(|error| unreachable!("{error}"));
    (0..count).map(|number| (node(number), Clock::new(random))).collect()
}

pub(crate) fn unit(number: u64) -> Unit {
    Unit::new(&format!("1/{number}")).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Some kinds of faults, and not others: a run in which everything goes wrong gets nowhere.
fn schedule(random: &mut Random, nodes: usize, ttl_us: u64, calm_us: u64) -> Vec<(u64, Fault)> {
    let kinds: Vec<u64> = (0..KINDS).filter(|_| random.chance(300)).collect();
    let pause_us = random.within(300, 3_000) * 1_000;
    let mut faults = Vec::new();
    let mut at_us = random.within(500, 3_000) * 1_000;
    while at_us < calm_us && !kinds.is_empty() {
        let kind = kinds[random.place(kinds.len())];
        faults.push((at_us, fault(kind, random, nodes, ttl_us)));
        at_us += random.within(1, 2 * pause_us);
    }
    faults
}

const KINDS: u64 = 19;

fn fault(kind: u64, random: &mut Random, nodes: usize, ttl_us: u64) -> Fault {
    let node = random.place(nodes);
    let us = random.within(200_000, 2 * ttl_us);
    match kind {
        0 => Fault::Pause { node, us: random.within(10_000, SECOND) },
        1 => Fault::Pause { node, us: random.within(ttl_us / 2, 3 * ttl_us) },
        2 | 3 => {
            Fault::Crash { node, is_machine: kind == 3, again_after_us: random.within(50_000, 2 * ttl_us) }
        }
        4 => Fault::Cut { node, from: true, to: true, us },
        5 => Fault::Cut { node, from: true, to: false, us },
        6 => Fault::Cut { node, from: false, to: true, us },
        7 => Fault::Loss { permille: random.within(20, 300), us },
        8 => Fault::Slow { us },
        9 => Fault::SlowLog { us },
        10 => Fault::Twice { us },
        11 => Fault::Outage { us },
        12 => Fault::Evict { node },
        13 => Fault::Drain { node, drains: random.chance(500) },
        15 => Fault::LateStores { us: random.within(ttl_us, 4 * ttl_us) },
        17 => Fault::Alone { node, us },
        16 => Fault::Leave { node, again_after_us: random.within(100_000, 2 * ttl_us) },
        14 if random.chance(300) => Fault::Compact,
        14 => Fault::Units,
        _ => Fault::Shift,
    }
}
