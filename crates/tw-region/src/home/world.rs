//! Regions that write a stream with a home, move it, and take it from each other, over links that are cut: who writes knows of
//! everything that was written before, or what it does not know of is told to be at risk.

use super::{Claim, Course, Marks, Saying};
use std::collections::{BTreeMap, BTreeSet};
use tw_testing::Random;
use tw_types::{Epoch, Hlc, Origin, PartitionId, RegionId, Sequence};

const STREAM: &str = "s";
const PARTITION: PartitionId = PartitionId(0);
const EPOCH: Epoch = Epoch(1);

/// The home that the definition names.
const FIRST: RegionId = RegionId(1);

#[derive(Debug, Clone)]
enum What {
    /// A write, with its sequence.
    Data(Sequence),
    Said(Saying),
}

/// Something accepted by a region, and how much of each region it had then.
#[derive(Debug, Clone)]
struct Entry {
    author: RegionId,
    hlc: Hlc,
    what: What,
    seen: BTreeMap<RegionId, usize>,
}

struct Region {
    id: RegionId,
    log: Vec<Entry>,
    /// How many entries of each region it has, itself too.
    counts: BTreeMap<RegionId, usize>,
    marks: Marks,
    course: Course,
    /// Own writes that it has told to be at risk.
    at_risk: BTreeSet<Sequence>,
    clock: u64,
}

/// A rule of the real thing that is left out, to see that the checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// A region writes on after it has given the stream away.
    WritesOn,
    /// Nobody looks what is at risk.
    TellsNothing,
}

impl Region {
    fn new(id: RegionId) -> Self {
        Self {
            id,
            log: Vec::new(),
            counts: BTreeMap::new(),
            marks: Marks::default(),
            course: Course::default(),
            at_risk: BTreeSet::new(),
            clock: 0,
        }
    }

    fn home(&self) -> RegionId {
        self.course.claim().map_or(FIRST, |claim| claim.home)
    }

    fn term(&self) -> u64 {
        self.course.claim().map_or(0, |claim| claim.term)
    }

    fn writes(&self) -> bool {
        self.home() == self.id && (self.course.claim().is_none() || self.course.is_opened(self.id))
    }

    fn own_writes(&self) -> Vec<(Sequence, Hlc)> {
        let own = self.log.iter().filter(|entry| entry.author == self.id);
        own.filter_map(|entry| match entry.what {
            What::Data(sequence) => Some((sequence, entry.hlc)),
            What::Said(_) => None,
        })
        .collect()
    }

    fn accept(&mut self, what: What) {
        self.clock += 1;
        let entry = Entry { author: self.id, hlc: Hlc::new(self.clock, 0), what, seen: self.counts.clone() };
        self.take(entry, Broken::Nothing);
    }

    fn take(&mut self, entry: Entry, broken: Broken) {
        self.clock = self.clock.max(entry.hlc.millis());
        *self.counts.entry(entry.author).or_default() += 1;
        match &entry.what {
            What::Data(sequence) => {
                let origin = Origin { region: entry.author, epoch: EPOCH, sequence: *sequence };
                self.marks.note(PARTITION, origin);
            }
            What::Said(saying) => self.course.learn(entry.author, entry.hlc, saying.clone()),
        }
        let said = matches!(entry.what, What::Said(_));
        self.log.push(entry);
        if said && broken != Broken::TellsNothing {
            let risks = risks(self, &self.course, self.course.len() - 1);
            self.at_risk.extend(risks);
        }
    }
}

/// Own writes that are at risk by what was said from `first` on.
fn risks(region: &Region, course: &Course, first: usize) -> BTreeSet<Sequence> {
    let mut all = BTreeSet::new();
    for tail in course.tails(region.id, first) {
        let after = tail.claim.has.last(PARTITION, region.id, EPOCH);
        let risky = |(sequence, hlc): &(Sequence, Hlc)| {
            *sequence > after && tail.until.is_none_or(|until| *hlc < until)
        };
        all.extend(region.own_writes().into_iter().filter(risky).map(|(sequence, _)| sequence));
    }
    all
}

/// What a run has met.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Met {
    pub(super) writes: u64,
    pub(super) moves: u64,
    pub(super) taken: u64,
    pub(super) at_risk: u64,
    pub(super) restarts: u64,
}

struct World {
    random: Random,
    regions: Vec<Region>,
    cut: BTreeSet<(usize, usize)>,
    broken: Broken,
    met: Met,
}

/// Runs a world. The error says which promise was broken.
pub(super) fn run(seed: u64, may_take: bool, broken: Broken) -> Result<Met, String> {
    let mut random = Random::new(seed);
    let count = 2 + random.below(3) as u16;
    let regions = (1..=count).map(|id| Region::new(RegionId(id))).collect();
    let mut world = World { random, regions, cut: BTreeSet::new(), broken, met: Met::default() };
    for _ in 0..300 {
        world.step(may_take)?;
    }
    world.heal()?;
    world.check(may_take)?;
    Ok(world.met)
}

impl World {
    fn any(&mut self) -> usize {
        self.random.below(self.regions.len() as u64) as usize
    }

    fn step(&mut self, may_take: bool) -> Result<(), String> {
        let (a, b) = (self.any(), self.any());
        match self.random.below(20) {
            0..6 => self.write(a),
            6 => self.give_away(a, b),
            7 if may_take && self.random.one_in(4) => self.take(a),
            8 => {
                self.cut.insert((a, b));
            }
            9 => {
                self.cut.remove(&(a, b));
            }
            10 => self.restart(a)?,
            11 => self.open(a),
            _ => {
                self.deliver(a, b);
            }
        }
        Ok(())
    }

    fn write(&mut self, at: usize) {
        let writes_on = |region: &Region| self.broken == Broken::WritesOn && (region.id == FIRST);
        let writes = self.regions.get(at).is_some_and(|region| region.writes() || writes_on(region));
        let Some(region) = self.regions.get_mut(at).filter(|_| writes) else { return };
        let next = Sequence(region.marks.last(PARTITION, region.id, EPOCH).0 + 1);
        region.accept(What::Data(next));
        self.met.writes += 1;
    }

    fn claim(&mut self, at: usize, home: RegionId, is_planned: bool) {
        let Some(region) = self.regions.get_mut(at) else { return };
        let claim = Claim {
            stream: STREAM.into(),
            term: region.term() + 1,
            home,
            from: region.home(),
            has: region.marks.clone(),
            is_planned,
        };
        region.accept(What::Said(Saying::Claim(claim)));
    }

    fn give_away(&mut self, from: usize, to: usize) {
        let to = RegionId(to as u16 + 1);
        if self.regions.get(from).is_some_and(|region| region.writes() && region.id != to) {
            self.claim(from, to, true);
            self.met.moves += 1;
        }
    }

    fn take(&mut self, at: usize) {
        if self.regions.get(at).is_some_and(|region| region.home() != region.id) {
            self.claim(at, RegionId(at as u16 + 1), false);
            self.met.taken += 1;
        }
    }

    fn open(&mut self, at: usize) {
        let Some(region) = self.regions.get_mut(at) else { return };
        let Some(claim) = region.course.claim() else { return };
        let is_mine = claim.home == region.id && !region.course.is_opened(region.id);
        if is_mine && region.marks.cover(&claim.has) {
            let term = claim.term;
            region.accept(What::Said(Saying::Opened { stream: STREAM.into(), term }));
        }
    }

    /// Brings the next entry of one region to another, if what it had seen is there.
    fn deliver(&mut self, from: usize, to: usize) -> bool {
        if from == to || self.cut.contains(&(from, to)) {
            return false;
        }
        let Some(author) = self.regions.get(from).map(|region| region.id) else { return false };
        let Some(there) = self.regions.get(to) else { return false };
        let have = there.counts.get(&author).copied().unwrap_or_default();
        let mut own = self.regions.get(from).into_iter().flat_map(|region| &region.log);
        let next = own.by_ref().filter(|entry| entry.author == author).nth(have).cloned();
        let Some(entry) = next else { return false };
        let ready = entry.seen.iter().all(|(region, count)| {
            *region == author || there.counts.get(region).is_some_and(|have| have >= count)
        });
        if ready && let Some(there) = self.regions.get_mut(to) {
            there.take(entry, self.broken);
        }
        ready
    }

    /// Everything in memory is made anew of the log.
    fn restart(&mut self, at: usize) -> Result<(), String> {
        let broken = self.broken;
        let Some(region) = self.regions.get_mut(at) else { return Ok(()) };
        let mut course = Course::default();
        for entry in &region.log {
            if let What::Said(saying) = &entry.what {
                course.learn(entry.author, entry.hlc, saying.clone());
            }
        }
        self.met.restarts += 1;
        let again = risks(region, &course, 0);
        if broken != Broken::TellsNothing && again != region.at_risk {
            return Err(format!("told {:?} before the restart, and {again:?} after it", region.at_risk));
        }
        region.course = course;
        Ok(())
    }

    fn heal(&mut self) -> Result<(), String> {
        self.cut.clear();
        for _ in 0..10_000 {
            let mut is_quiet = true;
            for from in 0..self.regions.len() {
                for to in 0..self.regions.len() {
                    is_quiet &= !self.deliver(from, to);
                }
            }
            for at in 0..self.regions.len() {
                let before = self.regions.get(at).map(|region| region.log.len());
                self.open(at);
                is_quiet &= before == self.regions.get(at).map(|region| region.log.len());
            }
            if is_quiet {
                return Ok(());
            }
        }
        Err("no end of deliveries".into())
    }

    fn check(&mut self, may_take: bool) -> Result<(), String> {
        let Some(first) = self.regions.first() else { return Ok(()) };
        let claim = first.course.claim().cloned();
        for region in &self.regions {
            if region.course.claim() != claim.as_ref() {
                return Err(format!("regions {} and {} differ about the home", first.id, region.id));
            }
            if region.writes() != (region.id == region.home()) {
                return Err(format!("region {} is the home and does not write", region.id));
            }
            let Some(claim) = claim.as_ref().filter(|claim| claim.home != region.id) else { continue };
            let known = claim.has.last(PARTITION, region.id, EPOCH);
            let untold =
                |(sequence, _): &&(Sequence, Hlc)| *sequence > known && !region.at_risk.contains(sequence);
            if let Some((sequence, _)) = region.own_writes().iter().find(untold) {
                return Err(format!("{sequence} of region {} was not known and is not told", region.id));
            }
        }
        self.met.at_risk = self.regions.iter().map(|region| region.at_risk.len() as u64).sum();
        if may_take { Ok(()) } else { self.check_one_writer() }
    }

    /// Without a taking there is one line of writes, each of which knows of all before it, and nothing is at risk.
    fn check_one_writer(&self) -> Result<(), String> {
        if self.met.at_risk > 0 {
            return Err("a planned move has put something at risk".into());
        }
        let mut writes: Vec<(&Entry, Sequence)> = Vec::new();
        for region in &self.regions {
            let own = region.log.iter().filter(|entry| entry.author == region.id);
            writes.extend(own.filter_map(|entry| match entry.what {
                What::Data(sequence) => Some((entry, sequence)),
                What::Said(_) => None,
            }));
        }
        writes.sort_by_key(|(entry, _)| (entry.hlc, entry.author));
        for pair in writes.windows(2) {
            let [(before, sequence), (after, _)] = pair else { continue };
            let place = self.place(before);
            let knows = after.author == before.author
                || after.seen.get(&before.author).is_some_and(|count| *count > place);
            if !knows {
                return Err(format!(
                    "region {} wrote without knowing of {sequence} of region {}",
                    after.author, before.author
                ));
            }
        }
        Ok(())
    }

    /// Which one of its author's entries it is, from 0.
    fn place(&self, entry: &Entry) -> usize {
        let author = self.regions.iter().find(|region| region.id == entry.author);
        let mut own = author.into_iter().flat_map(|region| &region.log);
        let own = own.by_ref().filter(|other| other.author == entry.author);
        own.take_while(|other| other.hlc < entry.hlc).count()
    }
}
