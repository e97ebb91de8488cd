//! Credentials that are renewed while the node runs: new connections get the new ones, running ones keep theirs.
//!
//! It starts no task and keeps no time: whoever holds it calls [`Live::reload`] now and then, and warns before
//! [`Credentials::expires_at_ms`]. What is broken never takes the place of what works.

use super::credentials::{Credentials, Options};
use super::error::{Error, Result};
use super::files;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::info;

/// The credentials in a folder, as they were when they were last looked at and usable.
#[derive(Debug)]
pub struct Live {
    folder: PathBuf,
    current: Mutex<Arc<Credentials>>,
}

/// What [`Live::reload`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The files say what they said before.
    Unchanged,
    /// Others are in use from now on.
    Changed,
}

impl Live {
    /// Loads the credentials of a folder.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn open(folder: &Path, options: Options) -> Result<Self> {
        let current = Mutex::new(Arc::new(Credentials::load(folder, options)?));
        Ok(Self { folder: folder.to_owned(), current })
    }

    /// Those for the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<Credentials> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files, which are a few kilobytes, and takes them over if their contents have changed. Times of files are not
    /// asked: copies and mounts bring their own.
    ///
    /// # Errors
    /// As [`Credentials::load`], and [`Error::Unusable`] if the files are of another region now. The credentials in use stay, and the
    /// next call tries again.
    pub fn reload(&self) -> Result<Reload> {
        let current = self.current();
        if current.are_those_of(&self.folder)? {
            return Ok(Reload::Unchanged);
        }
        let new = Credentials::load(&self.folder, current.options())?;
        if new.region() != current.region() {
            return Err(Error::Unusable {
                path: self.folder.join(files::REGION),
                reason: format!(
                    "it is of region `{}`, and this node is of region `{}`",
                    new.region(),
                    current.region()
                ),
                remedy: "put the certificate of this region there; a region never changes its number",
            });
        }
        info!(
            region = new.region().0,
            expires_at_ms = new.expires_at_ms(),
            "certificates of this region replaced"
        );
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(Reload::Changed)
    }
}
