//! Temporary folders that are gone when they are no longer needed, whatever happened inside.

use anyhow::{Context as _, Result};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A temporary folder, removed with everything in it on drop.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new folder that every user may write to, as `/tmp` itself: servers that refuse root need that.
    pub(crate) fn new(purpose: &str) -> Result<Self> {
        // Short, because paths of Unix sockets below it must stay under 108 bytes.
        Self::below(&std::env::temp_dir(), &format!("tw-{purpose}"))
    }

    /// The same below `parent`, for what will stay there under another name.
    pub(crate) fn below(parent: &Path, name: &str) -> Result<Self> {
        let path = parent.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)))
            .with_context(|| format!("cannot create the folder `{}`", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder its final name at once, with everything in it; whoever was first with that name is right too.
    pub(crate) fn keep_as(self, name: &Path) -> Result<()> {
        match fs::rename(&self.path, name) {
            Err(_) if name.exists() => Ok(()),
            renamed => renamed.with_context(|| format!("cannot move `{}` into place", self.path.display())),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                eprintln!("cannot remove `{}`: {error}", self.path.display());
            }
            _ => {} // Removed, or kept under another name.
        }
    }
}
