//! Running tests and counting them.
//!
//! Tests of whole processes on real servers (`process`) depend on what else the machine does. If a few of them fail, they run once more,
//! alone, and those that pass then are named as unsteady: that is a fault to look for, but not one of the change. No other test gets a
//! second look: a property that fails for one seed is false.

use super::counts::{self, Counts};
use super::{Gate, Outcome};
use crate::process::Cmd;
use crate::scratch::Scratch;
use crate::terminal::{bad, strong};
use crate::workspace::cargo;
use anyhow::{Result, bail};

/// The test program whose tests get a second look.
const PROCESSES: &str = "process";
/// More than so many failures are no accident.
const UNSTEADY_MAX: usize = 3;

/// What test programs said.
#[derive(Default)]
struct Run {
    counts: Counts,
    failed: Vec<String>,
    succeeded: bool,
}

impl Run {
    fn take(&mut self, line: &str) {
        self.counts = self.counts + Counts::parse(line).unwrap_or_default();
        self.failed.extend(counts::failed(line).map(str::to_owned));
    }

    /// Whether what failed may be an accident: not if a program ended before its time either.
    fn may_be_unsteady(&self) -> bool {
        !self.succeeded
            && (1..=UNSTEADY_MAX).contains(&self.failed.len())
            && self.counts.failed == self.failed.len() as u64
    }
}

/// Runs the tests of `which` targets.
pub(super) fn test(gate: &Gate, which: &[&str]) -> Result<Outcome> {
    let run = run(gate, which)?;
    gate.count(run.counts);
    let Counts { passed, failed, ignored } = run.counts;
    if ignored > 0 {
        bail!("{ignored} tests are ignored: a test runs or it goes");
    }
    if run.succeeded {
        return Ok(Outcome::Holds(format!("{passed} passed")));
    }
    if run.may_be_unsteady() {
        println!("\n{}", strong("once more, alone"));
        let names: Vec<&str> = run.failed.iter().map(String::as_str).collect();
        let again = self::run(gate, &[&["--test", PROCESSES, "--", "--exact"], &names[..]].concat())?;
        if again.succeeded && again.counts.passed == failed {
            gate.recovered(failed);
            for name in &names {
                println!(
                    "{} {name} failed once, and passed alone: what it said stands above",
                    bad("unsteady")
                );
            }
            let names = names.join(", ");
            return Ok(Outcome::Holds(format!(
                "{passed} passed, {failed} more when they ran again: {names}"
            )));
        }
    }
    bail!("{failed} of {} failed, or a test program ended before its time", passed + failed)
}

/// Their temporary files are in a folder of ours, which is removed even when they are killed.
fn run(gate: &Gate, which: &[&str]) -> Result<Run> {
    let scratch = Scratch::new("tests")?;
    let command =
        cargo("test").args(["--workspace", "--all-features", "--locked", "--no-fail-fast"]).args(which);
    let command = command.env("TMPDIR", scratch.path());
    let variables = gate.services()?.iter();
    let command =
        variables.fold(command, |command: Cmd, variable| command.env(variable.name, &variable.value));
    let mut run = Run::default();
    run.succeeded = command.each_line(|line| {
        run.take(line);
        if !counts::is_routine(line) {
            println!("{line}");
        }
    })?;
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str]) -> Run {
        let mut run = Run::default();
        lines.iter().for_each(|line| run.take(line));
        run
    }

    #[test]
    fn what_failed_by_accident_is_told_from_what_broke() {
        let one =
            ["test a::b ... FAILED", "test c ... ok", "test result: FAILED. 1 passed; 1 failed; 0 ignored"];
        assert!(run(&one).may_be_unsteady());
        assert_eq!(run(&one).failed, ["a::b"]);
        let without_an_end = ["test a::b ... FAILED", "test c ... ok"];
        assert!(!run(&without_an_end).may_be_unsteady(), "a program that ended before its time");
        let all_is_well = ["test c ... ok", "test result: ok. 1 passed; 0 failed; 0 ignored"];
        assert!(!run(&all_is_well).may_be_unsteady());
        let many: Vec<String> = (0..4).map(|number| format!("test t{number} ... FAILED")).collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        many.push("test result: FAILED. 0 passed; 4 failed; 0 ignored");
        assert!(!run(&many).may_be_unsteady(), "four are no accident");
    }
}
