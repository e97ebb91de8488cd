//! A region that is drained: it accepts nothing more that others would have, and says when they have all that it had accepted.
//!
//! A file in the data folder marks it, so that a node that is started again accepts nothing either, until somebody ends it.

use crate::folder::replace;
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tw_types::Hlc;

/// What is in the file, for whoever finds it.
const MARK: &[u8] = b"this region is drained: `tradewind region drain --undo` ends that\n";

/// Whether the region is drained.
pub(crate) struct Drain {
    mark: PathBuf,
    /// Writers share it, and whoever drains waits for them.
    gate: Arc<RwLock<()>>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Writes that had begun are under way.
    Shutting,
    /// Everything was accepted up to then.
    Drained(Hlc),
}

impl Drain {
    /// As `mark` says; if the region is drained, everything that it has accepted was accepted up to `settled`.
    pub(crate) fn open(mark: PathBuf, settled: Hlc) -> Self {
        let state = if mark.exists() { State::Drained(settled) } else { State::Open };
        Self { mark, gate: Arc::default(), state: Mutex::new(state) }
    }

    /// Lets a write pass, until what it gets is dropped; None if the region is drained.
    pub(crate) fn enter(&self) -> Option<OwnedRwLockReadGuard<()>> {
        let guard = self.gate.clone().try_read_owned().ok()?;
        // After the gate: whoever shuts it has made sure that this says no.
        (*self.state.lock() == State::Open).then_some(guard)
    }

    /// Lets no write pass from now on. `settled` says up to when everything is accepted once those that had begun have ended.
    ///
    /// # Errors
    /// It cannot be marked; then writes pass as before.
    pub(crate) async fn begin(&self, settled: impl FnOnce() -> Hlc) -> io::Result<()> {
        *self.state.lock() = State::Shutting;
        drop(self.gate.write().await);
        let (until, marked) = (settled(), replace(&self.mark, 0o600, MARK));
        let mut state = self.state.lock();
        if *state == State::Shutting {
            *state = if marked.is_ok() { State::Drained(until) } else { State::Open };
        }
        marked
    }

    /// Lets writes pass again.
    ///
    /// # Errors
    /// The mark cannot be removed; then the region stays drained.
    pub(crate) fn end(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        match std::fs::remove_file(&self.mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        *state = State::Open;
        Ok(())
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
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("drained");
        let drain = Drain::open(mark.clone(), Hlc::ZERO);
        let written = drain.enter().unwrap();
        let mut begun = Box::pin(drain.begin(|| Hlc::from_u64(7)));
        assert!(begun.as_mut().now_or_never().is_none(), "a write is under way");
        assert!(drain.enter().is_none());
        assert_eq!(drain.until(), Some(Hlc::from_u64(u64::MAX)));
        drop(written);
        begun.await.unwrap();
        assert_eq!(drain.until(), Some(Hlc::from_u64(7)));
        assert!(drain.enter().is_none());
        let again = Drain::open(mark.clone(), Hlc::from_u64(9));
        assert_eq!(again.until(), Some(Hlc::from_u64(9)), "a process that is started again");
        again.end().unwrap();
        assert!(again.enter().is_some() && again.until().is_none() && !mark.exists());
        again.end().unwrap();
    }

    #[tokio::test]
    async fn a_region_that_cannot_be_marked_is_not_drained() {
        let folder = tempfile::tempdir().unwrap();
        let drain = Drain::open(folder.path().join("none/drained"), Hlc::ZERO);
        drain.begin(|| Hlc::ZERO).await.unwrap_err();
        assert!(drain.enter().is_some() && drain.until().is_none());
    }
}
