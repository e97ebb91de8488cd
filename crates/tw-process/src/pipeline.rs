//! The pipeline of one partition of one view: from the log through the gate into the state.
//!
//! It is driven in *turns* by [`crate::schedule`]; a turn never waits for the log and keeps its thread for a few
//! milliseconds only. What a turn does, in this order:
//!
//! 1. carry out decisions of people ([`decide`]),
//! 2. try blocked subjects that are due ([`lanes`]),
//! 3. read and apply what is new ([`input`], [`apply`]),
//! 4. commit ([`commit`]): the processor's changes, the offset and the gate's changes in one step (PRO-2).
//!
//! After a failure of the store everything in memory is thrown away and opened again from what was committed
//! ([`open`]). Whatever cannot get better by itself (a damaged block, input that was removed before it was read) stops the
//! pipeline, and only this one.

mod apply;
pub(crate) mod clear;
mod commit;
mod decide;
mod fetch;
mod input;
mod lanes;
mod open;
mod outboxes;
mod restore;
#[cfg(test)]
mod tests;

pub(crate) use outboxes::{Letter, Outboxes};

use crate::parked::{Index, ViewKey};
use crate::progress::{Control, Progress, Standing};
use crate::snapshot::{Counters, Keeping};
use crate::{Options, View};
use clear::Clearing;
use commit::Work;
use input::{Reader, Reading};
use parking_lot::Mutex;
use restore::Restoring;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Context;
use std::time::Duration;
use tw_env::{Env, Live};
use tw_log::{Log, Signal};
use tw_state::{Keyspace, Store};
use tw_types::{Offset, StreamPartition, chain};

/// How often a new view looks whether an earlier one of its name has been ended.
const LOOK: Duration = Duration::from_millis(10);

/// What all pipelines share.
pub(crate) struct Deps {
    pub(crate) options: Arc<Live<Options>>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) env: Env,
    pub(crate) index: Arc<Index>,
    pub(crate) outboxes: Arc<Outboxes>,
    /// Rises with every commit of any partition, and with whatever else a partition does.
    pub(crate) moved: Arc<Signal>,
    /// How many partitions have been begun with, of whatever view.
    pub(crate) spans: AtomicU64,
    /// Where snapshots of state are kept, if they are.
    pub(crate) keeping: Mutex<Option<Arc<Keeping>>>,
    pub(crate) snapshots: Arc<Counters>,
}

/// When the next turn is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As soon as the others had theirs.
    Again,
    /// When something wakes the pipeline, or at this monotonic time.
    Wait(Option<Duration>),
    /// Never.
    Done,
}

/// The pipeline. See the module's text.
pub(crate) struct Pipeline {
    deps: Arc<Deps>,
    view: Arc<dyn View>,
    view_key: ViewKey,
    at: StreamPartition,
    keyspace: Keyspace,
    progress: Arc<Progress>,
    state: State,
    /// What was stored before and does not count any more.
    clearing: Clearing,
    /// The snapshot to begin with.
    restoring: Option<Restoring>,
    /// Failures since the last commit.
    failures: u32,
}

enum State {
    /// Nothing is in memory; it is opened at this monotonic time.
    Closed { at: Duration },
    /// At work.
    Open(Box<Open>),
    /// It waits for someone to act.
    Stopped,
}

/// What is in memory of a partition that is being processed.
struct Open {
    processor: Box<dyn crate::Processor>,
    work: Work,
    reader: Reader,
    /// Buffers of references into blocks, empty between turns; kept for their room.
    spare: Vec<tw_types::StoredRef<'static>>,
    spare_window: Vec<tw_types::StoredRef<'static>>,
}

/// Why a turn was cut off.
#[derive(Debug)]
enum Fault {
    State(tw_state::Error),
    Log(tw_log::Error),
    /// The state is of a later version of this program.
    LaterVersion,
}

impl From<tw_state::Error> for Fault {
    fn from(error: tw_state::Error) -> Self {
        Self::State(error)
    }
}

impl From<tw_log::Error> for Fault {
    fn from(error: tw_log::Error) -> Self {
        Self::Log(error)
    }
}

impl From<tw_wire::Error> for Fault {
    fn from(error: tw_wire::Error) -> Self {
        Self::Log(error.into())
    }
}

impl Pipeline {
    pub(crate) fn new(
        deps: Arc<Deps>,
        view: Arc<dyn View>,
        at: StreamPartition,
        keyspace: Keyspace,
        progress: Arc<Progress>,
    ) -> Self {
        let view_key = ViewKey::new(view.name());
        let state = State::Closed { at: Duration::ZERO };
        let clearing = Clearing::new(deps.store.clone(), keyspace, at.partition);
        Self { deps, view, view_key, at, keyspace, progress, state, clearing, restoring: None, failures: 0 }
    }

    /// Works for a while. Whatever it waits for wakes the waker of `cx`.
    pub(crate) fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let until = match self.progress.control() {
            Control::Run => None,
            Control::RunTo(until) if self.is_at(until) => return self.hold(),
            Control::RunTo(until) => Some(until),
            Control::Hold => return self.hold(),
            Control::Drain => return self.drain(),
            Control::Abandon => {
                self.state = State::Stopped;
                return Turn::Done;
            }
        };
        if self.progress.take_restart() {
            (self.state, self.failures) = (State::Closed { at: Duration::ZERO }, 0);
        }
        match self.work(cx, until) {
            Ok(turn) => turn,
            Err(fault) => self.fail(fault),
        }
    }

    /// Whether everything before an offset was processed, or waits for a person; what does not run stays where it is.
    fn is_at(&self, until: Offset) -> bool {
        match &self.state {
            State::Open(open) => open.work.cursor.position >= until,
            State::Closed { .. } | State::Stopped => until == Offset::ZERO,
        }
    }

    fn work(&mut self, cx: &mut Context<'_>, until: Option<Offset>) -> Result<Turn, Fault> {
        let now = self.deps.env.clock.monotonic();
        if let State::Closed { at } = self.state {
            if now < at {
                return Ok(Turn::Wait(Some(at)));
            }
            // What a snapshot on its way has stored is marked, too.
            if !self.is_importing() && self.clearing.is_due()? && !self.clearing.step()? {
                return Ok(Turn::Again);
            }
            if self.is_too_early()? {
                return Ok(Turn::Wait(Some(now + LOOK)));
            }
            if let Some(turn) = self.restore(cx)? {
                return Ok(turn);
            }
            // What was restored may know of decisions that are not known here yet.
            if self.is_too_early()? {
                return Ok(Turn::Wait(Some(now + LOOK)));
            }
            self.state = State::Open(Box::new(self.open()?));
            self.progress.set_standing(Standing::Running);
        }
        let State::Open(open) = &mut self.state else { return Ok(Turn::Wait(None)) };
        let deadline = now + Duration::from_millis(self.deps.options.get().turn_ms_max);
        let commits = open.work.commits;
        let turn = open.turn(cx, deadline, until)?;
        if open.work.commits > commits {
            self.failures = 0;
        }
        Ok(turn)
    }

    /// Commits what was processed, and then rests.
    fn hold(&mut self) -> Turn {
        if let Err(fault) = self.commit() {
            return self.fail(fault);
        }
        if let State::Open(open) = &mut self.state {
            open.reader.rest();
        }
        self.progress.set_held();
        Turn::Wait(None)
    }

    fn drain(&mut self) -> Turn {
        if let Err(fault) = self.commit() {
            self.fail(fault);
        } else {
            self.progress.set_drained();
        }
        self.state = State::Stopped;
        Turn::Done
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let commits = open.work.commits;
        open.work.commit(open.processor.as_mut())?;
        if open.work.commits > commits {
            self.failures = 0;
        }
        Ok(())
    }

    /// What was processed since the last commit is thrown away; the store is what counts.
    fn fail(&mut self, fault: Fault) -> Turn {
        let reason = self.explain(&fault);
        tracing::warn!(view = self.view.name(), at = %self.at, reason, "processing was interrupted");
        if !fault.may_pass() {
            // What was processed before the obstacle is right: it counts.
            if matches!(fault, Fault::Log(_))
                && let Err(error) = self.commit()
            {
                return self.fail(error);
            }
            self.progress.fail(Standing::Stopped, reason, self.failures);
            self.state = State::Stopped;
            return Turn::Wait(None);
        }
        self.failures += 1;
        let pause = self.deps.options.get().failure_pause(self.failures);
        let at = self.deps.env.clock.monotonic() + pause;
        self.state = State::Closed { at };
        self.progress.fail(Standing::Waiting, reason, self.failures);
        Turn::Wait(Some(at))
    }

    /// Throws everything in memory away after a panic in the processor.
    pub(crate) fn panicked(&mut self, message: &str) -> Turn {
        self.fail(Fault::State(tw_state::Error::Engine {
            folder: std::path::PathBuf::new(),
            source: format!("processing panicked: {message}").into(),
        }))
    }

    fn explain(&self, fault: &Fault) -> String {
        match fault {
            Fault::Log(tw_log::Error::Trimmed { start, .. }) => {
                let position = self.progress.position();
                format!(
                    "events from offset {position} on to before {start} were removed before they were processed: \
                     rebuild the view, or remove it"
                )
            }
            Fault::Log(tw_log::Error::BeyondEnd { end, from, .. }) => format!(
                "its state is at offset {from}, but the log ends at {end}: the log is an older copy; rebuild the view"
            ),
            Fault::Log(error) => chain(error),
            Fault::State(error) => chain(error),
            Fault::LaterVersion => crate::Error::LaterVersion(self.view.name().to_owned()).to_string(),
        }
    }
}

impl Fault {
    /// Whether it may get better by itself.
    fn may_pass(&self) -> bool {
        match self {
            Self::State(error) => !matches!(error, tw_state::Error::NoKeyspace),
            Self::Log(error) => error.may_pass(),
            Self::LaterVersion => false,
        }
    }
}

impl Open {
    /// Works until `deadline`, and on events before `until` alone.
    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Duration,
        until: Option<Offset>,
    ) -> Result<Turn, Fault> {
        let mut again = self.decide()?;
        again |= self.try_lanes(deadline)?;
        again |= self.sweep()?;
        let mut idle = true;
        // Nothing new is read while it may have been dropped. Where decisions wait for room, lanes that are retried make it.
        let undecided = self.work.is_undecided();
        again |= undecided && self.work.gate.room() > 0 && !self.work.progress.is_stale();
        if !self.work.gate.is_walled() && !undecided {
            loop {
                if until.is_some_and(|until| self.work.cursor.position >= until) {
                    (again, idle) = (true, false);
                    break;
                }
                match self.reader.poll(self.work.cursor.position, cx)? {
                    Reading::Ready => self.process(deadline, until)?,
                    Reading::Pending => {
                        idle = false;
                        break;
                    }
                    Reading::AtEnd => {
                        // The log goes on to there, as another generation has seen: of what was before, nothing is left.
                        if let Some(until) = until {
                            self.work.pass(until);
                            again = true;
                        }
                        break;
                    }
                }
                self.commit_if_full()?;
                let walled = self.work.gate.is_walled();
                if walled || self.work.deps.env.clock.monotonic() >= deadline {
                    again = true;
                    idle = false;
                    break;
                }
            }
        }
        again |= self.work.cursor.sweeping;
        let due = self.commit_if_due(idle && !again)?;
        if again {
            return Ok(Turn::Again);
        }
        self.work.listen(cx);
        let retry = self.work.gate.due_ms().map(|due_ms| self.work.monotonic_at(due_ms));
        Ok(Turn::Wait([due, retry].into_iter().flatten().min()))
    }
}
