//! A small world of regions for tests: they write, exchange what they wrote, are cut off, evicted at any time, and seeded anew. What each
//! has forgotten because it took it for known everywhere is tracked, and compared with what comes later.

use super::{Evictions, Saying};
use std::collections::{BTreeMap, BTreeSet};
use tw_merge::Seen;
use tw_testing::Random;
use tw_types::{Epoch, Hlc, RegionId};

/// What is broken in the world on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Nobody waits for a region from the moment on at which it is evicted.
    NotClosed,
    /// A region that comes back is not waited for.
    NotReadmitted,
    /// Nothing of a region is given back while it has not every stream in which there is something of it.
    AllOrNothing,
}

/// Something that a region has accepted, and what was there of others then.
#[derive(Debug, Clone)]
struct Entry {
    author: RegionId,
    hlc: Hlc,
    seen: Seen,
    saying: Option<Saying>,
    place: Place,
}

/// In which stream something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// One that every region has from the start.
    #[default]
    Known,
    /// That one, too: from here on there is another one.
    Defines,
    /// That other one.
    Defined,
}

#[derive(Default)]
struct Region {
    epoch: Epoch,
    /// Everything that is here, in the order in which it came.
    log: Vec<Entry>,
    latest: Seen,
    evictions: Evictions,
    forgotten: Seen,
    /// The epochs in which others were met.
    met: BTreeMap<RegionId, Epoch>,
    /// What those that were asked had, if it is seeded: it accepts nothing before that is here.
    asked: Option<BTreeMap<RegionId, Seen>>,
}

pub(super) struct World {
    random: Random,
    fault: Fault,
    now: u64,
    members: Vec<RegionId>,
    regions: BTreeMap<RegionId, Region>,
    cuts: BTreeSet<(RegionId, RegionId)>,
    /// The region that is evicted, and the epoch.
    out: Option<(RegionId, Epoch)>,
    /// Whether a region has defined the other stream.
    is_defined: bool,
    /// How often something was forgotten while a region was out, and how often one came back.
    pub(super) met: (u64, u64),
}

impl World {
    pub(super) fn new(seed: u64, fault: Fault) -> Self {
        let members: Vec<RegionId> = (1..=3).map(RegionId).collect();
        let region = || Region { epoch: Epoch(1), ..Region::default() };
        let regions = members.iter().map(|id| (*id, region())).collect();
        let random = Random::new(seed);
        Self {
            random,
            fault,
            now: 1,
            members,
            regions,
            cuts: BTreeSet::new(),
            out: None,
            is_defined: false,
            met: (0, 0),
        }
    }

    /// Runs for so many ticks, and then until everything is everywhere.
    pub(super) fn run(&mut self, ticks: u64) -> Result<(), String> {
        for _ in 0..ticks {
            self.tick(true)?;
        }
        self.cuts.clear();
        if self.out.is_some() {
            self.seed();
        }
        for _ in 0..12_000 {
            self.tick(false)?;
        }
        let sets: Vec<BTreeSet<(RegionId, Hlc)>> = self.regions.values().map(Region::set).collect();
        match sets.iter().all(|set| Some(set) == sets.first()) {
            true => Ok(()),
            false => Err(format!(
                "REG-1: regions differ: {:?}",
                sets.iter().map(BTreeSet::len).collect::<Vec<_>>()
            )),
        }
    }

    fn any(&mut self) -> RegionId {
        RegionId(1 + self.random.below(3) as u16)
    }

    fn tick(&mut self, is_wild: bool) -> Result<(), String> {
        self.now += 1;
        let (one, other) = (self.any(), self.any());
        match self.random.below(40) {
            0..=9 if is_wild => self.write(one, None),
            10 if is_wild => drop(self.cuts.insert((one, other))),
            11 => drop(self.cuts.remove(&(one, other))),
            12 if is_wild && self.random.one_in(12) => self.evict(one, other),
            13 if is_wild && self.random.one_in(12) => self.seed(),
            14..=17 => self.follow(one),
            18 => self.ask(one, other),
            19 => self.open(one),
            _ => self.take(one, other)?,
        }
        self.forget(one);
        Ok(())
    }

    fn region(&self, id: RegionId) -> &Region {
        &self.regions[&id]
    }

    /// Appends what a region says or changes, if it accepts anything.
    fn write(&mut self, id: RegionId, saying: Option<Saying>) {
        let hlc = Hlc::from_u64(self.now);
        self.now += 1;
        let Some(region) = self.regions.get_mut(&id).filter(|region| region.asked.is_none()) else { return };
        if region.evictions.evicted().get(&id).is_some_and(|last| region.epoch <= *last) {
            return;
        }
        let place = match region.has_defined() {
            true if saying.is_none() && self.random.one_in(3) => Place::Defined,
            false if !self.is_defined && self.random.one_in(40) => Place::Defines,
            _ => Place::Known,
        };
        self.is_defined |= place == Place::Defines;
        region.append(Entry { author: id, hlc, seen: region.latest.clone(), saying, place });
    }

    fn evict(&mut self, by: RegionId, id: RegionId) {
        // Two that are seeded at a time wait for each other until one leaves the other one out.
        let is_seeding = self.regions.values().any(|region| region.asked.is_some());
        // One at a time, as far as whoever evicts knows: the second one may have readmitted the first.
        let is_first = self.region(by).evictions.out(None).is_empty();
        if by != id && self.out.is_none() && !is_seeding && is_first {
            let epoch = self.region(id).epoch;
            self.out = Some((id, epoch));
            self.write(by, Some(Saying::Evicted { region: id, epoch }));
        }
    }

    /// The region that is evicted begins a new log.
    fn seed(&mut self) {
        // Only once somebody knows of it, which whoever seeds it does.
        if let Some((id, epoch)) = self.out.take() {
            let epoch = Epoch(epoch.0 + 1);
            self.regions.insert(id, Region { epoch, asked: Some(BTreeMap::new()), ..Region::default() });
        }
    }

    /// A region does what was said of others.
    fn follow(&mut self, id: RegionId) {
        let region = self.region(id);
        for (other, out) in region.evictions.out(None).into_iter().filter(|(other, _)| *other != id) {
            let has = region.latest.of(other);
            let back = region.met.get(&other).copied().filter(|epoch| *epoch > out.epoch);
            if let Some(epoch) = back.filter(|_| self.fault != Fault::NotReadmitted) {
                return self.write(id, Some(Saying::Readmitted { region: other, epoch }));
            }
            if !out.closed.contains_key(&id) {
                return self.write(id, Some(Saying::Closed { region: other, epoch: out.epoch, has }));
            }
            let end = region.evictions.ended(&self.members, None).get(&other).copied();
            if let Some(end) = end.filter(|end| has < *end) {
                let from = out.closed.iter().find(|(_, has)| **has >= end).map(|(from, _)| *from);
                if let Some(from) = from.filter(|from| !self.cuts.contains(&(id, *from))) {
                    self.bring(id, from, other);
                    return;
                }
            }
        }
    }

    /// A region that is seeded asks another one what that has of it.
    fn ask(&mut self, id: RegionId, other: RegionId) {
        let epoch = self.region(id).epoch;
        let is_asking = self.region(id).asked.as_ref().is_some_and(|asked| !asked.contains_key(&other));
        if id == other || !is_asking || self.cuts.contains(&(id, other)) || self.region(other).asked.is_some()
        {
            return;
        }
        let is_out = self.region(other).evictions.out(None).get(&id).is_some_and(|out| out.epoch < epoch);
        if is_out && self.fault != Fault::NotReadmitted {
            self.write(other, Some(Saying::Readmitted { region: id, epoch }));
        }
        self.meet(id, other);
        let given = self.region(other).latest.clone();
        if let Some(asked) = self.regions.get_mut(&id).and_then(|region| region.asked.as_mut()) {
            asked.insert(other, given);
        }
    }

    /// Two regions say hello.
    fn meet(&mut self, one: RegionId, other: RegionId) {
        for (one, other) in [(one, other), (other, one)] {
            let epoch = self.region(other).epoch;
            if let Some(region) = self.regions.get_mut(&one) {
                region.met.insert(other, epoch);
            }
        }
    }

    /// A region that is seeded accepts something again, once it has what those had that it has asked.
    fn open(&mut self, id: RegionId) {
        let others = self.members.len() - 1;
        let has_all = |region: &Region, asked: &BTreeMap<RegionId, Seen>| {
            asked.len() == others && asked.values().all(|given| region.latest.covers(given))
        };
        let Some(region) = self.regions.get_mut(&id) else { return };
        if region.asked.as_ref().is_some_and(|asked| has_all(region, asked)) {
            region.asked = None;
            self.met.1 += 1;
            self.write(id, None);
        }
    }

    /// A region takes the next of what another one has accepted, or of its own if it is seeded.
    fn take(&mut self, to: RegionId, from: RegionId) -> Result<(), String> {
        let refuses = |one: RegionId, other: RegionId| {
            let evicted = self.region(one).evictions.evicted();
            let is_out = |id: RegionId| evicted.get(&id).is_some_and(|last| self.region(id).epoch <= *last);
            is_out(one) || is_out(other)
        };
        if to == from || self.cuts.contains(&(to, from)) || refuses(to, from) || refuses(from, to) {
            return Ok(());
        }
        self.meet(to, from);
        let is_seeded = self.region(to).asked.as_ref().is_some_and(|asked| asked.contains_key(&from));
        if is_seeded {
            self.bring(to, from, to);
        }
        if self.region(from).asked.is_some() {
            return Ok(());
        }
        match self.bring(to, from, from) {
            Some(entry) => self.check(to, &entry),
            None => Ok(()),
        }
    }

    /// Brings the next entry of an author from one region to another, if what it depends on is there.
    fn bring(&mut self, to: RegionId, from: RegionId, author: RegionId) -> Option<Entry> {
        let latest = self.region(to).latest.of(author);
        let mut all: Vec<&Entry> = self
            .region(from)
            .log
            .iter()
            .filter(|entry| entry.author == author && entry.hlc > latest)
            .collect();
        all.sort_by_key(|entry| entry.hlc);
        let has_defined = self.region(to).has_defined();
        let is_lacking = |entry: &&Entry| entry.place == Place::Defined && !has_defined;
        if self.fault == Fault::AllOrNothing && all.iter().any(is_lacking) {
            return None;
        }
        let entry = all.first().filter(|entry| !is_lacking(entry)).map(|entry| (*entry).clone())?;
        let mut needs = entry.seen.clone();
        needs.forget(author);
        if !self.region(to).latest.covers(&needs) {
            return None;
        }
        self.regions.get_mut(&to)?.append(entry.clone());
        Some(entry)
    }

    /// Whatever comes knows of what was forgotten here.
    fn check(&self, to: RegionId, entry: &Entry) -> Result<(), String> {
        for (region, until) in self.region(to).forgotten.iter().filter(|(region, _)| *region != entry.author)
        {
            // Of what was forgotten the last that there is: a time may be later.
            let of = self.region(to).log.iter().filter(|one| one.author == region && one.hlc <= until);
            let last = of.map(|one| one.hlc).max().unwrap_or_default();
            if entry.seen.of(region) < last {
                return Err(format!(
                    "REG-1: region {to} has forgotten {last} of region {region}, and gets {entry:?}"
                ));
            }
        }
        Ok(())
    }

    /// A region forgets what every other one has seen, as [`crate::Contexts::stable`] finds it.
    fn forget(&mut self, id: RegionId) {
        let region = self.region(id);
        let mut applied = region.latest.clone();
        applied.raise(id, Hlc::from_u64(self.now));
        for (other, end) in region.evictions.ended(&self.members, None) {
            if region.latest.of(other) >= end {
                applied.raise(other, end);
            }
        }
        let ended = match self.fault {
            Fault::NotClosed => region.evictions.out(None).keys().map(|other| (*other, Hlc::ZERO)).collect(),
            _ => region.evictions.ended(&self.members, Some(&applied)),
        };
        let mut stable: Option<Seen> = None;
        for member in self.members.iter().filter(|id| ended.get(id).is_none_or(|end| applied.of(**id) < *end))
        {
            let told = region.log.iter().filter(|entry| entry.author == *member);
            let mut row =
                told.max_by_key(|entry| entry.hlc).map(|entry| entry.seen.clone()).unwrap_or_default();
            if *member == id {
                row = region.latest.clone();
            }
            row.raise(*member, applied.of(*member));
            match &mut stable {
                Some(stable) => stable.meet(&row),
                None => stable = Some(row),
            }
        }
        let stable = stable.unwrap_or_default();
        self.met.0 += u64::from(!ended.is_empty() && !region.forgotten.covers(&stable));
        if let Some(region) = self.regions.get_mut(&id).filter(|region| region.asked.is_none()) {
            region.forgotten.join(&stable);
        }
    }
}

impl Region {
    fn append(&mut self, entry: Entry) {
        self.latest.raise(entry.author, entry.hlc);
        if let Some(saying) = entry.saying {
            self.evictions.learn(entry.author, entry.hlc, saying);
        }
        self.log.push(entry);
    }

    /// Whether it has the stream that was defined by one of them.
    fn has_defined(&self) -> bool {
        self.log.iter().any(|entry| entry.place == Place::Defines)
    }

    fn set(&self) -> BTreeSet<(RegionId, Hlc)> {
        self.log.iter().map(|entry| (entry.author, entry.hlc)).collect()
    }
}
