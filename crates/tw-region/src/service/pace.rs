//! The limit of what is sent to one region: [`crate::link::bucket`] with a clock, shared by all connections over which that region pulls.
//!
//! Between the compressed bytes and the connections of a sender. It makes who sends wait, in the order in which they ask, and looks at no byte.

use crate::link::bucket::{Bucket, Taken};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// For how long after it had to wait a line is said to be limited.
const LIMITED: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Pace {
    bucket: Mutex<Bucket>,
    start: Instant,
    /// When somebody waited last, in microseconds since the start; 0: nobody did.
    waited_us: AtomicU64,
}

impl Pace {
    /// For so many bytes per second.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        let (bucket, start) = (Mutex::new(Bucket::new(bytes_per_second, 0)), Instant::now());
        Self { bucket, start, waited_us: AtomicU64::new(0) }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits until some of these bytes may go: how many. Can be dropped; nothing is taken then.
    pub(crate) async fn take(&self, wanted: usize) -> usize {
        // Who waits keeps it: whoever comes next gets the next ones.
        let mut bucket = self.bucket.lock().await;
        loop {
            match bucket.take(wanted as u64, self.now_us()) {
                Taken::Bytes(bytes) => return usize::try_from(bytes).unwrap_or(wanted),
                Taken::Wait(us) => {
                    self.waited_us.store(self.now_us().max(1), Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_micros(us)).await;
                }
            }
        }
    }

    /// Whether what is sent has to wait because of the limit, or had to a moment ago.
    pub(crate) fn is_limiting(&self) -> bool {
        let waited = self.waited_us.load(Ordering::Relaxed);
        waited > 0 && self.now_us().saturating_sub(waited) < LIMITED.as_micros() as u64
    }
}
