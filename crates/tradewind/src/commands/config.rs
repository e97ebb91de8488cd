//! `tradewind config`: whether a configuration is accepted, what holds, and what there is to configure.

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::local;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  tradewind config check tradewind.toml
  tradewind config show
  tradewind config show --data /srv/tradewind > tradewind.toml
  tradewind config reference";

/// Check and show the configuration of a node
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
}

/// Runs the command.
///
/// # Errors
/// [`Error::Usage`] for what is not accepted.
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
    }
}
