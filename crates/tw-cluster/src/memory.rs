//! The engine of a single process: the reference that the others are compared with.
//!
//! [`state`] is the key space as a pure state machine; this shell gives it the time, wakes watches, and lets leases end
//! when nobody calls.

mod state;

pub use state::KeySpace;

use crate::coordination::{Changes, Coordination, Grant, LeaseId, Revision, Snapshot, Watch};
use crate::{BoxFuture, Error, Outcome, Range, Result, Time, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The options of the engine in process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryOptions {
    /// How many changes are remembered for reads at older revisions and for watches that are behind: 1 to 10,000,000. Older
    /// ones are compacted.
    pub history_max: u32,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { history_max: 100_000 }
    }
}

/// Coordination within one process. What it holds ends with it.
#[derive(Debug)]
pub struct MemoryCoordination {
    shared: Arc<Shared>,
    expiry: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    time: Arc<dyn Time>,
    state: Mutex<KeySpace>,
    /// The revision, and when the next lease ends: what watches and the task of expiry wait for.
    progress: watch::Sender<(Revision, Option<Duration>)>,
}

impl MemoryCoordination {
    /// An empty key space whose leases end by this time. Needs a tokio runtime, in which a task lets them end.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn new(time: Arc<dyn Time>, options: &MemoryOptions) -> Result<Self> {
        Self::starting_at(time, options, Revision(1))
    }

    /// The same with this first revision, and lease numbers above it: what comes after a process that has ended and whose
    /// revisions were all lower, so that fencing tokens go on rising.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn starting_at(time: Arc<dyn Time>, options: &MemoryOptions, first: Revision) -> Result<Self> {
        if !(1..=10_000_000).contains(&options.history_max) {
            let value = options.history_max.to_string();
            return Err(Error::InvalidOption { option: "history_max", value, rule: "1 to 10,000,000" });
        }
        let state = KeySpace::starting_at(options.history_max as usize, first);
        let progress = watch::Sender::new((state.revision(), None));
        let shared = Arc::new(Shared { time, state: Mutex::new(state), progress });
        let expiry = tokio::spawn(expire(Arc::downgrade(&shared))).abort_handle();
        Ok(Self { shared, expiry })
    }
}

impl Drop for MemoryCoordination {
    fn drop(&mut self) {
        self.expiry.abort();
    }
}

/// Lets leases end when their time has come, for as long as there is somebody to notice.
async fn expire(shared: Weak<Shared>) {
    let Some((mut progress, time)) =
        shared.upgrade().map(|shared| (shared.progress.subscribe(), shared.time.clone()))
    else {
        return;
    };
    loop {
        let next = progress.borrow_and_update().1;
        tokio::select! {
            () = time.sleep_until_any(next) => match shared.upgrade() {
                Some(shared) => shared.with(|_, _| ()),
                None => return,
            },
            changed = progress.changed() => if changed.is_err() { return },
        }
    }
}

impl Shared {
    /// Does something to the state as it is now, and wakes whoever waits for what came of it.
    fn with<T>(&self, act: impl FnOnce(&mut KeySpace, Duration) -> T) -> T {
        let mut state = self.state.lock();
        let now = self.time.now();
        state.expire(now);
        let outcome = act(&mut state, now);
        let progress = (state.revision(), state.next_expiry());
        // Within the lock, so that progress never runs backwards.
        self.progress.send_if_modified(|old| std::mem::replace(old, progress) != progress);
        outcome
    }

    /// The same as a future, which does nothing before it is polled.
    fn done<'a, T: Send + 'a>(
        &'a self,
        act: impl FnOnce(&mut KeySpace, Duration) -> Result<T> + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move { self.with(act) })
    }
}

impl Coordination for MemoryCoordination {
    fn read(&self, range: Range, at: Option<Revision>) -> BoxFuture<'_, Result<Snapshot>> {
        self.shared.done(move |state, _| state.read(&range, at))
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome>> {
        self.shared.done(|state, _| state.commit(transaction))
    }

    fn watch(&self, range: Range, from: Revision) -> Box<dyn Watch> {
        let progress = self.shared.progress.subscribe();
        Box::new(MemoryWatch { shared: self.shared.clone(), progress, range, next: from, failed: None })
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Grant>> {
        self.shared.done(move |state, now| Ok(state.grant(ttl, now)))
    }

    fn renew(&self, lease: LeaseId) -> BoxFuture<'_, Result<Grant>> {
        self.shared.done(move |state, now| state.renew(lease, now))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        self.shared.done(move |state, _| {
            state.revoke(lease);
            Ok(())
        })
    }

    fn compact(&self, before: Revision) -> BoxFuture<'_, Result<()>> {
        self.shared.done(move |state, _| state.compact(before))
    }

    fn time(&self) -> Arc<dyn Time> {
        self.shared.time.clone()
    }
}

#[derive(Debug)]
struct MemoryWatch {
    shared: Arc<Shared>,
    progress: watch::Receiver<(Revision, Option<Duration>)>,
    range: Range,
    next: Revision,
    failed: Option<Error>,
}

impl Watch for MemoryWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Changes>> {
        Box::pin(async move {
            loop {
                if let Some(error) = &self.failed {
                    return Err(error.clone());
                }
                // Marked as seen before the look, so that a change in between is not missed.
                self.progress.mark_unchanged();
                let found = self.shared.with(|state, _| {
                    let through = state.revision();
                    state.changes(&self.range, self.next).map(|changes| Changes { through, changes })
                });
                match found {
                    Err(error) => self.failed = Some(error),
                    Ok(changes) => {
                        self.next = self.next.max(changes.through.next());
                        if !changes.changes.is_empty() {
                            return Ok(changes);
                        }
                        // The sender is in `self.shared`, so this is never closed.
                        let _never_closed = self.progress.changed().await;
                    }
                }
            }
        })
    }
}
