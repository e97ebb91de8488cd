//! How often a node was started on its folder: what makes fencing tokens and sessions of one run differ from those of the
//! runs before, where coordination is in process and forgets everything.

use crate::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// The number of this run, from 1: one more than that of the run before, on stable storage when this returns.
///
/// # Errors
/// When the file does not read, or cannot be written.
pub(crate) fn next(path: &Path) -> Result<u64, Error> {
    let failed = |action| move |source| Error::File { action, path: path.to_owned(), source };
    let last = match fs::read_to_string(path) {
        Ok(text) => text.trim().parse::<u64>().map_err(|_| {
            let reason = format!("it holds `{}` instead of a number", text.trim().escape_debug());
            failed("read")(io::Error::new(io::ErrorKind::InvalidData, reason))
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(failed("read")(error)),
    };
    let epoch = last.saturating_add(1);
    write(path, epoch).map_err(failed("write"))?;
    Ok(epoch)
}

/// Replaces the file in one step, so that a crash leaves the old number or the new one.
fn write(path: &Path, epoch: u64) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    writeln!(file, "{epoch}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_the_next_number_and_a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epoch");
        assert_eq!([next(&path).unwrap(), next(&path).unwrap(), next(&path).unwrap()], [1, 2, 3]);
        fs::write(&path, "x\n").unwrap();
        let error = crate::error::chain(&next(&path).unwrap_err());
        assert!(error.ends_with("it holds `x` instead of a number"), "{error}");
    }
}
