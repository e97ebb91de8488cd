//! What crates need that bring C and C++ code along: the compilers, of which the fuzzing engine needs the second, and the headers of
//! OpenSSL, which the feature `kafka-tls` wants.

use super::{Variable, debian};
use crate::process::Cmd;
use anyhow::{Result, bail};

/// Sees to `cc` and `c++`, and to what `pkg-config` finds under the name `openssl`.
pub(super) fn provide() -> Result<Vec<Variable>> {
    let works = |program: &str, args: &[&str]| Cmd::new(program).args(args).capture().is_ok();
    let mut missing: Vec<&str> = Vec::new();
    if !works("cc", &["--version"]) || !works("c++", &["--version"]) {
        missing.extend(["gcc", "g++", "libc6-dev"]);
    }
    if !works("pkg-config", &["--exists", "openssl"]) {
        missing.extend(["libssl-dev", "pkg-config"]);
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    if !debian::is_here() {
        bail!("`cc` and `c++`, or the headers of OpenSSL for `pkg-config`, are not there: install them");
    }
    debian::install(&missing)?;
    Ok(Vec::new())
}
