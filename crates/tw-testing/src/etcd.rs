//! A private etcd server.

use crate::authority::{Authority, CertificateFiles};
use crate::install::etcd_program;
use crate::process::{end, free_port, get, pause, send, start, text};
use crate::wait::eventually;
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use tempfile::TempDir;

/// An etcd cluster of one server that belongs to one test. It ends, and its folder goes, when this value is dropped; the
/// kernel ends it even if the test's process is killed, and even while it is paused.
///
/// No password, and no encryption unless it is asked for. Elections are fast, so that the shortest lease is 1 s. The history is kept until a test
/// compacts it.
#[derive(Debug)]
pub struct Etcd {
    folder: TempDir,
    port: u16,
    peer_port: u16,
    secured: Option<Secured>,
    process: Option<Child>,
}

/// What clients have to trust, and to be.
#[derive(Debug)]
struct Secured {
    authority: PathBuf,
    files: CertificateFiles,
    /// Where it says how it is, without encryption.
    health_port: u16,
}

impl Etcd {
    /// Starts a server.
    ///
    /// # Panics
    /// When it does not start, with what its log says.
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// Starts a server that takes TLS alone, and clients alone that have a certificate of this authority.
    ///
    /// # Panics
    /// When it does not start, with what its log says.
    pub fn start_secured(authority: &Authority) -> Self {
        let files = authority.issue("etcd");
        Self::launch(Some(Secured { authority: authority.file(), files, health_port: free_port() }))
    }

    fn launch(secured: Option<Secured>) -> Self {
        let folder = tempfile::Builder::new().prefix("tw-etcd-").tempdir().expect("temporary folder");
        let mut server = Self { folder, port: free_port(), peer_port: free_port(), secured, process: None };
        server.start_again();
        server
    }

    /// The TCP port for clients on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`, or `https://`.
    pub fn endpoint(&self) -> String {
        let scheme = if self.secured.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        text(&self.log_file())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts it (again), on the same ports and with its data.
    ///
    /// # Panics
    /// When it does not start, with what its log says.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        // After a kill, the port may be taken for a moment: then starting fails at once.
        let process = eventually(|| self.try_start(), || format!("etcd does not start:\n{}", self.log()));
        self.process = Some(process);
    }

    /// The server once it is healthy, or nothing when it ended instead.
    fn try_start(&self) -> Option<Child> {
        let (clients, peers) = (self.endpoint(), format!("http://127.0.0.1:{}", self.peer_port));
        let mut command = Command::new("setpriv");
        // Whatever is paused only listens to this signal.
        command.args(["--pdeathsig", "KILL"]).arg(etcd_program());
        // etcd takes its options from the environment too.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(self.folder.path().join("data")).args(["--name", "test"]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("test={peers}")]);
        if let Some(Secured { authority, files, health_port }) = &self.secured {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority);
            command.arg("--cert-file").arg(&files.certificate).arg("--key-file").arg(&files.key);
            command.arg("--listen-metrics-urls").arg(format!("http://127.0.0.1:{health_port}"));
        }
        command.args(["--heartbeat-interval", "10", "--election-timeout", "100"]);
        start(command, &self.log_file(), |_| self.is_healthy())
    }

    /// Whether it serves clients, and has elected itself.
    fn is_healthy(&self) -> bool {
        let port = self.secured.as_ref().map_or(self.port, |secured| secured.health_port);
        get(port, "/health").is_ok_and(|answer| answer.contains("\"health\":\"true\""))
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open, and nobody answers.
    pub fn pause(&mut self) {
        pause(self.process());
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&mut self) {
        send(self.process(), Signal::CONT);
    }

    /// Throws its data away; stop it first. The next start makes a new cluster.
    pub fn wipe(&mut self) {
        assert!(self.process.is_none(), "stop the server before wiping it");
        fs::remove_dir_all(self.folder.path().join("data")).expect("remove the data");
    }

    fn process(&self) -> &Child {
        self.process.as_ref().expect("the server does not run")
    }

    fn end(&mut self, signal: Signal) {
        if let Some(process) = self.process.take() {
            end(process, signal);
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.end(Signal::KILL);
    }
}
