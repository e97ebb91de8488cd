//! `tradewind region seed`: the log of a new region, which takes over what the others have before it accepts anything.

use crate::cli::Context;
use crate::commands::log::failed;
use crate::error::{Error, Result};
use crate::local::NodeOptions;
use std::path::PathBuf;
use tw_env::Env;
use tw_log::EmbeddedLog;

const EXAMPLES: &str = "\
Examples:
  tradewind region seed --config ap/tradewind.toml --data ap/data
  tradewind up --config ap/tradewind.toml --data ap/data
  tradewind region status

The other regions need the new one among their `peers`. It is in sync when `region status` exits with 0;
`tradewind region compare` says whether it holds the same as another one.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SeedOptions {
    /// The configuration file of the new region; without it, tradewind.toml of this folder
    #[arg(long, value_name = "FILE", env = "TRADEWIND_CONFIG")]
    config: Option<PathBuf>,
    /// The folder of all data, in which there is no log yet
    #[arg(long, value_name = "FOLDER", env = "TRADEWIND_DATA")]
    data: Option<PathBuf>,
    /// The epoch in which it begins, above every one that a region of this number had before
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    epoch: u32,
}

/// Makes an empty log whose region is told from one that has accepted something: by its epoch.
pub(super) fn run(options: &SeedOptions, context: &Context) -> Result<()> {
    let config = NodeOptions::of(options.config.clone(), options.data.clone()).config()?;
    let region = &config.region;
    if !region.is_region() || region.peers.is_empty() {
        return Err(Error::Usage(
            "the configuration names no region with peers: a new region has an `id` in [region], and the others in [[region.peers]]"
                .to_owned(),
        ));
    }
    let folder = tw_node::Folder::new(&config.node.data);
    let log = folder.log();
    if log.read_dir().is_ok_and(|mut files| files.next().is_some()) {
        return Err(Error::Refused(format!(
            "there is a log in `{}` already, and a new region begins with none: name another folder; `tradewind region restore` is for a log that was put back from a copy",
            log.display()
        )));
    }
    folder.create().map_err(|error| Error::Failed(tw_types::chain(&error)))?;
    let env = Env::real();
    EmbeddedLog::open(&log, config.embedded_log(), env.clone()).map_err(failed(&log))?.close();
    for _ in 1..options.epoch {
        EmbeddedLog::raise_epoch(&log, &config.embedded_log(), &env).map_err(failed(&log))?;
    }
    context.output().done(&format!(
        "region {} begins under epoch {} when it is started: it takes over what the others have, definitions and events, and accepts nothing for \
         their streams until it has all. `tradewind region status` says how far it is",
        region.id, options.epoch
    ))
}
