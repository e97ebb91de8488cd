//! The core of the incremental snapshot: which rows of a chunk are older than what the stream has already told.
//!
//! A chunk is read in a transaction with a snapshot S, then a watermark W is written to the write-ahead log, and the
//! chunk is emitted where W arrives in the stream. A transaction that S sees was committed before S was taken, so it
//! comes before W: its changes are in the chunk and in the stream, and the chunk's row is at least as new. A transaction
//! that S does not see and that comes after W changes the row again later. What remains are transactions that S does
//! not see and that come before W: for each row that one of them changed, the stream is newer, and the chunk's row is
//! dropped. This holds although a transaction's commit record is written before others can see its effects, by
//! milliseconds or, with synchronous replication, by any time. The argument in full is ADR 0005.
//!
//! Pure: no clock, no I/O, no async. Memory is bounded: beyond the bound, keys are forgotten and whole chunks are read
//! again instead.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::str::FromStr;

/// What a transaction's snapshot sees, as `pg_current_snapshot` tells it: numbers of top-level transactions, 64 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visibility {
    /// Everything before it has ended.
    pub(crate) xmin: u64,
    /// Everything from here on had not begun.
    pub(crate) xmax: u64,
    /// What was under way in between, ascending.
    running: Vec<u64>,
}

impl Visibility {
    /// Whether the effects of a committed transaction show.
    pub(crate) fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }
}

impl FromStr for Visibility {
    type Err = ();

    /// Reads `xmin:xmax:running,running,…`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ':');
        let mut number = || parts.next()?.parse().ok();
        let (xmin, xmax) = number().zip(number()).ok_or(())?;
        let list = parts.next().ok_or(())?;
        let running = list.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().map_err(|_| ()));
        let mut running = running.collect::<Result<Vec<_>, ()>>()?;
        running.sort_unstable();
        Ok(Self { xmin, xmax, running })
    }
}

/// Turns the 32-bit numbers of the stream into 64-bit ones. Each is taken to be within 2³¹ of the one before, which
/// the server guarantees: it stops before its numbers span more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epochs {
    pub(crate) last: u64,
}

impl Epochs {
    pub(crate) fn extend(&mut self, xid: u32) -> u64 {
        // The signed distance on the circle of 32-bit numbers.
        let distance = xid.wrapping_sub(self.last as u32) as i32;
        self.last = self.last.saturating_add_signed(i64::from(distance));
        self.last
    }
}

/// What is to be done with a chunk at its watermark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// Emit the rows whose subjects are not among these.
    Emit(HashSet<&'a str>),
    /// Forget it, and read it again once everything before this number has ended.
    Again {
        /// The least `xmin` that the next chunk's snapshot must have.
        xmin: u64,
    },
}

/// The subjects that a transaction changed in one table.
#[derive(Debug)]
enum Changed {
    Some(HashSet<Box<str>>),
    All,
}

#[derive(Debug)]
struct Transaction {
    xid: u64,
    tables: BTreeMap<u32, Changed>,
    /// Subjects whose row the change did not tell in full, by table; all of them are in `tables` too.
    left_out: BTreeMap<u32, HashSet<Box<str>>>,
    bytes: usize,
}

/// What an entry takes beside the texts of its subjects, about.
const SUBJECT_BYTES: usize = 48;
const TRANSACTION_BYTES: usize = 128;

/// What recent transactions of the stream changed in the tables that are being read.
#[derive(Debug)]
pub(crate) struct Window {
    /// The tables that are watched, by number.
    tables: BTreeSet<u32>,
    transactions: VecDeque<Transaction>,
    bytes: usize,
    bytes_max: usize,
    /// Transactions before this number may have been forgotten.
    forgotten: u64,
}

impl Window {
    /// Watches nothing yet; takes at most about `bytes_max` of memory.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { tables: BTreeSet::new(), transactions: VecDeque::new(), bytes: 0, bytes_max, forgotten: 0 }
    }

    /// From now on remembers what changes in `table`.
    pub(crate) fn watch(&mut self, table: u32) {
        self.tables.insert(table);
    }

    /// The table has been read.
    pub(crate) fn unwatch(&mut self, table: u32) {
        self.tables.remove(&table);
        if self.tables.is_empty() {
            self.transactions.clear();
            self.bytes = 0;
        }
    }

    /// Whether what changes in `table` is to be told to [`Window::changed`].
    pub(crate) fn watches(&self, table: u32) -> bool {
        self.tables.contains(&table)
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The stream tells of a change by transaction `xid`; `None` is all rows at once.
    pub(crate) fn changed(&mut self, xid: u64, table: u32, subject: Option<&str>) {
        if self.transactions.back().is_none_or(|last| last.xid != xid) {
            self.transactions.push_back(Transaction {
                xid,
                tables: BTreeMap::new(),
                left_out: BTreeMap::new(),
                bytes: TRANSACTION_BYTES,
            });
            self.bytes += TRANSACTION_BYTES;
        }
        let Some(transaction) = self.transactions.back_mut() else { return };
        let changed = transaction.tables.entry(table).or_insert_with(|| Changed::Some(HashSet::new()));
        match (&mut *changed, subject) {
            (Changed::All, _) => {}
            (Changed::Some(_), None) => *changed = Changed::All,
            (Changed::Some(subjects), Some(subject)) => {
                if subjects.insert(subject.into()) {
                    transaction.bytes += subject.len() + SUBJECT_BYTES;
                    self.bytes += subject.len() + SUBJECT_BYTES;
                }
            }
        }
        if self.bytes > self.bytes_max {
            self.shrink();
        }
    }

    /// The change that was told last, by transaction `xid`, left out a value of this row.
    pub(crate) fn left_out(&mut self, xid: u64, table: u32, subject: &str) {
        let Some(transaction) = self.transactions.back_mut().filter(|last| last.xid == xid) else { return };
        // Without subjects, every chunk that needs them is read again.
        if !matches!(transaction.tables.get(&table), Some(Changed::Some(_))) {
            return;
        }
        if transaction.left_out.entry(table).or_default().insert(subject.into()) {
            transaction.bytes += subject.len() + SUBJECT_BYTES;
            self.bytes += subject.len() + SUBJECT_BYTES;
        }
        if self.bytes > self.bytes_max {
            self.shrink();
        }
    }

    /// Of the rows that [`Window::judge`] calls newer, those of which a change left a value out.
    pub(crate) fn newer_left_out(&self, table: u32, seen: &Visibility) -> HashSet<&str> {
        let newer = self.transactions.iter().filter(|transaction| !seen.sees(transaction.xid));
        let subjects = newer.filter_map(|transaction| transaction.left_out.get(&table)).flatten();
        subjects.map(AsRef::as_ref).collect()
    }

    /// Forgets the subjects of the largest transaction; and all transactions when that is not enough.
    fn shrink(&mut self) {
        let largest = self.transactions.iter_mut().max_by_key(|transaction| transaction.bytes);
        if let Some(largest) = largest.filter(|largest| largest.bytes > self.bytes_max / 4) {
            largest.tables.values_mut().for_each(|changed| *changed = Changed::All);
            largest.left_out.clear();
            self.bytes -= largest.bytes - TRANSACTION_BYTES;
            largest.bytes = TRANSACTION_BYTES;
            return;
        }
        let newest = self.transactions.iter().map(|transaction| transaction.xid + 1).max();
        self.forgotten = self.forgotten.max(newest.unwrap_or_default());
        self.transactions.clear();
        self.bytes = 0;
    }

    /// A snapshot was taken that every later chunk's snapshot follows: what it sees, they see too.
    pub(crate) fn settle(&mut self, seen: &Visibility) {
        self.transactions.retain(|transaction| !seen.sees(transaction.xid));
        self.bytes = self.transactions.iter().map(|transaction| transaction.bytes).sum();
    }

    /// Judges a chunk of `table` that was read under `seen`, at its watermark.
    pub(crate) fn judge(&self, table: u32, seen: &Visibility) -> Verdict<'_> {
        if seen.xmin < self.forgotten {
            return Verdict::Again { xmin: self.forgotten };
        }
        let mut newer = HashSet::new();
        for transaction in self.transactions.iter().filter(|transaction| !seen.sees(transaction.xid)) {
            match transaction.tables.get(&table) {
                None => {}
                Some(Changed::All) => return Verdict::Again { xmin: 0 },
                Some(Changed::Some(subjects)) => newer.extend(subjects.iter().map(AsRef::as_ref)),
            }
        }
        Verdict::Emit(newer)
    }
}

#[cfg(test)]
mod tests;
