//! How far a partition is: what a pipeline tells, and what it is told.

use crate::record::Cursor;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tw_log::Signal;
use tw_types::{Offset, StreamPartition};

/// What a pipeline is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// Its work.
    Run,
    /// Its work, as far as to this offset; then nothing.
    RunTo(Offset),
    /// Nothing, once what was processed is committed.
    Hold,
    /// Commit what was processed, and end.
    Drain,
    /// End at once.
    Abandon,
}

/// Why a pipeline is held or ends; each is one bit of [`Progress::wishes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wish {
    /// A person has paused the view.
    Pause = 1,
    /// Another generation of the view is about to take over.
    Switch = 2,
    Drain = 4,
    Abandon = 8,
    /// Two generations of the view are to be at the same offset.
    Align = 16,
}

/// What a partition of a view is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is about to be opened.
    Starting,
    /// It processes events, or waits for new ones.
    Running,
    /// A person has paused it.
    Paused,
    /// It tries again after a failure.
    Waiting,
    /// It stands still until someone acts; the error says why.
    Stopped,
}

/// See the module's text.
pub(crate) struct Progress {
    pub(crate) at: StreamPartition,
    /// The end of what is committed, exclusive.
    pub(crate) committed: Arc<Signal>,
    /// Rises when something of the view changed that is not a commit.
    changed: Arc<Signal>,
    /// Rises with every commit of any partition, and with whatever else a partition does.
    moved: Arc<Signal>,
    wishes: AtomicU8,
    /// Where it is held for [`Wish::Align`].
    until: AtomicU64,
    held: AtomicBool,
    drained: AtomicBool,
    restart: AtomicBool,
    /// What was built does not fit what people have decided since.
    stale: AtomicBool,
    report: Mutex<Report>,
}

/// What a pipeline tells.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) standing: Standing,
    pub(crate) cursor: Cursor,
    /// Whether the cursor is that of the store.
    pub(crate) opened: bool,
    /// Whether an event that clears all could not be processed: nothing behind it is, until a person decides.
    pub(crate) walled: bool,
    /// Failures since the last commit.
    pub(crate) failures: u32,
    /// Events processed since the process started.
    pub(crate) events: u64,
    pub(crate) rate: Rate,
    /// Why it waits or stands still.
    pub(crate) failure: Option<String>,
    /// The last event that could not be processed, and why.
    pub(crate) rejected: Option<(Offset, String)>,
}

/// Events per second, averaged over the last seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rate {
    per_second: f64,
    events: u64,
    at: Duration,
}

impl Rate {
    /// Seconds after which what was counts for little.
    const MEMORY_SECONDS: f64 = 3.0;

    /// The rate at `now`, when `events` have been processed altogether.
    pub(crate) fn get(&self, events: u64, now: Duration) -> f64 {
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        if seconds <= 0.0 {
            return self.per_second;
        }
        let weight = 1.0 - (-seconds / Self::MEMORY_SECONDS).exp();
        let current = events.saturating_sub(self.events) as f64 / seconds;
        self.per_second + (current - self.per_second) * weight
    }

    fn update(&mut self, events: u64, now: Duration) {
        // Shorter pieces of time say nothing.
        if now.saturating_sub(self.at) >= Duration::from_millis(200) {
            *self = Self { per_second: self.get(events, now), events, at: now };
        }
    }
}

impl Progress {
    pub(crate) fn new(at: StreamPartition, changed: Arc<Signal>, moved: Arc<Signal>, now: Duration) -> Self {
        Self {
            at,
            committed: Arc::default(),
            changed,
            moved,
            wishes: AtomicU8::new(0),
            until: AtomicU64::new(0),
            held: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            restart: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            report: Mutex::new(Report {
                standing: Standing::Starting,
                cursor: Cursor::default(),
                opened: false,
                walled: false,
                failures: 0,
                events: 0,
                rate: Rate { at: now, ..Rate::default() },
                failure: None,
                rejected: None,
            }),
        }
    }

    pub(crate) fn control(&self) -> Control {
        let wishes = self.wishes.load(Ordering::Acquire);
        match wishes {
            0 => Control::Run,
            _ if wishes & Wish::Abandon as u8 != 0 => Control::Abandon,
            _ if wishes & Wish::Drain as u8 != 0 => Control::Drain,
            _ if wishes == Wish::Align as u8 => Control::RunTo(Offset(self.until.load(Ordering::Acquire))),
            _ => Control::Hold,
        }
    }

    /// Asks for something; the pipeline must be woken.
    pub(crate) fn wish(&self, wish: Wish) {
        if matches!(wish, Wish::Switch) {
            // A commit that outlasted the switch before may have told only now that it is held.
            self.held.store(false, Ordering::Release);
        }
        self.wishes.fetch_or(wish as u8, Ordering::AcqRel);
    }

    /// Lets it go on to an offset and no further, until [`Wish::Align`] is taken back; the pipeline must be woken.
    pub(crate) fn align(&self, until: Offset) {
        self.held.store(false, Ordering::Release);
        self.until.store(until.0, Ordering::Release);
        self.wish(Wish::Align);
    }

    /// Takes a wish back; the pipeline must be woken.
    pub(crate) fn unwish(&self, wish: Wish) {
        self.held.store(false, Ordering::Release);
        self.wishes.fetch_and(!(wish as u8), Ordering::AcqRel);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.wishes.load(Ordering::Acquire) & Wish::Pause as u8 != 0
    }

    /// Everything that was processed is committed, and nothing more is while it is held.
    pub(crate) fn set_held(&self) {
        self.held.store(true, Ordering::Release);
        self.tell();
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    pub(crate) fn set_drained(&self) {
        self.drained.store(true, Ordering::Release);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    /// Asks a pipeline that stands still to try again; it must be woken.
    pub(crate) fn ask_restart(&self) {
        self.restart.store(true, Ordering::Release);
    }

    pub(crate) fn take_restart(&self) -> bool {
        self.restart.swap(false, Ordering::AcqRel)
    }

    /// What was built has to be built anew.
    pub(crate) fn set_stale(&self) {
        self.stale.store(true, Ordering::Release);
        self.tell();
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    pub(crate) fn set_standing(&self, standing: Standing) {
        let mut report = self.report.lock();
        report.standing = standing;
        if standing == Standing::Running {
            report.failure = None;
        }
        drop(report);
        self.tell();
    }

    /// It was interrupted; `failures` is how often since the last commit.
    pub(crate) fn fail(&self, standing: Standing, reason: String, failures: u32) {
        let mut report = self.report.lock();
        (report.standing, report.failure, report.failures) = (standing, Some(reason), failures);
        drop(report);
        self.tell();
    }

    /// Something changed that is not a commit.
    fn tell(&self) {
        self.changed.increment();
        self.moved.increment();
    }

    pub(crate) fn note_rejected(&self, offset: Offset, why: &str) {
        self.report.lock().rejected = Some((offset, why.to_owned()));
    }

    /// It goes on from this cursor.
    pub(crate) fn opened(&self, cursor: &Cursor, walled: bool) {
        let mut report = self.report.lock();
        (report.cursor, report.opened, report.walled) = (*cursor, true, walled);
        drop(report);
        self.committed.raise(cursor.position.0);
        self.moved.increment();
    }

    pub(crate) fn committed(&self, cursor: &Cursor, walled: bool, events: u64, now: Duration) {
        let mut report = self.report.lock();
        report.events += events;
        report.failures = 0;
        let total = report.events;
        report.rate.update(total, now);
        drop(report);
        self.opened(cursor, walled);
    }

    pub(crate) fn position(&self) -> Offset {
        self.report.lock().cursor.position
    }

    pub(crate) fn report(&self) -> Report {
        self.report.lock().clone()
    }
}
