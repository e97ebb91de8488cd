//! A small world for tests: regions write, and their shells are the cores of both ends with a simulated log and slow connections that
//! are cut; processes crash and lose whatever is not in their log. Which event knew of which is tracked exactly, beside what is tested.

mod region;
mod shell;
mod tests;
mod wires;

use crate::link::outbound::SeenHistory;
use crate::link::wire::Frame;
use region::Region;
use std::collections::{BTreeMap, BTreeSet};
use tw_merge::Span;
use tw_testing::Random;
use tw_types::RegionId;
use wires::Wires;

/// Who connects to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Net {
    /// Each to all others.
    Mesh,
    /// Each to those with the next numbers, which relay the others.
    Chain,
    /// All to the first one, which relays them.
    Hub,
    /// Each to all others; but regions 2 and 3 have the first one from each other.
    Circle,
}

impl Net {
    /// Who sends to a region what another one accepts.
    fn source(self, to: RegionId, of: RegionId) -> RegionId {
        match self {
            Self::Chain if of > to => RegionId(to.0 + 1),
            Self::Chain => RegionId(to.0 - 1),
            Self::Hub if to != RegionId(1) => RegionId(1),
            Self::Circle if of == RegionId(1) && (2..=3).contains(&to.0) => RegionId(5 - to.0),
            Self::Mesh | Self::Hub | Self::Circle => of,
        }
    }
}

/// How the world is, and what is broken in it on purpose.
#[derive(Debug, Clone, Copy)]
struct Rules {
    regions: u16,
    net: Net,
    partitions: u32,
    /// Once in so many ticks; 0: never.
    crash_one_in: u64,
    cut_one_in: u64,
    /// A region removes an old event of its own from its log.
    remove_one_in: u64,
    /// A block is left out although its connection stands.
    lose_one_in: u64,
    has_gate: bool,
    checks_gaps: bool,
    /// A relay promises that everything is sent up to now, and not up to what was promised to it.
    promises_too_much: bool,
    /// A relay sends a block with what it had seen itself then, and not with what its writer had.
    tells_of_itself: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            regions: 3,
            net: Net::Mesh,
            partitions: 4,
            crash_one_in: 150,
            cut_one_in: 60,
            remove_one_in: 0,
            lose_one_in: 0,
            has_gate: true,
            checks_gaps: true,
            promises_too_much: false,
            tells_of_itself: false,
        }
    }
}

/// A broken promise: its name, and what happened.
type Broken = String;

/// How often something happened that tests want to have met.
type Met = BTreeMap<&'static str, u64>;

/// Of each region and partition, all events up to a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct History(BTreeMap<(RegionId, u32), u64>);

impl History {
    fn of(&self, key: (RegionId, u32)) -> u64 {
        self.0.get(&key).copied().unwrap_or(0)
    }

    fn add(&mut self, key: (RegionId, u32), until: u64) {
        let known = self.0.entry(key).or_default();
        *known = until.max(*known);
    }
}

/// A block with what its writer really knew of.
#[derive(Debug, Clone)]
struct Event {
    span: Span,
    part: u32,
    bytes: u64,
    knew: History,
}

/// Everything that was ever accepted; what a block's bytes stand for.
#[derive(Debug, Default)]
struct Truth {
    events: Vec<Event>,
    removed: BTreeSet<(RegionId, u32, u64)>,
    /// What each region has told of what it had seen, which a relay has of it with the events before which it stands.
    seen: BTreeMap<RegionId, SeenHistory>,
}

impl Truth {
    /// The first event after `have`, up to `until`, that was not removed.
    fn lacks(&self, (region, part): (RegionId, u32), have: u64, until: u64) -> Option<u64> {
        (have + 1..=until).find(|sequence| !self.removed.contains(&(region, part, *sequence)))
    }
}

struct World {
    rules: Rules,
    random: Random,
    now_ms: u64,
    truth: Truth,
    regions: BTreeMap<RegionId, Region>,
    /// By receiver, and whose events come there.
    wires: BTreeMap<(RegionId, RegionId), Wires>,
    is_calm: bool,
    met: Met,
}

impl World {
    fn new(rules: Rules, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let now_ms = 1_000_000;
        let ids: Vec<RegionId> = (1..=rules.regions).map(RegionId).collect();
        let region = |id: &RegionId, random: &mut Random| Region::new(*id, rules, random.below(650), now_ms);
        let regions = ids.iter().map(|id| (*id, region(id, &mut random))).collect();
        let pairs = ids
            .iter()
            .flat_map(|to| ids.iter().filter(move |from| *from != to).map(move |from| (*to, *from)));
        let wires = pairs.map(|pair| (pair, Wires::new(5 + random.below(120)))).collect();
        let (truth, met) = (Truth::default(), Met::new());
        Self { rules, random, now_ms, truth, regions, wires, is_calm: false, met }
    }

    fn run(&mut self, ticks: u64) -> Result<(), Broken> {
        (0..ticks).try_for_each(|_| self.tick())
    }

    /// No more writes, crashes or cuts: everything has to arrive within so many ticks.
    fn settle(&mut self, ticks: u64) -> Result<(), Broken> {
        self.is_calm = true;
        if self.rules.lose_one_in > 0 {
            // The credit of what was lost is lost with it.
            let pairs: Vec<_> = self.wires.keys().copied().collect();
            pairs.into_iter().for_each(|pair| self.cut(pair));
        }
        for _ in 0..ticks {
            self.tick()?;
            if self.is_settled() {
                return Ok(());
            }
        }
        let status = self.regions.values().map(|one| (one.id, one.inbound.status(self.now_ms)));
        Err(format!("everything_arrives: {:?}", status.collect::<Vec<_>>()))
    }

    fn tick(&mut self) -> Result<(), Broken> {
        self.now_ms += self.random.below(20);
        if !self.is_calm {
            self.trouble();
        }
        let ids: Vec<RegionId> = self.regions.keys().copied().collect();
        for id in ids {
            let Some(one) = self.regions.get_mut(&id) else { continue };
            for _ in 0..if self.is_calm { 0 } else { self.random.below(3) } {
                one.write(&mut self.truth, &mut self.random, self.now_ms);
            }
            if !self.is_calm && self.random.one_in(self.rules.remove_one_in) {
                one.remove(&mut self.truth, &mut self.random, &mut self.met);
            }
            one.work(&mut self.truth, &mut self.random, self.now_ms, self.is_calm, &mut self.met)?;
        }
        self.connect();
        let pairs: Vec<_> = self.wires.keys().copied().collect();
        pairs.into_iter().try_for_each(|(to, of)| self.transfer(to, of))
    }

    fn trouble(&mut self) {
        let ids: Vec<RegionId> = self.regions.keys().copied().collect();
        for id in ids {
            if self.random.one_in(self.rules.crash_one_in) {
                *self.met.entry("crash").or_default() += 1;
                let touched: Vec<_> = self
                    .wires
                    .keys()
                    .filter(|(to, of)| *to == id || self.rules.net.source(*to, *of) == id)
                    .copied()
                    .collect();
                for pair in touched {
                    self.cut(pair);
                }
                if let Some(one) = self.regions.get_mut(&id) {
                    one.restart(self.now_ms);
                }
            }
        }
        let pairs: Vec<_> = self.wires.keys().copied().collect();
        for pair in pairs {
            if self.random.one_in(self.rules.cut_one_in) {
                *self.met.entry("cut").or_default() += 1;
                self.cut(pair);
            }
        }
    }

    fn cut(&mut self, (to, of): (RegionId, RegionId)) {
        let Some(wires) = self.wires.get_mut(&(to, of)) else { return };
        if std::mem::take(&mut wires.is_up) {
            wires.clear();
            if let Some(receiver) = self.regions.get_mut(&to) {
                receiver.disconnected(of, self.now_ms);
            }
            if let Some(sender) = self.regions.get_mut(&self.rules.net.source(to, of)) {
                sender.outbounds.remove(&(to, of));
            }
        }
    }

    fn connect(&mut self) {
        let pairs: Vec<_> =
            self.wires.iter().filter(|(_, wires)| !wires.is_up).map(|(pair, _)| *pair).collect();
        for (to, of) in pairs {
            if !self.is_calm && !self.random.one_in(15) {
                continue;
            }
            let mut receiver = self.regions.remove(&to).unwrap();
            let sender = self.regions.get_mut(&self.rules.net.source(to, of)).unwrap();
            let (pull, send) = (receiver.hello(self.now_ms), sender.hello(self.now_ms));
            sender.accept(&pull, of, self.now_ms);
            receiver.greet(&send, of, self.now_ms);
            self.regions.insert(to, receiver);
            self.wires.get_mut(&(to, of)).unwrap().is_up = true;
        }
    }

    /// Takes what both ends have to send, and gives them what has arrived.
    fn transfer(&mut self, to: RegionId, of: RegionId) -> Result<(), Broken> {
        let from = self.rules.net.source(to, of);
        let wires = self.wires.get_mut(&(to, of)).unwrap();
        let lose_one_in = if self.is_calm { 0 } else { self.rules.lose_one_in };
        if let Some(receiver) = self.regions.get_mut(&to) {
            let frames = receiver.out_of_inbound.remove(&of).unwrap_or_default();
            wires.send_up(&frames, &mut self.random, self.now_ms);
            for frame in wires.arrived_down(&mut self.random, self.now_ms, lose_one_in) {
                if from != of && matches!(frame, Frame::Block(_)) {
                    *self.met.entry("relayed").or_default() += 1;
                }
                receiver.take_down(of, frame, &self.truth, self.now_ms)?;
            }
        }
        if let Some(sender) = self.regions.get_mut(&from) {
            let frames = sender.out_of_outbound.remove(&(to, of)).unwrap_or_default();
            wires.send_down(&frames, &mut self.random, self.now_ms);
            for frame in wires.arrived_up(&mut self.random, self.now_ms) {
                sender.take_up((to, of), frame, &self.truth)?;
            }
        }
        Ok(())
    }

    /// Whether all regions have the same, and nothing is held any more.
    fn is_settled(&self) -> bool {
        let mut all = History::default();
        for event in &self.truth.events {
            all.add((event.span.region(), event.part), event.span.last().0);
        }
        self.regions.values().all(|one| {
            let is_here = |(key, until): (&(RegionId, u32), &u64)| {
                self.truth.lacks(*key, one.have.of(*key), *until).is_none()
            };
            let status = one.inbound.status(self.now_ms);
            let lags =
                status.peers.iter().flat_map(|peer| &peer.partitions).any(|part| part.lag_events != Some(0));
            all.0.iter().all(is_here) && one.held.is_empty() && status.waiting.is_empty() && !lags
        })
    }
}
