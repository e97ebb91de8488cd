//! Random histories of a cluster: whatever happens to nodes and loads, every plan keeps its promises.

use super::{loads, node};
use crate::placement::{Load, Node, Options, Place, Plan, Planned, Reason, plan};
use crate::sim::config;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tw_types::NodeId;

/// What happens between two plans.
#[derive(Debug, Clone)]
enum Step {
    Join { capacity: u32, domain: u8 },
    Leave(usize),
    Drain(usize),
    Background(usize, Option<u16>),
    Weigh(usize, Option<u32>),
    AddUnit(u32),
    RemoveUnit(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (prop::sample::select(vec![0u32, 500, 1_000, 4_000]), 0u8..4)
            .prop_map(|(capacity, domain)| Step::Join { capacity, domain }),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Drain),
        2 => (any::<usize>(), prop::option::of(0u16..1_000)).prop_map(|(n, b)| Step::Background(n, b)),
        6 => (any::<usize>(), prop::option::weighted(0.9, 0u32..5_000)).prop_map(|(u, w)| Step::Weigh(u, w)),
        1 => (0u32..2_000).prop_map(Step::AddUnit),
        1 => any::<usize>().prop_map(Step::RemoveUnit),
        2 => (0u64..100_000).prop_map(Step::Pass),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    (10u32..300, 0u32..=100, 0u32..40, 0u64..100_000, 0u32..=2, 0u32..20).prop_map(
        |(epsilon, settle, moves_max, cooldown_ms, standbys, standby_moves_max)| Options {
            epsilon_permille: epsilon,
            settle_permille: epsilon * settle / 100,
            urgent_permille: epsilon * 2,
            moves_max,
            cooldown_ms,
            standbys,
            standby_moves_max,
            ..Options::default()
        },
    )
}

/// A cluster and the plans that it makes.
struct Cluster {
    nodes: Vec<Node>,
    loads: Vec<Load>,
    names: u32,
    plan: Plan,
    now_ms: u64,
}

impl Cluster {
    fn new(nodes: Vec<Node>, loads: Vec<Load>) -> Self {
        Self { nodes, loads, names: 0, plan: Plan::default(), now_ms: 1_000_000 }
    }

    fn join(&mut self, capacity: u32, domain: u8) {
        self.names += 1;
        let domain = (domain > 0).then(|| format!("zone-{domain}").into());
        self.nodes.push(Node { capacity, domain, ..node(&format!("new-{}", self.names)) });
    }

    fn apply(&mut self, step: &Step) {
        let nodes = self.nodes.len();
        match *step {
            Step::Join { capacity, domain } => self.join(capacity, domain),
            Step::Leave(which) => drop(self.nodes.remove(which % nodes.max(1))),
            Step::Drain(which) => self.nodes[which % nodes].drains ^= true,
            Step::Background(which, told) => self.nodes[which % nodes].background_permille = told,
            Step::Weigh(which, weight) if !self.loads.is_empty() => {
                let unit = which % self.loads.len();
                self.loads[unit].weight = weight;
            }
            Step::AddUnit(weight) => {
                self.names += 1;
                let unit = super::Unit::new(&format!("new/{}", self.names)).unwrap();
                self.loads.push(Load { unit, weight: Some(weight) });
            }
            Step::RemoveUnit(which) if !self.loads.is_empty() => {
                drop(self.loads.remove(which % self.loads.len()));
            }
            Step::Pass(ms) => self.now_ms += ms,
            Step::Weigh(..) | Step::RemoveUnit(_) => {}
        }
        if self.nodes.iter().all(|node| node.capacity == 0) {
            self.join(1_000, 0);
        }
    }

    fn plan(&mut self, options: &Options) -> Planned {
        let planned = plan(&self.nodes, &self.loads, &self.plan, options, self.now_ms).unwrap();
        self.check(&planned, options);
        self.plan = planned.plan.clone();
        planned
    }

    /// What holds for every plan.
    fn check(&self, planned: &Planned, options: &Options) {
        let next = &planned.plan;
        let all_drain = self.nodes.iter().all(|node| node.drains || node.capacity == 0);
        let open = |node: &&Node| node.capacity > 0 && (all_drain || !node.drains);
        let live: BTreeSet<&NodeId> = self.nodes.iter().map(|node| &node.id).collect();
        let open: BTreeSet<&NodeId> = self.nodes.iter().filter(open).map(|node| &node.id).collect();
        let standbys = (options.standbys as usize).min(open.len() - 1);

        let units: BTreeSet<_> = self.loads.iter().map(|load| &load.unit).collect();
        assert_eq!(
            next.iter().map(|(unit, _)| unit).collect::<BTreeSet<_>>(),
            units,
            "every unit has an owner"
        );
        for (unit, one) in next.iter() {
            assert!(live.contains(&one.owner), "{unit} is owned by a live node");
            assert!(!one.standbys.contains(&one.owner), "{unit} has a standby beside its owner");
            assert_eq!(
                one.standbys.iter().collect::<BTreeSet<_>>().len(),
                standbys,
                "{unit} has its standbys"
            );
            assert!(one.standbys.iter().all(|node| open.contains(node)), "{unit} is kept warm by open nodes");
            let stayed = self.plan.get(unit).is_some_and(|before| before.owner == one.owner);
            let moved = planned.moves.iter().find(|moved| moved.unit == *unit);
            assert_eq!(stayed, moved.is_none(), "{unit} has a reason to move");
            assert!(stayed || (open.contains(&one.owner) && one.since_version == next.version()));
        }
        let on_budget =
            planned.moves.iter().filter(|one| !matches!(one.reason, Reason::New | Reason::OwnerGone));
        assert!(on_budget.count() <= options.moves_max as usize, "the budget is kept");
        assert!(planned.standby_moves <= options.standby_moves_max);
        let changed = *next != self.plan;
        assert_eq!(next.version(), self.plan.version() + u64::from(changed));

        let mut reversed = (self.nodes.clone(), self.loads.clone());
        reversed.0.reverse();
        reversed.1.reverse();
        let same = plan(&reversed.0, &reversed.1, &self.plan, options, self.now_ms).unwrap();
        assert!(same == *planned, "the order of the input does not matter");
        if !planned.postponed {
            let again = plan(&self.nodes, &self.loads, next, options, self.now_ms).unwrap();
            assert!(again.plan == *next, "an unchanged input is the same plan: {:?}", again.moves);
        }
    }
}

/// The loads of nodes in a plan, by name.
fn load_of(nodes: &[Node], plan: &Plan) -> BTreeMap<NodeId, u64> {
    nodes.iter().map(|node| (node.id.clone(), plan.owned_by(&node.id).count() as u64)).collect()
}

/// The least number of moves that brings equal units into the bounds of `places`: from the gone, from those with too much,
/// and to those with too little.
pub(super) fn least(nodes: &[Node], units: usize, before: &Plan, epsilon_permille: u64) -> usize {
    let capacity: u64 = nodes.iter().map(|node| u64::from(node.capacity)).sum();
    let loads = load_of(nodes, before);
    let (mut from, mut to) = (units as u64 - loads.values().sum::<u64>(), 0);
    for node in nodes {
        let share = units as u64 * u64::from(node.capacity);
        let max = (share * (1_000 + epsilon_permille)).div_ceil(capacity * 1_000);
        let min = share * (1_000 - epsilon_permille) / (capacity * 1_000);
        from += loads[&node.id].saturating_sub(max);
        to += min.saturating_sub(loads[&node.id]);
    }
    from.max(to) as usize
}

/// The last move of the budget was made, and others would follow: a plan that says that it is complete has to be.
#[test]
fn a_plan_whose_budget_is_used_up_says_whether_more_would_be_moved() {
    #[rustfmt::skip]
    let weights = vec![
        541, 693, 1013, 1413, 0, 0, 746, 1235, 217, 60, 345, 220, 1373, 1718, 1107,
        1413, 1617, 1734, 1533, 1440, 1276, 768, 1410, 815, 1015, 514, 1095, 500, 1472, 1399,
    ];
    let options = Options {
        epsilon_permille: 57,
        settle_permille: 29,
        urgent_permille: 114,
        moves_max: 5,
        cooldown_ms: 0,
        standbys: 0,
        standby_moves_max: 0,
        ..Options::default()
    };
    let capacities = [2_000, 500, 500, 1_000].iter().zip(0..);
    let nodes =
        capacities.map(|(capacity, number)| Node { capacity: *capacity, ..node(&format!("n{number}")) });
    let mut cluster = Cluster::new(nodes.collect(), loads(weights));
    cluster.plan(&options);
    for step in [
        Step::Join { capacity: 1_000, domain: 0 },
        Step::Pass(1),
        Step::Join { capacity: 0, domain: 0 },
        Step::Weigh(18_372_628_478_757_022_978, Some(1_727)),
        Step::RemoveUnit(11_189_122_318_413_433_889),
        Step::Weigh(12_494_642_959_625_408_796, Some(603)),
        Step::RemoveUnit(8_145_203_300_319_576_674),
        Step::Weigh(13_341_009_708_811_681_737, Some(978)),
        Step::Join { capacity: 500, domain: 0 },
    ] {
        cluster.apply(&step);
        cluster.plan(&options);
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn every_plan_of_a_history_keeps_its_promises(
        capacities in prop::collection::vec(prop::sample::select(vec![500u32, 1_000, 2_000]), 1..8),
        weights in prop::collection::vec(0u32..2_000, 0..60),
        options in options(),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let nodes = capacities.iter().enumerate().map(|(number, capacity)| Node {
            capacity: *capacity,
            ..node(&format!("n{number}"))
        });
        let mut cluster = Cluster::new(nodes.collect(), loads(weights));
        cluster.plan(&options);
        for step in steps {
            cluster.apply(&step);
            cluster.plan(&options);
        }
    }

    /// No unit is heavier than ε of the whole load over the number of the other nodes: then there is always a node with
    /// room for it.
    #[test]
    fn the_bound_holds_after_any_change_that_the_budget_is_enough_for(
        capacities in prop::collection::vec(500u32..4_000, 2..10),
        weights in prop::collection::vec(prop::collection::vec(100u32..200, 250), 1..5),
        epsilon_permille in 100u32..300,
    ) {
        let options = Options {
            epsilon_permille,
            urgent_permille: 1_000,
            settle_permille: epsilon_permille / 2,
            moves_max: 100_000,
            cooldown_ms: 0,
            ..Options::default()
        };
        let mut cluster = Cluster::new(vec![node("first")], loads(weights[0].clone()));
        for (number, capacity) in capacities.iter().enumerate() {
            cluster.now_ms += 1;
            cluster.nodes.push(Node { capacity: *capacity, ..node(&format!("n{number}")) });
            cluster.loads = loads(weights[number % weights.len()].clone());
            let total: u32 = cluster.loads.iter().filter_map(|load| load.weight).sum();
            let others = cluster.nodes.len() as u32 - 1;
            prop_assume!(200 * others * 1_000 <= total * epsilon_permille);
            let planned = cluster.plan(&options);
            prop_assert!(!planned.places.iter().any(Place::is_over), "{:?}", planned.places);
        }
        while cluster.nodes.len() > 1 {
            cluster.now_ms += 1;
            cluster.nodes.remove(cluster.nodes.len() / 2);
            let planned = cluster.plan(&options);
            prop_assert!(!planned.places.iter().any(Place::is_over), "{:?}", planned.places);
        }
    }

    #[test]
    fn a_join_or_a_leave_moves_little_more_than_it_must(
        capacities in prop::collection::vec(prop::sample::select(vec![1_000u32, 1_000, 2_000]), 2..12),
        units in 20usize..600,
        epsilon_permille in 50u32..250,
        joins in prop::collection::vec(any::<bool>(), 1..6),
        choice in any::<usize>(),
    ) {
        // With standbys, who is warm takes over even where another node would make a move less.
        let options = Options {
            epsilon_permille,
            settle_permille: epsilon_permille / 2,
            moves_max: 100_000,
            standbys: 0,
            ..Options::default()
        };
        let nodes = capacities.iter().enumerate().map(|(number, capacity)| Node {
            capacity: *capacity,
            ..node(&format!("n{number}"))
        });
        let mut cluster = Cluster::new(nodes.collect(), loads(vec![1; units]));
        cluster.plan(&options);
        for join in joins {
            cluster.now_ms += options.cooldown_ms;
            if join || cluster.nodes.len() == 1 {
                cluster.join(1_000, 0);
            } else {
                cluster.nodes.remove(choice % cluster.nodes.len());
            }
            let least = least(&cluster.nodes, units, &cluster.plan, epsilon_permille.into());
            let planned = cluster.plan(&options);
            prop_assert!(planned.moves.len() * 10 <= least * 11, "{} moves, {least} needed", planned.moves.len());
            for place in &planned.places {
                let min = place.share * (1_000 - u64::from(epsilon_permille)) / 1_000;
                prop_assert!((min..=place.bound).contains(&place.load), "{place:?}");
            }
        }
    }
}
