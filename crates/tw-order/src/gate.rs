//! The gate of one partition: which events may be applied now, which wait, and what is tried again when (PRO-1, PRO-3).
//!
//! An event that cannot be processed blocks its *lane*, the events of its subject: they queue behind it in the order of
//! their offsets, while all others go on. Its head is tried again with growing pauses and parked after the last attempt;
//! then a person decides. Once the head is applied or dropped, the queue is worked off in order, and while that goes on
//! new events of the lane still join its end, so order holds without a pause.
//!
//! The shell owns the events, the queues and the store; the gate owns the decisions. It keeps only lanes in memory, never
//! queued events, and beyond [`Options::lanes_max`] only those that are being retried: the others are in the store, and
//! the shell passes what it finds there as `found` whenever [`Gate::knows`] says no. Nothing that the gate decides counts
//! before [`Input::Commit`]'s actions are stored, in one step with the offset and the effects of the events (PRO-2); after
//! a crash a new gate is loaded from what is stored.
//!
//! ```text
//!              Rejected                attempts used up                Retry
//!   (open) ───────────────▶ Retrying ───────────────────▶ Parked ───────────────▶ Retrying
//!      ▲                     │    ▲                         │
//!      │ Applied, last of    │    │ Applied, more wait;     │ Drop
//!      │ the queue           │    │ Failed, attempts left   │
//!      └─────────────────────┘    └─────────────────────────┘
//! ```

mod lane;
mod options;
#[cfg(test)]
mod tests;

pub use lane::{Counts, Lane, LaneKey, Phase};
pub use options::{InvalidOption, Options};

use std::collections::{BTreeMap, BTreeSet};
use tw_types::Offset;

/// What happens to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The next event of the partition is here. While [`Gate::is_open`] there is no need to ask.
    Arrived {
        /// The event's lane.
        key: LaneKey,
        /// Its offset.
        offset: Offset,
        /// The stored lane, if the gate does not know it.
        found: Option<Lane>,
    },
    /// An event that was let through could not be processed; its lane is not blocked yet.
    Rejected {
        /// The event's lane.
        key: LaneKey,
        /// Its offset.
        offset: Offset,
    },
    /// Time has passed: which lanes are to be tried now, at most `limit` of them.
    Tick {
        /// How many the shell can try.
        limit: usize,
    },
    /// The head of a lane that was tried is done: applied, or no longer there because compaction removed it.
    Applied {
        /// The lane.
        key: LaneKey,
        /// Its head.
        offset: Offset,
        /// The event that waits behind it, if any.
        next: Option<Offset>,
    },
    /// The head of a lane that was tried could not be processed.
    Failed {
        /// The lane.
        key: LaneKey,
        /// Its head.
        offset: Offset,
        /// Whether trying again is pointless, because the event was removed from the log.
        lost: bool,
    },
    /// A person wants a parked event to be tried again, once.
    Retry {
        /// The event's lane.
        key: LaneKey,
        /// Its offset.
        offset: Offset,
        /// The stored lane, if the gate does not know it.
        found: Option<Lane>,
    },
    /// A person wants a waiting event to be skipped for good.
    Drop {
        /// The event's lane.
        key: LaneKey,
        /// Its offset.
        offset: Offset,
        /// The stored lane, if the gate does not know it.
        found: Option<Lane>,
        /// Whether it is in the lane's queue.
        queued: bool,
        /// The event that waits behind it, if any.
        next: Option<Offset>,
    },
    /// An event that makes all earlier ones irrelevant was applied.
    Cleared {
        /// Its offset.
        at: Offset,
    },
    /// What was decided is about to be stored.
    Commit,
    /// It is stored.
    Committed,
}

/// What the shell has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Apply the event that arrived.
    Apply {
        /// Its offset.
        offset: Offset,
    },
    /// Put the event into its lane's queue.
    Queue {
        /// The lane.
        key: LaneKey,
        /// The event.
        offset: Offset,
    },
    /// Take the event out of its lane's queue.
    Unqueue {
        /// The lane.
        key: LaneKey,
        /// The event.
        offset: Offset,
    },
    /// Try the events of the lane's queue from `head` on, in order, and say how it went with [`Input::Applied`] and
    /// [`Input::Failed`].
    Try {
        /// The lane.
        key: LaneKey,
        /// Its head.
        head: Offset,
    },
    /// Tell that the event is parked.
    Parked {
        /// The lane.
        key: LaneKey,
        /// The event.
        offset: Offset,
        /// How often it was tried.
        attempts: u32,
    },
    /// Tell that the event, of which was told that it is parked, has been applied.
    Released {
        /// The lane.
        key: LaneKey,
        /// The event.
        offset: Offset,
    },
    /// The event, of which was told that it is parked, is no longer: a person dropped it.
    Dropped {
        /// The lane.
        key: LaneKey,
        /// The event.
        offset: Offset,
    },
    /// All lanes and queues of events before `before` are void: remove them, at leisure.
    Sweep {
        /// Exclusive.
        before: Offset,
    },
    /// Store the lane.
    Save {
        /// Its name.
        key: LaneKey,
        /// Its state.
        lane: Lane,
    },
    /// Remove the lane from the store.
    Remove {
        /// Its name.
        key: LaneKey,
    },
}

/// The gate of one partition. See the module's text.
#[derive(Debug)]
pub struct Gate {
    options: Options,
    /// Every lane that is being retried, and parked ones up to the limit.
    lanes: BTreeMap<LaneKey, Lane>,
    /// When lanes are to be tried next. One that is being tried is not here.
    due: BTreeSet<(u64, Offset, LaneKey)>,
    retrying: usize,
    counts: Counts,
    cleared: Offset,
    /// Lanes that differ from what is stored.
    changed: BTreeSet<LaneKey>,
    /// Lanes that were parked since the last commit: they may leave memory after it.
    settled: Vec<LaneKey>,
}

impl Gate {
    /// The gate of a partition as it was stored: its counts, the offset before which everything is void
    /// ([`Gate::cleared`]), and its lanes: all that are retried and [`LaneKey::WALL`] must be among them, parked ones
    /// are taken up to [`Options::lanes_max`].
    pub fn load(
        options: Options,
        counts: Counts,
        cleared: Offset,
        lanes: impl IntoIterator<Item = (LaneKey, Lane)>,
    ) -> Self {
        let mut gate = Self {
            options,
            lanes: BTreeMap::new(),
            due: BTreeSet::new(),
            retrying: 0,
            counts,
            cleared,
            changed: BTreeSet::new(),
            settled: Vec::new(),
        };
        for (key, lane) in lanes.into_iter().filter(|(_, lane)| lane.head >= cleared) {
            if key == LaneKey::WALL
                || lane.phase != Phase::Parked
                || gate.lanes.len() < gate.options.lanes_max
            {
                gate.insert(key, lane);
            }
        }
        gate
    }

    /// The gate of a partition of which nothing was processed yet.
    pub fn new(options: Options) -> Self {
        Self::load(options, Counts::default(), Offset::ZERO, [])
    }

    /// Whether nothing is blocked: every event may be applied.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.counts.lanes == 0
    }

    /// Whether the whole partition waits for one event: then no more may be read.
    pub fn is_walled(&self) -> bool {
        self.lanes.contains_key(&LaneKey::WALL)
    }

    /// Whether the gate knows by itself whether a lane is blocked; if not, the shell looks it up in the store.
    pub fn knows(&self, key: LaneKey) -> bool {
        self.lanes.len() as u64 == self.counts.lanes
            || self.lanes.contains_key(&key)
            || self.changed.contains(&key)
    }

    /// How much is blocked.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whatever is stored of lanes and queues of events before this offset is void.
    pub fn cleared(&self) -> Offset {
        self.cleared
    }

    /// When the next lane is to be tried: wall-clock milliseconds since 1970.
    pub fn due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, ..)| *due_ms)
    }

    /// How many more lanes may be retried at the same time: so many decisions of people can be taken now.
    pub fn room(&self) -> usize {
        self.options.retrying_max.saturating_sub(self.retrying)
    }

    /// How many lanes are in memory.
    pub fn lanes_in_memory(&self) -> usize {
        self.lanes.len()
    }

    /// Takes one input at the wall-clock time `now_ms` and adds what is to be done to `actions`.
    pub fn step(&mut self, now_ms: u64, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Arrived { key, offset, found } => self.arrived(key, offset, found, actions),
            Input::Rejected { key, offset } => self.rejected(now_ms, key, offset, actions),
            Input::Tick { limit } => self.tick(now_ms, limit, actions),
            Input::Applied { key, offset, next } => self.applied(key, offset, next, actions),
            Input::Failed { key, offset, lost } => self.failed(now_ms, (key, offset), lost, actions),
            Input::Retry { key, offset, found } => self.retry(key, offset, found),
            Input::Drop { key, offset, found, queued, next } => {
                if queued {
                    self.drop_event((key, offset), found, next, actions);
                }
            }
            Input::Cleared { at } => self.clear(at, actions),
            Input::Commit => {
                for key in std::mem::take(&mut self.changed) {
                    actions.push(match self.lanes.get(&key) {
                        Some(lane) => Action::Save { key, lane: *lane },
                        None => Action::Remove { key },
                    });
                }
            }
            Input::Committed => self.forget_settled(),
        }
    }

    fn arrived(&mut self, key: LaneKey, offset: Offset, found: Option<Lane>, actions: &mut Vec<Action>) {
        let blocked = self.lanes.contains_key(&key) || self.valid(key, found).is_some();
        if blocked {
            self.counts.waiting += 1;
            actions.push(Action::Queue { key, offset });
        } else {
            actions.push(Action::Apply { offset });
        }
    }

    fn rejected(&mut self, now_ms: u64, key: LaneKey, offset: Offset, actions: &mut Vec<Action>) {
        self.counts.lanes += 1;
        self.counts.waiting += 1;
        actions.push(Action::Queue { key, offset });
        let lane = Lane { head: offset, attempts: 0, phase: Phase::Parked, told: false };
        let park = self.room() == 0;
        self.block(now_ms, key, lane, park, actions);
    }

    fn failed(
        &mut self,
        now_ms: u64,
        (key, offset): (LaneKey, Offset),
        lost: bool,
        actions: &mut Vec<Action>,
    ) {
        if let Some(lane) = self.take(key, offset) {
            self.block(now_ms, key, lane, lost, actions);
        }
    }

    /// Counts an attempt that failed, and decides what is next for a lane that is not in memory.
    fn block(&mut self, now_ms: u64, key: LaneKey, mut lane: Lane, park: bool, actions: &mut Vec<Action>) {
        lane.attempts = lane.attempts.saturating_add(1);
        if park || lane.attempts >= self.options.attempts_max {
            lane.phase = Phase::Parked;
            lane.told = true;
            self.counts.parked += 1;
            self.settled.push(key);
            actions.push(Action::Parked { key, offset: lane.head, attempts: lane.attempts });
        } else {
            lane.phase = Phase::Retrying { due_ms: now_ms + self.options.pause_ms(lane.attempts) };
        }
        self.insert(key, lane);
        self.changed.insert(key);
    }

    fn tick(&mut self, now_ms: u64, limit: usize, actions: &mut Vec<Action>) {
        for _ in 0..limit {
            let Some(&(due_ms, head, key)) = self.due.first().filter(|(due_ms, ..)| *due_ms <= now_ms) else {
                break;
            };
            self.due.remove(&(due_ms, head, key));
            actions.push(Action::Try { key, head });
            // Once the wall falls, the other lanes are void: nothing may be tried behind it.
            if key == LaneKey::WALL {
                break;
            }
        }
    }

    fn applied(&mut self, key: LaneKey, offset: Offset, next: Option<Offset>, actions: &mut Vec<Action>) {
        if let Some(lane) = self.take(key, offset) {
            if lane.told {
                actions.push(Action::Released { key, offset });
            }
            self.advance(key, offset, next, actions);
        }
    }

    fn retry(&mut self, key: LaneKey, offset: Offset, found: Option<Lane>) {
        self.adopt(key, found);
        if let Some(lane) = self.take(key, offset) {
            if lane.phase == Phase::Parked {
                self.counts.parked -= 1;
            }
            self.insert(key, Lane { phase: Phase::Retrying { due_ms: 0 }, ..lane });
            self.changed.insert(key);
        }
    }

    fn drop_event(
        &mut self,
        (key, offset): (LaneKey, Offset),
        found: Option<Lane>,
        next: Option<Offset>,
        actions: &mut Vec<Action>,
    ) {
        self.adopt(key, found);
        if let Some(lane) = self.take(key, offset) {
            if lane.phase == Phase::Parked {
                self.counts.parked -= 1;
            }
            if lane.told {
                actions.push(Action::Dropped { key, offset });
            }
            self.advance(key, offset, next, actions);
        } else if self.lanes.get(&key).is_some_and(|lane| lane.head < offset) {
            self.counts.waiting -= 1;
            actions.push(Action::Unqueue { key, offset });
        }
    }

    /// Ends the waiting of a head whose lane was taken out of memory: the next one is up at once.
    fn advance(&mut self, key: LaneKey, offset: Offset, next: Option<Offset>, actions: &mut Vec<Action>) {
        actions.push(Action::Unqueue { key, offset });
        self.counts.waiting -= 1;
        self.changed.insert(key);
        match next {
            Some(head) => {
                let phase = Phase::Retrying { due_ms: 0 };
                self.insert(key, Lane { head, attempts: 0, phase, told: false });
            }
            None => self.counts.lanes -= 1,
        }
    }

    fn clear(&mut self, at: Offset, actions: &mut Vec<Action>) {
        self.cleared = self.cleared.max(at);
        if self.counts != Counts::default() {
            actions.push(Action::Sweep { before: at });
        }
        self.lanes.clear();
        self.due.clear();
        self.settled.clear();
        (self.retrying, self.counts) = (0, Counts::default());
    }

    /// Parked lanes leave memory when there are too many: they are in the store now.
    fn forget_settled(&mut self) {
        for key in std::mem::take(&mut self.settled) {
            let parked = self.lanes.get(&key).is_some_and(|lane| lane.phase == Phase::Parked);
            if parked && key != LaneKey::WALL && self.lanes.len() > self.options.lanes_max {
                self.lanes.remove(&key);
            }
        }
    }

    /// What was found in the store, if it is not outdated: void, or changed since the last commit.
    fn valid(&self, key: LaneKey, found: Option<Lane>) -> Option<Lane> {
        found.filter(|lane| lane.head >= self.cleared && !self.changed.contains(&key))
    }

    /// Brings a lane back into memory that a decision is about.
    fn adopt(&mut self, key: LaneKey, found: Option<Lane>) {
        if let Some(lane) = self.valid(key, found)
            && !self.lanes.contains_key(&key)
        {
            self.insert(key, lane);
            self.settled.push(key);
        }
    }

    fn insert(&mut self, key: LaneKey, lane: Lane) {
        if let Phase::Retrying { due_ms } = lane.phase {
            self.retrying += 1;
            self.due.insert((due_ms, lane.head, key));
        }
        self.lanes.insert(key, lane);
    }

    /// Takes the lane out of memory if `head` is its head.
    fn take(&mut self, key: LaneKey, head: Offset) -> Option<Lane> {
        let lane = *self.lanes.get(&key).filter(|lane| lane.head == head)?;
        self.lanes.remove(&key);
        if let Phase::Retrying { due_ms } = lane.phase {
            self.retrying -= 1;
            self.due.remove(&(due_ms, head, key));
        }
        Some(lane)
    }
}
