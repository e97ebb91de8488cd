//! Membership: which nodes there are, what they can do, and how busy they are.
//!
//! A node is the key `members/NODE` under its lease, so a node that goes silent is gone when its lease has ended. Its load is
//! the key `members/NODE/load`, written again and again.

mod record;
mod roster;

pub use record::{Capacity, Load, Member, Registration, Standing};
pub use roster::{MemberEvent, Roster};

use crate::{Coordination, Entry, Error, Guard, Key, Lease, Outcome, Result, Revision, Transaction};
use record::{LoadV1, MemberV1};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The last segment of the key of a load.
const LOAD: &str = "load";

/// The nodes of a cluster.
#[derive(Debug, Clone)]
pub struct Members {
    coordination: Arc<dyn Coordination>,
    parent: Key,
}

impl Members {
    /// The nodes that this coordination knows.
    ///
    /// # Errors
    /// [`Error::InvalidKey`].
    pub fn new(coordination: Arc<dyn Coordination>) -> Result<Self> {
        Ok(Self { coordination, parent: Key::new(["members"])? })
    }

    /// The key of a node.
    pub(crate) fn key(&self, node: &str) -> Result<Key> {
        self.parent.child(node)
    }

    /// Registers a node for as long as the lease lasts.
    ///
    /// A node that was killed is registered until its lease has ended. Whoever starts it again, and is certain that it is the
    /// same, [revokes](Coordination::revoke) the old lease first.
    ///
    /// # Errors
    /// [`Error::NodeTaken`] while another lease holds the name, [`Error::NoLease`], [`Error::InvalidKey`],
    /// [`Error::TooLarge`], [`Error::Unavailable`], [`Error::Unknown`] (join again), [`Error::Refused`].
    pub async fn join(&self, lease: &Lease, registration: &Registration) -> Result<Membership> {
        self.join_as(Standing::Active, lease, registration).await
    }

    /// Registers a node that is to be given work, or that drains, as [`Members::join`] does.
    pub(crate) async fn join_as(
        &self,
        standing: Standing,
        lease: &Lease,
        registration: &Registration,
    ) -> Result<Membership> {
        let key = self.key(&registration.node)?;
        let joined_ms = self.coordination.time().clock().now_ms();
        let record = MemberV1::new(registration, standing, joined_ms);
        let join = Transaction::new().when(Guard::Absent(key.clone()));
        let join = join.put_under(lease.id(), &key, record.encode(&key)?);
        let epoch = match self.coordination.commit(join).await? {
            Outcome::Done(revision) => revision,
            Outcome::Failed { found, .. } => match found.into_iter().flatten().next() {
                // An earlier try, whose outcome was unknown.
                Some(entry) if entry.lease == Some(lease.id()) => entry.created,
                other => {
                    let lease = other.and_then(|entry| entry.lease);
                    return Err(Error::NodeTaken { node: registration.node.clone(), lease });
                }
            },
        };
        let (members, node) = (self.clone(), registration.node.clone());
        Ok(Membership { members, node, key, epoch, lease: lease.clone() })
    }

    /// All nodes, by name, and the revision at which they were so.
    ///
    /// # Errors
    /// Those of [`Coordination::read`].
    pub async fn list(&self) -> Result<(Revision, BTreeMap<String, Member>)> {
        let read = self.coordination.read(self.parent.below(), None).await?;
        Ok((read.revision, record::members(&read.entries)))
    }

    /// Follows all nodes.
    pub fn watch(&self) -> Roster {
        Roster::new(self.coordination.clone(), self.parent.below())
    }

    /// Says whether a node is to be given work. Anybody may: the node itself, which is about to leave, or an operator.
    /// Returns whether that changed something.
    ///
    /// # Errors
    /// [`Error::NoMember`], [`Error::InvalidKey`], and those of [`Coordination::commit`].
    pub async fn set_standing(&self, node: &str, standing: Standing) -> Result<bool> {
        let key = self.key(node)?;
        loop {
            let read = self.coordination.read(key.alone(), None).await?;
            let no_member = || Error::NoMember { node: node.to_owned() };
            let entry = read.entries.into_iter().next().ok_or_else(no_member)?;
            let mut record = MemberV1::decode(&entry)?;
            if record.standing == standing {
                return Ok(false);
            }
            record.standing = standing;
            let lease = entry.lease.ok_or_else(no_member)?;
            let change = Transaction::new().when(Guard::Unchanged(key.clone(), entry.modified));
            match self.coordination.commit(change.put_under(lease, &key, record.encode(&key)?)).await {
                Ok(Outcome::Done(_)) => return Ok(true),
                Ok(Outcome::Failed { .. }) => {}
                Err(Error::NoLease(_)) => return Err(no_member()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A node's own registration.
#[derive(Debug)]
pub struct Membership {
    members: Members,
    node: String,
    key: Key,
    epoch: Revision,
    lease: Lease,
}

impl Membership {
    /// The node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The number that fences off whoever had this name before: higher with each registration.
    pub fn epoch(&self) -> Revision {
        self.epoch
    }

    /// What a transaction demands that only this registration may carry out.
    pub fn guard(&self) -> Guard {
        Guard::Created(self.key.clone(), self.epoch)
    }

    /// The lease on which everything rests.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Tells how busy the node is.
    ///
    /// # Errors
    /// [`Error::NoLease`] when it is not registered any more, and those of [`Coordination::commit`].
    pub async fn report(&self, load: &Load) -> Result<()> {
        let at_ms = self.members.coordination.time().clock().now_ms();
        let key = self.key.child(LOAD)?;
        let value = LoadV1::new(load, at_ms).encode(&key)?;
        self.commit(Transaction::new().put_under(self.lease.id(), &key, value)).await
    }

    /// Unregisters the node. What it holds under its lease it holds until that is revoked.
    ///
    /// # Errors
    /// Those of [`Coordination::commit`]. A node that is not registered any more is fine.
    pub async fn leave(self) -> Result<()> {
        let leave = Transaction::new().delete(&self.key).delete(&self.key.child(LOAD)?);
        match self.commit(leave).await {
            Err(Error::NoLease(_)) => Ok(()),
            left => left,
        }
    }

    /// Carries out a transaction if the node is registered so still; [`Error::NoLease`] if it is not.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<()> {
        match self.members.coordination.commit(transaction.when(self.guard())).await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Failed { .. } => Err(Error::NoLease(self.lease.id())),
        }
    }
}

/// Whether an entry is a node or a node's load, and of which node.
fn kind(key: &Key) -> Option<(String, bool)> {
    let mut segments = key.segments().skip(1);
    let node = segments.next()?.into_owned();
    match (segments.next(), segments.next()) {
        (None, _) => Some((node, false)),
        (Some(name), None) if name == LOAD => Some((node, true)),
        _ => None,
    }
}

/// The node that an entry registers.
fn member(entry: &Entry) -> Option<Member> {
    let record = MemberV1::decode(entry).inspect_err(|error| tracing::warn!("{error}: passed over"));
    Some(record.ok()?.member(entry))
}

/// The load that an entry tells.
fn load(entry: &Entry) -> Option<Load> {
    let record = LoadV1::decode(entry).inspect_err(|error| tracing::warn!("{error}: passed over"));
    Some(record.ok()?.load())
}
