//! `bench region`: what a link between two regions carries, how late, how small, and what it costs who writes.
//!
//! Two regions as processes, with TLS over lines of a fixed delay, and a third node that is no region. All of them, and the clients,
//! share the machine.

mod lag;
mod load;
mod world;

use crate::cluster::nodes;
use crate::http::client::Load;
use crate::report::{median, ms, quantile};
use crate::scratch::Scratch;
use anyhow::ensure;
use load::Backlog;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use world::World;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many events are accepted while the link is cut, and have to be caught up with.
    #[arg(long, default_value_t = 300_000)]
    events: u64,
    /// How long each measurement of a load takes, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How large the loads are at which lag is measured, in per cent of what ingest and link bear.
    #[arg(long, value_delimiter = ',', default_value = "50,10,1")]
    percent: Vec<u32>,
    /// How long each way between the regions takes, in milliseconds.
    #[arg(long, default_value_t = 40)]
    delay_ms: u64,
    /// The program of the nodes. Default: `tradewind` beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// How many connections bring events in.
const CONNECTIONS: usize = 8;
/// How many connections append single events.
const SINGLES: usize = 4;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.rounds > 0 && args.seconds > 0, "--rounds and --seconds have to be at least 1");
    let folder = args.scratch.open()?;
    let program = nodes::program(args.program.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!(
        "two regions and a node that is none, three processes of `{}`; TLS 1.3, lines of {} ms each way; the default options; a stream of 4 \
         partitions, no projection; events as `tradewind demo --regions` writes them, acknowledged when they are synced to the disk",
        program.display(),
        args.delay_ms
    );
    let world = World::start(&program, folder.path(), Duration::from_millis(args.delay_ms))?;
    runtime.block_on(world.define())?;
    let carried = runtime.block_on(backlogs(args, &world))?;
    let most = carried.ingest_per_s.min(carried.link_per_s);
    for (number, percent) in args.percent.iter().enumerate() {
        println!("\nlag at {percent} % of {most:.0} events/s");
        let backlog = Backlog::new(
            1_000 + number as u64,
            (most * args.seconds as f64) as u64 * u64::from(*percent) / 100,
        );
        runtime.block_on(late(args, &world, backlog))?;
    }
    local(args, &world, &runtime)
}

/// What a link carries at best, in events a second.
struct Carried {
    ingest_per_s: f64,
    link_per_s: f64,
}

/// Accepts events while the link is cut, heals it, and waits until they are all on the other side.
async fn backlogs(args: &Args, world: &World) -> anyhow::Result<Carried> {
    let (mut ingest, mut link, mut bytes, mut since_healed) = (vec![], vec![], vec![], vec![]);
    let (mut by_text, mut by_content) = (vec![], vec![]);
    for round in 0..args.rounds as u64 {
        world.cut();
        let backlog = Backlog::new(round, args.events);
        let before = world.events_there().await?;
        let began = Instant::now();
        load::send(world.here(), backlog.bodies, CONNECTIONS).await?;
        ingest.push(args.events as f64 / began.elapsed().as_secs_f64());
        let wire_before = world.received_bytes();
        world.heal();
        let arrived = world.arrival(before, before + args.events).await?;
        let wire = (world.received_bytes() - wire_before) as f64;
        link.push(arrived.events_per_s);
        bytes.push(wire / arrived.all.as_secs_f64() / 1e6);
        since_healed.push(arrived.all.as_secs_f64());
        by_text.push(backlog.text_bytes as f64 / wire);
        by_content.push(backlog.content_bytes as f64 / wire);
        println!(
            "round {round}: in {:.0} events/s; caught up {:.0} events/s, {:.2} s after it was healed",
            ingest.last().copied().unwrap_or_default(),
            arrived.events_per_s,
            arrived.all.as_secs_f64()
        );
    }
    let carried = Carried { ingest_per_s: median(&ingest), link_per_s: median(&link) };
    println!("\nmedians of {} rounds of {} events each", args.rounds, args.events);
    println!("local ingest over HTTP, the link cut     {:>12.0} events/s", carried.ingest_per_s);
    println!(
        "the link, from the first event to the last {:>10.0} events/s, {:.0} % of that (goal 50 %)",
        carried.link_per_s,
        100.0 * carried.link_per_s / carried.ingest_per_s
    );
    println!(
        "from healing to the last event           {:>12.2} s, {:.2} MB/s on the wire",
        median(&since_healed),
        median(&bytes)
    );
    println!(
        "bytes on the wire                        {:>12.1} × fewer than of JSON lines, {:.1} × fewer than of contents (goal 4 ×)",
        median(&by_text),
        median(&by_content)
    );
    Ok(carried)
}

/// How late events come beside a load.
async fn late(args: &Args, world: &World, backlog: Backlog) -> anyhow::Result<()> {
    let events = backlog.events;
    let (text, content) = (backlog.text_bytes as f64, backlog.content_bytes as f64);
    let wire_before = world.received_bytes();
    let before = world.events_there().await?;
    let duration = Duration::from_secs(args.seconds);
    let probing = lag::probe(world.here(), world.there(), duration);
    let loading = load::paced(world.here(), backlog.bodies, duration);
    let (lags, took) = tokio::try_join!(probing, loading)?;
    world.arrival(before, before + events + lags.len() as u64).await?;
    let wire = (world.received_bytes() - wire_before) as f64;
    println!(
        "{:.0} events/s for {:.1} s; {} probes, from their acceptance to a reader in the other region; one way takes {} ms",
        events as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        lags.len(),
        args.delay_ms
    );
    println!(
        "lag p50 {:.0} ms, p99 {:.0} ms (goal {} ms), longest {:.0} ms; {:.1} × fewer bytes than of JSON lines, {:.1} × than of contents",
        median(&lags),
        quantile(&lags, 0.99),
        args.delay_ms + 100,
        lags.iter().copied().fold(0.0, f64::max),
        text / wire,
        content / wire
    );
    Ok(())
}

/// One measurement of single appends.
struct Singles {
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// What single appends take in a node without links, with links, and with links that are cut, by turns.
fn local(args: &Args, world: &World, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let duration = Duration::from_secs(args.seconds);
    let mut measured: [Vec<Singles>; 3] = Default::default();
    for round in 0..args.rounds {
        for (condition, of_condition) in measured.iter_mut().enumerate() {
            if condition == 2 {
                world.cut();
            }
            let address = if condition == 0 { world.alone() } else { world.here() }.0;
            let load = Load {
                address,
                connections: SINGLES,
                threads: 1,
                events: 1,
                subjects: 1_000,
                lines: false,
                duration,
            };
            // Another number each time, so that no event is a duplicate.
            let done = load.run((round * 3 + condition) as u64)?;
            let ms: Vec<f64> = done.latency_us.iter().map(|us| f64::from(*us) / 1e3).collect();
            of_condition.push(Singles {
                per_s: done.requests_per_s,
                p50_ms: quantile(&ms, 0.5),
                p99_ms: quantile(&ms, 0.99),
            });
            world.heal();
            runtime.block_on(world.same())?;
        }
    }
    println!(
        "\nsingle appends on {SINGLES} connections for {} s, medians of {} rounds by turns\n{:<22}{:>12}{:>12}{:>12}",
        args.seconds, args.rounds, "", "appends/s", "p50 ms", "p99 ms"
    );
    let mut first = 0.0;
    for (name, rounds) in ["no links", "links up", "links cut"].into_iter().zip(&measured) {
        let of = |value: fn(&Singles) -> f64| median(&rounds.iter().map(value).collect::<Vec<_>>());
        let p99 = of(|one| one.p99_ms);
        if first == 0.0 {
            first = p99;
        }
        println!(
            "{name:<22}{:>12.0}{:>12}{:>12}   {:.2} × (goal 1.2 ×)",
            of(|one| one.per_s),
            milliseconds(of(|one| one.p50_ms)),
            milliseconds(p99),
            p99 / first
        );
    }
    Ok(())
}

fn milliseconds(value: f64) -> String {
    ms(Duration::from_secs_f64(value / 1e3))
}
