//! Cargo subcommands that the gate uses: installed once, in a fixed version, into our cache.

use crate::process::Cmd;
use crate::workspace;
use anyhow::{Context as _, Result};
use std::path::PathBuf;

/// A Cargo subcommand from the default registry.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
pub(crate) const MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };
pub(crate) const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

impl Tool {
    /// A command that runs it in the root folder; installs it first if need be.
    pub(crate) fn command(&self) -> Result<Cmd> {
        let program = self.provide().with_context(|| format!("{} cannot be had", self.name))?;
        Ok(Cmd::new(program).shown_as(self.name).dir(workspace::root()))
    }

    fn provide(&self) -> Result<PathBuf> {
        let folder = workspace::cache()?.join("tools").join(format!("{}-{}", self.name, self.version));
        let program = folder.join("bin").join(self.name);
        if !program.exists() {
            eprintln!("installing {} {}", self.name, self.version);
            workspace::cargo("install")
                // The dev profile builds in a third of the time, and none of them is slow.
                .args(["--locked", "--quiet", "--debug", "--version", self.version, self.name, "--root"])
                .arg(&folder)
                .without_env("CARGO_TARGET_DIR") // Built in a temporary folder.
                .run()?;
        }
        Ok(program)
    }
}
