//! Benchmarks. Each subcommand measures a part of Tradewind next to a bound or a peer *in the same run*, and prints
//! payload, durability and conditions with every figure. Build with `--release`; figures of a debug build mean nothing.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod capture;
mod cluster;
mod http;
mod log;
mod placement;
mod process;
mod project;
mod region;
mod report;
mod scale;
mod scratch;
mod state;
mod store;

use clap::{Parser, Subcommand};

/// Side-by-side benchmarks of Tradewind.
#[derive(Debug, Parser)]
#[command(name = "bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture from PostgreSQL into the log, next to `pg_recvlogical` on the same slot.
    Capture(capture::Args),
    /// Partitions that move among the nodes of a cluster: owners that are killed, nodes that are drained.
    Cluster(cluster::Args),
    /// Events over HTTP: single ones and lines.
    Http(http::Args),
    /// The embedded log: appends, replay, and the raw disk below it.
    Log(log::Args),
    /// Partitions of a large cluster, when a node leaves it and joins it again.
    Placement(placement::Args),
    /// The engine of the state: commits, ingests, reads.
    State(state::Args),
    /// The partition workers next to a bare loop over the same events.
    Process(process::Args),
    /// Projections, queries over histories, reads by key, and statements that are asked again.
    Project(project::Args),
    /// Links between regions: what they carry, how late, and what they cost.
    Region(region::Args),
    /// What more nodes bring to work that waits, and what a shared log costs work that computes.
    Scale(scale::Args),
    /// The event store: appends, reads, memory.
    Store(store::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Capture(args) => capture::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Http(args) => http::run(args),
        Command::Log(args) => log::run(args),
        Command::Placement(args) => placement::run(&args),
        Command::State(args) => state::run(args),
        Command::Process(args) => process::run(args),
        Command::Project(args) => project::run(&args),
        Command::Region(args) => region::run(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Store(args) => store::run(args),
    }
}
