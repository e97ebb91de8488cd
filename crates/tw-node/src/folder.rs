//! The data folder: what is where.

use crate::Error;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The folder that holds everything that a node keeps. One process at a time has it: the log holds the lock.
///
/// ```text
/// tradewind-data/
///   log/           the truth
///   state/         derived: removed, it is built anew from the log
///   scratch/       transactions of sources that wait for their commit; empty after a restart
///   secrets.toml   passwords of sources, readable by the owner only
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

    /// Where passwords are.
    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets.toml")
    }

    /// Makes the folder if need be, for its owner only.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let failed = |source| Error::File { action: "create", path: self.0.clone(), source };
        if self.0.is_dir() {
            return Ok(());
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(0o700)).map_err(failed)
    }

    /// How many bytes are free on its disk; None when the system does not say.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.0).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
