//! Where a benchmark works.

use crate::report::conditions;
use anyhow::Context;
use std::path::PathBuf;
use tempfile::TempDir;

/// Where to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Scratch {
    /// The folder on the disk to measure; a temporary folder is made in it and removed. Default: the current folder.
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
}

impl Scratch {
    /// Makes the temporary folder, and prints the conditions of a run in it.
    pub(crate) fn open(&self) -> anyhow::Result<TempDir> {
        let parent = self.folder.clone().map_or_else(std::env::current_dir, Ok)?;
        let folder = tempfile::Builder::new()
            .prefix("tradewind-bench-")
            .tempdir_in(&parent)
            .with_context(|| format!("cannot make a folder in `{}`", parent.display()))?;
        conditions(folder.path());
        Ok(folder)
    }
}
