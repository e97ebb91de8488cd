//! The README's table: how long an event that has arrived is not visible yet, under three rules.

use super::{Random, history::partition};
use crate::delivery::{Delivery, Head};
use crate::{Seen, Span};
use expect_test::expect_file;
use std::collections::{BTreeMap, VecDeque};
use tw_types::{Epoch, Hlc, HlcClock, Origin, RegionId, Sequence};

const PARTITIONS: u32 = 4;
const RUN_MS: u64 = 20_000;
/// Region 3 or one of its links is cut in this time.
const CUT_MS: std::ops::Range<u64> = 5_000..15_000;
const BEAT_MS: u64 = 10;
const REGIONS: [RegionId; 3] = [RegionId(1), RegionId(2), RegionId(3)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Nothing,
    /// One time up to which everything of all regions is here.
    Scalar,
    Vector,
}

/// Which ways from one region to another are cut.
type Cut = fn(RegionId, RegionId) -> bool;

enum Message {
    Head(Head),
    Beat(Sequence, Hlc),
}

/// A region's side of a link's partition: what is under way, and up to when everything has arrived.
#[derive(Default)]
struct Way {
    queue: VecDeque<(u64, Message)>,
    arrived: Hlc,
    is_held: bool,
}

struct Site {
    clock: HlcClock,
    sequences: Vec<u64>,
    delivery: Delivery,
    ways: BTreeMap<(RegionId, u32), Way>,
    /// Blocks that have arrived and are not visible: when they came.
    hidden: BTreeMap<Block, (u64, Hlc)>,
    delays_ms: Vec<u64>,
}

/// Region, partition and sequence of a block.
type Block = (RegionId, u32, u64);

fn latency_ms(from: RegionId, to: RegionId) -> u64 {
    match from.0 + to.0 {
        3 => 40,
        4 => 80,
        _ => 120,
    }
}

/// The delays of what regions 1 and 2 sent each other, in milliseconds.
fn run(rule: Rule, cut: Cut) -> Vec<u64> {
    let mut random = Random::new(7);
    let mut sites: BTreeMap<RegionId, Site> = REGIONS.into_iter().map(|id| (id, Site::new(id))).collect();
    for now_ms in 1_000..1_000 + RUN_MS {
        for from in REGIONS {
            let site = sites.get_mut(&from).unwrap();
            let mut messages = Vec::new();
            if random.one_in(5) {
                let part = random.below(PARTITIONS.into()) as u32;
                messages.push((part, Message::Head(site.write(from, part, 1 + random.below(4), now_ms))));
            }
            if now_ms % BEAT_MS == 0 {
                let until = site.clock.take(now_ms, 1);
                let beat = |part: u32| (part, Message::Beat(Sequence(site.sequences[part as usize]), until));
                messages.extend((0..PARTITIONS).map(beat));
            }
            for (part, message) in messages {
                for to in REGIONS.into_iter().filter(|to| *to != from) {
                    let sent_ms = if CUT_MS.contains(&now_ms) && cut(from, to) { CUT_MS.end } else { now_ms };
                    let at_ms = sent_ms + latency_ms(from, to) + random.below(10);
                    sites.get_mut(&to).unwrap().send(from, part, at_ms, &message);
                }
            }
        }
        for site in sites.values_mut() {
            site.receive(rule, now_ms);
        }
    }
    sites.into_iter().filter(|(id, _)| id.0 < 3).flat_map(|(_, site)| site.delays_ms).collect()
}

impl Site {
    fn new(id: RegionId) -> Self {
        let others = || REGIONS.into_iter().filter(move |other| *other != id);
        let keys = || others().flat_map(|other| (0..PARTITIONS).map(move |part| (other, part)));
        let slots = keys().map(|(other, part)| (other, partition(part), Hlc::ZERO));
        Self {
            clock: HlcClock::new(Hlc::ZERO, 500),
            sequences: vec![0; PARTITIONS as usize],
            delivery: Delivery::start(id, slots).unwrap(),
            ways: keys().map(|key| (key, Way::default())).collect(),
            hidden: BTreeMap::new(),
            delays_ms: Vec::new(),
        }
    }

    fn write(&mut self, id: RegionId, part: u32, count: u64, now_ms: u64) -> Head {
        let seen: Seen = self.delivery.latest();
        let latest = seen.iter().map(|(_, hlc)| hlc).max().unwrap_or_default();
        self.clock.observe(latest, now_ms).unwrap();
        let hlc = self.clock.take(now_ms, count);
        let sequence = &mut self.sequences[part as usize];
        let first = Origin { region: id, epoch: Epoch(1), sequence: Sequence(*sequence + 1) };
        *sequence += count;
        self.delivery.local(self.clock.last());
        Head { span: Span::new(first, count, hlc).unwrap(), seen }
    }

    fn send(&mut self, from: RegionId, part: u32, at_ms: u64, message: &Message) {
        let queue = &mut self.ways.get_mut(&(from, part)).unwrap().queue;
        let at_ms = queue.back().map_or(at_ms, |(last_ms, _)| at_ms.max(*last_ms));
        let message = match message {
            Message::Head(head) => Message::Head(head.clone()),
            Message::Beat(sequence, until) => Message::Beat(*sequence, *until),
        };
        queue.push_back((at_ms, message));
    }

    fn receive(&mut self, rule: Rule, now_ms: u64) {
        match rule {
            Rule::Vector => self.receive_by_gate(now_ms),
            Rule::Nothing | Rule::Scalar => self.receive_all(rule, now_ms),
        }
    }

    /// Everything is taken as it comes, and becomes visible at once or when the one time has come.
    fn receive_all(&mut self, rule: Rule, now_ms: u64) {
        for ((from, part), way) in &mut self.ways {
            while let Some((_, message)) = way.queue.pop_front_if(|(at_ms, _)| *at_ms <= now_ms) {
                way.arrived = match message {
                    Message::Head(head) => {
                        let key = (*from, *part, head.span.first().sequence.0);
                        self.hidden.insert(key, (now_ms, head.span.last_hlc()));
                        head.span.last_hlc()
                    }
                    Message::Beat(_, until) => until,
                };
            }
        }
        let stable = self.ways.values().map(|way| way.arrived).min().unwrap_or_default();
        let until = if rule == Rule::Scalar { stable } else { Hlc::from_u64(u64::MAX) };
        let visible: Vec<_> = self.hidden.extract_if(.., |_, (_, last)| *last <= until).collect();
        self.delays_ms
            .extend(counted(visible.into_iter().map(|(key, (came_ms, _))| (key.0, now_ms - came_ms))));
    }

    fn receive_by_gate(&mut self, now_ms: u64) {
        loop {
            for ((from, part), way) in &mut self.ways {
                way.offer(&mut self.delivery, (*from, *part), &mut self.hidden, now_ms);
            }
            let ready = self.delivery.ready();
            if ready.is_empty() {
                return;
            }
            for portion in ready {
                let (from, part) = (portion.span.region(), portion.at.partition.0);
                self.delivery.appended(from, portion.at, portion.span.last_hlc());
                let key = (from, part, portion.span.first().sequence.0);
                // A region with one clock has no blocks that overlap, so all are whole.
                let (came_ms, _) = self.hidden.remove(&key).unwrap();
                self.delays_ms.extend(counted([(from, now_ms - came_ms)]));
                let way = self.ways.get_mut(&(from, part)).unwrap();
                way.is_held = false;
                way.queue.pop_front();
            }
        }
    }
}

impl Way {
    /// Hands the gate the first block, and what comes behind it.
    fn offer(
        &mut self,
        delivery: &mut Delivery,
        (from, part): (RegionId, u32),
        hidden: &mut BTreeMap<Block, (u64, Hlc)>,
        now_ms: u64,
    ) {
        let at = partition(part);
        for (at_ms, message) in self.queue.iter().take_while(|(at_ms, _)| *at_ms <= now_ms) {
            if let Message::Head(head) = message {
                hidden
                    .entry((from, part, head.span.first().sequence.0))
                    .or_insert((*at_ms, head.span.last_hlc()));
            }
        }
        while let Some((_, message)) =
            self.queue.get(usize::from(self.is_held)).filter(|(at_ms, _)| *at_ms <= now_ms)
        {
            match message {
                Message::Beat(sequence, until) => {
                    delivery.heartbeat(from, at, &[(Epoch(1), *sequence)], *until).unwrap();
                    self.queue.remove(usize::from(self.is_held));
                }
                Message::Head(head) if self.is_held => {
                    return delivery.followed(from, at, head.span.first_hlc());
                }
                Message::Head(head) => {
                    delivery.offer(at, head.clone()).unwrap();
                    self.is_held = true;
                }
            }
        }
    }
}

fn counted(delays: impl IntoIterator<Item = (RegionId, u64)>) -> impl Iterator<Item = u64> {
    delays.into_iter().filter(|(from, _)| from.0 < 3).map(|(_, delay_ms)| delay_ms)
}

fn quantile_ms(delays_ms: &[u64], permille: usize) -> u64 {
    let mut sorted = delays_ms.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() * permille / 1_000).copied().unwrap_or_default()
}

#[test]
fn the_table_in_the_readme_is_what_the_simulation_gives() {
    let cuts: [Cut; 3] =
        [|_, _| false, |from, to| from.0 == 3 || to.0 == 3, |from, to| (from.0, to.0) == (3, 1)];
    let mut table = String::from(
        "| rule | all links up: p50 | p99 | region 3 cut off: p50 | p99 | only 3 to 1 cut: p50 | p99 |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for (name, rule) in
        [("no order", Rule::Nothing), ("one time", Rule::Scalar), ("**vector**", Rule::Vector)]
    {
        table += &format!("| {name} |");
        for cut in cuts {
            let delays_ms = run(rule, cut);
            assert!(delays_ms.len() > 5_000, "{rule:?}");
            for permille in [500, 990] {
                table += &format!(" {} ms |", quantile_ms(&delays_ms, permille));
            }
        }
        table.push('\n');
    }
    let readme = include_str!("../delivery/README.md");
    let (before, rest) = readme.split_once("it anew -->\n\n").unwrap();
    let (_, after) = rest.split_once("\n<!-- end -->").unwrap();
    let written = [before, "it anew -->\n\n", &table, "\n<!-- end -->", after].concat();
    expect_file!["../delivery/README.md"].assert_eq(&written);
}
