//! Files that were damaged while the store was closed: an error that says what to do, or the state as it was after
//! some commit; never anything else.
#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tw_state::{Batch, DiskStore, Error, Options, Range, Store};

const NAMES: [&str; 3] = ["a", "b", "c"];
type State = Vec<BTreeMap<Bytes, Bytes>>;

/// The changes of the `number`-th commit: which keyspaces it touches, and how, differs from commit to commit.
fn changes(number: u32, value_bytes: usize) -> Vec<(usize, Bytes, Bytes)> {
    let mut noise = u64::from(number) << 1 | 1;
    let words = value_bytes / 8 * (number as usize % 3) / 2;
    let value: Bytes = (0..=words)
        .flat_map(|_| {
            // Noise, because the engine compresses what repeats.
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number.into());
            noise.to_be_bytes()
        })
        .collect();
    (0..NAMES.len())
        .filter(|index| *index == 0 || number.is_multiple_of([1, 3, 50][*index]))
        .flat_map(|index| {
            // The second keyspace stays small: it is flushed long after the first.
            let value = if index == 1 { value.slice(..8) } else { value.clone() };
            [number % 97, 100 + number % 7]
                .map(|key| (index, Bytes::copy_from_slice(&key.to_be_bytes()), value.clone()))
        })
        .collect()
}

/// A closed store after some commits, and its state after each of them.
struct Original {
    folder: tempfile::TempDir,
    states: Vec<State>,
}

fn options() -> Options {
    Options { write_buffer_bytes: 1 << 20, journal_bytes_max: 256 << 20, ..Options::default() }
}

fn original(commits: u32, value_bytes: usize) -> Original {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(folder.path(), options()).unwrap();
    let keyspaces = NAMES.map(|name| store.keyspace(name).unwrap());
    let mut states = vec![vec![BTreeMap::new(); NAMES.len()]];
    for number in 1..=commits {
        let mut batch = Batch::new();
        let mut state = states.last().unwrap().clone();
        for (index, key, value) in changes(number, value_bytes) {
            batch.put(keyspaces[index], key.clone(), value.clone());
            state[index].insert(key, value);
        }
        store.commit(batch).unwrap();
        states.push(state);
    }
    drop(store);
    // Opening cuts the unused rest of the journal, which makes the copies small.
    drop(DiskStore::open(folder.path(), options()).unwrap());
    Original { folder, states }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[derive(Debug, Clone)]
enum Damage {
    Flip { file: Index, at: Index, bit: u8 },
    Zeros { file: Index, at: Index },
    Cut { file: Index, at: Index },
    Remove { file: Index },
}

fn damage() -> impl Strategy<Value = Damage> {
    let (file, at) = (any::<Index>, any::<Index>);
    prop_oneof![
        4 => (file(), at(), 0u8..8).prop_map(|(file, at, bit)| Damage::Flip { file, at, bit }),
        1 => (file(), at()).prop_map(|(file, at)| Damage::Zeros { file, at }),
        1 => (file(), at()).prop_map(|(file, at)| Damage::Cut { file, at }),
        1 => file().prop_map(|file| Damage::Remove { file }),
    ]
}

fn inflict(damage: &Damage, files: &[PathBuf]) {
    let (Damage::Flip { file, .. }
    | Damage::Zeros { file, .. }
    | Damage::Cut { file, .. }
    | Damage::Remove { file }) = damage;
    let path = file.get(files);
    let mut bytes = fs::read(path).unwrap();
    match damage {
        Damage::Flip { at, bit, .. } => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Zeros { at, .. } => {
            let at = at.index(bytes.len());
            bytes[at..].iter_mut().take(64).for_each(|byte| *byte = 0);
        }
        Damage::Cut { at, .. } => bytes.truncate(at.index(bytes.len())),
        Damage::Remove { .. } => return fs::remove_file(path).unwrap(),
    }
    fs::write(path, bytes).unwrap();
}

fn read(folder: &Path) -> tw_state::Result<State> {
    let store = DiskStore::open(folder, options())?;
    let mut state = State::new();
    for name in NAMES {
        let keyspace = store.keyspace(name)?;
        let snapshot = store.snapshot();
        let entries = snapshot.range(keyspace, Range::all()).collect::<tw_state::Result<BTreeMap<_, _>>>()?;
        for (key, value) in &entries {
            assert_eq!(store.get(keyspace, key)?.as_ref(), Some(value));
        }
        state.push(entries);
    }
    Ok(state)
}

/// Damages copies of `original` and says how many of them could still be read.
fn check(original: &Original, cases: u32, only: fn(&Path) -> bool) -> u32 {
    let config = ProptestConfig {
        cases: tw_testing::cases(cases),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let readable = std::cell::Cell::new(0);
    proptest::test_runner::TestRunner::new(config)
        .run(&damage(), |damage| {
            let folder = tempfile::tempdir().unwrap();
            copy(original.folder.path(), folder.path());
            let files: Vec<_> = files(folder.path()).into_iter().filter(|path| only(path)).collect();
            inflict(&damage, &files);
            match read(folder.path()) {
                Ok(state) => {
                    prop_assert!(original.states.contains(&state), "a state that never was");
                    readable.set(readable.get() + 1);
                }
                Err(error) => {
                    prop_assert!(matches!(error, Error::Engine { .. }), "{error}");
                    prop_assert!(error.to_string().contains("remove that folder"));
                }
            }
            Ok(())
        })
        .unwrap();
    readable.get()
}

#[test]
fn damaged_files_are_errors_or_an_earlier_state() {
    let original = original(700, 4096);
    assert_eq!(read(original.folder.path()).unwrap(), *original.states.last().unwrap());
    check(&original, 96, |_| true);
}

#[test]
fn damaged_journals_are_errors_or_an_earlier_state() {
    let journal = |path: &Path| path.extension().is_some_and(|extension| extension == "jnl");
    let journals =
        |original: &Original| files(original.folder.path()).iter().filter(|path| journal(path)).count();
    // Better more than one journal: the older ones stay while the small keyspace is not flushed. When the engine's own threads flush is their
    // business, so after a few attempts the one with the most will do.
    let attempts = (0..6).map(|_| original(1_600, 64 << 10));
    let mut best: Option<Original> = None;
    for attempt in attempts {
        if best.as_ref().is_none_or(|best| journals(&attempt) > journals(best)) {
            best = Some(attempt);
        }
        if best.as_ref().is_some_and(|best| journals(best) > 1) {
            break;
        }
    }
    let original = best.filter(|best| journals(best) > 0).unwrap();
    check(&original, 48, journal);
}

#[test]
fn a_journal_whose_last_write_was_cut_off_at_any_byte_is_an_earlier_state() {
    let original = original(20, 64);
    let journal = files(original.folder.path())
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .unwrap();
    let name = journal.strip_prefix(original.folder.path()).unwrap();
    let bytes = fs::read(&journal).unwrap();
    // The last two commits and more: a write ends between any two pages when its process is killed, and there is room behind it.
    for at in bytes.len() - 250..bytes.len() {
        let folder = tempfile::tempdir().unwrap();
        copy(original.folder.path(), folder.path());
        let mut cut = bytes.clone();
        cut[at..].fill(0);
        cut.extend([0; 4_096]);
        fs::write(folder.path().join(name), cut).unwrap();
        let state = read(folder.path()).unwrap_or_else(|error| panic!("cut at byte {at}: {error}"));
        assert!(original.states.contains(&state), "cut at byte {at}: a state that never was");
    }
}
