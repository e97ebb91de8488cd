//! A rush: three times what a server can do, in a time that the test makes.

use super::{Floor, Hand, World, fixed, send, statement, world};
use crate::support::client::Reply;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tw_api::OverloadOptions;

/// So many statements are worked on at the same time, each for so long.
const WORKERS: usize = 8;
const WORK_US: u64 = 50_000;

/// A statement that was let in: when it came, what finishes it, and its answer.
struct Inside {
    came_us: u64,
    finish: oneshot::Sender<()>,
    reply: JoinHandle<Reply>,
}

/// A server, its clients, and its time.
struct Rush {
    world: World,
    hand: Arc<Hand>,
    floor: Arc<Floor>,
    queue: VecDeque<Inside>,
    /// When each of those that are worked on is finished, the next one first.
    working: BinaryHeap<Reverse<(u64, u64)>>,
    answers: Vec<(u64, Inside)>,
    seed: u64,
}

/// What clients met.
#[derive(Debug, Default)]
struct Met {
    latencies_us: Vec<u64>,
    refused: usize,
    /// The refused and all, with the lowest priority and with the highest.
    lowest: (usize, usize),
    highest: (usize, usize),
}

impl Met {
    fn p99_us(&mut self) -> u64 {
        self.latencies_us.sort_unstable();
        self.latencies_us[self.latencies_us.len() * 99 / 100]
    }

    fn refused_part(&self) -> f64 {
        self.refused as f64 / (self.refused + self.latencies_us.len()) as f64
    }
}

impl Rush {
    async fn new(overload: OverloadOptions) -> Self {
        let (world, hand, floor) = world(overload).await;
        let (queue, working) = (VecDeque::new(), BinaryHeap::new());
        Self { world, hand, floor, queue, working, answers: Vec::new(), seed: 1 }
    }

    /// A number below `n` that looks random.
    fn below(&mut self, n: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % n
    }

    /// `load` times what the workers can do arrives, for so many seconds.
    async fn run(&mut self, load: f64, seconds: u64) -> Met {
        let mut met = Met::default();
        let gap_us = WORK_US as f64 / WORKERS as f64 / load;
        let (mut now_us, end_us) = (self.hand.us(), self.hand.us() + seconds * 1_000_000);
        while now_us < end_us {
            now_us += 1 + self.below(2 * gap_us as u64);
            self.finish_until(now_us, &mut met).await;
            self.hand.set_us(now_us);
            self.arrive(now_us, &mut met).await;
        }
        self.finish_until(u64::MAX, &mut met).await;
        met
    }

    async fn arrive(&mut self, now_us: u64, met: &mut Met) {
        let urgency = self.below(8);
        let mut reply = send(statement(&self.world).header("priority", &format!("u={urgency}")));
        // It is worked on, or refused: nothing else happens before.
        let finish = tokio::select! {
            finish = self.floor.next() => Some(finish),
            refused = &mut reply => {
                let refused = refused.unwrap();
                assert_eq!(refused.code(), "over_capacity");
                assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
                None
            }
        };
        let counts = match urgency {
            0 => Some(&mut met.highest),
            7 => Some(&mut met.lowest),
            _ => None,
        };
        if let Some(counts) = counts {
            counts.0 += usize::from(finish.is_none());
            counts.1 += 1;
        }
        match finish {
            Some(finish) => self.queue.push_back(Inside { came_us: now_us, finish, reply }),
            None => met.refused += 1,
        }
        self.start(now_us);
    }

    /// Workers that are free take the next ones.
    fn start(&mut self, now_us: u64) {
        while self.working.len() < WORKERS
            && let Some(inside) = self.queue.pop_front()
        {
            let number = self.below(u64::MAX >> 34) << 20 | self.answers.len() as u64;
            self.working.push(Reverse((now_us + WORK_US, number)));
            self.answers.push((number, inside));
        }
    }

    async fn finish_until(&mut self, until_us: u64, met: &mut Met) {
        while let Some(Reverse((done_us, number))) = self.working.peek().copied()
            && done_us <= until_us
        {
            self.working.pop();
            self.hand.set_us(done_us);
            let place = self.answers.iter().position(|(other, _)| *other == number).unwrap();
            let (_, Inside { came_us, finish, reply }) = self.answers.swap_remove(place);
            finish.send(()).unwrap();
            assert_eq!(reply.await.unwrap().status, 200);
            met.latencies_us.push(done_us - came_us);
            self.start(done_us);
        }
    }
}

#[tokio::test]
async fn under_three_times_the_load_what_is_let_in_is_answered_in_time_and_afterwards_all_is_well() {
    let mut rush = Rush::new(OverloadOptions { queries_start: 16, ..OverloadOptions::default() }).await;
    let mut unloaded = rush.run(0.3, 10).await;
    assert_eq!(unloaded.refused, 0);
    rush.run(3.0, 3).await;
    let mut over = rush.run(3.0, 8).await;
    let (p99_us, bound_us) = (over.p99_us(), 2 * unloaded.p99_us());
    assert!(p99_us <= bound_us, "p99 is {p99_us} us, over {bound_us} us");
    let (done, capacity) = (over.latencies_us.len() as f64, 8e6 * WORKERS as f64 / WORK_US as f64);
    assert!(done >= 0.75 * capacity, "{done} of {capacity} were done: the node is idle");
    assert!((0.6..0.75).contains(&over.refused_part()), "{over:?}");
    let (refused, all) = over.highest;
    assert!(refused * 4 < all, "{refused} of {all} that matter most are refused");
    let (refused, all) = over.lowest;
    assert!(refused * 10 > all * 9, "{} of {all} that matter least are let in", all - refused);
    rush.run(0.5, 3).await;
    let mut after = rush.run(0.5, 5).await;
    assert_eq!(after.refused, 0, "the rush is over");
    assert!(after.p99_us() <= bound_us);
}

#[tokio::test]
async fn without_a_door_everybody_waits() {
    // The control: what the test above measures is the door's doing.
    let mut rush = Rush::new(OverloadOptions { enabled: false, ..fixed(4, 4, 4) }).await;
    let mut over = rush.run(3.0, 3).await;
    assert!(over.refused == 0 && over.p99_us() > 20 * WORK_US);
}
