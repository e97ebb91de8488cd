//! One generation of a view: a keyspace, and a pipeline for each partition that is assigned to this node.
//!
//! A partition that is taken away ends in its own time. If it comes back, or its state is removed, that waits for the end of
//! what was there before: the jobs of one partition follow each other.

use super::assigned::Assigned;
use super::forgetting::Forgetting;
use super::meta::GenerationRecord;
use crate::pipeline::{Deps, Pipeline, Turn};
use crate::progress::{Progress, Standing, Wish};
use crate::record::Cursor;
use crate::schedule::{Job, Scheduler, Task};
use crate::snapshot::Restore;
use crate::{Error, View, keys};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Context;
use tw_log::Signal;
use tw_state::Keyspace;
use tw_types::{Offset, PartitionId, StreamPartition};

/// One partition at work.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) progress: Arc<Progress>,
    pub(super) task: Arc<Task>,
    /// The end that it must have reached before it is read; None when it can be read at once.
    readable_from: Option<Offset>,
    /// Shared by everyone who may read it.
    readers: Arc<()>,
    /// No other partition of this process has it, nor the same one before or after.
    span: u64,
}

/// The partitions at work.
type Parts = BTreeMap<PartitionId, Part>;

/// A job of a partition that is not assigned any more: its pipeline, or the removal of what it stored.
struct Ending {
    progress: Arc<Progress>,
    task: Arc<Task>,
    readers: Weak<()>,
}

/// See the module's text.
pub(super) struct Generation {
    pub(super) record: GenerationRecord,
    pub(super) view: Arc<dyn View>,
    pub(super) keyspace: Keyspace,
    parts: Arc<Parts>,
    /// In the order in which they end.
    ending: Vec<Ending>,
    deps: Arc<Deps>,
    /// Whether its partitions may begin with a snapshot.
    restores: bool,
    changed: Arc<Signal>,
    /// Shared by everyone who reads it.
    readers: Arc<()>,
}

/// How the pipelines of a generation start.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) assigned: &'a Assigned,
    /// They rest at once.
    pub(super) paused: bool,
    /// They may begin with a snapshot.
    pub(super) restores: bool,
}

impl<'a> Start<'a> {
    /// For a generation that is read.
    pub(super) fn of(assigned: &'a Assigned) -> Self {
        Self { assigned, paused: false, restores: true }
    }

    /// For one that is built anew: a snapshot may hold what it is built anew for.
    pub(super) fn anew(assigned: &'a Assigned) -> Self {
        Self { restores: false, ..Self::of(assigned) }
    }
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
    /// Creates its keyspace if need be, and starts the pipelines of the assigned partitions
    pub(super) fn start(
        deps: &Arc<Deps>,
        scheduler: &Scheduler,
        view: &Arc<dyn View>,
        record: &GenerationRecord,
        changed: &Arc<Signal>,
        how: Start<'_>,
    ) -> Result<Self, Error> {
        let keyspace = deps.store.keyspace(&record.keyspace())?;
        let voids = keys::voids(deps.store.snapshot().as_ref(), keyspace)?;
        let mut generation = Self {
            record: record.clone(),
            view: view.clone(),
            keyspace,
            parts: Arc::default(),
            ending: Vec::new(),
            deps: deps.clone(),
            restores: how.restores,
            changed: changed.clone(),
            readers: Arc::default(),
        };
        let mut parts = Parts::new();
        for at in record.partitions().filter(|at| how.assigned.holds(*at)) {
            // What is stored can be read, unless nothing of it counts, or it is about to come.
            let later = voids.contains(&at.partition) || generation.may_be_restored(at);
            let from = if later { generation.readable_from(at) } else { None };
            parts.insert(at.partition, generation.start_part(scheduler, at, from, how.paused));
        }
        generation.parts = Arc::new(parts);
        for partition in voids {
            if !generation.parts.contains_key(&partition) {
                generation.forget(scheduler, partition);
            }
        }
        Ok(generation)
    }

    fn start_part(
        &self,
        scheduler: &Scheduler,
        at: StreamPartition,
        readable_from: Option<Offset>,
        paused: bool,
    ) -> Part {
        let progress = self.progress(at);
        if paused {
            progress.wish(Wish::Pause);
        }
        let (deps, view) = (self.deps.clone(), self.view.clone());
        let mut pipeline = Pipeline::new(deps, view, at, self.keyspace, progress.clone());
        if let Some(restore) = self.restore(at) {
            pipeline.restore_first(restore);
        }
        let task = scheduler.spawn_after(self.last_task(at.partition), Box::new(pipeline));
        let span = self.deps.spans.fetch_add(1, Ordering::Relaxed);
        Part { progress, task, readable_from, readers: Arc::default(), span }
    }

    /// How a snapshot of a partition is taken; None when none is to be taken.
    fn restore(&self, at: StreamPartition) -> Option<Restore> {
        let keeping = self.deps.keeping.lock().clone().filter(|_| self.restores)?;
        let is_read = |ending: &Ending| {
            ending.progress.at.partition == at.partition && ending.readers.strong_count() > 0
        };
        Some(Restore {
            log: self.deps.log.clone(),
            store: self.deps.store.clone(),
            keeping,
            view: self.view.name().to_owned(),
            definition: self.view.definition(),
            // A view of which this is not known cannot be told from an earlier one.
            life: self.record.life?,
            at,
            keyspace: self.keyspace,
            replaces: !self.ending.iter().any(is_read),
        })
    }

    /// Whether a partition that starts now may begin with a snapshot.
    fn may_be_restored(&self, at: StreamPartition) -> bool {
        // What cannot be found out now is tried when it is opened.
        self.restore(at).is_some_and(|restore| restore.is_wanted().unwrap_or(true))
    }

    fn progress(&self, at: StreamPartition) -> Arc<Progress> {
        let now = self.deps.env.clock.monotonic();
        Arc::new(Progress::new(at, self.changed.clone(), self.deps.moved.clone(), now))
    }

    /// What a partition that is begun now must have reached before it is read: others may have shown what is in the log by
    /// now, and nobody is to see less here.
    fn readable_from(&self, at: StreamPartition) -> Option<Offset> {
        let end = self.deps.log.bounds(at).map(|bounds| bounds.end);
        // Of an empty partition nothing can be missing; of one that is not known, everything.
        end.map_or(Some(Offset::ZERO), |end| Some(end).filter(|end| end.0 > 0))
    }

    /// The last job of a partition that is ending.
    fn last_task(&self, partition: PartitionId) -> Option<Arc<Task>> {
        let last = self.ending.iter().rfind(|ending| ending.progress.at.partition == partition);
        last.map(|ending| ending.task.clone())
    }

    /// Starts what is assigned and does not run, and ends what runs and is not assigned; says whether there was any.
    pub(super) fn assign(&mut self, scheduler: &Scheduler, assigned: &Assigned, paused: bool) -> bool {
        let is_wanted = |at: &StreamPartition| assigned.holds(*at);
        let wanted: BTreeSet<_> = self.record.partitions().filter(is_wanted).map(|at| at.partition).collect();
        if self.parts.keys().eq(&wanted) {
            return false;
        }
        self.prune();
        let mut parts = Parts::clone(&self.parts);
        for (_, part) in parts.extract_if(.., |partition, _| !wanted.contains(partition)) {
            part.progress.wish(Wish::Drain);
            part.task.rouse();
            let Part { progress, task, readers, .. } = part;
            self.ending.push(Ending { progress, task, readers: Arc::downgrade(&readers) });
        }
        for partition in wanted {
            let at = StreamPartition::new(self.record.stream_id, partition);
            parts
                .entry(partition)
                .or_insert_with(|| self.start_part(scheduler, at, self.readable_from(at), paused));
        }
        self.parts = Arc::new(parts);
        true
    }

    /// Removes what is stored of a partition that does not run, and is marked, once nobody reads it.
    pub(super) fn forget(&mut self, scheduler: &Scheduler, partition: PartitionId) {
        self.prune();
        let progress = self.progress(StreamPartition::new(self.record.stream_id, partition));
        let ending = self.ending.iter().filter(|ending| ending.progress.at.partition == partition);
        let readers = ending.map(|ending| ending.readers.clone()).collect();
        let forgetting = Forgetting::new(self.deps.clone(), self.keyspace, progress.clone(), readers);
        let task = scheduler.spawn_after(self.last_task(partition), Box::new(forgetting));
        self.ending.push(Ending { progress, task, readers: Weak::new() });
    }

    /// Drops the jobs that have ended, and that nobody reads after.
    fn prune(&mut self) {
        self.ending.retain(|ending| !ending.task.is_done() || ending.readers.strong_count() > 0);
    }

    /// The partitions at work, in their order.
    pub(super) fn parts(&self) -> impl ExactSizeIterator<Item = &Part> {
        self.parts.values()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Error::NoPartition`], [`Error::NotAssigned`].
    pub(super) fn part(&self, partition: PartitionId) -> Result<&Part, Error> {
        find(&self.parts, &self.record, self.view.name(), partition)
    }

    /// The numbers of the partitions at work.
    pub(super) fn partitions(&self) -> BTreeSet<PartitionId> {
        self.parts.keys().copied().collect()
    }

    /// Everything that has turns, what is ending included.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (&Arc<Progress>, &Arc<Task>)> {
        let parts = self.parts.values().map(|part| (&part.progress, &part.task));
        parts.chain(self.ending.iter().map(|ending| (&ending.progress, &ending.task)))
    }

    /// How far the partitions at work are.
    pub(super) fn cursors(&self) -> impl Iterator<Item = (StreamPartition, Cursor)> {
        self.parts.values().map(|part| (part.progress.at, part.progress.report().cursor))
    }

    /// Asks something of all its pipelines, or takes it back.
    pub(super) fn wish(&self, wish: Wish, on: bool) {
        for (progress, task) in self.jobs() {
            if on {
                progress.wish(wish);
            } else {
                progress.unwish(wish);
            }
            task.rouse();
        }
    }

    /// Lets pipelines that stand still try again.
    pub(super) fn restart(&self) {
        for part in self.parts.values() {
            part.progress.ask_restart();
            part.task.rouse();
        }
    }

    /// Whether its keyspace can be dropped.
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.readers) == 1 && self.jobs().all(|(_, task)| task.is_done())
    }

    /// How much of what it must have before it is read is missing, and of how much; None if it can be read.
    pub(super) fn missing(&self) -> Option<(u64, u64)> {
        let must = |part: &Part| {
            let index = usize::try_from(part.progress.at.partition.0).ok()?;
            let end = self.record.readable_from.get(index)?.0;
            Some((end.saturating_sub(part.progress.committed.get()), end))
        };
        let pairs = self.parts.values().filter_map(must);
        let (left, all) = pairs.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
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
            record: self.record.clone(),
            parts: self.parts.clone(),
            _readers: self.readers.clone(),
        })
    }
}

fn find<'a>(
    parts: &'a Parts,
    record: &GenerationRecord,
    view: &str,
    partition: PartitionId,
) -> Result<&'a Part, Error> {
    parts.get(&partition).ok_or_else(|| {
        let (at, partitions) = (StreamPartition::new(record.stream_id, partition), record.partitions);
        if partition.0 < partitions {
            Error::NotAssigned { view: view.to_owned(), at }
        } else {
            Error::NoPartition { at, partitions }
        }
    })
}

/// Where a view's state is. What it names stays as long as this is held, also when another generation takes over, or a
/// partition is taken away and forgotten.
#[derive(Clone)]
pub struct Reading {
    /// The view as it was defined when this generation was begun.
    pub view: Arc<dyn View>,
    /// Its state.
    pub keyspace: Keyspace,
    /// The number of the generation; a later one has a higher number.
    pub generation: u64,
    record: GenerationRecord,
    parts: Arc<Parts>,
    _readers: Arc<()>,
}

impl Reading {
    /// The partitions that are assigned to this node, in their order: what is stored of others may be old.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = PartitionId> {
        self.parts.keys().copied()
    }

    /// How far a partition is; None before that is known.
    pub(crate) fn position(&self, partition: PartitionId) -> Option<Offset> {
        let report = self.parts.get(&partition)?.progress.report();
        report.opened.then_some(report.cursor.position)
    }

    /// The number of the span of time for which a partition is at work here; None when it is not. No other span of this process has
    /// it: not that of another partition, view or generation, and not that of the same partition before it was taken away or after it
    /// has come back. While it lasts, the state only changes when [`Committed::end`](crate::Committed::end) moves, or where events wait.
    pub fn span(&self, partition: PartitionId) -> Option<u64> {
        self.parts.get(&partition).map(|part| part.span)
    }

    /// What tells the view from an earlier one of its name, if that is known.
    pub(crate) fn life(&self) -> Option<u32> {
        self.record.life
    }

    /// Whether a partition can be read. One that was assigned while the view ran can be, once it holds what the log held then:
    /// others may have shown that already.
    ///
    /// # Errors
    /// [`Error::NotAssigned`], [`Error::NotBuilt`], [`Error::Stopped`] when it stands still before that, [`Error::NoPartition`].
    pub fn check(&self, partition: PartitionId) -> Result<(), Error> {
        let part = find(&self.parts, &self.record, self.view.name(), partition)?;
        let Some(end) = part.readable_from else { return Ok(()) };
        let report = part.progress.report();
        let position = report.cursor.position;
        if report.opened && position >= end {
            return Ok(());
        }
        let (view, at) = (self.view.name().to_owned(), part.progress.at);
        if report.standing == Standing::Stopped {
            return Err(Error::Stopped { view, at, reason: report.failure.unwrap_or_default() });
        }
        Err(Error::NotBuilt { view, percent: position.0.saturating_mul(100) / end.0.max(1) })
    }
}
