//! `tradewind region drain`: a region that is to be ended, until the others have everything of it.

use crate::cli::Context;
use crate::client::{Client, Request};
use crate::commands::{number, objects, text};
use crate::error::{Error, Result};
use crate::output::{duration_ms, note};
use crate::units;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often it is asked who lacks something.
const LOOK: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  tradewind region drain --dry-run
  tradewind region drain --to 2 --timeout 10m
  tradewind region drain --undo

When it has ended, stop the region, and take it out of the configuration of the others. It stays drained
when it is started again, until `--undo`.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DrainOptions {
    /// The number of the region that is to be the home of the streams of which this one is
    #[arg(long, value_name = "REGION")]
    to: Option<u16>,
    /// How long to wait until the others have everything; then it goes on, and this exits with 6
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = units::duration)]
    timeout: Duration,
    /// Say only what would be done
    #[arg(long)]
    dry_run: bool,
    /// Have the region accept again
    #[arg(long, conflicts_with_all = ["to", "dry_run"])]
    undo: bool,
}

/// Drains the region, and waits until it can be ended.
pub(super) async fn drain(client: &Client, context: &Context, options: &DrainOptions) -> Result<()> {
    let body = json!({ "drained": !options.undo, "to": options.to, "dry_run": options.dry_run });
    let answer: Value = client.send(Request::post("/v1/regions/drain").json(&body)).await?.json().await?;
    for moved in objects(&answer, "moved") {
        note(format!("the home of `{}` is region {}", text(&moved, "stream"), number(&moved, "home")));
    }
    if options.undo {
        return context.output().done("this region accepts again");
    }
    if options.dry_run {
        return context
            .output()
            .done("nothing was done: this region would accept nothing more for streams that others have");
    }
    let begun = Instant::now();
    let mut told = Vec::new();
    loop {
        let view: Value = client.get("/v1/regions").await?;
        let Some(drain) = view.get("drain").filter(|drain| drain.is_object()) else {
            return Err(Error::Failed(
                "the region accepts again: it was started anew, or somebody has ended the drain; drain it once more".to_owned(),
            ));
        };
        let lacking: Vec<String> =
            drain["lacking"].as_array().into_iter().flatten().map(ToString::to_string).collect();
        if lacking.is_empty() {
            return context.output().done(
                "every other region has everything that this one has accepted: stop it, and take it out of the configuration of the others",
            );
        }
        if begun.elapsed() > options.timeout {
            let waited = duration_ms(u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX));
            return Err(Error::Degraded(format!(
                "after {waited} region {} has not everything yet that this one has accepted, which stays drained: `tradewind region status` says why",
                lacking.join(", ")
            )));
        }
        if lacking != told {
            note(format!("waiting for region {}", lacking.join(", ")));
            told = lacking;
        }
        tokio::time::sleep(LOOK).await;
    }
}
