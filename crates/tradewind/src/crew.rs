//! Processes that belong to a command: started in groups of their own, so that Ctrl-C reaches only who ends them in order.
//!
//! Each has a folder, and what is in it outlives the command. Whoever drops a [`Crew`] kills what still runs.

use crate::error::{Error, Result};
use crate::output::{note, stderr_style};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::ops::Range;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many of the last lines of a log are shown when its process has ended.
const LINES: usize = 12;

/// What a node that is started here must not take over from whoever starts it.
const OWN_VARIABLES: [&str; 7] = ["URL", "CONFIG", "DATA", "LISTEN", "LOG", "NODE", "ADVERTISE"];

/// This same program, to be started once more.
///
/// # Errors
/// When the system does not say where it is.
pub(crate) fn own_program() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    for variable in OWN_VARIABLES {
        command.env_remove(format!("TRADEWIND_{variable}"));
    }
    Ok(command)
}

/// The ports that are given out: below those that systems give to connections (32768 on Linux), which take any that is free, also
/// before the process that is to have it has started.
const PORTS: Range<u32> = 20_000..32_000;

/// A port of 127.0.0.1 that nobody listens on now. Each is given once; where it begins depends on the id of this process.
///
/// # Errors
/// When there is none.
pub(crate) fn free_port() -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let (start, count) = (std::process::id().wrapping_mul(64), PORTS.end - PORTS.start);
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let next = || PORTS.start + start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count;
    let found = (0..count).map(|_| next() as u16).find(free);
    found.ok_or_else(|| {
        let text = format!("all ports of 127.0.0.1 from {} to {} are in use", PORTS.start, PORTS.end - 1);
        io::Error::new(io::ErrorKind::AddrInUse, text).into()
    })
}

/// The processes that run.
pub(crate) struct Crew {
    folder: PathBuf,
    running: BTreeMap<String, Pid>,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
}

/// Something that a process did.
pub(crate) enum Event {
    /// It printed its first line.
    Said(String, String),
    /// It ended, and how.
    Ended(String, String),
}

impl Crew {
    /// Nobody yet, in this folder.
    ///
    /// # Errors
    /// [`Error::Refused`] when a process of an earlier run has the folder still.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let crew = Self { folder: folder.to_owned(), running: BTreeMap::new(), sender, events };
        for entry in fs::read_dir(folder)?.flatten() {
            if let Some(pid) = crew.left_over(&entry.path()) {
                return Err(Error::Refused(format!(
                    "process {pid} of an earlier run has `{}` still: `kill {pid}` ends it",
                    entry.path().display()
                )));
            }
        }
        Ok(crew)
    }

    /// The folder of all of them.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a process, made if need be.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn folder_of(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        let failed = |source| Error::File { action: "create", path: path.display().to_string(), source };
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(path)
    }

    /// The process of an earlier run that has a folder still: it was left alone when that run was killed.
    fn left_over(&self, folder: &Path) -> Option<Pid> {
        let pid = fs::read_to_string(folder.join("pid")).ok()?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw)?;
        test_kill_process(pid).ok()?;
        // The number may be another program's by now.
        let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        String::from_utf8_lossy(&command).contains(self.folder.to_str()?).then_some(pid)
    }

    /// Starts a server, whose output goes to `log` in its folder.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn start_server(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log(name))?;
        command.stdout(log.try_clone()?).stderr(log);
        self.start(name, command)
    }

    /// Starts a node, whose lines are printed under its name; the first one of its standard output is an event.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn start_node(&mut self, name: &str, mut command: Command) -> Result<()> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.start(name, command)
    }

    /// Starts a node whose lines go to `log` in its folder; the first one of its standard output is an event.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn start_quiet_node(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log(name))?;
        command.stdout(Stdio::piped()).stderr(log);
        self.start(name, command)
    }

    fn start(&mut self, name: &str, mut command: Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).process_group(0);
        let mut child =
            command.spawn().map_err(|source| Error::File { action: "run", path: program, source })?;
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            self.running.insert(name.to_owned(), pid);
            fs::write(self.folder_of(name)?.join("pid"), pid.to_string())?;
        }
        if let Some(stderr) = child.stderr.take() {
            let name = name.to_owned();
            std::thread::spawn(move || print_under(&name, stderr));
        }
        if let Some(stdout) = child.stdout.take() {
            let (name, sender) = (name.to_owned(), self.sender.clone());
            std::thread::spawn(move || {
                let mut line = String::new();
                let mut lines = BufReader::new(stdout);
                if lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                    // Nobody listens when everything ends.
                    let _unheard = sender.send(Event::Said(name, line));
                }
                let _until_it_ends = std::io::copy(&mut lines, &mut std::io::sink());
            });
        }
        let (name, sender) = (name.to_owned(), self.sender.clone());
        std::thread::spawn(move || {
            let how = child.wait().map_or_else(|error| error.to_string(), how);
            let _unheard = sender.send(Event::Ended(name, how));
        });
        Ok(())
    }

    /// The log of a process whose lines are not printed.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("log")
    }

    /// The processes that run.
    pub(crate) fn names(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    /// The number of a process that runs.
    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        self.running.get(name).map(|pid| pid.as_raw_nonzero().get())
    }

    /// The next thing that a process does. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => {
                if let Event::Ended(name, _) = &event {
                    self.running.remove(name);
                }
                event
            }
            // We have a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Waits until a server serves.
    ///
    /// # Errors
    /// [`Error::Failed`] when it ends instead, [`Error::Timeout`]; both with the end of its log.
    pub(crate) async fn ready(
        &mut self,
        name: &str,
        limit: Duration,
        is_ready: impl AsyncFn() -> bool,
    ) -> Result<()> {
        let end = Instant::now() + limit;
        while !is_ready().await {
            if Instant::now() >= end {
                let what = format!("{name} does not serve after {} s", limit.as_secs());
                return Err(Error::Timeout(self.with_log(name, what)));
            }
            if let Ok(Event::Ended(ended, how)) = tokio::time::timeout(LOOK, self.next()).await {
                return Err(Error::Failed(self.with_log(&ended, format!("{ended} has ended with {how}"))));
            }
        }
        Ok(())
    }

    /// What has happened, and the end of the log of the process.
    pub(crate) fn with_log(&self, name: &str, what: String) -> String {
        let path = self.log(name);
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
        format!("{what}; the end of `{}`:\n{last}", path.display())
    }

    /// Ends processes in order, and at once those that take too long.
    pub(crate) async fn stop(&mut self, which: impl Fn(&str) -> bool, limit: Duration) {
        let end = Instant::now() + limit;
        let mut signal = Signal::TERM;
        self.send(&which, signal);
        while self.running.keys().any(|name| which(name)) {
            if tokio::time::timeout_at(end, self.next()).await.is_ok() {
                continue;
            }
            if signal == Signal::KILL {
                // They are in the hands of the system.
                return;
            }
            signal = Signal::KILL;
            note("what has not ended in time is ended now");
            self.send(&which, signal);
            // Once more as long, for the system to do it.
            tokio::time::timeout(limit, self.ended(&which)).await.unwrap_or_default();
        }
    }

    async fn ended(&mut self, which: &impl Fn(&str) -> bool) {
        while self.running.keys().any(|name| which(name)) {
            self.next().await;
        }
    }

    /// Ends everything at once.
    pub(crate) fn kill(&self) {
        self.send(&|_: &str| true, Signal::KILL);
    }

    fn send(&self, which: &impl Fn(&str) -> bool, signal: Signal) {
        for (_, pid) in self.running.iter().filter(|(name, _)| which(name)) {
            // It may have ended just now.
            let _ended = kill_process_group(*pid, signal);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How often it is looked whether a server serves.
const LOOK: Duration = Duration::from_millis(100);

/// How a process ended, for a person.
fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Prints lines under a name, until there are no more.
fn print_under(name: &str, lines: impl Read) {
    let head = stderr_style().strong(format!("{name} │"));
    for line in BufReader::new(lines).split(b'\n') {
        let Ok(line) = line else { return };
        // Nobody to tell is no reason to keep the node from talking.
        let _unheard = writeln!(std::io::stderr(), "{head} {}", String::from_utf8_lossy(&line));
    }
}
