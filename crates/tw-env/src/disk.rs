//! Files, as far as durable storage needs them.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; only reading.
    Read,
    /// It must exist; reading and writing.
    Write,
    /// It must not exist; reading and writing.
    CreateNew,
}

/// A folder tree. Names are only durable after [`Disk::sync_dir`] of the folder that holds them.
pub trait Disk: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// As the system says: not found, exists already, no permission, no room.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Creates a folder and its missing parents; an existing one is fine.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, in no order.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Gives a file another name in the same folder, replacing what had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the system says; after an error nothing is known of unsynced names.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock that only one process can hold, until the guard is dropped or the process ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn std::any::Any + Send + Sync>>;

    /// Bytes that can still be written to the file system that holds `path`.
    ///
    /// # Errors
    /// As the system says.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file, addressed by byte positions.
pub trait File: Send + Sync {
    /// Reads into `buffer` from `position` on; fewer bytes than asked for may come, 0 at the end.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes the pieces one after the other from `position` on; fewer bytes than given may be taken.
    ///
    /// # Errors
    /// As the system says; then any part of the bytes may have been written.
    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Makes the written bytes (and a changed length) durable.
    ///
    /// # Errors
    /// As the system says; after an error, nothing is known of unsynced bytes, and a retry proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeros) to `len` bytes.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Says that these bytes will be read soon: a hint, which may do nothing.
    fn prefetch(&self, position: u64, len: u64) {
        let _ = (position, len);
    }

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads exactly `buffer.len()` bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut position: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buffer = buffer.get_mut(n..).unwrap_or_default();
                    position += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all bytes of all pieces.
    ///
    /// # Errors
    /// Those of [`File::write_at`], and [`io::ErrorKind::WriteZero`] when no more bytes are taken.
    fn write_all_at(&self, mut pieces: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            match self.write_at(pieces, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    IoSlice::advance_slices(&mut pieces, n);
                    position += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
