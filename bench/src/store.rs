//! `bench store`: the event store next to the bare log below it.

mod append;
mod read;
mod world;

use crate::scratch::Scratch;
use clap::Subcommand;
use world::Engine;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    /// How many events each measurement appends.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    events: u64,
    /// The log below the store.
    #[arg(long, global = true, value_enum, default_value_t = Engine::Memory)]
    log: Engine,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Events per second and processor time per event: few subjects, all new ones, and many by Zipf's law; single
    /// events and batches.
    Append {
        /// Only workloads whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Latency of versions and histories with many subjects, the time to open, and memory.
    Read {
        /// How many subjects there are.
        #[arg(long, default_value_t = 1_000_000)]
        subjects: u64,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let folder = args.scratch.open()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    match args.what {
        What::Append { only } => {
            runtime.block_on(append::run(folder.path(), args.log, args.rounds, args.events, &only))
        }
        What::Read { subjects } => {
            runtime.block_on(read::run(folder.path(), args.log, args.events, subjects))
        }
    }
}
