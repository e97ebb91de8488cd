//! A job that waits for the end of another one.

use super::{Job, Task};
use crate::pipeline::Turn;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::task::Context;
use tw_log::Signal;

/// Gives a job its first turn after the last one of another job.
pub(super) struct After {
    before: Arc<Task>,
    finished: Arc<Signal>,
    wait: Option<BoxFuture<'static, u64>>,
    job: Box<dyn Job>,
}

impl After {
    /// `finished` rises after the last turn of every task.
    pub(super) fn new(before: Arc<Task>, finished: Arc<Signal>, job: Box<dyn Job>) -> Self {
        Self { before, finished, wait: None, job }
    }
}

impl Job for After {
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        loop {
            let seen = self.finished.get();
            if self.before.is_done() {
                self.wait = None;
                return self.job.turn(cx);
            }
            let finished = &self.finished;
            let wait = self.wait.get_or_insert_with(|| {
                let finished = finished.clone();
                Box::pin(async move { finished.over(seen).await })
            });
            if wait.as_mut().poll(cx).is_pending() {
                return Turn::Wait(None);
            }
            self.wait = None;
        }
    }

    fn panicked(&mut self, message: &str) -> Turn {
        self.job.panicked(message)
    }
}
