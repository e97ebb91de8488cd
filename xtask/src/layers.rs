//! `cargo xtask layers`: every arrow between crates is one that `layers.toml` draws.
//!
//! [`rules`] reads the file, [`graph`] reads what Cargo knows, [`check`] compares the two and does nothing else.

mod check;
mod graph;
mod rules;
#[cfg(test)]
mod tests;

use crate::workspace::{self, Metadata};
use anyhow::{Result, bail};

/// Compares `layers.toml` with the workspace; returns what was proven.
pub(crate) fn run() -> Result<String> {
    let rules = rules::Rules::load(&workspace::root().join("layers.toml"))?;
    let graph = graph::Graph::from_metadata(&Metadata::load()?)?;
    let violations = check::check(&rules, &graph);
    if violations.is_empty() {
        let arrows: usize = graph.crates.values().map(|node| node.uses.len()).sum();
        return Ok(format!("{} crates, {arrows} arrows, all drawn", graph.crates.len()));
    }
    for violation in &violations {
        println!("{violation}");
    }
    bail!("breaches of the rules of `layers.toml`: {}", violations.len())
}
