//! Tradewind on the command line: it starts nodes, and is the client of the interface that they serve.
//!
//! This crate parses arguments, asks, and prints. What a node is and does is elsewhere: commands other than `up`, `demo`,
//! `log` and `config` know of it only what its HTTP interface says.

mod cli;
mod client;
mod commands;
mod crew;
mod demo;
mod error;
mod local;
mod output;
mod shell;
mod statements;
mod suggest;
mod units;

use error::{Error, Exit};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        // `| head` has seen enough.
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            error.exit().into()
        }
    }
}

/// Says on standard error what went wrong, and what to do.
fn tell(error: &Error) {
    let style = output::stderr_style();
    let mut stderr = std::io::stderr().lock();
    // Nobody to tell is no reason to fail otherwise than we do already.
    let word = match error.exit() {
        Exit::Degraded => style.warn("degraded:"),
        _ => style.bad("error:"),
    };
    let _unheard = writeln!(stderr, "{word} {}", error.describe());
    if let Some(hint) = error.hint() {
        let _unheard = writeln!(stderr, "{} {hint}", style.strong("hint:"));
    }
}
