//! What holds in the world, and that it does not when something is left out.

use super::{Broken, Rules, World};
use crate::testing::config;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What a run met, or which promise it broke. Every promise is checked in every run.
fn run(rules: Rules, seed: u64) -> Result<BTreeMap<&'static str, u64>, Broken> {
    let mut world = World::new(rules, seed);
    world.run(250)?;
    world.settle(2_000)?;
    Ok(world.met)
}

/// How the first of many runs to break a promise of this name does so.
fn first_broken(rules: Rules, promise: &str) -> Option<u64> {
    (0..100).find(|seed| run(rules, *seed).is_err_and(|broken| broken.starts_with(promise)))
}

#[test]
fn the_world_meets_whatever_it_is_there_for() {
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..40 {
        for (what, count) in
            run(Rules::default(), seed).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"))
        {
            *met.entry(what).or_default() += count;
        }
    }
    for what in
        ["crash", "crash in a step", "cut", "duplicate", "quarantine", "refused", "restored", "split", "busy"]
    {
        assert!(met.contains_key(what), "no {what} in {met:?}");
    }
}

#[test]
fn control_without_the_gate_effects_come_before_their_causes() {
    // A region without a gate has no vector to be restored to.
    let rules = Rules { has_gate: false, restore_one_in: 0, ..Rules::default() };
    assert_eq!(first_broken(rules, "reg_2"), Some(0));
}

#[test]
fn control_without_the_check_for_gaps_events_are_left_out() {
    let rules = Rules { checks_gaps: false, ..Rules::default() };
    assert!(first_broken(rules, "reg_3").is_some());
}

#[test]
fn what_is_stable_goes_on_after_a_restored_region_that_writes_nothing_was_restarted() {
    // What region 3 says of itself is beyond its last event, and after its restart it counts only the events.
    let rules = Rules { regions: 4, partitions: 3, ..Rules::default() };
    assert_eq!(run(rules, 17_094_258_772_904_127_780).err(), None);
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn reg_3_every_event_enters_once(seed: u64, regions in 2u16..5, partitions in 1u32..4) {
        // Links begin anew all the time.
        let rules = Rules { regions, partitions, cut_one_in: 20, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }

    #[test]
    fn reg_2_no_effect_before_its_cause(seed: u64, regions in 3u16..5, partitions in 2u32..5) {
        let rules = Rules { regions, partitions, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }

    #[test]
    fn stable_changes_meet_no_late_arrival(seed: u64, crash_one_in in 20u64..200) {
        // What is stable is checked with every append, also of regions that were restored.
        let rules = Rules { crash_one_in, restore_one_in: 100, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }

    #[test]
    fn everything_arrives_once_links_heal(seed: u64, cut_one_in in 2u64..40) {
        let rules = Rules { cut_one_in, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }
}
