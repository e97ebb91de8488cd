//! `cargo xtask verify`: the one gate.
//!
//! [`steps`] lists what must hold, in order of what tells most in the least time; this file runs the list, times it, and
//! says at the end what failed and what to do about it. Tests, doc tests, references and the smoke test share one build
//! in the dev profile; clippy and the documentation share its metadata.

mod counts;
mod steps;
mod testing;

use crate::process;
use crate::services::{self, Variable};
use crate::terminal::{bad, duration, good, pale, strong};
use anyhow::{Result, anyhow, bail};
use clap::builder::PossibleValuesParser;
use counts::Counts;
use std::cell::{Cell, OnceCell};
use std::time::{Duration, Instant};
use steps::STEPS;

/// How long one step may take: a test that hangs must not hang the gate.
const STEP_TIME_MAX: Duration = Duration::from_secs(45 * 60);

/// Which steps, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run this step only; may be given several times
    #[arg(long, value_name = "STEP", value_parser = names(), conflicts_with = "from")]
    only: Vec<String>,
    /// Run this step and those after it
    #[arg(long, value_name = "STEP", value_parser = names())]
    from: Option<String>,
    /// List the steps and stop
    #[arg(long)]
    list: bool,
    /// Go on after a step has failed
    #[arg(long)]
    keep_going: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(STEPS.iter().map(|step| step.name))
}

impl Options {
    fn selects(&self, index: usize) -> bool {
        let from = self.from.as_ref().and_then(|from| STEPS.iter().position(|step| step.name == from));
        let named = |name: &str| self.only.is_empty() || self.only.iter().any(|only| only == name);
        index >= from.unwrap_or(0) && STEPS.get(index).is_some_and(|step| named(step.name))
    }
}

/// Something that must hold.
struct Step {
    name: &'static str,
    title: &'static str,
    check: fn(&Gate) -> Result<Outcome>,
    /// What to do if it does not hold.
    remedy: &'static str,
}

/// How a step ended that did not fail.
enum Outcome {
    /// It holds; a few words on what was looked at, or none.
    Holds(String),
    /// It could not be looked at here, and why that is no failure.
    Skipped(String),
}

/// What steps share.
#[derive(Default)]
struct Gate {
    services: OnceCell<Vec<Variable>>,
    counts: Cell<Counts>,
}

impl Gate {
    /// The variables that point tests to the servers; the first caller makes them available.
    fn services(&self) -> Result<&[Variable]> {
        if self.services.get().is_none() {
            let provided = services::provide()?;
            return Ok(self.services.get_or_init(|| provided));
        }
        Ok(self.services.get().map(Vec::as_slice).unwrap_or_default())
    }

    fn count(&self, counts: Counts) {
        self.counts.set(self.counts.get() + counts);
    }

    /// So many tests that had failed have passed.
    fn recovered(&self, tests: u64) {
        let Counts { passed, failed, ignored } = self.counts.get();
        self.counts.set(Counts { passed: passed + tests, failed: failed.saturating_sub(tests), ignored });
    }
}

/// A step that ran, or did not.
struct Report {
    step: &'static Step,
    result: Result<Outcome>,
    took: Duration,
}

/// Runs the steps that the options select; an error if one fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.list {
        for step in STEPS {
            println!("{:<11} {}", step.name, step.title);
        }
        return Ok(());
    }
    let start = Instant::now();
    let gate = Gate::default();
    let selected: Vec<&'static Step> =
        STEPS.iter().enumerate().filter(|(index, _)| options.selects(*index)).map(|(_, step)| step).collect();
    let mut reports: Vec<Report> = Vec::new();
    for (index, step) in selected.iter().enumerate() {
        let place = format!("── {}/{} {}: {}", index + 1, selected.len(), step.name, step.title);
        eprintln!("\n{}", strong(&place));
        let report = run_step(step, &gate);
        let failed = report.result.is_err();
        print_result(&report);
        reports.push(report);
        if process::interrupted() || (failed && !options.keep_going) {
            break;
        }
    }
    print_summary(&selected, &reports, start.elapsed());
    println!("{} passed, {} failed", gate.counts.get().passed, gate.counts.get().failed);
    match reports.iter().filter(|report| report.result.is_err()).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} steps failed", selected.len()),
    }
}

fn run_step(step: &'static Step, gate: &Gate) -> Report {
    let start = Instant::now();
    let result = process::within(STEP_TIME_MAX, || (step.check)(gate))
        .unwrap_or_else(|| Err(anyhow!("stopped, because a step has {} at most", duration(STEP_TIME_MAX))));
    let took = start.elapsed();
    // Whatever still runs now was lost by the step. That is a failure of its own, but it never hides an earlier one.
    let left = process::settle();
    let result = match result {
        Ok(_) if !left.is_empty() => Err(anyhow!("left running, and now stopped: {}", left.join(", "))),
        result => result,
    };
    Report { step, result, took }
}

fn print_result(Report { step, result, took }: &Report) {
    let took = duration(*took);
    match result {
        Ok(Outcome::Holds(note)) if note.is_empty() => eprintln!("{} {took}", good("ok")),
        Ok(Outcome::Holds(note)) => eprintln!("{} {took}, {note}", good("ok")),
        Ok(Outcome::Skipped(why)) => eprintln!("{} {why}", pale("skipped:")),
        Err(_) if process::interrupted() => eprintln!("{} after {took}", bad("interrupted")),
        Err(error) => {
            eprintln!("{} after {took}: {error:#}\n{} {}", bad("failed"), strong("what to do:"), step.remedy);
        }
    }
}

fn print_summary(selected: &[&'static Step], reports: &[Report], took: Duration) {
    println!();
    for (index, step) in selected.iter().enumerate() {
        let report = reports.get(index);
        let (result, note) = match report.map(|report| &report.result) {
            Some(Ok(Outcome::Holds(note))) => ("ok", note.as_str()),
            Some(Ok(Outcome::Skipped(why))) => ("skipped", why.as_str()),
            Some(Err(_)) => ("FAILED", step.remedy),
            None => ("not run", ""),
        };
        let time = report.map(|report| duration(report.took)).unwrap_or_default();
        println!("{}", format!("{:<11} {result:<8} {time:>12}  {note}", step.name).trim_end());
    }
    println!("{:<20} {:>12}\n", "altogether", duration(took));
}
