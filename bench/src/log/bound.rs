//! The bounds: bare loops that write and sync the same bytes into files that were written before.

use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The length of one file, as of a segment.
const FILE_BYTES: u64 = 64 << 20;
/// How many files are written in turn.
const FILES: usize = 4;
/// The unit of a write.
const PAGE: usize = 4096;

/// Recycled files, and where the loop is in them.
pub(crate) struct Bound {
    files: Vec<File>,
    file: usize,
    position: u64,
}

impl Bound {
    /// Makes the files.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for n in 0..FILES {
            let path = folder.join(format!("bound-{n}"));
            let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
            super::raw::fill(&file, FILE_BYTES)?;
            files.push(file);
        }
        Ok(Self { files, file: 0, position: 0 })
    }

    /// Lets `tasks` tasks hand `size` ready bytes each to a bare loop that writes and syncs what all of them handed in,
    /// and then tells each; how many were told a second. What any group commit costs besides the disk: waiting and
    /// waking.
    pub(crate) fn run_fed(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        tasks: usize,
        size: u64,
        duration: Duration,
    ) -> Result<f64> {
        let queue = Arc::new(Queue::default());
        let handles: Vec<_> = (0..tasks)
            .map(|_| {
                let queue = queue.clone();
                runtime.spawn(async move { while queue.feed(size as usize).await {} })
            })
            .collect();
        let (start, mut told) = (Instant::now(), 0u64);
        while start.elapsed() < duration {
            let group = queue.take(tasks);
            let mut bytes: Vec<u8> = Vec::with_capacity((size as usize * tasks).next_multiple_of(PAGE));
            group.iter().for_each(|(piece, _)| bytes.extend_from_slice(piece));
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            self.write(&bytes)?;
            for (_, ack) in group {
                told += 1;
                let _nobody_waits = ack.send(());
            }
        }
        let rate = told as f64 / start.elapsed().as_secs_f64();
        queue.close();
        for handle in handles {
            runtime.block_on(handle)?;
        }
        Ok(rate)
    }

    /// Writes and syncs `size` bytes (whole pages, as the log does), one after the other for `duration`; the time of
    /// each.
    pub(crate) fn run(&mut self, size: u64, duration: Duration) -> Result<Vec<Duration>> {
        let bytes = vec![0xa5; (size as usize).next_multiple_of(PAGE)];
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < duration {
            let start = Instant::now();
            self.write(&bytes)?;
            times.push(start.elapsed());
        }
        Ok(times)
    }

    /// Writes and syncs whole pages where the loop is.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        anyhow::ensure!(size <= FILE_BYTES, "a frame of {size} bytes is larger than this loop can write");
        if self.position + size > FILE_BYTES {
            (self.file, self.position) = ((self.file + 1) % self.files.len(), 0);
        }
        let file = self.files.get(self.file).context("no file")?;
        file.write_all_at(bytes, self.position)?;
        file.sync_data()?;
        self.position += size;
        Ok(())
    }
}

/// What waits for the bare loop.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Vec<u8>, oneshot::Sender<()>)>,
    closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands `size` bytes in and waits until they are durable; false when the loop has ended.
    async fn feed(&self, size: usize) -> bool {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            if state.closed {
                return false;
            }
            state.waiting.push((vec![7; size], sender));
        }
        self.changed.notify_one();
        receiver.await.is_ok()
    }

    /// Waits until `wanted` are there.
    fn take(&self, wanted: usize) -> Vec<(Vec<u8>, oneshot::Sender<()>)> {
        let mut state = self.state();
        while state.waiting.len() < wanted {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut state.waiting)
    }

    /// Lets nobody in any more; who waits is told that nothing comes.
    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
    }
}
