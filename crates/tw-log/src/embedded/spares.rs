//! Segments that are ready before they are needed.
//!
//! A spare is written full of zeros (or is a file whose segment is not needed any more), has a header with a new
//! salt, and its name: all of that is durable before the writer gets it, so that starting a segment costs no more than
//! writing a frame. Where no spare can be made (no room), the error is kept for whoever asks, and making is tried again
//! later.

use super::layout::{PAGE, SegmentHeader, SegmentId};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tw_env::{Env, File, OpenMode};

/// How much is zeroed at once, and how much before a sync.
const ZERO_BYTES: u64 = 1 << 20;
const ZERO_SYNC_BYTES: u64 = 8 << 20;

/// A segment that waits to be written.
#[derive(Clone)]
pub(crate) struct Spare {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) len: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
}

/// The spares, and the files of which more can be made.
#[derive(Default)]
pub(crate) struct Spares {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Spare>,
    next_number: u64,
    /// Files that hold nothing that is needed, all of the length of a segment.
    free: Vec<PathBuf>,
    /// Why the last try failed.
    failed: Option<Arc<io::Error>>,
    closed: bool,
    made_recycled: u64,
    made_new: u64,
}

/// Where and how spares are made.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) env: Env,
    pub(crate) folder: PathBuf,
    pub(crate) log: u128,
    pub(crate) segment_len: u64,
    pub(crate) wanted: usize,
}

impl Spares {
    /// No spares; the next one gets number `next_number`.
    pub(crate) fn new(next_number: u64, free: Vec<PathBuf>) -> Self {
        Self { state: Mutex::new(State { next_number, free, ..State::default() }), changed: Condvar::new() }
    }

    /// Takes the next spare; the error of the last try when there is none, or None before the first try.
    pub(crate) fn take(&self) -> Result<Spare, Option<Arc<io::Error>>> {
        let mut state = self.state.lock();
        let spare = state.ready.pop_front().ok_or_else(|| state.failed.clone())?;
        drop(state);
        self.changed.notify_all();
        Ok(spare)
    }

    /// Takes the next spare as soon as there is one; the error when making one fails.
    pub(crate) fn take_soon(&self) -> Result<Spare, Option<Arc<io::Error>>> {
        let mut state = self.state.lock();
        loop {
            if let Some(spare) = state.ready.pop_front() {
                drop(state);
                self.changed.notify_all();
                return Ok(spare);
            }
            if state.failed.is_some() || state.closed {
                return Err(state.failed.clone());
            }
            self.changed.wait(&mut state);
        }
    }

    /// Takes over a file whose segment is not needed any more; false when there are enough.
    pub(crate) fn recycle(&self, path: PathBuf, wanted: usize) -> bool {
        let mut state = self.state.lock();
        let welcome = state.free.len() + state.ready.len() < 2 * wanted;
        if welcome {
            state.free.push(path);
        }
        drop(state);
        self.changed.notify_all();
        welcome
    }

    /// Waits until a spare is wanted (after a failure: until `retry` has passed or a file was freed); false when
    /// closed.
    pub(crate) fn wait_wanted(&self, wanted: usize, retry: Duration) -> bool {
        let mut state = self.state.lock();
        let freed = state.free.len();
        let deadline = Instant::now() + retry;
        loop {
            if state.closed {
                return false;
            }
            if state.ready.len() < wanted {
                if state.failed.is_none() || state.free.len() > freed {
                    return true;
                }
                if self.changed.wait_until(&mut state, deadline).timed_out() {
                    return true;
                }
            } else {
                self.changed.wait(&mut state);
            }
        }
    }

    /// How many spares were made out of older files, and how many anew.
    pub(crate) fn made(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.made_recycled, state.made_new)
    }

    /// Whether no spare is ready.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().ready.is_empty()
    }

    /// Ends all waiting.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Makes one spare if fewer than wanted are ready; false when there was nothing to do or it failed.
    pub(crate) fn make(&self, maker: &Maker) -> bool {
        let (number, free) = {
            let mut state = self.state.lock();
            if state.ready.len() >= maker.wanted {
                return false;
            }
            let number = state.next_number;
            state.next_number += 1;
            (number, state.free.pop())
        };
        let recycled = free.is_some();
        let made = maker.make(number, free);
        let mut state = self.state.lock();
        let done = match made {
            Ok(spare) => {
                state.failed = None;
                state.ready.push_back(spare);
                *(if recycled { &mut state.made_recycled } else { &mut state.made_new }) += 1;
                true
            }
            Err(error) => {
                tracing::warn!(number, %error, "cannot prepare a segment");
                state.failed = Some(Arc::new(error));
                false
            }
        };
        drop(state);
        self.changed.notify_all();
        done
    }
}

impl Maker {
    /// Makes segment `number` out of a file that is free, or a new one. What cannot be finished is removed.
    pub(crate) fn make(&self, number: u64, free: Option<PathBuf>) -> io::Result<Spare> {
        let id = SegmentId::appended(number);
        let path = self.folder.join(format!("{}.seg", id.stem()));
        let recycled = free.is_some();
        let from = free.unwrap_or_else(|| self.folder.join(format!("{}.new", id.stem())));
        let made = self.fill(&from, recycled, id).and_then(|(salt, file)| {
            self.env.disk.rename(&from, &path)?;
            self.env.disk.sync_dir(&self.folder)?;
            Ok(Spare { number, salt, len: self.segment_len, path: path.clone(), file })
        });
        if made.is_err() {
            // Half a segment takes room and is good for nothing. It may have either name by now.
            let _gone = self.env.disk.remove(&from);
            let _gone = self.env.disk.remove(&path);
        }
        made
    }

    fn fill(&self, path: &Path, recycled: bool, id: SegmentId) -> io::Result<(u64, Arc<dyn File>)> {
        let mode = if recycled { OpenMode::Write } else { OpenMode::CreateNew };
        let file = self.env.disk.open(path, mode)?;
        if !recycled {
            zero(&*file, self.segment_len)?;
        }
        let salt = self.env.random.next_u64();
        let mut front = SegmentHeader { id, salt, len: self.segment_len, log: self.log }.encode();
        front.resize(PAGE as usize, 0);
        file.write_all_at(&mut [IoSlice::new(&front)], 0)?;
        file.sync()?;
        Ok((salt, file))
    }
}

/// Fills a new file with zeros, so that later writes change no metadata of the file system.
fn zero(file: &dyn File, len: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_BYTES.min(len) as usize];
    let mut position = 0;
    while position < len {
        let piece = zeros.get(..(len - position).min(ZERO_BYTES) as usize).unwrap_or_default();
        file.write_all_at(&mut [IoSlice::new(piece)], position)?;
        position += piece.len() as u64;
        if position.is_multiple_of(ZERO_SYNC_BYTES) {
            // In steps, so that a commit does not wait behind all of it.
            file.sync()?;
        }
    }
    Ok(())
}
