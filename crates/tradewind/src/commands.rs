//! The commands: each asks the node, and prints what it says.

pub(crate) mod append;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod conflicts;
pub(crate) mod group;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod parked;
pub(crate) mod projection;
pub(crate) mod reference;
pub(crate) mod region;
pub(crate) mod replay;
pub(crate) mod source;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod tail;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod up;

use crate::client::{Client, Request, encode};
use crate::error::{Error, Result};
use crate::suggest;
use serde_json::Value;

/// The objects of a list such as `/v1/streams`.
pub(crate) async fn list(client: &Client, what: &'static str) -> Result<Vec<Value>> {
    let mut answer: Value = client.get(&format!("/v1/{what}")).await?;
    match answer.get_mut(what).map(Value::take) {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Err(Error::Answer { url: client.url(), reason: format!("it has no list `{what}`") }),
    }
}

/// The text of a member; empty if there is none.
pub(crate) fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// The number of a member; 0 if there is none.
pub(crate) fn number(object: &Value, member: &str) -> u64 {
    object.get(member).and_then(Value::as_u64).unwrap_or_default()
}

/// What is not as it should be, each as one line: what it is about, what has happened, and what to do.
pub(crate) fn troubles(status: &Value) -> Vec<String> {
    let lines = objects(status, "problems").into_iter().map(|trouble| {
        let about = trouble.get("about").cloned().unwrap_or_default();
        let (kind, name) = (text(&about, "kind"), text(&about, "name"));
        let name = if name.is_empty() { String::new() } else { format!(" `{name}`") };
        let (detail, code) = (text(&trouble, "detail"), text(&trouble, "code"));
        format!("{kind}{name}: {detail} ({code}): {}", text(&trouble, "remedy"))
    });
    lines.collect()
}

/// The objects of a member that is a list; none if there is no such member.
pub(crate) fn objects(object: &Value, member: &str) -> Vec<Value> {
    object.get(member).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Shows every event of a stream, one after the other, from the earliest to the last.
pub(crate) async fn each_event(client: &Client, stream: &str, mut each: impl FnMut(Value)) -> Result<()> {
    let mut cursor = String::from("earliest");
    loop {
        let request = Request::get(format!("/v1/streams/{}/events", encode(stream)))
            .query("from", Some(&cursor))
            .query("limit", Some(1_000));
        let page: Value = client.send(request).await?.json().await?;
        objects(&page, "events").into_iter().for_each(&mut each);
        if page.get("end").and_then(Value::as_bool) != Some(false) {
            return Ok(());
        }
        text(&page, "next").clone_into(&mut cursor);
    }
}

/// Adds to an error about a name that does not exist which one may have been meant.
pub(crate) async fn suggest<T>(client: &Client, name: &str, outcome: Result<T>) -> Result<T> {
    let Err(Error::Problem(mut problem)) = outcome else { return outcome };
    let what = match problem.code.as_str() {
        "no_stream" => "streams",
        "no_source" => "sources",
        "no_projection" => "projections",
        _ => return Err(Error::Problem(problem)),
    };
    if let Ok(objects) = list(client, what).await {
        problem.suggestion = suggestion(name, what, &objects);
    }
    Err(Error::Problem(problem))
}

fn suggestion(name: &str, what: &str, objects: &[Value]) -> Option<String> {
    let names: Vec<&str> = objects.iter().map(|object| text(object, "name")).collect();
    let own: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with('$')).collect();
    match suggest::closest(name, names) {
        Some(close) => Some(format!("did you mean `{close}`?")),
        None if own.is_empty() => Some(format!("there are no {what} yet")),
        None if own.len() <= 8 => Some(format!("there are {}", own.join(", "))),
        None => Some(format!("`tradewind {} ls` lists all", what.trim_end_matches('s'))),
    }
}

/// Whether an error says that what was named does not exist.
pub(crate) fn is_missing(error: &Error, code: &str) -> bool {
    matches!(error, Error::Problem(problem) if problem.code == code)
}
