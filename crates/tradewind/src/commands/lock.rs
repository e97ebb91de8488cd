//! `tradewind lock`: commands that run one at a time in the whole cluster, and who holds what.

mod run;

use super::{number, text};
use crate::cli::Context;
use crate::client::{Client, Request, encode};
use crate::error::Result;
use crate::output::{Align, Cell, Listing};
use crate::units;
use serde_json::Value;
use std::ffi::OsString;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  tradewind lock run nightly-report -- ./report.sh
  tradewind lock run stock prices --wait 10m -- ./import.sh
  tradewind lock ls";

const RUN: &str = "\
Examples:
  tradewind lock run nightly-report -- ./report.sh
  tradewind lock run stock prices --wait 10m -- ./import.sh
  tradewind lock run deploy --ttl 2m --grace 30s -- sh -c 'echo $TRADEWIND_LOCK_TOKEN; make deploy'

The command finds the fencing token in TRADEWIND_LOCK_TOKEN: it is higher than that of everybody who
held the lock before, so whatever the command changes can refuse older ones. With several locks there
is one variable for each, TRADEWIND_LOCK_TOKEN_STOCK, and the first one is that of the first name.

The lock is renewed while the command runs. When that does not succeed in time, the command gets
SIGTERM, and SIGKILL after `--grace`, but no later than the lock ends; without a terminal on standard
input, so do the processes that it has started.

Exit code: that of the command, or 128 and the signal that ended it. 4 when somebody else holds a
lock; 1 when the lock was lost.";

/// Run commands under locks, and show who holds which
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Take locks, run a command, release them
    #[command(after_help = RUN)]
    Run(Run),
    /// List locks, who holds them, and who waits
    Ls {
        /// Only this one
        name: Option<String>,
    },
    /// End a session, as `ls` shows it, and release its locks: whoever holds them is not asked
    Release {
        /// The session
        session: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The locks: all of them are taken, or none
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The command, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// How long to wait for the locks
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    wait: Duration,
    /// How long the locks last when this program or its machine dies
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration)]
    ttl: Duration,
    /// How long the command has to end when the locks are lost, at most a third of `--ttl`
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    grace: Duration,
    /// Who holds the locks, for others to see; without it, the user and the machine
    #[arg(long, value_name = "TEXT")]
    owner: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Those of the client, and when the command does not start or has lost its locks.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    match options.action {
        Action::Run(options) => {
            let status = context.run(run::run(&client, &options))?;
            match status {
                0 => Ok(()),
                status => std::process::exit(status),
            }
        }
        Action::Ls { name } => context.run(ls(&client, name.as_deref(), context)),
        Action::Release { session, yes } => {
            crate::cli::confirm(yes, &format!("release what the session `{session}` holds"))?;
            context.run(async {
                client.send(Request::delete(format!("/v1/lock-sessions/{}", encode(&session)))).await?;
                context.output().done(&format!("the session `{session}` has ended"))
            })
        }
    }
}

async fn ls(client: &Client, name: Option<&str>, context: &Context) -> Result<()> {
    let columns = [
        ("lock", "name", Align::Left),
        ("holder", "holder", Align::Left),
        ("session", "session", Align::Left),
        ("token", "token", Align::Right),
        ("waiting", "waiting", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "nobody holds a lock");
    if let Some(name) = name {
        let lock: Value = client.get(&format!("/v1/locks/{}", encode(name))).await?;
        push(&mut listing, lock);
        return listing.print(&mut context.output());
    }
    let mut after: Option<String> = None;
    loop {
        let request = Request::get("/v1/locks").query("after", after.as_deref());
        let page: Value = client.send(request).await?.json().await?;
        for lock in page.get("locks").and_then(Value::as_array).into_iter().flatten() {
            push(&mut listing, lock.clone());
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.to_owned()),
            None => return listing.print(&mut context.output()),
        }
    }
}

fn push(listing: &mut Listing, lock: Value) {
    let waiting = lock.get("waiting").and_then(Value::as_array);
    let waiting: Vec<&str> = waiting.into_iter().flatten().map(|claim| text(claim, "owner")).collect();
    let none = Value::Null;
    let holder = lock.get("holder").unwrap_or(&none);
    let (owner, token) = match holder {
        Value::Null => ("nobody", String::new()),
        holder => (text(holder, "owner"), number(holder, "token").to_string()),
    };
    let row = vec![
        Cell::from(text(&lock, "name")),
        Cell::from(owner),
        Cell::from(text(holder, "session")),
        Cell::from(token),
        Cell::from(waiting.join(", ")),
    ];
    listing.push(row, lock);
}
