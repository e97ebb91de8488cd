//! The folder of the demo: an authority, and for each region its certificates, its configuration and its data.
//!
//! ```text
//!  tradewind-data/ca               the authority: made once
//!                /region-1         region/ (certificates: made once), tradewind.toml (written at each start), data/, log, pid
//!                /region-2         …
//! ```
//!
//! Each folder of a region is what `tradewind up` starts in it; only the addresses of its peers are those of the demo's lines.

use super::mesh::Mesh;
use crate::error::{Error, Result};
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tw_region::tls::Authority;
use tw_types::RegionId;

/// How long certificates are valid, in days: a demo should not end by them.
const DAYS: u32 = 3_650;
/// How long a peer may be silent before the demo shows that it is, beside the way, in milliseconds.
const SILENT_MS: u64 = 1_500;

/// The folder, which nobody else has meanwhile.
pub(super) struct Home {
    folder: PathBuf,
    _lock: File,
}

/// The name of a region, which is that of its folder and of its process.
pub(super) fn name(number: u16) -> String {
    format!("region-{number}")
}

impl Home {
    /// Makes the folder if need be, and keeps others from it.
    ///
    /// # Errors
    /// [`Error::Refused`] when another demo runs on it, or when it is of more regions; [`Error::File`].
    pub(super) fn open(data: &Path, count: u16) -> Result<Self> {
        let failed = |action, source| Error::File { action, path: data.display().to_string(), source };
        fs::create_dir_all(data).map_err(|source| failed("create", source))?;
        // Regions have working folders of their own.
        let folder = data.canonicalize().map_err(|source| failed("find", source))?;
        let lock = File::create(folder.join("regions.lock")).map_err(|source| failed("write to", source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused(format!(
                    "a demo with regions runs on `{}` already: end it, or name another folder with `--data`",
                    data.display()
                )));
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", source)),
        }
        // What only a region that is left out has would not come to the others any more.
        let was = (count + 1..=9).filter(|number| folder.join(name(*number)).is_dir()).max();
        if let Some(was) = was {
            return Err(Error::Refused(format!(
                "`{}` is of {was} regions: use `--regions {was}`, or name another folder with `--data`",
                data.display()
            )));
        }
        Ok(Self { folder, _lock: lock })
    }

    /// The folder, as an absolute path.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes certificates where there are none, and writes how each region is reached now.
    ///
    /// # Errors
    /// Those of the authority, [`Error::File`].
    pub(super) fn prepare(&self, mesh: &Mesh, delay: Duration) -> Result<()> {
        let ca = self.folder.join("ca");
        let authority = match ca.join("ca.key").is_file() {
            true => Authority::open(&ca)?,
            false => Authority::init(&ca, "tradewind-demo", DAYS)?,
        };
        for number in mesh.numbers() {
            let folder = self.folder.join(name(number));
            let certificates = folder.join("region");
            fs::create_dir_all(&folder)?;
            if !certificates.join("region.pem").is_file() {
                authority.issue(RegionId(number), &name(number), &[], DAYS, &certificates)?;
            }
            fs::write(folder.join("tradewind.toml"), config(mesh, number, delay))?;
        }
        Ok(())
    }
}

/// The configuration of a region.
fn config(mesh: &Mesh, number: u16, delay: Duration) -> String {
    // A line that is cut is to be seen soon; one that is long is not to be taken for one that is cut.
    let silent_ms_max = SILENT_MS + 4 * u64::try_from(delay.as_millis()).unwrap_or_default();
    let mut text = format!(
        "# Written by `tradewind demo --regions` at each start.\n\n[region]\nid = {number}\nlisten = \"127.0.0.1:{}\"\n\
         silent_ms_max = {silent_ms_max}\nreconnect_ms_max = 500\n",
        mesh.port(number)
    );
    for (peer, port) in mesh.peers(number) {
        // Writing to memory does not fail.
        let _infallible = write!(text, "\n[[region.peers]]\nid = {peer}\naddress = \"127.0.0.1:{port}\"\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_node::Config;

    #[tokio::test]
    async fn a_folder_is_prepared_once_and_what_is_there_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let mesh = Mesh::open(3, Duration::ZERO).await.unwrap();
        let home = Home::open(scratch.path(), 3).unwrap();
        home.prepare(&mesh, Duration::from_millis(40)).unwrap();
        let pem = home.folder().join("region-2/region/region.pem");
        let before = fs::read(&pem).unwrap();
        home.prepare(&mesh, Duration::from_millis(40)).unwrap();
        assert_eq!(fs::read(&pem).unwrap(), before);
        let text = fs::read_to_string(home.folder().join("region-2/tradewind.toml")).unwrap();
        let config = Config::read(&text).unwrap();
        config.check().unwrap();
        assert_eq!(config.region.peers.len(), 2);
    }

    #[test]
    fn a_folder_belongs_to_one_demo_of_at_least_as_many_regions() {
        let scratch = tempfile::tempdir().unwrap();
        let home = Home::open(scratch.path(), 2).unwrap();
        let refused = |count| Home::open(scratch.path(), count).err().unwrap().to_string();
        assert!(refused(2).contains("runs on"));
        drop(home);
        fs::create_dir(scratch.path().join("region-3")).unwrap();
        assert!(refused(2).contains("`--regions 3`"));
        Home::open(scratch.path(), 3).unwrap();
    }
}
