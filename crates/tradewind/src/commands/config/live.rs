//! Options of running nodes: what holds, and how it is changed.

use crate::cli::Context;
use crate::client::{Client, Request, encode};
use crate::commands::{number, tail, text};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, record};
use crate::suggest;
use http::header::{HeaderName, IF_MATCH};
use serde_json::{Value, json};

/// What the changes of options are called in `$config`.
const CHANGED: &str = "tradewind.config.changed";

/// What can be done with the options of running nodes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Show what holds on the node: all that is not the default, or one option
    Get {
        /// The table and the option, such as http.requests_max
        #[arg(conflicts_with = "all")]
        key: Option<String>,
        /// Defaults as well
        #[arg(short, long)]
        all: bool,
    },
    /// Set an option on every node
    Set {
        /// The table and the option, such as http.requests_max
        key: String,
        /// The value, as in a file: a number, true, false, a text, or a list such as '["a", "b"]'
        value: String,
        #[command(flatten)]
        change: Change,
    },
    /// Unset an option, so that the file of each node counts again, or the default
    Unset {
        /// The table and the option
        key: String,
        #[command(flatten)]
        change: Change,
    },
    /// List the changes of an option, the last one first
    History {
        /// The table and the option
        key: String,
        /// At most this many
        #[arg(short = 'n', long, default_value_t = 20)]
        limit: u64,
    },
    /// Set an option to what it was at a version
    Rollback {
        /// The table and the option
        key: String,
        /// The version, as `history` shows it
        #[arg(value_name = "VERSION")]
        to: u64,
        #[command(flatten)]
        change: Change,
    },
}

/// Whether a change is made whatever happened meanwhile, and who makes it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Change {
    /// Only if the option has this version, as `get` shows it
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Who changes it, for others to see; without it, the user and the machine
    #[arg(long, value_name = "TEXT")]
    author: Option<String>,
}

impl Change {
    fn author(&self) -> String {
        self.author.clone().unwrap_or_else(crate::local::user)
    }

    fn condition(&self, request: Request) -> Result<Request> {
        let tag = self.if_version.map(|version| format!("\"{version}\""));
        let (name, tag): (HeaderName, _) = match self.if_version {
            Some(0) => (http::header::IF_NONE_MATCH, Some("*".to_owned())),
            _ => (IF_MATCH, tag),
        };
        request.header(name, tag)
    }
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(super) fn run(action: &Action, context: &Context) -> Result<()> {
    let client = context.client()?;
    context.run(ask(&client, action, context))
}

/// Prints changes of options as they are made.
///
/// # Errors
/// Those of the client.
pub(super) fn watch(from: &str, limit: Option<u64>, context: &Context) -> Result<()> {
    tail::of("$config", from.to_owned(), CHANGED, limit, context)
}

async fn ask(client: &Client, action: &Action, context: &Context) -> Result<()> {
    let (key, request) = match action {
        Action::Get { key: None, all } => return list(client, *all, context).await,
        Action::History { key, limit } => return history(client, key, *limit, context).await,
        Action::Get { key: Some(key), .. } => (key, Request::get(path(key))),
        Action::Set { key, value, change } => {
            // What does not read as a number, true, false or a list is a text.
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value.as_str()));
            let body = json!({ "value": value, "author": change.author() });
            (key, change.condition(Request::put(path(key)).json(&body))?)
        }
        Action::Unset { key, change } => {
            let request = Request::delete(path(key)).query("author", Some(change.author()));
            (key, change.condition(request)?)
        }
        Action::Rollback { key, to, change } => {
            let body = json!({ "version": to, "author": change.author() });
            (key, change.condition(Request::post(format!("{}/rollback", path(key))).json(&body))?)
        }
    };
    let setting: Value = match client.send(request).await {
        Ok(answer) => answer.json().await?,
        Err(error) => return Err(suggested(client, key, error).await),
    };
    show(&setting, context)
}

fn path(key: &str) -> String {
    format!("/v1/config/{}", encode(key))
}

async fn list(client: &Client, all: bool, context: &Context) -> Result<()> {
    let columns = [
        ("option", "key", Align::Left),
        ("value", "value", Align::Left),
        ("from", "source", Align::Left),
        ("live", "live", Align::Left),
        ("version", "version", Align::Right),
        ("", "problem", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "every option has its default: `--all` lists them");
    for setting in options(client).await? {
        if !all && text(&setting, "source") == "default" && setting.get("problem").is_none() {
            continue;
        }
        let row = vec![
            Cell::from(text(&setting, "key")),
            Cell::from(shown(setting.get("value"))),
            Cell::from(text(&setting, "source")),
            Cell::from(if is_live(&setting) { "yes" } else { "at start" }),
            Cell::from(number(&setting, "version").to_string()),
            Cell::from(text(&setting, "problem")),
        ];
        listing.push(row, setting);
    }
    listing.print(&mut context.output())
}

async fn options(client: &Client) -> Result<Vec<Value>> {
    let mut answer: Value = client.get("/v1/config").await?;
    match answer.get_mut("options").map(Value::take) {
        Some(Value::Array(options)) => Ok(options),
        _ => Err(Error::Answer { url: client.url(), reason: "it has no list `options`".to_owned() }),
    }
}

fn is_live(setting: &Value) -> bool {
    setting.get("live").and_then(Value::as_bool).unwrap_or_default()
}

/// A value as `tradewind.toml` would have it.
fn shown(value: Option<&Value>) -> String {
    value.map_or_else(String::new, |value| match value {
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    })
}

fn show(setting: &Value, context: &Context) -> Result<()> {
    let mut lines = vec![
        ("option", text(setting, "key").to_owned()),
        ("value", shown(setting.get("value"))),
        ("from", text(setting, "source").to_owned()),
        ("default", shown(setting.get("default"))),
        ("live", if is_live(setting) { "yes" } else { "no: it takes effect when a node starts" }.to_owned()),
        ("version", number(setting, "version").to_string()),
    ];
    if !text(setting, "problem").is_empty() {
        lines.push(("problem", text(setting, "problem").to_owned()));
    }
    record(&lines, setting, &mut context.output())
}

/// Adds to an error about an option that does not exist which one may have been meant.
async fn suggested(client: &Client, key: &str, error: Error) -> Error {
    let Error::Problem(mut problem) = error else { return error };
    if problem.code == "no_option"
        && let Ok(options) = options(client).await
    {
        let keys: Vec<&str> = options.iter().map(|setting| text(setting, "key")).collect();
        problem.suggestion = Some(match suggest::closest(key, keys) {
            Some(close) => format!("did you mean `{close}`?"),
            None => "`tradewind config get --all` lists all".to_owned(),
        });
    }
    Error::Problem(problem)
}

async fn history(client: &Client, key: &str, limit: u64, context: &Context) -> Result<()> {
    let request = Request::get(format!("{}/history", path(key))).query("limit", Some(limit));
    let answer: Value = match client.send(request).await {
        Ok(answer) => answer.json().await?,
        Err(error) => return Err(suggested(client, key, error).await),
    };
    let columns = [
        ("version", "version", Align::Right),
        ("value", "value", Align::Left),
        ("before", "previous", Align::Left),
        ("author", "author", Align::Left),
        ("time", "time", Align::Left),
        ("", "restored", Align::Left),
    ];
    let mut listing = Listing::new(&columns, format!("`{key}` was never set"));
    for change in answer.get("history").and_then(Value::as_array).into_iter().flatten() {
        let restored = change.get("restored").and_then(Value::as_u64);
        let row = vec![
            Cell::from(number(change, "version").to_string()),
            Cell::from(shown(change.get("value"))),
            Cell::from(shown(change.get("previous"))),
            Cell::from(text(change, "author")),
            Cell::from(text(change, "time")),
            Cell::from(restored.map_or_else(String::new, |version| format!("version {version} again"))),
        ];
        listing.push(row, change.clone());
    }
    listing.print(&mut context.output())
}
