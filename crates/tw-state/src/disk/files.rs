//! A look at the engine's files before it reads them.
//!
//! The engine stores checksums of its manifests and of the tables of contents of its files, but it trusts them when
//! it opens: damaged ones can make it stop the whole process. So they are checked here first, as fjall 3 writes them:
//! `keyspaces/*/current` names a manifest `v*` with its checksum, and `tables/*` are archives of the crate sfa 1.

use super::Failure;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

/// `current`: number of the manifest, its XXH3-128, the kind of checksum (0).
const CURRENT_BYTES: usize = 25;
/// The end of an archive: magic, version, kind of checksum, checksum, position and length of its table of contents.
const TRAILER_BYTES: u64 = 38;
/// Magic, version 1, kind of checksum 0 (XXH3-128).
const TRAILER_START: [u8; 6] = *b"SFA!\x01\x00";
/// The largest table of contents or manifest that is believed.
const CONTENTS_BYTES_MAX: u64 = 64 << 20;

/// Checks the manifests and the tables of contents of the store in `folder`, if there is one.
pub(super) fn check(folder: &Path) -> Result<(), Failure> {
    for keyspace in list(&folder.join("keyspaces"))? {
        check_manifest(&keyspace)?;
        for table in list(&keyspace.join("tables"))? {
            check_contents(&table)?;
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

fn check_manifest(keyspace: &Path) -> Result<(), Failure> {
    let path = keyspace.join("current");
    let current = match fs::read(&path) {
        Ok(current) => current,
        // The process ended before the keyspace was complete: the engine removes it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Ok([number @ .., 0]) = <[u8; CURRENT_BYTES]>::try_from(current) else {
        return Err(Failure::Damaged(path));
    };
    let (number, checksum) = number.split_at(8);
    let number = u64::from_le_bytes(number.try_into().unwrap_or_default());
    let checksum = u128::from_le_bytes(checksum.try_into().unwrap_or_default());
    let manifest = keyspace.join(format!("v{number}"));
    if xxh3_128(&fs::read(&manifest)?) != checksum {
        return Err(Failure::Damaged(manifest));
    }
    Ok(())
}

fn check_contents(path: &Path) -> Result<(), Failure> {
    let damaged = || Failure::Damaged(path.to_owned());
    let mut file = File::open(path)?;
    // A table without its end was being written when the process ended: the engine removes it, or refuses it if the
    // manifest names it.
    let Some(trailer_at) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else { return Ok(()) };
    let trailer = read(&mut file, trailer_at, TRAILER_BYTES)?;
    if !trailer.starts_with(&TRAILER_START) {
        return Ok(());
    }
    let number =
        |at: usize| trailer.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let (Some(low), Some(high), Some(start), Some(length)) = (number(6), number(14), number(22), number(30))
    else {
        return Err(damaged());
    };
    let checksum = u128::from(high) << 64 | u128::from(low);
    let fits = start.checked_add(length) == Some(trailer_at) && length <= CONTENTS_BYTES_MAX;
    if !fits || xxh3_128(&read(&mut file, start, length)?) != checksum {
        return Err(damaged());
    }
    Ok(())
}

fn read(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
