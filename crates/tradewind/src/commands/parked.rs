//! `tradewind parked`: events that could not be processed, and wait for a person's decision.

use super::{number, objects, text};
use crate::cli::{Context, confirm};
use crate::client::{Client, Request, encode};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, count, note, record};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  tradewind parked ls
  tradewind parked ls --view revenue
  tradewind parked show revenue/shop.orders/0/41
  tradewind parked retry revenue/shop.orders/0/41
  tradewind parked drop revenue/shop.orders/0/41
  tradewind parked retry --all revenue
  tradewind parked drop --all revenue --reason 'invalid input syntax'

A parked event holds up the later events of its own subject only. `retry` processes it once more,
`drop` leaves it out for good; then what waits behind it goes on. A definition that can process it
(CREATE OR REPLACE PROJECTION) needs neither: all events are processed anew.";

/// List and decide about events that could not be processed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List parked events
    Ls {
        /// Only those of this view
        #[arg(long)]
        view: Option<String>,
        /// At most this many
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: u64,
    },
    /// Show a parked event and why it could not be processed
    Show {
        /// view/stream/partition/offset, as `ls` prints it
        id: String,
    },
    /// Process it again, and then what waits behind it
    Retry {
        /// view/stream/partition/offset, as `ls` prints it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        #[command(flatten)]
        many: Many,
    },
    /// Leave it out for good, and go on with what waits behind it
    Drop {
        /// view/stream/partition/offset, as `ls` prints it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        #[command(flatten)]
        many: Many,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Many events at once.
#[derive(Debug, clap::Args)]
struct Many {
    /// All parked events of this view
    #[arg(long, value_name = "VIEW")]
    all: Option<String>,
    /// Of these, only those whose reason starts so
    #[arg(long, value_name = "TEXT", requires = "all")]
    reason: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    context.run(async {
        match options.action {
            Action::Ls { view, limit } => ls(&client, view.as_deref(), limit, context).await,
            Action::Show { id } => show(&client, &id, context).await,
            Action::Retry { many: Many { all: Some(view), reason }, .. } => {
                all(&client, "retry", &view, reason.as_deref(), context).await
            }
            Action::Drop { many: Many { all: Some(view), reason }, yes, .. } => {
                confirm(yes, &format!("leave all parked events of `{view}` that are meant out for good"))?;
                all(&client, "drop", &view, reason.as_deref(), context).await
            }
            Action::Retry { id, .. } => {
                let id = id.unwrap_or_default();
                client.send(Request::post(format!("{}/retry", path(&id)?))).await?;
                context.output().done(&format!("`{id}` is processed again; if it fails, it stays parked"))
            }
            Action::Drop { id, yes, .. } => {
                let id = id.unwrap_or_default();
                let path = path(&id)?;
                let _exists: Value = client.get(&path).await?;
                confirm(yes, &format!("leave `{id}` out for good"))?;
                client.send(Request::delete(path)).await?;
                context.output().done(&format!("`{id}` is left out"))
            }
        }
    })
}

/// The path of a parked event; the name of a view may contain slashes, that of a stream may not.
fn path(id: &str) -> Result<String> {
    let mut parts = id.rsplitn(4, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(offset), Some(partition), Some(stream), Some(view)) => Ok(format!(
            "/v1/parked/{}/{}/{}/{}",
            encode(view),
            encode(stream),
            encode(partition),
            encode(offset)
        )),
        _ => Err(Error::Usage(format!(
            "`{id}` does not name a parked event: use view/stream/partition/offset"
        ))),
    }
}

/// What [`path`] reads.
fn id(event: &Value) -> String {
    let (view, stream) = (text(event, "view"), text(event, "stream"));
    format!("{view}/{stream}/{}/{}", number(event, "partition"), number(event, "offset"))
}

async fn ls(client: &Client, view: Option<&str>, limit: u64, context: &Context) -> Result<()> {
    let columns = [
        ("parked event", "view", Align::Left),
        ("subject", "event_subject", Align::Left),
        ("tried", "attempts", Align::Right),
        ("state", "state", Align::Left),
        ("why", "why", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "no events are parked");
    let mut after: Option<String> = None;
    let mut left = limit;
    while left > 0 {
        let request = Request::get("/v1/parked").query("view", view).query("after", after.as_deref());
        let page: Value = client.send(request.query("limit", Some(left.min(1_000)))).await?.json().await?;
        for event in page.get("parked").and_then(Value::as_array).into_iter().flatten() {
            let row = vec![
                Cell::from(id(event)),
                Cell::from(text(event, "event_subject")),
                Cell::from(number(event, "attempts").to_string()),
                Cell::from(text(event, "state")),
                Cell::from(text(event, "why")),
            ];
            listing.push(row, event.clone());
            left = left.saturating_sub(1);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    listing.print(&mut context.output())
}

/// Has the same done with all parked events of a view, each once.
async fn all(client: &Client, what: &str, view: &str, reason: Option<&str>, context: &Context) -> Result<()> {
    let (mut done, mut failed) = (0, Vec::new());
    let mut after = Value::Null;
    loop {
        let body = json!({ "view": view, "reason_prefix": reason, "limit": 1_000, "after": after });
        let request = Request::post(format!("/v1/parked/{what}")).json(&body);
        let mut answer: Value = client.send(request).await?.json().await?;
        done += answer.get("done").and_then(Value::as_array).map_or(0, Vec::len) as u64;
        failed.extend(objects(&answer, "failed"));
        after = answer.get_mut("next").map(Value::take).unwrap_or_default();
        if after.is_null() {
            break;
        }
    }
    for one in &failed {
        note(format_args!("`{}`: {}", text(one, "id"), text(one, "detail")));
    }
    let is_done = if what == "retry" { "processed again; those that fail stay parked" } else { "left out" };
    let told = match done {
        0 => format!("no parked events of `{view}` were meant"),
        1 => format!("one parked event of `{view}` is {is_done}"),
        _ => format!("{} parked events of `{view}` are {is_done}", count(done)),
    };
    context.output().done(&told)?;
    match failed.len() {
        0 => Ok(()),
        more => Err(Error::Refused(format!("with {more} parked events it could not be done"))),
    }
}

async fn show(client: &Client, name: &str, context: &Context) -> Result<()> {
    let event: Value = client.get(&path(name)?).await?;
    let lines = [
        ("parked event", id(&event)),
        ("why", text(&event, "why").to_owned()),
        ("state", text(&event, "state").to_owned()),
        ("tried", format!("{} times", number(&event, "attempts"))),
        ("type", text(&event, "event_type").to_owned()),
        ("subject", text(&event, "event_subject").to_owned()),
        ("id", text(&event, "event_id").to_owned()),
        ("accepted", text(&event, "time").to_owned()),
        ("waiting", event.get("waiting").and_then(Value::as_u64).map_or("-".to_owned(), count)),
    ];
    record(&lines, &event, &mut context.output())
}
