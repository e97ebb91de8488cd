//! One region of the world: its log, which survives a crash, and its process, which does not.

use super::{Broken, Event, History, Met, Net, Random, Rules, Truth};
use crate::link::handshake::{Local, LocalStream};
use crate::link::inbound::{self, BlockId, Inbound, Known};
use crate::link::outbound::{self, Ends, Outbound, SeenHistory};
use crate::link::wire::{Frame, Hello};
use std::collections::{BTreeMap, VecDeque};
use tw_merge::received::Mark;
use tw_merge::{Seen, Span};
use tw_types::{Epoch, Hlc, HlcClock, Origin, PartitionId, RegionId, Sequence, StreamId, StreamPartition};

const EPOCH: Epoch = Epoch(1);

/// A connection of a sender: to whom, and whose events.
pub(super) type Line = (RegionId, RegionId);

pub(super) struct Region {
    pub(super) id: RegionId,
    pub(super) rules: Rules,
    ahead_ms: u64,
    /// The log: by partition the numbers of events in the truth, and what was seen when.
    log: Vec<Vec<usize>>,
    seen_log: Vec<(Hlc, Seen)>,
    pub(super) have: History,
    pub(super) marks: BTreeMap<(RegionId, u32), Mark>,
    // The process.
    pub(super) clock: HlcClock,
    pub(super) history: SeenHistory,
    pub(super) inbound: Inbound,
    pub(super) outbounds: BTreeMap<Line, Outbound>,
    /// Of what is relayed, what was told.
    pub(super) told: BTreeMap<Line, BTreeMap<StreamPartition, Ends>>,
    pub(super) held: BTreeMap<BlockId, usize>,
    pub(super) blocks: u64,
    pub(super) append: Option<inbound::Append>,
    pub(super) looks: VecDeque<(Line, StreamPartition, u64, Sequence)>,
    pub(super) out_of_inbound: BTreeMap<RegionId, Vec<Frame>>,
    pub(super) out_of_outbound: BTreeMap<Line, Vec<Frame>>,
}

impl Region {
    pub(super) fn new(id: RegionId, rules: Rules, ahead_ms: u64, now_ms: u64) -> Self {
        let mut region = Self {
            id,
            rules,
            ahead_ms,
            log: vec![Vec::new(); rules.partitions as usize],
            seen_log: Vec::new(),
            have: History::default(),
            marks: BTreeMap::new(),
            clock: HlcClock::new(Hlc::ZERO, 1),
            history: SeenHistory::new(1, true),
            inbound: Inbound::start(id, inbound::Options::default(), &[], vec![], &Seen::new()).unwrap(),
            outbounds: BTreeMap::new(),
            told: BTreeMap::new(),
            held: BTreeMap::new(),
            blocks: 0,
            append: None,
            looks: VecDeque::new(),
            out_of_inbound: BTreeMap::new(),
            out_of_outbound: BTreeMap::new(),
        };
        region.restart(now_ms);
        region
    }

    /// The process begins with what is in the log.
    pub(super) fn restart(&mut self, now_ms: u64) {
        // A promise is reserved before it is made, so the clock goes on after all of them.
        let last = self.clock.last().max(Hlc::new(self.local_ms(now_ms), 0));
        self.clock = HlcClock::new(last, 500);
        self.history = SeenHistory::new(40, true);
        self.seen_log.iter().for_each(|(at, seen)| self.history.push(*at, seen.clone()));
        let known = |part: u32| {
            let of = self.marks.iter().filter(move |((_, one), _)| *one == part);
            let origin = |region, mark: &Mark| Origin { region, epoch: EPOCH, sequence: mark.sequence };
            let marks = of.map(|((region, _), mark)| (origin(*region, mark), mark.hlc)).collect();
            Known { at: self.at(part), marks }
        };
        let peers: Vec<RegionId> = (1..=self.rules.regions).map(RegionId).collect();
        let options = inbound::Options {
            window_bytes_max: 64 << 10,
            append_bytes_max: 64 << 10,
            retry_ms: 50,
            ..Default::default()
        };
        let partitions = (0..self.rules.partitions).map(known).collect();
        let stored = self.seen_log.last().map(|(_, seen)| seen.clone()).unwrap_or_default();
        self.inbound = Inbound::start(self.id, options, &peers, partitions, &stored).unwrap();
        self.inbound.break_on_purpose(!self.rules.has_gate, !self.rules.checks_gaps);
        self.outbounds.clear();
        self.told.clear();
        self.held.clear();
        self.looks.clear();
        self.append = None;
        self.out_of_inbound.clear();
        self.out_of_outbound.clear();
    }

    pub(super) fn local_ms(&self, now_ms: u64) -> u64 {
        now_ms + self.ahead_ms
    }

    /// Two streams, with other numbers in each region.
    pub(super) fn at(&self, part: u32) -> StreamPartition {
        let (stream, partition) = if part < 2 { (1, part) } else { (2, part - 2) };
        StreamPartition::new(StreamId(u32::from(self.id.0) * 10 + stream), PartitionId(partition))
    }

    pub(super) fn part(&self, at: StreamPartition) -> u32 {
        if at.stream.0 % 10 == 1 { at.partition.0 } else { at.partition.0 + 2 }
    }

    pub(super) fn local(&self) -> Local {
        let stream = |name: &str, id: u32, partitions: u32| LocalStream {
            id: StreamId(u32::from(self.id.0) * 10 + id),
            name: name.to_owned(),
            partitions,
            kind: "events".to_owned(),
            mode: "active-active".to_owned(),
            schema_hash: 0,
        };
        let mut streams = vec![stream("a", 1, 2), stream("b", 2, self.rules.partitions - 2)];
        if self.id.0.is_multiple_of(2) {
            streams.reverse();
        }
        let name = format!("region-{}", self.id);
        Local {
            region: self.id,
            name,
            installation: self.id.0.into(),
            epoch: EPOCH,
            streams,
            evicted: BTreeMap::new(),
            out: vec![],
        }
    }

    pub(super) fn hello(&self, now_ms: u64) -> Hello {
        self.local().hello(self.local_ms(now_ms))
    }

    /// Accepts a block; whoever writes it has read everything that is in the log.
    pub(super) fn write(&mut self, truth: &mut Truth, random: &mut Random, now_ms: u64) {
        let (part, count) = (random.below(self.rules.partitions.into()) as u32, 1 + random.below(4));
        let sequence = Sequence(self.have.of((self.id, part)) + 1);
        let hlc = self.clock.take(self.local_ms(now_ms), count);
        let span = Span::new(Origin { region: self.id, epoch: EPOCH, sequence }, count, hlc).unwrap();
        let bytes = if random.one_in(40) { 150_000 } else { 100 + random.below(8_000) };
        truth.events.push(Event { span, part, bytes, knew: self.have.clone() });
        let token = truth.events.len() - 1;
        self.log(truth, token, span);
        let (at, ends) = (self.at(part), self.ends(part));
        let (first, token) = (span.first(), token as u64);
        let found = outbound::Found { token, first, count, first_hlc: hlc, bytes };
        let block = Some(found).filter(|_| random.one_in(2));
        let own = self.outbounds.keys().copied().filter(|(_, of)| *of == self.id);
        for line in own.collect::<Vec<_>>() {
            self.step_outbound(line, outbound::Input::Grew { at, ends: ends.clone(), block }, truth);
        }
    }

    /// An event that others may not have yet is gone: of a region that keeps little of its own, or of what it relays.
    pub(super) fn remove(&mut self, truth: &mut Truth, random: &mut Random, met: &mut Met) {
        let part = random.below(self.rules.partitions.into()) as usize;
        let keeps_others = self.rules.net == Net::Mesh;
        let own = |event: &usize| !keeps_others || truth.events[*event].span.region() == self.id;
        let own = self.log[part].iter().position(own);
        // One that is being sent has to stay that long, as its shell holds it.
        let is_awaited = self.outbounds.values().any(|one| one.credit_bytes() <= 0);
        if let Some(index) = own.filter(|_| !is_awaited) {
            let span = truth.events[self.log[part].remove(index)].span;
            let sequences = span.first().sequence.0..=span.last().0;
            truth.removed.extend(sequences.map(|sequence| (span.region(), part as u32, sequence)));
            *met.entry("removed").or_default() += 1;
        }
    }

    pub(super) fn ends(&self, part: u32) -> Ends {
        vec![(EPOCH, self.marks.get(&(self.id, part)).copied().unwrap_or_default())]
    }

    /// One event enters the log.
    fn log(&mut self, truth: &Truth, event: usize, span: Span) {
        let part = truth.events[event].part;
        self.log[part as usize].push(event);
        self.have.add((span.region(), part), span.last().0);
        self.marks.insert((span.region(), part), Mark { sequence: span.last(), hlc: span.last_hlc() });
    }

    /// The step that appends: blocks, and what is seen with them. Here every promise is checked.
    pub(super) fn commit(
        &mut self,
        append: &inbound::Append,
        truth: &mut Truth,
        now_ms: u64,
        met: &mut Met,
    ) -> Result<(), Broken> {
        let mut seen = self.seen_log.last().map(|(_, seen)| seen.clone()).unwrap_or_default();
        for portion in &append.portions {
            let event =
                *self.held.get(&portion.block).ok_or("drops: a block is appended after it was dropped")?;
            let (span, part) = (portion.span, truth.events[event].part);
            let whole = truth.events[event].span;
            let cut = whole.without_front(portion.skip).and_then(|rest| rest.up_to(span.last_hlc()));
            if cut != Some(span) || self.at(part) != portion.at {
                return Err(format!("portions: {portion:?} is not of {whole:?}"));
            }
            if span != whole {
                *met.entry("split").or_default() += 1;
            }
            self.check(truth, event, span)?;
            self.log(truth, event, span);
            seen.raise(span.region(), span.last_hlc());
        }
        if seen != append.latest {
            return Err(format!("latest: it is {seen}, not {}", append.latest));
        }
        let at = self.clock.take(self.local_ms(now_ms), 1);
        self.seen_log.push((at, seen.clone()));
        let of = truth.seen.entry(self.id).or_insert_with(|| SeenHistory::new(1 << 20, true));
        of.push(at, seen.clone());
        self.history.push(at, seen);
        Ok(())
    }

    fn check(&self, truth: &Truth, event: usize, span: Span) -> Result<(), Broken> {
        let (id, event) = (self.id, &truth.events[event]);
        let key = (span.region(), event.part);
        let here = self.have.of(key);
        let first = span.first().sequence.0;
        if first <= here || truth.lacks(key, here, first - 1).is_some() {
            return Err(format!("reg_3: {} enters region {id} after {here}", span.first()));
        }
        for (other, until) in &event.knew.0 {
            // Of one block the later events know of the earlier ones.
            if let Some(lacking) = truth.lacks(*other, self.have.of(*other), *until) {
                return Err(format!(
                    "reg_2: region {id} shows {} without {lacking} of {other:?}",
                    span.first()
                ));
            }
        }
        Ok(())
    }

    /// What the log says to a look.
    pub(super) fn find(
        &self,
        truth: &Truth,
        line: Line,
        at: StreamPartition,
        after: Sequence,
    ) -> (Option<outbound::Found>, Option<Hlc>) {
        let is_told = |event: &Event| {
            let told = self.told.get(&line).and_then(|told| told.get(&at)).into_iter().flatten();
            line.1 == self.id || told.into_iter().any(|(_, mark)| event.span.last() <= mark.sequence)
        };
        let own = || {
            let events = self.log[self.part(at) as usize].iter();
            events
                .map(|event| (*event, &truth.events[*event]))
                .filter(|(_, event)| event.span.region() == line.1 && is_told(event))
        };
        let found =
            own().find(|(_, event)| event.span.last() > after).map(|(token, event)| outbound::Found {
                token: token as u64,
                first: event.span.first(),
                count: event.span.count(),
                first_hlc: event.span.first_hlc(),
                bytes: event.bytes,
            });
        (found, own().find_map(|(_, event)| event.span.hlc_at(after)))
    }
}
