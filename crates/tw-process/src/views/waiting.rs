//! Waiting until a view has seen what a token says (PRJ-2).

use super::Views;
use crate::Error;
use crate::progress::Standing;
use futures_util::future::select;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tw_log::Signal;
use tw_types::Token;

/// What a view has still to reach.
struct Missing {
    committed: Arc<Signal>,
    end: u64,
    changed: Arc<Signal>,
    /// The value of `changed` before the look.
    seen: u64,
}

impl Views {
    /// Waits until the view that is read has committed everything that `token` demands of its stream.
    pub(crate) async fn wait_for(&self, name: &str, token: &Token, timeout: Duration) -> Result<(), Error> {
        let wait = async {
            while let Some(missing) = self.missing(name, token)? {
                let committed = pin!(missing.committed.over(missing.end - 1));
                select(committed, pin!(missing.changed.over(missing.seen))).await;
            }
            Ok(())
        };
        tokio::time::timeout(timeout, wait).await.unwrap_or_else(|_| {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            Err(Error::Timeout { view: name.to_owned(), token: token.clone(), timeout_ms })
        })
    }

    fn missing(&self, name: &str, token: &Token) -> Result<Option<Missing>, Error> {
        let state = self.state.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let entry = state.views.get(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        let seen = entry.changed.get();
        let generation = &entry.active;
        for (at, end) in token.iter().filter(|(at, _)| at.stream == generation.record.stream_id) {
            let progress = &generation.part(at.partition)?.progress;
            if progress.committed.get() >= end.0 {
                continue;
            }
            let report = progress.report();
            if report.standing == Standing::Stopped {
                let reason = report.failure.unwrap_or_default();
                return Err(Error::Stopped { view: name.to_owned(), at, reason });
            }
            let (committed, changed) = (progress.committed.clone(), entry.changed.clone());
            return Ok(Some(Missing { committed, end: end.0, changed, seen }));
        }
        Ok(None)
    }
}
