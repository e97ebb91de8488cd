//! How much memory the index takes, and the thread that makes it less.

use super::{Core, Error, Result};
use crate::Signal;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tw_types::StreamId;

/// How often the thread looks around when nobody calls it.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// The memory of the index, over all partitions.
pub(super) struct Usage {
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Rises when memory may have been freed.
    freed: Signal,
    calls: Mutex<Calls>,
    called: Condvar,
    /// Why the index cannot be stored now.
    failure: Mutex<Option<Arc<tw_state::Error>>>,
}

#[derive(Default)]
struct Calls {
    called: bool,
    stop: bool,
}

impl Usage {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            bytes_max,
            freed: Signal::default(),
            calls: Mutex::default(),
            called: Condvar::new(),
            failure: Mutex::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Half of the memory fills while the other half is being stored.
    fn is_half_full(&self) -> bool {
        self.bytes() >= self.bytes_max / 2
    }

    /// Somebody had `before` bytes and has `after` now.
    pub(super) fn change(&self, before: usize, after: usize) {
        if after > before {
            let half = self.bytes_max / 2;
            let was = self.bytes.fetch_add(after - before, Ordering::Relaxed);
            if was < half && was + (after - before) >= half {
                self.call();
            }
        } else if before > after {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    fn call(&self) {
        self.calls.lock().called = true;
        self.called.notify_one();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.calls.lock().stop = true;
        self.called.notify_one();
    }

    /// Waits for a call, a moment at most. False when the thread is to end.
    fn wait(&self) -> bool {
        let mut calls = self.calls.lock();
        if !calls.called && !calls.stop {
            let _timed_out = self.called.wait_for(&mut calls, LOOK_AROUND);
        }
        calls.called = false;
        !calls.stop
    }
}

impl Core {
    /// Waits until the index has room.
    ///
    /// # Errors
    /// [`Error::Index`] when it has none because it cannot be stored.
    pub(super) async fn room(&self) -> Result<()> {
        while self.usage.is_full() {
            let seen = self.usage.freed.get();
            if let Some(failure) = &*self.usage.failure.lock() {
                return Err(Error::Index(failure.clone()));
            }
            self.usage.call();
            if self.usage.is_full() {
                self.usage.freed.over(seen).await;
            }
        }
        Ok(())
    }

    /// What the index thread does until it is stopped.
    pub(super) fn keep_index(&self) {
        let mut definitions = 0;
        while self.usage.wait() {
            let seen = self.log.definitions().get();
            if seen != std::mem::replace(&mut definitions, seen) {
                self.remember(self.forget_dropped());
            }
            self.remember(self.flush_due());
            self.usage.freed.increment();
            self.tick.increment();
        }
        self.remember(self.flush_all());
    }

    /// Takes note of whether the index could be stored.
    fn remember(&self, outcome: Result<()>) {
        let failure = match outcome {
            Ok(()) => None,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot store the subject index");
                Some(match error {
                    Error::Index(failure) => failure,
                    other => {
                        Arc::new(tw_state::Error::Engine { folder: "state".into(), source: other.into() })
                    }
                })
            }
        };
        *self.usage.failure.lock() = failure;
    }

    /// Forgets streams that were dropped.
    fn forget_dropped(&self) -> Result<()> {
        let streams = self.log.streams();
        let _one_at_a_time = self.flushing.lock();
        let gone: Vec<_> = {
            let mut partitions = self.partitions.write();
            let gone = partitions.extract_if(|at, _| streams.by_id(at.stream).is_err());
            gone.map(|(_, partition)| partition).collect()
        };
        for partition in gone {
            let reported = std::mem::take(&mut partition.lock().reported_bytes);
            self.usage.change(reported, 0);
        }
        self.index.forget_dropped(&streams)
    }

    /// Stores the index of the streams whose time has come.
    fn flush_due(&self) -> Result<()> {
        #[derive(Default)]
        struct Need {
            bytes: usize,
            events: u64,
            waited_ms: u64,
        }
        let now_ms = self.now_ms();
        let mut needs: BTreeMap<StreamId, Need> = BTreeMap::new();
        let partitions: Vec<_> = self.partitions.read().values().cloned().collect();
        for partition in partitions {
            let state = partition.lock();
            let Some(stored) = state.stored else { continue };
            let need = needs.entry(partition.at.stream).or_default();
            need.bytes += state.bytes();
            need.events += state.ledger.end().0 - stored.0;
            let waited_ms = state.waiting_since_ms.map_or(0, |since| now_ms.saturating_sub(since));
            need.waited_ms = need.waited_ms.max(waited_ms);
        }
        // The largest first: when memory is short, that helps most.
        let mut by_size: Vec<_> = needs.into_iter().collect();
        by_size.sort_by_key(|(_, need)| std::cmp::Reverse(need.bytes));
        for (stream, need) in by_size {
            if self.usage.is_half_full()
                || need.events >= self.options.index_flush_events
                || need.waited_ms >= self.options.index_flush_ms
            {
                self.flush(stream)?;
                self.usage.freed.increment();
            }
        }
        Ok(())
    }
}
