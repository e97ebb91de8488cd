//! The removal of what is stored of a partition that has left for good.

use crate::pipeline::clear::Clearing;
use crate::pipeline::{Deps, Turn};
use crate::progress::{Control, Progress};
use crate::schedule::Job;
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::Duration;
use tw_state::Keyspace;
use tw_types::chain;

/// How often it looks whether the partition is still being read.
const LOOK: Duration = Duration::from_millis(20);

/// Removes what is marked, as soon as nobody reads it. Cut off, it is begun again when the view is added again.
pub(super) struct Forgetting {
    deps: Arc<Deps>,
    progress: Arc<Progress>,
    readers: Vec<Weak<()>>,
    clearing: Clearing,
}

impl Forgetting {
    pub(super) fn new(
        deps: Arc<Deps>,
        keyspace: Keyspace,
        progress: Arc<Progress>,
        readers: Vec<Weak<()>>,
    ) -> Self {
        let clearing = Clearing::new(deps.store.clone(), keyspace, progress.at.partition);
        Self { deps, progress, readers, clearing }
    }

    fn wait(&self, pause: Duration) -> Turn {
        Turn::Wait(Some(self.deps.env.clock.monotonic() + pause))
    }

    fn wait_after(&self, failure: &str) -> Turn {
        tracing::warn!(at = %self.progress.at, failure, "what is stored of a partition cannot be removed yet");
        self.wait(Duration::from_millis(self.deps.options.get().failure_ms_max))
    }
}

impl Job for Forgetting {
    fn turn(&mut self, _cx: &mut Context<'_>) -> Turn {
        match self.progress.control() {
            Control::Run | Control::RunTo(_) | Control::Hold => {}
            Control::Drain | Control::Abandon => {
                self.progress.set_drained();
                return Turn::Done;
            }
        }
        if self.readers.iter().any(|readers| readers.strong_count() > 0) {
            return self.wait(LOOK);
        }
        match self.clearing.step() {
            Ok(false) => Turn::Again,
            // Its keyspace may have been dropped.
            Ok(true) | Err(tw_state::Error::NoKeyspace) => {
                self.progress.set_drained();
                Turn::Done
            }
            Err(error) => self.wait_after(&chain(&error)),
        }
    }

    fn panicked(&mut self, message: &str) -> Turn {
        self.wait_after(message)
    }
}
