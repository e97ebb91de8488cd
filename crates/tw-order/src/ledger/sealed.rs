//! A ledger on its way into the stored index.

use super::{Entry, Loaded, Table};
use crate::{IdWindow, PackedRun, Posting, SubjectHash};
use tw_types::{Offset, Version};

/// What was in a ledger when it was sealed. It still answers until the stored index has everything.
#[derive(Debug)]
pub struct Sealed {
    pub(super) table: Table,
    /// About how much memory runs and tails take.
    heap_bytes: usize,
    end: Offset,
}

/// One subject of a [`Sealed`] ledger.
#[derive(Debug)]
pub struct SealedEntry<'a>(&'a Entry);

impl Sealed {
    pub(super) fn new(table: Table, heap_bytes: usize, end: Offset) -> Self {
        Self { table, heap_bytes, end }
    }

    /// The end of the partition when it was sealed: the stored index covers everything before once it is flushed.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.heap_bytes
    }

    /// The subjects that have events which the stored index lacks, in the order of their hashes.
    pub fn sorted(&self) -> Vec<u32> {
        let fresh = self.table.entries.iter().enumerate().filter(|(_, entry)| entry.last_offset().is_some());
        let mut order: Vec<(u64, u32)> =
            fresh.map(|(slot, entry)| ((entry.subject.as_u128() >> 64) as u64, slot as u32)).collect();
        order.sort_unstable_by(|(a, slot_a), (b, slot_b)| {
            let subject = |slot: &u32| self.table.entries.get(*slot as usize).map(|entry| entry.subject);
            a.cmp(b).then_with(|| subject(slot_a).cmp(&subject(slot_b)))
        });
        order.into_iter().map(|(_, slot)| slot).collect()
    }

    /// The subject at a place of [`Sealed::sorted`].
    pub fn entry(&self, slot: u32) -> Option<SealedEntry<'_>> {
        self.table.entries.get(slot as usize).map(SealedEntry)
    }

    /// Takes back every event at `from` and after it: they did not get there.
    pub fn truncate(&mut self, from: Offset) {
        for entry in &mut self.table.entries {
            entry.truncate(from);
        }
        self.end = self.end.min(from);
    }

    /// As [`Ledger::postings`](super::Ledger::postings).
    pub fn postings(&self, subject: SubjectHash, before: Offset) -> impl Iterator<Item = Posting> + '_ {
        let postings = self.table.get(subject).into_iter().flat_map(Entry::postings);
        postings.take_while(move |posting| posting.offset < before)
    }

    /// What a new ledger has to know of a subject; None when it is not here.
    pub fn loaded(&self, subject: SubjectHash) -> Option<Loaded> {
        let entry = self.table.get(subject)?;
        let mut window = IdWindow::default();
        let tail = entry.tail.iter().flat_map(PackedRun::iter);
        tail.chain(entry.postings()).for_each(|posting| window.push(posting));
        Some(Loaded {
            head: entry.head,
            tail: None,
            unread: true,
            complete: entry.complete && window.is_complete() && window.head() == entry.head,
            window: (entry.head > Version::NONE).then_some(window),
        })
    }

    /// Whether it has events of a subject that the stored index lacks.
    pub fn has_events(&self, subject: SubjectHash) -> bool {
        self.last_offset(subject).is_some()
    }

    /// Where the event of a version is, if it is here.
    pub(super) fn offset_of(&self, subject: SubjectHash, version: Version) -> Option<Offset> {
        self.table.get(subject)?.offset_of(version)
    }

    /// Where the latest event of a subject is that the stored index lacks.
    pub(super) fn last_offset(&self, subject: SubjectHash) -> Option<Offset> {
        self.table.get(subject)?.last_offset()
    }
}

impl SealedEntry<'_> {
    /// Which one it is.
    pub fn subject(&self) -> SubjectHash {
        self.0.subject
    }

    /// The stored tail, if it was read.
    pub fn tail(&self) -> Option<&PackedRun> {
        self.0.tail.as_ref()
    }

    /// Whether the stored tail has to be read.
    pub fn is_unread(&self) -> bool {
        self.0.unread
    }

    /// Whether the versions of its events follow one another.
    pub fn is_contiguous(&self) -> bool {
        self.0.is_contiguous()
    }

    /// The events that the stored index lacks.
    pub fn postings(&self) -> impl Iterator<Item = Posting> + '_ {
        self.0.postings()
    }
}
