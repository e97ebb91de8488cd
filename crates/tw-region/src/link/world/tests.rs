//! What holds in the world, and that it does not when something is left out.

use super::{Broken, Met, Rules, World};
use crate::link::testing::config;
use proptest::prelude::*;

/// What a run met, or which promise it broke. Every promise is checked in every run.
fn run(rules: Rules, seed: u64) -> Result<Met, Broken> {
    let mut world = World::new(rules, seed);
    world.run(200)?;
    world.settle(3_000)?;
    Ok(world.met)
}

/// The first of many runs to break a promise of this name.
fn first_broken(rules: Rules, promise: &str) -> Option<u64> {
    (0..60).find(|seed| run(rules, *seed).is_err_and(|broken| broken.starts_with(promise)))
}

#[test]
fn the_world_meets_whatever_it_is_there_for() {
    let mut met = Met::new();
    for seed in 0..20 {
        let rules = Rules { remove_one_in: if seed % 2 == 0 { 20 } else { 0 }, ..Rules::default() };
        let of = run(rules, seed).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        of.into_iter().for_each(|(what, count)| *met.entry(what).or_default() += count);
    }
    for what in ["append failed", "crash", "cut", "quarantine", "removed"] {
        assert!(met.contains_key(what), "no {what} in {met:?}");
    }
}

#[test]
fn control_without_the_gate_effects_come_before_their_causes() {
    let rules = Rules { has_gate: false, ..Rules::default() };
    assert!(first_broken(rules, "reg_2").is_some());
}

#[test]
fn control_without_the_check_for_gaps_events_are_left_out() {
    let rules = Rules { lose_one_in: 20, checks_gaps: false, ..Rules::default() };
    assert!(first_broken(rules, "reg_3").is_some());
}

/// What a block says of others holds for the blocks after it, too, so a connection that lost it would let effects come before causes. None
/// does; here it did once.
#[test]
fn reg_2_what_a_left_out_block_said_of_others_is_not_lost() {
    let rules = Rules { lose_one_in: 32, ..Rules::default() };
    assert_eq!(run(rules, 581_613_914_586_119_713).err(), None);
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn reg_2_no_effect_before_its_cause(seed: u64, regions in 3u16..5, partitions in 3u32..6) {
        let rules = Rules { regions, partitions, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }

    #[test]
    fn reg_3_every_event_enters_once(seed: u64, cut_one_in in 5u64..40) {
        // Connections begin anew all the time.
        let rules = Rules { cut_one_in, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }

    #[test]
    fn everything_arrives_once_links_heal(seed: u64, crash_one_in in 10u64..100) {
        let rules = Rules { crash_one_in, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }

    #[test]
    fn reg_3_what_is_lost_on_the_way_is_asked_for_again(seed: u64, lose_one_in in 5u64..100) {
        let rules = Rules { lose_one_in, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }

    #[test]
    fn what_a_log_has_no_more_stops_nothing(seed: u64, remove_one_in in 2u64..40) {
        let rules = Rules { remove_one_in, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }
}
