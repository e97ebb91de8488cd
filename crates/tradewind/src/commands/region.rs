//! `tradewind region`: the links with other regions, and the certificates for them.

mod ca;
mod drain;
mod evict;
pub(crate) mod hashes;
mod homes;
mod restore;
mod route;
mod routing;
mod seed;

use super::{number, objects, text};
use crate::cli::Context;
use crate::client::{Client, Request};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, bytes, count, duration_ms, note as note_line};
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  tradewind region ca init                                 an authority for the certificates of all regions
  tradewind region ca issue 1 eu --into eu/region          certificates for region 1
  tradewind region status                                  the links of this region, and how far each is behind
  tradewind region partitions --behind                     the partitions that are behind, and why
  tradewind region retry 2                                 try again what is parked of region 2
  tradewind region homes                                   where streams with a home are written
  tradewind region move orders --to 2                      give a stream to region 2, without a loss
  tradewind region failover 1 --dry-run                    what taking over from region 1 would put at risk
  tradewind region evict 3 --dry-run                       what going on without region 3 means
  tradewind region drain --to 2                            end this region without a loss
  tradewind region restore tradewind-data                  go on from an older copy of the log
  tradewind region seed --config ap/tradewind.toml         begin the log of a new region
  tradewind region hashes orders                           what this region holds, in short
  tradewind region compare http://eu:7070 http://us:7070   whether regions hold the same
  tradewind region route --lat 52.5 --lon 13.4 --user ada  the regions for a user in Berlin
  tradewind region routing                                 how users are spread over regions
  tradewind region routing shift 1 2 100 --dry-run         whether region 2 has room for more";

/// See the links with other regions, and make certificates for them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the links with other regions; exits with 6 when something keeps one from going on
    Status,
    /// List the partitions of other regions that are taken from
    Partitions {
        /// Only those that are behind, wait, or are parked
        #[arg(long)]
        behind: bool,
    },
    /// Try again every partition of a region of which nothing is taken
    Retry {
        /// The number of the region
        region: u16,
    },
    /// List where streams with a home are written
    Homes,
    /// Give streams of which this region is the home to another region; nothing is lost
    Move(homes::MoveOptions),
    /// Take over the streams of a region that is gone
    Failover(homes::FailoverOptions),
    /// Give back what was taken over from a region
    Failback(homes::FailbackOptions),
    /// List events that a new home did not know when it took over
    AtRisk,
    /// Have this region accept nothing more, and wait until the others have all of it, so that it can be ended
    Drain(drain::DrainOptions),
    /// Go on without a region that is gone: nothing waits for it any more, and it comes back as one that is new
    Evict(evict::EvictOptions),
    /// Have a log that was put back from an older copy go on under a new epoch, without a node
    Restore(restore::RestoreOptions),
    /// Begin the log of a new region, which takes over what the others have, without a node
    Seed(seed::SeedOptions),
    /// Have a region that is restored or new go on without regions that are gone for good
    GoOn(restore::GoOnOptions),
    /// Hash what this region holds, to be compared with others; it reads every event
    Hashes(hashes::Options),
    /// Compare what regions hold, by hashes; exits with 6 when they differ
    Compare(hashes::CompareOptions),
    /// Say which regions are for a user, the first choice first
    Route(route::Options),
    /// Show how users are spread over regions, or change it: shift, drain, weigh, rollback
    Routing(routing::Options),
    /// Make certificates for regions, without a node
    Ca(ca::Options),
}

/// Runs the command.
///
/// # Errors
/// [`Error::Degraded`], or those of the client and of the authority.
pub(crate) fn run(options: &Options, context: &Context) -> Result<()> {
    if let Command::Ca(options) = &options.command {
        return ca::run(options, context);
    }
    if let Command::Restore(options) = &options.command {
        return restore::restore(options, context);
    }
    if let Command::Seed(options) = &options.command {
        return seed::run(options, context);
    }
    let client = context.client()?;
    context.run(async {
        match &options.command {
            Command::Status => status(&client, context).await,
            Command::Partitions { behind } => partitions(&client, context, *behind).await,
            Command::Retry { region } => {
                let request = Request::post(format!("/v1/regions/{region}/retry"));
                let answer: Value = client.send(request).await?.json().await?;
                context.output().done(text(&answer, "message"))
            }
            Command::Homes => homes::homes(&client, context).await,
            Command::Move(options) => homes::give_away(&client, context, options).await,
            Command::Failover(options) => homes::failover(&client, context, options).await,
            Command::Failback(options) => homes::failback(&client, context, options).await,
            Command::AtRisk => homes::at_risk(&client, context).await,
            Command::Hashes(options) => hashes::run(options, &client, context).await,
            Command::Compare(options) => hashes::compare(options, context).await,
            Command::Route(options) => route::run(options, &client, context).await,
            Command::Routing(options) => routing::run(options, &client, context).await,
            Command::Drain(options) => drain::drain(&client, context, options).await,
            Command::Evict(options) => evict::evict(&client, context, options).await,
            Command::GoOn(options) => restore::go_on(&client, context, options).await,
            Command::Ca(_) | Command::Restore(_) | Command::Seed(_) => Ok(()),
        }
    })
}

async fn status(client: &Client, context: &Context) -> Result<()> {
    let view: Value = client.get("/v1/regions").await?;
    let columns = [
        ("region", "region", Align::Right),
        ("name", "name", Align::Left),
        ("link", "link", Align::Left),
        ("behind", "lag_events", Align::Right),
        ("for", "lag_ms", Align::Right),
        ("received", "received_bytes", Align::Right),
        ("sent", "sent_bytes", Align::Right),
        ("clock", "ahead_ms", Align::Right),
        ("via", "via", Align::Right),
        ("address", "address", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "this region has no peers");
    let mut out = context.output();
    let (mut troubles, mut notes) = evict::told(&view);
    troubles.extend(restore::waiting(&view));
    for peer in objects(&view, "peers") {
        let (region, link) = (number(&peer, "region"), text(&peer, "link"));
        let is_ours = peer.get("address").is_some();
        if is_ours && !matches!(link, "in-sync" | "catching-up" | "evicted") {
            let why =
                peer.get("error").and_then(Value::as_str).unwrap_or("`tradewind region partitions` says why");
            troubles.push(format!("region {region} is {link}: {why}"));
        }
        notes.extend(objects(&peer, "notes").iter().filter_map(Value::as_str).map(str::to_owned));
        let ahead = peer.get("ahead_ms").and_then(Value::as_i64);
        let row = [
            region.to_string(),
            text(&peer, "name").to_owned(),
            if is_ours { out.style.state(link) } else { "it pulls only".to_owned() },
            count(number(&peer, "lag_events")),
            duration_ms(number(&peer, "lag_ms")),
            bytes(number(&peer, "received_bytes")),
            bytes(number(&peer, "sent_bytes")),
            ahead.map_or_else(String::new, |ms| format!("{ms:+} ms")),
            peer.get("via").map_or_else(String::new, ToString::to_string),
            text(&peer, "address").to_owned(),
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), peer);
    }
    listing.print(&mut out)?;
    for note in notes {
        note_line(note);
    }
    match troubles.first() {
        None => Ok(()),
        Some(first) => Err(Error::Degraded(match troubles.len() {
            1 => first.clone(),
            more => format!("{first} (and {} more)", more - 1),
        })),
    }
}

async fn partitions(client: &Client, context: &Context, behind: bool) -> Result<()> {
    let view: Value = client.get("/v1/regions").await?;
    let columns = [
        ("region", "region", Align::Right),
        ("stream", "stream", Align::Left),
        ("partition", "partition", Align::Right),
        ("received", "received", Align::Right),
        ("behind", "lag_events", Align::Right),
        ("for", "lag_ms", Align::Right),
        ("why", "why", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "there are none");
    for peer in objects(&view, "peers") {
        let region = number(&peer, "region");
        for mut partition in objects(&peer, "partitions") {
            let parked = partition.get("parked").and_then(Value::as_str).map(|why| format!("parked: {why}"));
            let waits =
                partition.get("waits_for").and_then(Value::as_str).map(|why| format!("waits for {why}"));
            let why = parked.or(waits).unwrap_or_default();
            if behind && why.is_empty() && number(&partition, "lag_events") == 0 {
                continue;
            }
            let row = [
                region.to_string(),
                text(&partition, "stream").to_owned(),
                number(&partition, "partition").to_string(),
                count(number(&partition, "received")),
                count(number(&partition, "lag_events")),
                duration_ms(number(&partition, "lag_ms")),
                why,
            ];
            if let Some(members) = partition.as_object_mut() {
                members.insert("region".to_owned(), region.into());
            }
            listing.push(row.into_iter().map(Cell::from).collect(), partition);
        }
    }
    listing.print(&mut context.output())
}
