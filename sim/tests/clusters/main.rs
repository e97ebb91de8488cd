//! Many simulated clusters, each from a seed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it saw"
)]

mod detection;
mod simulation;

use std::sync::Mutex;
use tw_testing::asked;

/// So many seeds, or what the environment asks for: `TRADEWIND_SEED` to replay one, `TRADEWIND_CASES` for so many.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match asked("TRADEWIND_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("TRADEWIND_CASES").unwrap_or(count),
    }
}

/// Runs seeds on every core until one of them fails; what the others came to, and the first failure.
fn each<T: Send, E: Send>(
    seeds: std::ops::Range<u64>,
    run: impl Fn(u64) -> Result<T, E> + Sync,
) -> (Vec<T>, Option<E>) {
    let next = Mutex::new(seeds);
    let (done, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while failed.lock().unwrap().is_none() {
                    let Some(seed) = next.lock().unwrap().next() else { return };
                    match run(seed) {
                        Ok(outcome) => done.lock().unwrap().push(outcome),
                        Err(error) => drop(failed.lock().unwrap().get_or_insert(error)),
                    }
                }
            });
        }
    });
    (done.into_inner().unwrap(), failed.into_inner().unwrap())
}
