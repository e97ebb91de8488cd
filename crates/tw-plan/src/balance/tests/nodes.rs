//! Simulated nodes that serve requests of several senders: workers, a queue, a cache of subjects, and speeds that change.

use crate::balance::{Balancer, Options, Outcome, Report, Request, Target};
use crate::sim::{Random, Zipf, quantile};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use tw_types::NodeId;

const SENDERS: usize = 16;
const MEAN_US: f64 = 10_000.0;
/// How many subjects a node keeps in its cache, and how much faster a request is that finds its subject there.
const CACHED: usize = 500;
const CACHE_GAIN: f64 = 0.2;

/// What is simulated.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    /// The workers of each node, which the senders know as its capacity.
    pub(super) workers: Vec<u32>,
    /// What arrives, as a part of what the nodes can do.
    pub(super) load: f64,
    /// Whether requests are about subjects, by Zipf's law, and nodes have a cache.
    pub(super) subjects: Option<usize>,
    /// Whether every second another quarter of the nodes works at a third of its speed.
    pub(super) shifting: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) latencies_us: Vec<f64>,
    pub(super) hits: u32,
}

impl Outcomes {
    pub(super) fn quantile_ms(&mut self, permille: usize) -> f64 {
        quantile(&mut self.latencies_us, permille) / 1_000.0
    }
}

#[derive(Default)]
struct Server {
    workers: u32,
    busy: u32,
    inside: u32,
    queue: VecDeque<Job>,
    /// Subjects by when they were used last, both ways.
    cache: (BTreeMap<usize, u64>, BTreeMap<u64, usize>),
    latency_us: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    arrived_us: u64,
    sender: usize,
    subject: Option<usize>,
}

impl Server {
    /// Whether the subject is in the cache; it is from now on.
    fn touch(&mut self, subject: usize, tick: u64) -> bool {
        let (by_subject, by_use) = &mut self.cache;
        let before = by_subject.insert(subject, tick);
        before.and_then(|used| by_use.remove(&used));
        by_use.insert(tick, subject);
        if by_subject.len() > CACHED
            && let Some((_, oldest)) = by_use.pop_first()
        {
            by_subject.remove(&oldest);
        }
        before.is_some()
    }
}

struct World {
    scenario: Scenario,
    ids: Vec<NodeId>,
    servers: Vec<Server>,
    senders: Vec<Balancer>,
    finishing: BinaryHeap<Reverse<(u64, usize, Job)>>,
    random: Random,
    ticks: u64,
    outcomes: Outcomes,
}

impl Scenario {
    pub(super) fn run(&self, options: &Options, seconds: f64) -> Outcomes {
        let ids: Vec<NodeId> = (0..self.workers.len()).map(super::id).collect();
        let pairs = ids.iter().zip(&self.workers);
        let targets: Vec<_> =
            pairs.map(|(node, workers)| Target { node: node.clone(), capacity: *workers }).collect();
        let sender = |_| {
            let mut balancer = Balancer::new(options.clone()).unwrap();
            balancer.set_nodes(&targets).unwrap();
            balancer
        };
        let mut world = World {
            servers: self
                .workers
                .iter()
                .map(|workers| Server { workers: *workers, ..Server::default() })
                .collect(),
            senders: (0..SENDERS).map(sender).collect(),
            scenario: self.clone(),
            ids,
            finishing: BinaryHeap::new(),
            random: Random::new(42),
            ticks: 0,
            outcomes: Outcomes::default(),
        };
        let zipf = self.subjects.map(Zipf::new);
        let workers: u32 = self.workers.iter().sum();
        let gap_us = MEAN_US / (self.load * f64::from(workers));
        let mut now = 0.0;
        while now < seconds * 1e6 {
            now += world.random.exponential(gap_us);
            world.finish_until(now as u64);
            let subject = zipf.as_ref().map(|zipf| zipf.draw(&mut world.random));
            world.arrive(now as u64, subject);
        }
        world.outcomes
    }
}

impl World {
    fn arrive(&mut self, now_us: u64, subject: Option<usize>) {
        let sender = self.random.below(SENDERS);
        let balancer = &mut self.senders[sender];
        while let Some(node) = balancer.to_probe(now_us) {
            let server = &self.servers[self.ids.iter().position(|id| *id == node).unwrap()];
            let report = Report { in_flight: server.inside, latency_us: server.latency_us as u64 };
            balancer.report(&node, report, now_us);
        }
        let name = subject.map(|subject| format!("subject-{subject}"));
        let request = Request { subject: name.as_deref(), tried: &[], among: None };
        let node = balancer.choose(request, self.random.next(), now_us).unwrap();
        let place = self.ids.iter().position(|id| *id == node).unwrap();
        let server = &mut self.servers[place];
        server.inside += 1;
        server.queue.push_back(Job { arrived_us: now_us, sender, subject });
        self.start(place, now_us);
    }

    fn start(&mut self, place: usize, now_us: u64) {
        let slow = (now_us / 1_000_000) as usize * 5 % self.ids.len();
        let distance = (place + self.ids.len() - slow) % self.ids.len();
        let is_slow = self.scenario.shifting && distance * 4 < self.ids.len();
        let server = &mut self.servers[place];
        while server.busy < server.workers
            && let Some(job) = server.queue.pop_front()
        {
            self.ticks += 1;
            let hit = job.subject.is_some_and(|subject| server.touch(subject, self.ticks));
            self.outcomes.hits += u32::from(hit);
            let factor = if hit { CACHE_GAIN } else { 1.0 } * if is_slow { 3.0 } else { 1.0 };
            let time_us = self.random.exponential(MEAN_US) * factor;
            server.busy += 1;
            self.finishing.push(Reverse((now_us + time_us as u64, place, job)));
        }
    }

    fn finish_until(&mut self, now_us: u64) {
        while let Some(Reverse((done_us, place, job))) = self.finishing.peek().copied()
            && done_us <= now_us
        {
            self.finishing.pop();
            let server = &mut self.servers[place];
            (server.busy, server.inside) = (server.busy - 1, server.inside - 1);
            let latency_us = done_us - job.arrived_us;
            server.latency_us += (latency_us as f64 - server.latency_us) / 16.0;
            // Every answer brings a report along.
            let report = Report { in_flight: server.inside, latency_us: server.latency_us as u64 };
            self.outcomes.latencies_us.push(latency_us as f64);
            let sender = &mut self.senders[job.sender];
            sender.done(&self.ids[place], latency_us, Outcome::Answered, done_us);
            sender.report(&self.ids[place], report, done_us);
            self.start(place, done_us);
        }
    }
}
