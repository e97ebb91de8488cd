//! `tradewind demo --regions`: regions that are all written to, in one terminal, and links between them that can be cut.
//!
//! ```text
//!  writer ──▶ region 1 ◀──line──▶ region 2 ◀── writer        each region is a process of this program ([`home`], [`nodes`]),
//!                 ▲                   ▲                       each line has a delay and can be cut ([`mesh`])
//!                 └──line─▶ region 3 ◀┘
//! ```
//!
//! [`writer`] makes things happen in each region, [`watch`] asks what each one has, [`check`] compares them by hashes, [`script`]
//! cuts and heals where nobody sits at the keys, and [`screen`] or [`lines`] shows it. Regions are told nothing of the demo: they
//! are configured as docs/getting-started-regions.md says.

mod check;
mod home;
mod line;
mod lines;
mod mesh;
mod nodes;
mod screen;
mod script;
mod watch;
mod world;
mod writer;

use super::Options;
use crate::crew::Crew;
use crate::error::{Error, Result};
use crate::local;
use crate::output::note;
use home::Home;
use mesh::Mesh;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{JoinSet, LocalSet};
use world::World;

/// How many events happen in a second in each region, unless it is said.
const RATE: u64 = 1_000;
/// Where the first region serves, unless it is said.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7_071);
/// How long the regions may take to end in order.
const END_MAX: Duration = Duration::from_secs(30);

/// Runs the demo.
///
/// # Errors
/// Why a region does not start, or what stopped the demo; [`Error::Degraded`] when regions do not become the same.
pub(super) fn run(options: &Options, count: u16) -> Result<()> {
    let runtime = local::runtime()?;
    let outcome = runtime.block_on(LocalSet::new().run_until(whole(options, count)));
    runtime.shutdown_timeout(local::LINGER);
    outcome
}

/// Starts everything, shows it, and ends it.
async fn whole(options: &Options, count: u16) -> Result<()> {
    let data = options.node.data.clone().unwrap_or_else(|| PathBuf::from("tradewind-data"));
    let home = Home::open(&data, count)?;
    let mut crew = Crew::new(home.folder())?;
    let outcome = tokio::select! {
        outcome = live(&mut crew, &home, options, count) => outcome,
        asked = local::asked_to_end() => asked,
    };
    tokio::select! {
        () = crew.stop(|_| true, END_MAX) => {}
        asked = local::asked_to_end() => {
            crew.kill();
            asked?;
            return Err(Error::Failed(
                "ended before everything was in order; nothing that was acknowledged is lost".to_owned(),
            ));
        }
    }
    if outcome.is_ok() {
        note(format!("the data stays; `tradewind demo --regions {count}` goes on from here"));
    }
    outcome
}

/// Starts the regions, then writes and shows until it is time to end.
async fn live(crew: &mut Crew, home: &Home, options: &Options, count: u16) -> Result<()> {
    let on_screen = std::io::stdout().is_terminal();
    let delay = Duration::from_millis(options.delay_ms);
    let mesh = Mesh::open(count, delay).await?;
    home.prepare(&mesh, delay)?;
    let urls = nodes::start(crew, &options.node, mesh.numbers()).await?;
    let world = World::shared(urls, mesh, on_screen);
    let mut writers = Vec::new();
    for number in 1..=count {
        let url = world.borrow().url(number);
        writers.push(writer::Writer::open(number, &url, options.seed).await?);
    }
    world.borrow_mut().tell(format!("{count} regions, {} ms apart one way", options.delay_ms))?;
    let rate = options.rate.unwrap_or(RATE);
    let mut tasks = JoinSet::new();
    for writer in writers {
        tasks.spawn_local(writer.write(rate, world.clone()));
    }
    for number in 1..=count {
        tasks.spawn_local(watch::watch(number, world.clone()));
    }
    let outcome = tokio::select! {
        ended = tasks.join_next() => match ended {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(Error::Failed(error.to_string())),
            None => Ok(()),
        },
        ended = nodes::watch_over(crew) => ended,
        shown = show(on_screen, Rc::clone(&world)) => shown,
        over = script::run(options.seconds, Rc::clone(&world)) => over,
    };
    if on_screen && options.seconds.is_some() && outcome.is_ok() {
        // The screen is the person's again, and what was on it is gone.
        note(world.borrow().check.words());
    }
    outcome
}

async fn show(on_screen: bool, world: world::Shared) -> Result<()> {
    if on_screen { screen::show(&world).await } else { lines::show(&world).await }
}
