//! `bench log`: the embedded log next to the raw disk.

mod raw;

use anyhow::Context;
use clap::Subcommand;
use std::path::PathBuf;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder on the disk to measure; a temporary folder is made in it and removed. Default: the current folder.
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Synced writes of 4 KiB, 64 KiB and 1 MiB by each method that the kernel offers.
    Raw,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let parent = args.folder.map_or_else(std::env::current_dir, Ok)?;
    let folder = tempfile::Builder::new()
        .prefix("tradewind-bench-")
        .tempdir_in(&parent)
        .with_context(|| format!("cannot make a folder in `{}`", parent.display()))?;
    crate::report::conditions(folder.path());
    match args.what {
        What::Raw => raw::run(folder.path(), args.rounds),
    }
}
