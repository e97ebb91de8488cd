//! Appends: taken where the unit is open, sent a moment later, answered by the log.

use super::{Effect, Effects, Moment, Process, Saw, Timer};
use crate::log::{Append, LogReply};
use std::collections::BTreeSet;
use tw_plan::ownership::Owner;
use tw_plan::placement::Unit;

/// How many appends of a unit are under way at most.
const UNDER_WAY_MAX: u32 = 4;

/// A unit that takes writes.
#[derive(Debug)]
pub(super) struct Writing {
    epoch: u64,
    /// Where the next append is to go.
    end: u64,
    /// Where those under way have to go.
    expected: BTreeSet<u64>,
    under_way: u32,
}

impl Writing {
    pub(super) fn new(epoch: u64, end: u64) -> Self {
        Self { epoch, end, expected: BTreeSet::new(), under_way: 0 }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn is_still(&self) -> bool {
        self.under_way == 0
    }
}

impl Process {
    /// Whether the unit takes writes here, and in which epoch.
    pub(crate) fn takes(&self, unit: &Unit, at: Moment<'_>) -> Option<u64> {
        let Owner::Here(epoch) = self.core.owner(unit) else { return None };
        let is_held = self.lease.as_ref().is_some_and(|held| held.is_held(at.local_us));
        (is_held || !at.shared.looks_at_the_clock).then_some(epoch)
    }

    /// Clients write.
    pub(super) fn take_appends(&mut self, at: Moment<'_>, out: &mut Effects) {
        out.push(Effect::After(self.random.within(30_000, 120_000), Timer::Append));
        let units: Vec<Unit> = self.writing.keys().cloned().collect();
        for unit in units {
            let Some(epoch) = self.takes(&unit, at) else { continue };
            let Some(writing) = self.writing.get_mut(&unit) else { continue };
            if writing.epoch != epoch || writing.under_way >= UNDER_WAY_MAX || !self.random.chance(600) {
                continue;
            }
            writing.under_way += 1;
            let expected = writing.end;
            writing.end += 1;
            writing.expected.insert(expected);
            self.outbox.push_back(Append { unit, epoch, writer: self.writer.clone(), expected });
            // Whoever is paused now sends it when it wakes up.
            out.push(Effect::After(self.random.within(100, 5_000), Timer::Send));
        }
    }

    pub(super) fn log_answered(&mut self, reply: LogReply, at: Moment<'_>, out: &mut Effects) {
        match reply {
            LogReply::Appended { unit, offset } => {
                out.push(Effect::Saw(Saw::Acknowledged { unit: unit.clone(), offset }));
                // The answers that a process hears when it wakes up come in any order.
                let writing = self.writing.get_mut(&unit);
                if let Some(writing) = writing
                    && !writing.expected.remove(&offset)
                {
                    self.watching.meddled(&unit, writing.epoch);
                }
                self.is_answered(unit, at, out);
            }
            // The log is of no more use to this process.
            LogReply::Refused { writer, .. } if writer == self.writer => {
                out.push(Effect::Exit { again: true });
            }
            // In the name of an earlier incarnation.
            LogReply::Refused { unit, .. } => self.is_answered(unit, at, out),
            LogReply::Fenced(unit) => self.fenced(unit, at, out),
            LogReply::End { unit, end } => self.refreshed(unit, end, at, out),
        }
    }

    fn is_answered(&mut self, unit: Unit, at: Moment<'_>, out: &mut Effects) {
        if let Some(writing) = self.writing.get_mut(&unit) {
            writing.under_way = writing.under_way.saturating_sub(1);
        }
        self.shut_if_still(unit, at, out);
    }
}
