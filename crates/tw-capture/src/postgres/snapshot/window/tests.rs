//! A model of a database, of its write-ahead log and of its visibility, in which every step that matters happens at a
//! time of its own; and a reader that knows only what a real one can know.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Rows = BTreeMap<u8, u32>;

/// What goes through the write-ahead log.
#[derive(Debug, Clone)]
enum Record {
    Commit { xid: u64, changes: Vec<(u8, Option<u32>)> },
    Truncate { xid: u64 },
    Watermark,
}

/// A transaction that has a number.
#[derive(Debug, Default)]
struct Running {
    changes: Vec<(u8, Option<u32>)>,
    truncates: bool,
    /// Its commit record is written, but others do not see its effects yet.
    recorded: bool,
}

#[derive(Debug, Default)]
struct Database {
    /// What a new snapshot sees.
    visible: Rows,
    running: BTreeMap<u64, Running>,
    next_xid: u64,
    /// The highest number of a transaction that has ended.
    completed: u64,
    wal: Vec<Record>,
    values: u32,
}

impl Database {
    /// As the server takes one: transactions beyond the last that has ended are not listed, running or not.
    fn snapshot(&self) -> Visibility {
        let xmax = self.completed + 1;
        let running: Vec<u64> = self.running.keys().copied().filter(|xid| *xid < xmax).collect();
        let xmin = running.first().copied().unwrap_or(xmax);
        Visibility { xmin, xmax, running }
    }

    /// Starts and ends a transaction that does nothing, for its number.
    fn number(&mut self) -> u64 {
        self.completed = self.next_xid;
        self.next_xid += 1;
        self.completed
    }

    /// A row lock is held until the effects are visible, the lock of a truncation excludes all others.
    fn is_locked(&self, key: u8) -> bool {
        self.running
            .values()
            .any(|other| other.truncates || other.changes.iter().any(|(locked, _)| *locked == key))
    }

    fn change(&mut self, pick: usize, key: u8, delete: bool) {
        if self.is_locked(key) {
            return;
        }
        self.values += 1;
        let value = (!delete).then_some(self.values);
        let mut open = self.running.values_mut().filter(|running| !running.recorded && !running.truncates);
        if let Some(transaction) = open.nth(pick % 4) {
            transaction.changes.push((key, value));
        }
    }

    fn record(&mut self, pick: usize) {
        let mut open = self.running.iter_mut().filter(|(_, running)| !running.recorded);
        if let Some((&xid, transaction)) = open.nth(pick % 4) {
            transaction.recorded = true;
            let changes = transaction.changes.clone();
            self.wal.push(if transaction.truncates {
                Record::Truncate { xid }
            } else {
                Record::Commit { xid, changes }
            });
        }
    }

    fn show(&mut self, pick: usize) {
        let recorded: Vec<u64> =
            self.running.iter().filter(|(_, r)| r.recorded).map(|(xid, _)| *xid).collect();
        let Some(&xid) = recorded.get(pick % 4) else { return };
        let Some(transaction) = self.running.remove(&xid) else { return };
        self.completed = self.completed.max(xid);
        if transaction.truncates {
            self.visible.clear();
        }
        apply(&mut self.visible, &transaction.changes);
    }
}

fn apply(rows: &mut Rows, changes: &[(u8, Option<u32>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => rows.insert(*key, *value),
            None => rows.remove(key),
        };
    }
}

/// What was seen, which rows, and the last key unless they were the last.
type Chunk = (Visibility, Vec<(u8, u32)>, Option<u8>);

/// The reader of chunks and of the stream, which builds the table anew.
struct Reader {
    window: Window,
    rows: Rows,
    read: usize,
    chunk: Option<Chunk>,
    after: Option<u8>,
    done: bool,
    barrier: u64,
}

impl Reader {
    /// Reads up to three rows behind the last key, and writes the watermark.
    fn read_chunk(&mut self, database: &mut Database) {
        let seen = database.snapshot();
        if self.done || self.chunk.is_some() || seen.xmin < self.barrier {
            return;
        }
        let after = self.after;
        let rows: Vec<(u8, u32)> = database
            .visible
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| **key > after))
            .take(3)
            .map(|(k, v)| (*k, *v))
            .collect();
        let last = rows.last().map(|(key, _)| *key).filter(|_| rows.len() == 3);
        database.wal.push(Record::Watermark);
        self.chunk = Some((seen, rows, last));
    }

    /// Takes the next record of the stream.
    fn step(&mut self, database: &Database) {
        let Some(record) = database.wal.get(self.read) else { return };
        self.read += 1;
        match record {
            Record::Commit { xid, changes } => {
                for (key, _) in changes {
                    self.window.changed(*xid, 1, Some(&key.to_string()));
                }
                apply(&mut self.rows, changes);
            }
            Record::Truncate { xid } => {
                self.window.changed(*xid, 1, None);
                self.rows.clear();
            }
            Record::Watermark => {
                let Some((seen, rows, last)) = self.chunk.take() else { return };
                match self.window.judge(1, &seen) {
                    Verdict::Again { xmin } => self.barrier = self.barrier.max(xmin),
                    Verdict::Emit(newer) => {
                        let fresh = rows.iter().filter(|(key, _)| !newer.contains(key.to_string().as_str()));
                        let fresh: Vec<_> = fresh.map(|(key, value)| (*key, Some(*value))).collect();
                        apply(&mut self.rows, &fresh);
                        self.after = last;
                        self.done = last.is_none();
                    }
                }
                self.window.settle(&seen);
            }
        }
    }
}

/// Runs a history, and then to its end; the rebuilt table must be the real one.
fn check(before: &[(u8, u8, u8)], during: &[(u8, u8, u8)], bytes_max: usize) -> Result<(), TestCaseError> {
    let mut database = Database { next_xid: 100, completed: 99, ..Database::default() };
    let act = |database: &mut Database, (what, pick, key): (u8, u8, u8)| match what {
        0 => {
            database.running.insert(database.next_xid, Running::default());
            database.next_xid += 1;
        }
        1 if key == 0 && database.running.is_empty() => {
            database.running.insert(database.next_xid, Running { truncates: true, ..Running::default() });
            database.next_xid += 1;
        }
        1..=4 => database.change(pick.into(), key, pick % 3 == 0),
        5 => database.record(pick.into()),
        _ => database.show(pick.into()),
    };
    for step in before {
        act(&mut database, *step);
    }
    // The slot is made: what is recorded before is not streamed, visible or not.
    let mut reader = Reader {
        window: Window::new(bytes_max),
        rows: Rows::new(),
        read: database.wal.len(),
        chunk: None,
        after: None,
        done: false,
        barrier: 0,
    };
    reader.window.watch(1);
    reader.barrier = database.number();
    for step in during {
        match step.0 {
            7 => reader.read_chunk(&mut database),
            8 => reader.step(&database),
            _ => act(&mut database, *step),
        }
    }
    // A crash of a transaction leaves nothing; the others end.
    database.running.retain(|_, running| running.recorded);
    while !database.running.is_empty() {
        database.show(0);
    }
    for _ in 0..1000 {
        reader.read_chunk(&mut database);
        reader.step(&database);
    }
    prop_assert!(reader.done);
    prop_assert_eq!(&reader.rows, &database.visible);
    prop_assert!(reader.window.bytes() <= bytes_max + TRANSACTION_BYTES);
    Ok(())
}

fn steps(length: usize) -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    proptest::collection::vec((0u8..9, any::<u8>(), 0u8..12), 0..length)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(5_000)))]

    #[test]
    fn cap_2_chunks_and_stream_together_give_the_table(before in steps(60), during in steps(200)) {
        check(&before, &during, 1 << 20)?;
    }

    #[test]
    fn cap_2_holds_when_memory_is_short(before in steps(60), during in steps(200), kilobytes in 1usize..4) {
        check(&before, &during, kilobytes << 10)?;
    }

    #[test]
    fn numbers_grow_over_the_end_of_32_bits(start in (1u64 << 31)..(1 << 40), distances in proptest::collection::vec(-1_000_000_000i64..1_500_000_000, 1..30)) {
        let mut epochs = Epochs { last: start };
        let mut real = start;
        for distance in distances {
            real = real.saturating_add_signed(distance).max(1 << 31);
            prop_assume!(real.abs_diff(epochs.last) < 1 << 31);
            prop_assert_eq!(epochs.extend(real as u32), real);
        }
    }
}

#[test]
fn a_commit_that_is_recorded_but_not_visible_does_not_bring_an_old_row_back() {
    // The case that plain watermarks miss: the commit record comes before the low watermark, its effect after it.
    let mut window = Window::new(1 << 20);
    window.watch(1);
    window.changed(101, 1, Some("7"));
    let seen: Visibility = "101:105:101,103".parse().unwrap();
    assert_eq!(window.judge(1, &seen), Verdict::Emit(HashSet::from(["7"])));
    let later: Visibility = "103:106:103".parse().unwrap();
    assert_eq!(window.judge(1, &later), Verdict::Emit(HashSet::new()));
    window.settle(&later);
    assert_eq!(window.bytes(), 0);
}

#[test]
fn snapshots_read_as_the_server_writes_them() {
    let seen: Visibility = "10:20:12,15".parse().unwrap();
    let invisible: BTreeSet<u64> = (0..25).filter(|xid| !seen.sees(*xid)).collect();
    assert_eq!(invisible, BTreeSet::from([12, 15, 20, 21, 22, 23, 24]));
    assert!("10:20:".parse::<Visibility>().unwrap().sees(19));
    for text in ["", "1:2", "a:b:", "1:2:x"] {
        assert!(text.parse::<Visibility>().is_err(), "{text}");
    }
}
