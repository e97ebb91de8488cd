//! The decision on an append: its versions, or what stands in its way.

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
    /// What came out of looking into earlier suspicions, in order.
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

/// What came out of looking into a [`Suspect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// The index of the event in the request.
    pub index: u32,
    /// The version of the other event.
    pub version: Version,
    /// Where the other event is, if their ids are the same.
    pub same: Option<Offset>,
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
    slots: Vec<u32>,
    /// In the order of their indexes.
    duplicates: Vec<Duplicate>,
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

/// Stands for "without a subject".
const NO_SLOT: u32 = u32::MAX;

impl Ledger {
    /// Checks an append without changing anything. A plan is to be [accepted](Ledger::accept) before anything else
    /// happens to the ledger, or dropped.
    ///
    /// # Errors
    /// What stands in its way.
    pub fn check(&self, request: &Request<'_>) -> Result<Plan, Obstacle> {
        let slots = self.slots(request)?;
        let duplicates = if request.dedup { self.duplicates(request, &slots)? } else { Vec::new() };
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
        Ok(Plan { slots, duplicates })
    }

    /// The slots of all subjects.
    fn slots(&self, request: &Request<'_>) -> Result<Vec<u32>, Obstacle> {
        let mut loads = Vec::new();
        let mut slots = Vec::with_capacity(request.events.len());
        for event in request.events {
            let Some(subject) = event.subject else {
                slots.push(NO_SLOT);
                continue;
            };
            match self.table.find(subject) {
                Some(slot) => {
                    if request.dedup && !self.table.entries[slot as usize].complete {
                        loads.push(Load { subject, ids: true });
                    }
                    slots.push(slot);
                }
                None => loads.push(Load { subject, ids: request.dedup }),
            }
        }
        if loads.is_empty() {
            return Ok(slots);
        }
        loads.extend(request.expected.iter().filter_map(|(subject, _)| {
            self.table.find(*subject).is_none().then_some(Load { subject: *subject, ids: false })
        }));
        loads.sort_unstable();
        // Of two for one subject, the one with ids comes second.
        loads.reverse();
        loads.dedup_by_key(|load| load.subject);
        Err(Obstacle::Load(loads))
    }

    /// The events that are in the log already.
    fn duplicates(&self, request: &Request<'_>, slots: &[u32]) -> Result<Vec<Duplicate>, Obstacle> {
        let (mut duplicates, mut suspects, mut wait) = (Vec::new(), Vec::new(), None);
        for (index, (event, slot)) in (0u32..).zip(request.events.iter().zip(slots)) {
            let Some(entry) = self.table.entries.get(*slot as usize) else { continue };
            // Of several with the same id, the first one is what a duplicate is answered with.
            for (version, offset) in self.alike(entry, event.id, request.sealed) {
                let fact =
                    request.facts.binary_search_by_key(&(index, version), |fact| (fact.index, fact.version));
                match fact.ok().and_then(|at| request.facts.get(at)).map(|fact| fact.same) {
                    Some(Some(offset)) => {
                        duplicates.push(Duplicate { index, version, offset });
                        break;
                    }
                    Some(None) => {}
                    None => match offset.filter(|offset| *offset >= request.confirmed) {
                        Some(in_flight) => wait = wait.max(Some(in_flight.next())),
                        None => suspects.push(Suspect { index, version, offset }),
                    },
                }
            }
        }
        match wait {
            Some(until) => Err(Obstacle::Wait(until)),
            None if !suspects.is_empty() => Err(Obstacle::Check(suspects)),
            None => Ok(duplicates),
        }
    }

    /// The latest versions of a subject whose ids have this hash, in order, and where they are if that is in memory.
    fn alike(&self, entry: &Entry, id: IdHash, sealed: Option<&Sealed>) -> Vec<(Version, Option<Offset>)> {
        let Some(window) = self.windows.get(entry.window) else {
            let mut alike: Vec<_> = entry.with_id(id, DEDUP_VERSIONS);
            alike.sort_unstable_by_key(|posting| posting.version);
            return alike.into_iter().map(|posting| (posting.version, Some(posting.offset))).collect();
        };
        let sealed = |version| sealed.and_then(|sealed| sealed.offset_of(entry.subject, version));
        let offset = |version| entry.offset_of(version).or_else(|| sealed(version));
        window.with_id(id).map(|version| (version, offset(version))).collect()
    }

    /// Gives the events of a checked append their versions.
    pub fn accept(&mut self, request: &Request<'_>, plan: Plan) -> Accepted {
        let base = self.end;
        let mut versions = Vec::with_capacity(request.events.len());
        let mut duplicates = plan.duplicates;
        let mut known = 0;
        // The indexes of the stored events; only kept once some are not stored.
        let mut kept: Option<Vec<u32>> = None;
        for (index, (event, slot)) in (0u32..).zip(request.events.iter().zip(&plan.slots)) {
            if let Some(entry) = self.table.entries.get(*slot as usize) {
                self.windows.touch(entry.window, request.now);
            }
            if duplicates.get(known).is_some_and(|duplicate| duplicate.index == index) {
                known += 1;
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
                    duplicates.insert(known, Duplicate { index, version, offset });
                    known += 1;
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
