//! A region that is drained: it accepts nothing more that others would have, and says when they have all that it had accepted.
//!
//! It counts as long as the process runs: whoever drains a region ends it then.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tw_types::Hlc;

/// Whether the region is drained.
#[derive(Default)]
pub(crate) struct Drain {
    /// Writers share it, and whoever drains waits for them.
    gate: Arc<RwLock<()>>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Writes that had begun are under way.
    Shutting,
    /// Everything was accepted up to then.
    Drained(Hlc),
}

impl Drain {
    /// Lets a write pass, until what it gets is dropped; None if the region is drained.
    pub(crate) fn enter(&self) -> Option<OwnedRwLockReadGuard<()>> {
        let guard = self.gate.clone().try_read_owned().ok()?;
        // After the gate: whoever shuts it has made sure that this says no.
        (*self.state.lock() == State::Open).then_some(guard)
    }

    /// Lets no write pass from now on. `settled` says up to when everything is accepted once those that had begun have ended.
    pub(crate) async fn begin(&self, settled: impl FnOnce() -> Hlc) {
        *self.state.lock() = State::Shutting;
        drop(self.gate.write().await);
        let until = settled();
        let mut state = self.state.lock();
        if *state == State::Shutting {
            *state = State::Drained(until);
        }
    }

    /// Lets writes pass again.
    pub(crate) fn end(&self) {
        *self.state.lock() = State::Open;
    }

    /// Up to when there is something that others have to have; None if the region is not drained.
    pub(crate) fn until(&self) -> Option<Hlc> {
        match *self.state.lock() {
            State::Open => None,
            State::Shutting => Some(Hlc::from_u64(u64::MAX)),
            State::Drained(until) => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_drain_waits_for_writes_that_had_begun_and_lets_no_other_pass() {
        let drain = Drain::default();
        let written = drain.enter().unwrap();
        let mut begun = Box::pin(drain.begin(|| Hlc::from_u64(7)));
        assert!(begun.as_mut().now_or_never().is_none(), "a write is under way");
        assert!(drain.enter().is_none());
        assert_eq!(drain.until(), Some(Hlc::from_u64(u64::MAX)));
        drop(written);
        begun.await;
        assert_eq!(drain.until(), Some(Hlc::from_u64(7)));
        assert!(drain.enter().is_none());
        drain.end();
        assert!(drain.enter().is_some() && drain.until().is_none());
    }
}
