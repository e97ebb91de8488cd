//! Passwords of sources. They are in a file that only its owner reads, and never in an event, a log or an answer.

mod passwords;

pub(crate) use passwords::Passwords;

use crate::{Error, folder};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const OWNER_ONLY: u32 = 0o600;
const HEADER: &str =
    "# Passwords of sources. Tradewind writes this file; keep it readable by its owner only.\n\n";

/// What the file says.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    /// By the name of the source.
    #[serde(default)]
    sources: BTreeMap<String, Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    password: String,
}

/// The file of passwords.
pub(crate) struct Secrets {
    path: PathBuf,
    contents: Mutex<Contents>,
}

impl Secrets {
    /// Reads the file, if there is one. A file that others may read is taken back to its owner.
    ///
    /// # Errors
    /// When it does not read.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let failed = |action| {
            let path = path.clone();
            move |source| Error::File { action, path, source }
        };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            outcome => outcome.map_err(failed("read"))?,
        };
        let contents = toml::from_str(&text).map_err(|error: toml::de::Error| {
            // The message only: the whole error would show the line, and with it a password.
            Error::Secrets { path: path.clone(), reason: error.message().to_owned() }
        })?;
        if let Ok(known) = fs::metadata(&path)
            && known.permissions().mode() & 0o077 != 0
        {
            tracing::warn!(path = %path.display(), "others could read the passwords of sources; now only the owner can");
            fs::set_permissions(&path, fs::Permissions::from_mode(OWNER_ONLY)).map_err(failed("protect"))?;
        }
        Ok(Self { path, contents: Mutex::new(contents) })
    }

    /// The password of a source.
    pub(crate) fn password(&self, source: &str) -> Option<String> {
        self.contents.lock().sources.get(source).map(|entry| entry.password.clone())
    }

    /// Keeps the password of a source, or forgets it; on stable storage when this returns.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing has changed.
    pub(crate) fn set(&self, source: &str, password: Option<&str>) -> Result<(), Error> {
        let mut contents = self.contents.lock();
        let mut changed = contents.clone();
        match password {
            Some(password) => {
                changed.sources.insert(source.to_owned(), Entry { password: password.to_owned() });
            }
            None if changed.sources.remove(source).is_none() => return Ok(()),
            None => {}
        }
        write(&self.path, &changed).map_err(|source| Error::File {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        *contents = changed;
        Ok(())
    }
}

fn write(path: &Path, contents: &Contents) -> io::Result<()> {
    let text = toml::to_string(contents).map_err(io::Error::other)?;
    folder::replace(path, OWNER_ONLY, format!("{HEADER}{text}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_outlive_the_process_and_only_the_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let secrets = Secrets::open(path.clone()).unwrap();
        secrets.set("shop", Some("hunter2 \"quoted\"")).unwrap();
        secrets.set("other", Some("x")).unwrap();
        secrets.set("other", None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        let again = Secrets::open(path).unwrap();
        assert_eq!(again.password("shop").unwrap(), "hunter2 \"quoted\"");
        assert_eq!(again.password("other"), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_protected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        fs::write(&path, "[sources.shop]\npassword = \"hunter2\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Secrets::open(path.clone()).unwrap().password("shop").unwrap(), "hunter2");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
    }

    #[test]
    fn an_error_never_shows_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        for text in ["[sources.shop]\npassword = \"hunter2", "[sources.shop]\npasword = \"hunter2\"\n"] {
            fs::write(&path, text).unwrap();
            let error = Secrets::open(path.clone()).err().unwrap();
            assert!(!chain_of(&error).contains("hunter2"), "{error}");
        }
    }

    fn chain_of(error: &Error) -> String {
        tw_types::chain(error)
    }
}
