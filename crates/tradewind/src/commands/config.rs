//! `tradewind config`: whether a configuration is accepted, what holds on running nodes and how it is changed, and what there is
//! to configure.

mod live;

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::local;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  tradewind config check tradewind.toml
  tradewind config show
  tradewind config show --data /srv/tradewind > tradewind.toml
  tradewind config reference

Of running nodes:
  tradewind config get
  tradewind config get http.requests_max
  tradewind config set http.requests_max 8192
  tradewind config set http.hosts '[\"tradewind.example\"]'
  tradewind config history http.requests_max
  tradewind config rollback http.requests_max 1
  tradewind config unset http.requests_max
  tradewind config watch

What is set counts on every node, and before its file and its command line. It is checked as a file is,
and in effect at once; options that take effect only when a node starts are refused.";

/// Check files, and show and change the configuration of running nodes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check a file: unknown keys and values outside their bounds are errors
    Check {
        /// The file
        #[arg(default_value = "tradewind.toml")]
        file: PathBuf,
    },
    /// Show everything that holds, defaults included, as a file
    Show {
        #[command(flatten)]
        node: Box<local::NodeOptions>,
    },
    /// Print the reference of all options, in Markdown
    Reference,
    #[command(flatten)]
    Live(live::Action),
    /// Print changes of options as they are made
    Watch {
        /// Where to start: earliest, latest, a time, or how long ago, such as 10m
        #[arg(long, default_value = "latest")]
        from: String,
        /// End after this many
        #[arg(short = 'n', long)]
        limit: Option<u64>,
    },
}

/// Runs the command.
///
/// # Errors
/// [`Error::Usage`] for what is not accepted, and those of the client.
pub(crate) fn run(options: &Options, context: &Context) -> Result<()> {
    let invalid = |error: tw_node::InvalidConfig| Error::Usage(error.to_string());
    let mut out = context.output();
    match &options.action {
        Action::Check { file } => {
            local::read(file)?;
            out.done(&format!("`{}` is accepted", file.display()))
        }
        Action::Show { node } => {
            out.raw(node.config()?.to_toml().map_err(invalid)?.as_bytes())?;
            out.flush()
        }
        Action::Reference => {
            out.raw(tw_node::reference().map_err(invalid)?.as_bytes())?;
            out.flush()
        }
        Action::Watch { from, limit } => live::watch(from, *limit, context),
        Action::Live(action) => live::run(action, context),
    }
}
