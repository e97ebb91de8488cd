//! A naive shell around the gate: it keeps everything in plain maps and watches over every promise.

use crate::gate::{Action, Counts, Gate, Input, Lane, LaneKey, Options, Phase};
use std::collections::{BTreeMap, BTreeSet};
use tw_types::Offset;

/// An event of the history.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) subject: Option<u8>,
    pub(super) sick: bool,
    pub(super) clears: bool,
}

/// What survives a crash.
#[derive(Debug, Clone, Default)]
struct Stored {
    position: u64,
    counts: Counts,
    cleared: Offset,
    lanes: BTreeMap<LaneKey, Lane>,
    queues: BTreeSet<(LaneKey, Offset)>,
    /// Every application, in the order in which it happened.
    applied: Vec<u64>,
    /// Told to be parked, and not yet what became of it.
    parked: BTreeSet<Offset>,
}

pub(super) struct Shell {
    options: Options,
    gate: Gate,
    now: Stored,
    committed: Stored,
    log: Vec<Sample>,
    start: u64,
    now_ms: u64,
    sick: BTreeSet<u64>,
    /// Whatever is void is before this offset.
    swept: Offset,
    dropped: BTreeSet<u64>,
    /// Whether an event was ever sick: the others of its subject may have to wait.
    ever_sick: BTreeSet<Option<u8>>,
}

impl Shell {
    pub(super) fn new(options: Options) -> Self {
        Self {
            gate: Gate::new(options.clone()),
            options,
            now: Stored::default(),
            committed: Stored::default(),
            log: Vec::new(),
            start: 0,
            now_ms: 1_000,
            sick: BTreeSet::new(),
            swept: Offset::ZERO,
            dropped: BTreeSet::new(),
            ever_sick: BTreeSet::new(),
        }
    }

    fn sample(&self, offset: Offset) -> &Sample {
        self.log.get(offset.0 as usize).unwrap()
    }

    fn key(&self, offset: Offset) -> LaneKey {
        let sample = self.sample(offset);
        if sample.clears {
            return LaneKey::WALL;
        }
        LaneKey::of(sample.subject.map(|subject| subject.to_string()).as_deref(), offset)
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.gate.step(self.now_ms, input, &mut actions);
        for action in &actions {
            self.carry_out(*action);
        }
        actions
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Apply { .. } | Action::Try { .. } => {}
            Action::Queue { key, offset } => assert!(self.now.queues.insert((key, offset))),
            Action::Unqueue { key, offset } => assert!(self.now.queues.remove(&(key, offset))),
            Action::Parked { offset, .. } => drop(self.now.parked.insert(offset)),
            Action::Released { offset, .. } | Action::Dropped { offset, .. } => {
                assert!(self.now.parked.remove(&offset));
            }
            Action::Sweep { before } => {
                self.swept = before;
                // Void entries stay for a while: only every other one is removed at once.
                let odd = |offset: &Offset| *offset >= before || offset.0 % 2 == 1;
                self.now.queues.retain(|(_, offset)| odd(offset));
                self.now.lanes.retain(|_, lane| odd(&lane.head));
                self.now.parked.retain(|offset| *offset >= before);
            }
            Action::Save { key, lane } => drop(self.now.lanes.insert(key, lane)),
            Action::Remove { key } => drop(self.now.lanes.remove(&key)),
        }
    }

    fn found(&self, key: LaneKey) -> Option<Lane> {
        if self.gate.knows(key) { None } else { self.committed.lanes.get(&key).copied() }
    }

    pub(super) fn feed(&mut self, samples: &[Sample]) {
        for sample in samples {
            if sample.sick {
                self.sick.insert(self.log.len() as u64);
                self.ever_sick.insert(sample.subject);
            }
            self.log.push(sample.clone());
        }
        self.read();
    }

    /// Reads on until the end, or until a wall.
    fn read(&mut self) {
        while !self.gate.is_walled() && self.now.position < self.log.len() as u64 {
            let offset = Offset(self.now.position.max(self.start));
            if offset.0 >= self.log.len() as u64 {
                break;
            }
            self.now.position = offset.0 + 1;
            if self.dropped.contains(&offset.0) {
                continue;
            }
            let key = self.key(offset);
            if key == LaneKey::WALL {
                self.arrive_wall(offset);
                continue;
            }
            let waits = !self.gate.is_open() && {
                let found = self.found(key);
                let actions = self.step(Input::Arrived { key, offset, found });
                actions != [Action::Apply { offset }]
            };
            if waits {
                continue;
            }
            if self.sick.contains(&offset.0) {
                self.step(Input::Rejected { key, offset });
            } else {
                self.now.applied.push(offset.0);
            }
        }
    }

    fn arrive_wall(&mut self, offset: Offset) {
        if self.sick.contains(&offset.0) {
            self.step(Input::Rejected { key: LaneKey::WALL, offset });
        } else {
            self.now.applied.push(offset.0);
            self.step(Input::Cleared { at: offset });
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.commit();
        for action in self.step(Input::Tick { limit: 3 }) {
            if let Action::Try { key, head } = action {
                self.try_lane(key, head);
            }
        }
        self.read();
    }

    /// Works off at most three events of a lane.
    fn try_lane(&mut self, key: LaneKey, head: Offset) {
        let queue: Vec<Offset> =
            self.now.queues.range((key, head)..=(key, Offset(u64::MAX))).map(|(_, offset)| *offset).collect();
        assert_eq!(queue.first(), Some(&head));
        for (index, offset) in queue.iter().copied().enumerate().take(3) {
            let lost = offset.0 < self.start;
            if lost || self.sick.contains(&offset.0) {
                self.step(Input::Failed { key, offset, lost });
                return;
            }
            self.now.applied.push(offset.0);
            self.step(Input::Applied { key, offset, next: queue.get(index + 1).copied() });
            if key == LaneKey::WALL {
                self.step(Input::Cleared { at: offset });
            }
        }
    }

    /// One of the waiting events.
    fn pick(&self, which: usize) -> Option<(LaneKey, Offset)> {
        let valid: Vec<_> =
            self.now.queues.iter().filter(|(_, offset)| *offset >= self.gate.cleared()).collect();
        valid.get(which % valid.len().max(1)).copied().copied()
    }

    pub(super) fn heal(&mut self, which: usize) {
        if let Some((_, offset)) = self.pick(which) {
            self.sick.remove(&offset.0);
        }
    }

    pub(super) fn retry(&mut self, which: usize) {
        if let Some((key, offset)) = self.pick(which).filter(|_| self.gate.room() > 0) {
            let found = self.found(key);
            self.step(Input::Retry { key, offset, found });
        }
    }

    pub(super) fn drop_event(&mut self, which: usize) {
        if let Some((key, offset)) = self.pick(which).filter(|_| self.gate.room() > 0) {
            self.dropped.insert(offset.0);
            self.carry_out_drop(key, offset);
        }
    }

    fn carry_out_drop(&mut self, key: LaneKey, offset: Offset) {
        let found = self.found(key);
        let mut behind = self.now.queues.range((key, offset.next())..=(key, Offset(u64::MAX)));
        let next = behind.next().map(|(_, offset)| *offset);
        let queued = self.now.queues.contains(&(key, offset));
        self.step(Input::Drop { key, offset, found, queued, next });
    }

    /// Removes the oldest events from the log.
    pub(super) fn trim(&mut self, which: usize) {
        let end = self.committed.position.min(self.log.len() as u64);
        let before = self.start + which as u64 % (end.saturating_sub(self.start) + 1);
        self.start = before.max(self.start);
    }

    pub(super) fn commit(&mut self) {
        self.step(Input::Commit);
        self.now.counts = self.gate.counts();
        self.now.cleared = self.gate.cleared();
        self.committed = self.now.clone();
        self.step(Input::Committed);
        let in_memory = self.gate.lanes_in_memory();
        assert!(in_memory <= self.options.lanes_max + 2 * self.options.retrying_max + 1, "{in_memory} lanes");
    }

    pub(super) fn crash(&mut self) {
        self.now = self.committed.clone();
        let lanes = self.now.lanes.iter().map(|(key, lane)| (*key, *lane));
        self.gate = Gate::load(self.options.clone(), self.now.counts, self.now.cleared, lanes);
        // Decisions are durable on their own: they are carried out again.
        for offset in self.dropped.clone() {
            if offset < self.now.position {
                self.carry_out_drop(self.key(Offset(offset)), Offset(offset));
            }
        }
        self.read();
    }

    pub(super) fn check(&self) {
        let valid: BTreeSet<_> =
            self.now.queues.iter().filter(|(_, offset)| *offset >= self.gate.cleared()).copied().collect();
        let void = self.now.queues.iter().filter(|(_, offset)| *offset < self.gate.cleared());
        assert!(void.into_iter().all(|(_, offset)| *offset < self.swept), "nobody sweeps");
        let lanes: BTreeSet<_> = valid.iter().map(|(key, _)| *key).collect();
        let counts = self.gate.counts();
        assert_eq!((counts.lanes, counts.waiting), (lanes.len() as u64, valid.len() as u64));
        assert!(counts.parked <= counts.lanes);
        self.check_order();
        for (offset, sample) in self.log.iter().enumerate().take(self.now.position as usize) {
            let healthy = !self.ever_sick.contains(&sample.subject) && !sample.clears;
            let applied = self.now.applied.contains(&(offset as u64));
            assert!(!healthy || applied, "event {offset} is blocked by another subject");
        }
    }

    /// PRO-1: at most once, in order per subject, and nothing from before a clearing event after it.
    fn check_order(&self) {
        let mut last: BTreeMap<Option<u8>, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut wall = 0;
        for offset in &self.now.applied {
            assert!(seen.insert(*offset), "event {offset} was applied twice");
            assert!(*offset >= wall, "event {offset} was applied after a later one cleared all");
            let sample = self.sample(Offset(*offset));
            if sample.clears {
                wall = *offset;
            } else if sample.subject.is_some() {
                let before = last.insert(sample.subject, *offset);
                assert!(before < Some(*offset), "event {offset} was applied after {before:?}");
            }
        }
    }

    /// Ends every failure; lost events are dropped by decision.
    pub(super) fn heal_all(&mut self) {
        self.sick.clear();
        for round in 0..10_000 {
            self.commit();
            if self.gate.is_open() && self.now.position >= self.log.len() as u64 {
                return;
            }
            assert!(round < 9_999, "never comes to an end: {:?}", self.gate);
            let parked: Vec<_> = self.committed.lanes.iter().map(|(key, lane)| (*key, *lane)).collect();
            for (key, lane) in parked {
                let valid = lane.phase == Phase::Parked && lane.head >= self.gate.cleared();
                if valid && self.gate.room() > 0 {
                    let at = self.now.queues.iter().position(|entry| *entry == (key, lane.head));
                    let void = self.now.queues.iter().take(at.unwrap_or(0));
                    let which = void.filter(|(_, offset)| *offset >= self.gate.cleared()).count();
                    if lane.head.0 < self.start { self.drop_event(which) } else { self.retry(which) }
                }
            }
            self.pass(10_000);
        }
    }

    pub(super) fn check_nothing_forgotten(&self) {
        self.check();
        assert_eq!(self.gate.counts(), Counts::default());
        let last_wall = self.now.applied.iter().filter(|at| self.sample(Offset(**at)).clears).max();
        for offset in 0..self.log.len() as u64 {
            let applied = self.now.applied.contains(&offset);
            let cleared = last_wall.is_some_and(|wall| offset < *wall);
            assert!(
                applied != self.dropped.contains(&offset) || cleared,
                "event {offset} is forgotten, or applied although it was dropped"
            );
        }
        assert!(self.now.parked.iter().all(|offset| *offset < self.gate.cleared()), "{:?}", self.now.parked);
    }
}
