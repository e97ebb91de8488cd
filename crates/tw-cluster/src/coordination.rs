//! The trait [`Coordination`].

use crate::{BoxFuture, Key, Outcome, Range, Result, Time, Transaction};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The largest value, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The number of a change to the key space: each committed transaction that changes something takes the next one.
///
/// Revisions never repeat and never run backwards, which makes them fencing tokens: whoever came later has the higher
/// one, and a resource that remembers the highest it has seen can refuse all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The one after it.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a lease. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl LeaseId {
    /// The lease whose number is written so, as [`LeaseId`] is displayed; nothing for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(u64::from_str_radix(text, 16).ok().filter(|id| *id > 0)?);
        (id.to_string() == text).then_some(id)
    }
}

/// A key and what is stored under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value, at most 1 MiB.
    pub value: Bytes,
    /// The revision that made the key; a key that is deleted and written again has a new one.
    pub created: Revision,
    /// The revision that wrote it last.
    pub modified: Revision,
    /// The lease whose end removes it.
    pub lease: Option<LeaseId>,
}

/// The keys of a range at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it shows: every change up to and including this one. Watching from [`Revision::next`] on misses nothing.
    pub revision: Revision,
    /// The entries, by key.
    pub entries: Vec<Entry>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Put(Entry),
    /// It was deleted, by a transaction or by the end of its lease.
    Delete {
        /// The key.
        key: Key,
        /// By which change.
        revision: Revision,
    },
}

impl Change {
    /// Which key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.modified,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// What a watch has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Everything in the range up to and including this revision has been told.
    pub through: Revision,
    /// The changes, in order of their revisions; those of one revision come together. Never empty.
    pub changes: Vec<Change>,
}

/// A lease as it was granted or renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The lease.
    pub id: LeaseId,
    /// How long it lasts without a renewal. May be longer than what was asked for.
    pub ttl: Duration,
    /// Until when it is certain to exist, unless it is revoked, on the clock of [`Coordination::time`]: `ttl` after the
    /// moment *before* the request was sent. The engine removes it at that moment or later, as long as its clock and ours
    /// run equally fast.
    pub until: Duration,
}

/// A small, strongly consistent key space with leases: what a cluster agrees on.
///
/// - Reads and transactions are linearisable.
/// - A transaction that fails with [`crate::Error::Unknown`] may have happened, or may happen yet.
/// - Engines reconnect by themselves. A request that finds nobody fails with [`crate::Error::Unavailable`] after the
///   engine's limit; a watch waits.
pub trait Coordination: Send + Sync + fmt::Debug {
    /// The entries of a range, now or as they were at a revision.
    ///
    /// # Errors
    /// [`crate::Error::Compacted`], [`crate::Error::NotYet`], [`crate::Error::Unavailable`],
    /// [`crate::Error::Refused`].
    fn read(&self, range: Range, at: Option<Revision>) -> BoxFuture<'_, Result<Snapshot>>;

    /// Carries out all operations of the transaction at one revision if all its guards hold, and nothing otherwise.
    ///
    /// # Errors
    /// [`crate::Error::Unknown`] and [`crate::Error::Unavailable`] (it has not happened),
    /// [`crate::Error::NoLease`], [`crate::Error::TooLarge`], [`crate::Error::TooManyOperations`],
    /// [`crate::Error::WrittenTwice`], [`crate::Error::Refused`].
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome>>;

    /// Watches a range from a revision on (inclusive). Nothing happens before the first [`Watch::next`].
    fn watch(&self, range: Range, from: Revision) -> Box<dyn Watch>;

    /// Makes a lease. `ttl` is rounded up to what the engine can do, at least 1 s.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`], [`crate::Error::Unknown`] (then a lease may exist that ends by itself),
    /// [`crate::Error::Refused`].
    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Grant>>;

    /// Starts a lease's time anew.
    ///
    /// # Errors
    /// [`crate::Error::NoLease`] when it has ended, [`crate::Error::Unavailable`], [`crate::Error::Refused`].
    fn renew(&self, lease: LeaseId) -> BoxFuture<'_, Result<Grant>>;

    /// Ends a lease and deletes its keys, at one revision. A lease that has ended already is fine.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`], [`crate::Error::Refused`].
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>>;

    /// Forgets what was before a revision: how things were then can no longer be read, nor watched from there. Repeating
    /// it, or asking for less than before, changes nothing.
    ///
    /// # Errors
    /// [`crate::Error::NotYet`], [`crate::Error::Unavailable`], [`crate::Error::Refused`].
    fn compact(&self, before: Revision) -> BoxFuture<'_, Result<()>>;

    /// The time by which leases are measured.
    fn time(&self) -> Arc<dyn Time>;
}

/// A watch of a range. It survives disconnections: nothing is told twice and nothing is left out.
pub trait Watch: Send {
    /// Waits for the next changes. Cancel-safe.
    ///
    /// # Errors
    /// [`crate::Error::Compacted`] when changes that were not told yet are forgotten: read the range anew, and watch from
    /// there. [`crate::Error::Refused`]. After an error the watch gives the same error again.
    fn next(&mut self) -> BoxFuture<'_, Result<Changes>>;
}
