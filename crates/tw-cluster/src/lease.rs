//! A lease that is kept: renewed in time, and given up before it can have ended.
//!
//! [`Term`] decides when to renew and when it is over; [`Lease`] carries that out.

use crate::{Coordination, Error, Grant, LeaseId, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How a lease is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseOptions {
    /// How long the lease lasts without a renewal, in milliseconds: 1,000 to 600,000, in whole seconds. It is renewed after a
    /// third of that.
    pub ttl_ms: u64,
    /// How long before its end the holder gives it up, in percent of `ttl_ms`: 0 to 50. Makes up for clocks that do not run
    /// equally fast, and for the time between a look at the lease and the write that follows.
    pub margin_percent: u32,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self { ttl_ms: 10_000, margin_percent: 10 }
    }
}

impl LeaseOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn check(&self) -> Result<()> {
        let invalid = |option, value: String, rule| Err(Error::InvalidOption { option, value, rule });
        if !(1_000..=600_000).contains(&self.ttl_ms) {
            return invalid("ttl_ms", self.ttl_ms.to_string(), "1,000 to 600,000");
        }
        if self.margin_percent > 50 {
            return invalid("margin_percent", self.margin_percent.to_string(), "0 to 50");
        }
        Ok(())
    }
}

/// What a holder knows of its lease: `(state, now) -> what to do`. No clock, no waiting.
#[derive(Debug, Clone)]
struct Term {
    ttl: Duration,
    margin_percent: u32,
    until: Duration,
    renew_at: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Renew it now.
    Renew,
    /// Nothing, until then.
    Wait(Duration),
    /// It has to be considered lost.
    Lost,
}

impl Term {
    fn new(grant: &Grant, margin_percent: u32) -> Self {
        let mut term = Self { ttl: grant.ttl, margin_percent, until: grant.until, renew_at: grant.until };
        term.renewed(grant);
        term
    }

    /// From when on it has to be considered lost.
    fn deadline(&self) -> Duration {
        self.until.saturating_sub(self.ttl * self.margin_percent / 100)
    }

    fn next(&self, now: Duration) -> Next {
        if now >= self.deadline() {
            return Next::Lost;
        }
        if now >= self.renew_at { Next::Renew } else { Next::Wait(self.renew_at.min(self.deadline())) }
    }

    fn renewed(&mut self, grant: &Grant) {
        (self.ttl, self.until) = (grant.ttl, self.until.max(grant.until));
        self.renew_at = grant.until.saturating_sub(grant.ttl * 2 / 3);
    }

    /// A renewal has failed: it is tried again soon.
    fn failed(&mut self, now: Duration) {
        self.renew_at = now + self.ttl / 20;
    }
}

/// A lease and the task that renews it. Clones are the same lease; it is revoked when the last of them is dropped, unless
/// somebody else looks after it ([`Lease::adopt`], [`Lease::hand_over`]).
#[derive(Debug, Clone)]
pub struct Lease(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    id: LeaseId,
    coordination: Arc<dyn Coordination>,
    standing: watch::Sender<Standing>,
    keeper: AbortHandle,
    /// Whether it ends with this value.
    is_own: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    deadline: Duration,
    is_lost: bool,
}

impl Lease {
    /// Makes a lease, and keeps it from now on. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and those of [`Coordination::grant`].
    pub async fn new(coordination: Arc<dyn Coordination>, options: &LeaseOptions) -> Result<Self> {
        options.check()?;
        let grant = coordination.grant(Duration::from_millis(options.ttl_ms)).await?;
        Ok(Self::kept(coordination, &grant, options.margin_percent, true))
    }

    /// Keeps a lease that somebody else has made and looks after, for as long as this value lives; then it has its time
    /// left, and is not revoked. It is renewed at once. Needs a tokio runtime.
    ///
    /// # Errors
    /// Those of [`Coordination::renew`].
    pub async fn adopt(
        coordination: Arc<dyn Coordination>,
        id: LeaseId,
        margin_percent: u32,
    ) -> Result<Self> {
        let grant = coordination.renew(id).await?;
        Ok(Self::kept(coordination, &grant, margin_percent, false))
    }

    fn kept(coordination: Arc<dyn Coordination>, grant: &Grant, margin_percent: u32, is_own: bool) -> Self {
        let term = Term::new(grant, margin_percent);
        let standing = watch::Sender::new(Standing { deadline: term.deadline(), is_lost: false });
        let keeping = keep(coordination.clone(), grant.id, term, standing.clone(), is_own);
        let keeper = tokio::spawn(keeping).abort_handle();
        let is_own = AtomicBool::new(is_own);
        Self(Arc::new(Kept { id: grant.id, coordination, standing, keeper, is_own }))
    }

    /// Renews it once more, and leaves it to somebody else to do so from now on: it is not revoked when this value is
    /// dropped.
    ///
    /// # Errors
    /// Those of [`Coordination::renew`]; then nothing has changed.
    pub async fn hand_over(&self) -> Result<Grant> {
        self.check()?;
        let grant = self.0.coordination.renew(self.id()).await?;
        self.0.is_own.store(false, Ordering::Relaxed);
        Ok(grant)
    }

    /// Its number.
    pub fn id(&self) -> LeaseId {
        self.0.id
    }

    /// Where it was made.
    pub fn coordination(&self) -> &Arc<dyn Coordination> {
        &self.0.coordination
    }

    /// Until when it is held for certain, on the clock of [`Coordination::time`]; nothing once it is lost. Rises with each
    /// renewal.
    pub fn deadline(&self) -> Option<Duration> {
        let standing = *self.0.standing.borrow();
        let is_held = !standing.is_lost && self.0.coordination.time().now() < standing.deadline;
        is_held.then_some(standing.deadline)
    }

    /// Whether it is held for certain, right now. A look at the clock: no waiting, no request.
    pub fn is_held(&self) -> bool {
        self.deadline().is_some()
    }

    /// Fails when it is lost.
    ///
    /// # Errors
    /// [`Error::NoLease`].
    pub fn check(&self) -> Result<()> {
        if self.is_held() { Ok(()) } else { Err(Error::NoLease(self.id())) }
    }

    /// Waits until it is lost, which is for ever. Cancel-safe.
    pub async fn lost(&self) {
        let mut standing = self.0.standing.subscribe();
        // The sender lives as long as this lease.
        let _never_closed = standing.wait_for(|standing| standing.is_lost).await;
    }

    /// Considers it lost from now on: somebody else has ended it.
    pub(crate) fn lose(&self) {
        self.0.end();
    }

    /// Gives it up: what is held under it is free for others at once, rather than after its time.
    ///
    /// # Errors
    /// Those of [`Coordination::revoke`]; it is considered lost here anyway.
    pub async fn revoke(&self) -> Result<()> {
        self.0.end();
        self.0.coordination.revoke(self.id()).await
    }
}

impl Kept {
    fn end(&self) {
        self.keeper.abort();
        self.standing.send_modify(|standing| standing.is_lost = true);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let was_lost = self.standing.borrow().is_lost;
        self.end();
        let is_over = was_lost || !self.is_own.load(Ordering::Relaxed);
        // Without a runtime there is nobody to carry it out: it ends by itself then.
        if let (false, Ok(runtime)) = (is_over, tokio::runtime::Handle::try_current()) {
            runtime.spawn(give_up(self.coordination.clone(), self.id));
        }
    }
}

/// Renews the lease until it is lost.
async fn keep(
    coordination: Arc<dyn Coordination>,
    id: LeaseId,
    mut term: Term,
    standing: watch::Sender<Standing>,
    is_own: bool,
) {
    let time = coordination.time();
    loop {
        match term.next(time.now()) {
            Next::Wait(at) => time.sleep_until(at).await,
            Next::Lost => break,
            Next::Renew => {
                let renewed = tokio::select! {
                    renewed = coordination.renew(id) => renewed,
                    // An answer after this moment would be too late.
                    () = time.sleep_until(term.deadline()) => continue,
                };
                match renewed {
                    // Whoever asked meanwhile was told that it is lost; it stays so.
                    Ok(_) if time.now() >= term.deadline() => break,
                    Ok(grant) => {
                        term.renewed(&grant);
                        standing.send_modify(|standing| standing.deadline = term.deadline());
                    }
                    Err(Error::NoLease(_)) => break,
                    Err(error) => {
                        tracing::warn!("lease {id} is not renewed yet: {error}");
                        term.failed(time.now());
                    }
                }
            }
        }
    }
    tracing::warn!("lease {id} is lost");
    standing.send_modify(|standing| standing.is_lost = true);
    if is_own {
        give_up(coordination, id).await;
    }
}

/// Lets others have what was held; if that fails, they get it when the lease has ended by itself.
async fn give_up(coordination: Arc<dyn Coordination>, id: LeaseId) {
    if let Err(error) = coordination.revoke(id).await {
        tracing::info!("lease {id} ends by itself: {error}");
    }
}
