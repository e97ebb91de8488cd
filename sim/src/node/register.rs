//! Registration: a lease, an entry under it, and giving up in time.

use super::{Effect, Effects, Moment, Process, Purpose, Saw, Timer};
use crate::coordination::{Reply, Request};
use crate::defect::Defect;
use crate::stored::Stored;
use tw_cluster::{Guard, LeaseId, Outcome, Transaction};
use tw_plan::ownership::{Holder, Ownership};
use tw_types::NodeId;

/// The pause before what failed is tried again, in microseconds.
const RETRY_US: u64 = 200_000;
/// How much of the lease's time is not used, in percent.
const MARGIN_PERCENT: u64 = 10;

/// How far the registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not registered.
    Out,
    /// On the way.
    Joining,
    /// Registered.
    In,
}

/// A lease, on the node's own clock.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: LeaseId,
    ttl_us: u64,
    until_us: u64,
    renew_at_us: u64,
    is_renewing: bool,
}

impl Held {
    fn new(id: LeaseId, ttl_us: u64, sent_us: u64) -> Self {
        let mut held = Self { id, ttl_us, until_us: 0, renew_at_us: 0, is_renewing: false };
        held.renewed(sent_us);
        held
    }

    fn renewed(&mut self, sent_us: u64) {
        self.until_us = self.until_us.max(sent_us + self.ttl_us);
        self.renew_at_us = sent_us + self.ttl_us / 3;
        self.is_renewing = false;
    }

    fn deadline_us(&self) -> u64 {
        self.until_us - self.ttl_us * MARGIN_PERCENT / 100
    }

    /// Whether it is held for certain.
    pub(super) fn is_held(&self, local_us: u64) -> bool {
        local_us < self.deadline_us()
    }
}

pub(super) fn holder(node: &NodeId, incarnation: u64, writer: &str) -> Holder {
    Holder { node: node.clone(), incarnation, writer: writer.to_owned() }
}

impl Process {
    pub(super) fn register(&mut self, at: Moment<'_>, out: &mut Effects) {
        if self.stage != Stage::Out || self.is_leaving {
            return;
        }
        self.stage = Stage::Joining;
        let purpose = Purpose::Grant { sent_us: at.local_us };
        self.ask_for(purpose, Request::Grant { ttl_ms: at.shared.ttl_ms }, out);
    }

    pub(super) fn granted(&mut self, sent_us: u64, reply: Option<Reply>, at: Moment<'_>, out: &mut Effects) {
        let Some(Reply::Lease(grant)) = reply else { return self.start_over(out) };
        let held = Held::new(grant.id, grant.ttl.as_micros() as u64, sent_us);
        self.lease = Some(held);
        self.watch_lease(at, out);
        self.join(at, out);
    }

    pub(super) fn join(&mut self, at: Moment<'_>, out: &mut Effects) {
        let Some(lease) = self.lease_id() else { return };
        let key = at.shared.keys.member(&self.node);
        let record = Stored::Member { writer: self.writer.clone(), drains: false };
        let join = Transaction::new().when(Guard::Absent(key.clone()));
        self.ask_for(Purpose::Join, Request::Commit(join.put_under(lease, &key, record.bytes())), out);
    }

    pub(super) fn joined(&mut self, reply: Option<Reply>, at: Moment<'_>, out: &mut Effects) {
        let incarnation = match reply {
            Some(Reply::Committed(Outcome::Done(revision))) => revision.0,
            Some(Reply::Committed(Outcome::Failed { found, .. })) => {
                match found.into_iter().flatten().next() {
                    Some(entry) if entry.lease == self.lease_id() => entry.created.0,
                    // A process of this node that was here before: it is gone, whatever it thinks itself.
                    Some(entry) => {
                        let revoke = entry.lease.map(Request::Revoke);
                        return match revoke {
                            Some(revoke) => self.ask_for(Purpose::Evict, revoke, out),
                            None => self.start_over(out),
                        };
                    }
                    None => return self.start_over(out),
                }
            }
            _ => return self.start_over(out),
        };
        self.stage = Stage::In;
        out.push(Effect::Saw(Saw::Registered { incarnation }));
        let known = if at.has(Defect::IgnoresIncarnations) { 1 } else { incarnation };
        let is_first = self.core.me().incarnation == 0;
        if is_first {
            self.core = Ownership::new(holder(&self.node, known, &self.writer));
            self.follow(out);
            self.detect(at, out);
        } else {
            self.core.registered(known, &self.writer);
        }
        self.incarnation = incarnation;
        self.kept_is_old = true;
    }

    fn start_over(&mut self, out: &mut Effects) {
        self.lease = None;
        self.stage = Stage::Out;
        out.push(Effect::After(RETRY_US, Timer::Register));
    }

    /// Says when to look at the lease next.
    fn watch_lease(&mut self, at: Moment<'_>, out: &mut Effects) {
        let Some(held) = &self.lease else { return };
        let next_us =
            if held.is_renewing { held.deadline_us() } else { held.renew_at_us.min(held.deadline_us()) };
        self.lease_looks += 1;
        out.push(Effect::After(next_us.saturating_sub(at.local_us) + 1, Timer::Lease(self.lease_looks)));
    }

    pub(super) fn look_at_lease(&mut self, at: Moment<'_>, out: &mut Effects) {
        let Some(held) = &mut self.lease else { return };
        if !held.is_held(at.local_us) {
            return self.lose_lease(at, out);
        }
        if !held.is_renewing && at.local_us >= held.renew_at_us {
            held.is_renewing = true;
            let (id, limit_us) = (held.id, held.ttl_us / 4);
            self.ask(Purpose::Renew { sent_us: at.local_us }, Request::Renew(id), limit_us, out);
        }
        self.watch_lease(at, out);
    }

    pub(super) fn renewed(&mut self, sent_us: u64, reply: Option<Reply>, at: Moment<'_>, out: &mut Effects) {
        let Some(held) = &mut self.lease else { return };
        match reply {
            Some(Reply::Lease(grant)) if grant.id == held.id && held.is_held(at.local_us) => {
                held.renewed(sent_us);
            }
            Some(Reply::Lease(grant)) if grant.id != held.id => return,
            None => (held.is_renewing, held.renew_at_us) = (false, at.local_us + held.ttl_us / 20),
            _ => return self.lose_lease(at, out),
        }
        self.watch_lease(at, out);
    }

    fn lose_lease(&mut self, at: Moment<'_>, out: &mut Effects) {
        let Some(held) = self.lease.take() else { return };
        self.ask_for(Purpose::GiveUp, Request::Revoke(held.id), out);
        if self.stage == Stage::In {
            out.push(Effect::Saw(Saw::LostLease));
            self.core.lost();
            self.resign();
            if at.shared.renews_writer && !at.has(Defect::KeepsItsWriter) {
                self.names += 1;
                self.writer = format!("{}-{}.{}", self.node, self.number, self.names);
            }
        }
        self.stage = Stage::Out;
        // What it asked for under that lease is of no use any more.
        self.purposes
            .retain(|_, purpose| !matches!(purpose, Purpose::Join | Purpose::Evict | Purpose::Renew { .. }));
        self.kept_is_old = true;
        match self.is_leaving {
            true => out.push(Effect::Exit { again: false }),
            false => self.register(at, out),
        }
    }

    pub(super) fn leave(&mut self, out: &mut Effects) {
        if self.is_leaving {
            return;
        }
        self.is_leaving = true;
        if self.stage != Stage::In {
            return out.push(Effect::Exit { again: false });
        }
        self.core.leave();
        out.push(Effect::After(5_000_000, Timer::LeaveAnyway));
    }

    /// Ends the registration, and then the process.
    pub(super) fn unregister(&mut self, out: &mut Effects) {
        if std::mem::replace(&mut self.is_unregistering, true) {
            return;
        }
        match self.lease_id() {
            Some(lease) => self.ask_for(Purpose::Leave, Request::Revoke(lease), out),
            None => out.push(Effect::Exit { again: false }),
        }
    }
}
