//! Threads that give pipelines their turns: first come, first served, so that none starves.
//!
//! A job that wants another turn goes to the end of the queue; one that waits comes back when its waker is woken or
//! when its time has come. Nothing here knows what a turn does.

mod after;

use crate::pipeline::Turn;
use after::After;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};
use std::thread::JoinHandle;
use std::time::Duration;
use tw_env::Clock;
use tw_log::Signal;

/// What gets turns.
pub(crate) trait Job: Send {
    /// Works for a while; see [`Turn`].
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn;

    /// The last turn panicked.
    fn panicked(&mut self, message: &str) -> Turn;
}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// Running, and woken meanwhile.
const WOKEN: u8 = 3;
const DONE: u8 = 4;

/// A job and its place in the order of turns.
pub(crate) struct Task {
    number: u64,
    state: AtomicU8,
    job: Mutex<Option<Box<dyn Job>>>,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    /// Something is ready, or a timer is earlier than all before.
    work: Condvar,
    /// A thread has ended.
    ended: Condvar,
    /// Rises when a task has had its last turn.
    finished: Arc<Signal>,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Arc<Task>>,
    timers: BTreeMap<(Duration, u64), Arc<Task>>,
    /// The time in `timers` of each task that is there.
    times: BTreeMap<u64, Duration>,
    next_number: u64,
    waiting: usize,
    threads: usize,
    stopped: bool,
}

impl Queue {
    fn set_timer(&mut self, task: &Arc<Task>, at: Option<Duration>) {
        if let Some(old) = self.times.remove(&task.number) {
            self.timers.remove(&(old, task.number));
        }
        if let Some(at) = at {
            self.timers.insert((at, task.number), task.clone());
            self.times.insert(task.number, at);
        }
    }
}

impl Task {
    /// Whether it has had its last turn.
    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Gives it a turn soon.
    pub(crate) fn rouse(self: &Arc<Self>) {
        if self.mark() {
            self.shared.push(self.clone());
        }
    }

    /// Notes that it wants a turn; says whether it must be queued. One that is having its turn is queued after it.
    fn mark(&self) -> bool {
        loop {
            let (from, to) = match self.state.load(Ordering::Acquire) {
                IDLE => (IDLE, QUEUED),
                RUNNING => (RUNNING, WOKEN),
                _ => return false,
            };
            if self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return to == QUEUED;
            }
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.rouse();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rouse();
    }
}

impl Shared {
    fn push(&self, task: Arc<Task>) {
        let mut queue = self.queue.lock();
        queue.ready.push_back(task);
        if queue.waiting > 0 {
            self.work.notify_one();
        }
    }

    /// The next task to run; None when the threads are to end.
    fn next(&self) -> Option<Arc<Task>> {
        let mut queue = self.queue.lock();
        loop {
            if queue.stopped {
                return None;
            }
            let now = self.clock.monotonic();
            while let Some(entry) = queue.timers.first_entry().filter(|entry| entry.key().0 <= now) {
                let task = entry.remove();
                queue.times.remove(&task.number);
                // Its last turn may still be about to end: a timer that is due already must not be lost.
                if task.mark() {
                    queue.ready.push_back(task);
                }
            }
            if let Some(task) = queue.ready.pop_front() {
                if !queue.ready.is_empty() && queue.waiting > 0 {
                    self.work.notify_one();
                }
                return Some(task);
            }
            let timeout = queue.timers.first_key_value().map(|((at, _), _)| at.saturating_sub(now));
            queue.waiting += 1;
            match timeout {
                Some(timeout) => drop(self.work.wait_for(&mut queue, timeout)),
                None => self.work.wait(&mut queue),
            }
            queue.waiting -= 1;
        }
    }

    fn run(&self, task: &Arc<Task>) {
        task.state.store(RUNNING, Ordering::Release);
        let mut slot = task.job.lock();
        let Some(job) = slot.as_mut() else { return };
        let waker = Waker::from(task.clone());
        let turn = catch_unwind(AssertUnwindSafe(|| job.turn(&mut Context::from_waker(&waker))));
        let turn = turn.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            job.panicked(text.unwrap_or("without a message"))
        });
        if turn == Turn::Done {
            *slot = None;
        }
        drop(slot);
        match turn {
            Turn::Again => {
                task.state.store(QUEUED, Ordering::Release);
                self.push(task.clone());
            }
            Turn::Wait(at) => {
                let mut queue = self.queue.lock();
                let first = queue.timers.first_key_value().map(|((first, _), _)| *first);
                queue.set_timer(task, at);
                if at.is_some_and(|at| first.is_none_or(|first| at < first)) && queue.waiting > 0 {
                    self.work.notify_one();
                }
                drop(queue);
                let idle = task.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
                if idle.is_err() {
                    task.state.store(QUEUED, Ordering::Release);
                    self.push(task.clone());
                }
            }
            Turn::Done => {
                self.queue.lock().set_timer(task, None);
                task.state.store(DONE, Ordering::Release);
                self.finished.increment();
            }
        }
    }
}

/// The threads and their queue.
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<Weak<Task>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Scheduler {
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(threads: usize, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (work, ended) = (Condvar::new(), Condvar::new());
        let shared = Shared { clock, queue: Mutex::default(), work, ended, finished: Arc::default() };
        let shared = Arc::new(shared);
        let scheduler = Self { shared, tasks: Mutex::default(), threads: Mutex::default() };
        for number in 0..threads {
            let shared = scheduler.shared.clone();
            let body = move || {
                while let Some(task) = shared.next() {
                    shared.run(&task);
                }
                shared.queue.lock().threads -= 1;
                shared.ended.notify_all();
            };
            scheduler.shared.queue.lock().threads += 1;
            let thread = std::thread::Builder::new().name(format!("tw-process-{number}")).spawn(body);
            let thread = thread.inspect_err(|_| {
                scheduler.shared.queue.lock().threads -= 1;
                scheduler.stop(Duration::ZERO);
            })?;
            scheduler.threads.lock().push(thread);
        }
        Ok(scheduler)
    }

    /// Gives a job turns, the first one soon.
    pub(crate) fn spawn(&self, job: Box<dyn Job>) -> Arc<Task> {
        let mut queue = self.shared.queue.lock();
        queue.next_number += 1;
        let number = queue.next_number;
        drop(queue);
        let (state, job) = (AtomicU8::new(IDLE), Mutex::new(Some(job)));
        let task = Arc::new(Task { number, state, job, shared: self.shared.clone() });
        let mut tasks = self.tasks.lock();
        // Only when it is about to grow, so that many tasks are started in a time that grows with their number.
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| task.strong_count() > 0);
        }
        tasks.push(Arc::downgrade(&task));
        drop(tasks);
        task.rouse();
        task
    }

    /// As [`Scheduler::spawn`], but the first turn comes after the last one of `before`.
    pub(crate) fn spawn_after(&self, before: Option<Arc<Task>>, job: Box<dyn Job>) -> Arc<Task> {
        match before {
            Some(before) => self.spawn(Box::new(After::new(before, self.finished(), job))),
            None => self.spawn(job),
        }
    }

    /// Rises when a task has had its last turn.
    pub(crate) fn finished(&self) -> Arc<Signal> {
        self.shared.finished.clone()
    }

    /// Lets the turns that are under way come to their end, within `timeout`, and gives no more; false if some did not.
    /// A thread that is still busy then ends when its turn does.
    pub(crate) fn stop(&self, timeout: Duration) -> bool {
        let this = std::thread::current().id();
        // A thread cannot wait for itself: the last handle may be dropped in a turn.
        let own = self.threads.lock().iter().any(|thread| thread.thread().id() == this);
        let timeout = if own { Duration::ZERO } else { timeout };
        let mut queue = self.shared.queue.lock();
        queue.stopped = true;
        self.shared.work.notify_all();
        self.shared.ended.wait_while_for(&mut queue, |queue| queue.threads > 0, timeout);
        queue.ready.clear();
        queue.timers.clear();
        let all = queue.threads == 0;
        drop(queue);
        let threads = std::mem::take(&mut *self.threads.lock());
        if all {
            for thread in threads {
                let _panics_are_caught = thread.join();
            }
        }
        // A job waits with its task's waker, and the task owns the job: this lets go of both.
        for task in std::mem::take(&mut *self.tasks.lock()) {
            if let Some(task) = task.upgrade()
                && let Some(mut job) = task.job.try_lock()
            {
                *job = None;
            }
        }
        all
    }
}

impl Drop for Scheduler {
    /// Turns that are under way come to their end, so that nothing happens any more afterwards.
    fn drop(&mut self) {
        self.stop(Duration::from_secs(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use tw_env::Env;

    /// Counts its turns, and does what it is told with each.
    struct Counter<F> {
        turns: Arc<AtomicU64>,
        next: F,
        panics: Arc<AtomicU64>,
    }

    impl<F: FnMut(u64, &mut Context<'_>) -> Turn + Send> Job for Counter<F> {
        fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
            let turn = self.turns.fetch_add(1, Ordering::SeqCst);
            (self.next)(turn, cx)
        }

        fn panicked(&mut self, message: &str) -> Turn {
            assert_eq!(message, "no more");
            self.panics.fetch_add(1, Ordering::SeqCst);
            Turn::Done
        }
    }

    fn counter<F: FnMut(u64, &mut Context<'_>) -> Turn + Send + 'static>(
        next: F,
    ) -> (Box<dyn Job>, Arc<AtomicU64>) {
        let turns = Arc::new(AtomicU64::new(0));
        (Box::new(Counter { turns: turns.clone(), next, panics: Arc::default() }), turns)
    }

    fn scheduler(threads: usize) -> Scheduler {
        Scheduler::start(threads, Env::real().clock).unwrap()
    }

    #[test]
    fn a_busy_job_does_not_starve_the_others() {
        let scheduler = scheduler(1);
        let (busy, busy_turns) = counter(|_, _| Turn::Again);
        scheduler.spawn(busy);
        let done = Arc::new(Signal::default());
        let (other, other_turns) = counter({
            let done = done.clone();
            move |turn, _| {
                if turn == 99 {
                    done.increment();
                    return Turn::Done;
                }
                Turn::Again
            }
        });
        let before = busy_turns.load(Ordering::SeqCst);
        let task = scheduler.spawn(other);
        assert_eq!(done.wait_over(0, Duration::from_secs(60)), 1);
        let between = busy_turns.load(Ordering::SeqCst) - before;
        assert!(between >= 98, "each has its turn: {between}");
        assert_eq!(other_turns.load(Ordering::SeqCst), 100);
        assert!(scheduler.stop(Duration::from_secs(60)));
        assert!(task.is_done());
    }

    #[test]
    fn a_waiting_job_comes_back_when_it_is_woken_or_its_time_has_come() {
        let scheduler = scheduler(2);
        let clock = Env::real().clock;
        let turns = Arc::new(Signal::default());
        let (job, _) = counter({
            let (turns, clock) = (turns.clone(), clock.clone());
            move |turn, _| {
                turns.increment();
                match turn {
                    0 => Turn::Wait(None),
                    1 => Turn::Wait(Some(clock.monotonic() + Duration::from_millis(5))),
                    _ => Turn::Done,
                }
            }
        });
        let task = scheduler.spawn(job);
        turns.wait_over(0, Duration::from_secs(60));
        task.rouse();
        assert_eq!(turns.wait_over(2, Duration::from_secs(60)), 3);
    }

    #[test]
    fn a_timer_that_is_due_before_its_turn_has_ended_is_not_lost() {
        let scheduler = scheduler(2);
        let clock = Env::real().clock;
        let turns = Arc::new(Signal::default());
        let (job, _) = counter({
            let turns = turns.clone();
            move |_, _| {
                turns.increment();
                Turn::Wait(Some(clock.monotonic()))
            }
        });
        scheduler.spawn(job);
        let mut seen = 0;
        while seen < 100_000 {
            let now = turns.wait_over(seen, Duration::from_secs(60));
            assert!(now > seen, "it waits for ever after {seen} turns");
            seen = now;
        }
    }

    #[test]
    fn a_wake_during_a_turn_is_not_lost() {
        let scheduler = scheduler(1);
        let turns = Arc::new(Signal::default());
        let (job, _) = counter({
            let turns = turns.clone();
            move |turn, cx| {
                turns.increment();
                cx.waker().wake_by_ref();
                if turn < 9 { Turn::Wait(None) } else { Turn::Done }
            }
        });
        scheduler.spawn(job);
        assert_eq!(turns.wait_over(9, Duration::from_secs(60)), 10);
    }

    #[test]
    fn a_panic_ends_its_turn_only() {
        let scheduler = scheduler(1);
        let panics = Arc::new(AtomicU64::new(0));
        let job = Counter {
            turns: Arc::default(),
            next: |_, _: &mut Context<'_>| panic!("no more"),
            panics: panics.clone(),
        };
        scheduler.spawn(Box::new(job));
        let done = Arc::new(Signal::default());
        let (other, _) = counter({
            let done = done.clone();
            move |_, _| {
                done.increment();
                Turn::Done
            }
        });
        scheduler.spawn(other);
        assert_eq!(done.wait_over(0, Duration::from_secs(60)), 1);
        assert_eq!(panics.load(Ordering::SeqCst), 1);
    }
}
