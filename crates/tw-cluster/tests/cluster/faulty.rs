//! A client between a test and an engine that loses requests or answers.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tw_cluster::{
    BoxFuture, Coordination, Error, Grant, LeaseId, Outage, Outcome, Range, Result, Revision, Snapshot, Time,
    Transaction, Watch,
};

/// Passes requests on, unless it is told not to.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn Coordination>,
    is_silent: AtomicBool,
    /// Transactions are kept here instead of being carried out, and their outcome is unknown.
    kept: Mutex<Option<Vec<Transaction>>>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Coordination>) -> Arc<Self> {
        Arc::new(Self { inner, is_silent: AtomicBool::new(false), kept: Mutex::new(None) })
    }

    /// From now on, leases are neither renewed nor revoked; everything else is passed on, as for a node that was paused.
    pub(crate) fn lose_leases(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }

    /// From now on, transactions are under way for ever.
    pub(crate) fn keep_transactions(&self) {
        *self.kept.lock() = Some(Vec::new());
    }

    /// Carries out what is under way, and everything from now on; the last first, if that is wanted.
    pub(crate) async fn deliver(&self, is_reversed: bool) -> Vec<Result<Outcome>> {
        let mut kept = self.kept.lock().take().unwrap_or_default();
        if is_reversed {
            kept.reverse();
        }
        let mut outcomes = Vec::new();
        for transaction in kept {
            outcomes.push(self.inner.commit(transaction).await);
        }
        outcomes
    }

    /// How many transactions are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.kept.lock().as_ref().map_or(0, Vec::len)
    }

    fn lost<T: Send + 'static>(&self, error: fn(Outage) -> Error) -> BoxFuture<'_, Result<T>> {
        let text = |text: &str| text.to_owned();
        let (action, endpoint, cause) = (text("reach it"), text("nowhere"), text("the line is cut"));
        let error = error(Outage { action, endpoint, cause, remedy: "mend it" });
        Box::pin(async move { Err(error) })
    }
}

impl Coordination for Faulty {
    fn read(&self, range: Range, at: Option<Revision>) -> BoxFuture<'_, Result<Snapshot>> {
        self.inner.read(range, at)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome>> {
        match &mut *self.kept.lock() {
            Some(kept) => {
                kept.push(transaction);
                self.lost(Error::Unknown)
            }
            None => self.inner.commit(transaction),
        }
    }

    fn watch(&self, range: Range, from: Revision) -> Box<dyn Watch> {
        self.inner.watch(range, from)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Grant>> {
        self.inner.grant(ttl)
    }

    fn renew(&self, lease: LeaseId) -> BoxFuture<'_, Result<Grant>> {
        match self.is_silent.load(Ordering::SeqCst) {
            true => self.lost(Error::Unavailable),
            false => self.inner.renew(lease),
        }
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        match self.is_silent.load(Ordering::SeqCst) {
            true => self.lost(Error::Unavailable),
            false => self.inner.revoke(lease),
        }
    }

    fn compact(&self, before: Revision) -> BoxFuture<'_, Result<()>> {
        self.inner.compact(before)
    }

    fn time(&self) -> Arc<dyn Time> {
        self.inner.time()
    }
}
