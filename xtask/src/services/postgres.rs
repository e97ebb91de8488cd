//! PostgreSQL in several major versions.
//!
//! `TRADEWIND_TEST_POSTGRES_BIN` lists folders of its programs, separated by `:`, one per major version. If the caller
//! has set it, that is what tests get. Otherwise it is Debian's version, which must be there, and the others from
//! [`bundles`], as far as they can be had.

use super::{Variable, bundles, debian};
use crate::process::Cmd;
use anyhow::{Context as _, Result, bail};
use rustix::process::geteuid;
use std::path::{Path, PathBuf};

const VARIABLE: &str = "TRADEWIND_TEST_POSTGRES_BIN";
/// The user and group `nobody`: PostgreSQL refuses to run as root, so tests that do let it run as somebody else.
const NOBODY: u32 = 65534;
/// A file that keeps Debian's packages from creating and starting a cluster when they are installed.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/tradewind-xtask.conf";

/// Finds or installs the programs.
pub(crate) fn provide() -> Result<Vec<Variable>> {
    let folders = match std::env::var(VARIABLE) {
        Ok(list) if !list.is_empty() => {
            let folders: Vec<PathBuf> = std::env::split_paths(&list).collect();
            for folder in &folders {
                version(folder).with_context(|| format!("`{VARIABLE}` names `{}`", folder.display()))?;
            }
            folders
        }
        _ if debian::is_here() => with_bundles(from_debian()?)?,
        _ => bail!(
            "install PostgreSQL 14 or newer, and let `{VARIABLE}` list the folders of its programs (`initdb`, `postgres`, \
             `pg_ctl`), separated by `:`, one per major version; nothing needs to run, tests start servers of their own"
        ),
    };
    let value = std::env::join_paths(&folders)?.to_string_lossy().into_owned();
    Ok(vec![Variable { name: VARIABLE, value }])
}

/// Debian's newest version.
fn from_debian() -> Result<PathBuf> {
    if newest_of_debian().is_none() {
        // Its settings come first, so that the second installation finds them.
        debian::install(&["postgresql-common"])?;
        let write = "mkdir -p \"$(dirname \"$0\")\" && echo 'create_main_cluster = false' > \"$0\"";
        debian::as_root("sh").args(["-c", write, NO_CLUSTER]).capture()?;
        let installed = debian::install(&["postgresql"]);
        debian::as_root("rm").args(["-f", NO_CLUSTER]).capture()?;
        installed?;
    }
    newest_of_debian().context("the package `postgresql` brought no `/usr/lib/postgresql/*/bin/postgres`")
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let number = |entry: &std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let newest = versions.filter(|entry| entry.path().join("bin/postgres").exists()).max_by_key(number)?;
    Some(newest.path().join("bin"))
}

/// Debian's folder first, then every other major version that can be had.
fn with_bundles(debian: PathBuf) -> Result<Vec<PathBuf>> {
    let own = version(&debian)?;
    let mut folders = vec![debian];
    for bundle in bundles::BUNDLES.iter().filter(|bundle| bundle.major != own) {
        let usable = bundle.provide().and_then(|folder| match version(&folder)? {
            major if major == bundle.major => Ok(folder),
            major => bail!("`{}` holds version {major}", folder.display()),
        });
        match usable {
            Ok(folder) => folders.push(folder),
            Err(error) => eprintln!("tests go without PostgreSQL {}: {error:#}", bundle.major),
        }
    }
    Ok(folders)
}

/// The major version of the server in a folder, after a look at whether tests can use it: the user that will run it
/// may, and it can decode its log for us.
fn version(folder: &Path) -> Result<u32> {
    let server = folder.join("postgres");
    let mut command = Cmd::new(&server).arg("--version").dir("/");
    if geteuid().is_root() {
        command = command.by_user(NOBODY, NOBODY);
    }
    let printed = command.capture().context("it must run as an unprivileged user")?;
    let plugins = ["../lib/pgoutput.so", "../lib/postgresql/pgoutput.so", "../lib/postgresql/pgoutput.dylib"];
    if !plugins.iter().any(|plugin| folder.join(plugin).exists()) {
        bail!("`{}` has no `pgoutput` beside it", server.display());
    }
    major(&printed)
        .with_context(|| format!("`{}` prints no version that makes sense: `{printed}`", server.display()))
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian …)`.
fn major(printed: &str) -> Option<u32> {
    let number = printed.split(") ").nth(1)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions_are_read_from_what_servers_print() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("psql"), None);
    }
}
