//! The bound: a bare loop that writes and syncs the same bytes into files that were written before.

use anyhow::Result;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The length of one file, as of a segment.
const FILE_BYTES: u64 = 64 << 20;
/// How many files are written in turn.
const FILES: usize = 4;

/// Recycled files, and where the loop is in them.
pub(crate) struct Bound {
    files: Vec<File>,
    file: usize,
    position: u64,
    bytes: Vec<u8>,
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
        Ok(Self { files, file: 0, position: 0, bytes: vec![0xa5; 16 << 20] })
    }

    /// Writes and syncs `size` bytes (whole pages, as the log does), one after the other for `duration`; the time of
    /// each.
    pub(crate) fn run(&mut self, size: u64, duration: Duration) -> Result<Vec<Duration>> {
        let size = size.next_multiple_of(4096);
        let start = Instant::now();
        let mut times = Vec::new();
        while start.elapsed() < duration {
            if self.position + size > FILE_BYTES {
                (self.file, self.position) = ((self.file + 1) % self.files.len(), 0);
            }
            let Some((file, bytes)) = self.files.get(self.file).zip(self.bytes.get(..size as usize)) else {
                anyhow::bail!("a frame of {size} bytes is larger than this loop can write");
            };
            let start = Instant::now();
            file.write_all_at(bytes, self.position)?;
            file.sync_data()?;
            times.push(start.elapsed());
            self.position += size;
        }
        Ok(times)
    }
}
