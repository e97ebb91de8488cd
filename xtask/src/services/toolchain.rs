//! The compilers that some crates need for the C and C++ code they bring along; the fuzzing engine needs the second.

use super::{Variable, debian};
use crate::process::Cmd;
use anyhow::{Result, bail};

/// Sees to `cc` and `c++`.
pub(super) fn provide() -> Result<Vec<Variable>> {
    let works = |program: &str| Cmd::new(program).arg("--version").capture().is_ok();
    if works("cc") && works("c++") {
        return Ok(Vec::new());
    }
    if !debian::is_here() {
        bail!("`cc` and `c++` are not in PATH: install a C and a C++ compiler");
    }
    debian::install(&["gcc", "g++", "libc6-dev"])?;
    Ok(Vec::new())
}
