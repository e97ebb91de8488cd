//! The command line: one table of commands. What a command takes is in its module.

use crate::client::Client;
use crate::commands;
use crate::demo;
use crate::error::{Error, Result};
use crate::output::{Format, Output, note};
use clap::{CommandFactory as _, Parser, Subcommand};
use std::future::Future;
use tw_env::Random as _;
use tw_env::real::OsRandom;
use tw_trace::{Context as Trace, SpanId, TraceId};

/// Where a node is, if nobody says otherwise.
const URL: &str = "http://127.0.0.1:7070";

const AFTER: &str = "\
First steps:
  tradewind demo                         see it work: a node, a shop, three live views
  tradewind up                           start a node that keeps its data in ./tradewind-data
  tradewind sql                          ask, and define streams, sources and projections
  tradewind tail shop.orders             watch events arrive

Exit codes:
  0 done   1 error   2 wrong usage   3 not found   4 refused   5 timeout   6 degraded";

/// One ordered, durable, replayable log: changes and events in, live SQL views out.
#[derive(Debug, Parser)]
#[command(name = "tradewind", version, max_term_width = 100, after_help = AFTER, subcommand_required = true)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, clap::Args)]
struct Global {
    /// The node to talk to
    #[arg(long, global = true, env = "TRADEWIND_URL", default_value = URL, help_heading = "Everywhere")]
    url: String,
    /// How to print
    #[arg(short, long, global = true, value_enum, help_heading = "Everywhere")]
    output: Option<Format>,
    /// Have recorded what is done for this command, and say how to see it
    #[arg(long, global = true, help_heading = "Everywhere")]
    trace: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(commands::up::Options),
    Demo(Box<demo::Options>),
    Sql(commands::sql::Options),
    Append(commands::append::Options),
    Tail(commands::tail::Options),
    Replay(commands::replay::Options),
    Stream(commands::stream::Options),
    Source(commands::source::Options),
    Projection(commands::projection::Options),
    Parked(commands::parked::Options),
    Conflicts(commands::conflicts::Options),
    Group(commands::group::Options),
    Lock(commands::lock::Options),
    Log(commands::log::Options),
    Config(commands::config::Options),
    Status(commands::status::Options),
    Top(commands::top::Options),
    Trace(commands::trace::Options),
    Cluster(commands::cluster::Options),
    Region(commands::region::Options),
    Completions(commands::completions::Options),
    #[command(hide = true)]
    Reference(commands::reference::Options),
}

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    url: String,
    format: Option<Format>,
    /// The trace of what is asked, if it is to be recorded.
    trace: Option<Trace>,
}

impl Context {
    /// A client of the node.
    ///
    /// # Errors
    /// When its address is none.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.url)?.traced(self.trace))
    }

    /// Standard output, for people unless it was said otherwise.
    pub(crate) fn output(&self) -> Output {
        self.output_or(Format::Table)
    }

    /// Standard output, in this format unless it was said otherwise.
    pub(crate) fn output_or(&self, format: Format) -> Output {
        Output::new(self.format.unwrap_or(format))
    }

    /// Runs what talks to a node.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(work);
        // A thread may be waiting for input that never comes.
        runtime.shutdown_background();
        outcome
    }
}

/// The whole command line, for completions.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Reads the command line and does what it says.
///
/// # Errors
/// Why it could not be done.
pub(crate) fn run() -> Result<()> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; whoever reads them may go at any time.
            let code = error.exit_code();
            let _closed_pipe = error.print();
            std::process::exit(code);
        }
    };
    let trace = cli.global.trace.then(new_trace);
    let context = Context { url: cli.global.url, format: cli.global.output, trace };
    let outcome = carry_out(cli.command, &context);
    if let Some(trace) = trace {
        note(format_args!("what was done for it: tradewind trace {}", trace.trace));
    }
    outcome
}

/// A trace that nobody else has.
fn new_trace() -> Trace {
    let next = || OsRandom.next_u64();
    Trace { trace: TraceId::new(next(), next()), span: SpanId::new(next()), is_sampled: true }
}

fn carry_out(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Up(options) => commands::up::run(&options, context),
        Command::Demo(options) => demo::run(&options, context),
        Command::Sql(options) => commands::sql::run(options, context),
        Command::Append(options) => commands::append::run(options, context),
        Command::Tail(options) => commands::tail::run(options, context),
        Command::Replay(options) => commands::replay::run(options, context),
        Command::Stream(options) => commands::stream::run(options, context),
        Command::Source(options) => commands::source::run(options, context),
        Command::Projection(options) => commands::projection::run(options, context),
        Command::Parked(options) => commands::parked::run(options, context),
        Command::Conflicts(options) => commands::conflicts::run(options, context),
        Command::Group(options) => commands::group::run(options, context),
        Command::Lock(options) => commands::lock::run(options, context),
        Command::Log(options) => commands::log::run(&options, context),
        Command::Config(options) => commands::config::run(&options, context),
        Command::Status(options) => commands::status::run(&options, context),
        Command::Top(options) => commands::top::run(&options, context),
        Command::Trace(options) => commands::trace::run(&options, context),
        Command::Cluster(options) => commands::cluster::run(&options, context),
        Command::Region(options) => commands::region::run(&options, context),
        Command::Completions(options) => commands::completions::run(&options),
        Command::Reference(_) => commands::reference::run(),
    }
}

/// Asks before something is lost, such as `drop stream x`; without a terminal, `--yes` must have said so.
///
/// # Errors
/// [`Error::Refused`] when the answer is no.
pub(crate) fn confirm(yes: bool, what: &str) -> Result<()> {
    use std::io::{BufRead as _, IsTerminal as _, Write as _};
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::Refused(format!("to {what} without being asked, add `--yes`")));
    }
    write!(std::io::stderr(), "{what}? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Refused("nothing was done".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        command().debug_assert();
    }
}
