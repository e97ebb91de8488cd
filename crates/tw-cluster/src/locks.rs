//! Locks with fencing tokens, a queue and a deadline.
//!
//! A lock keeps others out only as long as its lease lasts, and no lock service can do better: a holder may be paused at any
//! moment. So whoever changes something under a lock sends the [token](Lock::token) along, and what is changed refuses tokens
//! lower than the highest it has seen; or the change is a transaction with the lock's [guard](Lock::guard).

use crate::line::{Line, Place};
use crate::{Coordination, Error, Guard, Key, Lease, Result, Revision, Waiter};
use std::sync::Arc;
use std::time::Duration;

/// The locks of a cluster, by name.
#[derive(Debug, Clone)]
pub struct Locks {
    coordination: Arc<dyn Coordination>,
}

impl Locks {
    /// The locks that this coordination holds.
    pub fn new(coordination: Arc<dyn Coordination>) -> Self {
        Self { coordination }
    }

    /// Waits in line for the lock, for at most `wait`, and takes it under the lease. Dropping the future gives up the place.
    ///
    /// `who` tells others who holds it. One lease may wait for many locks, and several times for one: each is a holder of its
    /// own. The wait does not end on its own where holders wait for each other: take several locks in the order of their
    /// names.
    ///
    /// # Errors
    /// [`Error::Waited`] after `wait`, [`Error::NoLease`], [`Error::InvalidKey`], [`Error::Unavailable`],
    /// [`Error::Unknown`], [`Error::Refused`].
    pub async fn acquire(&self, name: &str, lease: &Lease, who: &str, wait: Duration) -> Result<Lock> {
        let line = self.line(name)?;
        let time = self.coordination.time();
        let deadline = time.now().saturating_add(wait);
        let place = line.enter(lease, who).await?;
        let has_turn = place.has_turn().await?
            || !wait.is_zero()
                && tokio::select! {
                    turn = place.turn() => turn.map(|()| true)?,
                    () = time.sleep_until(deadline) => false,
                };
        let lock = |place| Lock { name: name.to_owned(), place };
        if has_turn {
            return Ok(lock(place));
        }
        let waiters = line.waiters().await?;
        let ahead = waiters.iter().take_while(|waiter| waiter.token < place.token()).count();
        // At the very last moment.
        if ahead == 0 && lease.is_held() {
            return Ok(lock(place));
        }
        // Not left to the background: whoever is told that it has waited in vain must not get the lock after all.
        place.leave().await?;
        lease.check()?;
        let holder = waiters.into_iter().next().map_or_else(String::new, |waiter| waiter.who);
        Err(Error::Waited { name: name.to_owned(), waited: wait, holder, ahead })
    }

    /// Who holds the lock, followed by those who wait for it, in their order.
    ///
    /// # Errors
    /// [`Error::InvalidKey`], and those of [`Coordination::read`].
    pub async fn queue(&self, name: &str) -> Result<Vec<Waiter>> {
        self.line(name)?.waiters().await
    }

    fn line(&self, name: &str) -> Result<Line> {
        Ok(Line::new(self.coordination.clone(), Key::new(["locks", name])?))
    }
}

/// A lock that is held. It is released when it is dropped, in the background; [`Lock::release`] waits for it.
#[derive(Debug)]
pub struct Lock {
    name: String,
    place: Place,
}

impl Lock {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fencing token: higher than that of everybody who held the lock before.
    pub fn token(&self) -> Revision {
        self.place.token()
    }

    /// What a transaction demands that only this holder may carry out.
    pub fn guard(&self) -> Guard {
        self.place.guard()
    }

    /// Until when it is held for certain, as of now: the lease's [deadline](Lease::deadline).
    pub fn deadline(&self) -> Option<Duration> {
        self.place.lease().deadline()
    }

    /// Waits until it is held no longer: the lease is lost, or somebody has taken the lock away. Cancel-safe.
    pub async fn lost(&self) {
        self.place.lost().await;
    }

    /// Lets the next one have it.
    ///
    /// # Errors
    /// Those of [`Coordination::commit`]; then it is tried again in the background for as long as the lease is held.
    pub async fn release(self) -> Result<()> {
        self.place.leave().await
    }
}
