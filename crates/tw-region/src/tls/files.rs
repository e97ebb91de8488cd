//! The files of certificates: written whole or not at all, keys for their owner only.
//!
//! A certificate and its key are two files, and nothing replaces two files at once. So a new key is put beside the old one
//! as `….key.next` first, then the certificate is replaced, then the key takes its place. Whoever reads takes that key of the two
//! that fits the certificate, so what a crash leaves behind can be used at every moment.

use super::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// The trusted authorities, newest first: in an authority's folder and in a node's.
pub(super) const AUTHORITIES: &str = "ca.pem";
/// The key of the newest authority.
pub(super) const AUTHORITY_KEY: &str = "ca.key";
/// The newest authority's certificate by the one before it.
pub(super) const CROSS: &str = "ca.cross.pem";
/// A node's certificate, followed by what leads to an authority.
pub(super) const REGION: &str = "region.pem";
/// A node's key.
pub(super) const REGION_KEY: &str = "region.key";

/// How large a file of certificates or keys may be.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Reads a whole file.
pub(super) fn read(path: &Path, remedy: &'static str) -> Result<Vec<u8>> {
    read_if_there(path)?.ok_or_else(|| Error::Missing { path: path.to_owned(), remedy })
}

/// Reads a whole file; None when there is none.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    let outcome = fs::metadata(path).and_then(|metadata| {
        if metadata.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::new(ErrorKind::FileTooLarge, "it has more than 256 KiB"));
        }
        fs::read(path)
    });
    match outcome {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path: path.to_owned(), doing: "read", source }),
    }
}

/// The certificates in a file, at least one.
pub(super) fn certificates(
    path: &Path,
    pem: &[u8],
    remedy: &'static str,
) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = |reason: String| Error::Unusable { path: path.to_owned(), reason, remedy };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| unusable(format!("it is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(found)
}

/// The keys that may belong to the certificate beside them: the one that was about to take its place, and the one that has it.
/// In this order, or a key that takes its place meanwhile is not seen at all.
pub(super) fn keys(key: &Path, remedy: &'static str) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for path in [next(key), key.to_owned()] {
        if let Some(bytes) = read_if_there(&path)? {
            found.push((path, bytes));
        }
    }
    if found.is_empty() {
        return Err(Error::Missing { path: key.to_owned(), remedy });
    }
    Ok(found)
}

/// Puts a certificate and its key in the place of those that may be there.
pub(super) fn write_pair(certificate: (&Path, &str), key: (&Path, &str)) -> Result<()> {
    let next = next(key.0);
    write(&next, key.1, true)?;
    write(certificate.0, certificate.1, false)?;
    rename(&next, key.0)
}

/// Ends a replacement that was cut off: the key that fits takes its place, and one that does not is forgotten.
pub(super) fn settle(key: &Path, fits: &Path) -> Result<()> {
    let next = next(key);
    if fits == next {
        return rename(&next, key);
    }
    remove(&next)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(Error::File { path: path.to_owned(), doing: "removed", source })
        }
        _ => Ok(()),
    }
}

/// Makes a folder that only its owner may enter, unless it is there.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error::File { path: path.to_owned(), doing: "made", source })
}

/// Writes a file beside its place, makes it durable, and renames it. A secret one is never readable for others, not even
/// before it has its name.
pub(super) fn write(path: &Path, text: &str, secret: bool) -> Result<()> {
    let beside = with_suffix(path, ".tmp");
    remove(&beside)?;
    let failed = |source| Error::File { path: path.to_owned(), doing: "written", source };
    let mode = if secret { 0o600 } else { 0o644 };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    rename(&beside, path)
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::rename(from, to).and_then(|()| File::open(folder)?.sync_all()).map_err(|source| Error::File {
        path: to.to_owned(),
        doing: "written",
        source,
    })
}

fn next(key: &Path) -> PathBuf {
    with_suffix(key, ".next")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
