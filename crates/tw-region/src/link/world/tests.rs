//! What holds in the world, and that it does not when something is left out.

use super::{Broken, Met, Net, Rules, World};
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

#[test]
fn relays_are_met_and_what_they_relay_is_lost_and_removed_on_the_way() {
    let mut met = Met::new();
    for seed in 0..12 {
        let net = if seed % 2 == 0 { Net::Chain } else { Net::Hub };
        let rules = Rules { net, regions: 4, remove_one_in: (seed % 3) * 15, ..Rules::default() };
        let of = run(rules, seed).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        of.into_iter().for_each(|(what, count)| *met.entry(what).or_default() += count);
    }
    for what in ["append failed", "crash", "cut", "quarantine", "relayed", "removed"] {
        assert!(met.contains_key(what), "no {what} in {met:?}");
    }
}

/// Regions that would have something from each other only have nothing of it, and lose and repeat nothing else.
#[test]
fn reg_3_in_a_circle_nothing_goes_round() {
    for seed in 0..10 {
        let mut world = World::new(Rules { net: Net::Circle, ..Rules::default() }, seed);
        world.run(300).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        world.is_calm = true;
        world.run(600).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        assert_eq!(world.met.get("relayed"), None, "there is nothing to relay");
        let own = world.truth.events.iter().filter(|event| event.span.region().0 == 1);
        assert!(own.count() > 0);
    }
}

#[test]
fn control_a_relay_that_promises_more_than_was_promised_to_it_lets_effects_come_before_their_causes() {
    let rules = Rules { net: Net::Chain, promises_too_much: true, ..Rules::default() };
    assert!(first_broken(rules, "reg_2").is_some());
}

#[test]
fn control_a_relay_that_tells_what_it_had_seen_itself_lets_effects_come_before_their_causes() {
    let rules = Rules { net: Net::Chain, regions: 4, tells_of_itself: true, ..Rules::default() };
    assert!(first_broken(rules, "reg_2").is_some());
}

/// What a block says of others holds for the blocks after it, too, so a connection that lost it would let effects come before causes. None
/// does; here it did once.
#[test]
fn reg_2_what_a_left_out_block_said_of_others_is_not_lost() {
    let rules = Rules { lose_one_in: 32, ..Rules::default() };
    assert_eq!(run(rules, 581_613_914_586_119_713).err(), None);
}

/// What a region had removed before a relay had it is passed with another time after the relay has begun anew: that is no other history.
#[test]
fn what_is_gone_is_passed_through_relays_that_begin_anew() {
    let rules = Rules { net: Net::Chain, regions: 5, cut_one_in: 76, remove_one_in: 20, ..Rules::default() };
    assert_eq!(run(rules, 536_086_922_292_670_150).err(), None);
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn reg_2_no_effect_before_its_cause(seed: u64, regions in 3u16..5, partitions in 3u32..6) {
        let rules = Rules { regions, partitions, ..Rules::default() };
        prop_assert_eq!(run(rules, seed).err(), None);
    }

    #[test]
    fn reg_2_no_effect_before_its_cause_through_chains_and_hubs(
        seed: u64,
        regions in 3u16..6,
        is_chain: bool,
        cut_one_in in 10u64..80,
        remove_one_in in prop::sample::select(vec![0u64, 20]),
    ) {
        let net = if is_chain { Net::Chain } else { Net::Hub };
        let rules = Rules { net, regions, cut_one_in, remove_one_in, ..Rules::default() };
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
