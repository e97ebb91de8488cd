//! The simulated disk itself.

use super::content::Content;
use super::names::{FileId, Names};
use super::{Fault, Operation, Rates, SimRandom};
use crate::{Disk, File, OpenMode, Random};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk in memory that forgets what was not synced, and fails when it is told to.
///
/// - Bytes that were not synced survive a power loss sector by sector (512 bytes): old or new (or a version in
///   between), in any combination. So do lengths. Names survive once their folder is synced; before that, any of the
///   changes may be lost. Folders themselves are durable at once.
/// - After a failed sync the pages count as clean, whether they reached the disk or not.
/// - After a crash all operations fail until [`SimDisk::power_loss`]; files and locks of before are dead then.
#[derive(Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

type Observer = Arc<dyn Fn(Operation) + Send + Sync>;

struct State {
    random: SimRandom,
    contents: BTreeMap<FileId, Content>,
    names: Names,
    folders: BTreeSet<PathBuf>,
    next_file: FileId,
    locks: BTreeSet<PathBuf>,
    /// How often the machine or the process was restarted: handles belong to one life.
    life: u64,
    down: bool,
    capacity_bytes: u64,
    trace: Vec<Operation>,
    faults: BTreeMap<u64, Fault>,
    rates: Rates,
    observer: Option<Observer>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("names", &self.names).field("operations", &self.trace.len()).finish()
    }
}

/// What became of an operation before it was carried out.
enum Verdict {
    Proceed,
    Fail(io::ErrorKind),
    Crash,
}

impl SimDisk {
    /// An empty disk without limits whose every choice follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: SimRandom::new(seed),
            contents: BTreeMap::new(),
            names: Names::default(),
            folders: BTreeSet::new(),
            next_file: 0,
            locks: BTreeSet::new(),
            life: 0,
            down: false,
            capacity_bytes: u64::MAX,
            trace: Vec::new(),
            faults: BTreeMap::new(),
            rates: Rates::default(),
            observer: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A copy of the disk as it is now, unsynced bytes included; neither faults nor observer are copied, and nobody has it open.
    pub fn fork(&self, seed: u64) -> Self {
        let state = self.state.lock();
        let copy = Self::new(seed);
        let mut to = copy.state.lock();
        to.contents = state.contents.clone();
        to.names = state.names.clone();
        to.folders = state.folders.clone();
        to.next_file = state.next_file;
        to.capacity_bytes = state.capacity_bytes;
        to.rates = state.rates;
        drop(to);
        copy
    }

    /// The power goes and comes back: only what is durable (and what of the rest had the luck) is there, all open
    /// files and locks are gone, and operations work again.
    pub fn power_loss(&self) {
        let mut state = self.state.lock();
        let State { random, contents, names, .. } = &mut *state;
        names.lose_power(random);
        let alive = names.files();
        contents.retain(|file, _| alive.contains(file));
        for content in contents.values_mut() {
            content.lose_power(random);
        }
        state.restart();
    }

    /// The process dies (`kill -9`) and the machine goes on: everything written is there, synced or not; open files and
    /// locks are gone.
    pub fn process_loss(&self) {
        self.state.lock().restart();
    }

    /// How many operations there were so far. The next one has this number.
    pub fn operations(&self) -> u64 {
        self.state.lock().trace.len() as u64
    }

    /// What operation had which number.
    pub fn trace(&self) -> Vec<Operation> {
        self.state.lock().trace.clone()
    }

    /// Lets operation number `number` go wrong; see [`SimDisk::operations`].
    pub fn fault_at(&self, number: u64, fault: Fault) {
        self.state.lock().faults.insert(number, fault);
    }

    /// Takes back every fault that has not come yet.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// How often operations are cut short from now on.
    pub fn set_rates(&self, rates: Rates) {
        self.state.lock().rates = rates;
    }

    /// How many bytes the disk holds from now on. Less than what is there is a full disk.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// How many bytes files take.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used_bytes()
    }

    /// Calls `observer` before every operation, without holding any lock: it may look at the disk, or fork it.
    pub fn observe(&self, observer: impl Fn(Operation) + Send + Sync + 'static) {
        self.state.lock().observer = Some(Arc::new(observer));
    }

    /// Stops calling the observer.
    pub fn observe_no_more(&self) {
        self.state.lock().observer = None;
    }

    /// Bit rot: changes one byte of a file by exclusive or with `flip`. It counts as no operation.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`].
    pub fn rot(&self, path: &Path, position: u64, flip: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        state.content(file)?.rot(position as usize, flip);
        Ok(())
    }

    fn begin(
        &self,
        operation: Operation,
        life: Option<u64>,
    ) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        begin(&self.state, operation, life)
    }
}

/// Counts an operation and lets it go wrong if it is its turn, unless it has effects of its own when it does.
fn begin<'a>(
    state: &'a Mutex<State>,
    operation: Operation,
    life: Option<u64>,
) -> io::Result<parking_lot::MutexGuard<'a, State>> {
    let (mut state, verdict) = count(state, operation, life)?;
    match verdict {
        Verdict::Proceed => Ok(state),
        Verdict::Fail(kind) => Err(kind.into()),
        Verdict::Crash => {
            state.down = true;
            Err(power_is_off())
        }
    }
}

fn count<'a>(
    state: &'a Mutex<State>,
    operation: Operation,
    life: Option<u64>,
) -> io::Result<(parking_lot::MutexGuard<'a, State>, Verdict)> {
    let observer = state.lock().observer.clone();
    if let Some(observer) = observer {
        observer(operation);
    }
    let mut state = state.lock();
    if state.down || life.is_some_and(|life| life != state.life) {
        return Err(power_is_off());
    }
    let number = state.trace.len() as u64;
    state.trace.push(operation);
    let verdict = match state.faults.remove(&number) {
        None => Verdict::Proceed,
        Some(Fault::Fail(kind)) => Verdict::Fail(kind),
        Some(Fault::Crash) => Verdict::Crash,
    };
    Ok((state, verdict))
}

fn power_is_off() -> io::Error {
    io::Error::other("the simulated power is off")
}

impl State {
    fn content(&mut self, file: FileId) -> io::Result<&mut Content> {
        self.contents.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used_bytes(&self) -> u64 {
        // A file without a name takes no room, even if a power loss may bring the name back.
        self.names.current().filter_map(|file| self.contents.get(&file)).map(Content::allocated_bytes).sum()
    }

    fn room_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes())
    }

    fn restart(&mut self) {
        self.life += 1;
        self.down = false;
        self.locks.clear();
        self.faults.clear();
    }

    /// Frees files that no name leads to any more. (An open handle does not keep a file: nobody here relies on that.)
    fn collect(&mut self) {
        let alive = self.names.files();
        self.contents.retain(|file, _| alive.contains(file));
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let create = mode == OpenMode::CreateNew;
        let mut state = self.begin(if create { Operation::Create } else { Operation::Open }, None)?;
        let id = match (state.names.get(path), create) {
            (Some(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(id), false) => id,
            (None, false) => return Err(io::ErrorKind::NotFound.into()),
            (None, true) => {
                let id = state.next_file;
                state.next_file += 1;
                state.contents.insert(id, Content::default());
                state.names.create(path, id);
                id
            }
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile { id, writable, life: state.life, state: self.state.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.state.lock().folders.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.begin(Operation::List, None)?.names.list(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Rename, None)?;
        state.names.rename(from, to)?;
        state.collect();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Remove, None)?;
        state.names.remove(path)?;
        state.collect();
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::SyncDir, None)?;
        state.names.sync(path);
        state.collect();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn std::any::Any + Send + Sync>> {
        let mut state = self.state.lock();
        if state.down {
            return Err(power_is_off());
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { path: path.to_owned(), life: state.life, state: self.state.clone() }))
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.state.lock().room_bytes())
    }
}

struct Lock {
    path: PathBuf,
    life: u64,
    state: Arc<Mutex<State>>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    id: FileId,
    writable: bool,
    life: u64,
    state: Arc<Mutex<State>>,
}

impl SimFile {
    fn begin(&self, operation: Operation) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        begin(&self.state, operation, Some(self.life))
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.begin(Operation::Read)?;
        if state.rates.interrupts_now(&state.random) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = Rates::cut(state.rates.short_reads, buffer.len(), &state.random);
        let buffer = buffer.get_mut(..len).unwrap_or_default();
        Ok(state.content(self.id)?.read(buffer, position as usize))
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let (mut state, verdict) = count(&self.state, Operation::Write, Some(self.life))?;
        if state.rates.interrupts_now(&state.random) && matches!(verdict, Verdict::Proceed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = match verdict {
            Verdict::Proceed => Rates::cut(state.rates.short_writes, bytes.len(), &state.random),
            Verdict::Crash => bytes.len(),
            Verdict::Fail(_) => state.random.below(bytes.len() as u64) as usize,
        };
        let room = state.room_bytes();
        let taken =
            state.content(self.id)?.write(bytes.get(..len).unwrap_or_default(), position as usize, room);
        match verdict {
            Verdict::Proceed if taken == 0 && !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
            Verdict::Proceed => Ok(taken),
            Verdict::Fail(kind) => Err(kind.into()),
            Verdict::Crash => {
                state.down = true;
                Err(power_is_off())
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, verdict) = count(&self.state, Operation::Sync, Some(self.life))?;
        match verdict {
            Verdict::Proceed => {
                state.content(self.id)?.sync();
                Ok(())
            }
            Verdict::Fail(kind) => {
                let random = SimRandom::new(state.random.next_u64());
                state.content(self.id)?.fail_sync(&random);
                Err(kind.into())
            }
            Verdict::Crash => {
                state.down = true;
                Err(power_is_off())
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.begin(Operation::Len)?.content(self.id)?.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.begin(Operation::SetLen)?.content(self.id)?.set_len(len as usize);
        Ok(())
    }
}
