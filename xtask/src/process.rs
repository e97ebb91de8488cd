//! Starting programs, and leaving none behind.
//!
//! Every program gets a process group of its own, so that it can be stopped with its children. On Linux this process
//! also adopts their orphans (a server that a test started and lost, say), so that [`settle`] finds whatever a step has
//! left running, however indirectly it was started. Ctrl-C stops the programs, not this process: the step fails, guards
//! clean up, and `main` exits with 130.

mod orphans;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a program may take to end after it was asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How often a running program is looked at where nothing announces its end.
const LOOK: Duration = Duration::from_millis(20);
/// How long a pipe is still listened to after its program has ended.
const LULL: Duration = Duration::from_secs(1);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The process groups that run now.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Adopts orphans and takes over SIGINT, SIGTERM and SIGHUP.
pub(crate) fn take_charge() -> Result<()> {
    orphans::adopt()?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take over signals")?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            stop_everything();
        }
    });
    Ok(())
}

/// Whether a signal asked this process to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Does `work`, and stops everything that it has started if it takes longer than `limit`; `None` then.
pub(crate) fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> Option<T> {
    let (done, waits) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let expired = matches!(waits.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
        if expired {
            stop_everything();
        }
        expired
    });
    let result = work();
    drop(done);
    // A watchdog that panicked has not stopped anything.
    if watchdog.join().unwrap_or(false) { None } else { Some(result) }
}

/// Asks everything that was started, however indirectly, to end; kills what does not.
pub(crate) fn stop_everything() {
    kill(Signal::TERM);
    if !wait_until(GRACE, nothing_runs) {
        kill(Signal::KILL);
        wait_until(GRACE, nothing_runs);
    }
}

/// Gives what was started a moment to end, then stops the rest and says what it was.
pub(crate) fn settle() -> Vec<String> {
    if wait_until(GRACE, nothing_runs) {
        return Vec::new();
    }
    let left = running().iter().map(|process| format!("`{}` ({})", process.name, process.pid)).collect();
    stop_everything();
    left
}

fn nothing_runs() -> bool {
    groups(|groups| groups.is_empty()) && running().is_empty()
}

fn running() -> Vec<orphans::Process> {
    orphans::running(&groups(|groups| groups.clone()))
}

fn kill(signal: Signal) {
    // What is gone already is what we want.
    for group in groups(|groups| groups.clone()) {
        let _ = kill_process_group(group, signal);
    }
    for process in running() {
        let _ = process.kill(signal);
    }
}

fn groups<T>(read: impl FnOnce(&mut Vec<Pid>) -> T) -> T {
    read(&mut GROUPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Looks at `condition` until it holds or the time is up; says whether it holds.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// A program to run: its standard input is empty, its output goes to this process's own unless it is captured.
#[derive(Debug)]
pub(crate) struct Cmd {
    inner: Command,
    shown: String,
}

impl Cmd {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let shown = program.as_ref().to_string_lossy().into_owned();
        let mut inner = Command::new(program);
        inner.stdin(Stdio::null()).process_group(0);
        Self { inner, shown }
    }

    /// Names the program as a person would in messages.
    pub(crate) fn shown_as(mut self, name: &str) -> Self {
        name.clone_into(&mut self.shown);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.inner.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.inner.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Runs it as another user; only root may.
    pub(crate) fn by_user(mut self, uid: u32, gid: u32) -> Self {
        self.inner.uid(uid).gid(gid);
        self
    }

    /// Sends both outputs to a file.
    pub(crate) fn output_to(mut self, file: &File) -> Result<Self> {
        self.inner.stdout(file.try_clone()?).stderr(file.try_clone()?);
        Ok(self)
    }

    /// Starts it.
    pub(crate) fn spawn(mut self) -> Result<Running> {
        let child = self.inner.spawn().with_context(|| format!("cannot start `{}`", self.shown))?;
        let group = Pid::from_child(&child);
        groups(|groups| groups.push(group));
        let mut running = Running { child, group, shown: self.shown, status: None };
        if interrupted() {
            running.stop();
            bail!("interrupted");
        }
        Ok(running)
    }

    /// Runs it to its end; an error unless it succeeds.
    pub(crate) fn run(self) -> Result<()> {
        self.spawn()?.success()
    }

    /// Runs it to its end and returns its standard output; if it fails, the error carries what it has said.
    pub(crate) fn capture(mut self) -> Result<String> {
        self.inner.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = self.spawn()?;
        // Both pipes are read at once: a program that fills one while nobody reads it would wait for ever.
        let (stdout, stderr) = (lines_of(running.child.stdout.take()), lines_of(running.child.stderr.take()));
        let (mut output, mut complaints) = (String::new(), String::new());
        running.listen(&stdout, |line| output.push_str(line));
        running.listen(&stderr, |line| complaints.push_str(line));
        // Some programs complain on their standard output.
        running
            .success()
            .with_context(|| last_lines(format!("{output}{complaints}").trim(), 20).to_owned())?;
        Ok(output)
    }

    /// Runs it to its end and hands over its standard output line by line; says whether it succeeded.
    pub(crate) fn each_line(mut self, mut line: impl FnMut(&str)) -> Result<bool> {
        self.inner.stdout(Stdio::piped());
        let mut running = self.spawn()?;
        let stdout = lines_of(running.child.stdout.take());
        running.listen(&stdout, |text| line(text.trim_end_matches('\n')));
        Ok(running.wait()?.success())
    }
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> &str {
    let start = text.rmatch_indices('\n').nth(count.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    text.get(start..).unwrap_or_default()
}

/// Reads a pipe in a thread of its own, line by line; line ends are included.
fn lines_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let mut pipe = pipe.map(BufReader::new);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while pipe.as_mut().is_some_and(|pipe| pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0))
        {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return; // Nobody listens any more.
            }
            line.clear();
        }
    });
    receiver
}

/// A program that runs; stopped on drop.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    group: Pid,
    shown: String,
    status: Option<ExitStatus>,
}

impl Running {
    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().with_context(|| format!("cannot wait for `{}`", self.shown))?;
        self.ended(status);
        if interrupted() {
            bail!("interrupted");
        }
        Ok(status)
    }

    /// Waits for its end for at most `limit`; `None` if it still runs then.
    pub(crate) fn wait_for(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let mut looked = Ok(None);
        wait_until(limit, || {
            looked = self.child.try_wait();
            !matches!(looked, Ok(None)) || interrupted()
        });
        let status = looked.with_context(|| format!("cannot wait for `{}`", self.shown))?;
        if let Some(status) = status {
            self.ended(status);
        }
        if interrupted() {
            bail!("interrupted");
        }
        Ok(status)
    }

    /// Does what Ctrl-C in a terminal does.
    pub(crate) fn interrupt(&self) -> Result<()> {
        kill_process_group(self.group, Signal::INT)
            .with_context(|| format!("cannot interrupt `{}`", self.shown))
    }

    /// Hands over lines until the pipe is closed, or until the program has ended and nothing comes any more: a program
    /// that it left behind may hold the pipe open for ever.
    fn listen(&mut self, pipe: &Receiver<String>, mut line: impl FnMut(&str)) {
        loop {
            match pipe.recv_timeout(LULL) {
                Ok(text) => line(&text),
                Err(RecvTimeoutError::Timeout) if matches!(self.child.try_wait(), Ok(None)) => {}
                Err(_) => return,
            }
        }
    }

    fn success(&mut self) -> Result<()> {
        match self.wait()? {
            status if status.success() => Ok(()),
            status => bail!("`{}` failed ({status})", self.shown),
        }
    }

    fn ended(&mut self, status: ExitStatus) {
        self.status = Some(status);
        groups(|groups| groups.retain(|group| *group != self.group));
    }

    fn stop(&mut self) {
        let _ = kill_process_group(self.group, Signal::TERM);
        if !wait_until(GRACE, || !matches!(self.child.try_wait(), Ok(None))) {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        if let Ok(status) = self.child.wait() {
            self.ended(status);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_left_behind_with_the_pipe_holds_nobody_up() {
        let left = Cmd::new("sh").args(["-c", "sleep 60 & echo $!"]).capture().unwrap();
        let stopped = Cmd::new("kill").arg(left.trim()).capture();
        assert!(stopped.is_ok(), "`sleep` had ended, so it was waited for: {stopped:?}");
    }

    #[test]
    fn a_failure_carries_what_the_program_complained_about() {
        let error = Cmd::new("sh").args(["-c", "echo no room >&2; exit 3"]).capture().unwrap_err();
        assert_eq!(format!("{error:#}"), "no room: `sh -c echo no room >&2; exit 3` failed (exit status: 3)");
    }

    #[test]
    fn work_within_its_limit_keeps_its_result() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
    }

    #[test]
    fn the_last_lines_of_a_text_are_at_most_all_of_them() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a\nb\nc", 3), "a\nb\nc");
        assert_eq!(last_lines("a", 9), "a");
    }

    #[test]
    fn lines_arrive_one_by_one_with_the_last_one_unfinished() {
        let mut lines = Vec::new();
        let success = Cmd::new("printf").arg("a\\n\\nb").each_line(|line| lines.push(line.to_owned()));
        assert!(success.unwrap());
        assert_eq!(lines, ["a", "", "b"]);
    }
}
