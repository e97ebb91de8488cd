//! `cargo xtask build-times`: how long builds take here, as the table of CONTRIBUTING.md.

use crate::process::Cmd;
use crate::product;
use crate::scratch::Scratch;
use crate::terminal::duration;
use crate::workspace::{Metadata, cargo, root};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Where to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A folder on the disk to measure; a new folder below it is used, and removed
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
}

/// A build that people wait for.
struct Build {
    what: &'static str,
    command: &'static str,
    args: &'static [&'static str],
    /// Of all crates, or of the binary alone.
    all: bool,
}

const BUILDS: &[Build] = &[
    Build { what: "binary, release", command: "build", args: &["--release"], all: false },
    Build { what: "binary, dev", command: "build", args: &[], all: false },
    Build { what: "lints", command: "clippy", args: &["--all-targets", "--all-features"], all: true },
    Build {
        what: "tests",
        command: "test",
        args: &["--no-run", "--all-targets", "--all-features"],
        all: true,
    },
];

/// Measures every build cold, unchanged, after a change at the top of the house and after one at its bottom.
pub(crate) fn run(options: &Options) -> Result<()> {
    let metadata = Metadata::load()?;
    cargo("fetch").arg("--locked").run()?; // Downloads are not what is measured.
    let parent = options.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let top = if product::binary(&metadata).is_some() { product::PACKAGE } else { "xtask" };
    println!("{}\n", conditions()?);
    println!(
        "| build | cold | nothing changed | `{top}` changed | `tw-types` changed |\n|---|---|---|---|---|"
    );
    for build in BUILDS {
        let target = Scratch::below(&parent, "tw-build")?;
        let timed =
            |change: Option<&str>| measure(build, top, &metadata, target.path(), change).map(duration);
        let (cold, same) = (timed(None)?, timed(None)?);
        let (upper, lower) = (timed(Some(top))?, timed(Some("tw-types"))?);
        println!("| {} | {cold} | {same} | {upper} | {lower} |", build.what);
    }
    Ok(())
}

/// Builds after a change of the package `changed`; returns how long that took.
fn measure(
    build: &Build,
    top: &str,
    metadata: &Metadata,
    target: &Path,
    changed: Option<&str>,
) -> Result<Duration> {
    if let Some(changed) = changed {
        touch(metadata, changed)?;
    }
    let packages: &[&str] = if build.all { &["--workspace"] } else { &["--package", top] };
    let command = cargo(build.command).args(["--quiet", "--locked"]).args(packages).args(build.args);
    let command = command.env("CARGO_TARGET_DIR", target);
    let start = Instant::now();
    command.run()?;
    Ok(start.elapsed())
}

/// Makes Cargo believe that a package was edited.
fn touch(metadata: &Metadata, package: &str) -> Result<()> {
    let manifest = metadata.members().find(|it| it.name == package).map(|it| it.manifest_path.clone());
    let source = manifest.with_context(|| format!("there is no package `{package}`"))?.with_file_name("src");
    let roots = ["lib.rs", "main.rs"].map(|file| source.join(file));
    for file in roots.iter().filter(|file| file.exists()) {
        File::options().append(true).open(file)?.set_modified(SystemTime::now())?;
    }
    Ok(())
}

/// What the figures depend on, as one sentence.
fn conditions() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let rustc = Cmd::new("rustc").arg("--version").dir(root()).capture()?;
    let commit = Cmd::new("git").args(["rev-parse", "--short", "HEAD"]).dir(root()).capture()?;
    Ok(format!("{cores} cores, {}, commit {}.", rustc.trim(), commit.trim()))
}
