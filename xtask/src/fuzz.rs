//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/`, which is a workspace of its own.
//!
//! They are built without a sanitizer: the code is safe Rust, where a panic, a hang or too much memory is what there is
//! to find, and coverage feedback works on the stable compiler.

use crate::process::Cmd;
use crate::scratch::Scratch;
use crate::tools;
use crate::workspace::{self, Metadata};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// How long the gate runs each target.
const GATE_SECONDS: u64 = 5;

/// Which target, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The target: a file of `fuzz/fuzz_targets`, without `.rs`
    target: String,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs one target.
pub(crate) fn run(options: &Options) -> Result<()> {
    let targets = targets()?;
    if !targets.contains(&options.target) {
        bail!("there is no fuzz target `{}`, only {}", options.target, targets.join(", "));
    }
    let corpus = folder().join("corpus").join(&options.target);
    std::fs::create_dir_all(&corpus)?;
    execute(&options.target, options.seconds, &corpus)
}

/// Builds all targets, runs each for a few seconds, and returns how many there are.
pub(crate) fn check() -> Result<usize> {
    let targets = targets()?;
    if targets.is_empty() {
        return Ok(0);
    }
    cargo_fuzz("build")?.run()?;
    for target in &targets {
        // A corpus of its own, from nothing: the gate's result must not depend on who ran what before.
        let corpus = Scratch::new("corpus")?;
        execute(target, GATE_SECONDS, corpus.path())?;
    }
    Ok(targets.len())
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    if !folder().join("Cargo.toml").exists() {
        return Ok(Vec::new());
    }
    Ok(cargo_fuzz("list")?.capture()?.lines().map(str::to_owned).collect())
}

fn execute(target: &str, seconds: u64, corpus: &Path) -> Result<()> {
    cargo_fuzz("run")?
        .arg(target)
        .arg(corpus)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args(["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=0", "-verbosity=0"])
        .run()
}

fn cargo_fuzz(subcommand: &str) -> Result<Cmd> {
    let command = tools::FUZZ.command()?.arg(subcommand);
    if subcommand == "list" {
        return Ok(command);
    }
    let target = Metadata::load()?.target_directory.join("fuzz");
    Ok(command.args(["--sanitizer", "none", "--target-dir"]).arg(target))
}
