//! Leading: whoever has stood for election longest makes the plans, and only that.

use super::{Effect, Effects, Moment, Process, Purpose, Saw, Timer};
use crate::coordination::{Reply, Request};
use crate::stored::Stored;
use tw_cluster::{Guard, Key, Outcome, Revision, Transaction};
use tw_plan::placement::{self, Load, Node, Plan};
use tw_types::NodeId;

/// The plan in force, and the revision that stored it.
#[derive(Debug, Clone)]
struct InForce {
    plan: Plan,
    revision: Option<Revision>,
}

/// A node's part in leading.
#[derive(Debug, Default)]
pub(super) struct Lead {
    /// How often it has stood.
    stood: u64,
    is_standing: bool,
    place: Option<(Key, Revision)>,
    in_force: Option<InForce>,
    is_busy: bool,
}

impl Process {
    /// Plans, if it is the one who leads as far as it knows.
    pub(super) fn review(&mut self, at: Moment<'_>, out: &mut Effects) {
        out.push(Effect::After(self.random.within(150_000, 400_000), Timer::Review));
        if !self.is_registered() || self.is_leaving {
            return;
        }
        self.find_place();
        let leads = |(key, _): &(Key, Revision)| self.first_place().is_some_and(|(first, _)| first == key);
        match &self.lead.place {
            None if !self.lead.is_standing => self.stand(at, out),
            Some(place) if leads(place) && !self.lead.is_busy => self.plan(at, out),
            _ => {}
        }
    }

    fn first_place(&self) -> Option<(&Key, &NodeId)> {
        let first = self.places.iter().min_by_key(|(_, (since, _))| *since);
        first.map(|(key, (_, node))| (key, node))
    }

    /// Who leads, as far as is known here.
    pub(super) fn leader(&self) -> Option<&NodeId> {
        self.first_place().map(|(_, node)| node)
    }

    /// The place in the line: the first, if it took one by a request whose answer was lost and then another.
    fn find_place(&mut self) {
        let is_gone = |place: &(Key, Revision)| {
            !self.places.contains_key(&place.0) && self.elections_known() >= place.1
        };
        if self.lead.place.as_ref().is_some_and(is_gone) {
            self.resign();
        }
        let mine = format!("{}-", self.number);
        let places = self.places.iter().filter(|(key, _)| key.name().starts_with(&mine));
        if let Some((key, (since, _))) = places.min_by_key(|(_, (since, _))| *since) {
            self.lead.place = Some((key.clone(), *since));
        }
    }

    pub(super) fn resign(&mut self) {
        let stood = self.lead.stood;
        self.lead = Lead { stood, ..Lead::default() };
    }

    fn stand(&mut self, at: Moment<'_>, out: &mut Effects) {
        let Some(lease) = self.lease_id() else { return };
        self.lead.stood += 1;
        self.lead.is_standing = true;
        let key = at.shared.keys.place(&format!("{}-{}", self.number, self.lead.stood));
        let place = Stored::Place(self.node.clone());
        let stand = Transaction::new().when(Guard::Absent(key.clone())).put_under(lease, &key, place.bytes());
        self.ask_for(Purpose::Stand(key), Request::Commit(stand), out);
    }

    pub(super) fn stood(&mut self, key: Key, reply: Option<Reply>) {
        self.lead.is_standing = false;
        if let Some(Reply::Committed(Outcome::Done(since))) = reply {
            self.lead.place = Some((key, since));
        }
    }

    fn plan(&mut self, at: Moment<'_>, out: &mut Effects) {
        let Some((place, since)) = self.lead.place.clone() else { return };
        self.lead.is_busy = true;
        let key = &at.shared.keys.plan;
        let Some(InForce { plan, revision }) = &self.lead.in_force else {
            return self.ask_for(Purpose::ReadPlan, Request::Read(key.alone()), out);
        };
        let nodes: Vec<Node> = self
            .members
            .iter()
            .map(|(node, member)| Node {
                id: node.clone(),
                capacity: 1000,
                background_permille: Some(0),
                domain: None,
                drains: member.drains,
            })
            .collect();
        let load = |(unit, weight): (_, &u32)| Load { unit: Clone::clone(unit), weight: Some(*weight) };
        let loads: Vec<Load> = at.shared.units.iter().map(load).collect();
        let next = placement::plan(&nodes, &loads, plan, &at.shared.placement, at.wall_ms);
        let Some(next) = next.ok().map(|planned| planned.plan).filter(|next| next != plan) else {
            self.lead.is_busy = false;
            return;
        };
        let unchanged = match revision {
            Some(revision) => Guard::Unchanged(key.clone(), *revision),
            None => Guard::Absent(key.clone()),
        };
        let store = Transaction::new().when(Guard::Created(place, since)).when(unchanged);
        let store = store.put(key, Stored::Plan(next.clone()).bytes());
        self.ask_for(Purpose::StorePlan(next), Request::Commit(store), out);
    }

    pub(super) fn plan_read(&mut self, reply: Option<Reply>) {
        self.lead.is_busy = false;
        let Some(Reply::Read(read)) = reply else { return };
        let revision = read.entries.first().map(|entry| entry.modified);
        let plan = match read.entries.first().map(Stored::read) {
            Some(Stored::Plan(plan)) => plan,
            _ => Plan::default(),
        };
        self.lead.in_force = Some(InForce { plan, revision });
    }

    pub(super) fn plan_stored(&mut self, plan: Plan, reply: Option<Reply>, out: &mut Effects) {
        self.lead.is_busy = false;
        self.lead.in_force = match reply {
            Some(Reply::Committed(Outcome::Done(revision))) => {
                out.push(Effect::Saw(Saw::Planned { version: plan.version() }));
                Some(InForce { plan, revision: Some(revision) })
            }
            // Somebody else has, or nobody knows: from what is there now.
            _ => None,
        };
    }
}
