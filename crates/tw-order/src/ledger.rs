//! The ledger of a partition: which version each subject has, as far as it is in memory.
//!
//! ```text
//!            decide (check + accept)        acknowledged            flushed
//! proposals ────────────────────────▶ in flight ─────────▶ confirmed ──────▶ index in the state store
//!                                        │ failed
//!                                        ▼
//!                                     truncate
//! ```
//!
//! It holds the events that are not in the stored index yet: those under way to the log, and those that the log has
//! acknowledged. It learns the rest (a subject's head, the ids of its latest events) when a decision needs it: the
//! decision is then an [`Obstacle`] that says what to load, to read or to wait for, and is asked for again. Offsets are
//! those that the log will give if nothing goes wrong; when something does, everything from the first failed offset on
//! is taken back.
//!
//! What it has learned of a subject's ids it keeps as an [`IdWindow`] when it is flushed, until memory for that is short.

mod decide;
mod entry;
mod sealed;
mod search;
mod windows;

#[cfg(test)]
mod tests;

pub use decide::{Accepted, Duplicate, Fact, Load, Obstacle, Plan, Proposed, Request, Stop, Suspect};
pub use sealed::{Sealed, SealedEntry};

use crate::{IdHash, IdWindow, PackedRun, Posting, SubjectHash};
use entry::Entry;
use hashbrown::HashTable;
use tw_types::{Offset, Version};
use windows::{NO_WINDOW, Windows};

/// Ids are compared with those of this many latest versions of their subject.
pub const DEDUP_VERSIONS: u64 = 1_024;

/// The versions of a partition's subjects. See the module's text.
#[derive(Debug)]
pub struct Ledger {
    table: Table,
    /// Of subjects whose latest [`DEDUP_VERSIONS`] events are not all in their entries. A window has all of them, and its
    /// head is the subject's.
    windows: Windows,
    /// Where the next event goes.
    end: Offset,
    /// How many events it holds that the stored index does not.
    fresh: u64,
    /// About how much memory runs and tails take.
    heap_bytes: usize,
}

/// Entries by subject.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: HashTable<u32>,
    pub(crate) entries: Vec<Entry>,
}

impl Table {
    pub(crate) fn find(&self, subject: SubjectHash) -> Option<u32> {
        let same =
            |slot: &u32| self.entries.get(*slot as usize).is_some_and(|entry| entry.subject == subject);
        self.slots.find(subject.short(), same).copied()
    }

    pub(crate) fn get(&self, subject: SubjectHash) -> Option<&Entry> {
        self.find(subject).and_then(|slot| self.entries.get(slot as usize))
    }

    fn get_mut(&mut self, subject: SubjectHash) -> Option<&mut Entry> {
        self.find(subject).and_then(|slot| self.entries.get_mut(slot as usize))
    }

    /// Adds an entry whose subject has none yet.
    fn insert(&mut self, entry: Entry) -> &mut Entry {
        let slot = self.entries.len();
        let short = entry.subject.short();
        self.entries.push(entry);
        let entries = &self.entries;
        self.slots.insert_unique(short, slot as u32, |slot| {
            entries.get(*slot as usize).map_or(0, |entry| entry.subject.short())
        });
        &mut self.entries[slot]
    }

    /// Keeps the entries for which `keep` holds.
    fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(keep);
        self.slots.clear();
        for entry in entries {
            self.insert(entry);
        }
    }

    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.slots.capacity() * 5
    }
}

/// What is known of a subject from elsewhere: the stored index, or a ledger that is being flushed.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Its latest version; [`Version::NONE`] when it has no events.
    pub head: Version,
    /// Its stored tail; None when it has none, or when only a flush will read it.
    pub tail: Option<PackedRun>,
    /// Whether a flush has to read its tail.
    pub unread: bool,
    /// The ids of its latest events; None when those of the tail are all there are, or when they were not asked for.
    pub window: Option<IdWindow>,
    /// Whether the window, or the tail if there is none, has all of its latest [`DEDUP_VERSIONS`] events that exist.
    pub complete: bool,
}

impl Ledger {
    /// An empty ledger of a partition whose next event goes to `end`.
    pub fn new(end: Offset) -> Self {
        Self { table: Table::default(), windows: Windows::default(), end, fresh: 0, heap_bytes: 0 }
    }

    /// The offset that the next accepted event gets.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// How many events it holds that are not in the stored index.
    pub fn fresh(&self) -> u64 {
        self.fresh
    }

    /// About how much memory it takes besides its windows, in bytes.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.heap_bytes
    }

    /// About how much memory its windows take, in bytes.
    pub fn window_bytes(&self) -> usize {
        self.windows.bytes()
    }

    /// Of each window: when it was used last, and how much memory is free when it goes, in bytes.
    pub fn window_uses(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.windows.uses().map(|(used, bytes, _)| (used, bytes))
    }

    /// Forgets windows that were last used before `before`, the least recently used first, until `bytes` are free; says how
    /// many bytes that gave. What is needed again has to be loaded again.
    pub fn evict_windows(&mut self, bytes: usize, before: u64) -> usize {
        let all = self.window_bytes();
        loop {
            let freed = all.saturating_sub(self.window_bytes());
            let gone = if freed < bytes { self.windows.evict(bytes - freed, before) } else { Vec::new() };
            if gone.is_empty() {
                return freed;
            }
            self.lose_windows(&gone);
        }
    }

    fn lose_windows(&mut self, gone: &[SubjectHash]) {
        for subject in gone {
            if let Some(entry) = self.table.get_mut(*subject) {
                (entry.window, entry.complete) = (NO_WINDOW, false);
            }
        }
        if self.windows.shrink() {
            for entry in &mut self.table.entries {
                entry.window = self.windows.find(entry.subject).unwrap_or(NO_WINDOW);
            }
        }
    }

    /// Brings those of the wanted subjects back of which a window is left. Says whether there were any: then the decision
    /// is to be asked for again before anything is loaded.
    pub fn recall(&mut self, wanted: &[Load]) -> bool {
        let known = self.table.entries.len();
        for load in wanted {
            self.slot(load.subject);
        }
        self.table.entries.len() > known
    }

    /// The slot of a subject that is here, or of which a window is left: its head is known then.
    fn slot(&mut self, subject: SubjectHash) -> Option<u32> {
        if let Some(slot) = self.table.find(subject) {
            return Some(slot);
        }
        let place = self.windows.find(subject)?;
        let head = self.windows.get(place)?.head();
        self.table.insert(Entry::loaded(subject, head, None, true, true)).window = place;
        self.table.find(subject)
    }

    /// Learns of a subject. One that is known already keeps its events, and gets what it lacked: when several writers need a
    /// subject, each may look it up, and all but the first bring nothing new.
    pub fn load(&mut self, subject: SubjectHash, loaded: &Loaded) {
        let Loaded { head, tail, unread, window, complete } = loaded;
        let tail_bytes = tail.as_ref().map_or(0, |tail| tail.as_bytes().len() + 16);
        let Some(slot) = self.slot(subject) else {
            self.heap_bytes += tail_bytes;
            let entry = self.table.insert(Entry::loaded(subject, *head, tail.clone(), *unread, *complete));
            if let Some(window) = window.as_ref().filter(|_| *complete) {
                entry.window = self.windows.insert(subject, window.clone());
            }
            return;
        };
        let entry = &mut self.table.entries[slot as usize];
        if entry.unread && !unread {
            (entry.tail, entry.unread) = (tail.clone(), false);
            self.heap_bytes += tail_bytes;
        }
        if *complete && !entry.complete {
            entry.complete = true;
            if let Some(mut window) = window.clone() {
                entry.postings().for_each(|posting| window.push(posting));
                entry.window = self.windows.insert(subject, window);
            }
        }
    }

    /// Learns of an event that is in the log, at its end or after it. `version` is None when the log does not say
    /// it: it is then the next one.
    ///
    /// Returns false, and has changed nothing, when it must be told of the subject first.
    #[must_use]
    pub fn replay(
        &mut self,
        subject: Option<SubjectHash>,
        version: Option<Version>,
        offset: Offset,
        id: IdHash,
    ) -> bool {
        if let Some(subject) = subject {
            let entry = match (self.slot(subject), version) {
                (Some(slot), _) => &mut self.table.entries[slot as usize],
                (None, Some(_)) => self.table.insert(Entry::unread(subject)),
                (None, None) => return false,
            };
            // What the stored index has already is not new: a flush that was cut off stores more than it says.
            let stored = entry.tail.as_ref().is_some_and(|tail| tail.last_offset() >= offset);
            let version = version.unwrap_or(entry.head.next());
            if version > entry.head && !stored {
                let posting = Posting { version, offset, id };
                self.heap_bytes += entry.push(posting);
                self.windows.push(entry.window, posting);
                self.fresh += 1;
            }
        }
        self.end = self.end.max(offset.next());
        true
    }

    /// Moves the end to `end`, over offsets that hold no event.
    pub fn skip_to(&mut self, end: Offset) {
        self.end = self.end.max(end);
    }

    /// Takes back every event at `from` and after it: they did not get there.
    pub fn truncate(&mut self, from: Offset) {
        for entry in &mut self.table.entries {
            self.fresh -= entry.truncate(from);
        }
        let gone = self.windows.truncate(from);
        self.lose_windows(&gone);
        // What was learned from a sealed ledger may have been taken back there, so it is learned again.
        self.table.retain(|entry| entry.last_offset().is_some());
        self.end = self.end.min(from);
    }

    /// The latest version of a subject among the events before `before`, of which those in `sealed` come first; None
    /// when only the stored index knows.
    pub fn head(&self, sealed: Option<&Sealed>, subject: SubjectHash, before: Offset) -> Option<Version> {
        let fresh = self.table.get(subject);
        let sealed = sealed.and_then(|sealed| sealed.table.get(subject));
        fresh
            .and_then(|entry| entry.fresh_head(before))
            .or_else(|| sealed.and_then(|entry| entry.fresh_head(before)))
            .or_else(|| sealed.or(fresh).map(Entry::base))
    }

    /// The subject's events before `before` that neither the stored index nor `sealed` has, in order.
    pub fn postings(&self, subject: SubjectHash, before: Offset) -> impl Iterator<Item = Posting> + '_ {
        let postings = self.table.get(subject).into_iter().flat_map(Entry::postings);
        postings.take_while(move |posting| posting.offset < before)
    }

    /// Takes everything out but the windows, for a flush; what comes next is held anew.
    pub fn seal(&mut self) -> Sealed {
        self.fresh = 0;
        let heap_bytes = std::mem::take(&mut self.heap_bytes);
        Sealed::new(std::mem::take(&mut self.table), heap_bytes, self.end)
    }
}
