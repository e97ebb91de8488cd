//! `bench http`: events over HTTP into the embedded log, next to a bare hyper server that answers the same bodies.
//!
//! Servers and clients share the machine: a figure is what is left for a server beside its clients, and so is the bound.

pub(crate) mod client;
mod echo;
mod node;
mod script;

use crate::report::{median, ms, quantile};
use crate::scratch::Scratch;
use clap::Subcommand;
use client::{Load, Measured};
use std::time::Duration;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    /// How long one measurement takes, in seconds.
    #[arg(long, global = true, default_value_t = 5)]
    seconds: u64,
    /// How many subjects there are: each event is about the next one.
    #[arg(long, global = true, default_value_t = 1_000)]
    subjects: u64,
    /// How many events each subject has before anything is measured.
    #[arg(long, global = true, default_value_t = 0)]
    history: u64,
    /// How many threads the clients have.
    #[arg(long, global = true, default_value_t = 1)]
    client_threads: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One event a request, acknowledged when it is on stable storage, next to the echo of the same bodies.
    Single {
        /// How many connections there are, each with one request under way.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Measure only `echo` or only `append`: for a profiler.
        #[arg(long)]
        only: Option<String>,
    },
    /// Batches of events in lines, acknowledged when they are on stable storage, next to the echo of the same bodies.
    Lines {
        /// How many connections there are, each with one request under way.
        #[arg(long, default_value_t = 16)]
        connections: usize,
        /// How many events a request has.
        #[arg(long, default_value_t = 1_000)]
        events: u32,
        /// Measure only `echo` or only `append`: for a profiler.
        #[arg(long)]
        only: Option<String>,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let folder = args.scratch.open()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (connections, events, only) = match &args.what {
        What::Single { connections, only } => (*connections, 1, only.clone()),
        What::Lines { connections, events, only } => (*connections, *events, only.clone()),
    };
    let echo = runtime.block_on(echo::start())?;
    let node = runtime.block_on(node::Node::start(folder.path()))?;
    let duration = Duration::from_secs(args.seconds);
    let lines = matches!(args.what, What::Lines { .. });
    let (subjects, threads) = (args.subjects.max(1), args.client_threads);
    runtime.block_on(node.fill(subjects, args.history))?;
    let load = |address| Load { address, connections, threads, events, subjects, lines, duration };
    let what = if lines { format!("{events} events in lines") } else { "one event".into() };
    println!(
        "{what} a request of {} bytes, {subjects} subjects with {} events each before, {connections} connections on {threads} client threads, {} s a measurement, medians of {} rounds; \
         appends are acknowledged when they are synced to the disk, the echo stores nothing",
        load(echo).request_bytes(),
        args.history,
        args.seconds,
        args.rounds
    );
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let (mut echoed, mut appended) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        // A different seed for each round, so that no event is a duplicate.
        if wanted("echo") {
            echoed.push(load(echo).run(round as u64)?);
        }
        if wanted("append") {
            appended.push(load(node.address()).run(round as u64)?);
        }
    }
    println!(
        "{:<10}{:>14}{:>14}{:>12}{:>12}{:>12}",
        "", "requests/s", "events/s", "p50 ms", "p99 ms", "cpu µs"
    );
    let bound = line("echo", &echoed, events);
    let figure = line("append", &appended, events);
    if bound > 0.0 && figure > 0.0 {
        println!("append / echo: {:.0} %", 100.0 * figure / bound);
    }
    runtime.block_on(node.stop());
    Ok(())
}

/// Prints the medians of one server, and returns its requests per second.
fn line(name: &str, rounds: &[Measured], events: u32) -> f64 {
    if rounds.is_empty() {
        return 0.0;
    }
    let of = |value: &dyn Fn(&Measured) -> f64| median(&rounds.iter().map(value).collect::<Vec<_>>());
    let rate = of(&|round| round.requests_per_s);
    let latency = |share: f64| {
        Duration::from_secs_f64(of(&|round| f64::from(quantile(&round.latency_us, share)) / 1e6))
    };
    println!(
        "{name:<10}{rate:>14.0}{:>14.0}{:>12}{:>12}{:>12.1}",
        rate * f64::from(events),
        ms(latency(0.5)),
        ms(latency(0.99)),
        of(&|round| round.cpu_us_per_request),
    );
    rate
}
