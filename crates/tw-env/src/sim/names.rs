//! The names of a simulated folder tree: as programs see them, and as the disk holds them.

use super::SimRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The number of a file.
pub(super) type FileId = u64;

#[derive(Debug, Clone)]
enum Change {
    Create(PathBuf, FileId),
    Rename(PathBuf, PathBuf, FileId),
    Remove(PathBuf, FileId),
}

/// The two faces of the names.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    current: BTreeMap<PathBuf, FileId>,
    durable: BTreeMap<PathBuf, FileId>,
    /// The changes since each folder's last sync, in order.
    unsynced: Vec<Change>,
}

impl Change {
    fn paths(&self) -> [&Path; 2] {
        match self {
            Self::Create(path, _) | Self::Remove(path, _) => [path, path],
            Self::Rename(from, to, _) => [from, to],
        }
    }

    fn file(&self) -> FileId {
        match self {
            Self::Create(_, file) | Self::Remove(_, file) | Self::Rename(_, _, file) => *file,
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            Self::Create(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove(path, _) => {
                names.remove(path);
            }
        }
    }
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<FileId> {
        self.current.get(path).copied()
    }

    pub(super) fn list(&self, folder: &Path) -> Vec<PathBuf> {
        self.current.keys().filter(|path| path.parent() == Some(folder)).cloned().collect()
    }

    pub(super) fn create(&mut self, path: &Path, file: FileId) {
        self.change(Change::Create(path.to_owned(), file));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let file = self.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.change(Change::Remove(path.to_owned(), file));
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self, folder: &Path) {
        let (synced, others) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|change| change.paths().iter().any(|path| path.parent() == Some(folder)));
        self.unsynced = others;
        for change in synced {
            change.apply(&mut self.durable);
        }
    }

    /// Keeps any of the unsynced changes and forgets the others. Changes of the same name or file are kept in order:
    /// one is only there if those before it are.
    pub(super) fn lose_power(&mut self, random: &SimRandom) {
        let of_eight = random.below(9);
        let mut lost_paths: BTreeSet<PathBuf> = BTreeSet::new();
        let mut lost_files = BTreeSet::new();
        for change in std::mem::take(&mut self.unsynced) {
            let depends = change.paths().iter().any(|path| lost_paths.contains(*path))
                || lost_files.contains(&change.file());
            if depends || !random.chance(of_eight, 8) {
                lost_paths.extend(change.paths().map(Path::to_owned));
                lost_files.insert(change.file());
            } else {
                change.apply(&mut self.durable);
            }
        }
        self.current = self.durable.clone();
    }

    /// The files that have a name.
    pub(super) fn current(&self) -> impl Iterator<Item = FileId> + '_ {
        self.current.values().copied()
    }

    /// The files that have a name, or may have one after a power loss.
    pub(super) fn files(&self) -> BTreeSet<FileId> {
        let unsynced = self.unsynced.iter().map(Change::file);
        self.current.values().chain(self.durable.values()).copied().chain(unsynced).collect()
    }
}
