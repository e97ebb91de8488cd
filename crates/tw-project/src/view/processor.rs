//! The processor of a projection, or of a table of latest rows: one partition's events into state.

use super::changes::{ChangeReader, Identity, TRUNCATE, damaged, rejected, state};
use super::merges::{Aside, MergeReader};
use super::rows::{RowCache, RowKey, Staged, StoredRow};
use super::signed::Effect;
use crate::Error;
use crate::merged::Knowledge;
use crate::operators::aggregate::Aggregate;
use crate::operators::aggregator::{Aggregator, Input, RowPlace};
use crate::plan::ProjectionPlan;
use crate::plan::steps::{Rows, batch, run};
use crate::rows::columns::Reading;
use crate::rows::events::EventRows;
use crate::state::key::KeyColumn;
use crate::state::layout::{self, KINDS};
use datafusion::arrow::array::ArrayRef;
use std::sync::Arc;
use tw_process::{ApplyError, Processor};
use tw_state::{Batch, Keyspace, Store};
use tw_types::{PartitionId, StoredRef, StreamMode, StreamPartition};

/// How many keys of earlier eras one flush removes at most.
const OLD_KEYS_MAX: usize = 10_000;

/// What feeds the operators.
enum Feed {
    Events(EventRows),
    Changes(ChangeReader),
    Merges(Box<MergeReader>),
}

/// What a processor is given beside its plan and its place.
pub(crate) struct Around {
    pub(crate) cache_bytes_max: usize,
    pub(crate) knowledge: Arc<dyn Knowledge>,
    /// Whether it tells of conflicts.
    pub(crate) tells: bool,
}

/// See the module's text.
pub(crate) struct ViewProcessor {
    plan: Arc<ProjectionPlan>,
    partition: PartitionId,
    keyspace: Keyspace,
    store: Arc<dyn Store>,
    cache_bytes_max: usize,
    feed: Feed,
    groups: Option<Aggregator>,
    rows: Option<RowCache>,
    era: u32,
    era_changed: bool,
    /// Whether the store may hold something of earlier eras.
    has_old: bool,
    /// Whether the places of rows are part of the state.
    places_matter: bool,
    /// Whether it was logged that rows are left out.
    said_left_out: bool,
    /// Conflicts that are to be told, by their keys.
    conflicts: Vec<Aside>,
}

impl ViewProcessor {
    /// Goes on with what `store` has.
    pub(crate) fn open(
        plan: Arc<ProjectionPlan>,
        partition: PartitionId,
        keyspace: Keyspace,
        store: &Arc<dyn Store>,
        around: Around,
    ) -> Result<Self, tw_state::Error> {
        let Around { cache_bytes_max, knowledge, tells } = around;
        let stored = store.get(keyspace, &layout::era_key(partition))?;
        let era = layout::take_era(stored.as_deref()).map_err(damaged)?;
        let events = plan.columns.reading == Reading::Events;
        let identity = plan.identity();
        let grouping = plan.grouping.as_ref().map(|(grouping, _)| grouping.clone());
        let places_matter =
            grouping.as_ref().is_none_or(|grouping| grouping.aggregates.iter().any(Aggregate::needs_place));
        // A grouping of a table with a key must know the rows that it will have to take back; what is not grouped is kept itself.
        let keeps_rows = grouping.is_none() || (!events && identity == Identity::Key);
        let rows = keeps_rows
            .then(|| RowCache::open(partition, keyspace, era, store.as_ref()))
            .transpose()
            .map_err(store_error)?;
        let groups = grouping
            .map(|grouping| {
                Aggregator::open(grouping, partition, keyspace, era, events, store.as_ref(), cache_bytes_max)
            })
            .transpose()
            .map_err(store_error)?;
        let feed = match plan.columns.reading {
            Reading::Events => Feed::Events(EventRows::new(&plan.columns, partition)),
            Reading::Changes => {
                Feed::Changes(ChangeReader::new(&plan.columns, identity, keeps_rows, places_matter))
            }
            Reading::Merges => {
                let at = StreamPartition::new(plan.stream.id, partition);
                let tells = tells.then_some(plan.stream.name.as_str());
                let reader = MergeReader::new(&plan.columns, at, places_matter, knowledge, tells);
                Feed::Merges(Box::new(reader))
            }
        };
        Ok(Self {
            plan,
            partition,
            keyspace,
            store: store.clone(),
            cache_bytes_max,
            feed,
            groups,
            rows,
            era,
            era_changed: false,
            has_old: era > 0,
            places_matter,
            said_left_out: false,
            conflicts: Vec::new(),
        })
    }

    /// Plain events: each is a row that is added.
    fn apply_events(&mut self, events: &[StoredRef<'_>]) -> Result<(), ApplyError> {
        let Feed::Events(reader) = &mut self.feed else { return Ok(()) };
        if reader.len() > 0 {
            // Left by a call that failed.
            reader.finish();
        }
        for event in events {
            reader.push(event).map_err(|error| rejected(format!("the event is not a row: {error}")))?;
        }
        let columns = reader.finish();
        let places = if self.places_matter { places(events) } else { Vec::new() };
        let numbers = if self.groups.is_none() { (0..events.len() as u32).collect() } else { Vec::new() };
        let input = batch(self.plan.input.clone(), columns.clone(), events.len())
            .map_err(|error| rejected(Error::from(error).to_string()))?;
        let rows = Rows { batch: input, taken_back: None, places, numbers };
        let rows = run(&self.plan.before, rows).map_err(|error| rejected(Error::from(error).to_string()))?;
        match &mut self.groups {
            Some(groups) => take_in(groups, &rows, self.store.as_ref()),
            None => {
                self.keep_events(events, &columns, &rows.numbers);
                Ok(())
            }
        }
    }

    /// Keeps the events that pass, by when and where they were accepted.
    fn keep_events(&mut self, events: &[StoredRef<'_>], columns: &[ArrayRef], passed: &[u32]) {
        let Some(cache) = &mut self.rows else { return };
        let columns: Vec<KeyColumn<'_>> = columns.iter().filter_map(KeyColumn::new).collect();
        let staged = passed
            .iter()
            .filter_map(|number| {
                let event = events.get(*number as usize)?;
                let slots: Vec<_> = columns.iter().map(|column| column.slot(*number as usize)).collect();
                let place = RowPlace::of(event);
                Some((RowKey::event(place), Some(StoredRow::new(1, place, &slots))))
            })
            .collect();
        cache.put_all(staged);
    }

    /// Changes of a captured table.
    fn apply_changes(&mut self, events: &[StoredRef<'_>]) -> Result<(), ApplyError> {
        // What came before the last truncation does not matter any more.
        let truncated = events.iter().rposition(is_truncation);
        let rest = truncated.and_then(|at| events.get(at + 1..)).unwrap_or(events);
        let Feed::Changes(reader) = &mut self.feed else { return Ok(()) };
        let cache = if truncated.is_some() { None } else { self.rows.as_mut() };
        let effect = reader.read(rest, cache, self.store.as_ref())?;
        if let Some(offset) = reader.take_left_out().filter(|_| !self.said_left_out) {
            self.said_left_out = true;
            tracing::warn!(
                stream = %self.plan.stream.name,
                partition = %self.partition,
                %offset,
                "a change leaves out values that are not known: rows are left out until their source tells them as a whole"
            );
        }
        let (rows, staged) = rows_of(&self.plan, effect)?;
        if let Some(groups) = &mut self.groups {
            groups.check(&input_of(&rows)).map_err(state)?;
        }
        // Nothing can be rejected from here on.
        if truncated.is_some() {
            self.start_era();
        }
        if let Some(groups) = &mut self.groups {
            groups.take_in(&input_of(&rows), self.store.as_ref()).map_err(state)?;
        }
        if let Some(cache) = &mut self.rows {
            cache.put_all(staged);
        }
        Ok(())
    }

    /// Changes of rows that are merged.
    fn apply_merges(&mut self, events: &[StoredRef<'_>]) -> Result<(), ApplyError> {
        let (Feed::Merges(reader), Some(cache)) = (&mut self.feed, &mut self.rows) else { return Ok(()) };
        let effect = reader.read(events, cache, self.store.as_ref())?;
        let (rows, staged) = rows_of(&self.plan, effect)?;
        if let Some(groups) = &mut self.groups {
            take_in(groups, &rows, self.store.as_ref())?;
        }
        cache.put_all(staged);
        self.conflicts.extend(reader.accept(cache, self.store.as_ref())?);
        Ok(())
    }

    fn start_era(&mut self) {
        self.era += 1;
        (self.era_changed, self.has_old) = (true, true);
        if let Some(groups) = &mut self.groups {
            groups.start_era(self.era);
        }
        if let Some(rows) = &mut self.rows {
            rows.start_era(self.era);
        }
    }

    /// Removes some of what is left of earlier eras.
    fn remove_old(&mut self, batch: &mut Batch) -> Result<(), tw_state::Error> {
        let snapshot = self.store.snapshot();
        let mut removed = 0;
        for kind in KINDS {
            for entry in snapshot.range(self.keyspace, layout::older(kind, self.partition, self.era)) {
                if removed == OLD_KEYS_MAX {
                    return Ok(());
                }
                batch.remove(self.keyspace, entry?.0);
                removed += 1;
            }
        }
        self.has_old = false;
        Ok(())
    }
}

impl Processor for ViewProcessor {
    fn apply(&mut self, events: &[StoredRef<'_>]) -> Result<(), ApplyError> {
        if events.is_empty() {
            return Ok(());
        }
        match self.feed {
            Feed::Events(_) => self.apply_events(events),
            Feed::Changes(_) => self.apply_changes(events),
            Feed::Merges(_) => self.apply_merges(events),
        }
    }

    fn clears_all(&self, event: &StoredRef<'_>) -> bool {
        matches!(self.feed, Feed::Changes(_)) && is_truncation(event)
    }

    /// Where several regions write, each has the events in an order of its own.
    fn keeps_order(&self) -> bool {
        self.plan.stream.options.mode == StreamMode::Local && !self.plan.stream.merges()
    }

    fn flush(&mut self, batch: &mut Batch) -> Result<(), tw_state::Error> {
        if std::mem::take(&mut self.era_changed) {
            batch.put(self.keyspace, layout::era_key(self.partition).to_vec(), layout::put_era(self.era));
        } else if self.has_old {
            self.remove_old(batch)?;
        }
        let prefix = layout::prefix(layout::Kind::Conflict, self.partition, self.era);
        for (key, told) in self.conflicts.drain(..) {
            batch.put(self.keyspace, layout::key(&prefix, &key), told);
        }
        // The cache is shared out by halves.
        let share = if self.groups.is_some() && self.rows.is_some() {
            self.cache_bytes_max / 2
        } else {
            self.cache_bytes_max
        };
        if let Some(groups) = &mut self.groups {
            groups.flush(batch, self.store.as_ref(), share).map_err(store_error)?;
        }
        if let Some(rows) = &mut self.rows {
            rows.flush(batch, share);
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        let groups = self.groups.as_ref().map_or(0, Aggregator::pending_bytes);
        groups + self.rows.as_ref().map_or(0, RowCache::pending_bytes)
    }
}

/// The rows of a batch of changes, as they come to the grouping, and what is to be kept.
fn rows_of(plan: &ProjectionPlan, effect: Effect) -> Result<(Rows, Staged), ApplyError> {
    let Effect { columns, rows, taken_back, places, staged } = effect;
    let failed = |error| rejected(Error::from(error).to_string());
    let batch = batch(plan.input.clone(), columns, rows).map_err(failed)?;
    let rows = Rows { batch, taken_back: Some(taken_back), places, numbers: Vec::new() };
    Ok((run(&plan.before, rows).map_err(failed)?, staged))
}

fn is_truncation(event: &StoredRef<'_>) -> bool {
    event.event.ty == TRUNCATE
}

fn places(events: &[StoredRef<'_>]) -> Vec<RowPlace> {
    events.iter().map(RowPlace::of).collect()
}

fn input_of(rows: &Rows) -> Input<'_> {
    Input {
        columns: rows.batch.columns(),
        rows: rows.batch.num_rows(),
        taken_back: rows.taken_back.as_deref(),
        places: &rows.places,
    }
}

fn take_in(groups: &mut Aggregator, rows: &Rows, store: &dyn Store) -> Result<(), ApplyError> {
    let input = input_of(rows);
    groups.check(&input).map_err(state)?;
    groups.take_in(&input, store).map_err(state)
}

fn store_error(error: crate::operators::groups::Error) -> tw_state::Error {
    match state(error) {
        ApplyError::State(error) => error,
        ApplyError::Rejected(_) => damaged(crate::state::Malformed("a key is too long")),
    }
}
