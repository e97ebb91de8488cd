//! `bench log raw`: what one synced write costs, by method, size and kind of file.

use crate::report::{median, ms, quantile};
use anyhow::Result;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The length of the file that is written into.
const FILE_BYTES: u64 = 64 << 20;
/// What direct writes are aligned to.
const PAGE: usize = 4096;
/// How many writes make a measurement.
const WRITES: usize = 300;

/// In what state the file is when it is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Every byte was written and synced before.
    Recycled,
    /// It was extended with `fallocate`, but never written.
    Allocated,
    /// It is empty and grows.
    Growing,
}

/// How bytes are written and made durable.
#[derive(Debug, Clone, Copy)]
enum Method {
    Fdatasync,
    DirectDsync,
    DirectFdatasync,
    UringFdatasync,
    UringDirectDsync,
}

impl Method {
    const ALL: [Self; 5] = [
        Self::Fdatasync,
        Self::DirectDsync,
        Self::DirectFdatasync,
        Self::UringFdatasync,
        Self::UringDirectDsync,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Fdatasync => "pwrite + fdatasync",
            Self::DirectDsync => "O_DIRECT|O_DSYNC pwrite",
            Self::DirectFdatasync => "O_DIRECT pwrite + fdatasync",
            Self::UringFdatasync => "io_uring write -> fdatasync, linked",
            Self::UringDirectDsync => "io_uring O_DIRECT|O_DSYNC write",
        }
    }

    fn flags(self) -> OFlags {
        match self {
            Self::Fdatasync | Self::UringFdatasync => OFlags::empty(),
            Self::DirectDsync | Self::UringDirectDsync => OFlags::DIRECT | OFlags::DSYNC,
            Self::DirectFdatasync => OFlags::DIRECT,
        }
    }
}

pub(crate) fn run(folder: &Path, rounds: usize) -> Result<()> {
    println!(
        "one writer, {WRITES} synced writes in a row into a file of {} MiB, {rounds} rounds",
        FILE_BYTES >> 20
    );
    println!("p50 and p99 in ms, medians of the rounds\n");
    println!("{:<38}{:>11}{:>9}{:>9}{:>10}", "method", "size", "p50", "p99", "MB/s");
    for size in [4 << 10, 64 << 10, 1 << 20] {
        for method in Method::ALL {
            report(folder, rounds, method, Kind::Recycled, size)?;
        }
        for kind in [Kind::Growing, Kind::Allocated] {
            report(folder, rounds, Method::Fdatasync, kind, size)?;
        }
    }
    Ok(())
}

fn report(folder: &Path, rounds: usize, method: Method, kind: Kind, size: usize) -> Result<()> {
    let mut p50 = Vec::new();
    let mut p99 = Vec::new();
    let mut rate = Vec::new();
    for _ in 0..rounds {
        let times = measure(folder, method, kind, size)?;
        p50.push(median(&times));
        p99.push(quantile(&times, 0.99));
        rate.push((size * times.len()) as f64 / times.iter().sum::<Duration>().as_secs_f64() / 1e6);
    }
    let kind = match kind {
        Kind::Recycled => "",
        Kind::Allocated => ", fallocated",
        Kind::Growing => ", growing",
    };
    println!(
        "{:<38}{:>7} KiB{:>9}{:>9}{:>10.0}",
        format!("{}{kind}", method.name()),
        size >> 10,
        ms(median(&p50)),
        ms(median(&p99)),
        median(&rate)
    );
    Ok(())
}

fn measure(folder: &Path, method: Method, kind: Kind, size: usize) -> Result<Vec<Duration>> {
    let path = folder.join("raw");
    let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
    match kind {
        Kind::Recycled => fill(&file, FILE_BYTES)?,
        Kind::Allocated => {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?;
            file.sync_all()?;
        }
        Kind::Growing => {}
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC | method.flags();
    let file = File::from(rustix::fs::open(&path, flags, Mode::empty())?);
    let buffer = Aligned::new(size);
    let mut writer = Writer::new(method, file)?;
    let mut times = Vec::with_capacity(WRITES);
    let places = FILE_BYTES / size as u64;
    for n in 0..WRITES as u64 {
        // A growing file goes on growing; the others are written round and round.
        let position = if kind == Kind::Growing { n } else { n % places } * size as u64;
        if kind == Kind::Allocated && n >= places {
            break;
        }
        let start = Instant::now();
        writer.write(buffer.bytes(), position)?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(times)
}

/// Writes the first `len` bytes of a file and makes them durable.
pub(crate) fn fill(file: &File, len: u64) -> Result<()> {
    let zeros = vec![0u8; 1 << 20];
    for position in (0..len).step_by(zeros.len()) {
        let n = (len - position).min(zeros.len() as u64) as usize;
        file.write_all_at(zeros.get(..n).unwrap_or_default(), position)?;
    }
    Ok(file.sync_all()?)
}

/// Bytes that do not compress, at a page's boundary.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let bytes: Vec<u8> = (0..len + PAGE)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start, len }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

/// A file and the way in which it is written.
struct Writer {
    method: Method,
    file: File,
    #[cfg(target_os = "linux")]
    ring: Option<io_uring::IoUring>,
}

impl Writer {
    #[cfg(target_os = "linux")]
    fn new(method: Method, file: File) -> Result<Self> {
        let uring = matches!(method, Method::UringFdatasync | Method::UringDirectDsync);
        let ring = if uring { Some(io_uring::IoUring::new(4)?) } else { None };
        Ok(Self { method, file, ring })
    }

    fn write(&mut self, bytes: &[u8], position: u64) -> Result<()> {
        match self.method {
            Method::Fdatasync | Method::DirectFdatasync => {
                self.file.write_all_at(bytes, position)?;
                self.file.sync_data()?;
            }
            Method::DirectDsync => self.file.write_all_at(bytes, position)?,
            Method::UringFdatasync => self.submit(bytes, position, true)?,
            Method::UringDirectDsync => self.submit(bytes, position, false)?,
        }
        Ok(())
    }

    /// Hands a write (and a sync behind it) to the kernel and waits for both.
    #[cfg(target_os = "linux")]
    fn submit(&mut self, bytes: &[u8], position: u64, sync: bool) -> Result<()> {
        use io_uring::{opcode, squeue::Flags, types::Fd, types::FsyncFlags};
        use std::os::fd::AsRawFd;
        let ring = self.ring.as_mut().ok_or_else(|| anyhow::anyhow!("no ring"))?;
        let fd = Fd(self.file.as_raw_fd());
        let mut write = opcode::Write::new(fd, bytes.as_ptr(), bytes.len() as u32).offset(position).build();
        if sync {
            write = write.flags(Flags::IO_LINK);
        }
        let mut entries = vec![write];
        if sync {
            entries.push(opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build());
        }
        #[expect(unsafe_code, reason = "the ring's interface has no safe form")]
        // SAFETY: `bytes` and `self.file` outlive the operations, because all are awaited before this returns.
        unsafe {
            ring.submission().push_multiple(&entries)?;
        }
        ring.submit_and_wait(entries.len())?;
        for (completion, wanted) in ring.completion().zip([bytes.len() as i32, 0]) {
            anyhow::ensure!(completion.result() == wanted, "a write gave {}", completion.result());
        }
        Ok(())
    }
}
