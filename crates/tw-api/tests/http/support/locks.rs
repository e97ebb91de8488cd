//! Locks on a table: whoever asks for one that is taken is refused at once, or waits for ever.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tw_api::parts::{HeldLock, Lock, LockClaim, LockSession, Locks};
use tw_api::{Code, Problem};

#[derive(Default)]
pub(crate) struct Table(Mutex<State>);

#[derive(Default)]
struct State {
    /// Owners, by session.
    sessions: BTreeMap<String, String>,
    /// Who holds which lock.
    held: BTreeMap<String, LockClaim>,
    /// How many wait for any.
    waiting: usize,
    last: u64,
}

impl State {
    fn session(&self, session: &str) -> Result<LockSession, Problem> {
        let missing = || Problem::new(Code::NoLockSession, format!("there is no lock session `{session}`"));
        let owner = self.sessions.get(session).ok_or_else(missing)?.clone();
        let held = self.held.iter().filter(|(_, claim)| claim.session == session);
        let locks = held.map(|(name, claim)| HeldLock { name: name.clone(), token: claim.token }).collect();
        let deadline = "2026-01-31T09:30:30Z".into();
        let session = session.to_owned();
        Ok(LockSession { session, owner, ttl_ms: 1, left_ms: 1, deadline, locks, wounded: Vec::new() })
    }

    fn take(&mut self, session: &str, names: &[String]) -> Result<LockSession, Problem> {
        let owner = self.session(session)?.owner;
        let taken = names.iter().find_map(|name| self.held.get_key_value(name));
        if let Some((name, holder)) = taken {
            return Err(Problem::locked(name, &holder.owner, 1, format!("`{name}` is held")));
        }
        for name in names {
            self.last += 1;
            let claim = LockClaim { owner: owner.clone(), session: session.to_owned(), token: self.last };
            self.held.insert(name.clone(), claim);
        }
        self.session(session)
    }
}

impl Locks for Table {
    fn open<'a>(
        &'a self,
        owner: &'a str,
        names: &'a [String],
        _: Duration,
        wait: Duration,
    ) -> BoxFuture<'a, Result<LockSession, Problem>> {
        Box::pin(async move {
            let session = format!("s{}", self.0.lock().last);
            self.0.lock().sessions.insert(session.clone(), owner.to_owned());
            let taken = self.take(&session, names, wait).await;
            if taken.is_err() {
                self.0.lock().sessions.remove(&session);
            }
            taken
        })
    }

    fn take<'a>(
        &'a self,
        session: &'a str,
        names: &'a [String],
        wait: Duration,
    ) -> BoxFuture<'a, Result<LockSession, Problem>> {
        Box::pin(async move {
            let taken = self.0.lock().take(session, names);
            match taken {
                Err(problem) if problem.code() == Code::Locked && !wait.is_zero() => {
                    self.0.lock().waiting += 1;
                    std::future::pending().await
                }
                taken => taken,
            }
        })
    }

    fn renew<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<LockSession, Problem>> {
        Box::pin(async move { self.0.lock().session(session) })
    }

    fn close<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            let mut state = self.0.lock();
            state.session(session)?;
            state.sessions.remove(session);
            state.held.retain(|_, claim| claim.session != session);
            Ok(())
        })
    }

    fn release<'a>(&'a self, session: &'a str, lock: &'a str) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            let mut state = self.0.lock();
            state.session(session)?;
            let held = state.held.remove(lock).map(drop);
            held.ok_or_else(|| Problem::new(Code::LockNotHeld, format!("`{lock}` is not held")))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Lock>, Problem>> {
        Box::pin(async {
            let state = self.0.lock();
            let locks = state.held.iter().map(|(name, holder)| Lock {
                name: name.clone(),
                holder: Some(holder.clone()),
                waiting: Vec::new(),
            });
            Ok(locks.collect())
        })
    }

    fn show<'a>(&'a self, lock: &'a str) -> BoxFuture<'a, Result<Lock, Problem>> {
        Box::pin(async move {
            let state = self.0.lock();
            let holder = state.held.get(lock).cloned();
            let waiting = holder.iter().cloned().cycle().take(state.waiting).collect();
            Ok(Lock { name: lock.to_owned(), holder, waiting })
        })
    }
}
