//! Time, and waiting for it: the clock of `tw-env`, and who is woken when.

use crate::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tw_env::sim::SimClock;
use tw_env::{Clock, Env};

/// A clock that can be waited for. Instants are times since some fixed moment, as [`Clock::monotonic`] counts them.
pub trait Time: Send + Sync + fmt::Debug {
    /// The clock.
    fn clock(&self) -> &dyn Clock;

    /// Waits until the clock shows `at`, or a little more. Cancel-safe.
    fn sleep_until(&self, at: Duration) -> BoxFuture<'_, ()>;

    /// The same for an instant that may never come.
    fn sleep_until_any(&self, at: Option<Duration>) -> BoxFuture<'_, ()> {
        match at {
            Some(at) => self.sleep_until(at),
            None => Box::pin(std::future::pending()),
        }
    }

    /// The instant that it is.
    fn now(&self) -> Duration {
        self.clock().monotonic()
    }
}

/// The machine's time.
pub struct SystemTime(Arc<dyn Clock>);

impl SystemTime {
    /// The time of the machine that `env` leads to.
    pub fn new(env: &Env) -> Self {
        Self(env.clock.clone())
    }
}

impl Time for SystemTime {
    fn clock(&self) -> &dyn Clock {
        &*self.0
    }

    fn sleep_until(&self, at: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The runtime's timer is another clock: it may be a little early by ours.
            while let Some(left) = at.checked_sub(self.0.monotonic()).filter(|left| !left.is_zero()) {
                tokio::time::sleep(left).await;
            }
        })
    }
}

impl fmt::Debug for SystemTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemTime")
    }
}

/// Simulated time: it passes when it is told to, and wakes whoever waits for it.
#[derive(Debug)]
pub struct SimTime {
    clock: Arc<SimClock>,
    passed: watch::Sender<()>,
}

impl SimTime {
    /// Time by a simulated clock, which must then be advanced here.
    pub fn new(clock: Arc<SimClock>) -> Self {
        Self { clock, passed: watch::Sender::new(()) }
    }

    /// Lets `ms` milliseconds pass.
    pub fn advance(&self, ms: u64) {
        self.clock.advance(ms);
        self.passed.send_replace(());
    }
}

impl Time for SimTime {
    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn sleep_until(&self, at: Duration) -> BoxFuture<'_, ()> {
        let mut passed = self.passed.subscribe();
        Box::pin(async move {
            // The sender is in `self`, so this ends only when the time has come.
            let _never_closed = passed.wait_for(|()| self.now() >= at).await;
        })
    }
}
