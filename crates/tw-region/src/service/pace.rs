//! The limit of what is sent to one region: [`crate::link::bucket`] with a clock, shared by all connections over which that region pulls.
//!
//! The limit may change at any time; then the bucket is a new one, and who waits asks it again.
//!
//! Between the compressed bytes and the connections of a sender. It makes who sends wait, in the order in which they ask, and looks at no byte.

use crate::link::bucket::{Bucket, Taken};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// For how long after it had to wait a line is said to be limited.
const LIMITED: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How many bytes per second; 0: as many as the line takes.
    limit: watch::Receiver<u64>,
    /// The bucket, and the limit that it is of.
    bucket: Mutex<(u64, Bucket)>,
    start: Instant,
    /// When somebody waited last, in microseconds since the start; 0: nobody did.
    waited_us: AtomicU64,
}

impl Pace {
    /// For as many bytes per second as `limit` says, now and later.
    pub(crate) fn new(limit: watch::Receiver<u64>) -> Self {
        let rate = *limit.borrow();
        let (bucket, start) = (Mutex::new((rate, Bucket::new(rate, 0))), Instant::now());
        Self { limit, bucket, start, waited_us: AtomicU64::new(0) }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits until some of these bytes may go: how many. Can be dropped; nothing is taken then.
    pub(crate) async fn take(&self, wanted: usize) -> usize {
        let mut limit = self.limit.clone();
        if *limit.borrow() == 0 {
            return wanted;
        }
        // Who waits keeps it: whoever comes next gets the next ones.
        let mut held = self.bucket.lock().await;
        loop {
            let rate = *limit.borrow_and_update();
            if rate == 0 {
                return wanted;
            }
            if held.0 != rate {
                *held = (rate, Bucket::new(rate, self.now_us()));
            }
            match held.1.take(wanted as u64, self.now_us()) {
                Taken::Bytes(bytes) => return usize::try_from(bytes).unwrap_or(wanted),
                Taken::Wait(us) => {
                    self.waited_us.store(self.now_us().max(1), Ordering::Relaxed);
                    // Whoever said how much it is may be gone: then it stays so.
                    let _either = tokio::time::timeout(Duration::from_micros(us), changed(&mut limit)).await;
                }
            }
        }
    }

    /// Whether there is a limit now.
    pub(crate) fn is_limited(&self) -> bool {
        *self.limit.borrow() > 0
    }

    /// Whether what is sent has to wait because of the limit, or had to a moment ago.
    pub(crate) fn is_limiting(&self) -> bool {
        let waited = self.waited_us.load(Ordering::Relaxed);
        waited > 0 && self.now_us().saturating_sub(waited) < LIMITED.as_micros() as u64
    }
}

/// Waits until the limit changes; for ever, if nobody can change it.
async fn changed(limit: &mut watch::Receiver<u64>) {
    if limit.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
