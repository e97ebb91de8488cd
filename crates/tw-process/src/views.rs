//! The views of a node and their generations.
//!
//! A view's state lives in a keyspace of its own. Building it anew fills a second keyspace, from the beginning and beside
//! the running one, which goes on to be read and kept up to date; once the new one has caught up everywhere, it takes
//! over in one commit ([`steward`]) and the old keyspace is dropped when nobody reads it any more. What is the case is in
//! the store ([`meta`]), so a restart goes on where it was.

mod align;
mod assigned;
mod building;
mod forgetting;
mod generation;
mod meta;
mod status;
mod steward;
mod waiting;

pub use align::Aligned;
pub use assigned::{Assigned, Warmth};
pub use generation::Reading;
pub use status::{BuildStatus, PartitionStatus, ViewStatus};
pub(crate) use steward::Steward;

use crate::parked::{Desk, Source};
use crate::pipeline::Deps;
use crate::progress::Wish;
use crate::schedule::{Scheduler, Task};
use crate::snapshot::{Counters, Keeping};
use crate::{Error, View};
use generation::{Generation, Start};
use meta::{GenerationRecord, Meta, ViewRecord};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tw_log::{Log, Signal};
use tw_state::Snapshot;

/// The longest name of a view, in bytes.
const NAME_BYTES_MAX: usize = 1_000;

/// See the module's text.
pub(crate) struct Views {
    deps: Arc<Deps>,
    pub(crate) desk: Arc<Desk>,
    scheduler: Scheduler,
    state: Mutex<State>,
    steward: Mutex<Option<Arc<Task>>>,
}

struct State {
    meta: Meta,
    views: BTreeMap<String, Entry>,
    /// Generations that are not used any more; their keyspaces are still there.
    leaving: Vec<Leaving>,
    /// The partitions that are this node's business.
    assigned: Assigned,
    closed: bool,
}

/// A view.
struct Entry {
    view: Arc<dyn View>,
    active: Generation,
    building: Option<Building>,
    /// A half-built generation of a definition that has not come yet.
    orphan: Option<GenerationRecord>,
    paused: bool,
    /// Whether what is built anew must not take over yet.
    on_hold: bool,
    /// Held by whoever has both generations at the same offsets.
    aligned: Weak<()>,
    /// Rises when something changed that is not a commit.
    changed: Arc<Signal>,
}

/// What a view starts with.
struct Added {
    record: ViewRecord,
    /// Generations that are not used any more.
    retired: Vec<GenerationRecord>,
    /// The definition of the generation that is read.
    read: Arc<dyn View>,
}

/// A generation that is to take over.
struct Building {
    generation: Generation,
    /// Since when the running generation is held so that this one can overtake it.
    holding_since: Option<Duration>,
    /// When that may be tried again.
    not_before: Duration,
}

/// A generation that is not used any more.
struct Leaving {
    number: u64,
    /// None when it was not in use since the start of this process.
    generation: Option<Generation>,
    /// Whether everything was said about it.
    said: bool,
}

impl Views {
    pub(crate) fn open(deps: Arc<Deps>, desk: Arc<Desk>, scheduler: Scheduler) -> Result<Self, Error> {
        let meta = Meta::open(deps.store.clone())?;
        let mut leaving = Vec::new();
        for retired in meta.retired()? {
            leaving.push(Leaving { number: retired.number, generation: None, said: false });
            desk.retire(meta.retired_of(&retired)?);
        }
        let state = State { meta, views: BTreeMap::new(), leaving, assigned: Assigned::All, closed: false };
        Ok(Self { deps, desk, scheduler, state: Mutex::new(state), steward: Mutex::default() })
    }

    /// Starts processing a view; see [`crate::Handle::add_after`].
    pub(crate) fn add(
        &self,
        view: Arc<dyn View>,
        earlier: &[Arc<dyn View>],
        on_hold: bool,
    ) -> Result<(), Error> {
        let name = view.name().to_owned();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('/') || name.ends_with('/') {
            return Err(Error::InvalidName(name));
        }
        let mut state = self.open_state()?;
        if state.views.contains_key(&name) {
            return Err(Error::ViewExists(name));
        }
        let stored = state.meta.view(&name)?;
        let Added { record, retired, read } = self.added(&state.meta, &view, earlier, stored)?;
        self.store_record(&mut state, &name, &record, retired)?;
        let changed = Arc::new(Signal::default());
        let active = self.start(&read, &record.active, &changed, Start::of(&state.assigned))?;
        let mut entry = Entry {
            view: read,
            active,
            building: None,
            orphan: None,
            paused: false,
            on_hold,
            aligned: Weak::new(),
            changed,
        };
        match record.building {
            Some(building) if building.fits(view.as_ref()) => {
                entry.building =
                    Some(self.build(&view, &building, &entry.changed, Start::anew(&state.assigned))?);
            }
            other => entry.orphan = other,
        }
        state.views.insert(name, entry);
        drop(state);
        self.rouse_steward();
        Ok(())
    }

    /// Which generations a view has from its start on. The one that was read goes on, if its definition is known. If not, the
    /// new one takes its place, and is read once it holds what the log holds now.
    fn added(
        &self,
        meta: &Meta,
        view: &Arc<dyn View>,
        earlier: &[Arc<dyn View>],
        stored: Option<ViewRecord>,
    ) -> Result<Added, Error> {
        let stream = self.deps.log.streams().by_id(view.stream())?.clone();
        let Some(ViewRecord { active, building }) = stored else {
            let record =
                ViewRecord::new(meta.allocate(view.as_ref(), &stream, self.desk.life(view.name())?)?);
            return Ok(Added { record, retired: Vec::new(), read: view.clone() });
        };
        if active.fits(view.as_ref()) {
            let record = ViewRecord { active, building };
            return Ok(Added { record, retired: Vec::new(), read: view.clone() });
        }
        let mut retired = Vec::new();
        let mut new = match building {
            Some(building) if building.fits(view.as_ref()) => building,
            other => {
                retired.extend(other);
                meta.allocate(view.as_ref(), &stream, active.life)?
            }
        };
        if let Some(read) = earlier.iter().find(|earlier| active.fits(earlier.as_ref())) {
            let record = ViewRecord { active, building: Some(new) };
            return Ok(Added { record, retired, read: read.clone() });
        }
        retired.insert(0, active);
        new.readable_from =
            new.partitions().map(|at| Ok(self.deps.log.bounds(at)?.end)).collect::<Result<_, Error>>()?;
        Ok(Added { record: ViewRecord::new(new), retired, read: view.clone() })
    }

    /// Forgets a view and its state, also one that is only stored.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let mut state = self.open_state()?;
        let stored = state.meta.view(name)?;
        let entry = state.views.remove(name);
        let Some(ViewRecord { active, building }) = stored else {
            return Err(Error::NoView(name.to_owned()));
        };
        let retired: Vec<_> = [Some(active), building].into_iter().flatten().collect();
        if let Some(keeping) = self.keeping() {
            keeping.discard(name, retired.iter().map(|record| (record.definition, record.stream_id)));
        }
        let rows = state.meta.remove_view(name, &retired)?;
        self.hand_over(&mut state, rows)?;
        if let Some(entry) = entry {
            let building = entry.building.map(|building| building.generation);
            for generation in [Some(entry.active), building].into_iter().flatten() {
                leave(&mut state, generation);
            }
            entry.changed.increment();
        }
        drop(state);
        self.rouse_steward();
        Ok(())
    }

    /// Pauses a view, or lets it go on; one that stands still tries again.
    pub(crate) fn pause(&self, name: &str, pause: bool) -> Result<(), Error> {
        let mut state = self.open_state()?;
        let entry = state.views.get_mut(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        entry.paused = pause;
        entry.wish(Wish::Pause, pause);
        if !pause {
            entry.generations().for_each(Generation::restart);
        }
        entry.changed.increment();
        Ok(())
    }

    /// The names of all views that have state, whether they were added or not.
    pub(crate) fn stored(&self) -> Result<Vec<String>, Error> {
        self.state.lock().meta.names()
    }

    /// Where a view's state is to be read now.
    pub(crate) fn reading(&self, name: &str) -> Result<Reading, Error> {
        let state = self.state.lock();
        let entry = state.views.get(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        entry.active.reading()
    }

    /// Rises when something about a view changes that is not a commit.
    pub(crate) fn changed(&self, name: &str) -> Result<Arc<Signal>, Error> {
        let state = self.state.lock();
        let entry = state.views.get(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        Ok(entry.changed.clone())
    }

    /// Commits everything that is under way and ends; false if some partitions did not within `timeout`.
    pub(crate) fn close(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = self.deps.env.clock.monotonic() + timeout;
        let mut parts = Vec::new();
        {
            let mut state = self.state.lock();
            state.closed = true;
            for entry in state.views.values() {
                entry.wish(Wish::Drain, true);
                let jobs = entry.generations().flat_map(Generation::jobs);
                parts.extend(jobs.map(|(progress, task)| (progress.clone(), task.clone())));
            }
        }
        let finished = self.scheduler.finished();
        loop {
            let seen = finished.get();
            let waiting = parts.iter().filter(|(_, task)| !task.is_done()).count();
            let now = self.deps.env.clock.monotonic();
            if waiting == 0 || now >= deadline {
                break;
            }
            finished.wait_over(seen, deadline.saturating_sub(now));
        }
        self.desk.stop();
        let left = deadline.saturating_sub(self.deps.env.clock.monotonic());
        self.scheduler.stop(left.max(Duration::from_millis(100)));
        for entry in self.state.lock().views.values() {
            entry.changed.increment();
        }
        let partitions = parts.iter().filter(|(progress, _)| !progress.is_drained()).count();
        if partitions > 0 {
            let drain_ms_max = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(Error::NotDrained { partitions, drain_ms_max });
        }
        Ok(())
    }

    /// All views, as far as their parked events are concerned.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let source = |(name, entry): (&String, &Entry)| Source {
            view: name.clone(),
            stream: entry.active.record.stream.clone(),
            stream_id: entry.active.record.stream_id,
            partitions: entry.active.partitions(),
            partitions_all: entry.active.record.partitions,
            active: entry.active.keyspace,
            building: entry.building.as_ref().map(|building| building.generation.keyspace),
        };
        self.state.lock().views.iter().map(source).collect()
    }

    pub(crate) fn snapshot(&self) -> Box<dyn Snapshot> {
        self.deps.store.snapshot()
    }

    pub(crate) fn log(&self) -> &dyn Log {
        self.deps.log.as_ref()
    }

    pub(crate) fn random(&self) -> u64 {
        self.deps.env.random.next_u64()
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.deps.env.clock.monotonic()
    }

    pub(crate) fn snapshots(&self) -> &Arc<Counters> {
        &self.deps.snapshots
    }

    /// Where snapshots of state are kept, if they are.
    pub(crate) fn keeping(&self) -> Option<Arc<Keeping>> {
        self.deps.keeping.lock().clone()
    }

    pub(crate) fn keep_snapshots(&self, keeping: Arc<Keeping>) {
        *self.deps.keeping.lock() = Some(keeping);
    }

    /// What can be read of each view.
    pub(crate) fn readings(&self) -> Vec<(String, Reading)> {
        let state = self.state.lock();
        let reading = |(name, entry): (&String, &Entry)| Some((name.clone(), entry.active.reading().ok()?));
        state.views.iter().filter_map(reading).collect()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.deps.env.clock.now_ms()
    }

    /// Ends at once, as in a crash; turns that are under way come to their end.
    pub(crate) fn abandon(&self) {
        self.desk.stop();
        self.scheduler.stop(Duration::from_secs(10));
        self.desk.has_ended(Duration::from_secs(10));
    }

    fn open_state(&self) -> Result<parking_lot::MutexGuard<'_, State>, Error> {
        let state = self.state.lock();
        if state.closed { Err(Error::Closed) } else { Ok(state) }
    }

    /// Stores what a view consists of now, and hands over what is not used any more.
    fn store_record(
        &self,
        state: &mut State,
        name: &str,
        record: &ViewRecord,
        retired: Vec<GenerationRecord>,
    ) -> Result<(), Error> {
        let rows = state.meta.put_view(name, record, &retired, &state.assigned)?;
        self.hand_over(state, rows)
    }

    fn hand_over(&self, state: &mut State, rows: Vec<meta::RetiredRecord>) -> Result<(), Error> {
        for row in rows {
            state.leaving.push(Leaving { number: row.generation.number, generation: None, said: false });
            self.desk.retire(state.meta.retired_of(&row)?);
        }
        Ok(())
    }

    fn start(
        &self,
        view: &Arc<dyn View>,
        record: &GenerationRecord,
        changed: &Arc<Signal>,
        how: Start<'_>,
    ) -> Result<Generation, Error> {
        Generation::start(&self.deps, &self.scheduler, view, record, changed, how)
    }

    fn rouse_steward(&self) {
        if let Some(steward) = &*self.steward.lock() {
            steward.rouse();
        }
    }
}

/// Ends a generation's pipelines; its keyspace is dropped once nobody uses it.
fn leave(state: &mut State, generation: Generation) {
    generation.wish(Wish::Abandon, true);
    let number = generation.record.number;
    match state.leaving.iter_mut().find(|leaving| leaving.number == number) {
        Some(leaving) => leaving.generation = Some(generation),
        None => state.leaving.push(Leaving { number, generation: Some(generation), said: true }),
    }
}

impl Entry {
    fn generations(&self) -> impl Iterator<Item = &Generation> {
        let building = self.building.as_ref().map(|building| &building.generation);
        std::iter::once(&self.active).chain(building)
    }

    fn generations_mut(&mut self) -> impl Iterator<Item = &mut Generation> {
        let building = self.building.as_mut().map(|building| &mut building.generation);
        std::iter::once(&mut self.active).chain(building)
    }

    /// Lets the running generation go on that is held for a switch; the switch is tried again.
    fn let_go(&mut self) {
        if let Some(building) = &mut self.building
            && building.holding_since.take().is_some()
        {
            self.active.wish(Wish::Switch, false);
        }
    }

    fn wish(&self, wish: Wish, on: bool) {
        self.generations().for_each(|generation| generation.wish(wish, on));
    }
}
