//! A floor where statements are worked on in a time that tests make: a clock that only they move, and workers that finish when
//! they say so. What a client meets is real, when it happens is not left to chance.

use super::sql;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tw_api::Problem;
use tw_api::parts::{Answer, Sql, Statement};
use tw_env::Clock;

/// A clock that stands still until it is told to go on.
#[derive(Debug, Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    pub(crate) fn us(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn set_us(&self, us: u64) {
        self.0.fetch_max(us, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.us() / 1_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.us())
    }
}

/// Statements that have come in and wait for the test to finish them, the first one first.
#[derive(Default)]
pub(crate) struct Floor {
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
    came: Notify,
}

impl Floor {
    /// Waits until one more statement is worked on, and takes it.
    pub(crate) async fn next(&self) -> oneshot::Sender<()> {
        loop {
            let came = self.came.notified();
            if let Some(statement) = self.waiting.lock().pop_front() {
                return statement;
            }
            came.await;
        }
    }
}

impl Sql for Floor {
    fn execute(&self, _: Statement) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(async move {
            let (finish, finished) = oneshot::channel();
            self.waiting.lock().push_back(finish);
            self.came.notify_one();
            finished.await.expect("the test finishes every statement");
            Ok(sql::one(sql::values()))
        })
    }
}

/// What may be behind a server instead of its usual parts.
pub(crate) fn floor() -> (Arc<Hand>, Arc<Floor>) {
    (Arc::default(), Arc::default())
}
