//! Placement by example; properties of random histories are in [`properties`], the README's table in [`comparison`].

mod comparison;
mod properties;
mod rebalance;
mod stored;

use super::*;
use tw_types::NodeId;

pub(super) fn node(name: &str) -> Node {
    Node {
        id: NodeId::new(name).unwrap(),
        capacity: 1_000,
        background_permille: Some(0),
        domain: None,
        drains: false,
    }
}

pub(super) fn nodes(count: usize) -> Vec<Node> {
    (0..count).map(|number| node(&format!("n{number:02}"))).collect()
}

pub(super) fn loads(weights: impl IntoIterator<Item = u32>) -> Vec<Load> {
    let load =
        |(number, weight)| Load { unit: Unit::new(&format!("1/{number}")).unwrap(), weight: Some(weight) };
    (0..).zip(weights).map(|(number, weight): (usize, u32)| load((number, weight))).collect()
}

/// The plan after the empty one.
pub(super) fn first(nodes: &[Node], loads: &[Load], options: &Options) -> Plan {
    plan(nodes, loads, &Plan::default(), options, 1_000).unwrap().plan
}

const MINUTE_MS: u64 = 60_000;

fn reasons(planned: &Planned) -> Vec<Reason> {
    let mut reasons: Vec<_> = planned.moves.iter().map(|one| one.reason).collect();
    reasons.dedup();
    reasons
}

#[test]
fn a_first_plan_is_even_and_has_a_standby_for_each_unit() {
    let planned = plan(&nodes(10), &loads([1; 900]), &Plan::default(), &Options::default(), 0).unwrap();
    assert_eq!(reasons(&planned), [Reason::New]);
    assert!(planned.places.iter().all(|place| place.units == 90), "{:?}", planned.places);
    assert!(
        planned.places.iter().all(|place| (80..=100).contains(&place.standby_load)),
        "{:?}",
        planned.places
    );
    assert_eq!((planned.plan.version(), planned.plan.len()), (1, 900));
    assert!(planned.plan.iter().all(|(_, one)| one.standbys.len() == 1 && one.since_version == 1));
}

#[test]
fn capacity_and_background_load_decide_about_shares() {
    let mut nodes = nodes(3);
    nodes[1].capacity = 2_000;
    nodes[2].background_permille = Some(500);
    let planned = plan(&nodes, &loads([10; 700]), &Plan::default(), &Options::default(), 0).unwrap();
    assert_eq!(planned.places.iter().map(|place| place.units).collect::<Vec<_>>(), [200, 400, 100]);
}

#[test]
fn when_a_node_is_gone_its_standbys_take_over() {
    let (mut nodes, loads, options) = (nodes(10), loads([1; 900]), Options::default());
    let before = first(&nodes, &loads, &options);
    let gone = nodes.remove(4).id;
    let planned = plan(&nodes, &loads, &before, &options, MINUTE_MS).unwrap();
    assert_eq!(planned.moves.len(), before.owned_by(&gone).count());
    assert!(
        planned.moves.iter().all(|one| one.reason == Reason::OwnerGone && one.from == Some(gone.clone()))
    );
    let warm = planned.moves.iter().filter(|one| one.warm).count();
    assert!(warm * 100 >= planned.moves.len() * 95, "{warm} of {}", planned.moves.len());
    for one in planned.moves.iter().filter(|one| one.warm) {
        assert_eq!(before.get(&one.unit).unwrap().standbys, std::slice::from_ref(&one.to));
    }
    assert!(planned.plan.warm_at(&gone).next().is_none());
}

#[test]
fn a_node_that_comes_back_gets_units_that_prefer_it() {
    let (nodes, loads, options) = (nodes(10), loads([1; 900]), Options::default());
    let before = first(&nodes, &loads, &options);
    let without = plan(&nodes[1..], &loads, &before, &options, MINUTE_MS).unwrap().plan;
    let back = plan(&nodes, &loads, &without, &options, 10 * MINUTE_MS).unwrap();
    assert!(back.moves.iter().all(|one| one.to == nodes[0].id), "{:?}", back.moves);
    let same = back.moves.iter().filter(|one| before.owner(&one.unit) == Some(&nodes[0].id)).count();
    assert!(same * 10 >= back.moves.len() * 8, "{same} of {}", back.moves.len());
}

#[test]
fn any_join_or_leave_among_ten_nodes_moves_little_more_than_it_must() {
    let (mut nodes, loads, options) = (nodes(10), loads([1; 900]), Options::default());
    let before = first(&nodes, &loads, &options);
    for gone in 0..10 {
        let node = nodes.remove(gone);
        let without = plan(&nodes, &loads, &before, &options, MINUTE_MS).unwrap();
        let needed = properties::least(&nodes, 900, &before, 100);
        assert!(without.moves.len() * 10 <= needed * 11, "{} moves, {needed} needed", without.moves.len());
        nodes.insert(gone, node);
        let back = plan(&nodes, &loads, &without.plan, &options, 5 * MINUTE_MS).unwrap();
        let needed = properties::least(&nodes, 900, &without.plan, 100);
        assert!(back.moves.len() * 10 <= needed * 11, "{} moves, {needed} needed", back.moves.len());
        assert!((81..=99).contains(&back.places[gone].load), "{:?}", back.places[gone]);
    }
}

#[test]
fn a_node_that_drains_gives_its_units_away_within_the_budget() {
    let (mut nodes, loads) = (nodes(5), loads([1; 500]));
    let options = Options { moves_max: 30, ..Options::default() };
    let mut current = first(&nodes, &loads, &options);
    nodes[2].drains = true;
    let left: Vec<_> = (1..=4)
        .map(|minute| {
            let planned = plan(&nodes, &loads, &current, &options, minute * MINUTE_MS).unwrap();
            assert_eq!(reasons(&planned), [Reason::Drain]);
            assert_eq!(planned.postponed, minute < 4);
            current = planned.plan;
            current.owned_by(&nodes[2].id).count()
        })
        .collect();
    assert_eq!(left, [70, 40, 10, 0]);
    assert!(current.warm_at(&nodes[2].id).next().is_none());
}

#[test]
fn when_all_nodes_drain_units_stay_with_them() {
    let (mut nodes, loads, options) = (nodes(3), loads([1; 30]), Options::default());
    let before = first(&nodes, &loads, &options);
    nodes.iter_mut().for_each(|node| node.drains = true);
    assert_eq!(plan(&nodes, &loads, &before, &options, MINUTE_MS).unwrap().plan, before);
    let without = plan(&nodes[1..], &loads, &before, &options, MINUTE_MS).unwrap();
    assert_eq!(reasons(&without), [Reason::OwnerGone]);
}

#[test]
fn small_changes_of_load_move_nothing() {
    let (nodes, options) = (nodes(4), Options::default());
    let before = first(&nodes, &loads([100; 80]), &options);
    for step in 1..=20u32 {
        let noisy = loads((0..80).map(|unit: u32| 95 + (unit * 7 + step * 13) % 11));
        let planned = plan(&nodes, &noisy, &before, &options, u64::from(step) * MINUTE_MS).unwrap();
        assert_eq!(planned.plan, before, "step {step}");
    }
}

#[test]
fn a_unit_that_was_moved_stays_for_its_cooldown() {
    let (nodes, options) = (nodes(2), Options { urgent_permille: 10_000, ..Options::default() });
    let start = first(&nodes, &loads([100; 20]), &options);
    // One unit of a node becomes hot, so others leave; then it is cold again, and they are wanted back.
    let hot = start.owned_by(&nodes[0].id).next().unwrap().clone();
    let with = |weight| {
        let mut loads = loads([100; 20]);
        loads.iter_mut().filter(|load| load.unit == hot).for_each(|load| load.weight = Some(weight));
        loads
    };
    let away = plan(&nodes, &with(600), &start, &options, 2 * MINUTE_MS).unwrap();
    assert!(!away.moves.is_empty() && away.moves.iter().all(|one| one.to == nodes[1].id), "{:?}", away.moves);
    let moved = |unit: &Unit| away.moves.iter().any(|one| one.unit == *unit);
    let cooling = plan(&nodes, &with(100), &away.plan, &options, 2 * MINUTE_MS + 30_000).unwrap();
    assert!(
        !cooling.moves.is_empty() && !cooling.moves.iter().any(|one| moved(&one.unit)),
        "{:?}",
        cooling.moves
    );
}

#[test]
fn what_was_not_measured_is_not_moved_for_balance() {
    let (mut nodes, options) = (nodes(3), Options::default());
    nodes[2].background_permille = None;
    let mut loads = loads([100; 60]);
    let before = first(&nodes[..2], &loads, &options);
    let silent = plan(&nodes, &loads, &before, &options, MINUTE_MS).unwrap();
    assert_eq!(silent.moves, [], "the node has not told its load");
    nodes[2].background_permille = Some(0);
    loads.iter_mut().for_each(|load| load.weight = None);
    let unmeasured = plan(&nodes, &loads, &before, &options, MINUTE_MS).unwrap();
    assert_eq!(unmeasured.moves, [], "the units were not measured");
    loads.iter_mut().for_each(|load| load.weight = Some(7));
    assert!(plan(&nodes, &loads, &before, &options, MINUTE_MS).unwrap().moves.len() >= 18);
}

#[test]
fn a_unit_too_heavy_for_every_node_ends_alone_and_is_not_moved_around() {
    let (nodes, options) = (nodes(4), Options::default());
    let start = first(&nodes, &loads([10; 100]), &options);
    let hot = start.owned_by(&nodes[0].id).next().unwrap().clone();
    let mut loads = loads([10; 100]);
    loads.iter_mut().filter(|load| load.unit == hot).for_each(|load| load.weight = Some(1_000));
    let planned = plan(&nodes, &loads, &start, &options, 5 * MINUTE_MS).unwrap();
    assert_eq!(planned.plan.owned_by(&nodes[0].id).collect::<Vec<_>>(), [&hot]);
    assert!(planned.places[0].is_over());
    let later = plan(&nodes, &loads, &planned.plan, &options, 50 * MINUTE_MS).unwrap();
    assert_eq!(later.plan, planned.plan);
}

#[test]
fn units_that_fit_nowhere_are_exchanged() {
    let options = Options { epsilon_permille: 10, settle_permille: 0, standbys: 0, ..Options::default() };
    let nodes = nodes(2);
    // 60 + 40 and 70 + 30 are even; 70 + 40 and 60 + 30 are not, and no single move helps.
    let all = loads([60, 40, 70, 30]);
    let mut current = first(&nodes, &all, &options);
    let owners: Vec<_> = current.iter().map(|(_, one)| one.owner.clone()).collect();
    assert_eq!(owners[0], owners[1]);
    let swapped = loads([60, 70, 40, 30]);
    for minute in 1..=3 {
        current = plan(&nodes, &swapped, &current, &options, 5 * minute * MINUTE_MS).unwrap().plan;
    }
    let again = plan(&nodes, &swapped, &current, &options, 50 * MINUTE_MS).unwrap();
    assert!(again.places.iter().all(|place| place.load == 100), "{:?}", again.places);
}

#[test]
fn standbys_are_in_another_fault_domain_if_there_is_one() {
    let (mut nodes, loads, options) = (nodes(6), loads([1; 120]), Options::default());
    for (number, node) in nodes.iter_mut().enumerate() {
        node.domain = Some(["east", "west"][number % 2].into());
    }
    let planned = first(&nodes, &loads, &options);
    let domain = |id: &NodeId| nodes.iter().find(|node| node.id == *id).unwrap().domain.clone();
    assert!(planned.iter().all(|(_, one)| domain(&one.owner) != domain(&one.standbys[0])));
    let one_domain: Vec<_> = nodes.iter().step_by(2).cloned().collect();
    let planned = first(&one_domain, &loads, &options);
    assert!(planned.iter().all(|(_, one)| one.standbys.len() == 1));
}

#[test]
fn without_a_node_the_current_plan_stays() {
    let error = plan(&[], &loads([1]), &Plan::default(), &Options::default(), 0).unwrap_err();
    assert_eq!(error, Error::NoNodes);
    let twice = [node("a"), node("a")];
    let error = plan(&twice, &loads([1]), &Plan::default(), &Options::default(), 0).unwrap_err();
    assert_eq!(error.to_string(), "`a` is listed twice: list every node and every unit once");
}
