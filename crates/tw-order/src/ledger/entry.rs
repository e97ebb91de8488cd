//! What a ledger knows of one subject.

use super::windows::NO_WINDOW;
use crate::run::Run;
use crate::window::contains;
use crate::{IdHash, PackedRun, Posting, SubjectHash};
use tw_types::{Offset, Version};

/// One subject. 64 bytes, because there are as many of them as subjects are written to between two flushes.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) subject: SubjectHash,
    /// Its latest version, events in flight included.
    pub(crate) head: Version,
    /// The end of what the stored index has of it, if that was read.
    pub(crate) tail: Option<PackedRun>,
    fresh: Fresh,
    /// Whether the stored index may have a tail that was not read.
    pub(crate) unread: bool,
    /// Whether all of its latest events that exist are known, for comparing ids: in its window, or here if it has none.
    pub(crate) complete: bool,
    /// The place of its window.
    pub(crate) window: u32,
}

/// Events that the stored index does not have.
#[derive(Debug)]
enum Fresh {
    None,
    /// The event of version `head`.
    One {
        offset: Offset,
        id: IdHash,
    },
    /// Runs with gaps between them; the last one ends with `head`. Gaps come from compaction of the log only.
    #[expect(clippy::box_collection, reason = "keeps the entry small")]
    Many(Box<Vec<Run>>),
}

impl Entry {
    pub(crate) fn loaded(
        subject: SubjectHash,
        head: Version,
        tail: Option<PackedRun>,
        unread: bool,
        complete: bool,
    ) -> Self {
        Self { subject, head, tail, fresh: Fresh::None, unread, complete, window: NO_WINDOW }
    }

    /// A subject of which nothing is known yet but what comes next.
    pub(crate) fn unread(subject: SubjectHash) -> Self {
        Self::loaded(subject, Version::NONE, None, true, false)
    }

    /// Adds an event of a version over the latest. Returns about how many bytes of memory that took.
    pub(crate) fn push(&mut self, posting: Posting) -> usize {
        let before = std::mem::replace(&mut self.head, posting.version);
        match &mut self.fresh {
            Fresh::None => {
                self.fresh = Fresh::One { offset: posting.offset, id: posting.id };
                0
            }
            Fresh::One { offset, id } => {
                let mut runs = vec![Run::one(Posting { version: before, offset: *offset, id: *id })];
                push(&mut runs, posting);
                self.fresh = Fresh::Many(Box::new(runs));
                192
            }
            Fresh::Many(runs) => push(runs, posting),
        }
    }

    /// Removes the events at `from` and after it; says how many.
    pub(crate) fn truncate(&mut self, from: Offset) -> u64 {
        let first_removed = self.postings().find(|posting| posting.offset >= from);
        let Some(first_removed) = first_removed else { return 0 };
        let removed = self.postings().filter(|posting| posting.offset >= from).count() as u64;
        match &mut self.fresh {
            Fresh::Many(runs) => {
                runs.iter_mut().for_each(|run| run.truncate(from));
                runs.retain(|run| !run.offsets.is_empty());
                if runs.is_empty() {
                    self.fresh = Fresh::None;
                }
            }
            Fresh::None | Fresh::One { .. } => self.fresh = Fresh::None,
        }
        // Only events that were accepted here are taken back, and those followed their subject's head.
        self.head = Version(first_removed.version.0 - 1);
        removed
    }

    /// The events that the stored index does not have, in order.
    pub(crate) fn postings(&self) -> impl Iterator<Item = Posting> + '_ {
        let (one, runs) = match &self.fresh {
            Fresh::None => (None, &[][..]),
            Fresh::One { offset, id } => {
                (Some(Posting { version: self.head, offset: *offset, id: *id }), &[][..])
            }
            Fresh::Many(runs) => (None, runs.as_slice()),
        };
        one.into_iter().chain(runs.iter().flat_map(Run::iter))
    }

    fn postings_rev(&self) -> impl Iterator<Item = Posting> + '_ {
        let (one, runs) = match &self.fresh {
            Fresh::None => (None, &[][..]),
            Fresh::One { offset, id } => {
                (Some(Posting { version: self.head, offset: *offset, id: *id }), &[][..])
            }
            Fresh::Many(runs) => (None, runs.as_slice()),
        };
        one.into_iter().chain(runs.iter().rev().flat_map(|run| run.iter().rev()))
    }

    /// Whether the versions of its fresh events follow one another.
    pub(crate) fn is_contiguous(&self) -> bool {
        !matches!(&self.fresh, Fresh::Many(runs) if runs.len() > 1)
    }

    /// Where its latest event is, if that is not in the stored index alone.
    pub(crate) fn last_offset(&self) -> Option<Offset> {
        self.postings_rev().next().map(|posting| posting.offset)
    }

    /// The latest version among its fresh events before `before`.
    pub(crate) fn fresh_head(&self, before: Offset) -> Option<Version> {
        self.postings_rev().find(|posting| posting.offset < before).map(|posting| posting.version)
    }

    /// Its version before its fresh events.
    pub(crate) fn base(&self) -> Version {
        self.postings().next().map_or(self.head, |first| Version(first.version.0 - 1))
    }

    /// Where the event of a version is, if it is here.
    pub(crate) fn offset_of(&self, version: Version) -> Option<Offset> {
        let fresh = match &self.fresh {
            Fresh::None => None,
            Fresh::One { offset, .. } => (version == self.head).then_some(*offset),
            Fresh::Many(runs) => runs.iter().find_map(|run| run.offset_of(version)),
        };
        let tail = self.tail.iter().flat_map(PackedRun::iter);
        fresh
            .or_else(|| tail.into_iter().find(|posting| posting.version == version).map(|found| found.offset))
    }

    /// The events among its latest `versions` whose ids have this hash, the latest first.
    pub(crate) fn with_id(&self, id: IdHash, versions: u64) -> Vec<Posting> {
        let oldest = Version(self.head.0.saturating_sub(versions));
        let fresh = match &self.fresh {
            Fresh::None => false,
            Fresh::One { id: other, .. } => *other == id,
            Fresh::Many(runs) => runs.iter().any(|run| {
                let skip = run.offsets.len().saturating_sub(versions as usize);
                contains(run.ids.get(skip..).unwrap_or_default(), id)
            }),
        };
        let matches = |posting: &Posting| posting.id == id && posting.version > oldest;
        let mut found = Vec::new();
        if fresh {
            found.extend(self.postings_rev().take_while(|posting| posting.version > oldest).filter(matches));
        }
        if let Some(tail) = self.tail.as_ref().filter(|tail| tail.contains(id)) {
            found.extend(tail.iter().filter(matches));
        }
        found
    }
}

fn push(runs: &mut Vec<Run>, posting: Posting) -> usize {
    match runs.last_mut().filter(|run| run.next() == posting.version) {
        Some(run) => {
            run.push(posting.offset, posting.id);
            // Twelve bytes, and room that vectors keep.
            16
        }
        None => {
            runs.push(Run::one(posting));
            128
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_64_bytes() {
        assert_eq!(size_of::<Entry>(), 64);
    }
}
