//! The binary that this workspace is for, and what the gate knows about it.

use crate::codegen::Generator;
use crate::smoke::Smoke;
use crate::workspace::Metadata;
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

/// The package, and its program.
pub(crate) const PACKAGE: &str = "tradewind";

/// The README's main command, as the gate tries it.
pub(crate) const DEMO: Smoke =
    Smoke { args: &["demo", "--listen", "127.0.0.1:0"], runs: Duration::from_secs(10) };

/// References that the binary prints about itself. Adding one is adding a line.
pub(crate) const GENERATORS: &[Generator] = &[
    Generator { file: "docs/reference/cli.md", args: &["reference"] },
    Generator { file: "docs/reference/configuration.md", args: &["config", "reference"] },
];

/// The dev build of the binary, all features on; `None` as long as the workspace has no such package.
///
/// `cargo xtask verify` builds it together with the tests, so that both share one build of every dependency.
pub(crate) fn binary(metadata: &Metadata) -> Option<PathBuf> {
    metadata
        .members()
        .any(|package| package.name == PACKAGE)
        .then(|| metadata.target_directory.join("debug").join(PACKAGE))
}

/// Builds everything that tests and the later steps run: tests, examples and the binary, in the dev profile.
pub(crate) fn build() -> Result<()> {
    crate::workspace::cargo("build")
        .args(["--workspace", "--all-targets", "--all-features", "--locked"])
        .run()
}
