//! `tradewind projection`: live views, how far they are, and what can be done with them.

mod compare;

use super::{list, number, suggest, text};
use crate::cli::{Context, confirm};
use crate::client::{Client, Request, encode};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, Progress, count, duration_ms, record};
use crate::units;
use serde_json::Value;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  tradewind projection ls
  tradewind projection show revenue
  tradewind projection wait revenue --timeout 1m
  tradewind projection pause revenue
  tradewind projection resume revenue
  tradewind projection rebuild revenue --wait
  tradewind projection rebuild revenue --hold --wait
  tradewind projection compare revenue
  tradewind projection release revenue
  tradewind projection drop revenue

Projections are defined in SQL: tradewind sql \"CREATE PROJECTION name AS SELECT …\"";

/// How often it is looked whether a projection has caught up.
const LOOK: Duration = Duration::from_millis(100);

/// List, show and control projections
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List all projections
    Ls,
    /// Show a projection: its definition and how far it is
    Show {
        /// The projection
        name: String,
    },
    /// Wait until it has seen everything that is there now
    Wait {
        /// The projection
        name: String,
        /// Wait no longer than this
        #[arg(long, value_parser = units::duration, default_value = "1h")]
        timeout: Duration,
    },
    /// Stop it where it is
    Pause {
        /// The projection
        name: String,
    },
    /// Let it go on
    Resume {
        /// The projection
        name: String,
    },
    /// Build it anew from the log, beside the one that answers, then switch
    Rebuild {
        /// The projection
        name: String,
        /// Wait until it has switched, or until it is ready to, if it is held
        #[arg(short, long)]
        wait: bool,
        /// Do not switch before it is released
        #[arg(long)]
        hold: bool,
    },
    /// Have what is built anew wait when it has caught up, until it is released
    Hold {
        /// The projection
        name: String,
    },
    /// Let what is built anew take over as soon as it has caught up
    Release {
        /// The projection
        name: String,
    },
    /// Compare what it answers with what is built anew of it
    #[command(after_help = compare::EXAMPLES)]
    Compare(compare::Options),
    /// Remove it; the events that it is made of stay
    Drop {
        /// The projection
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    context.run(async {
        match options.action {
            Action::Ls => ls(&client, context).await,
            Action::Show { name } => show(&client, &name, context).await,
            Action::Wait { name, timeout } => {
                let parked = wait(&client, &name, timeout).await?;
                let but = match parked {
                    0 => String::new(),
                    1 => format!("; 1 event is parked: `tradewind parked ls --view {name}`"),
                    n => format!("; {} events are parked: `tradewind parked ls --view {name}`", count(n)),
                };
                context.output().done(&format!("projection `{name}` has caught up{but}"))
            }
            Action::Pause { name } => act(&client, &name, "pause", "is paused", context).await,
            Action::Resume { name } => act(&client, &name, "resume", "goes on", context).await,
            Action::Rebuild { name, wait, hold } => {
                if hold {
                    hold_first(&client, &name).await?;
                }
                rebuild(&client, &name, wait, context).await
            }
            Action::Hold { name } => {
                act(&client, &name, "hold", "waits for its release before a new version takes over", context)
                    .await
            }
            Action::Release { name } => {
                let said = "lets its new version take over as soon as that has caught up";
                act(&client, &name, "release", said, context).await
            }
            Action::Compare(options) => compare::run(&client, options, context).await,
            Action::Drop { name, yes } => {
                get(&client, &name).await?;
                confirm(yes, &format!("drop projection `{name}`"))?;
                client.send(Request::delete(path(&name))).await?;
                context.output().done(&format!("projection `{name}` is dropped"))
            }
        }
    })
}

fn path(name: &str) -> String {
    format!("/v1/projections/{}", encode(name))
}

async fn get(client: &Client, name: &str) -> Result<Value> {
    let outcome = client.get(&path(name)).await;
    suggest(client, name, outcome).await
}

async fn act(client: &Client, name: &str, action: &str, said: &str, context: &Context) -> Result<()> {
    let outcome = client.send(Request::post(format!("{}/{action}", path(name)))).await;
    suggest(client, name, outcome).await?;
    context.output().done(&format!("projection `{name}` {said}"))
}

/// Has what is going to be built wait before it takes over.
async fn hold_first(client: &Client, name: &str) -> Result<()> {
    let outcome = client.send(Request::post(format!("{}/hold", path(name)))).await;
    suggest(client, name, outcome).await.map(drop)
}

/// Whether what is built anew has caught up, and waits to be released.
fn is_ready(projection: &Value) -> bool {
    let build = projection.get("build").and_then(|build| build.get("ready"));
    projection.get("held") == Some(&Value::Bool(true)) && build == Some(&Value::Bool(true))
}

async fn ls(client: &Client, context: &Context) -> Result<()> {
    let mut out = context.output();
    let columns = [
        ("projection", "name", Align::Left),
        ("state", "state", Align::Left),
        ("behind", "lag_events", Align::Right),
        ("parked", "parked", Align::Right),
        ("", "error", Align::Left),
    ];
    let none = "there are no projections: `tradewind sql \"CREATE PROJECTION name AS SELECT …\"` makes one";
    let mut listing = Listing::new(&columns, none);
    for projection in list(client, "projections").await? {
        let note = match text(&projection, "error") {
            "" => building(&projection).unwrap_or_default(),
            error => error.to_owned(),
        };
        let row = vec![
            Cell::from(text(&projection, "name")),
            Cell::from(text(&projection, "state")),
            Cell::from(count(number(&projection, "lag_events"))),
            Cell::from(count(number(&projection, "parked"))),
            Cell::from(note),
        ];
        listing.push(row, projection);
    }
    listing.print(&mut out)
}

/// How far a new build is, in words.
fn building(projection: &Value) -> Option<String> {
    if is_ready(projection) {
        return Some("a new version waits: compare it, then release it".to_owned());
    }
    let (done, total) = super::replay::of_build(projection)?;
    let percent = if total == 0 { 100.0 } else { done as f64 * 100.0 / total as f64 };
    Some(format!("builds: {percent:.0} % of {}", count(total)))
}

async fn show(client: &Client, name: &str, context: &Context) -> Result<()> {
    let mut out = context.output();
    let projection = get(client, name).await?;
    let mut lines = vec![
        ("projection", text(&projection, "name").to_owned()),
        ("state", out.style.state(text(&projection, "state"))),
    ];
    if let Some(error) = Some(text(&projection, "error")).filter(|error| !error.is_empty()) {
        lines.push(("error", out.style.bad(error)));
    }
    lines.push(("behind", format!("{} events", count(number(&projection, "lag_events")))));
    lines.extend(building(&projection).map(|building| ("", building)));
    lines.push(("parked", count(number(&projection, "parked"))));
    lines.push(("token", text(&projection, "token").to_owned()));
    lines.push(("sql", text(&projection, "sql").to_owned()));
    record(&lines, &projection, &mut out)
}

/// Waits until a projection has seen everything that was there when it was asked for; says how many events are parked.
///
/// # Errors
/// [`Error::Timeout`]; [`Error::Failed`] when it stands still; those of the client.
pub(crate) async fn wait(client: &Client, name: &str, timeout: Duration) -> Result<u64> {
    let deadline = Instant::now() + timeout;
    let mut progress = Progress::new("events");
    let mut most = 0;
    loop {
        let projection = get(client, name).await?;
        let behind = number(&projection, "lag_events");
        let building = super::replay::of_build(&projection);
        match text(&projection, "state") {
            "failed" => {
                let why = text(&projection, "error").to_owned();
                return Err(Error::Failed(format!("projection `{name}` has failed: {why}")));
            }
            "paused" => {
                return Err(Error::Refused(format!(
                    "projection `{name}` is paused: `tradewind projection resume {name}` lets it go on"
                )));
            }
            "running" if behind == 0 && (building.is_none() || is_ready(&projection)) => {
                return Ok(number(&projection, "parked"));
            }
            _ => {}
        }
        match building {
            Some((done, total)) => progress.at(done, Some(total)),
            None => {
                most = behind.max(most);
                progress.at(most - behind, Some(most));
            }
        }
        if Instant::now() >= deadline {
            let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            let ms = duration_ms(ms);
            return Err(Error::Timeout(format!(
                "projection `{name}` is still {} events behind after {ms}",
                count(behind)
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Builds a projection anew.
///
/// # Errors
/// Those of [`wait`].
pub(crate) async fn rebuild(client: &Client, name: &str, wait: bool, context: &Context) -> Result<()> {
    let outcome = client.send(Request::post(format!("{}/rebuild", path(name)))).await;
    suggest(client, name, outcome).await?;
    if !wait {
        return context.output().done(&format!(
            "projection `{name}` is being built anew: `tradewind projection show {name}` says how far it is"
        ));
    }
    let started = Instant::now();
    self::wait(client, name, Duration::from_secs(7 * 24 * 3_600)).await?;
    let ms = duration_ms(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    let held = is_ready(&get(client, name).await?);
    let next = format!(
        " and waits: `tradewind projection compare {name}` shows what differs, `tradewind projection release {name}` lets it take over"
    );
    let next = if held { next } else { String::new() };
    context.output().done(&format!("projection `{name}` is built anew, in {ms}{next}"))
}
