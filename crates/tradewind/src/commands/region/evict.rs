//! `tradewind region evict`: going on without a region that is gone.

use crate::cli::{Context, confirm};
use crate::client::{Client, Request};
use crate::commands::{number, objects};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, duration_ms, note};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  tradewind region evict 3 --dry-run
  tradewind region evict 3

The region comes back as one that is new: stop it, and begin a new log for it with `tradewind region seed`
under the epoch that this names.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EvictOptions {
    /// The number of the region that is gone
    region: u16,
    /// Say only what would be done
    #[arg(long)]
    dry_run: bool,
    /// Also if it was heard lately, or most other regions are not reached
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Evicts a region.
pub(super) async fn evict(client: &Client, context: &Context, options: &EvictOptions) -> Result<()> {
    let region = options.region;
    let ask = async |dry_run: bool| -> Result<Value> {
        let body = json!({ "force": options.force, "dry_run": dry_run });
        client.send(Request::post(format!("/v1/regions/{region}/evict")).json(&body)).await?.json().await
    };
    if !options.dry_run {
        let what = format!(
            "go on without region {region}, so that what only that has accepted is in its old log alone, and it comes back as one that is new"
        );
        confirm(options.yes, &what)?;
    }
    let answer = ask(options.dry_run).await?;
    show(context, &answer)?;
    let is_done = answer.get("done").and_then(Value::as_bool) == Some(true);
    if let Some(refused) = answer.get("refused").and_then(Value::as_str) {
        return Err(Error::Refused(format!("it would be refused: {refused}")));
    }
    let epoch = number(&answer, "epoch") + 1;
    if is_done {
        note(format!(
            "region {region} is evicted; when it is to come back: `tradewind region seed --epoch {epoch}` with an empty data folder"
        ));
    } else {
        note(format!(
            "nothing was done: this is what would be, and region {region} would come back under epoch {epoch} or a later one"
        ));
    }
    Ok(())
}

/// What waits for the region, and what becomes of that.
fn show(context: &Context, answer: &Value) -> Result<()> {
    let region = number(answer, "region");
    let columns = [
        ("what waits for it", "what", Align::Left),
        ("of", "of", Align::Left),
        ("then", "then", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "nothing waits for it");
    let mut row = |what: &str, of: String, then: &str| {
        let object = json!({ "what": what, "of": of, "then": then });
        listing.push([what.to_owned(), of, then.to_owned()].into_iter().map(Cell::from).collect(), object);
    };
    let names = |member: &str| -> Vec<String> {
        objects(answer, member).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for stream in names("merged") {
        row("deletions and late changes", stream, "are forgotten when the others have all seen them");
    }
    for stream in names("reserves") {
        row("rights that it has", stream, "stay its own, until it is back");
    }
    for stream in names("homes") {
        row("the home", stream, "must be taken over first: `tradewind region failover`");
    }
    row("its link", format!("region {region}"), "is refused until it is seeded; nothing is kept for it");
    listing.print(&mut context.output())?;
    note(format!(
        "region {region} was heard {} ago; it is evicted after {}",
        duration_ms(number(answer, "silent_ms")),
        duration_ms(number(answer, "silent_ms_min"))
    ));
    let has = objects(answer, "has");
    let last = has.iter().map(|one| number(one, "until_ms")).max().unwrap_or(0);
    for one in has.iter().filter(|one| number(one, "until_ms") < last) {
        note(format!(
            "region {} has {} less of it than another one, and fetches that from there",
            number(one, "region"),
            duration_ms(last - number(one, "until_ms"))
        ));
    }
    Ok(())
}

/// What is to be told of evicted regions, of the view: what is wrong, and what is only to be known.
pub(super) fn told(view: &Value) -> (Vec<String>, Vec<String>) {
    let (mut troubles, mut notes) = (Vec::new(), Vec::new());
    for one in objects(view, "evicted") {
        let (region, by, epoch) = (number(&one, "region"), number(&one, "by"), number(&one, "epoch"));
        let seed = format!("`tradewind region seed --epoch {}`", epoch + 1);
        if region == number(view, "region") {
            troubles.push(format!(
                "the others have evicted this region in epoch {epoch}, and take nothing of it: stop it, keep its data folder for what it has accepted that they have not, and begin a new log for it with {seed}"
            ));
        } else {
            let waits: Vec<String> = objects(&one, "lacking").iter().map(ToString::to_string).collect();
            let waits = match waits.as_slice() {
                [] => String::new(),
                waits => format!("; region {} has not heard of that yet", waits.join(", ")),
            };
            notes.push(format!(
                "region {region} was evicted by region {by} in epoch {epoch}, and comes back with {seed}{waits}"
            ));
        }
    }
    (troubles, notes)
}
