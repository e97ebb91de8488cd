//! etcd, the real one: Debian's package, unpacked into our cache.
//!
//! `TRADEWIND_TEST_ETCD` is the path of the program. If the caller has set it, that is what tests get. Otherwise it is the
//! one in PATH, or Debian's. The package is not installed: that would need root, and start a server.

use super::{Variable, debian};
use crate::process::Cmd;
use crate::scratch::Scratch;
use crate::workspace;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

const VARIABLE: &str = "TRADEWIND_TEST_ETCD";
const PACKAGE: &str = "etcd-server";

/// Finds or fetches the program.
pub(super) fn provide() -> Result<Vec<Variable>> {
    let program = match std::env::var(VARIABLE) {
        Ok(path) if !path.is_empty() => {
            check(Path::new(&path)).with_context(|| format!("`{VARIABLE}` names `{path}`"))?;
            PathBuf::from(path)
        }
        _ if check(Path::new("etcd")).is_ok() => PathBuf::from("etcd"),
        _ if debian::is_here() => from_debian()?,
        _ => bail!(
            "install etcd 3.4 or newer, and let `{VARIABLE}` be the path of the program `etcd`; it need not run"
        ),
    };
    Ok(vec![Variable { name: VARIABLE, value: program.to_string_lossy().into_owned() }])
}

fn from_debian() -> Result<PathBuf> {
    let folder = workspace::cache()?.join("etcd");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let kept = folder.join(PACKAGE);
    let program = kept.join("usr/bin/etcd");
    if !program.exists() {
        // Unpacked beside its place and moved there, so that a half-finished one is never taken for a whole one.
        let new = Scratch::below(&folder, PACKAGE)?;
        debian::unpack(PACKAGE, new.path())?;
        check(&new.path().join("usr/bin/etcd")).context("the package's program does not run")?;
        new.keep_as(&kept)?;
    }
    Ok(program)
}

/// Whether the program runs, and is new enough.
fn check(program: &Path) -> Result<()> {
    let printed = Cmd::new(program).arg("--version").capture()?;
    match version(&printed) {
        Some(version) if version >= (3, 4) => Ok(()),
        _ => bail!("etcd 3.4 or newer is needed; it prints `{}`", printed.lines().next().unwrap_or_default()),
    }
}

/// The version in `etcd Version: 3.4.23`.
fn version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.lines().next()?.strip_prefix("etcd Version: ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_etcd_prints() {
        assert_eq!(version("etcd Version: 3.4.23\nGit SHA: Not provided\n"), Some((3, 4)));
        assert_eq!(version("etcd Version: 3.6.0-alpha.0"), Some((3, 6)));
        assert_eq!(version("etcdctl version: 3.4.23"), None);
    }
}
