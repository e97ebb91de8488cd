//! Beginning with a snapshot.

use super::{Fault, Pipeline, Turn};
use crate::snapshot::{Found, Importing, Refusal, Restore, Run, Seeking};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tw_types::chain;

/// How often a depot is asked that does not answer. Then the log has to do.
const ATTEMPTS_MAX: u32 = 3;

/// A snapshot that the pipeline is to begin with.
pub(super) struct Restoring {
    restore: Restore,
    step: Step,
    /// What has turned out to be no good.
    refused: BTreeSet<Run>,
    attempts: u32,
}

enum Step {
    /// Whether one is worth to be looked for is to be found out.
    Begin,
    Seek(Seeking),
    /// One is there; what is stored goes first.
    Clear(Found),
    Import(Importing),
}

impl Pipeline {
    /// Lets it begin with a snapshot, if that is worth it.
    pub(crate) fn restore_first(&mut self, restore: Restore) {
        self.restoring =
            Some(Restoring { restore, step: Step::Begin, refused: BTreeSet::new(), attempts: 0 });
    }

    /// Whether what is marked void is being stored.
    pub(super) fn is_importing(&self) -> bool {
        self.restoring.as_ref().is_some_and(|restoring| matches!(restoring.step, Step::Import(_)))
    }

    /// Takes the snapshot, if one is to be taken; None once that is done, one way or the other.
    pub(super) fn restore(&mut self, cx: &mut Context<'_>) -> Result<Option<Turn>, Fault> {
        let Some(mut restoring) = self.restoring.take() else { return Ok(None) };
        match restoring.advance(cx) {
            Ok(Advance::Wait) => {
                self.restoring = Some(restoring);
                Ok(Some(Turn::Wait(None)))
            }
            Ok(Advance::Again) => {
                self.restoring = Some(restoring);
                Ok(Some(Turn::Again))
            }
            Ok(Advance::Nothing) => Ok(None),
            Ok(Advance::Done(position)) => {
                restoring.restore.counters().restored.fetch_add(1, Ordering::Relaxed);
                tracing::info!(view = self.view.name(), at = %self.at, %position, "a partition begins with a snapshot");
                Ok(None)
            }
            Err(refusal) => Ok(Some(self.refuse(restoring, refusal))),
        }
    }

    /// Another snapshot, the same one later, or none.
    fn refuse(&mut self, mut restoring: Restoring, refusal: Refusal) -> Turn {
        let (view, at, reason) = (self.view.name(), self.at, chain(&refusal));
        // What came of it is removed first.
        restoring.step = Step::Begin;
        match refusal {
            Refusal::Snapshot { run, .. } => {
                restoring.restore.counters().refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(view, %at, snapshot = %run, reason, "a snapshot is refused: an older one or the log has to do");
                restoring.refused.insert(run);
                self.restoring = Some(restoring);
                Turn::Again
            }
            Refusal::LaterVersion => Turn::Again,
            Refusal::Depot(_) | Refusal::State(_) | Refusal::Log(_) => {
                restoring.attempts += 1;
                let again = restoring.attempts < ATTEMPTS_MAX;
                restoring.restore.counters().failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(view, %at, reason, again, "snapshots cannot be fetched: the log has to do");
                if !again {
                    return Turn::Again;
                }
                self.restoring = Some(restoring);
                let pause = Duration::from_millis(self.deps.options.get().failure_ms_min);
                let until = self.deps.env.clock.monotonic() + pause;
                self.state = super::State::Closed { at: until };
                Turn::Wait(Some(until))
            }
        }
    }
}

/// How far it got.
enum Advance {
    Wait,
    Again,
    Nothing,
    Done(tw_types::Offset),
}

impl Restoring {
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<Advance, Refusal> {
        match std::mem::replace(&mut self.step, Step::Begin) {
            Step::Begin if self.restore.is_wanted()? => {
                self.step = Step::Seek(self.restore.seek(self.refused.clone()));
                Ok(Advance::Again)
            }
            Step::Begin => Ok(Advance::Nothing),
            Step::Seek(mut seeking) => match seeking.as_mut().poll(cx) {
                Poll::Pending => {
                    self.step = Step::Seek(seeking);
                    Ok(Advance::Wait)
                }
                Poll::Ready(outcome) => {
                    let Some(found) = outcome? else { return Ok(Advance::Nothing) };
                    self.restore.void()?;
                    self.step = Step::Clear(found);
                    Ok(Advance::Again)
                }
            },
            // It has been cleared before this turn.
            Step::Clear(found) => {
                self.step = Step::Import(self.restore.import(found));
                Ok(Advance::Again)
            }
            Step::Import(mut importing) => match importing.as_mut().poll(cx) {
                Poll::Pending => {
                    self.step = Step::Import(importing);
                    Ok(Advance::Wait)
                }
                Poll::Ready(outcome) => outcome.map(Advance::Done),
            },
        }
    }
}
