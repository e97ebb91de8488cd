//! A counter that threads and tasks can wait for.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A counter that only rises; whoever waits is woken when it does. Raising it without waiters is cheap.
#[derive(Debug, Default)]
pub struct Signal {
    value: AtomicU64,
    threads: Mutex<usize>,
    changed: Condvar,
    tasks: Notify,
}

impl Signal {
    /// A counter that starts at `value`.
    pub fn new(value: u64) -> Self {
        Self { value: AtomicU64::new(value), ..Self::default() }
    }

    /// Its value now.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Raises it to `value` (a lower value changes nothing) and wakes whoever waits.
    pub fn raise(&self, value: u64) {
        if self.value.fetch_max(value, Ordering::AcqRel) < value {
            self.wake();
        }
    }

    /// Raises it by one and wakes whoever waits.
    pub fn increment(&self) {
        self.value.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    fn wake(&self) {
        // Taking the lock orders this after a waiter's last look and before its sleep.
        if *self.threads.lock() > 0 {
            self.changed.notify_all();
        }
        self.tasks.notify_waiters();
    }

    /// Blocks the thread until the value is over `seen` or `timeout` has passed; returns the value.
    pub fn wait_over(&self, seen: u64, timeout: Duration) -> u64 {
        let mut threads = self.threads.lock();
        *threads += 1;
        let _timed_out = self.changed.wait_while_for(&mut threads, |_| self.get() <= seen, timeout);
        *threads -= 1;
        drop(threads);
        self.get()
    }

    /// Waits until the value is over `seen`; returns it. Cancel-safe.
    pub async fn over(&self, seen: u64) -> u64 {
        loop {
            let notified = self.tasks.notified();
            tokio::pin!(notified);
            // Registered before the look, so that a rise in between is not missed.
            notified.as_mut().enable();
            let value = self.get();
            if value > seen {
                return value;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_thread_wakes_when_the_value_rises() {
        let signal = Arc::new(Signal::new(3));
        let waiter = std::thread::spawn({
            let signal = signal.clone();
            move || signal.wait_over(3, Duration::from_secs(60))
        });
        signal.raise(2);
        signal.raise(4);
        assert_eq!(waiter.join().unwrap(), 4);
        assert_eq!(signal.wait_over(4, Duration::ZERO), 4);
    }
}
