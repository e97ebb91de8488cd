//! Whom a server runs as: PostgreSQL refuses to run as root.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

/// The unprivileged user of a test's servers; None when the tests are not run by root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User(Option<(u32, u32)>);

impl User {
    /// `postgres` if it exists, otherwise `nobody`.
    pub(crate) fn unprivileged() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self(None);
        }
        let users = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
        let ids = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        Self(Some(ids("postgres").or_else(|| ids("nobody")).expect("a user `postgres` or `nobody`")))
    }

    /// A command that runs `program` as this user, and that the kernel ends with SIGQUIT should the thread that
    /// starts it end.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Self(Some((uid, gid))) = self {
            command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
        }
        command.arg(program);
        command
    }

    /// Makes this user the owner of a folder and of all in it.
    pub(crate) fn own(self, path: &Path) {
        let Self(Some((uid, gid))) = self else { return };
        chown(path, Some(uid), Some(gid)).expect("chown");
        if path.is_dir() {
            for entry in std::fs::read_dir(path).expect("list") {
                self.own(&entry.expect("list").path());
            }
        }
    }
}
