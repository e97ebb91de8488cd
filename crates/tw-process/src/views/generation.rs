//! One generation of a view: a keyspace, and a pipeline for each partition.

use super::meta::GenerationRecord;
use crate::pipeline::{Deps, Pipeline, Turn};
use crate::progress::{Progress, Wish};
use crate::schedule::{Job, Scheduler, Task};
use crate::{Error, View};
use std::sync::Arc;
use std::task::Context;
use tw_log::Signal;
use tw_state::Keyspace;
use tw_types::Offset;

/// One partition at work.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) progress: Arc<Progress>,
    pub(super) task: Arc<Task>,
}

/// See the module's text.
pub(super) struct Generation {
    pub(super) record: GenerationRecord,
    pub(super) view: Arc<dyn View>,
    pub(super) keyspace: Keyspace,
    pub(super) parts: Vec<Part>,
    /// Shared by everyone who reads it.
    readers: Arc<()>,
}

impl Job for Pipeline {
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        Self::turn(self, cx)
    }

    fn panicked(&mut self, message: &str) -> Turn {
        Self::panicked(self, message)
    }
}

impl Generation {
    /// Creates its keyspace if need be, and starts its pipelines.
    pub(super) fn start(
        deps: &Arc<Deps>,
        scheduler: &Scheduler,
        view: &Arc<dyn View>,
        record: &GenerationRecord,
        changed: &Arc<Signal>,
    ) -> Result<Self, Error> {
        let keyspace = deps.store.keyspace(&record.keyspace())?;
        let now = deps.env.clock.monotonic();
        let start = |at| {
            let progress = Arc::new(Progress::new(at, changed.clone(), now));
            let pipeline = Pipeline::new(deps.clone(), view.clone(), at, keyspace, progress.clone());
            Part { progress, task: scheduler.spawn(Box::new(pipeline)) }
        };
        let parts = record.partitions().map(start).collect();
        Ok(Self { record: record.clone(), view: view.clone(), keyspace, parts, readers: Arc::default() })
    }

    /// Asks something of all its pipelines, or takes it back.
    pub(super) fn wish(&self, wish: Wish, on: bool) {
        for part in &self.parts {
            if on {
                part.progress.wish(wish);
            } else {
                part.progress.unwish(wish);
            }
            part.task.rouse();
        }
    }

    /// Lets pipelines that stand still try again.
    pub(super) fn restart(&self) {
        for part in &self.parts {
            part.progress.ask_restart();
            part.task.rouse();
        }
    }

    /// Whether its keyspace can be dropped.
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.readers) == 1 && self.parts.iter().all(|part| part.task.is_done())
    }

    /// How much of what it must have before it is read is missing, and of how much; None if it can be read.
    pub(super) fn missing(&self) -> Option<(u64, u64)> {
        let of = |(part, end): (&Part, &Offset)| {
            let left = end.0.saturating_sub(part.progress.committed.get());
            (left, end.0)
        };
        let pairs = self.parts.iter().zip(&self.record.readable_from);
        let (left, all) = pairs.map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (left > 0).then_some((left, all))
    }

    /// Where it is to be read.
    ///
    /// # Errors
    /// [`Error::NotBuilt`].
    pub(super) fn reading(&self) -> Result<Reading, Error> {
        if let Some((left, all)) = self.missing() {
            let percent = (all - left).saturating_mul(100) / all;
            return Err(Error::NotBuilt { view: self.view.name().to_owned(), percent });
        }
        Ok(Reading {
            view: self.view.clone(),
            keyspace: self.keyspace,
            generation: self.record.number,
            _readers: self.readers.clone(),
        })
    }
}

/// Where a view's state is. The keyspace stays as long as this is held, also when another generation takes over.
#[derive(Clone)]
pub struct Reading {
    /// The view as it was defined when this generation was begun.
    pub view: Arc<dyn View>,
    /// Its state.
    pub keyspace: Keyspace,
    /// The number of the generation; a later one has a higher number.
    pub generation: u64,
    _readers: Arc<()>,
}
