//! `cargo xtask house`: the house rules that neither the compiler nor clippy knows.
//!
//! [`rules`] looks at one file at a time, [`manifest`] at one `Cargo.toml`. Exceptions are named with a reason in
//! `xtask/house.toml`; one that is no longer needed is an error too.

mod allow;
mod functions;
mod manifest;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use crate::process::Cmd;
use crate::workspace;
use allow::Allowed;
use anyhow::{Result, bail};
use source::Source;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A broken rule and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the root folder.
    path: PathBuf,
    /// The line, from 1.
    line: usize,
    /// The rule's name, as in `xtask/house.toml`.
    rule: &'static str,
    /// What is wrong, and what to do.
    message: String,
}

/// Checks every file that Git tracks or would track; returns what was looked at.
pub(crate) fn run() -> Result<String> {
    let root = workspace::root();
    let files = tracked_files(&root)?;
    let allowed = Allowed::load(&root.join("xtask/house.toml"))?;
    let findings = allowed.sift(check(&root, &files)?);
    for finding in &findings {
        println!("{}:{}: {}", finding.path.display(), finding.line, finding.message);
    }
    if !findings.is_empty() {
        bail!("breaches of the house rules: {}", findings.len());
    }
    Ok(format!("{} files", files.len()))
}

fn tracked_files(root: &Path) -> Result<Vec<PathBuf>> {
    let list = Cmd::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .dir(root)
        .capture()?;
    // A file that was removed but not committed yet is still listed.
    Ok(list.lines().map(PathBuf::from).filter(|path| root.join(path).is_file()).collect())
}

fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for path in files {
        // What is not UTF-8 is not text: pictures, golden bytes.
        let Ok(text) = String::from_utf8(std::fs::read(root.join(path))?) else { continue };
        findings.extend(rules::any_text(path, &text));
        if path.ends_with("Cargo.toml") {
            findings.extend(manifest::check(path, &text));
        }
        if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push((path, Source::new(text)));
        }
    }
    let test_modules: BTreeSet<PathBuf> =
        sources.iter().flat_map(|(path, source)| source.test_modules(path)).collect();
    for (path, source) in &sources {
        findings.extend(rules::rust(path, source, is_test_code(path, &test_modules)));
    }
    findings.sort();
    Ok(findings)
}

/// Whether a whole file is test code: below a folder `tests`, or a module that is only there `#[cfg(test)]`.
fn is_test_code(path: &Path, test_modules: &BTreeSet<PathBuf>) -> bool {
    path.iter().any(|part| part == "tests")
        || path.ancestors().any(|part| test_modules.contains(&part.with_extension("")))
}
