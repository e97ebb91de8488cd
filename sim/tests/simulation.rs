//! Many clusters, each from a seed.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use sim::{Defect, Tally, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many seeds, unless the environment asks for more.
const SEEDS: u64 = 2_000;

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs seeds on every core, and gives what each came to.
fn each(
    seeds: std::ops::Range<u64>,
    defect: Option<Defect>,
    take: impl Fn(u64, Result<Tally, Box<sim::Failure>>) -> bool + Sync,
) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !take(seed, run(seed, defect)) {
                        next.store(seeds.end, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn clu_1_clu_2_clu_3_hold_whatever_goes_wrong_and_then_the_cluster_heals() {
    let seeds = match asked("TRADEWIND_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("TRADEWIND_CASES").unwrap_or(SEEDS),
    };
    let failure = Mutex::new(None);
    let sum = Mutex::new(Tally::default());
    each(seeds, None, |_, outcome| match outcome {
        Ok(tally) => {
            *sum.lock().unwrap() += tally;
            true
        }
        Err(found) => {
            failure.lock().unwrap().get_or_insert(found);
            false
        }
    });
    if let Some(failure) = failure.into_inner().unwrap() {
        panic!("{failure}");
    }
    println!("{:?}", sum.into_inner().unwrap());
}

#[test]
fn every_deliberate_error_is_found() {
    for defect in Defect::ALL {
        let found = Mutex::new(None);
        each(0..1_000, Some(defect), |seed, outcome| match outcome {
            Ok(_) => true,
            Err(failure) => {
                found.lock().unwrap().get_or_insert((seed, failure.violation));
                false
            }
        });
        let found = found.into_inner().unwrap();
        assert!(found.is_some(), "{defect:?} is not found");
        println!("{defect:?}: {found:?}");
    }
}
