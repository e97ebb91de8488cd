//! `tradewind demo`: the main job in one command. A node, a shop in which things happen, three live views, and numbers.
//!
//! With `--regions` it is another show: [`regions`].
//!
//! The shop ([`shop`]) says what happens, a [`Writer`] makes it happen (as events, or as SQL in a PostgreSQL that is
//! captured), [`views`] asks the node what its views say, and [`screen`] or [`lines`] shows it. All of it talks to the node
//! over HTTP, as anybody would.

mod clock;
mod events;
mod lines;
mod measure;
mod pace;
mod postgres;
mod regions;
mod screen;
mod shop;
mod views;

use crate::cli::Context;
use crate::client::Client;
use crate::error::Result;
use crate::local;
use crate::output::note;
use measure::{Measured, Shared};
use pace::Pace;
use shop::{FACTS_PER_TICK, Fact, Shop};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};
use tw_types::ClientToken;

const EXAMPLES: &str = "\
Examples:
  tradewind demo
  tradewind demo --rate 20000
  tradewind demo --seconds 10
  tradewind demo --postgres postgres://me:secret@localhost/shop
  tradewind demo --regions 3
  tradewind demo --regions 3 --seconds 30

The demo keeps its data in ./tradewind-data, and goes on where it was when it is started again. With
--postgres it writes to the tables customers, orders and clicks of that database, which it makes, and
captures them; the server needs wal_level=logical and the user the right to replicate.

With --regions it starts so many nodes, each a region of its own, and writes to all of them. On the
screen, the keys 1 to 9 cut a link or heal it, `i` isolates region 1, `h` heals all, `c` lets the
writers pause until the hashes of all regions are equal. With --seconds a link is cut after a third
of the time and healed after two thirds; then the hashes are compared, and the exit code is 0 only
if they are equal. --listen is where the first region serves, by default 127.0.0.1:7071; the others
take the next ports.";

/// How often facts are written.
const EVERY: Duration = Duration::from_millis(50);
/// How many events happen in a second, unless it is said.
const RATE: u64 = 5_000;
/// The seed of the shop: everybody's demo is the same.
const SEED: u64 = 42;

/// See it work: a node, a shop, three live views; or several regions that are written to
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How many events happen in a second, with --regions in each region [default: 5000, with --regions 1000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    rate: Option<u64>,
    /// The seed of the shop; keep it when you start the demo again
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// End by itself after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Write to this PostgreSQL with SQL, and capture it
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Several regions that are all written to, and links between them that can be cut
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(2..=5))]
    #[arg(conflicts_with_all = ["postgres", "config", "node", "advertise"])]
    regions: Option<u16>,
    /// How long each way between two regions takes, in milliseconds
    #[arg(long, value_name = "MS", requires = "regions", default_value_t = 40)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=2_000))]
    delay_ms: u64,
    #[command(flatten)]
    node: local::NodeOptions,
}

/// Runs the command.
///
/// # Errors
/// Why the node does not start, or what stopped the demo.
pub(crate) fn run(options: &Options, _: &Context) -> Result<()> {
    if let Some(count) = options.regions {
        return regions::run(options, count);
    }
    let config = options.node.config()?;
    let on_screen = std::io::stdout().is_terminal();
    // On a screen of its own, what the node says would be drawn over.
    options.node.log_to_stderr(if on_screen { "off" } else { "warn" })?;
    let runtime = local::runtime()?;
    let outcome = runtime.block_on(async {
        let node = local::start(config).await?;
        let url = format!("http://{}", node.address());
        let shown = tokio::select! {
            shown = show(options, &url, on_screen) => shown,
            asked = local::asked_to_end() => asked,
        };
        let ended = local::end(node).await;
        shown?;
        farewell(options);
        ended
    });
    runtime.shutdown_timeout(local::LINGER);
    outcome
}

/// Says what to try next, once the screen is the person's again.
fn farewell(options: &Options) {
    let again = if options.postgres.is_some() { "tradewind demo --postgres …" } else { "tradewind demo" };
    note(format!("the data stays; `{again}` goes on from here, and `tradewind up` serves it"));
}

/// Sets everything up, then writes and shows until it is time to end.
async fn show(options: &Options, url: &str, on_screen: bool) -> Result<()> {
    let shop = Shop::new(options.seed);
    let mut writer = Writer::open(options, url).await?;
    let client = Client::new(url)?;
    writer.define(&client).await?;
    let next = writer.next_tick().await?;
    let measured = Measured::shared();
    if next > 0 {
        note(format!("going on where it was: order {next} is next"));
    }
    let writing = write(&mut writer, shop, next, options.rate.unwrap_or(RATE), measured.clone());
    let watching = views::watch(&client, measured.clone());
    let beside = Client::new(url)?;
    let awaiting = views::await_rows(&beside, measured.clone());
    let showing = async {
        if on_screen { screen::show(url, &measured).await } else { lines::show(url, &measured).await }
    };
    let over = async {
        match options.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        ended = writing => ended,
        ended = watching => ended,
        ended = awaiting => ended,
        ended = showing => ended,
        () = over => Ok(()),
    };
    if options.seconds.is_some() && outcome.is_ok() {
        lines::summary(&measured.borrow())?;
    }
    outcome
}

/// Whoever makes things happen.
enum Writer {
    Events(Box<events::Writer>),
    Postgres(Box<postgres::Writer>),
}

impl Writer {
    async fn open(options: &Options, url: &str) -> Result<Self> {
        Ok(match &options.postgres {
            Some(address) => Self::Postgres(Box::new(postgres::Writer::open(address).await?)),
            None => Self::Events(Box::new(events::Writer::new(url)?)),
        })
    }

    /// Makes what is not there yet: tables, streams, source, views.
    async fn define(&mut self, client: &Client) -> Result<()> {
        match self {
            Self::Events(writer) => writer.define(client).await,
            Self::Postgres(writer) => writer.define(client).await,
        }
    }

    /// The tick after the last one of which everything has happened.
    async fn next_tick(&mut self) -> Result<u64> {
        match self {
            Self::Events(writer) => writer.next_tick().await,
            Self::Postgres(writer) => writer.next_tick().await,
        }
    }

    /// Has all of it happen; durable when this returns. The token is that of the events, if this knows it.
    async fn write(&mut self, facts: &[Fact], next_tick: u64) -> Result<Option<ClientToken>> {
        match self {
            Self::Events(writer) => writer.write(facts, next_tick).await.map(Some),
            Self::Postgres(writer) => writer.write(facts).await.map(|()| None),
        }
    }
}

/// Has the shop live at its rate.
async fn write(writer: &mut Writer, shop: Shop, first: u64, rate: u64, measured: Shared) -> Result<()> {
    let ticks_per_second = rate as f64 / FACTS_PER_TICK;
    let mut beats = tokio::time::interval(EVERY);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut pace = Pace::new(ticks_per_second, first);
    let mut next = first;
    loop {
        beats.tick().await;
        let Some(ticks) = pace.due(next) else { continue };
        let until = ticks.end;
        let facts: Vec<Fact> = ticks.flat_map(|tick| shop.tick(tick)).collect();
        let sent = Instant::now();
        let token = writer.write(&facts, until).await?;
        let mut measured = measured.borrow_mut();
        if token.is_none() && measured.awaited.is_none() {
            // Every tick places one order.
            measured.awaited = Some((until, Instant::now()));
        }
        measured.wrote(facts.len() as u64, sent.elapsed(), token);
        next = until;
    }
}
