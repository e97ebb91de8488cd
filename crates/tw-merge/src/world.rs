//! A small world of regions for tests: they write, exchange blocks over links that are slow, cut and restarted, crash, and are
//! restored from old copies. Which change knew of which is tracked exactly, beside everything that is tested.

mod comparison;
mod history;
mod link;
mod region;
mod restore;
mod tests;

use history::{Event, History, partition};
use link::Link;
use region::Region;
use std::collections::BTreeMap;
use tw_testing::Random;
use tw_types::RegionId;

/// How the world is, and what is broken in it on purpose.
#[derive(Debug, Clone, Copy)]
struct Rules {
    regions: u16,
    partitions: u32,
    /// Once in so many ticks for each region; 0: never.
    crash_one_in: u64,
    restore_one_in: u64,
    cut_one_in: u64,
    /// Blocks are appended as soon as they are new.
    has_gate: bool,
    /// A gap is taken for what goes on.
    checks_gaps: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            regions: 3,
            partitions: 3,
            crash_one_in: 150,
            restore_one_in: 400,
            cut_one_in: 60,
            has_gate: true,
            checks_gaps: true,
        }
    }
}

/// A broken promise: the property, and what happened.
type Broken = String;

struct World {
    rules: Rules,
    random: Random,
    now_ms: u64,
    regions: BTreeMap<RegionId, Region>,
    /// By sender and receiver.
    links: BTreeMap<(RegionId, RegionId), Link>,
    is_calm: bool,
    /// How often something happened that tests want to have met.
    met: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(rules: Rules, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let ids = || (1..=rules.regions).map(RegionId);
        let regions = ids().map(|id| (id, Region::new(id, rules, random.below(200)))).collect();
        let mut links = BTreeMap::new();
        for from in ids() {
            for to in ids().filter(|to| *to != from) {
                let keys = ids().flat_map(|of| (0..rules.partitions).map(move |part| (of, part)));
                links.insert((from, to), Link::new(keys, 5 + random.below(120), random.one_in(2)));
            }
        }
        Self { rules, random, now_ms: 1_000_000, regions, links, is_calm: false, met: BTreeMap::new() }
    }

    /// Runs for so many ticks; the first broken promise ends it.
    fn run(&mut self, ticks: u64) -> Result<(), Broken> {
        for _ in 0..ticks {
            self.tick()?;
        }
        Ok(())
    }

    /// No more writes or cuts, and no crashes but those in the midst of a step: everything has to arrive within so many ticks.
    fn settle(&mut self, ticks: u64) -> Result<(), Broken> {
        self.is_calm = true;
        self.links.values_mut().for_each(|link| link.is_up = true);
        for _ in 0..ticks {
            self.tick()?;
            if self.is_settled() {
                return Ok(());
            }
        }
        let waiting = self.regions.values().map(|one| (one.id, one.delivery.waiting(), one.is_restoring()));
        Err(format!("everything_arrives: {:?}", waiting.collect::<Vec<_>>()))
    }

    fn tick(&mut self) -> Result<(), Broken> {
        self.now_ms += self.random.below(20);
        let ids: Vec<RegionId> = self.regions.keys().copied().collect();
        if !self.is_calm {
            self.trouble(&ids);
        }
        for id in &ids {
            let one = self.regions.get_mut(id).unwrap();
            for _ in 0..if self.is_calm { 0 } else { self.random.below(3) } {
                one.write(&mut self.random, self.now_ms)?;
            }
            if self.random.one_in(80) {
                one.back_up();
            }
            self.go_on_restoring(*id)?;
        }
        let pairs: Vec<(RegionId, RegionId)> = self.links.keys().copied().collect();
        for (from, to) in pairs {
            self.transfer(from, to)?;
        }
        Ok(())
    }

    fn trouble(&mut self, ids: &[RegionId]) {
        for id in ids {
            let one = self.regions.get_mut(id).unwrap();
            if self.random.one_in(self.rules.crash_one_in) && !one.is_restoring() {
                one.crash();
                self.restart_links(*id, false);
                *self.met.entry("crash").or_default() += 1;
            }
            if self.random.one_in(self.rules.restore_one_in) {
                self.restore(*id);
            }
        }
        for link in self.links.values_mut() {
            if self.random.one_in(self.rules.cut_one_in) {
                link.is_up = !link.is_up;
                link.cut(&mut self.random);
                *self.met.entry("cut").or_default() += 1;
            }
        }
    }

    /// A region has another state than before: connections to it begin anew, and to the others if it has less than before.
    fn restart_links(&mut self, id: RegionId, is_older: bool) {
        for ((from, to), link) in &mut self.links {
            if *to == id || (is_older && *from == id) {
                link.restart();
            }
        }
    }

    /// Sends what may be sent, and lets the receiver take what has arrived.
    fn transfer(&mut self, from: RegionId, to: RegionId) -> Result<(), Broken> {
        let mut link = self.links.remove(&(from, to)).unwrap();
        let mut receiver = self.regions.remove(&to).unwrap();
        let sender = self.regions.get_mut(&from).unwrap();
        let mut crashed = Ok(false);
        if link.is_up {
            link.send(sender, &receiver, &mut self.random, self.now_ms);
            crashed = receiver.take(&mut link, &mut self.random, self.now_ms, &mut self.met);
        }
        self.regions.insert(to, receiver);
        self.links.insert((from, to), link);
        if crashed? {
            self.restart_links(to, false);
        }
        Ok(())
    }

    /// Whether all regions have the same, nothing waits, and all know it.
    fn is_settled(&self) -> bool {
        let all: History = self.regions.values().flat_map(|one| one.have().0).collect();
        self.regions.values().all(|one| {
            let is_known =
                self.regions.values().all(|of| one.stability.stable().of(of.id) >= of.last_written());
            one.have() == all && one.delivery.waiting().is_empty() && is_known && !one.is_restoring()
        })
    }
}
