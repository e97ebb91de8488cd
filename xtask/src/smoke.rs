//! The smoke test: the README's main command does what it says, and Ctrl-C ends it well.

use crate::process::{Cmd, last_lines};
use crate::scratch::Scratch;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

/// A command that runs until it is interrupted.
#[derive(Debug)]
pub(crate) struct Smoke {
    pub(crate) args: &'static [&'static str],
    /// How long it must run before it is interrupted.
    pub(crate) runs: Duration,
}

/// How long it may take to drain after the interrupt.
const DRAINS: Duration = Duration::from_secs(30);

impl Smoke {
    /// Runs it in an empty temporary folder: it must still run after its time, have said something, and end with success
    /// when it is interrupted.
    pub(crate) fn run(&self, program: &Path) -> Result<()> {
        let folder = Scratch::new("smoke")?;
        let log = folder.path().join("output");
        let outcome = self.run_in(folder.path(), program, &File::create(&log)?);
        let output = fs::read(&log).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        outcome.with_context(|| format!("it printed:\n{}", last_lines(output.trim_end(), 40)))?;
        if output.trim().is_empty() {
            bail!("it printed nothing");
        }
        Ok(())
    }

    fn run_in(&self, folder: &Path, program: &Path, log: &File) -> Result<()> {
        let mut running = Cmd::new(program).args(self.args).dir(folder).output_to(log)?.spawn()?;
        if let Some(status) = running.wait_for(self.runs)? {
            bail!("it ended by itself ({status})");
        }
        running.interrupt()?;
        match running.wait_for(DRAINS)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("interrupted, it ended with {status} instead of success"),
            None => bail!("interrupted, it still ran after {} s", DRAINS.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a shell script as if it were the product.
    fn smoke(script: &'static [&'static str]) -> Result<()> {
        Smoke { args: script, runs: Duration::from_millis(300) }.run(Path::new("sh"))
    }

    #[test]
    fn a_program_that_drains_on_interrupt_passes_and_others_say_why_not() {
        // One test, because the scratch folder is named after the process.
        assert!(smoke(&["-c", "trap 'exit 0' INT; echo up; while :; do sleep 0.05; done"]).is_ok());
        let told = |script| format!("{:#}", smoke(script).unwrap_err());
        assert!(told(&["-c", "echo down; exit 3"]).contains("ended by itself"));
        assert!(
            told(&["-c", "trap 'exit 4' INT; while :; do sleep 0.05; done"]).contains("instead of success")
        );
        assert_eq!(told(&["-c", "trap 'exit 0' INT; while :; do sleep 0.05; done"]), "it printed nothing");
    }
}
