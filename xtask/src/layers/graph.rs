//! What Cargo and the crates' folders say: who uses whom.

use super::rules::Names;
use crate::workspace::{Kind, Metadata, Node};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The workspace as it is.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Our crates by name.
    pub(super) crates: BTreeMap<String, Crate>,
    /// Every package, other people's included → packages that it is linked with.
    pub(super) links: BTreeMap<String, Names>,
}

/// One of our crates.
#[derive(Debug, Default)]
pub(super) struct Crate {
    /// Workspace crates among its dependencies and build dependencies.
    pub(super) uses: Names,
    /// Workspace crates among its dev-dependencies.
    pub(super) tests_use: Names,
    /// Paths that its own `clippy.toml` disallows; `None` if it has no such file.
    pub(super) disallows: Option<Names>,
}

impl Graph {
    pub(super) fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let ours: Names = metadata.members().map(|package| package.name.clone()).collect();
        let mut crates = BTreeMap::new();
        for package in metadata.members() {
            let named = |dev: bool| {
                let of_kind =
                    package.dependencies.iter().filter(move |it| (it.kind == Some(Kind::Dev)) == dev);
                // A crate may name itself, to switch a feature on for its own tests.
                let of_others = of_kind.filter(|it| it.name != package.name);
                of_others.map(|it| it.name.clone()).filter(|name| ours.contains(name)).collect()
            };
            let folder = package.manifest_path.parent().unwrap_or(Path::new("."));
            let disallows = disallowed(&folder.join("clippy.toml"))?;
            crates.insert(
                package.name.clone(),
                Crate { uses: named(false), tests_use: named(true), disallows },
            );
        }
        Ok(Self { crates, links: links(metadata) })
    }

    /// The shortest way from a crate to a package of `targets` over links, both ends included.
    pub(super) fn way(&self, from: &str, targets: &Names) -> Option<Vec<String>> {
        let mut ways = vec![vec![from.to_owned()]];
        let mut seen = Names::from([from.to_owned()]);
        let mut next = 0;
        while let Some(way) = ways.get(next).cloned() {
            next += 1;
            let last = way.last()?;
            if way.len() > 1 && targets.contains(last) {
                return Some(way);
            }
            for link in self.links.get(last).into_iter().flatten() {
                if seen.insert(link.clone()) {
                    ways.push(way.iter().chain([link]).cloned().collect());
                }
            }
        }
        None
    }
}

/// Links by package name: what ends up in the binary, so neither build scripts nor tests.
fn links(metadata: &Metadata) -> BTreeMap<String, Names> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
    let name = |id: &str| names.get(id).copied().unwrap_or(id).to_owned();
    let linked = |node: &Node| {
        let links = node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|it| it.kind.is_none()));
        links.map(|dep| name(&dep.pkg)).collect::<Vec<_>>()
    };
    let mut all: BTreeMap<String, Names> = BTreeMap::new();
    for node in &metadata.resolve.nodes {
        // Several versions of one package share a name, and so an entry.
        all.entry(name(&node.id)).or_default().extend(linked(node));
    }
    all
}

/// The paths that a `clippy.toml` disallows; `None` if there is no such file.
fn disallowed(file: &Path) -> Result<Option<Names>> {
    if !file.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let table: toml::Table =
        text.parse().with_context(|| format!("`{}` is not TOML as it should be", file.display()))?;
    let lists =
        ["disallowed-methods", "disallowed-types"].map(|key| table.get(key).and_then(toml::Value::as_array));
    // An entry is a path, or a table with a path and a reason.
    let path =
        |entry: &toml::Value| entry.as_str().or_else(|| entry.get("path")?.as_str()).map(str::to_owned);
    Ok(Some(lists.into_iter().flatten().flatten().filter_map(path).collect()))
}
