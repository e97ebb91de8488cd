//! What `$parked` says, folded into the store: which events were dropped, and which decisions are to be carried out.
//!
//! ```text
//! 0                                     the first event of `$parked` that is not folded
//! 1 view                                where the episodes of the view's events start
//! 2 view stream partition offset        the last thing said of an event, and its episode
//! 3 view stream partition offset        it was dropped: where `$parked` says so
//! 4 view stream partition position      a decision: its kind, and the offset that it is about
//! ```
//!
//! Views are hashed to 16 bytes (XXH3), streams and partitions take 4, offsets and positions 8, all big-endian. If the
//! store is lost, the fold starts anew: decisions are events, so they are taken again.

use crate::parked::event::{Change, Fact, How, ViewRemoved, What};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tw_log::Signal;
use tw_state::{Batch, Keyspace, Range, Result, Store};
use tw_types::{Offset, StoredRef, StreamPartition};
use xxhash_rust::xxh3::xxh3_128;

/// The keyspace of the index.
pub(crate) const KEYSPACE: &str = "parked";

/// How many entries of a removed view are deleted at once.
const CHUNK: usize = 1_000;

const POSITION: u8 = 0;
const BASE: u8 = 1;
const SAID: u8 = 2;
const DROPPED: u8 = 3;
const DECISION: u8 = 4;

/// A view's name, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ViewKey([u8; 16]);

impl ViewKey {
    pub(crate) fn new(name: &str) -> Self {
        Self(xxh3_128(name.as_bytes()).to_be_bytes())
    }
}

/// The last thing said of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) what: What,
    pub(crate) episode: u32,
}

impl Said {
    fn encode(self) -> Bytes {
        let [a, b, c, d] = self.episode.to_be_bytes();
        Bytes::copy_from_slice(&[self.what as u8, a, b, c, d])
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (what, episode) = bytes.split_first()?;
        let what = What::ALL.into_iter().find(|known| *known as u8 == *what)?;
        Some(Self { what, episode: u32::from_be_bytes(episode.try_into().ok()?) })
    }
}

/// A decision of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Retry(Offset),
    Drop(Offset),
    /// It was applied before it was dropped, where the view is read: a drop before this does not count.
    Undrop(Offset),
}

/// The index. See the module's text.
pub(crate) struct Index {
    store: Arc<dyn Store>,
    keyspace: Keyspace,
    folded: AtomicU64,
    /// Removed views whose end is not folded yet: each as often as it has generations.
    ending: Mutex<Vec<ViewKey>>,
    inboxes: Mutex<BTreeMap<(ViewKey, StreamPartition), Arc<Signal>>>,
}

fn key(kind: u8, view: ViewKey, at: StreamPartition, number: u64) -> Bytes {
    let mut key = prefix(kind, view, at);
    key.extend_from_slice(&number.to_be_bytes());
    Bytes::from(key)
}

fn prefix(kind: u8, view: ViewKey, at: StreamPartition) -> Vec<u8> {
    let mut key = view_prefix(kind, view);
    key.extend_from_slice(&at.stream.0.to_be_bytes());
    key.extend_from_slice(&at.partition.0.to_be_bytes());
    key
}

fn view_prefix(kind: u8, view: ViewKey) -> Vec<u8> {
    let mut key = Vec::with_capacity(33);
    key.push(kind);
    key.extend_from_slice(&view.0);
    key
}

fn from(kind: u8, view: ViewKey, at: StreamPartition, number: u64) -> Range {
    let mut range = Range::prefix(&prefix(kind, view, at));
    range.start = Bound::Included(key(kind, view, at, number));
    range
}

fn number_at_end(bytes: &[u8]) -> u64 {
    bytes.last_chunk().copied().map_or(0, u64::from_be_bytes)
}

impl Index {
    pub(crate) fn open(store: Arc<dyn Store>) -> Result<Self> {
        let keyspace = store.keyspace(KEYSPACE)?;
        let folded = store.get(keyspace, &[POSITION])?.map_or(0, |bytes| number_at_end(&bytes));
        Ok(Self {
            store,
            keyspace,
            folded: AtomicU64::new(folded),
            ending: Mutex::default(),
            inboxes: Mutex::default(),
        })
    }

    /// The first event of `$parked` that is not folded yet.
    pub(crate) fn folded(&self) -> Offset {
        Offset(self.folded.load(Ordering::Acquire))
    }

    /// To be called when a generation of a removed view is to be ended.
    pub(crate) fn ends(&self, view: ViewKey) {
        self.ending.lock().push(view);
    }

    /// To be called when that is folded.
    pub(crate) fn has_ended(&self, view: ViewKey) {
        let mut ending = self.ending.lock();
        if let Some(at) = ending.iter().position(|other| *other == view) {
            ending.swap_remove(at);
        }
    }

    /// Whether a removed view of this name is being ended: what is known of its events does not count for a new one.
    pub(crate) fn is_ending(&self, view: ViewKey) -> bool {
        self.ending.lock().contains(&view)
    }

    /// To be called after a failure of [`Index::fold`]: nobody knows whether its commit was carried out.
    pub(crate) fn refresh(&self) -> Result<()> {
        let folded = self.store.get(self.keyspace, &[POSITION])?.map_or(0, |bytes| number_at_end(&bytes));
        self.folded.store(folded, Ordering::Release);
        self.inboxes.lock().values().for_each(|inbox| inbox.raise(folded));
        Ok(())
    }

    /// Rises over the position of every decision about the view's partition.
    pub(crate) fn inbox(&self, view: ViewKey, at: StreamPartition) -> Arc<Signal> {
        // A fold raises its position before it takes this lock, so none falls in between.
        let mut inboxes = self.inboxes.lock();
        inboxes.entry((view, at)).or_insert_with(|| Arc::new(Signal::new(self.folded().0))).clone()
    }

    /// The last thing said of an event.
    pub(crate) fn said(&self, view: ViewKey, at: StreamPartition, offset: Offset) -> Result<Option<Said>> {
        let bytes = self.store.get(self.keyspace, &key(SAID, view, at, offset.0))?;
        Ok(bytes.and_then(|bytes| Said::decode(&bytes)))
    }

    /// The episode that an event is in that is parked now and of which `said` was said last: the one that was told and not
    /// ended, otherwise the next.
    pub(crate) fn episode(&self, view: ViewKey, said: Option<Said>) -> Result<u32> {
        Ok(match said {
            Some(Said { what: What::Parked, episode }) => episode,
            Some(said) => said.episode + 1,
            None => self.base(view)?,
        })
    }

    /// The first event from `start` on of which `$parked` says before its offset `until` that it was dropped.
    pub(crate) fn next_drop(
        &self,
        view: ViewKey,
        at: StreamPartition,
        start: Offset,
        until: u64,
    ) -> Result<Option<Offset>> {
        let snapshot = self.store.snapshot();
        for entry in snapshot.range(self.keyspace, from(DROPPED, view, at, start.0)) {
            let (key, position) = entry?;
            if number_at_end(&position) < until {
                return Ok(Some(Offset(number_at_end(&key))));
            }
        }
        Ok(None)
    }

    /// Where `$parked` says that an event was dropped, if it was.
    pub(crate) fn dropped_at(
        &self,
        view: ViewKey,
        at: StreamPartition,
        offset: Offset,
    ) -> Result<Option<u64>> {
        let position = self.store.get(self.keyspace, &key(DROPPED, view, at, offset.0))?;
        Ok(position.map(|position| number_at_end(&position)))
    }

    /// The first decisions that were said at `position` of `$parked` or later, and their positions.
    pub(crate) fn decisions(
        &self,
        view: ViewKey,
        at: StreamPartition,
        position: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Decision)>> {
        let snapshot = self.store.snapshot();
        let entries = snapshot.range(self.keyspace, from(DECISION, view, at, position));
        entries
            .take(limit)
            .map(|entry| {
                let (key, value) = entry?;
                let offset = Offset(number_at_end(&value));
                let what = What::ALL.into_iter().find(|what| value.first() == Some(&(*what as u8)));
                let decision = match what {
                    Some(What::Dropped) => Decision::Drop(offset),
                    Some(What::Released) => Decision::Undrop(offset),
                    _ => Decision::Retry(offset),
                };
                Ok((number_at_end(&key), decision))
            })
            .collect()
    }

    /// Whether anything was ever said about the view.
    pub(crate) fn knows(&self, view: ViewKey) -> Result<bool> {
        let snapshot = self.store.snapshot();
        let said =
            snapshot.range(self.keyspace, Range::prefix(&view_prefix(SAID, view))).next().transpose()?;
        Ok(said.is_some())
    }

    /// Where the episodes of a view's events start: over every episode of an earlier view of that name.
    pub(crate) fn base(&self, view: ViewKey) -> Result<u32> {
        let base = self.store.get(self.keyspace, &view_prefix(BASE, view))?;
        Ok(base.map_or(0, |bytes| number_at_end(&bytes)) as u32)
    }

    /// Folds events of `$parked`, which follow on what was folded.
    pub(crate) fn fold(&self, events: &[StoredRef<'_>]) -> Result<()> {
        let mut fold = Fold {
            index: self,
            batch: Batch::new(),
            said: BTreeMap::new(),
            markers: BTreeMap::new(),
            inboxes: BTreeSet::new(),
        };
        let mut next = self.folded();
        for event in events {
            match Change::read(event.event.ty, event.event.data.bytes()) {
                Some(Change::Event(what, fact)) => fold.event(what, &fact, event.offset)?,
                Some(Change::ViewRemoved(removed)) => {
                    fold.commit(next)?;
                    self.forget(&removed)?;
                }
                None => tracing::warn!(offset = event.offset.0, "an event of `$parked` is not understood"),
            }
            next = event.offset.next();
        }
        fold.commit(next)
    }

    /// Removes everything about a view. Can be cut off anywhere and done again.
    fn forget(&self, removed: &ViewRemoved) -> Result<()> {
        let view = ViewKey::new(&removed.view);
        let mut base = u64::from(self.base(view)?);
        {
            let snapshot = self.store.snapshot();
            for entry in snapshot.range(self.keyspace, Range::prefix(&view_prefix(SAID, view))) {
                let said = Said::decode(&entry?.1);
                base = base.max(said.map_or(0, |said| u64::from(said.episode) + 1));
            }
        }
        let mut batch = Batch::new();
        batch.put(self.keyspace, view_prefix(BASE, view), base.to_be_bytes().to_vec());
        self.store.commit(batch)?;
        for kind in [SAID, DROPPED, DECISION] {
            loop {
                let mut batch = Batch::new();
                let snapshot = self.store.snapshot();
                for entry in
                    snapshot.range(self.keyspace, Range::prefix(&view_prefix(kind, view))).take(CHUNK)
                {
                    batch.remove(self.keyspace, entry?.0);
                }
                if batch.is_empty() {
                    break;
                }
                self.store.commit(batch)?;
            }
        }
        Ok(())
    }
}

/// A fold under way: what is not committed yet.
struct Fold<'a> {
    index: &'a Index,
    batch: Batch,
    said: BTreeMap<Bytes, Said>,
    /// Whether events are marked as dropped.
    markers: BTreeMap<Bytes, bool>,
    inboxes: BTreeSet<(ViewKey, StreamPartition)>,
}

impl Fold<'_> {
    fn event(&mut self, what: What, fact: &Fact, position: Offset) -> Result<()> {
        let (view, at) = (ViewKey::new(&fact.view), fact.at());
        let place = key(SAID, view, at, fact.offset.0);
        let known = match self.said.get(&place) {
            Some(said) => Some(*said),
            None => self.index.said(view, at, fact.offset)?,
        };
        let new = Said { what, episode: fact.episode };
        let follows = match known {
            None => true,
            Some(old) if old.episode == new.episode => follows(old.what, what, fact.how),
            Some(old) => old.episode < new.episode,
        };
        let is_dropped = self.is_dropped(key(DROPPED, view, at, fact.offset.0))?;
        // It was not dropped after all, whatever another pipeline has told since; however else an episode ends, a drop is for good.
        let is_undropped = is_dropped && what == What::Released && fact.how == Some(How::Applied);
        if follows {
            self.batch.put(self.index.keyspace, place.clone(), new.encode());
            self.said.insert(place, new);
        }
        if is_undropped || follows && matches!(what, What::Retried | What::Dropped) {
            let mut value = vec![what as u8];
            value.extend_from_slice(&fact.offset.0.to_be_bytes());
            self.batch.put(self.index.keyspace, key(DECISION, view, at, position.0), value);
            self.inboxes.insert((view, at));
        }
        // Where a drop was said first counts: whoever has decided as much passes over the event.
        if is_undropped || follows && what == What::Dropped && !is_dropped {
            self.mark(key(DROPPED, view, at, fact.offset.0), (!is_undropped).then_some(position));
        }
        Ok(())
    }

    fn is_dropped(&self, marker: Bytes) -> Result<bool> {
        match self.markers.get(&marker) {
            Some(is_dropped) => Ok(*is_dropped),
            None => Ok(self.index.store.get(self.index.keyspace, &marker)?.is_some()),
        }
    }

    /// Marks an event as dropped, where that was said, or takes the mark away.
    fn mark(&mut self, marker: Bytes, dropped: Option<Offset>) {
        let keyspace = self.index.keyspace;
        match dropped {
            Some(position) => self.batch.put(keyspace, marker.clone(), position.0.to_be_bytes().to_vec()),
            None => self.batch.remove(keyspace, marker.clone()),
        }
        self.markers.insert(marker, dropped.is_some());
    }

    fn commit(&mut self, next: Offset) -> Result<()> {
        self.batch.put(self.index.keyspace, vec![POSITION], next.0.to_be_bytes().to_vec());
        self.index.store.commit(std::mem::take(&mut self.batch))?;
        self.said.clear();
        self.markers.clear();
        self.index.folded.store(next.0, Ordering::Release);
        let inboxes = self.index.inboxes.lock();
        for touched in std::mem::take(&mut self.inboxes) {
            if let Some(inbox) = inboxes.get(&touched) {
                inbox.raise(next.0);
            }
        }
        Ok(())
    }
}

/// Whether `new` can be said of an event in the same episode after `old`. A release ends the episode; a drop does so too,
/// unless it came too late: the event had been applied already, and that is what counts.
fn follows(old: What, new: What, how: Option<How>) -> bool {
    match old {
        What::Parked => new != What::Parked,
        What::Retried => matches!(new, What::Dropped | What::Released),
        What::Dropped => new == What::Released && how == Some(How::Applied),
        What::Released => false,
    }
}
