//! The files of a log: which there are, and which of them are of no use any more.
//!
//! ```text
//! LOCK                                held by the process that has the log open
//! 000000000017.seg                    segment 17, filled by appends, or a spare that is ready to be
//! 000000000003-000000000009.2.seg     the cleaner's second version of segments 3 to 9
//! *.idx                               the index of the segment of the same name
//! *.new                               a file that is being made
//! *.free                              a file of no use any more, of which a segment can be made
//! ```

use super::layout::{SegmentHeader, SegmentId};
use super::record::SegmentEntry;
use super::recovery::read_index;
use super::shared::{damaged, io_error, read_error};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use tw_env::{Env, File, OpenMode};

/// The files of a log's folder.
pub(crate) struct Files {
    folder: PathBuf,
    segments: BTreeMap<SegmentId, PathBuf>,
    indexes: BTreeMap<SegmentId, PathBuf>,
    /// What was being made, or had become useless, when the log was closed.
    leftovers: Vec<PathBuf>,
}

/// Makes the folder and takes its lock.
pub(crate) fn prepare(folder: &Path, env: &Env) -> Result<Box<dyn std::any::Any + Send + Sync>> {
    env.disk.create_dir_all(folder).map_err(|error| io_error("create", folder, error))?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    env.disk.sync_dir(parent).map_err(|error| io_error("sync", parent, error))?;
    lock(folder, env)
}

/// Takes the lock of a folder that exists.
pub(crate) fn lock(folder: &Path, env: &Env) -> Result<Box<dyn std::any::Any + Send + Sync>> {
    let path = folder.join("LOCK");
    env.disk.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked(folder.to_owned()),
        _ => io_error("lock", &path, error),
    })
}

/// Reads the header of a segment file.
pub(crate) fn read_header(file: &dyn File, path: &Path) -> Result<SegmentHeader> {
    let mut bytes = [0; 128];
    file.read_exact_at(&mut bytes, 0).map_err(|error| read_error(path, 0, error))?;
    SegmentHeader::decode(&bytes).map_err(|cause| damaged(path, 0, cause))
}

impl Files {
    pub(crate) fn list(folder: &Path, env: &Env) -> Result<Self> {
        let paths = env.disk.list(folder).map_err(|error| io_error("list", folder, error))?;
        let mut files = Self {
            folder: folder.to_owned(),
            segments: BTreeMap::new(),
            indexes: BTreeMap::new(),
            leftovers: Vec::new(),
        };
        for path in paths {
            let text =
                |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
            let (stem, extension) = (text(path.file_stem()), text(path.extension()));
            let id = stem.as_deref().and_then(SegmentId::from_stem);
            match (id, extension.as_deref()) {
                (Some(id), Some("seg")) => {
                    files.segments.insert(id, path);
                }
                (Some(id), Some("idx")) => {
                    files.indexes.insert(id, path);
                }
                (_, Some("new" | "free")) => files.leftovers.push(path),
                // Not ours: left alone.
                _ => {}
            }
        }
        Ok(files)
    }

    /// The segments that appends filled, or will.
    pub(crate) fn appended(&self) -> impl DoubleEndedIterator<Item = (SegmentId, &PathBuf)> {
        self.segments.iter().filter(|(id, _)| id.generation == 0).map(|(id, path)| (*id, path))
    }

    /// All segments, spares included, in the order of their numbers.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.segments.keys().copied()
    }

    /// A segment that the cleaner wrote, if there is one.
    pub(crate) fn rewritten(&self) -> Option<&Path> {
        self.segments.iter().find(|(id, _)| id.generation > 0).map(|(_, path)| path.as_path())
    }

    /// The file of a segment, if it is there.
    pub(crate) fn path(&self, id: SegmentId) -> Option<&PathBuf> {
        self.segments.get(&id)
    }

    /// The name that the file of a segment has.
    pub(crate) fn path_of(&self, id: SegmentId) -> PathBuf {
        self.folder.join(format!("{id}.seg"))
    }

    /// Whether the index of this very segment is there.
    pub(crate) fn has_index(&self, id: SegmentId, salt: u64, env: &Env) -> bool {
        self.indexes.get(&id).is_some_and(|path| {
            // Any end will do: read_index compares it, so it is taken from the file itself.
            stored_end(path, env)
                .is_some_and(|end| read_index(path, &SegmentEntry { id, salt, end }, env).is_some())
        })
    }

    /// Removes every file that is of no use: all but the segments `kept` and their indexes. Gives back the files of
    /// which segments of `segment_len` bytes can be made, up to `free_max`.
    pub(crate) fn clean_up(
        &self,
        kept: &BTreeSet<SegmentId>,
        segment_len: u64,
        free_max: usize,
        env: &Env,
    ) -> Result<Vec<PathBuf>> {
        let mut free = Vec::new();
        for (id, path) in self.segments.iter().filter(|(id, _)| !kept.contains(id)) {
            if id.generation == 0 && free.len() < free_max && len_of(path, env) == Some(segment_len) {
                // Under another name, because its header will change: a segment's header never does.
                let to = path.with_extension("free");
                env.disk.rename(path, &to).map_err(|error| io_error("rename", path, error))?;
                free.push(to);
            } else {
                remove(path, env)?;
            }
        }
        for (_, path) in self.indexes.iter().filter(|(id, _)| !kept.contains(id)) {
            remove(path, env)?;
        }
        for path in &self.leftovers {
            if !free.contains(path) {
                remove(path, env)?;
            }
        }
        env.disk.sync_dir(&self.folder).map_err(|error| io_error("sync", &self.folder, error))?;
        Ok(free)
    }
}

fn stored_end(path: &Path, env: &Env) -> Option<u64> {
    let file = env.disk.open(path, OpenMode::Read).ok()?;
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 48).ok()?;
    Some(u64::from_le_bytes(bytes))
}

fn len_of(path: &Path, env: &Env) -> Option<u64> {
    env.disk.open(path, OpenMode::Read).and_then(|file| file.len()).ok()
}

fn remove(path: &Path, env: &Env) -> Result<()> {
    env.disk.remove(path).map_err(|error| io_error("remove", path, error))
}
