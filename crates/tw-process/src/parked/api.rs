//! What people can see of parked events, and decide about them.
//!
//! What is listed is the state of the views themselves; what is decided is an event of `$parked`, and so takes effect
//! also on a state that is rebuilt later.

use crate::keys::{self, Kind};
use crate::parked::event::{Fact, ParkedId, What};
use crate::parked::index::{Said, ViewKey};
use crate::record::{Note, Told, decode_lane};
use crate::views::Views;
use crate::{Error, parked::Desk};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tw_order::gate::{LaneKey, Phase};
use tw_state::{Keyspace, Snapshot};
use tw_types::{Event, Offset, PartitionId, Stored, StreamId, StreamName, StreamPartition};
use tw_wire::Block;

/// Parked events looked at for one page at most.
const SCAN_MAX: usize = 10_000;
/// Events written at once.
const CHUNK: usize = 256;
/// Waiting events that are shown.
const WAITING_MAX: usize = 100;

/// Which parked events; what is None does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParkedFilter {
    /// The view that could not process them.
    pub view: Option<String>,
    /// The stream that they are in.
    pub stream: Option<StreamName>,
    /// What their type starts with.
    pub event_type: Option<String>,
    /// Their subject.
    pub subject: Option<String>,
    /// A text that the reason contains.
    pub why: Option<String>,
}

/// An event that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParkedEvent {
    /// Where it is.
    pub id: ParkedId,
    /// Its type; empty when it was removed from the log.
    pub event_type: String,
    /// Its subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its id.
    pub event_id: String,
    /// Why it could not be processed.
    pub why: String,
    /// How often that was tried.
    pub attempts: u32,
    /// Whether it is being tried again just now.
    pub retrying: bool,
    /// Whether only a generation that is still being built is concerned.
    pub building: bool,
}

/// A page of parked events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParkedPage {
    /// The events in the order of their ids.
    pub events: Vec<ParkedEvent>,
    /// Where the next page starts: after this one. None when there is no more. A page can be empty and yet have a next
    /// one, because only so many events are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<ParkedId>,
}

/// Everything about a parked event.
#[derive(Debug, Clone)]
pub struct ParkedDetail {
    /// What is listed.
    pub parked: ParkedEvent,
    /// The event itself; None when it was removed from the log.
    pub event: Option<Stored>,
    /// Offsets of the events that wait behind it: the first 100.
    pub waiting: Vec<Offset>,
    /// Whether there are more.
    pub waiting_more: bool,
}

/// A view as far as its parked events are concerned.
pub(crate) struct Source {
    pub(crate) view: String,
    pub(crate) stream: StreamName,
    pub(crate) stream_id: StreamId,
    /// Those that are assigned to this node.
    pub(crate) partitions: BTreeSet<PartitionId>,
    /// How many the stream has.
    pub(crate) partitions_all: u32,
    /// The generation that is read.
    pub(crate) active: Keyspace,
    /// The one that is to take over.
    pub(crate) building: Option<Keyspace>,
}

/// Where an event is parked.
struct Place {
    id: ParkedId,
    at: StreamPartition,
    keyspace: Keyspace,
    building: bool,
    told: Told,
}

/// Parked events of all views of a node. Cheap to clone.
#[derive(Clone)]
pub struct Parked {
    views: Arc<Views>,
}

impl Parked {
    pub(crate) fn new(views: Arc<Views>) -> Self {
        Self { views }
    }

    fn desk(&self) -> &Desk {
        &self.views.desk
    }

    /// Up to `limit` parked events that fit `filter`, after `after` in the order of their ids.
    ///
    /// # Errors
    /// The store's.
    pub fn ls(
        &self,
        filter: &ParkedFilter,
        after: Option<&ParkedId>,
        limit: usize,
    ) -> Result<ParkedPage, Error> {
        let snapshot = self.views.snapshot();
        let mut page = ParkedPage { events: Vec::new(), next: None };
        let mut seen = 0;
        for source in self.sources(filter, after) {
            for partition in source.partitions_from(after) {
                let from = source.offset_from(partition, after);
                for place in source.places(snapshot.as_ref(), partition, from, SCAN_MAX - seen)? {
                    if page.events.len() >= limit || seen >= SCAN_MAX {
                        return Ok(page);
                    }
                    seen += 1;
                    page.next = Some(place.id.clone());
                    let parked = look(snapshot.as_ref(), &place)?;
                    if parked.fits(filter) {
                        page.events.push(parked);
                    }
                }
                if seen >= SCAN_MAX {
                    return Ok(page);
                }
            }
        }
        page.next = None;
        Ok(page)
    }

    /// Everything about one parked event.
    ///
    /// # Errors
    /// [`Error::NotParked`], and those of the store and the log.
    pub async fn show(&self, id: &ParkedId) -> Result<ParkedDetail, Error> {
        let (parked, mut waiting, at) = {
            let snapshot = self.views.snapshot();
            let place = self.find(snapshot.as_ref(), id)?;
            let parked = look(snapshot.as_ref(), &place)?;
            let range = keys::queue_from(id.partition, place.told.key, id.offset.next());
            let mut waiting = Vec::new();
            for entry in snapshot.range(place.keyspace, range).take(WAITING_MAX + 1) {
                waiting.extend(keys::last_number(&entry?.0).map(Offset));
            }
            (parked, waiting, place.at)
        };
        let waiting_more = waiting.len() > WAITING_MAX;
        waiting.truncate(WAITING_MAX);
        let blocks = match self.views.log().read(at, id.offset, 1).await {
            Err(tw_log::Error::Trimmed { .. }) => Vec::new(),
            blocks => blocks?,
        };
        let event = blocks.iter().map(|block| event_at(block, id)).find_map(Result::transpose).transpose()?;
        Ok(ParkedDetail { parked, event, waiting, waiting_more })
    }

    /// Decides that an event is tried again, once. The decision is durable when this returns; it is carried out soon after.
    ///
    /// # Errors
    /// [`Error::NotParked`], and those of the store and the log.
    pub async fn retry(&self, id: &ParkedId) -> Result<(), Error> {
        self.decide(std::slice::from_ref(id), What::Retried).await
    }

    /// Decides that an event is skipped for good, also when the view is rebuilt. The decision is durable when this returns;
    /// it is carried out soon after.
    ///
    /// # Errors
    /// [`Error::NotParked`], and those of the store and the log.
    pub async fn drop_event(&self, id: &ParkedId) -> Result<(), Error> {
        self.decide(std::slice::from_ref(id), What::Dropped).await
    }

    /// Decides that all events that fit are tried again; says how many there are.
    ///
    /// # Errors
    /// Those of the store and the log; then some may have been decided about.
    pub async fn retry_all(&self, filter: &ParkedFilter) -> Result<u64, Error> {
        self.decide_all(filter, What::Retried).await
    }

    /// Decides that all events that fit are skipped for good; says how many there are.
    ///
    /// # Errors
    /// Those of the store and the log; then some may have been decided about.
    pub async fn drop_all(&self, filter: &ParkedFilter) -> Result<u64, Error> {
        self.decide_all(filter, What::Dropped).await
    }

    /// Why nothing can be written to `$parked` at the moment, if so.
    pub fn failure(&self) -> Option<String> {
        self.desk().failure()
    }

    async fn decide_all(&self, filter: &ParkedFilter, what: What) -> Result<u64, Error> {
        let mut count = 0;
        let mut after = None;
        loop {
            let page = self.ls(filter, after.as_ref(), CHUNK)?;
            let ids: Vec<_> = page.events.into_iter().map(|event| event.id).collect();
            count += ids.len() as u64;
            match self.decide(&ids, what).await {
                // Some were decided about, or released, in between.
                Err(Error::NotParked(_)) => {
                    for id in &ids {
                        match self.decide(std::slice::from_ref(id), what).await {
                            Err(Error::NotParked(_)) => count -= 1,
                            outcome => outcome?,
                        }
                    }
                }
                outcome => outcome?,
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }

    async fn decide(&self, ids: &[ParkedId], what: What) -> Result<(), Error> {
        let mut events = Vec::new();
        // Before the snapshot: what is released in between is then not parked. The other way round it would seem to be parked
        // once more, and a drop would be said of an event that was applied.
        let said = ids.iter().map(|id| self.said(id)).collect::<Result<Vec<_>, _>>()?;
        {
            let snapshot = self.views.snapshot();
            for (id, said) in ids.iter().zip(said) {
                let place = self.find(snapshot.as_ref(), id)?;
                self.decision(snapshot.as_ref(), &place, said, what, &mut events)?;
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        Ok(self.desk().writer.append(events).await?)
    }

    /// The last thing said of an event.
    fn said(&self, id: &ParkedId) -> Result<Option<Said>, Error> {
        let at = StreamPartition::new(self.source(id)?.stream_id, id.partition);
        Ok(self.desk().index.said(ViewKey::new(&id.view), at, id.offset)?)
    }

    /// The events that say what was decided about a parked event of which `said` was said last.
    fn decision(
        &self,
        snapshot: &dyn Snapshot,
        place: &Place,
        said: Option<Said>,
        what: What,
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        let id = &place.id;
        let now_ms = self.views.now_ms();
        let mut episode = place.told.episode;
        match said {
            Some(Said { what: What::Retried, episode: said }) if what == What::Retried && said >= episode => {
                return Ok(());
            }
            Some(Said { what: What::Parked | What::Retried, episode: said }) if said >= episode => {
                episode = said;
            }
            // That is for good, and about to be carried out.
            Some(Said { what: What::Dropped, episode: said }) if said >= episode => {
                return if what == What::Dropped { Ok(()) } else { Err(Error::NotParked(id.clone())) };
            }
            // That it is parked has not been written yet.
            other => {
                episode = episode.max(other.map_or(0, |said| said.episode + 1));
                let parked = look(snapshot, place)?;
                let fact = Fact {
                    attempts: Some(parked.attempts),
                    why: Some(parked.why),
                    event_type: Some(parked.event_type).filter(|ty| !ty.is_empty()),
                    event_subject: parked.subject,
                    event_id: Some(parked.event_id).filter(|id| !id.is_empty()),
                    ..Fact::new(&id.view, &id.stream, place.at, id.offset, episode)
                };
                events.push(fact.to_event(What::Parked, now_ms));
            }
        }
        let fact = Fact::new(&id.view, &id.stream, place.at, id.offset, episode);
        events.push(fact.to_event(what, now_ms));
        Ok(())
    }

    fn sources(&self, filter: &ParkedFilter, after: Option<&ParkedId>) -> Vec<Source> {
        let fits = |source: &Source| {
            filter.view.as_ref().is_none_or(|view| *view == source.view)
                && filter.stream.as_ref().is_none_or(|stream| *stream == source.stream)
                && after.is_none_or(|after| after.view <= source.view)
        };
        self.views.sources().into_iter().filter(fits).collect()
    }

    /// Where an event is processed, if that is here.
    fn source(&self, id: &ParkedId) -> Result<Source, Error> {
        let mut sources = self.views.sources().into_iter();
        let source = sources.find(|source| source.view == id.view && source.stream == id.stream);
        let source = source.ok_or_else(|| Error::NotParked(id.clone()))?;
        if id.partition.0 < source.partitions_all && !source.partitions.contains(&id.partition) {
            let at = StreamPartition::new(source.stream_id, id.partition);
            return Err(Error::NotAssigned { view: id.view.clone(), at });
        }
        Ok(source)
    }

    fn find(&self, snapshot: &dyn Snapshot, id: &ParkedId) -> Result<Place, Error> {
        let places = self.source(id)?.places(snapshot, id.partition, id.offset.0, 1)?;
        places.into_iter().find(|place| place.id == *id).ok_or_else(|| Error::NotParked(id.clone()))
    }
}

impl Source {
    fn partitions_from(&self, after: Option<&ParkedId>) -> impl Iterator<Item = PartitionId> {
        let first = after.filter(|after| after.view == self.view).map_or(0, |after| after.partition.0);
        self.partitions.range(PartitionId(first)..).copied()
    }

    fn offset_from(&self, partition: PartitionId, after: Option<&ParkedId>) -> u64 {
        let same = after.filter(|after| after.view == self.view && after.partition == partition);
        same.map_or(0, |after| after.offset.0.saturating_add(1))
    }

    /// The first parked events of a partition from the offset `from` on, of all generations.
    fn places(
        &self,
        snapshot: &dyn Snapshot,
        partition: PartitionId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Place>, Error> {
        let at = StreamPartition::new(self.stream_id, partition);
        let mut places = BTreeMap::new();
        let building = self.building.map(|keyspace| (keyspace, true));
        for (keyspace, building) in [(self.active, false)].into_iter().chain(building) {
            let range = keys::numbers_from(Kind::Told, at.partition, from);
            for entry in snapshot.range(keyspace, range).take(limit) {
                let (key, value) = match entry {
                    Err(tw_state::Error::NoKeyspace) => break,
                    entry => entry?,
                };
                let Some((offset, told)) = keys::last_number(&key).zip(Told::decode(&value)) else {
                    continue;
                };
                let (view, stream) = (self.view.clone(), self.stream.clone());
                let id = ParkedId { view, stream, partition: at.partition, offset: Offset(offset) };
                places.entry(offset).or_insert(Place { id, at, keyspace, building, told });
            }
        }
        Ok(places.into_values().take(limit).collect())
    }
}

/// The event of this id, if the block holds it.
fn event_at(block: &Block, id: &ParkedId) -> Result<Option<Stored>, Error> {
    let records = block.records()?;
    let mut iter = records.iter()?;
    iter.skip_before(id.offset)?;
    for stored in iter {
        let stored = stored?;
        if stored.offset >= id.offset {
            return Ok((stored.offset == id.offset).then(|| stored.to_owned(id.partition)));
        }
    }
    Ok(None)
}

fn look(snapshot: &dyn Snapshot, place: &Place) -> Result<ParkedEvent, Error> {
    let partition = place.at.partition;
    let lane = |kind, key: LaneKey| snapshot.get(place.keyspace, &keys::lane(kind, partition, key));
    let note = lane(Kind::Note, place.told.key)?.and_then(|bytes| Note::decode(&bytes));
    let note = note.filter(|note| note.offset == place.id.offset.0).unwrap_or_default();
    let parked = lane(Kind::Parked, place.told.key)?;
    let stored = match parked {
        Some(bytes) => Some(bytes),
        None => lane(Kind::Retrying, place.told.key)?,
    };
    let lane = stored.and_then(|bytes| decode_lane(&bytes));
    Ok(ParkedEvent {
        id: place.id.clone(),
        event_type: note.ty,
        subject: note.subject,
        event_id: note.id,
        why: note.why,
        attempts: lane.map_or(0, |lane| lane.attempts),
        retrying: lane.is_some_and(|lane| lane.phase != Phase::Parked),
        building: place.building,
    })
}

impl ParkedEvent {
    fn fits(&self, filter: &ParkedFilter) -> bool {
        filter.event_type.as_ref().is_none_or(|ty| self.event_type.starts_with(ty.as_str()))
            && filter.subject.as_ref().is_none_or(|subject| self.subject.as_ref() == Some(subject))
            && filter.why.as_ref().is_none_or(|why| self.why.contains(why.as_str()))
    }
}
