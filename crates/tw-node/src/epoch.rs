//! How often a node was started on its folder: what makes fencing tokens and sessions of one run differ from those of the
//! runs before, where coordination is in process and forgets everything.

use crate::{Error, folder};
use std::path::Path;
use std::{fs, io};

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
    folder::replace(path, 0o644, format!("{epoch}\n").as_bytes()).map_err(failed("write"))?;
    Ok(epoch)
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
        let error = tw_types::chain(&next(&path).unwrap_err());
        assert!(error.ends_with("it holds `x` instead of a number"), "{error}");
    }
}
