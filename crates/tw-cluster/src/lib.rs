//! Coordination: what the nodes of one cluster must agree on, and how they find each other.
//!
//! Everything stands on the trait [`Coordination`]: a small, strongly ordered key space with leases, compare-and-set and
//! watches. [`MemoryCoordination`] is the engine of a single process, and the reference; [`EtcdCoordination`] is etcd. One
//! conformance suite holds both to the same promises. On top, and knowing of no engine: [`Lease`] (kept, and given up in time),
//! [`Election`], [`Locks`] and, for clients that keep their leases themselves, [`LockSessions`], and
//! [`Members`]. Coordination is never in the path of an event: it says who owns what, under which fencing token, and until
//! when; [`Owners`] carries that out.

#[cfg(feature = "conformance")]
pub mod conformance;
mod coordination;
mod election;
mod error;
mod etcd;
mod key;
mod lease;
mod line;
mod locks;
mod members;
mod memory;
mod mirror;
mod ownership;
mod record;
mod sessions;
mod time;
mod transaction;

pub use coordination::{Change, Changes, Coordination, Entry, Grant, LeaseId, Revision, Snapshot, Watch};
pub use election::{Election, Leadership, Observer};
pub use error::{Error, Outage};
pub use etcd::{EtcdCoordination, EtcdOptions, EtcdTls};
pub use key::{Key, Range};
pub use lease::{Lease, LeaseOptions};
pub use line::Waiter;
pub use locks::{Lock, Locks};
pub use members::{Capacity, Load, Member, MemberEvent, Members, Membership, Registration, Roster, Standing};
pub use memory::{KeySpace, MemoryCoordination, MemoryOptions};
pub use ownership::{Broken, DATA_ROLE, Owner, Owners, OwnersOptions, Prober, Rebalance, Sign, Units};
pub use sessions::{LockOptions, LockQueue, LockSession, LockSessions};
pub use time::{SimTime, SystemTime, Time};
pub use transaction::{Guard, Operation, Outcome, Transaction};

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
/// A boxed future, as the traits' methods return.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;
