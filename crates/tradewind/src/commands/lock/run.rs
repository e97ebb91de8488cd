//! A command that runs while its locks are held.

use super::Run;
use crate::client::{Client, Request, encode};
use crate::commands::text;
use crate::error::{Error, Result};
use crate::output::note;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// The shortest pause before a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How long releasing may take: whatever is not released ends by itself.
const RELEASE: Duration = Duration::from_secs(5);

/// Locks that are held, as the node has told.
struct Held<'c> {
    client: &'c Client,
    names: &'c [String],
    path: String,
    ttl: Duration,
    /// How long before its end the session counts as lost.
    margin: Duration,
    /// Until when it lasts for certain.
    until: Instant,
}

/// Takes the locks, runs the command, releases them. Returns the exit status that the command stands for.
///
/// # Errors
/// Those of the client, [`Error::Failed`] when the locks were lost, [`Error::File`] when the command does not start.
pub(super) async fn run(client: &Client, options: &Run) -> Result<i32> {
    let request = Request::post("/v1/lock-sessions").json(&json!({
        "names": options.names,
        "owner": options.owner.clone().unwrap_or_else(crate::local::user),
        "ttl_ms": options.ttl.as_millis() as u64,
        "wait_ms": options.wait.as_millis() as u64,
    }));
    let request = request.timeout(options.wait.saturating_add(Duration::from_secs(30)));
    let session: Value = client.send(request).await?.json().await?;
    let mut held = Held {
        client,
        names: &options.names,
        path: format!("/v1/lock-sessions/{}", encode(text(&session, "session"))),
        ttl: options.ttl,
        margin: options.grace.min(options.ttl / 3),
        until: Instant::now(),
    };
    let outcome = run_under(&mut held, options, &session).await;
    let release = Request::delete(held.path.clone()).timeout(RELEASE);
    if let Err(error) = client.send(release).await
        && outcome.is_ok()
    {
        note(format!("the locks are not released, and end by themselves: {}", error.describe()));
    }
    outcome
}

async fn run_under(held: &mut Held<'_>, options: &Run, session: &Value) -> Result<i32> {
    // The answer may have been long on its way: how long the locks last is known from a request that was sent just now.
    held.renew().await?;
    // Before there is a command that would be left alone.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // A command that reads from a terminal must stay in its process group.
    let is_group = !std::io::stdin().is_terminal();
    let mut child = start(options, session, is_group)?;
    let target = Target { pid: child.id().try_into().ok().and_then(Pid::from_raw), is_group };
    // Waiting for a process blocks a thread.
    let mut ended = tokio::task::spawn_blocking(move || child.wait());
    let mut keeping = std::pin::pin!(held.keep());
    let why = loop {
        let asked = tokio::select! {
            status = &mut ended => return Ok(code(waited(status)?)),
            why = &mut keeping => break why,
            _ = interrupt.recv() => Signal::INT,
            _ = terminate.recv() => Signal::TERM,
            _ = hang_up.recv() => Signal::HUP,
        };
        // What a terminal sends, it has sent to the command as well.
        if is_group || asked == Signal::TERM {
            target.send(asked);
        }
    };
    note(format!("the locks are lost, the command is ended: {why}"));
    target.send(Signal::TERM);
    if tokio::time::timeout(options.grace.min(options.ttl / 3), &mut ended).await.is_err() {
        target.send(Signal::KILL);
        waited(ended.await)?;
    }
    if is_group {
        // What it has started may have outlived it.
        target.send(Signal::KILL);
    }
    Err(Error::Failed(format!("the locks were lost while the command ran, and it was ended: {why}")))
}

fn start(options: &Run, session: &Value, is_group: bool) -> Result<Child> {
    let Some((program, args)) = options.command.split_first() else {
        return Err(Error::Usage("there is no command after `--`".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(args).env("TRADEWIND_LOCK_SESSION", text(session, "session"));
    for lock in session.get("locks").and_then(Value::as_array).into_iter().flatten() {
        let (name, token) = (text(lock, "name"), super::number(lock, "token").to_string());
        if options.names.first().is_some_and(|first| first == name) {
            command.env("TRADEWIND_LOCK_TOKEN", &token);
        }
        command.env(variable(name), token);
    }
    if is_group {
        command.process_group(0);
    }
    command.spawn().map_err(|source| Error::File {
        action: "run",
        path: program.to_string_lossy().into_owned(),
        source,
    })
}

/// The variable of a lock's token: `stock/eu` is `TRADEWIND_LOCK_TOKEN_STOCK_EU`.
fn variable(name: &str) -> OsString {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("TRADEWIND_LOCK_TOKEN_{name}").into()
}

impl Held<'_> {
    /// Renews the session, and sees that it still has all of the locks.
    async fn renew(&mut self) -> Result<()> {
        let sent = Instant::now();
        let request = Request::post(format!("{}/renew", self.path)).timeout(self.ttl / 3);
        let session: Value = self.client.send(request).await?.json().await?;
        let locks = session.get("locks").and_then(Value::as_array);
        let has =
            |name: &String| locks.is_some_and(|locks| locks.iter().any(|lock| text(lock, "name") == *name));
        if let Some(lost) = self.names.iter().find(|name| !has(name)) {
            return Err(Error::NotFound(format!("the lock `{lost}` was taken away")));
        }
        self.until = sent + self.ttl;
        Ok(())
    }

    /// Renews the session again and again, until it has to be considered lost; then says why.
    async fn keep(&mut self) -> String {
        let mut pause = self.ttl / 3;
        loop {
            tokio::time::sleep(pause).await;
            let end = self.until - self.margin;
            let renewed = match end.checked_duration_since(Instant::now()) {
                Some(left) => tokio::time::timeout(left, self.renew()).await,
                None => return "it could not be renewed in time".to_owned(),
            };
            match renewed {
                Ok(Ok(())) => pause = self.ttl / 3,
                Ok(Err(error)) if is_final(&error) => return error.describe(),
                Ok(Err(error)) => {
                    note(format!("the locks are not renewed yet: {}", error.describe()));
                    pause = (self.ttl / 30).max(RETRY).min(self.left());
                }
                Err(_) => return "it could not be renewed in time".to_owned(),
            }
        }
    }

    fn left(&self) -> Duration {
        (self.until - self.margin).saturating_duration_since(Instant::now())
    }
}

/// Whether trying again is of no use.
fn is_final(error: &Error) -> bool {
    match error {
        Error::NotFound(_) => true,
        Error::Problem(problem) => problem.code == "no_lock_session",
        _ => false,
    }
}

/// How the command ended.
fn waited(status: Result<io::Result<ExitStatus>, tokio::task::JoinError>) -> io::Result<ExitStatus> {
    status.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Whom signals go to.
struct Target {
    /// The command, which leads its group.
    pid: Option<Pid>,
    /// Whether what it has started is meant as well.
    is_group: bool,
}

impl Target {
    fn send(&self, signal: Signal) {
        let Some(pid) = self.pid else { return };
        // It may have ended just now.
        let _ended = if self.is_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }
}

/// As shells say it: the exit code, or 128 and the signal.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_of_a_lock_is_one_that_shells_understand() {
        assert_eq!(variable("stock/eu-1"), "TRADEWIND_LOCK_TOKEN_STOCK_EU_1");
        assert_eq!(variable("größe"), "TRADEWIND_LOCK_TOKEN_GR__E");
    }
}
