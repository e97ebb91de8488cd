//! The search for what an append repeats, and for what has to be known before that can be said.

use super::decide::{Duplicate, Fact, Load, Obstacle, Plan, Request, Stop, Suspect};
use super::{DEDUP_VERSIONS, Entry, Ledger};
use crate::IdHash;
use std::collections::BTreeMap;
use std::iter::Peekable;
use tw_types::{Offset, Version};

/// Stands for "without a subject", and for "not known yet".
const NO_SLOT: u32 = u32::MAX;
/// Beyond so many suspects there is one for each event: the others come in later rounds. The events of a subject may all
/// have the same id, and so may those of an append.
const SUSPECTS_MAX: usize = 4_096;

/// Goes through the events of an append.
pub(super) struct Search<'a> {
    ledger: &'a Ledger,
    request: &'a Request<'a>,
    facts: Peekable<std::slice::Iter<'a, Fact>>,
    slots: Vec<u32>,
    /// The first event of each id of which there is more to say than that it is new, and what.
    firsts: BTreeMap<(u32, IdHash), (u32, Outcome)>,
    duplicates: Vec<Duplicate>,
    suspects: Vec<Suspect>,
    wait: Option<Offset>,
    pub(super) loads: Vec<Load>,
    /// None when nobody wants it.
    seen: Option<Vec<Fact>>,
}

/// What is known of an event's id.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// None of the latest events has it, and nothing had to be compared for that.
    New,
    /// None of the latest events has it.
    Unlike,
    /// The event of this version, which is there, has it.
    Repeated(Version, Offset),
    /// That is not known yet.
    Open,
}

impl<'a> Search<'a> {
    pub(super) fn new(ledger: &'a Ledger, request: &'a Request<'a>, wants_seen: bool) -> Self {
        Self {
            ledger,
            request,
            facts: request.facts.iter().peekable(),
            slots: Vec::with_capacity(request.events.len()),
            firsts: BTreeMap::new(),
            duplicates: Vec::new(),
            suspects: Vec::new(),
            wait: None,
            loads: Vec::new(),
            seen: wants_seen.then(Vec::new),
        }
    }

    pub(super) fn run(&mut self) {
        let Request { events, dedup, .. } = *self.request;
        for (index, event) in (0u32..).zip(events) {
            let Some(subject) = event.subject else {
                self.slots.push(NO_SLOT);
                continue;
            };
            while self.facts.next_if(|fact| fact.index < index).is_some() {}
            let fact = self.facts.next_if(|fact| fact.index == index).copied();
            let slot = self.ledger.table.find(subject);
            self.slots.push(slot.unwrap_or(NO_SLOT));
            let found = slot.and_then(|slot| Some((slot, self.ledger.table.entries.get(slot as usize)?)));
            let Some((slot, entry)) = found else {
                // What was compared before needs its ids only if there are new ones.
                self.loads.push(Load { subject, ids: dedup && fact.is_none() });
                continue;
            };
            if dedup {
                self.look_at(index, event.id, (slot, entry), fact);
            }
        }
    }

    fn look_at(&mut self, index: u32, id: IdHash, (slot, entry): (u32, &Entry), fact: Option<Fact>) {
        let first = if self.firsts.is_empty() { None } else { self.firsts.get(&(slot, id)).copied() };
        let same_id = |first: &(u32, Outcome)| (self.request.same_id)(first.0 as usize, index as usize);
        let outcome = if let Some((_, outcome)) = first.filter(same_id) {
            outcome
        } else {
            let outcome = self.compare(index, id, entry, fact);
            if first.is_none() && !matches!(outcome, Outcome::New) {
                self.firsts.insert((slot, id), (index, outcome));
            }
            outcome
        };
        let (version, same) = match outcome {
            Outcome::New | Outcome::Unlike => (entry.head, None),
            Outcome::Repeated(version, offset) => {
                self.duplicates.push(Duplicate { index, version, offset });
                (version, Some(offset))
            }
            Outcome::Open => return,
        };
        if let Some(seen) = &mut self.seen {
            seen.push(Fact { index, version, same });
        }
    }

    fn compare(&mut self, index: u32, id: IdHash, entry: &Entry, fact: Option<Fact>) -> Outcome {
        let head = entry.head;
        let after = match fact {
            // Of several with the same id, the first one is what a duplicate is answered with.
            Some(Fact { version, same: Some(offset), .. }) if version.0 + DEDUP_VERSIONS > head.0 => {
                return Outcome::Repeated(version, offset);
            }
            Some(Fact { version, same: None, .. }) if version >= head => return Outcome::Unlike,
            Some(Fact { version, .. }) => version,
            None => Version::NONE,
        };
        if !entry.complete {
            self.loads.push(Load { subject: entry.subject, ids: true });
            return Outcome::Open;
        }
        let before = self.suspects.len();
        let Self { suspects, wait, request, .. } = self;
        let mut all = true;
        self.ledger.alike(entry, id, after, request.sealed, |version, offset| {
            let asked = suspects.len() > before;
            match offset.filter(|offset| *offset >= request.confirmed) {
                // What is asked first may be the answer.
                Some(_) if asked => all = false,
                Some(in_flight) => {
                    *wait = (*wait).max(Some(in_flight.next()));
                    all = false;
                }
                None if asked && suspects.len() >= SUSPECTS_MAX => all = false,
                None => suspects.push(Suspect { index, version, offset }),
            }
            all
        });
        let asked = self.suspects.len() > before;
        if !asked && all {
            return if fact.is_none() { Outcome::New } else { Outcome::Unlike };
        }
        if all && let Some(seen) = &mut self.seen {
            seen.push(Fact { index, version: head, same: None });
        }
        Outcome::Open
    }

    /// What came of it.
    pub(super) fn end(mut self) -> Result<Plan, Stop> {
        let obstacle = if !self.suspects.is_empty() {
            Obstacle::Check(self.suspects)
        } else if let Some(until) = self.wait {
            // Before anything is loaded: what waits may have to give its place to that, and would be asked for again.
            Obstacle::Wait(until)
        } else if !self.loads.is_empty() {
            self.loads.extend(self.request.expected.iter().filter_map(|(subject, _)| {
                let missing = self.ledger.table.find(*subject).is_none();
                missing.then_some(Load { subject: *subject, ids: false })
            }));
            self.loads.sort_unstable();
            // Of two for one subject, the one with ids comes second.
            self.loads.reverse();
            self.loads.dedup_by_key(|load| load.subject);
            Obstacle::Load(self.loads)
        } else {
            return Ok(Plan { slots: self.slots, duplicates: self.duplicates });
        };
        Err(Stop { obstacle, seen: self.seen.unwrap_or_default() })
    }
}
