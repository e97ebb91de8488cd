//! Where transactions wait that are streamed before they are committed.
//!
//! Small ones wait in memory, large ones in a file each. The files are scratch: after a restart the server streams such a
//! transaction again, so what is left over is removed. What a rolled-back subtransaction had changed is left out
//! when the transaction is read back; a rolled-back transaction is dropped.

use crate::Error;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tw_env::{Disk, File, OpenMode};

/// How much is read back at once.
const READ_BYTES: usize = 1 << 20;
const SUFFIX: &str = "spool";
/// Length of a message, number of the (sub)transaction that it belongs to.
const HEADER_BYTES: usize = 8;

/// The transactions that wait.
pub(crate) struct Spool {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    waiting: BTreeMap<u32, Waiting>,
    memory_bytes: usize,
    memory_bytes_max: usize,
    disk_bytes: u64,
    disk_bytes_max: u64,
}

#[derive(Default)]
struct Waiting {
    file: Option<(Arc<dyn File>, PathBuf)>,
    stored: u64,
    /// What is behind the stored part.
    tail: Vec<u8>,
    rolled_back: Ranges,
}

impl Spool {
    /// An empty spool; removes what an earlier one left in `folder`.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        memory_bytes_max: usize,
        disk_bytes_max: u64,
    ) -> Result<Self, Error> {
        disk.create_dir_all(folder).map_err(failed("create", folder))?;
        for path in disk.list(folder).map_err(failed("list", folder))? {
            if path.extension().is_some_and(|extension| extension == SUFFIX) {
                disk.remove(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(Self {
            disk,
            folder: folder.to_owned(),
            waiting: BTreeMap::new(),
            memory_bytes: 0,
            memory_bytes_max,
            disk_bytes: 0,
            disk_bytes_max,
        })
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.memory_bytes as u64 + self.disk_bytes
    }

    /// Adds a message of subtransaction `subxid` to the transaction `xid`.
    pub(crate) fn push(&mut self, xid: u32, subxid: u32, message: &[u8]) -> Result<(), Error> {
        let waiting = self.waiting.entry(xid).or_default();
        waiting.tail.extend_from_slice(&(message.len() as u32).to_le_bytes());
        waiting.tail.extend_from_slice(&subxid.to_le_bytes());
        waiting.tail.extend_from_slice(message);
        self.memory_bytes += HEADER_BYTES + message.len();
        while self.memory_bytes > self.memory_bytes_max {
            self.store_largest()?;
        }
        Ok(())
    }

    /// Moves the largest tail to its file.
    fn store_largest(&mut self) -> Result<(), Error> {
        let largest = self.waiting.iter_mut().max_by_key(|(_, waiting)| waiting.tail.len());
        let Some((xid, waiting)) = largest else { return Ok(()) };
        let bytes = waiting.tail.len();
        if self.disk_bytes + bytes as u64 > self.disk_bytes_max {
            return Err(Error::ScratchFull { bytes_max: self.disk_bytes_max });
        }
        let (file, path) = match &mut waiting.file {
            Some(file) => file,
            none => {
                let path = self.folder.join(format!("{xid}.{SUFFIX}"));
                let file = self.disk.open(&path, OpenMode::CreateNew).map_err(failed("create", &path))?;
                none.insert((file, path))
            }
        };
        write_all(file.as_ref(), &waiting.tail, waiting.stored).map_err(failed("write", path))?;
        waiting.stored += bytes as u64;
        waiting.tail.clear();
        // A buffer that grew for one large transaction is not kept for ever.
        waiting.tail.shrink_to(READ_BYTES);
        self.memory_bytes -= bytes;
        self.disk_bytes += bytes as u64;
        Ok(())
    }

    /// A subtransaction was rolled back, or all of the transaction when they are the same.
    pub(crate) fn roll_back(&mut self, xid: u32, subxid: u32) -> Result<(), Error> {
        if xid == subxid {
            return self.take(xid)?.remove();
        }
        if let Some(waiting) = self.waiting.get_mut(&xid) {
            waiting.rolled_back.insert(subxid);
        }
        Ok(())
    }

    /// Takes a transaction out to read it back.
    pub(crate) fn take(&mut self, xid: u32) -> Result<Replay, Error> {
        let waiting = self.waiting.remove(&xid).unwrap_or_default();
        self.memory_bytes -= waiting.tail.len();
        self.disk_bytes -= waiting.stored;
        Ok(Replay { disk: self.disk.clone(), waiting, read: 0, buffer: Vec::new(), used: 0 })
    }
}

/// A transaction that is read back.
pub(crate) struct Replay {
    disk: Arc<dyn Disk>,
    waiting: Waiting,
    /// How much of stored part and tail is in the buffer, or has been.
    read: u64,
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    used: usize,
}

impl Replay {
    /// The next message, as it was pushed.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        loop {
            let Some(header) = self.peek(HEADER_BYTES)?.and_then(|bytes| bytes.first_chunk::<HEADER_BYTES>())
            else {
                return Ok(None);
            };
            let (length, subxid) = header.split_at(4);
            let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            let (length, subxid) = (number(length) as usize, number(subxid));
            let whole = HEADER_BYTES + length;
            if self.peek(whole)?.is_none() {
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was");
                return Err(failed("read", self.path())(cut));
            }
            let start = self.used + HEADER_BYTES;
            self.used += whole;
            if !self.waiting.rolled_back.contains(subxid) {
                return Ok(self.buffer.get(start..start + length));
            }
        }
    }

    fn path(&self) -> &Path {
        self.waiting.file.as_ref().map_or(Path::new(""), |(_, path)| path)
    }

    /// The next `count` bytes without using them up; None at the end.
    fn peek(&mut self, count: usize) -> Result<Option<&[u8]>, Error> {
        if self.buffer.len() - self.used < count {
            self.buffer.drain(..self.used);
            self.used = 0;
            while self.buffer.len() < count && self.fill(count)? {}
        }
        Ok(self.buffer.get(self.used..self.used + count))
    }

    /// Reads more; false at the end.
    fn fill(&mut self, wanted: usize) -> Result<bool, Error> {
        let before = self.buffer.len();
        let stored_left = self.waiting.stored.saturating_sub(self.read);
        let Some((file, path)) = self.waiting.file.as_ref().filter(|_| stored_left > 0) else {
            // The tail is behind the stored part, and is given out as a whole.
            let tail = std::mem::take(&mut self.waiting.tail);
            self.buffer.extend_from_slice(&tail);
            self.read += tail.len() as u64;
            return Ok(!tail.is_empty());
        };
        let count = READ_BYTES.max(wanted).min(usize::try_from(stored_left).unwrap_or(usize::MAX));
        self.buffer.resize(before + count, 0);
        let free = self.buffer.get_mut(before..).unwrap_or_default();
        let read = file.read_at(free, self.read).map_err(failed("read", path))?;
        self.buffer.truncate(before + read);
        self.read += read as u64;
        Ok(read > 0)
    }

    /// Forgets the transaction.
    pub(crate) fn remove(mut self) -> Result<(), Error> {
        match self.waiting.file.take() {
            Some((file, path)) => {
                drop(file);
                self.disk.remove(&path).map_err(failed("remove", &path))
            }
            None => Ok(()),
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Scratch { action, path, source }
}

fn write_all(file: &dyn File, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(&[IoSlice::new(bytes)], position)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                bytes = bytes.get(written..).unwrap_or_default();
                position += written as u64;
            }
        }
    }
    Ok(())
}

/// A set of numbers that are mostly consecutive: a loop with a savepoint in it rolls back one after the other.
#[derive(Debug, Default)]
struct Ranges {
    /// First and last of each range, by the last; ranges do not touch.
    by_last: BTreeMap<u32, u32>,
}

impl Ranges {
    fn insert(&mut self, number: u32) {
        if self.contains(number) {
            return;
        }
        let (mut first, mut last) = (number, number);
        if let Some(before) = number.checked_sub(1).and_then(|before| self.by_last.remove(&before)) {
            first = before;
        }
        let after = number.checked_add(1).and_then(|after| self.by_last.range(after..).next());
        if let Some((&after_last, &after_first)) = after
            && after_first == number + 1
        {
            self.by_last.remove(&after_last);
            last = after_last;
        }
        self.by_last.insert(last, first);
    }

    fn contains(&self, number: u32) -> bool {
        self.by_last.range(number..).next().is_some_and(|(_, first)| *first <= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn drain(mut replay: Replay) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(message) = replay.next().unwrap() {
            messages.push(message.to_vec());
        }
        replay.remove().unwrap();
        messages
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_read_back_is_what_was_not_rolled_back(
            steps in proptest::collection::vec((0u32..3, 0u32..4, 0usize..5000), 1..200),
            rolled_back in proptest::collection::btree_set((0u32..3, 1u32..4), 0..4),
            memory in 1usize..20_000,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let disk = tw_env::Env::real().disk;
            let mut spool = Spool::open(disk, folder.path(), memory, u64::MAX).unwrap();
            let mut expected: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
            for (index, (xid, sub, length)) in steps.iter().enumerate() {
                let subxid = if *sub == 0 { *xid } else { 100 * (xid + 1) + sub };
                let message = vec![index as u8; *length];
                spool.push(*xid, subxid, &message).unwrap();
                if !rolled_back.contains(&(*xid, *sub)) {
                    expected.entry(*xid).or_default().push(message);
                }
            }
            for (xid, sub) in rolled_back {
                spool.roll_back(xid, 100 * (xid + 1) + sub).unwrap();
            }
            for xid in 0..3 {
                prop_assert_eq!(drain(spool.take(xid).unwrap()), expected.remove(&xid).unwrap_or_default());
            }
            prop_assert_eq!((spool.bytes(), files(folder.path())), (0, 0));
        }

        #[test]
        fn ranges_are_a_set(numbers in proptest::collection::vec(prop_oneof![0u32..40, Just(u32::MAX), Just(u32::MAX - 1)], 0..60)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for number in numbers {
                ranges.insert(number);
                set.insert(number);
            }
            for number in (0..42).chain([u32::MAX - 2, u32::MAX - 1, u32::MAX]) {
                prop_assert_eq!(ranges.contains(number), set.contains(&number), "{}", number);
            }
        }
    }

    #[test]
    fn consecutive_rollbacks_take_one_range() {
        let mut ranges = Ranges::default();
        (10..100_000).for_each(|number| ranges.insert(number));
        assert_eq!(ranges.by_last.len(), 1);
    }

    #[test]
    fn a_rolled_back_transaction_leaves_nothing_and_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let disk = tw_env::Env::real().disk;
        std::fs::write(folder.path().join("7.spool"), b"left over").unwrap();
        let mut spool = Spool::open(disk, folder.path(), 10, 100).unwrap();
        assert_eq!(files(folder.path()), 0);
        spool.push(7, 7, &[1; 50]).unwrap();
        assert_eq!(files(folder.path()), 1);
        spool.roll_back(7, 7).unwrap();
        assert_eq!((files(folder.path()), spool.bytes()), (0, 0));
        assert!(matches!(spool.push(8, 8, &[1; 200]), Err(Error::ScratchFull { bytes_max: 100 })));
    }
}
