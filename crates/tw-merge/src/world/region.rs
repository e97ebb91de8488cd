//! One region of the world: what its shell would do with the cores.

use super::link::{Key, Link, Message};
use super::{Broken, Event, History, Random, Rules, partition};
use crate::delivery::{Delivery, Head, Placed, Portion};
use crate::received::{Offered, Received};
use crate::skew::{HlcBound, Options as SkewOptions, Skew, Verdict};
use crate::span::earlier;
use crate::stability::{Options as StabilityOptions, Said, Stability};
use crate::{Context, Span, Stamp};
use std::collections::BTreeMap;
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence};

pub(super) type Met = BTreeMap<&'static str, u64>;

/// What becomes of a message.
enum Fate {
    Done,
    Waits,
    /// The link has to begin anew in this partition.
    Refused,
}

/// A region. Its log, what was received, the bounds of its clocks and what it took for stable survive a crash; the rest does not.
pub(super) struct Region {
    pub(super) id: RegionId,
    pub(super) rules: Rules,
    pub(super) epoch: Epoch,
    pub(super) log: Vec<Vec<Event>>,
    pub(super) received: Vec<Received>,
    /// One node for each partition.
    pub(super) bounds: Vec<Hlc>,
    pub(super) clocks: Vec<HlcBound>,
    ahead_ms: u64,
    pub(super) members: BTreeMap<RegionId, Epoch>,
    pub(super) stability: Stability,
    pub(super) delivery: Delivery,
    skew: Skew,
    held: BTreeMap<(RegionId, u32), Event>,
    pub(super) restoring: Option<super::restore::Restoring>,
    pub(super) backup: Option<super::restore::Backup>,
    /// The stamps in the log, by region and timestamp.
    pub(super) stamps: BTreeMap<RegionId, BTreeMap<Hlc, Stamp>>,
    have: History,
    /// What whoever reads everything of other regions knows of; what whoever reads a partition's own events knows of.
    knows_of_others: History,
    knows_of_own: Vec<History>,
}

impl Region {
    pub(super) fn new(id: RegionId, rules: Rules, ahead_ms: u64) -> Self {
        let parts = rules.partitions as usize;
        let mut received = vec![Received::new(); parts];
        received
            .iter_mut()
            .for_each(|one| assert_eq!(one.announce(id, &[(Epoch(1), Sequence(0))]), Ok(None)));
        let members = (1..=rules.regions).map(|other| (RegionId(other), Epoch(1))).collect();
        let mut region = Self {
            id,
            rules,
            epoch: Epoch(1),
            log: vec![Vec::new(); parts],
            received,
            bounds: vec![Hlc::ZERO; parts],
            clocks: Vec::new(),
            ahead_ms,
            members,
            stability: Stability::new(id, Epoch(1), StabilityOptions::default(), 0).unwrap(),
            delivery: Delivery::start(id, []).unwrap(),
            skew: Skew::new(&SkewOptions::default()).unwrap(),
            held: BTreeMap::new(),
            restoring: None,
            backup: None,
            stamps: BTreeMap::new(),
            have: History::default(),
            knows_of_others: History::default(),
            knows_of_own: vec![History::default(); parts],
        };
        region.start();
        region
    }

    /// The process ends and begins anew with what was stored.
    pub(super) fn crash(&mut self) {
        self.start();
    }

    fn start(&mut self) {
        let options = SkewOptions::default();
        let last = self.received.iter().map(|one| one.last_hlc(self.id)).max().unwrap();
        self.clocks = self.bounds.iter().map(|bound| HlcBound::start(*bound, last, &options)).collect();
        let stable = self.stability.stable().clone();
        self.stability = Stability::new(self.id, self.epoch, StabilityOptions::default(), 0).unwrap();
        self.stability.restore(&stable);
        for (region, epoch) in self.members.iter().filter(|(region, _)| **region != self.id) {
            self.stability.join(*region, *epoch, 0).unwrap();
        }
        self.begin_delivery(false);
        self.delivery.local(last);
    }

    /// The gate as it is after a start; with this region's own partitions if it has to fetch them back.
    pub(super) fn begin_delivery(&mut self, with_own: bool) {
        let (id, members) = (self.id, self.members.clone());
        let received = &self.received;
        let slots = members.keys().filter(|region| with_own || **region != id).flat_map(|region| {
            let one = |part| (*region, partition(part), received[part as usize].last_hlc(*region));
            (0..self.rules.partitions).map(one)
        });
        self.delivery = Delivery::start(id, slots).unwrap();
        self.held.clear();
    }

    pub(super) fn holds(&self, key: Key) -> bool {
        self.held.contains_key(&key)
    }

    pub(super) fn is_restoring(&self) -> bool {
        self.restoring.is_some()
    }

    pub(super) fn have(&self) -> History {
        self.have.clone()
    }

    pub(super) fn last_written(&self) -> Hlc {
        self.received.iter().map(|one| one.last_hlc(self.id)).max().unwrap()
    }

    /// Accepts a block; its writer has read all there is of other regions, and of this one what its node has, or more.
    pub(super) fn write(&mut self, random: &mut Random, now_ms: u64) -> Result<(), Broken> {
        let (part, count) = (random.below(self.rules.partitions.into()) as usize, 1 + random.below(5));
        let now_ms = now_ms + self.ahead_ms;
        if self.is_restoring() {
            return Ok(());
        }
        let mut knew = self.knows_of_others.clone();
        let mut seen = self.delivery.latest();
        let mut observed = seen.iter().map(|(_, hlc)| hlc).max().unwrap_or_default();
        for other in 0..self.log.len() {
            if other == part || random.one_in(3) {
                knew.join(&self.knows_of_own[other]);
                observed = observed.max(self.received[other].last_hlc(self.id));
            }
        }
        if self.clocks[part].clock().observe(observed, now_ms).is_err() {
            return Ok(());
        }
        let before_epoch = |one: &Received| {
            one.epochs(self.id)
                .iter()
                .filter(|(epoch, _)| *epoch < self.epoch)
                .filter_map(|(epoch, _)| one.reached(self.id, *epoch))
                .map(|mark| mark.hlc)
                .max()
        };
        let earlier_epochs = self.received.iter().filter_map(before_epoch).max().unwrap_or_default();
        seen.raise(self.id, earlier_epochs);
        let hlc = self.stamp(part, now_ms, count);
        if random.one_in(20) {
            // Timestamps were taken, and the process could not write.
            return Ok(());
        }
        let reached = self.received[part].reached(self.id, self.epoch).unwrap().sequence;
        let first = Origin { region: self.id, epoch: self.epoch, sequence: Sequence(reached.0 + 1) };
        let span = Span::new(first, count, hlc).unwrap();
        self.append(part as u32, Event { span, seen, knew })?;
        self.delivery.local(self.last_written());
        Ok(())
    }

    fn stamp(&mut self, part: usize, now_ms: u64, count: u64) -> Hlc {
        let clock = &mut self.clocks[part];
        clock.take(now_ms, count).unwrap_or_else(|refused| {
            self.bounds[part] = refused.bound;
            clock.stored(refused.bound);
            clock.take(now_ms, count).unwrap()
        })
    }

    /// What this region says of one of its own partitions: its epochs, and up to when there is nothing more.
    pub(super) fn promise(&mut self, part: usize, now_ms: u64) -> Hlc {
        self.stamp(part, now_ms + self.ahead_ms, 1)
    }

    /// What this region says of itself. All nodes have to go on after it.
    pub(super) fn say(&mut self, now_ms: u64) -> Option<Said> {
        // A promise is a timestamp that is taken: a crash must not lead back behind it.
        let (nodes, now_ms) = (self.clocks.len(), now_ms + self.ahead_ms);
        let at = (0..nodes).map(|node| self.stamp(node, now_ms, 1)).max()?;
        for node in 0..nodes {
            self.clocks[node].clock().observe(at, now_ms).ok()?;
            self.stamp(node, now_ms, 1);
        }
        let said = Said { at, seen: self.delivery.seen() };
        self.stability.here(&said);
        Some(said)
    }

    /// Takes what has arrived over a link. Returns whether the process crashed over it.
    pub(super) fn take(
        &mut self,
        link: &mut Link,
        random: &mut Random,
        now_ms: u64,
        met: &mut Met,
    ) -> Result<bool, Broken> {
        for key in link.keys() {
            while let Some(message) = link.arrived(key, now_ms) {
                match self.consider(key.1, &message, now_ms, met)? {
                    Fate::Done => link.taken(key),
                    Fate::Waits => break,
                    Fate::Refused => {
                        link.begin_anew(key);
                        break;
                    }
                }
            }
            let Some((first, ahead)) = link.ahead(key, now_ms) else { continue };
            let is_held = self.held.get(&key).is_some_and(|held| held.span.last() == first.last());
            for message in ahead {
                match message {
                    Message::Block(next) if is_held => {
                        self.delivery.followed(key.0, partition(key.1), next.span.first_hlc());
                    }
                    Message::Block(_) => {}
                    beat => {
                        if let Fate::Refused = self.consider(key.1, &beat, now_ms, met)? {
                            link.begin_anew(key);
                        }
                    }
                }
            }
        }
        self.deliver(random, met)
    }

    fn consider(&mut self, part: u32, message: &Message, now_ms: u64, met: &mut Met) -> Result<Fate, Broken> {
        let now_ms = now_ms + self.ahead_ms;
        match message {
            Message::Said { region, epoch, said } => {
                // An answer to who has a new epoch meanwhile; whoever restores itself does not listen.
                let _ = self.stability.heard(*region, *epoch, said.clone(), now_ms);
                Ok(Fate::Done)
            }
            Message::Beat { region, epochs, until } if *region == self.id => {
                let lacks = |(epoch, sequence): &(Epoch, Sequence)| {
                    let reached = self.received[part as usize].reached(self.id, *epoch);
                    reached.is_some_and(|mark| mark.sequence < *sequence)
                };
                let is_last = |held: &Event| epochs.contains(&(held.span.epoch(), held.span.last()));
                let is_held = self.held.get(&(self.id, part)).is_some_and(is_last);
                let is_lost = *until > Hlc::ZERO && epochs.iter().any(lacks) && !is_held;
                Ok(if is_lost { Fate::Refused } else { Fate::Done })
            }
            Message::Beat { region, epochs, until } => {
                let clock = self.clocks[part as usize].clock();
                if self.skew.judge(*region, *until, clock, now_ms) != Verdict::Take {
                    return Ok(Fate::Waits);
                }
                let missing = self.received[part as usize]
                    .announce(*region, epochs)
                    .map_err(|error| error.to_string())?;
                let held = self.held.get(&(*region, part)).map(|held| (held.span.epoch(), held.span.last()));
                let last = epochs.iter().rfind(|(_, sequence)| *sequence > Sequence(0)).copied();
                if missing.is_some() && held != last && *until > Hlc::ZERO {
                    // What was sent before this was lost.
                    return Ok(Fate::Refused);
                }
                if missing.is_none() || held == last {
                    self.delivery
                        .heartbeat(*region, partition(part), epochs, *until)
                        .map_err(|error| error.to_string())?;
                }
                Ok(Fate::Done)
            }
            Message::Block(event) => {
                let clock = self.clocks[part as usize].clock();
                if self.skew.judge(event.span.region(), event.span.last_hlc(), clock, now_ms) != Verdict::Take
                {
                    *met.entry("quarantine").or_default() += 1;
                    return Ok(Fate::Waits);
                }
                self.consider_block(part, event, met)
            }
        }
    }

    /// Shows the gate a block that comes after the held one.
    fn look_ahead(&mut self, key: Key, event: &Event) -> Result<(), Broken> {
        let head = Head { span: event.span, seen: event.seen.clone() };
        match self.delivery.offer(partition(key.1), head).map_err(|error| error.to_string())? {
            Placed::Busy => Ok(()),
            Placed::Held => Err("a second block is held".to_owned()),
        }
    }

    /// What this region has of another one that comes back from an older copy is what counts from now on: what is only held
    /// does not come in any more.
    pub(super) fn drop_held_of(&mut self, region: RegionId) {
        for part in 0..self.rules.partitions {
            self.held.remove(&(region, part));
            self.delivery.withdraw(region, partition(part));
        }
    }

    fn consider_block(&mut self, part: u32, event: &Event, met: &mut Met) -> Result<Fate, Broken> {
        let (span, received) = (event.span, &mut self.received[part as usize]);
        let mut offered = received.offer(&span);
        if let (Offered::Gap { to, .. }, false) = (offered, self.rules.checks_gaps) {
            received.pass(Origin { sequence: to, ..span.first() }, earlier(span.first_hlc(), 1)).unwrap();
            offered = received.offer(&span);
        }
        let skip = match offered {
            Offered::New { skip } => skip,
            Offered::Duplicate => {
                *met.entry("duplicate").or_default() += 1;
                return Ok(Fate::Done);
            }
            Offered::Gap { to, .. }
                if self.held.get(&(span.region(), part)).is_some_and(|held| held.span.last() >= to) =>
            {
                self.look_ahead((span.region(), part), event)?;
                return Ok(Fate::Waits);
            }
            Offered::Gap { .. } | Offered::Early { .. } | Offered::Unannounced => {
                *met.entry("refused").or_default() += 1;
                return Ok(Fate::Refused);
            }
            Offered::Fork { .. } | Offered::Closed { .. } => return Err(format!("{offered:?} of {span:?}")),
        };
        let event = Event { span: span.without_front(skip).unwrap(), ..event.clone() };
        if !self.rules.has_gate {
            self.append(part, event)?;
            return Ok(Fate::Done);
        }
        let head = Head { span: event.span, seen: event.seen.clone() };
        match self.delivery.offer(partition(part), head).map_err(|error| error.to_string())? {
            Placed::Held => {
                self.held.insert((span.region(), part), event);
            }
            Placed::Busy => *met.entry("busy").or_default() += 1,
        }
        Ok(Fate::Waits)
    }

    /// Appends what may be; once in a while the process ends in the midst of it.
    fn deliver(&mut self, random: &mut Random, met: &mut Met) -> Result<bool, Broken> {
        loop {
            let ready = self.delivery.ready();
            if ready.is_empty() {
                return Ok(false);
            }
            for portion in ready {
                self.deliver_portion(&portion, met)?;
                if self.rules.crash_one_in > 0
                    && random.one_in(self.rules.crash_one_in)
                    && !self.is_restoring()
                {
                    *met.entry("crash in a step").or_default() += 1;
                    self.crash();
                    return Ok(true);
                }
            }
        }
    }

    fn deliver_portion(&mut self, portion: &Portion, met: &mut Met) -> Result<(), Broken> {
        let (region, part) = (portion.span.region(), portion.at.partition.0);
        let held = self.held.remove(&(region, part)).ok_or("ready, but not held")?;
        if let Some(rest) = held.span.without_front(portion.span.count()) {
            *met.entry("split").or_default() += 1;
            self.held.insert((region, part), Event { span: rest, ..held.clone() });
        }
        self.append(part, Event { span: portion.span, ..held })?;
        self.delivery.appended(region, portion.at, portion.span.last_hlc());
        Ok(())
    }

    /// What is stored in one step: the block, and that it was received. Here every promise is checked.
    fn append(&mut self, part: u32, event: Event) -> Result<(), Broken> {
        let (id, span) = (self.id, event.span);
        let key = (span.region(), span.epoch(), part);
        let here = self.have.0.get(&key).copied().unwrap_or(0);
        if span.first().sequence.0 != here + 1 {
            return Err(format!("reg_3: {} enters region {id} after {here}", span.first()));
        }
        if let Some(lacking) = self.have.lacks(&event.knew) {
            return Err(format!("reg_2: region {id} shows {} without {lacking:?}", span.first()));
        }
        let context = Context {
            stamp: Stamp { hlc: span.first_hlc(), origin: span.first() },
            seen: event.seen.clone(),
        };
        for (region, until) in self.stability.stable().iter() {
            let stable = self.stamps.get(&region).and_then(|stamps| stamps.range(..=until).next_back());
            if let Some((_, stable)) = stable.filter(|(_, stable)| !context.knew(stable)) {
                return Err(format!(
                    "stable: {} comes to region {id} and does not know {stable}",
                    context.stamp
                ));
            }
        }
        if !matches!(self.received[part as usize].receive(&span), Offered::New { skip: 0 }) {
            return Err(format!("reg_3: {span:?} is not new to region {id}"));
        }
        self.learn(part, &event);
        self.log[part as usize].push(event);
        Ok(())
    }

    /// Keeps account of an event in the log.
    pub(super) fn learn(&mut self, part: u32, event: &Event) {
        let key = (event.span.region(), event.span.epoch(), part);
        self.have.add(key, event.span.last().0);
        let stamps = self.stamps.entry(event.span.region()).or_default();
        for skip in 0..event.span.count() {
            let one = event.span.without_front(skip).unwrap();
            stamps.insert(one.first_hlc(), Stamp { hlc: one.first_hlc(), origin: one.first() });
        }
        let knows =
            if key.0 == self.id { &mut self.knows_of_own[part as usize] } else { &mut self.knows_of_others };
        knows.join(&event.knew);
        knows.add(key, event.span.last().0);
    }

    /// Forgets the account, to be kept anew.
    pub(super) fn unlearn(&mut self) {
        self.stamps.clear();
        self.have = History::default();
        self.knows_of_others = History::default();
        self.knows_of_own.iter_mut().for_each(|knows| *knows = History::default());
    }

    pub(super) fn local_ms(&self, now_ms: u64) -> u64 {
        now_ms + self.ahead_ms
    }
}
