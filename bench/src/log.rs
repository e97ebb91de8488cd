//! `bench log`: the embedded log next to the raw disk.

mod append;
mod bound;
mod raw;
mod replay;
pub(crate) mod setup;

use crate::scratch::Scratch;
use clap::Subcommand;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Appends of 256-byte events next to a bare loop that writes and syncs the same bytes.
    Append(append::Args),
    /// Sequential replay from the page cache and from the disk.
    Replay(replay::Args),
    /// Synced writes of 4 KiB, 64 KiB and 1 MiB by each method that the kernel offers.
    Raw,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let folder = args.scratch.open()?;
    let rounds = args.rounds;
    match args.what {
        What::Append(args) => append::run(folder.path(), &args, rounds),
        What::Replay(args) => replay::run(folder.path(), &args, rounds),
        What::Raw => raw::run(folder.path(), rounds),
    }
}
