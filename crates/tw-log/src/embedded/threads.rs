//! The threads around the log: one that commits, one that prepares segments, one that cleans, some that read.
//!
//! They carry out and make no choices. If one of them panics, the log stops and everybody who waits is told.

use super::cleaner::Cleaner;
use super::shared::Shared;
use super::writer::Writer;
use crate::{Error, Result, spawn_guarded};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The running threads of a log.
pub(super) struct Threads {
    handles: Mutex<Vec<JoinHandle<()>>>,
    jobs: Arc<Jobs>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Reads that wait for a thread.
#[derive(Default)]
struct Jobs {
    state: Mutex<(VecDeque<Job>, bool)>,
    changed: Condvar,
}

impl Threads {
    /// Starts all threads.
    pub(super) fn start(mut writer: Writer) -> Result<Self> {
        let shared = writer.shared.clone();
        writer.patient = true;
        let jobs = Arc::new(Jobs::default());
        let threads = Self { handles: Mutex::default(), jobs: jobs.clone() };
        threads.spawn(&shared, "log-writer", move || write(&mut writer))?;
        threads.spawn(&shared, "log-spares", {
            let shared = shared.clone();
            move || prepare(&shared)
        })?;
        threads.spawn(&shared, "log-cleaner", {
            let shared = shared.clone();
            move || clean(&shared)
        })?;
        for _ in 0..shared.options.reader_threads {
            let jobs = jobs.clone();
            threads.spawn(&shared, "log-reader", move || jobs.run())?;
        }
        Ok(threads)
    }

    fn spawn(&self, shared: &Arc<Shared>, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let guarded = shared.clone();
        let stop = move |error: Error| {
            guarded.stop(error.clone());
            guarded.queue.fail_all(&error);
        };
        match spawn_guarded(name, run, stop) {
            Ok(handle) => {
                self.handles.lock().push(handle);
                Ok(())
            }
            Err(error) => {
                shared.stop(Error::Closed);
                self.join();
                Err(error)
            }
        }
    }

    /// Waits until all threads have ended; [`Shared::stop`] must have been called.
    pub(super) fn join(&self) {
        self.jobs.close();
        let handles = std::mem::take(&mut *self.handles.lock());
        for handle in handles {
            let _panics_are_caught_inside = handle.join();
        }
    }

    /// Runs `read` on a reader thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.jobs.push(Box::new(move || {
            // Whoever asked may have lost interest meanwhile.
            if !sender.is_closed() {
                let _nobody_listens = sender.send(read());
            }
        }));
        receiver.await.unwrap_or(Err(Error::Closed))
    }
}

impl Jobs {
    /// Adds a job; one that comes after the end is dropped.
    fn push(&self, job: Job) {
        let mut state = self.state.lock();
        if !state.1 {
            state.0.push_back(job);
            drop(state);
            self.changed.notify_one();
        }
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.1 = true;
        state.0.clear();
        drop(state);
        self.changed.notify_all();
    }

    fn run(&self) {
        loop {
            let mut state = self.state.lock();
            let job = loop {
                match state.0.pop_front() {
                    Some(job) => break job,
                    None if state.1 => return,
                    None => self.changed.wait(&mut state),
                }
            };
            drop(state);
            job();
        }
    }
}

/// Commits until the queue is closed and empty.
fn write(writer: &mut Writer) {
    let shared = writer.shared.clone();
    let bytes_max = shared.options.group_bytes_max;
    let gather_max = Duration::from_micros(shared.options.gather_us_max);
    let (mut wanted, mut patience) = (1, Duration::ZERO);
    while let Some(group) = shared.queue.wait(bytes_max, wanted, patience) {
        let count = group.len();
        let start = Instant::now();
        writer.commit(group);
        // Those who are answered now will soon be back, if they append one after the other: without this short wait
        // they would take turns with those who came meanwhile, and every second commit would be a small one.
        wanted = count + shared.queue.len();
        patience = gather_max.min(start.elapsed() / 2);
    }
}

/// Makes spare segments until the log is closed.
fn prepare(shared: &Shared) {
    let maker = shared.maker();
    let retry = Duration::from_millis(shared.options.retry_ms);
    while shared.spares.wait_wanted(maker.wanted, retry) {
        shared.reclaim();
        shared.spares.make(&maker);
    }
}

/// Keeps the log tidy until it is closed.
fn clean(shared: &Arc<Shared>) {
    let interval = Duration::from_millis(shared.options.clean_interval_ms);
    let mut cleaner = Cleaner::new(shared.clone());
    let mut seen = 0;
    while shared.stopped().is_none() {
        while shared.stopped().is_none() && cleaner.tidy(&mut || {}) {}
        // Somebody may still read what was retired: look again soon.
        let waiting = !shared.retired.lock().is_empty();
        let timeout = if waiting { interval.min(Duration::from_millis(50)) } else { interval };
        seen = shared.untidy.wait_over(seen, timeout);
    }
}
