//! Following what is stored: three ranges, each by a watch of its own.

use super::{Effects, Member, Moment, Process, Purpose};
use crate::coordination::{Reply, Request};
use crate::defect::Defect;
use crate::stored::{About, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tw_cluster::{Change, Entry, Key, Range, Revision};
use tw_plan::ownership::Claim;

/// A range that is followed.
#[derive(Debug)]
pub(super) struct Mirror {
    range: Range,
    /// Everything up to and including this is known.
    known: Revision,
    /// The keys that there were.
    keys: BTreeSet<Key>,
}

impl Mirror {
    pub(super) fn new(range: Range) -> Self {
        Self { range, known: Revision(0), keys: BTreeSet::new() }
    }
}

impl Process {
    pub(super) fn follow(&mut self, out: &mut Effects) {
        for number in 0..self.mirrors.len() {
            self.read_anew(number, out);
        }
    }

    /// Up to where it is known who stands for election.
    pub(super) fn elections_known(&self) -> Revision {
        self.mirrors[1].known
    }

    fn read_anew(&mut self, number: usize, out: &mut Effects) {
        let range = self.mirrors[number].range.clone();
        self.ask_for(Purpose::Read(number), Request::Read(range), out);
    }

    fn watch(&mut self, number: usize, out: &mut Effects) {
        let mirror = &self.mirrors[number];
        let (range, from) = (mirror.range.clone(), mirror.known.next());
        self.ask_for(Purpose::Watch(number), Request::Watch { number, range, from }, out);
    }

    pub(super) fn read(&mut self, number: usize, reply: Option<Reply>, at: Moment<'_>, out: &mut Effects) {
        let Some(Reply::Read(read)) = reply else { return self.read_anew(number, out) };
        let there: BTreeSet<&Key> = read.entries.iter().map(|entry| &entry.key).collect();
        let gone: Vec<Key> =
            self.mirrors[number].keys.iter().filter(|key| !there.contains(key)).cloned().collect();
        let gone = gone.into_iter().map(|key| Change::Delete { key, revision: read.revision });
        let changes: Vec<Change> = gone.chain(read.entries.iter().cloned().map(Change::Put)).collect();
        self.told(number, read.revision, &changes, at);
        self.detect(at, out);
        self.watch(number, out);
    }

    pub(super) fn watched(&mut self, number: usize, reply: Option<Reply>, at: Moment<'_>, out: &mut Effects) {
        match reply {
            Some(Reply::Changed(told)) => {
                self.told(number, told.through, &told.changes, at);
                self.detect(at, out);
            }
            Some(Reply::Compacted) => return self.read_anew(number, out),
            // From where it was.
            _ => {}
        }
        self.watch(number, out);
    }

    fn told(&mut self, number: usize, through: Revision, changes: &[Change], at: Moment<'_>) {
        let mut members_changed = false;
        for change in changes {
            let keys = &mut self.mirrors[number].keys;
            let entry = match change {
                Change::Put(entry) => {
                    keys.insert(entry.key.clone());
                    Some(entry)
                }
                Change::Delete { key, .. } => {
                    keys.remove(key);
                    None
                }
            };
            match at.shared.keys.about(change.key()) {
                About::Member(node) => {
                    members_changed = true;
                    match entry.and_then(member) {
                        Some(member) => self.members.insert(node, member),
                        None => self.members.remove(&node),
                    };
                }
                About::Place => {
                    match entry {
                        Some(entry) => {
                            if let Stored::Place(node) = Stored::read(entry) {
                                self.places.insert(entry.key.clone(), (entry.created, node));
                            }
                        }
                        None => drop(self.places.remove(change.key())),
                    }
                    self.leader_changed();
                }
                About::Plan => {
                    if let Some(Stored::Plan(plan)) = entry.map(Stored::read) {
                        self.core.planned(Arc::new(plan));
                    }
                }
                About::Suspects(node) => self.voted(&node, entry.map(Stored::read)),
                About::Claim(unit) => {
                    let claim = entry.and_then(claim);
                    self.watching.claimed(&unit, claim.as_ref());
                    self.core.claimed(&unit, claim);
                }
                About::Ready(unit) => {
                    let node = match entry.map(Stored::read) {
                        Some(Stored::Ready(node)) => Some(node),
                        _ => None,
                    };
                    self.core.ready(&unit, node);
                }
            }
        }
        if members_changed {
            self.tell_members(through, at);
        }
        self.mirrors[number].known = through;
        self.kept_is_old = true;
    }

    fn tell_members(&mut self, through: Revision, at: Moment<'_>) {
        let members = self.members.iter().map(|(node, member)| (node.clone(), member.incarnation));
        self.watching.members(through, &members.collect());
        let known = |incarnation| if at.has(Defect::IgnoresIncarnations) { 1 } else { incarnation };
        let members: BTreeMap<_, _> =
            self.members.iter().map(|(node, member)| (node.clone(), known(member.incarnation))).collect();
        self.core.members(members);
        self.detector_members(at);
    }
}

fn member(entry: &Entry) -> Option<Member> {
    match Stored::read(entry) {
        Stored::Member { writer, drains } => {
            Some(Member { incarnation: entry.created.0, writer, drains, lease: entry.lease })
        }
        _ => None,
    }
}

fn claim(entry: &Entry) -> Option<Claim> {
    match Stored::read(entry) {
        Stored::Claim { holder, epoch, fence } => {
            Some(Claim { holder, epoch, fence, revision: entry.modified.0 })
        }
        _ => None,
    }
}
