//! The shell blocks of the documentation run as they are written, against a node.

use crate::support::Node;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The blocks of a page, or of one section of it, that are marked `sh`, as one script.
fn script(page: &Path, section: Option<&str>) -> String {
    let text = std::fs::read_to_string(page).unwrap();
    let text = match section {
        None => text.as_str(),
        Some(section) => {
            let (_, text) = text.split_once(&format!("\n{section}\n")).unwrap();
            text.split("\n## ").next().unwrap()
        }
    };
    // What is left of its nodes goes with it.
    let mut script = String::from("set -euo pipefail\ntrap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n");
    for block in text.split("\n```sh\n").skip(1) {
        script += block.split("\n```").next().unwrap();
        script.push('\n');
    }
    script
}

fn runs(page: &str) {
    let folder = tempfile::tempdir().unwrap();
    examples(page, None, &Node::start(folder.path()), folder.path());
}

/// Runs the examples of a page, or of one section of it, against a node and in a folder; gives what they print.
pub(crate) fn examples(page: &str, section: Option<&str>, node: &Node, folder: &Path) -> String {
    let page = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../docs").join(page);
    let programs = Path::new(env!("CARGO_BIN_EXE_tradewind")).parent().unwrap();
    let path = std::env::join_paths(
        [programs.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let output = Command::new("bash")
        .args(["-c", &script(&page, section)])
        .env("PATH", path.unwrap())
        .env("TRADEWIND_URL", &node.url)
        .current_dir(folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{told}\n{said}", page.display());
    told
}

#[test]
fn the_examples_of_getting_started_run() {
    runs("getting-started.md");
}

#[test]
fn the_examples_of_getting_started_with_regions_run() {
    runs("getting-started-regions.md");
}

#[test]
fn the_examples_of_the_command_line_run() {
    runs("cli.md");
}

#[test]
fn the_examples_of_configuration_run() {
    runs("configuration.md");
}

#[test]
fn the_examples_of_locks_run() {
    runs("locks.md");
}

#[test]
fn the_examples_of_operations_run() {
    runs("operations.md");
}
