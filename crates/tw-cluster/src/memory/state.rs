//! The key space as a pure state machine: `(state, request, now) -> outcome`. No clock, no waiting. The engine in process is
//! a shell around it, and simulations step it by themselves.

use crate::coordination::{Change, Entry, Grant, LeaseId, Revision, Snapshot};
use crate::{Error, Key, Operation, Outcome, Range, Result, Transaction};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The shortest lease.
const TTL_MIN: Duration = Duration::from_secs(1);

/// A key space with leases. Times are of any clock that only rises.
#[derive(Debug)]
pub struct KeySpace {
    revision: Revision,
    entries: BTreeMap<Key, Entry>,
    /// How it was at `compacted`.
    base: BTreeMap<Key, Entry>,
    /// The oldest revision that can be read.
    compacted: Revision,
    /// What has changed since, oldest first.
    history: VecDeque<Change>,
    history_max: usize,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: u64,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    until: Duration,
    keys: BTreeSet<Key>,
}

impl KeySpace {
    /// An empty key space, whose revision is 1, as etcd's is. It remembers so many changes.
    pub fn new(history_max: usize) -> Self {
        Self::starting_at(history_max, Revision(1))
    }

    /// The same at another revision. Those before are as if compacted, and leases have higher numbers.
    pub fn starting_at(history_max: usize, first: Revision) -> Self {
        Self {
            revision: first,
            entries: BTreeMap::new(),
            base: BTreeMap::new(),
            compacted: Revision(first.0.saturating_sub(1)),
            history: VecDeque::new(),
            history_max,
            leases: BTreeMap::new(),
            last_lease: first.0.saturating_sub(1),
        }
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// When the next lease ends.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.leases.values().map(|lease| lease.until).min()
    }

    /// Ends the leases whose time has come, each at a revision of its own.
    pub fn expire(&mut self, now: Duration) {
        let due = |lease: &Lease| lease.until <= now;
        let mut ended: Vec<(Duration, LeaseId)> = self
            .leases
            .iter()
            .filter(|(_, lease)| due(lease))
            .map(|(id, lease)| (lease.until, *id))
            .collect();
        ended.sort_unstable();
        for (_, id) in ended {
            self.revoke(id);
        }
    }

    /// The entries of a range, now or as they were at a revision.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::NotYet`].
    pub fn read(&self, range: &Range, at: Option<Revision>) -> Result<Snapshot> {
        let wanted = at.unwrap_or(self.revision);
        if wanted > self.revision {
            return Err(Error::NotYet { wanted });
        }
        if wanted < self.compacted {
            return Err(Error::Compacted { range: range.clone(), wanted });
        }
        let within = |entries: &BTreeMap<Key, Entry>| {
            let entries = entries.values().filter(|entry| range.contains(&entry.key));
            entries.cloned().collect::<Vec<_>>()
        };
        let entries = match wanted == self.revision {
            true => within(&self.entries),
            false => {
                let mut then = self.base.clone();
                for change in self.history.iter().take_while(|change| change.revision() <= wanted) {
                    apply(&mut then, change.clone());
                }
                within(&then)
            }
        };
        Ok(Snapshot { revision: wanted, entries })
    }

    /// Carries out all operations of the transaction at one revision if all its guards hold, and nothing otherwise.
    ///
    /// # Errors
    /// [`Error::NoLease`], [`Error::TooLarge`], [`Error::TooManyOperations`], [`Error::WrittenTwice`].
    pub fn commit(&mut self, transaction: Transaction) -> Result<Outcome> {
        transaction.check()?;
        let found = |key: &Key| self.entries.get(key);
        if !transaction.guards.iter().all(|guard| guard.holds(found(guard.key()))) {
            let found = transaction.guards.iter().map(|guard| found(guard.key()).cloned()).collect();
            return Ok(Outcome::Failed { revision: self.revision, found });
        }
        for operation in &transaction.operations {
            if let Operation::Put { lease: Some(lease), .. } = operation
                && !self.leases.contains_key(lease)
            {
                return Err(Error::NoLease(*lease));
            }
        }
        let revision = self.revision.next();
        let changes: Vec<Change> = transaction
            .operations
            .into_iter()
            .filter_map(|operation| match operation {
                Operation::Put { key, value, lease } => {
                    let created = self.entries.get(&key).map_or(revision, |entry| entry.created);
                    Some(Change::Put(Entry { key, value, created, modified: revision, lease }))
                }
                Operation::Delete(key) => {
                    self.entries.contains_key(&key).then_some(Change::Delete { key, revision })
                }
            })
            .collect();
        self.record(changes);
        Ok(Outcome::Done(self.revision))
    }

    /// Carries out the changes of the next revision, if there are any.
    fn record(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.revision = self.revision.next();
        for change in changes {
            self.attach(&change);
            apply(&mut self.entries, change.clone());
            self.history.push_back(change);
        }
        while self.history.len() > self.history_max {
            let Some(oldest) = self.history.front().map(Change::revision) else { break };
            self.forget(oldest);
        }
    }

    /// Moves the changed key from the lease that it was under to the one that it is under now.
    fn attach(&mut self, change: &Change) {
        let key = change.key();
        let old = self.entries.get(key).and_then(|entry| entry.lease);
        if let Some(lease) = old.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.remove(key);
        }
        if let Change::Put(Entry { lease: Some(id), .. }) = change
            && let Some(lease) = self.leases.get_mut(id)
        {
            lease.keys.insert(key.clone());
        }
    }

    /// The changes of a range from a revision on (inclusive).
    ///
    /// # Errors
    /// [`Error::Compacted`].
    pub fn changes(&self, range: &Range, from: Revision) -> Result<Vec<Change>> {
        // Revision 1 is the empty key space.
        if from.max(Revision(2)) <= self.compacted {
            return Err(Error::Compacted { range: range.clone(), wanted: from });
        }
        let start = self.history.partition_point(|change| change.revision() < from);
        let changes = self.history.range(start..).filter(|change| range.contains(change.key()));
        Ok(changes.cloned().collect())
    }

    /// Makes a lease, of whole seconds.
    pub fn grant(&mut self, ttl: Duration, now: Duration) -> Grant {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        // Whole seconds, as etcd counts them.
        let ttl = Duration::from_secs(ttl.as_millis().div_ceil(1000) as u64).max(TTL_MIN);
        let until = now.saturating_add(ttl);
        self.leases.insert(id, Lease { ttl, until, keys: BTreeSet::new() });
        Grant { id, ttl, until }
    }

    /// Starts a lease's time anew.
    ///
    /// # Errors
    /// [`Error::NoLease`].
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Result<Grant> {
        let lease = self.leases.get_mut(&id).ok_or(Error::NoLease(id))?;
        lease.until = now.saturating_add(lease.ttl);
        Ok(Grant { id, ttl: lease.ttl, until: lease.until })
    }

    /// Ends a lease and deletes its keys, at one revision.
    pub fn revoke(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else { return };
        let revision = self.revision.next();
        self.record(lease.keys.into_iter().map(|key| Change::Delete { key, revision }).collect());
    }

    /// Forgets what was before a revision.
    ///
    /// # Errors
    /// [`Error::NotYet`].
    pub fn compact(&mut self, before: Revision) -> Result<()> {
        if before > self.revision {
            return Err(Error::NotYet { wanted: before });
        }
        self.forget(before);
        Ok(())
    }

    fn forget(&mut self, through: Revision) {
        while let Some(change) = self.history.pop_front_if(|change| change.revision() <= through) {
            apply(&mut self.base, change);
        }
        self.compacted = self.compacted.max(through);
    }
}

fn apply(entries: &mut BTreeMap<Key, Entry>, change: Change) {
    match change {
        Change::Put(entry) => {
            entries.insert(entry.key.clone(), entry);
        }
        Change::Delete { key, .. } => {
            entries.remove(&key);
        }
    }
}
