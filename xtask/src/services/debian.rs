//! Packages of Debian and its descendants.

use crate::process::Cmd;
use anyhow::{Context as _, Result, ensure};
use rustix::process::geteuid;
use std::path::Path;

/// Whether this system has Debian's packages.
pub(crate) fn is_here() -> bool {
    Path::new("/etc/debian_version").exists() && Path::new("/usr/bin/apt-get").exists()
}

/// Installs the packages among `packages` that are missing.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    ensure!(
        geteuid().is_root() || Cmd::new("sudo").args(["--non-interactive", "true"]).capture().is_ok(),
        "`apt-get install {list}` needs root, or sudo without a password: run it yourself"
    );
    eprintln!("installing {list}");
    let install = || apt_get(&["install", "--yes", "--no-install-recommends"]).args(&missing).capture();
    // Package lists may be absent, or older than the packages that the mirror still has.
    if install().is_err() {
        apt_get(&["update"]).capture().context("cannot update the package lists")?;
        install().with_context(|| format!("cannot install {list}"))?;
    }
    Ok(())
}

/// Unpacks a package into a folder without installing it, which needs no root.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<()> {
    eprintln!("fetching {package}");
    let download = || Cmd::new("apt-get").args(["--quiet", "download", package]).dir(folder).capture();
    if download().is_err() {
        apt_get(&["update"]).capture().context("cannot update the package lists")?;
        download().with_context(|| format!("cannot download {package}"))?;
    }
    let archives = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let archive = archives.into_iter().find(|path| path.extension().is_some_and(|it| it == "deb"));
    let archive = archive.with_context(|| format!("`apt-get download {package}` has left no package"))?;
    Cmd::new("dpkg-deb").arg("--extract").arg(&archive).arg(folder).capture()?;
    Ok(std::fs::remove_file(archive)?)
}

fn is_installed(package: &str) -> bool {
    let query = Cmd::new("dpkg-query").args(["--show", "--showformat=${Status}", package]).capture();
    query.is_ok_and(|status| status == "install ok installed")
}

fn apt_get(args: &[&str]) -> Cmd {
    as_root("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", "--quiet"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
}

/// A command that root runs.
pub(super) fn as_root(program: &str) -> Cmd {
    if geteuid().is_root() {
        return Cmd::new(program);
    }
    Cmd::new("sudo").args(["--non-interactive", "--preserve-env=DEBIAN_FRONTEND", program])
}
