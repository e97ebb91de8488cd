//! What goes wrong, and when.

use super::SimRandom;
use std::io;

/// What is asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A file is opened that must exist.
    Open,
    /// A file is created.
    Create,
    /// A folder is listed.
    List,
    /// A file gets another name.
    Rename,
    /// A file is removed.
    Remove,
    /// The names of a folder are made durable.
    SyncDir,
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write,
    /// Bytes are made durable.
    Sync,
    /// A length is asked for.
    Len,
    /// A file is cut or extended.
    SetLen,
}

impl Operation {
    /// Whether the disk may be different afterwards: the boundaries at which a crash is worth testing.
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Read | Self::Len)
    }
}

/// How one operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error. A write may have been carried out in part; a sync leaves some pages unwritten and
    /// marks all of them clean, so that a later sync succeeds without them.
    Fail(io::ErrorKind),
    /// The power goes while it is under way; everything fails until [`super::SimDisk::power_loss`] restarts the machine.
    Crash,
}

/// How often operations are cut short, in thousandths. They are still correct: callers must go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Reads that give fewer bytes than asked for.
    pub short_reads: u64,
    /// Writes that take fewer bytes than given.
    pub short_writes: u64,
    /// Reads and writes that fail with [`io::ErrorKind::Interrupted`] before doing anything.
    pub interrupts: u64,
}

impl Rates {
    /// Whether this read or write is interrupted.
    pub(super) fn interrupts_now(self, random: &SimRandom) -> bool {
        random.chance(self.interrupts, 1_000)
    }

    /// How many of `len` bytes are read or written.
    pub(super) fn cut(per_mille: u64, len: usize, random: &SimRandom) -> usize {
        if len > 1 && random.chance(per_mille, 1_000) {
            1 + random.below(len as u64 - 1) as usize
        } else {
            len
        }
    }
}
