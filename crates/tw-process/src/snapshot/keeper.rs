//! The keeper: a thread that stores the snapshots that are due, one at a time.
//!
//! Only the owner of a partition stores them, and asks before each chunk and before the manifest whether it still is. If two
//! nodes do so all the same, because one does not know yet that it is not the owner any more, there are two snapshots, and
//! both are right: the state at a position is the same wherever it was made.

use super::counts::{Counters, add};
use super::names::{Place, of_definition, of_view};
use super::plan::{Action, Candidate, Key, Schedule, newest};
use super::{OBJECTS_MAX, Options};
use crate::Error;
use crate::views::Views;
use parking_lot::Mutex;
use pollster::block_on;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tw_depot::Depot;
use tw_env::Live;
use tw_log::Signal;
use tw_types::{Offset, StreamId, StreamPartition, chain};

/// How often it looks whether a snapshot is due.
const LOOK: Duration = Duration::from_secs(1);
/// How many removed views wait for the removal of their snapshots; those of older ones stay.
const DISCARDS_MAX: usize = 10_000;

/// Where snapshots are kept, and how.
pub(crate) struct Keeping {
    pub(crate) depot: Arc<dyn Depot>,
    pub(crate) options: Live<Options>,
    pub(crate) counters: Arc<Counters>,
    /// Whether this node is the owner of a partition.
    pub(crate) owns: Box<dyn Fn(StreamPartition) -> bool + Send + Sync>,
    stopped: AtomicBool,
    discards: Mutex<Vec<Discard>>,
}

/// A view that was removed, and the definitions that it had.
struct Discard {
    view: String,
    definitions: BTreeSet<String>,
}

impl Keeping {
    pub(crate) fn new(
        depot: Arc<dyn Depot>,
        options: Options,
        counters: Arc<Counters>,
        owns: Box<dyn Fn(StreamPartition) -> bool + Send + Sync>,
    ) -> Self {
        let (stopped, discards) = (AtomicBool::new(false), Mutex::default());
        Self { depot, options: Live::new(options), counters, owns, stopped, discards }
    }

    /// Whether a partition may still be stored here.
    ///
    /// # Errors
    /// [`Error::NotOwner`], [`Error::Closed`].
    pub(super) fn check(&self, at: StreamPartition) -> Result<(), Error> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if (self.owns)(at) { Ok(()) } else { Err(Error::NotOwner(at)) }
    }

    /// Lets the snapshots of a view be removed that is not there any more.
    pub(crate) fn discard(&self, view: &str, definitions: impl Iterator<Item = (u64, StreamId)>) {
        let definitions = definitions.map(|(definition, stream)| of_definition(definition, stream)).collect();
        let mut discards = self.discards.lock();
        if discards.len() < DISCARDS_MAX {
            discards.push(Discard { view: view.to_owned(), definitions });
        }
    }
}

/// The thread.
pub(crate) struct Keeper {
    keeping: Arc<Keeping>,
    wake: Arc<Signal>,
    ended: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(keeping: Arc<Keeping>, views: &Arc<Views>) -> std::io::Result<Self> {
        let (wake, ended) = (Arc::<Signal>::default(), Arc::<Signal>::default());
        let work =
            Work { keeping: keeping.clone(), views: Arc::downgrade(views), schedule: Schedule::default() };
        let (woken, end) = (wake.clone(), ended.clone());
        let thread = std::thread::Builder::new().name("tw-snapshots".to_owned()).spawn(move || {
            work.run(&woken);
            end.increment();
        })?;
        Ok(Self { keeping, wake, ended, thread: Some(thread) })
    }

    /// Lets the thread end, after what it has asked of the depot.
    pub(crate) fn stop(&self) {
        self.keeping.stopped.store(true, Ordering::Release);
        self.wake.increment();
    }

    /// Waits for its end, but no longer than `timeout`.
    pub(crate) fn join(&mut self, timeout: Duration) {
        if self.ended.wait_over(0, timeout) > 0
            && let Some(thread) = self.thread.take()
        {
            let _panics_were_logged = thread.join();
        }
    }
}

/// What the thread does.
struct Work {
    keeping: Arc<Keeping>,
    views: Weak<Views>,
    schedule: Schedule,
}

impl Work {
    fn run(mut self, wake: &Signal) {
        while !self.keeping.stopped.load(Ordering::Acquire) {
            let Some(views) = self.views.upgrade() else { return };
            let pause = self.turn(&views);
            // Nobody is kept from ending while it waits.
            drop(views);
            wake.wait_over(0, pause);
        }
    }

    /// Does one thing, if there is one to do; says how long to wait then.
    fn turn(&mut self, views: &Views) -> Duration {
        let options = self.keeping.options.get();
        let candidates = views.snapshot_candidates(&self.keeping);
        self.keeping.counters.lag_events.store(self.schedule.lag_events(&candidates), Ordering::Relaxed);
        let now = views.monotonic();
        let action = self.schedule.next(now, &options, &candidates);
        let (key, outcome) = match action {
            Action::Wait(until) => {
                if !self.schedule.is_paused(now)
                    && let Err(error) = self.discard_next()
                {
                    self.fail(views, &options, None, &error);
                }
                return until.map_or(LOOK, |until| until.saturating_sub(now).min(LOOK));
            }
            Action::Ask(key) => {
                let outcome = self.ask(views, &key, &candidates);
                (key, outcome)
            }
            Action::Store { key, supersedes } => {
                let outcome = self.store(views, &key, &candidates, supersedes);
                (key, outcome)
            }
        };
        if let Err(error) = outcome {
            self.fail(views, &options, Some(&key), &error);
        }
        Duration::ZERO
    }

    fn ask(&mut self, views: &Views, key: &Key, candidates: &BTreeMap<Key, Candidate>) -> Result<(), Error> {
        let (Some(candidate), Ok(reading)) = (candidates.get(key), views.reading(&key.0)) else {
            return Ok(());
        };
        let at = StreamPartition::new(reading.view.stream(), key.1);
        let place = Place::new(&key.0, key.1, reading.view.definition(), at.stream);
        let names = block_on(self.keeping.depot.list(&place.manifests(), OBJECTS_MAX))?;
        let found = newest(&place, &names, views.log().bounds(at)?.end);
        self.schedule.found(views.monotonic(), key.clone(), candidate.generation, found);
        Ok(())
    }

    fn store(
        &mut self,
        views: &Views,
        key: &Key,
        candidates: &BTreeMap<Key, Candidate>,
        supersedes: bool,
    ) -> Result<(), Error> {
        let Some(candidate) = candidates.get(key) else { return Ok(()) };
        let exported = views.export(&key.0, key.1, &self.keeping, supersedes)?;
        tracing::debug!(
            view = key.0,
            partition = %key.1,
            position = %exported.position,
            bytes = exported.bytes,
            "a snapshot of state was stored"
        );
        self.schedule.stored(views.monotonic(), key.clone(), candidate.generation, exported.position);
        Ok(())
    }

    /// Removes the snapshots of one view that was removed.
    fn discard_next(&self) -> Result<(), Error> {
        let keeping = &self.keeping;
        let Some(discard) = keeping.discards.lock().pop() else { return Ok(()) };
        let outcome = self.discard(&discard);
        if outcome.is_err() {
            keeping.discards.lock().push(discard);
        }
        outcome
    }

    fn discard(&self, discard: &Discard) -> Result<(), Error> {
        let folder = of_view(&discard.view);
        let names = block_on(self.keeping.depot.list(&folder, OBJECTS_MAX))?;
        let is_of_it = |name: &&String| {
            let rest = name.strip_prefix(&folder).unwrap_or_default();
            rest.split('/').nth(2).is_some_and(|definition| discard.definitions.contains(definition))
        };
        let (first, then): (Vec<_>, Vec<_>) =
            names.iter().filter(is_of_it).partition(|name| name.contains("/manifests/"));
        for name in first.into_iter().chain(then) {
            block_on(self.keeping.depot.remove(name))?;
        }
        Ok(())
    }

    fn fail(&mut self, views: &Views, options: &Options, key: Option<&Key>, error: &Error) {
        // What is not this node's any more is nobody's failure.
        if matches!(error, Error::Closed | Error::NotOwner(_) | Error::NotAssigned { .. } | Error::NoView(_))
        {
            return;
        }
        add(&self.keeping.counters.failures, 1);
        let (view, partition) = key.map(|(view, partition)| (view.as_str(), partition.0)).unzip();
        tracing::warn!(view, partition, error = chain(error), "snapshots of state cannot be stored");
        self.schedule.failed(views.monotonic(), options, key);
    }
}

impl Views {
    /// What can be stored now, by the owner.
    fn snapshot_candidates(&self, keeping: &Keeping) -> BTreeMap<Key, Candidate> {
        let mut candidates = BTreeMap::new();
        for (view, reading) in self.readings() {
            for partition in reading.partitions() {
                let at = StreamPartition::new(reading.view.stream(), partition);
                let position = reading.position(partition);
                let is_candidate = |_: &Offset| {
                    reading.check(partition).is_ok() && reading.life().is_some() && (keeping.owns)(at)
                };
                if let Some(position) = position.filter(is_candidate) {
                    let candidate = Candidate { generation: reading.generation, position };
                    candidates.insert((view.clone(), partition), candidate);
                }
            }
        }
        candidates
    }
}
