//! `tradewind region restore` and `go-on`: a region that comes back from an older copy of its log.

use crate::cli::{Context, confirm};
use crate::client::{Client, Request};
use crate::commands::log::failed;
use crate::commands::{number, objects, text};
use crate::error::{Error, Result};
use crate::output::count;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tw_env::Env;
use tw_log::EmbeddedLog;

#[derive(Debug, clap::Args)]
pub(super) struct RestoreOptions {
    /// The data folder, into which the copy of its `log` was put; no node has it open
    folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct GoOnOptions {
    /// The number of a region that is gone for good; several times for several
    #[arg(long, required = true, value_name = "REGION")]
    without: Vec<u16>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Begins the next epoch of a log, so that the region can go on in the place of a newer one.
pub(super) fn restore(options: &RestoreOptions, context: &Context) -> Result<()> {
    let folder = tw_node::Folder::new(&options.folder);
    let epoch = EmbeddedLog::raise_epoch(folder.log(), &tw_log::Options::default(), &Env::real());
    let epoch = epoch.map_err(failed(&options.folder))?;
    // What was made of the newer log knows of events that this one has not; it is made anew.
    forget(&folder.state())?;
    context.output().done(&format!(
        "the region goes on under epoch {epoch} when it is started; until it has fetched back what the other regions have of it, it accepts nothing for \
         streams that they have. `tradewind region status` says how far it is"
    ))
}

fn forget(state: &Path) -> Result<()> {
    match std::fs::remove_dir_all(state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::Failed(format!(
            "the epoch was raised, but the state of the newer log in `{}` cannot be removed ({error}): remove that folder before you start the region",
            state.display()
        ))),
        _ => Ok(()),
    }
}

/// Has a restore go on without regions that are gone.
pub(super) async fn go_on(client: &Client, context: &Context, options: &GoOnOptions) -> Result<()> {
    let regions: Vec<String> = options.without.iter().map(ToString::to_string).collect();
    let what = format!(
        "go on without region {}, so that what only that has of this region is lost, and it takes nothing of this one if it comes back with more",
        regions.join(", ")
    );
    confirm(options.yes, &what)?;
    let request = Request::post("/v1/regions/restore").json(&json!({ "without": options.without }));
    let answer: Value = client.send(request).await?.json().await?;
    context.output().done(text(&answer, "message"))
}

/// What a region that is restored waits for, of its view; None if it is not.
pub(super) fn waiting(view: &Value) -> Option<String> {
    let restore = view.get("restore").filter(|restore| restore.is_object())?;
    let is = |peer: &Value, member: &str| peer.get(member).and_then(Value::as_bool) == Some(true);
    let peers = objects(restore, "peers").into_iter();
    let waits: Vec<String> = peers
        .filter(|peer| !is(peer, "done") && !is(peer, "left_out"))
        .map(|peer| {
            let (region, lacking) = (number(&peer, "region"), number(&peer, "lacking_events"));
            match peer.get("reason").and_then(Value::as_str) {
                Some(reason) => format!("region {region} ({reason})"),
                None => format!("region {region} ({} events are to come)", count(lacking)),
            }
        })
        .collect();
    let for_whom = match (waits.is_empty(), restore.get("waits_for").and_then(Value::as_str)) {
        (false, _) => waits.join(", "),
        (true, Some(what)) => what.to_owned(),
        (true, None) => "its own log".to_owned(),
    };
    Some(format!(
        "this region has not everything yet that others have, and accepts nothing: it waits for {for_whom}"
    ))
}
