//! Where things are, and what Cargo knows about them.

use crate::process::Cmd;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The folder that holds the root manifest.
pub(crate) fn root() -> PathBuf {
    // Set by `cargo run`; the compiled-in folder serves a binary that is started by hand.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().map(Path::to_owned).unwrap_or_default()
}

/// A Cargo command, with the Cargo that started this program, in the root folder.
pub(crate) fn cargo(subcommand: &str) -> Cmd {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A gate that passes without the console would say nothing of it. Whoever leaves it out on purpose has said so.
    let console = std::env::var_os("TRADEWIND_CONSOLE").unwrap_or_else(|| "required".into());
    Cmd::new(cargo).shown_as("cargo").arg(subcommand).dir(root()).env("TRADEWIND_CONSOLE", console)
}

/// The folder for tools and servers that are kept between runs: `$XDG_CACHE_HOME/tradewind` or `~/.cache/tradewind`.
pub(crate) fn cache() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(home)
        .map(|caches| caches.join("tradewind"))
        .context("neither `HOME` nor `XDG_CACHE_HOME` is set: set one, tools are kept below it")
}

/// What `cargo metadata` says.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// All packages, those of other people included.
    pub(crate) packages: Vec<Package>,
    /// The ids of our own packages.
    pub(crate) workspace_members: Vec<String>,
    /// Who depends on whom, after features and platforms are resolved.
    pub(crate) resolve: Resolve,
    /// Where Cargo builds, `CARGO_TARGET_DIR` and configuration considered.
    pub(crate) target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    /// Dependencies as the manifest declares them, optional ones included.
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Dev,
    Build,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<NodeDependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NodeDependency {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<NodeDependencyKind>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NodeDependencyKind {
    pub(crate) kind: Option<Kind>,
}

impl Metadata {
    /// Asks Cargo.
    pub(crate) fn load() -> Result<Self> {
        let json = cargo("metadata").args(["--format-version=1", "--all-features", "--locked"]).capture()?;
        serde_json::from_str(&json).context("cannot read what `cargo metadata` printed")
    }

    /// Our own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}
