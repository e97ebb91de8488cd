//! `tradewind stream`: what streams there are, what they hold, and their definitions.

use super::{list, number, suggest, text};
use crate::cli::{Context, confirm};
use crate::client::{Client, Request, encode};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, bytes, count, duration_ms, record};
use crate::units;
use serde_json::{Map, Value, json};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  tradewind stream ls
  tradewind stream show shop.orders
  tradewind stream create orders -p 8 -c 'id bigint not null' -c 'total numeric(12,2)'
  tradewind stream create clicks --retention 7d
  tradewind stream alter clicks --retention 30d
  tradewind stream history shop.orders order-7
  tradewind stream holder users email ann@example.org   whose is this value
  tradewind stream drop clicks";

/// List, show and define streams
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List all streams
    Ls {
        /// Also the platform's own, whose names start with $
        #[arg(short, long)]
        all: bool,
    },
    /// Show a stream: its columns, options, and what each partition holds
    Show {
        /// The stream
        stream: String,
    },
    /// Define a stream; one that is defined just so already is fine
    Create(Create),
    /// Add columns to a stream, or change its options
    Alter(Alter),
    /// Remove a stream and its events
    Drop {
        /// The stream
        stream: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Show which row has a value of a unique column
    Holder {
        /// The stream
        stream: String,
        /// The column, of the class `unique`
        column: String,
        /// The value
        value: String,
    },
    /// Show all events of one subject, in the order of their versions
    History {
        /// The stream
        stream: String,
        /// The subject
        subject: String,
        /// Begin with this version
        #[arg(long, default_value_t = 1)]
        from_version: u64,
        /// At most this many events
        #[arg(short = 'n', long)]
        limit: Option<u64>,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The stream
    stream: String,
    /// How many partitions; it cannot be changed later
    #[arg(short, long)]
    partitions: Option<u32>,
    /// A column that identifies a row; several times for several
    #[arg(long)]
    key: Vec<String>,
    /// The region that takes its writes first, or decides who has a unique value; it can be moved later
    #[arg(long, value_name = "REGION", value_parser = clap::value_parser!(u16).range(1..))]
    home: Option<u16>,
    #[command(flatten)]
    definition: Definition,
}

#[derive(Debug, clap::Args)]
struct Alter {
    /// The stream
    stream: String,
    #[command(flatten)]
    definition: Definition,
}

#[derive(Debug, clap::Args)]
struct Definition {
    /// A column to declare, or to add: `name type [not null] [class CLASS] [merge CLASS]`; several times for several
    #[arg(short, long = "column", value_name = "COLUMN", value_parser = column)]
    columns: Vec<Value>,
    /// Remove events that are older, such as 7d; `none` for never
    #[arg(long, value_parser = or_none(units::duration))]
    retention: Option<OrNone<Duration>>,
    /// Remove the oldest events of a partition beyond this size, such as 10GiB; `none` for never
    #[arg(long, value_parser = or_none(units::bytes))]
    retention_bytes: Option<OrNone<u64>>,
    /// What removal means: `compact` keeps the latest event of each subject
    #[arg(long, value_parser = ["delete", "compact"])]
    cleanup: Option<String>,
    /// How new events are compressed
    #[arg(long, value_parser = ["none", "lz4"])]
    compression: Option<String>,
    /// The largest event, such as 1MiB
    #[arg(long, value_parser = units::bytes)]
    event_bytes_max: Option<u64>,
    /// Where it is written, where several regions belong together: `active-active` is in each of them
    #[arg(long, value_parser = ["local", "active-active", "home-region"])]
    mode: Option<String>,
}

/// A value, or expressly none.
#[derive(Debug, Clone, Copy)]
enum OrNone<T> {
    None,
    Some(T),
}

fn or_none<T: Clone + Send + Sync + 'static>(
    parse: fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<OrNone<T>, String> + Clone + Send + Sync + 'static {
    move |text| if text == "none" { Ok(OrNone::None) } else { parse(text).map(OrNone::Some) }
}

/// `name type [not null] [class CLASS] [merge CLASS]`
fn column(text: &str) -> Result<Value, String> {
    let (name, rest) = text.trim().split_once(char::is_whitespace).ok_or_else(|| {
        format!("`{text}` is not a column: use a name and a type, such as 'total numeric(12,2) not null'")
    })?;
    let mut ty = rest.trim().to_lowercase();
    let mut column = Map::from_iter([("name".to_owned(), json!(name))]);
    if let Some((before, merge)) = ty.clone().rsplit_once(" merge ") {
        column.insert("merge".to_owned(), json!(merge.trim()));
        before.clone_into(&mut ty);
    }
    if let Some((before, class)) = ty.clone().rsplit_once(" class ") {
        column.insert("class".to_owned(), json!(class.trim()));
        before.clone_into(&mut ty);
    }
    if let Some(before) = ty.clone().strip_suffix("not null") {
        column.insert("nullable".to_owned(), json!(false));
        before.clone_into(&mut ty);
    }
    column.insert("type".to_owned(), json!(ty.trim()));
    Ok(Value::Object(column))
}

impl Definition {
    /// The members of a request that say it.
    fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let mut options = Map::new();
        if !self.columns.is_empty() {
            members.insert("columns".to_owned(), json!(self.columns));
        }
        let mut option = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                options.insert(name.to_owned(), value);
            }
        };
        option(
            "retention_ms",
            self.retention.map(|retention| match retention {
                OrNone::None => Value::Null,
                OrNone::Some(time) => json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            }),
        );
        option(
            "retention_bytes",
            self.retention_bytes.map(|bytes| match bytes {
                OrNone::None => Value::Null,
                OrNone::Some(bytes) => json!(bytes),
            }),
        );
        option("cleanup", self.cleanup.as_ref().map(|text| json!(text)));
        option("compression", self.compression.as_ref().map(|text| json!(text)));
        option("event_bytes_max", self.event_bytes_max.map(|bytes| json!(bytes)));
        option("mode", self.mode.as_ref().map(|text| json!(text)));
        if !options.is_empty() {
            members.insert("options".to_owned(), Value::Object(options));
        }
        members
    }
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    context.run(async {
        match options.action {
            Action::Ls { all } => ls(&client, all, context).await,
            Action::Show { stream } => show(&client, &stream, context).await,
            Action::Create(options) => create(&client, options, context).await,
            Action::Alter(options) => alter(&client, options, context).await,
            Action::Drop { stream, yes } => drop(&client, &stream, yes, context).await,
            Action::Holder { stream, column, value } => {
                holder(&client, &stream, &column, &value, context).await
            }
            Action::History { stream, subject, from_version, limit } => {
                super::tail::history(&client, &stream, &subject, from_version, limit, context).await
            }
        }
    })
}

async fn holder(client: &Client, stream: &str, column: &str, value: &str, context: &Context) -> Result<()> {
    let path = format!("{}/claims?column={}&value={}", path(stream), encode(column), encode(value));
    let claim: Value = suggest(client, stream, client.get(&path).await).await?;
    let (subject, in_use) = (text(&claim, "subject"), claim.get("in_use").and_then(Value::as_bool));
    let state = match (subject, in_use) {
        ("", _) => "never claimed",
        (_, Some(true)) => "in use",
        _ => "free: whoever asks next gets it",
    };
    let lines = [
        ("column", text(&claim, "column").to_owned()),
        ("value", text(&claim, "value").to_owned()),
        ("claimed by", if subject.is_empty() { "nobody" } else { subject }.to_owned()),
        ("state", state.to_owned()),
    ];
    record(&lines, &claim, &mut context.output())
}

/// The object of a stream, with what its partitions hold.
pub(crate) async fn get(client: &Client, stream: &str) -> Result<Value> {
    let outcome = client.get(&path(stream)).await;
    suggest(client, stream, outcome).await
}

fn path(stream: &str) -> String {
    format!("/v1/streams/{}", encode(stream))
}

/// How many events a stream holds, about: after compaction there are fewer.
pub(crate) fn events(stream: &Value) -> u64 {
    let partitions = stream.get("offsets").and_then(Value::as_array).into_iter().flatten();
    partitions.map(|part| number(part, "end").saturating_sub(number(part, "start"))).sum()
}

async fn ls(client: &Client, all: bool, context: &Context) -> Result<()> {
    let columns = [
        ("stream", "name", Align::Left),
        ("kind", "kind", Align::Left),
        ("partitions", "partitions", Align::Right),
        ("columns", "columns", Align::Right),
        ("events", "events", Align::Right),
        ("retention", "options", Align::Left),
    ];
    let mut listing =
        Listing::new(&columns, "there are no streams: `tradewind stream create NAME` makes one");
    for stream in list(client, "streams").await? {
        let name = text(&stream, "name").to_owned();
        if name.starts_with('$') && !all {
            continue;
        }
        let mut stream: Value = match client.get(&path(&name)).await {
            Ok(stream) => stream,
            // Dropped in this moment.
            Err(error) if super::is_missing(&error, "no_stream") => continue,
            Err(error) => return Err(error),
        };
        let held = events(&stream);
        let declared = stream
            .get("columns")
            .and_then(Value::as_array)
            .map_or(Cell::from("json"), |columns| Cell::from(columns.len().to_string()));
        let row = vec![
            Cell::from(name),
            Cell::from(text(&stream, "kind")),
            Cell::from(number(&stream, "partitions").to_string()),
            declared,
            Cell::from(count(held)),
            Cell::from(retention(&stream)),
        ];
        if let Some(object) = stream.as_object_mut() {
            object.insert("events".to_owned(), json!(held));
        }
        listing.push(row, stream);
    }
    listing.print(&mut context.output())
}

/// What is removed, in words.
fn retention(stream: &Value) -> String {
    let options = stream.get("options").unwrap_or(&Value::Null);
    let bound = |member| options.get(member).and_then(Value::as_u64);
    let mut parts = Vec::new();
    if text(options, "cleanup") == "compact" {
        parts.push("latest of each subject".to_owned());
    }
    parts.extend(bound("retention_ms").map(duration_ms));
    parts.extend(bound("retention_bytes").map(|size| format!("{} a partition", bytes(size))));
    if parts.is_empty() { "for ever".to_owned() } else { parts.join(", ") }
}

async fn show(client: &Client, name: &str, context: &Context) -> Result<()> {
    let stream = get(client, name).await?;
    let mut lines = vec![
        ("stream", text(&stream, "name").to_owned()),
        ("kind", text(&stream, "kind").to_owned()),
        ("number", number(&stream, "id").to_string()),
        ("events", count(events(&stream))),
        ("kept", retention(&stream)),
    ];
    let options = stream.get("options").unwrap_or(&Value::Null);
    lines.push(("compression", text(options, "compression").to_owned()));
    lines.push(("largest event", bytes(number(options, "event_bytes_max"))));
    if let Some(mode) = options.get("mode").and_then(Value::as_str) {
        lines.push(("written in regions", mode.to_owned()));
    }
    match stream.get("columns").and_then(Value::as_array) {
        None => lines.push(("columns", "none declared: plain JSON".to_owned())),
        Some(columns) => {
            for (index, column) in columns.iter().enumerate() {
                lines.push((if index == 0 { "columns" } else { "" }, column_line(column, &stream)));
            }
        }
    }
    for (index, part) in stream.get("offsets").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let (start, end) = (number(part, "start"), number(part, "end"));
        let held = match (start, end) {
            (start, end) if start == end => {
                format!("{}: empty, next offset {end}", number(part, "partition"))
            }
            (start, end) => format!("{}: offsets {start} to {}", number(part, "partition"), end - 1),
        };
        lines.push((if index == 0 { "partitions" } else { "" }, held));
    }
    record(&lines, &stream, &mut context.output())
}

fn column_line(column: &Value, stream: &Value) -> String {
    let name = text(column, "name");
    let mut line = format!("{name} {}", text(column, "type"));
    if column.get("nullable") == Some(&json!(false)) {
        line.push_str(" not null");
    }
    let key = stream.get("key").and_then(Value::as_array).into_iter().flatten();
    if key.clone().any(|key| key.as_str() == Some(name)) {
        line.push_str(", key");
    }
    match text(column, "class") {
        "" | "internal" => {}
        class => line.extend([", class ", class]),
    }
    match text(column, "merge") {
        "" => {}
        merge => line.extend([", merge ", merge]),
    }
    line
}

async fn create(client: &Client, options: Create, context: &Context) -> Result<()> {
    let mut members = options.definition.members();
    if let Some(partitions) = options.partitions {
        members.insert("partitions".to_owned(), json!(partitions));
    }
    if !options.key.is_empty() {
        members.insert("key".to_owned(), json!(options.key));
    }
    if let Some(home) = options.home {
        let options = members.entry("options").or_insert_with(|| json!({}));
        options["home"] = json!(home);
    }
    let request = Request::put(path(&options.stream)).json(&Value::Object(members));
    let answer = client.send(request).await?;
    let said = if answer.status() == http::StatusCode::CREATED { "is created" } else { "is there already" };
    context.output().done(&format!("stream `{}` {said}", options.stream))
}

async fn alter(client: &Client, options: Alter, context: &Context) -> Result<()> {
    let mut members = options.definition.members();
    if let Some(Value::Array(added)) = members.get_mut("columns") {
        let stream = get(client, &options.stream).await?;
        let known = stream.get("columns").and_then(Value::as_array).cloned().unwrap_or_default();
        *added = [known, std::mem::take(added)].concat();
    }
    if members.is_empty() {
        return Err(Error::Usage(format!(
            "nothing to change of `{}`: say what, such as `--retention 7d`",
            options.stream
        )));
    }
    let request = Request::patch(path(&options.stream)).json(&Value::Object(members));
    let outcome = client.send(request).await;
    suggest(client, &options.stream, outcome).await?;
    context.output().done(&format!("stream `{}` is changed", options.stream))
}

async fn drop(client: &Client, name: &str, yes: bool, context: &Context) -> Result<()> {
    let stream = get(client, name).await?;
    confirm(yes, &format!("drop stream `{name}` and its {} events", count(events(&stream))))?;
    client.send(Request::delete(path(name))).await?;
    context.output().done(&format!("stream `{name}` is dropped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_people_write_them() {
        assert_eq!(
            column("total numeric(12, 2) NOT NULL class personal").unwrap(),
            json!({"name": "total", "type": "numeric(12, 2)", "nullable": false, "class": "personal"})
        );
        assert_eq!(
            column("at timestamp with time zone").unwrap(),
            json!({"name": "at", "type": "timestamp with time zone"})
        );
        assert!(column("total").unwrap_err().contains("use a name and a type"));
    }

    #[test]
    fn what_is_kept_is_said_in_words() {
        let stream = |options: Value| json!({ "options": options });
        assert_eq!(retention(&stream(json!({}))), "for ever");
        assert_eq!(
            retention(&stream(
                json!({"cleanup": "compact", "retention_ms": 604_800_000, "retention_bytes": 1 << 30})
            )),
            "latest of each subject, 7 d 0 h, 1.00 GiB a partition"
        );
    }
}
