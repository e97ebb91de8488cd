//! What can go wrong with coordination.

use crate::{Key, LeaseId, Range, Revision};
use std::fmt;
use std::time::Duration;

/// An operation of coordination failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A key breaks a rule.
    #[error("the key `{key}` {reason}: choose another name")]
    InvalidKey {
        /// The key, or its beginning.
        key: String,
        /// The rule.
        reason: &'static str,
    },
    /// The values of a transaction are too large.
    #[error("`{key}` brings the transaction to {bytes} bytes, over the limit of {bytes_max}: store less")]
    TooLarge {
        /// The key with which the limit was passed.
        key: Key,
        /// How many bytes there are up to it.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A transaction has too many parts.
    #[error("a transaction has {count} guards or operations, the limit is {count_max}: split it")]
    TooManyOperations {
        /// How many it has.
        count: usize,
        /// The limit.
        count_max: usize,
    },
    /// A transaction writes a key more than once.
    #[error("a transaction writes the key `{0}` twice: leave one of them out")]
    WrittenTwice(Key),
    /// What was asked for has been forgotten.
    #[error("revision {wanted} of `{range}` has been compacted: read it as it is now, and go on from there")]
    Compacted {
        /// The keys.
        range: Range,
        /// The first revision that was wanted.
        wanted: Revision,
    },
    /// A revision that has not come about.
    #[error("revision {wanted} has not come about yet: is it of another cluster?")]
    NotYet {
        /// What was asked for.
        wanted: Revision,
    },
    /// The lease has ended. Of a transaction that writes under several leases, it may be another one of them.
    #[error("lease {0} has ended: what was held under it is lost, start over with a new one")]
    NoLease(LeaseId),
    /// Nobody answered, and nothing has happened.
    #[error("cannot {0}; nothing was changed")]
    Unavailable(Outage),
    /// The answer did not come: it may have happened, and may yet.
    #[error("cannot {0}; it may have happened all the same: read before trying again")]
    Unknown(Outage),
    /// The server answered that it will not do it.
    #[error("cannot {0}")]
    Refused(Outage),
    /// The server belongs to another etcd cluster than before.
    #[error(
        "`{endpoint}` belongs to the etcd cluster {found:x}, not to {expected:x} as before: correct `endpoints`, or restart every node if etcd was replaced on purpose"
    )]
    OtherCluster {
        /// Which server.
        endpoint: String,
        /// The cluster's id so far.
        expected: u64,
        /// The cluster's id now.
        found: u64,
    },
    /// The server has forgotten what it had acknowledged: its data were wiped, or restored from a backup.
    #[error(
        "etcd at `{endpoint}` is at revision {found}, after {seen} was seen: its data were wiped or restored, and its fencing tokens would repeat; bring the data back, or restart every node"
    )]
    WentBack {
        /// Which server.
        endpoint: String,
        /// The highest revision that was seen before.
        seen: Revision,
        /// The revision that it is at.
        found: Revision,
    },
    /// What is stored under a key cannot be understood.
    #[error(
        "what is stored under `{key}` cannot be understood: {reason}: was it written by a newer version, or by hand?"
    )]
    InvalidRecord {
        /// The key.
        key: Key,
        /// Why not.
        reason: String,
    },
    /// A lock did not become free in time.
    #[error(
        "the lock `{name}` did not become free within {waited:?}: `{holder}` holds it, {ahead} were ahead; wait for longer"
    )]
    Waited {
        /// Which lock.
        name: String,
        /// How long was waited.
        waited: Duration,
        /// Who held it when the wait ended.
        holder: String,
        /// How many were ahead, with the holder.
        ahead: usize,
    },
    /// What is asked of a lock session breaks a rule.
    #[error("`{what}` of a lock session is `{value}`: it must be {rule}")]
    InvalidLock {
        /// Which part of it.
        what: &'static str,
        /// The value, or its beginning.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// A lock session does not hold this lock.
    #[error("the session does not hold the lock `{name}`: it has released it, or it was taken away")]
    NotHeld {
        /// The lock.
        name: String,
    },
    /// No lock session has this number.
    #[error(
        "there is no lock session `{0}`: it was released, or not renewed in time, and holds nothing any more"
    )]
    NoSession(String),
    /// An older lock session waits for what this one holds.
    #[error(
        "an older session waits for {}, which this one holds, so this one must not wait for more: release it, then ask again",
        quoted(names)
    )]
    Wounded {
        /// The locks that the older ones wait for, by name.
        names: Vec<String>,
    },
    /// Another node has this name, or the same one had it before and its lease has not ended yet.
    #[error(
        "a node `{node}` is registered already{}: give each node a name of its own, or wait until the old one's lease has ended", of_lease(*lease)
    )]
    NodeTaken {
        /// The name.
        node: String,
        /// The lease of the registration that is there.
        lease: Option<LeaseId>,
    },
    /// No node has this name.
    #[error("there is no node `{node}`: it has left, or its lease has ended")]
    NoMember {
        /// The name.
        node: String,
    },
    /// An option of placement or of detection is outside its bounds.
    #[error(transparent)]
    InvalidPlan(#[from] tw_plan::Error),
    /// Placement finds no plan.
    #[error("no plan can be made")]
    NoPlan(#[source] tw_plan::Error),
    /// Nobody has made a plan that was asked for.
    #[error(
        "no node has planned within {waited:?}: the one that makes the plans is away, or of an older version; nothing was moved"
    )]
    NotPlanned {
        /// How long was waited.
        waited: Duration,
    },
    /// An option is outside its bounds.
    #[error("option `{option}` of coordination is `{value}`: {rule}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
}

/// Names for a person, such as `a`, `b`.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn of_lease(lease: Option<LeaseId>) -> String {
    lease.map_or_else(String::new, |lease| format!(" under lease {lease}"))
}

/// Which request failed, where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// What was tried, such as ``read `members/` ``.
    pub action: String,
    /// The endpoint that was asked last.
    pub endpoint: String,
    /// What it answered, or why there was no answer.
    pub cause: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, endpoint, cause, remedy } = self;
        write!(f, "{action} at `{endpoint}`: {cause}: {remedy}")
    }
}
