//! What must hold, and that it would be noticed if it did not.

use crate::{each, seeds};
use sim::{Defect, Tally, run, witnessed};

/// How many seeds, unless the environment asks for others.
const SEEDS: u64 = 2_000;

#[test]
fn clu_1_clu_2_clu_3_hold_whatever_goes_wrong_and_then_the_cluster_heals() {
    let seeds = seeds(SEEDS);
    let is_many = seeds.end - seeds.start >= 200;
    let (tallies, failure) = each(seeds, |seed| run(seed, None));
    if let Some(failure) = failure {
        panic!("{failure}");
    }
    let mut sum = Tally::default();
    tallies.into_iter().for_each(|tally| sum += tally);
    println!("{sum:?}");
    // A simulation in which nothing happens shows nothing.
    let seen = [sum.leases_lost, sum.offers, sum.refused, sum.evictions, sum.plans, sum.acknowledged];
    assert!(!is_many || seen.iter().all(|seen| *seen > 0), "{sum:?}");
}

#[test]
fn every_deliberate_error_is_found() {
    for defect in Defect::ALL {
        let (_, failure) = each(0..1_000, |seed| run(seed, Some(defect)));
        let failure = failure.unwrap_or_else(|| panic!("{defect:?} is not found"));
        println!("{defect:?}: seed {}: {}", failure.seed, failure.violation.what);
        assert!(failure.trace.len() > 10, "a failure tells how it came");
    }
}

/// All but one: that a node is fenced off while it has something, the log alone knows.
#[test]
fn clu_1_clu_2_clu_3_nodes_find_by_themselves_what_is_broken() {
    for defect in Defect::ALL {
        let (_, failure) = each(0..1_000, |seed| witnessed(seed, defect));
        let found = failure.as_ref().map(|failure| (failure.seed, &failure.violation));
        println!("{defect:?}: {found:?}");
        assert_eq!(found.is_some(), defect != Defect::KeepsItsWriter, "{defect:?}: {found:?}");
    }
}
