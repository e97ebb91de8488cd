//! The data folder: what is where.

use crate::Error;
use rustix::fs::FlockOperation;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tw_env::Env;

/// The folder that holds everything that a node keeps. One process at a time has it: the log holds the lock.
///
/// ```text
/// tradewind-data/
///   log/           the truth
///   state/         derived: removed, it is built anew from the log
///   scratch/       transactions of sources that wait for their commit; empty after a restart
///   epoch          how often a node was started here
///   secrets.toml   passwords of sources, readable by the owner only
///   instance       what the folder is called among the nodes of a cluster, and its lock there
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the log is.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Where derived state is.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Where large transactions wait.
    pub fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    /// Where the number of the run is.
    pub(crate) fn epoch(&self) -> PathBuf {
        self.0.join("epoch")
    }

    /// What is there while the region is drained.
    pub(crate) fn drained(&self) -> PathBuf {
        self.0.join("drained")
    }

    /// Where passwords are.
    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets.toml")
    }

    /// Makes the folder if need be, for its owner only.
    pub fn create(&self) -> Result<(), Error> {
        let failed = |source| Error::File { action: "create", path: self.0.clone(), source };
        if self.0.is_dir() {
            return Ok(());
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        std::fs::set_permissions(&self.0, Permissions::from_mode(0o700)).map_err(failed)
    }

    /// What the folder is called among the nodes of a cluster, whatever the node is called: drawn once. The lock on the file
    /// keeps other processes away.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::File`].
    pub(crate) fn instance(&self, env: &Env) -> Result<(File, String), Error> {
        let path = self.0.join("instance");
        let failed = |action| {
            let path = path.clone();
            move |source| Error::File { action, path, source }
        };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed("open"))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::Busy(self.0.clone()));
        }
        let mut instance = String::new();
        file.read_to_string(&mut instance).map_err(failed("read"))?;
        if instance.len() != 16 || !instance.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            instance = format!("{:016x}", env.random.next_u64());
            file.set_len(0).and_then(|()| file.rewind()).map_err(failed("write"))?;
            file.write_all(instance.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
        }
        Ok((file, instance))
    }

    /// How many bytes are free on its disk; None when the system does not say.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.0).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Replaces a file in one step, so that a crash leaves the old one or the new one; on stable storage when this returns. The new
/// one has this mode.
pub(crate) fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    // A file that a crash left there keeps its own mode.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
