//! `cargo xtask fix`: repairs what can be repaired without a decision.

use crate::workspace::cargo;
use crate::{codegen, product};
use anyhow::Result;

/// Applies clippy's own suggestions, formats, and writes the generated references.
pub(crate) fn run() -> Result<()> {
    cargo("clippy")
        .args(["--workspace", "--all-targets", "--all-features", "--fix", "--allow-dirty", "--allow-staged"])
        .run()?;
    cargo("fmt").arg("--all").run()?;
    product::build()?;
    codegen::write()?;
    Ok(())
}
