//! The regions as processes of this program, each with a folder and a port.

use super::LISTEN;
use super::home::name;
use crate::crew::{Crew, Event, own_program};
use crate::error::{Error, Result};
use crate::local::NodeOptions;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long all regions together may take to start.
const START_MAX: Duration = Duration::from_secs(120);

/// Starts the regions, and waits until all serve; returns where, by number.
///
/// # Errors
/// When one does not start, with the end of its log.
pub(super) async fn start(
    crew: &mut Crew,
    options: &NodeOptions,
    numbers: Vec<u16>,
) -> Result<BTreeMap<u16, String>> {
    for number in &numbers {
        launch(crew, options, *number)?;
    }
    let all = tokio::time::timeout(START_MAX, all_serve(crew, &numbers)).await;
    let late = |_| Error::Timeout(format!("the regions do not serve after {} s", START_MAX.as_secs()));
    all.map_err(late)?
}

fn launch(crew: &mut Crew, options: &NodeOptions, number: u16) -> Result<()> {
    let first = options.listen.unwrap_or(LISTEN);
    let port = match first.port() {
        0 => 0,
        port => port.checked_add(number - 1).ok_or_else(|| {
            Error::Usage(format!("there is no port for region {number} after {port}: use a lower one"))
        })?,
    };
    let folder = crew.folder_of(&name(number))?;
    let mut command = own_program()?;
    command.current_dir(&folder).args(["up", "-o", "json", "--listen", &format!("{}:{port}", first.ip())]);
    command.args(["--log", options.log.as_deref().unwrap_or("warn"), "--config", "tradewind.toml"]);
    if options.insecure_no_auth {
        command.arg("--insecure-no-auth");
    }
    command.arg("--data").arg(folder.join("data"));
    crew.start_quiet_node(&name(number), command)
}

async fn all_serve(crew: &mut Crew, numbers: &[u16]) -> Result<BTreeMap<u16, String>> {
    let mut urls = BTreeMap::new();
    while urls.len() < numbers.len() {
        match crew.next().await {
            Event::Said(who, line) => {
                let said: Value = serde_json::from_str(&line).unwrap_or_default();
                let url = said.get("url").and_then(Value::as_str).unwrap_or_default();
                let number = numbers.iter().find(|number| name(**number) == who);
                urls.extend(number.map(|number| (*number, url.to_owned())));
            }
            Event::Ended(who, how) => return Err(ended(crew, &who, &how)),
        }
    }
    Ok(urls)
}

/// Waits until a region ends by itself, which it should not.
///
/// # Errors
/// When it does, with the end of its log.
pub(super) async fn watch_over(crew: &mut Crew) -> Result<()> {
    loop {
        if let Event::Ended(who, how) = crew.next().await {
            return Err(ended(crew, &who, &how));
        }
    }
}

fn ended(crew: &Crew, who: &str, how: &str) -> Error {
    Error::Failed(crew.with_log(who, format!("{who} has ended with {how}")))
}
