//! A simulated server behind a door: workers, a queue in order of arrival, and more requests than it can take.

use crate::overload::{Decision, Limiter, Outcome, Priority};
use crate::sim::{Random, quantile};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How long requests take, in means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Fixed,
    Exponential,
    /// One of 50 kinds, the kind r takes time in proportion to 1 / r.
    Zipf,
}

/// Who decides about entering.
pub(super) enum Door<'a> {
    /// Nobody.
    Open,
    /// A fixed number of requests.
    Fixed(u32),
    /// One more after each request within its time limit, a tenth less after one beyond.
    Aimd { limit: f64, limit_us: f64 },
    /// The limiter.
    Given(&'a mut Limiter),
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) workers: usize,
    /// How many workers there are in the second third of the time.
    pub(super) workers_between: usize,
    pub(super) service: Service,
    pub(super) mean_us: f64,
    /// What arrives, as a part of what the workers can do.
    pub(super) load: f64,
    /// When it begins: after what was simulated before with the same limiter.
    pub(super) start_us: f64,
    pub(super) seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    latencies_us: Vec<f64>,
    /// By priority: arrived and refused.
    pub(super) counts: [(u32, u32); Priority::COUNT],
    done: u32,
    capacity: f64,
}

impl Report {
    pub(super) fn p99_us(&mut self) -> f64 {
        quantile(&mut self.latencies_us, 990)
    }

    /// How much of what the server could have done it did.
    pub(super) fn work(&self) -> f64 {
        f64::from(self.done) / self.capacity
    }

    pub(super) fn refused_part(&self) -> f64 {
        let sum = |count: fn(&(u32, u32)) -> u32| self.counts.iter().map(count).sum::<u32>();
        f64::from(sum(|count| count.1)) / f64::from(sum(|count| count.0).max(1))
    }
}

struct Server<'a> {
    scenario: Scenario,
    door: Door<'a>,
    random: Random,
    workers: usize,
    busy: usize,
    inside: u32,
    queue: VecDeque<(u64, Priority)>,
    /// When a worker is done, with which request: its arrival and its priority.
    finishing: BinaryHeap<Reverse<(u64, u64, Priority)>>,
    report: Report,
}

impl Scenario {
    pub(super) fn new(workers: usize, service: Service) -> Self {
        Self {
            workers,
            workers_between: workers,
            service,
            mean_us: 10_000.0,
            load: 1.0,
            start_us: 0.0,
            seed: 42,
        }
    }

    pub(super) fn run(self, door: Door<'_>, seconds: f64) -> Report {
        let mut server = Server {
            scenario: self,
            door,
            random: Random::new(self.seed),
            workers: self.workers,
            busy: 0,
            inside: 0,
            queue: VecDeque::new(),
            finishing: BinaryHeap::new(),
            report: Report::default(),
        };
        let span_us = seconds * 1e6;
        let between = (self.workers * 2 + self.workers_between) as f64 / 3.0;
        server.report.capacity = span_us * between / self.mean_us;
        let gap_us = self.mean_us / (self.load * self.workers as f64);
        let mut now = self.start_us;
        while now < self.start_us + span_us {
            now += server.random.exponential(gap_us);
            server.finish_until(now as u64);
            let third = (3.0 * (now - self.start_us) / span_us) as u32;
            server.workers = if third == 1 { self.workers_between } else { self.workers };
            server.arrive(now as u64);
        }
        // What is inside leaves, so that a limiter can be used again; what was done by then is not counted any more.
        let done = server.report.done;
        server.finish_until(u64::MAX);
        server.report.done = done;
        server.report
    }
}

impl Server<'_> {
    fn arrive(&mut self, now_us: u64) {
        let priority = match self.random.below(100) {
            0..50 => Priority::BACKGROUND,
            50..80 => Priority::NORMAL,
            80..95 => Priority::HIGH,
            _ => Priority::CRITICAL,
        };
        let enters = match &mut self.door {
            Door::Open => true,
            Door::Fixed(limit) => self.inside < *limit,
            Door::Aimd { limit, .. } => self.inside < *limit as u32,
            Door::Given(limiter) => limiter.admit(priority, now_us) == Decision::Admit,
        };
        let counts = &mut self.report.counts[priority.index()];
        counts.0 += 1;
        if enters {
            self.inside += 1;
            self.queue.push_back((now_us, priority));
            self.start(now_us);
        } else {
            counts.1 += 1;
        }
    }

    fn start(&mut self, now_us: u64) {
        while self.busy < self.workers
            && let Some((arrived_us, priority)) = self.queue.pop_front()
        {
            let mean_us = self.scenario.mean_us;
            let time_us = match self.scenario.service {
                Service::Fixed => mean_us,
                Service::Exponential => self.random.exponential(mean_us),
                // The sum of 1 / r up to 50 is 4.499.
                Service::Zipf => mean_us * 50.0 / 4.499 / (1 + self.random.below(50)) as f64,
            };
            self.busy += 1;
            self.finishing.push(Reverse((now_us + time_us as u64, arrived_us, priority)));
        }
    }

    fn finish_until(&mut self, now_us: u64) {
        while let Some(Reverse((done_us, arrived_us, priority))) = self.finishing.peek().copied()
            && done_us <= now_us
        {
            self.finishing.pop();
            let latency_us = done_us - arrived_us;
            self.report.latencies_us.push(latency_us as f64);
            self.report.done += 1;
            self.busy -= 1;
            self.inside -= 1;
            match &mut self.door {
                Door::Open | Door::Fixed(_) => {}
                Door::Aimd { limit, limit_us } if latency_us as f64 > *limit_us => {
                    *limit = (*limit * 0.9).max(1.0);
                }
                Door::Aimd { limit, .. } => *limit += 1.0 / *limit,
                Door::Given(limiter) => limiter.done(priority, latency_us, Outcome::Finished, done_us),
            }
            self.start(done_us);
        }
    }
}
