//! A private PostgreSQL server.

use crate::Install;
use crate::files::{copy_tree, templates};
use crate::process::{end, free_port, start, text};
use crate::user::User;
use crate::wait::eventually;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use tempfile::TempDir;

/// How a server is to be.
#[derive(Debug, Clone)]
pub struct PostgresBuilder {
    install: Install,
    settings: Vec<(String, String)>,
    access: Option<String>,
    files: Vec<(String, String)>,
}

impl PostgresBuilder {
    /// Uses these programs instead of [`Install::first`].
    pub fn install(mut self, install: &Install) -> Self {
        self.install = install.clone();
        self
    }

    /// A line of `postgresql.conf`; the last one of a name counts.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The whole of `pg_hba.conf` instead of "trust everybody on this machine".
    pub fn access(mut self, lines: &str) -> Self {
        self.access = Some(lines.to_owned());
        self
    }

    /// A file in the data folder that only the server can read, such as a key.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    /// When it does not start, with what its log says.
    pub fn start(self) -> Postgres {
        let mut server = self.create();
        server.start_again();
        server
    }

    /// Makes the server's folder without starting it.
    pub fn create(self) -> Postgres {
        let user = User::unprivileged();
        let folder = tempfile::Builder::new().prefix("tw-pg-").tempdir().expect("temporary folder");
        let data = folder.path().join("data");
        copy_tree(&template(&self.install), &data);
        for (name, value) in [
            ("wal_level", "logical"),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &folder.path().to_string_lossy()),
            ("fsync", "off"),
            ("max_wal_senders", "20"),
            ("max_replication_slots", "20"),
            ("logging_collector", "off"),
            ("log_line_prefix", "%m [%p] "),
        ]
        .into_iter()
        .chain(self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        {
            append_setting(&data, name, value);
        }
        if let Some(lines) = &self.access {
            fs::write(data.join("pg_hba.conf"), lines).expect("pg_hba.conf");
        }
        for (name, text) in &self.files {
            let path = data.join(name);
            fs::write(&path, text).expect("write a file");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
        }
        user.own(folder.path());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        Postgres { folder, install: self.install, user, port: free_port(), process: None }
    }
}

/// A PostgreSQL server that belongs to one test. It ends, and its folder goes, when this value is dropped; the kernel
/// ends it even if the test's process is killed.
///
/// The superuser is `postgres`, without a password; the database is `postgres`. `wal_level` is `logical`, `fsync` is off
/// (which survives kill -9, but not a power cut).
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    install: Install,
    user: User,
    port: u16,
    process: Option<Child>,
}

impl Postgres {
    /// A server to be described further.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder { install: Install::first(), settings: Vec::new(), access: None, files: Vec::new() }
    }

    /// A server of the first version with default settings.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data folder.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Which PostgreSQL it is.
    pub fn install(&self) -> &Install {
        &self.install
    }

    /// `postgres://postgres@127.0.0.1:PORT/DATABASE`
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        text(&self.log_file())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Adds a line to `postgresql.conf`; it counts from the next start on.
    pub fn set(&self, name: &str, value: &str) {
        append_setting(&self.data_folder(), name, value);
    }

    /// A command that runs one of the version's programs as the server's user.
    pub fn command(&self, program: &str) -> Command {
        self.user.command(self.install.program(program))
    }

    /// Starts it (again), on the same port.
    ///
    /// # Panics
    /// When it does not start, with what its log says.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        // After a kill, the old server's processes may hold its memory for a moment: then starting fails at once.
        let process =
            eventually(|| self.try_start(), || format!("PostgreSQL does not start:\n{}", self.log()));
        self.process = Some(process);
    }

    /// The server once it takes connections, or nothing when it ended instead.
    fn try_start(&self) -> Option<Child> {
        let data = self.data_folder();
        let mut command = self.user.command(self.install.program("postgres"));
        command.arg("-D").arg(&data).arg("-p").arg(self.port.to_string()).env("LC_ALL", "C.UTF-8");
        start(command, &self.log_file(), |process| {
            // The eighth line of this file is how the server tells pg_ctl of its state.
            let state = text(&data.join("postmaster.pid"));
            let mut lines = state.lines();
            let is_ours = lines.next().and_then(|pid| pid.trim().parse().ok()) == Some(process.id());
            is_ours && lines.nth(6).is_some_and(|state| state.trim() == "ready")
        })
    }

    /// Ends it in order: sessions are cut off, a checkpoint is written.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) {
        if let Some(process) = self.process.take() {
            end(process, signal);
        }
    }

    /// A stopped copy of this server's files, on a port of its own; stop this one first.
    pub fn copy(&self) -> Self {
        assert!(self.process.is_none(), "stop the server before copying it");
        let folder = tempfile::Builder::new().prefix("tw-pg-").tempdir().expect("temporary folder");
        copy_tree(&self.data_folder(), &folder.path().join("data"));
        append_setting(
            &folder.path().join("data"),
            "unix_socket_directories",
            &folder.path().to_string_lossy(),
        );
        self.user.own(folder.path());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        Self { folder, install: self.install.clone(), user: self.user, port: free_port(), process: None }
    }

    /// Listens where `other` listened, which must have been stopped: how a copy takes another server's place.
    pub fn take_place_of(&mut self, other: &Self) {
        assert!(self.process.is_none() && other.process.is_none(), "stop both servers first");
        self.port = other.port;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end(Signal::QUIT);
    }
}

fn append_setting(data: &Path, name: &str, value: &str) {
    use std::io::Write;
    let file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"));
    writeln!(file.expect("postgresql.conf"), "{name} = '{value}'").expect("postgresql.conf");
}

/// A folder as `initdb` makes it, made once per version and kept beside the tests' programs.
fn template(install: &Install) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock();
    let build = templates();
    let kept = build.join(format!("postgres-{}-small", identity(install)));
    if kept.exists() {
        return kept;
    }
    let user = User::unprivileged();
    let folder = tempfile::Builder::new().prefix("tw-initdb-").tempdir().expect("temporary folder");
    user.own(folder.path());
    let mut command = user.command(install.program("initdb"));
    command.arg("-D").arg(folder.path().join("data")).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    // Copied for each test: 1 MB of write-ahead log instead of 16.
    command.arg("--wal-segsize=1");
    let done = command.output().expect("run initdb");
    assert!(done.status.success(), "initdb failed: {}", String::from_utf8_lossy(&done.stderr));
    fs::create_dir_all(&build).expect("create folder");
    let fresh = tempfile::Builder::new().prefix("fresh-").tempdir_in(&build).expect("temporary folder");
    copy_tree(&folder.path().join("data"), &fresh.path().join("data"));
    // Another test program may have been faster; its template is as good.
    let _faster = fs::rename(fresh.path().join("data"), &kept);
    kept
}

/// The full version text, as part of a file name.
fn identity(install: &Install) -> String {
    let said = Command::new(install.program("postgres")).arg("--version").output().expect("run postgres");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}
