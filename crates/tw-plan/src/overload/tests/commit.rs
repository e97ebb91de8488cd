//! A simulated server that carries requests out together, as a log does with its group commit: a round takes all that have
//! come meanwhile. More at once make each a little slower and all of them much faster, which is no queue.

use super::limiter;
use crate::overload::{Decision, Limiter, Options, Outcome, Priority};
use crate::sim::{Random, quantile};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How long a round takes, and how much longer for each request of it.
const ROUND_US: f64 = 1_000.0;
const EACH_US: f64 = 10.0;
/// How long a client thinks between two requests.
const THINK_US: f64 = 200.0;

/// What came of it.
struct Report {
    latencies_us: Vec<f64>,
    refused: u32,
    seconds: f64,
}

impl Report {
    fn p99_us(&mut self) -> f64 {
        quantile(&mut self.latencies_us, 990)
    }

    fn rate(&self) -> f64 {
        self.latencies_us.len() as f64 / self.seconds
    }

    fn refused_part(&self) -> f64 {
        f64::from(self.refused) / (self.latencies_us.len() as f64 + f64::from(self.refused))
    }
}

/// So many clients, each of which sends one request after another; who is refused comes back when it is told to.
fn run(limiter: &mut Limiter, clients: usize, start_us: u64, seconds: f64) -> Report {
    let mut random = Random::new(7);
    let mut report = Report { latencies_us: Vec::new(), refused: 0, seconds };
    let mut asking: BinaryHeap<Reverse<u64>> =
        (0..clients).map(|_| Reverse(start_us + random.below(2_000) as u64)).collect();
    let mut now_us = start_us;
    let end_us = start_us + (seconds * 1e6) as u64;
    while now_us < end_us {
        // Those who come while a round is under way are in the next one.
        let mut round = Vec::new();
        while asking.peek().is_some_and(|at| at.0 <= now_us) || (round.is_empty() && !asking.is_empty()) {
            let Some(Reverse(at_us)) = asking.pop() else { break };
            now_us = now_us.max(at_us);
            match limiter.admit(Priority::NORMAL, at_us) {
                Decision::Admit => round.push(at_us),
                Decision::Refuse { retry_after_ms } => {
                    report.refused += 1;
                    asking.push(Reverse(at_us + u64::from(retry_after_ms) * 1_000));
                }
            }
        }
        let spread = 0.5 + random.exponential(0.5);
        now_us += (ROUND_US * spread + EACH_US * round.len() as f64) as u64;
        for at_us in round {
            limiter.done(Priority::NORMAL, now_us - at_us, Outcome::Finished, now_us);
            report.latencies_us.push((now_us - at_us) as f64);
            asking.push(Reverse(now_us + random.exponential(THINK_US) as u64));
        }
    }
    report
}

fn new(limit_start: u32) -> Limiter {
    limiter(Options { limit_min: 4, limit_start, queue_us_max: 5_000, ..Options::default() })
}

#[test]
fn what_is_carried_out_together_is_no_queue() {
    let everybody = run(&mut new(4_096), 256, 0, 2.0);
    for start in [32, 1_024] {
        let mut limiter = new(start);
        run(&mut limiter, 2, 0, 2.0);
        run(&mut limiter, 256, 3_000_000, 2.0);
        let report = run(&mut limiter, 256, 6_000_000, 2.0);
        let (rate, all) = (report.rate(), everybody.rate());
        assert!(rate > 0.95 * all, "starting with {start}: {rate} against {all} a second");
        assert!(report.refused_part() < 0.01, "starting with {start}: {}", report.refused_part());
    }
}

#[test]
fn too_many_for_a_round_are_kept_out() {
    let everybody = |clients| run(&mut new(4_096), clients, 0, 2.0);
    let mut limiter = new(1_024);
    run(&mut limiter, 2, 0, 2.0);
    let mut report = run(&mut limiter, 4_000, 3_000_000, 6.0);
    let mut open = everybody(4_000);
    assert!(report.rate() > 0.75 * open.rate(), "{} against {}", report.rate(), open.rate());
    assert!(report.p99_us() < 0.6 * open.p99_us(), "{} against {}", report.p99_us(), open.p99_us());
}
