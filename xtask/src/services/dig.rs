//! `dig`, which asks name servers: the client of whoever keeps them, so tests of ours ask with it.
//!
//! `TRADEWIND_TEST_DIG` is the path of the program. If the caller has set it, that is what tests get. Otherwise it is the
//! one in PATH, or Debian's, which is installed: it needs libraries that are packages, too. It starts nothing.

use super::{Variable, debian};
use crate::process::Cmd;
use anyhow::{Context as _, Result, bail};

const VARIABLE: &str = "TRADEWIND_TEST_DIG";
const PACKAGE: &str = "bind9-dnsutils";

/// Finds or installs the program.
pub(super) fn provide() -> Result<Vec<Variable>> {
    let program = match std::env::var(VARIABLE) {
        Ok(path) if !path.is_empty() => {
            check(&path).with_context(|| format!("`{VARIABLE}` names `{path}`"))?;
            path
        }
        _ if check("dig").is_ok() => "dig".to_owned(),
        _ if debian::is_here() => {
            debian::install(&[PACKAGE])?;
            check("dig").with_context(|| format!("the package `{PACKAGE}` brought no `dig` that runs"))?;
            "dig".to_owned()
        }
        _ => bail!("install `dig` of BIND 9.18 or newer, and let `{VARIABLE}` be its path"),
    };
    Ok(vec![Variable { name: VARIABLE, value: program }])
}

/// Whether the program runs.
fn check(program: &str) -> Result<()> {
    Cmd::new(program).arg("-v").capture()?;
    Ok(())
}
