//! The decision on an append: its versions, or what stands in its way.

use super::search::Search;
use super::{DEDUP_VERSIONS, Entry, Ledger, Sealed};
use crate::{IdHash, Posting, SubjectHash};
use tw_types::{ExpectedVersion, Offset, Version};

/// An event that is to be appended.
#[derive(Debug, Clone, Copy)]
pub struct Proposed {
    /// What it is about; None for events without a subject, which have no version.
    pub subject: Option<SubjectHash>,
    /// The hash of its id.
    pub id: IdHash,
}

/// The share of one partition in an append, and what is known about it.
pub struct Request<'a> {
    /// The events in order.
    pub events: &'a [Proposed],
    /// What the writer believes of subjects. Each is compared with the version before the append.
    pub expected: &'a [(SubjectHash, ExpectedVersion)],
    /// Whether an event whose id is among its subject's latest [`DEDUP_VERSIONS`] is a duplicate.
    pub dedup: bool,
    /// Whether two events of this append, by index, have the same id.
    pub same_id: &'a dyn Fn(usize, usize) -> bool,
    /// What was found out about events in earlier rounds: one fact for each at most, in order.
    pub facts: &'a [Fact],
    /// Events before this offset are in the log for sure.
    pub confirmed: Offset,
    /// What is being flushed.
    pub sealed: Option<&'a Sealed>,
    /// A time that never goes back: of windows, those that were used longest ago leave first.
    pub now: u64,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

/// Something to load into the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// The subject.
    pub subject: SubjectHash,
    /// Whether its latest ids are needed too, or only its version.
    pub ids: bool,
}

/// Two ids that may be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// The index of the event in the request.
    pub index: u32,
    /// The version of its subject whose event has an id with the same hash.
    pub version: Version,
    /// Where that event is; None when only the stored index knows, if it is there at all.
    pub offset: Option<Offset>,
}

/// How far an event's id has been compared with those of its subject's earlier events. What came out of looking into a
/// [`Suspect`] is one, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// The index of the event in the request.
    pub index: u32,
    /// No version before this one has the same id; nor has this one, unless `same` says so.
    pub version: Version,
    /// Where the event of this version is, if their ids are the same.
    pub same: Option<Offset>,
}

impl Fact {
    /// Adds `news`, what one round has brought, to `facts`, which have one for each event at most, in order. A later round
    /// starts where the one before has ended, so that its facts take the place of earlier ones.
    pub fn learn(facts: &mut Vec<Self>, mut news: Vec<Self>) {
        news.sort_unstable();
        // Of an event, the first version with its id, or else the latest version without.
        news.dedup_by(|later, kept| {
            let of_one = later.index == kept.index;
            if of_one && kept.same.is_none() {
                *kept = *later;
            }
            of_one
        });
        facts.append(&mut news);
        facts.sort_by_key(|fact| fact.index);
        facts.dedup_by(|later, kept| {
            let of_one = later.index == kept.index;
            if of_one {
                *kept = *later;
            }
            of_one
        });
    }
}

/// Why an append is not accepted, and what was found out all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What stands in its way.
    pub obstacle: Obstacle,
    /// How far events were compared. It holds if none of the suspects has the same id as its event, until something is
    /// taken back. Whoever [learns](Fact::learn) it, together with what came of the suspects, needs the windows of these
    /// events no more: so an append may need more of them than there is memory for.
    pub seen: Vec<Fact>,
}

/// Why an append cannot be accepted now, or at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// These must be known first.
    Load(Vec<Load>),
    /// These must be looked into first.
    Check(Vec<Suspect>),
    /// The answer depends on events in flight: ask again when everything before this offset is confirmed.
    Wait(Offset),
    /// A subject has another version than expected.
    Conflict {
        /// Its index in the request's `expected`.
        index: usize,
        /// Its version.
        actual: Version,
    },
}

/// A checked append.
#[derive(Debug)]
pub struct Plan {
    /// The slot of each event's subject.
    pub(super) slots: Vec<u32>,
    /// In the order of their indexes.
    pub(super) duplicates: Vec<Duplicate>,
}

/// An event of an append that is in the log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// Its index in the request.
    pub index: u32,
    /// The version of the first one.
    pub version: Version,
    /// Where the first one is.
    pub offset: Offset,
}

/// An accepted append.
#[derive(Debug)]
pub struct Accepted {
    /// Where its first stored event goes; the others follow.
    pub base: Offset,
    /// The versions of the stored events, in order.
    pub versions: Vec<Version>,
    /// The events that are not stored again, in the order of their indexes.
    pub duplicates: Vec<Duplicate>,
}

impl Ledger {
    /// Checks an append without changing anything. A plan is to be [accepted](Ledger::accept) before anything else
    /// happens to the ledger, or dropped.
    ///
    /// # Errors
    /// What stands in its way.
    pub fn check(&self, request: &Request<'_>) -> Result<Plan, Stop> {
        let mut search = Search::new(self, request, false);
        search.run();
        if !search.loads.is_empty() {
            // What was seen is of use later only if something is missing now, which is rare.
            search = Search::new(self, request, true);
            search.run();
        }
        let plan = search.end()?;
        self.expected(request, &plan.duplicates).map_err(|obstacle| Stop { obstacle, seen: Vec::new() })?;
        Ok(plan)
    }

    /// Compares what the writer believes with what is so.
    fn expected(&self, request: &Request<'_>, duplicates: &[Duplicate]) -> Result<(), Obstacle> {
        let is_duplicate = |index: usize| {
            duplicates.binary_search_by_key(&(index as u32), |duplicate| duplicate.index).is_ok()
        };
        for (index, (subject, expected)) in request.expected.iter().enumerate() {
            let Some(entry) = self.table.get(*subject) else {
                return Err(Obstacle::Load(vec![Load { subject: *subject, ids: false }]));
            };
            let mut of_subject = (0..request.events.len())
                .filter(|event| {
                    request.events.get(*event).is_some_and(|event| event.subject == Some(*subject))
                })
                .peekable();
            // The same append again is answered as it was the first time, whatever the version is now.
            let repeated = of_subject.peek().is_some() && of_subject.all(is_duplicate);
            if !repeated && !expected.holds(entry.head) {
                // The latest event may still be in a ledger that is being flushed.
                let sealed = || request.sealed.and_then(|sealed| sealed.last_offset(*subject));
                let last = entry.last_offset().or_else(sealed);
                return Err(match last {
                    Some(last) if last >= request.confirmed => Obstacle::Wait(last.next()),
                    _ => Obstacle::Conflict { index, actual: entry.head },
                });
            }
        }
        Ok(())
    }

    /// Shows the versions of a subject after `after` whose ids have this hash, among the latest, in order, and where they
    /// are if that is in memory, for as long as `go_on` says so.
    pub(super) fn alike(
        &self,
        entry: &Entry,
        id: IdHash,
        after: Version,
        sealed: Option<&Sealed>,
        mut go_on: impl FnMut(Version, Option<Offset>) -> bool,
    ) {
        if let Some(window) = self.windows.get(entry.window) {
            let sealed = |version| sealed.and_then(|sealed| sealed.offset_of(entry.subject, version));
            let offset = |version| entry.offset_of(version).or_else(|| sealed(version));
            let _stopped = window
                .with_id(id)
                .filter(|version| *version > after)
                .all(|version| go_on(version, offset(version)));
            return;
        }
        let mut alike: Vec<_> = entry.with_id(id, DEDUP_VERSIONS);
        alike.retain(|posting| posting.version > after);
        alike.sort_unstable_by_key(|posting| posting.version);
        let _stopped = alike.into_iter().all(|posting| go_on(posting.version, Some(posting.offset)));
    }

    /// Gives the events of a checked append their versions.
    pub fn accept(&mut self, request: &Request<'_>, plan: Plan) -> Accepted {
        let base = self.end;
        let mut versions = Vec::with_capacity(request.events.len());
        let mut known = plan.duplicates.iter().peekable();
        let mut duplicates = Vec::with_capacity(plan.duplicates.len());
        // The indexes of the stored events; only kept once some are not stored.
        let mut kept: Option<Vec<u32>> = None;
        for (index, (event, slot)) in (0u32..).zip(request.events.iter().zip(&plan.slots)) {
            if let Some(entry) = self.table.entries.get(*slot as usize) {
                self.windows.touch(entry.window, request.now);
            }
            if let Some(duplicate) = known.next_if(|duplicate| duplicate.index == index) {
                duplicates.push(*duplicate);
                kept.get_or_insert_with(|| (0..index).collect());
                continue;
            }
            if let Some(entry) = self.table.entries.get_mut(*slot as usize) {
                let in_window =
                    || self.windows.get(entry.window).is_none_or(|window| window.may_have(event.id));
                let written = entry.last_offset().is_some_and(|last| last >= base);
                let earlier = if request.dedup && written && in_window() {
                    entry.with_id(event.id, DEDUP_VERSIONS)
                } else {
                    Vec::new()
                };
                // Those of this append are at `base` and after it.
                let repeated = earlier.into_iter().filter(|posting| posting.offset >= base).find(|posting| {
                    let place = (posting.offset.0 - base.0) as usize;
                    let other = kept.as_ref().map_or(Some(place as u32), |kept| kept.get(place).copied());
                    other.is_some_and(|other| (request.same_id)(other as usize, index as usize))
                });
                if let Some(Posting { version, offset, .. }) = repeated {
                    kept.get_or_insert_with(|| (0..index).collect());
                    duplicates.push(Duplicate { index, version, offset });
                    continue;
                }
                let posting = Posting { version: entry.head.next(), offset: self.end, id: event.id };
                self.heap_bytes += entry.push(posting);
                self.windows.push(entry.window, posting);
                self.fresh += 1;
                versions.push(posting.version);
            } else {
                versions.push(Version::NONE);
            }
            if let Some(kept) = &mut kept {
                kept.push(index);
            }
            self.end = self.end.next();
        }
        Accepted { base, versions, duplicates }
    }
}
