//! `tradewind completions`: what a shell needs to complete command lines.

use crate::cli;
use crate::error::Result;
use clap_complete::Shell;
use std::io::Write as _;

const EXAMPLES: &str = "\
Examples:
  tradewind completions bash > ~/.local/share/bash-completion/completions/tradewind
  tradewind completions zsh > ~/.zfunc/_tradewind
  tradewind completions fish > ~/.config/fish/completions/tradewind.fish";

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The shell
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut cli::command(), "tradewind", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
