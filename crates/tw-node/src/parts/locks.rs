//! Locks behind the interface.

use super::problem::of_cluster;
use crate::core::Core;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{HeldLock, Lock, LockClaim, LockSession, Locks};
use tw_api::{Code, Problem};
use tw_cluster::{Error, LeaseId, LockQueue, LockSessions, Waiter};
use tw_types::Timestamp;

/// The locks that a node gives to clients.
pub(crate) struct NodeLocks(pub(crate) Arc<Core>);

impl NodeLocks {
    fn sessions(&self) -> Result<LockSessions, Problem> {
        let options = self.0.options.holds().locks.clone();
        LockSessions::new(self.0.coordination.clone(), options).map_err(of_cluster)
    }

    fn session(&self, session: tw_cluster::LockSession) -> LockSession {
        let left = session.until.saturating_sub(self.0.coordination.time().now());
        let left_ms = left.as_millis() as u64;
        let deadline_ms = self.0.env.clock.now_ms().saturating_add(left_ms);
        let locks = session.locks.into_iter().map(|(name, token)| HeldLock { name, token: token.0 });
        LockSession {
            session: session.id.to_string(),
            owner: session.owner,
            ttl_ms: session.ttl.as_millis() as u64,
            left_ms,
            deadline: Timestamp::from_millis(i64::try_from(deadline_ms).unwrap_or_default()).to_string(),
            locks: locks.collect(),
            wounded: session.wounded,
        }
    }
}

impl Locks for NodeLocks {
    fn open<'a>(
        &'a self,
        owner: &'a str,
        names: &'a [String],
        ttl: Duration,
        wait: Duration,
    ) -> BoxFuture<'a, Result<LockSession, Problem>> {
        Box::pin(async move {
            let opened = self.sessions()?.open(owner, names, ttl, wait).await;
            opened.map(|session| self.session(session)).map_err(of_cluster)
        })
    }

    fn take<'a>(
        &'a self,
        session: &'a str,
        names: &'a [String],
        wait: Duration,
    ) -> BoxFuture<'a, Result<LockSession, Problem>> {
        Box::pin(async move {
            let taken = self.sessions()?.take(id(session)?, names, wait).await;
            taken.map(|session| self.session(session)).map_err(of_cluster)
        })
    }

    fn renew<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<LockSession, Problem>> {
        Box::pin(async move {
            let renewed = self.sessions()?.renew(id(session)?).await;
            renewed.map(|session| self.session(session)).map_err(of_cluster)
        })
    }

    fn close<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move { self.sessions()?.close(id(session)?).await.map_err(of_cluster) })
    }

    fn release<'a>(&'a self, session: &'a str, lock: &'a str) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move { self.sessions()?.release(id(session)?, lock).await.map_err(of_cluster) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Lock>, Problem>> {
        Box::pin(async {
            let locks = self.sessions()?.list().await.map_err(of_cluster)?;
            Ok(locks.into_iter().map(lock_of).collect())
        })
    }

    fn show<'a>(&'a self, lock: &'a str) -> BoxFuture<'a, Result<Lock, Problem>> {
        Box::pin(async move { self.sessions()?.show(lock).await.map(lock_of).map_err(of_cluster) })
    }
}

fn id(session: &str) -> Result<LeaseId, Problem> {
    LeaseId::parse(session).ok_or_else(|| {
        let shown: String = session.chars().take(80).collect();
        Problem::new(Code::NoLockSession, Error::NoSession(shown).to_string())
    })
}

fn lock_of(queue: LockQueue) -> Lock {
    let mut line = queue.line.into_iter().map(|Waiter { who, token, lease, .. }| LockClaim {
        owner: who,
        session: lease.map_or_else(String::new, |lease| lease.to_string()),
        token: token.0,
    });
    Lock { name: queue.name, holder: line.next(), waiting: line.collect() }
}
