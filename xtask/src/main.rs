//! The gate and the chores of this workspace: `cargo xtask --help`.
//!
//! `verify` never edits, `fix` does. Each command is a module; what they share is [`workspace`] (where things are),
//! [`process`] (starting programs and leaving none behind) and [`terminal`] (what a person sees).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod build_times;
mod codegen;
mod console;
mod deploy;
mod fix;
mod fuzz;
mod house;
mod layers;
mod process;
mod product;
mod scratch;
mod services;
mod smoke;
mod terminal;
mod tools;
mod verify;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Checks, repairs and measures this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The one gate: everything that must hold before a change lands. Edits nothing
    Verify(verify::Options),
    /// Repairs what can be repaired: formatting, lints with a fix, generated references
    Fix,
    /// Proves the arrows between crates that `layers.toml` draws
    Layers,
    /// Checks the house rules that neither the compiler nor clippy knows
    House,
    /// Checks what is below `deploy/` with the programs that read it
    Deploy,
    /// Tests the web console in a browser against the built binary
    Console,
    /// Writes the references that the binary prints about itself
    Codegen(codegen::Options),
    /// Makes the real servers that tests start available; prints the variables that point to them
    Services,
    /// Runs a fuzz target
    Fuzz(fuzz::Options),
    /// Measures cold and warm builds in a scratch folder and prints the table of CONTRIBUTING.md
    BuildTimes(build_times::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = process::take_charge().and_then(|()| match cli.command {
        Command::Verify(options) => verify::run(&options),
        Command::Fix => fix::run(),
        Command::Layers => layers::run().map(|note| println!("{note}")),
        Command::House => house::run().map(|note| println!("{note}")),
        Command::Deploy => deploy::run().map(|note| println!("{note}")),
        Command::Console => console::run().and_then(console::Outcome::say).map(|note| println!("{note}")),
        Command::Codegen(options) => codegen::run(&options),
        Command::Services => services::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::BuildTimes(options) => build_times::run(&options),
    });
    process::stop_everything();
    match outcome {
        _ if process::interrupted() => ExitCode::from(130),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error:#}", terminal::bad("error:"));
            ExitCode::FAILURE
        }
    }
}
