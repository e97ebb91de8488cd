//! Rebalancing on request: what hysteresis and cooldown hold back.

use super::*;

fn units(planned: &Planned) -> Vec<u32> {
    planned.places.iter().map(|place| place.units).collect()
}

/// Options that hold everything back that can be.
fn held() -> Options {
    Options {
        epsilon_permille: 1_000,
        settle_permille: 1_000,
        urgent_permille: 10_000,
        cooldown_ms: 86_400_000,
        ..Options::default()
    }
}

#[test]
fn what_hysteresis_and_cooldown_hold_back_is_moved_on_request() {
    let (loads, options) = (loads([1; 12]), held());
    let two = first(&nodes(2), &loads, &options);
    let peak = |plan: &Plan, count| peak_permille(&nodes(count), &loads, plan, &options).unwrap();
    assert_eq!(plan(&nodes(3), &loads, &two, &options, MINUTE_MS).unwrap().moves, []);
    assert_eq!(peak(&two, 3), 1_500);
    let three = rebalance(&nodes(3), &loads, &two, &options, MINUTE_MS).unwrap();
    assert_eq!((units(&three), three.moves.len(), peak(&three.plan, 3)), (vec![4, 4, 4], 4, 1_000));
    assert!(three.moves.iter().all(|one| one.to == nodes(3)[2].id));
    // All that the third node has is cooling; it gives one to the fourth all the same.
    let four = rebalance(&nodes(4), &loads, &three.plan, &options, 2 * MINUTE_MS).unwrap();
    assert_eq!((units(&four), four.moves.len(), peak(&four.plan, 4)), (vec![3, 3, 3, 3], 3, 1_000));
}

#[test]
fn what_is_even_stays_as_it_is() {
    let (nodes, options) = (nodes(3), held());
    for count in [3, 7, 10, 100] {
        let loads = loads(vec![1; count]);
        let before = first(&nodes, &loads, &options);
        let even = rebalance(&nodes, &loads, &before, &options, MINUTE_MS).unwrap();
        let again = rebalance(&nodes, &loads, &even.plan, &options, 2 * MINUTE_MS).unwrap();
        assert_eq!((again.plan, again.moves), (even.plan.clone(), vec![]), "{count}");
        let after = plan(&nodes, &loads, &even.plan, &options, 3 * MINUTE_MS).unwrap();
        assert_eq!(after.plan, even.plan, "the next plan undoes nothing");
    }
}

#[test]
fn the_budget_holds_for_a_rebalance() {
    let (loads, options) = (loads([1; 12]), Options { moves_max: 3, ..held() });
    let two = first(&nodes(2), &loads, &options);
    let three = rebalance(&nodes(3), &loads, &two, &options, MINUTE_MS).unwrap();
    assert_eq!((three.moves.len(), three.postponed), (3, true));
}
