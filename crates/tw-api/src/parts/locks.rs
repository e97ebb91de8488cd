//! Locks for clients.

use crate::Problem;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// Locks with fencing tokens, held by sessions that their clients renew.
pub trait Locks: Send + Sync + 'static {
    /// Opens a session that holds all of these locks; waits for them, for at most `wait`. Dropping the future ends it.
    fn open<'a>(
        &'a self,
        owner: &'a str,
        names: &'a [String],
        ttl: Duration,
        wait: Duration,
    ) -> BoxFuture<'a, Result<LockSession, Problem>>;

    /// Takes further locks in a session, all or none of them. Dropping the future gives up the wait.
    fn take<'a>(
        &'a self,
        session: &'a str,
        names: &'a [String],
        wait: Duration,
    ) -> BoxFuture<'a, Result<LockSession, Problem>>;

    /// Starts the session's time anew.
    fn renew<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<LockSession, Problem>>;

    /// Ends a session and releases its locks.
    fn close<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), Problem>>;

    /// Releases one lock of a session.
    fn release<'a>(&'a self, session: &'a str, lock: &'a str) -> BoxFuture<'a, Result<(), Problem>>;

    /// All locks that somebody holds or waits for, in the order of their names.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Lock>, Problem>>;

    /// One lock; nobody holds it if it is not known.
    fn show<'a>(&'a self, lock: &'a str) -> BoxFuture<'a, Result<Lock, Problem>>;
}

/// A lock session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockSession {
    /// Names it in further requests.
    #[schema(example = "694d77aa9e38260f")]
    pub session: String,
    /// Who it is, in its own words.
    #[schema(example = "cron@db-1")]
    pub owner: String,
    /// How long it lasts without a renewal, in milliseconds.
    #[schema(example = 30000)]
    pub ttl_ms: u64,
    /// For how many milliseconds it lasts for certain after this answer was made. Of a renewal, count `ttl_ms` from the moment
    /// before it was sent.
    #[schema(example = 29998)]
    pub left_ms: u64,
    /// The same as a time by the node's clock, RFC 3339.
    #[schema(example = "2026-01-31T09:30:30.125Z")]
    pub deadline: String,
    /// What it holds, in the order of the names.
    pub locks: Vec<HeldLock>,
    /// What of that older sessions wait for. This one is not let wait for anything more before it has released it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!([]))]
    pub wounded: Vec<String>,
}

/// A lock that a session holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldLock {
    /// Its name.
    #[schema(example = "nightly-report")]
    pub name: String,
    /// The fencing token: higher than that of everybody who held the lock before.
    #[schema(example = 4294967298u64)]
    pub token: u64,
}

/// A lock, who holds it, and who waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    /// Its name.
    #[schema(example = "nightly-report")]
    pub name: String,
    /// Who holds it; absent if it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<LockClaim>,
    /// Who waits for it, in the order in which they get it.
    pub waiting: Vec<LockClaim>,
}

/// Somebody who holds a lock or waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockClaim {
    /// Who it is, in its own words.
    #[schema(example = "cron@db-1")]
    pub owner: String,
    /// Its session.
    #[schema(example = "694d77aa9e38260f")]
    pub session: String,
    /// Its fencing token, now or once it holds the lock.
    #[schema(example = 4294967298u64)]
    pub token: u64,
}
