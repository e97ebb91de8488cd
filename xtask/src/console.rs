//! `cargo xtask console`: the web console does in a browser what it promises.
//!
//! Its sources are checked for types, then its tests run: small ones, and those in Debian's Chromium against the real binary, which
//! serves the console that is embedded in it. `web/` is copied into the cache, so that nothing is written into the source tree;
//! packages come through npm as the user has set it up. What the tests leave, pictures of every page among it, is below the
//! target folder.

use crate::process::{Cmd, last_lines};
use crate::product;
use crate::scratch::Scratch;
use crate::services::{self, Variable, debian};
use crate::workspace::{self, Metadata};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// What is not copied: what npm, the build and tests leave there when somebody works on the console by hand.
const LEFT_OUT: [&str; 3] = ["node_modules", "dist", "test-results"];
/// Beside what is installed: the lock file by which it was.
const INSTALLED: &str = "node_modules/.installed";
const CHROMIUM: &str = "TRADEWIND_TEST_CHROMIUM";

/// How many tests ended how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// Runs everything; an error if a check fails, or if tests cannot be run.
pub(crate) fn run() -> Result<Outcome> {
    let metadata = Metadata::load()?;
    let binary = product::binary(&metadata).context("there is no binary yet")?;
    let chromium = chromium()?;
    let web = copy()?;
    install(&web)?;
    let npx = |program: &str| {
        Cmd::new("npx").args(["--no-install", program]).dir(&web).env("npm_config_loglevel", "error")
    };
    npx("svelte-check")
        .args(["--tsconfig", "./tsconfig.json", "--fail-on-warnings", "--output", "human"])
        .run()?;
    let scratch = Scratch::new("console")?;
    let mut outcome = Outcome::default();
    let mut playwright = npx("playwright").args(["test", "--reporter", "dot"]);
    // One test captures a database, and others have a cluster, with its Kafka and its etcd.
    for Variable { name, value } in services::provide()? {
        playwright = playwright.env(name, value);
    }
    let succeeded = playwright
        .env("TMPDIR", scratch.path())
        .env("TRADEWIND_BIN", &binary)
        .env(CHROMIUM, &chromium)
        .env("TRADEWIND_CONSOLE_OUT", metadata.target_directory.join("console"))
        .without_env("CONSOLE_DEV")
        .each_line(|line| {
            println!("{line}");
            outcome.count(line);
        })?;
    if !succeeded && outcome.failed == 0 {
        bail!("the tests ended before their time");
    }
    Ok(outcome)
}

impl Outcome {
    /// How it went in a few words; an error if a test failed.
    pub(crate) fn say(self) -> Result<String> {
        match self {
            Self { passed, failed: 0 } => Ok(format!("{passed} passed")),
            Self { passed, failed } => bail!("{failed} of {} failed", passed + failed),
        }
    }

    /// Reads a line of the summary, such as `  72 passed (4.0m)`; other lines say nothing.
    fn count(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (number, what) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next());
        let is_summary = words.next().is_none_or(|word| word.starts_with('('));
        match (number, what) {
            (Some(number), Some("passed")) if is_summary => self.passed += number,
            (Some(number), Some("failed" | "flaky" | "interrupted" | "skipped")) if is_summary => {
                self.failed += number;
            }
            _ => {}
        }
    }
}

/// The browser: what the caller names, or Debian's, which is installed if it is missing.
fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(CHROMIUM).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let debians = PathBuf::from("/usr/bin/chromium");
    if !debians.exists() {
        if !debian::is_here() {
            bail!("install Chromium, and let `{CHROMIUM}` be its path");
        }
        debian::install(&["chromium"])?;
    }
    Ok(debians)
}

/// Copies `web/` into the cache, where earlier packages are still installed.
fn copy() -> Result<PathBuf> {
    let (from, to) = (workspace::root().join("web"), workspace::cache()?.join("console"));
    fs::create_dir_all(&to).with_context(|| format!("cannot create `{}`", to.display()))?;
    for entry in fs::read_dir(&to)? {
        let entry = entry?;
        if entry.file_name() == "node_modules" {
            continue;
        }
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
            .with_context(|| format!("cannot remove `{}`", path.display()))?;
    }
    let mut cp = Cmd::new("cp").args(["--recursive", "--target-directory"]).arg(&to);
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            cp = cp.arg(entry.path());
        }
    }
    cp.capture()?;
    Ok(to)
}

/// Has npm install what the lock file names, unless that is there already.
fn install(web: &Path) -> Result<()> {
    let lock = fs::read(web.join("package-lock.json")).context("there is no lock file of npm")?;
    if fs::read(web.join(INSTALLED)).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    eprintln!("installing what the console is tested with");
    let npm = Cmd::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"])
        .dir(web);
    if let Err(error) = npm.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1").capture() {
        bail!(
            "npm cannot install it, with Node 20.19 or newer and a registry or a full cache it can: {}",
            last_lines(&error.to_string(), 4)
        );
    }
    fs::write(web.join(INSTALLED), lock).context("cannot note what is installed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_counted_and_nothing_else() {
        let mut outcome = Outcome::default();
        for line in [
            "Running 81 tests using 2 workers",
            "  2 failed",
            "    [browser] › a.test.ts:3:1 › 7 passed by",
            "  1 flaky",
            "  72 passed (4.0m)",
            "",
        ] {
            outcome.count(line);
        }
        assert_eq!(outcome, Outcome { passed: 72, failed: 3 });
    }
}
