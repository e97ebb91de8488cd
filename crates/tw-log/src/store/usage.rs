//! How much memory the index takes, and the thread that makes it less.

use super::partition::State;
use super::{Core, Error, Options, Result};
use crate::Signal;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tw_types::StreamId;

/// One part in so many of the windows' memory is freed at a time.
const EVICTED: usize = 16;
/// How often the thread looks around when nobody calls it.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// The memory of the index, over all partitions.
pub(super) struct Usage {
    bytes: AtomicUsize,
    bytes_max: AtomicUsize,
    /// The memory of the windows of ids.
    window_bytes: AtomicUsize,
    window_bytes_max: AtomicUsize,
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
    pub(super) fn new(options: &Options) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            bytes_max: AtomicUsize::new(options.index_bytes_max as usize),
            window_bytes: AtomicUsize::new(0),
            window_bytes_max: AtomicUsize::new(options.dedup_bytes_max as usize),
            freed: Signal::default(),
            calls: Mutex::default(),
            called: Condvar::new(),
            failure: Mutex::default(),
        }
    }

    /// Puts other bounds into effect.
    pub(super) fn reconfigure(&self, options: &Options) {
        self.bytes_max.store(options.index_bytes_max as usize, Ordering::Relaxed);
        self.window_bytes_max.store(options.dedup_bytes_max as usize, Ordering::Relaxed);
        // Whoever waits for memory looks again.
        self.freed.increment();
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    fn window_bytes_max(&self) -> usize {
        self.window_bytes_max.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max()
    }

    /// Half of the memory fills while the other half is being stored.
    fn is_half_full(&self) -> bool {
        self.bytes() >= self.bytes_max() / 2
    }

    /// Somebody had `before` bytes and has `after` now.
    pub(super) fn change(&self, before: usize, after: usize) {
        if after > before {
            let half = self.bytes_max() / 2;
            let was = self.bytes.fetch_add(after - before, Ordering::Relaxed);
            if was < half && was + (after - before) >= half {
                self.call();
            }
        } else if before > after {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    pub(super) fn window_bytes(&self) -> usize {
        self.window_bytes.load(Ordering::Relaxed)
    }

    /// Somebody's windows had `before` bytes and have `after` now.
    pub(super) fn change_windows(&self, before: usize, after: usize) {
        if after > before {
            self.window_bytes.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.window_bytes.fetch_sub(before - after, Ordering::Relaxed);
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
            self.repair_broken().await;
            self.usage.call();
            if self.usage.is_full() {
                self.usage.freed.over(seen).await;
            }
        }
        Ok(())
    }

    /// Forgets windows of a partition when all windows together take too much: those that were not used for longest.
    pub(super) fn evict(&self, state: &mut State) {
        let over = self.usage.window_bytes().saturating_sub(self.usage.window_bytes_max());
        if over > 0 {
            // A little more, so that it is not each write that has to.
            state.ledger.evict_windows(over.max(state.reported_window_bytes / EVICTED), u64::MAX);
            self.report(state);
        }
    }

    /// Forgets windows that nobody has used for longest when memory for them is nearly full, over all partitions: those
    /// that are written to find room then, and need not drive out their own.
    /// `looked` is the second in which it did that last: there may be very many windows.
    fn evict_unused(&self, looked: &mut u64) {
        let second = |ms: u64| ms / 1_000;
        let (now, max) = (second(self.now_ms()), self.usage.window_bytes_max());
        if self.usage.window_bytes() < max - max / EVICTED || *looked == now {
            return;
        }
        *looked = now;
        let partitions: Vec<_> = self.partitions.read().values().cloned().collect();
        let mut by_second: BTreeMap<u64, usize> = BTreeMap::new();
        for partition in &partitions {
            let state = partition.lock();
            state
                .ledger
                .window_uses()
                .for_each(|(ms, bytes)| *by_second.entry(second(ms)).or_default() += bytes);
        }
        let wanted = 2 * max / EVICTED;
        // Whole seconds while they are not too much, and of the next one what is missing.
        let (mut whole, mut last) = (0, None);
        // What was used just now is wanted.
        for (second, size) in by_second.range(..now.saturating_sub(1)) {
            last = Some(*second);
            if whole + size > wanted {
                break;
            }
            whole += size;
        }
        let Some(last) = last else { return };
        let mut missing = wanted - whole;
        for partition in partitions {
            let mut state = partition.lock();
            state.ledger.evict_windows(usize::MAX, last * 1_000);
            missing = missing.saturating_sub(state.ledger.evict_windows(missing, (last + 1) * 1_000));
            self.report(&mut state);
        }
    }

    /// Takes back what failed appends have left in memory: a partition in which there is such a thing cannot be stored, and
    /// nobody might append to it for long.
    async fn repair_broken(&self) {
        let partitions: Vec<_> = self.partitions.read().values().cloned().collect();
        for partition in partitions.iter().filter(|partition| partition.lock().broken) {
            // Whoever holds this is about to do it.
            if let Ok(_one_at_a_time) = partition.syncing.try_lock() {
                self.repair(partition).await;
            }
        }
    }

    /// What the index thread does until it is stopped.
    pub(super) fn keep_index(&self) {
        let (mut definitions, mut looked) = (0, 0);
        while self.usage.wait() {
            let seen = self.log.definitions().get();
            if seen != std::mem::replace(&mut definitions, seen) {
                self.remember(self.forget_dropped());
            }
            self.remember(self.flush_due());
            self.evict_unused(&mut looked);
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
        let _one_at_a_time = self.flushing.lock();
        let gone: Vec<_> = {
            let mut partitions = self.partitions.write();
            // Asked for under the lock, here and below: a stream that was created since must not seem dropped.
            let streams = self.log.streams();
            let gone = partitions.extract_if(|at, _| streams.by_id(at.stream).is_err());
            gone.map(|(_, partition)| partition).collect()
        };
        for partition in gone {
            // A write on its way may still have it, and is refused.
            let mut state = partition.lock();
            state.gone = true;
            self.usage.change(std::mem::take(&mut state.reported_bytes), 0);
            self.usage.change_windows(std::mem::take(&mut state.reported_window_bytes), 0);
        }
        // Nothing of theirs will ever be stored.
        let mut keys = self.keys.lock();
        let streams = self.log.streams();
        keys.table.forget_partitions(|at| streams.by_id(at.stream).is_err());
        self.report_keys(&mut keys);
        drop(keys);
        self.index.forget_dropped(&self.log.streams())
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
                || need.events >= self.options.get().index_flush_events
                || need.waited_ms >= self.options.get().index_flush_ms
            {
                self.flush(stream)?;
                self.usage.freed.increment();
            }
        }
        Ok(())
    }
}
