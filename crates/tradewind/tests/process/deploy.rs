//! What is below `deploy/` is true: options, commands, variables, paths and versions exist. The gate's step `deploy` has the
//! programs that read these files look at them, too.

use crate::support::{Node, run, said};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..").canonicalize().unwrap()
}

/// Every file below a folder, with its text.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read_to_string(path).unwrap())),
        }
    }
    assert!(!found.is_empty(), "{}", folder.display());
    found
}

/// The commands of Tradewind in a line of a unit, a manifest, a compose file or a Dockerfile.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    if let Some((key, command)) = line.split_once('=')
        && matches!(key, "ExecStart" | "ExecStop")
    {
        let words = command.trim_start_matches('-').strip_prefix("/usr/local/bin/tradewind ");
        return Some(words.expect("a unit runs Tradewind").split(' ').map(str::to_owned).collect());
    }
    let (key, list) = line.split_once([':', ' '])?;
    if !matches!(key, "args" | "command" | "test" | "CMD") {
        return None;
    }
    let mut words: Vec<String> = serde_json::from_str(list.trim()).ok()?;
    words.retain(|word| word != "CMD");
    if words.first().is_some_and(|first| first == "tradewind") {
        words.remove(0);
        return Some(words);
    }
    // The image's program is Tradewind.
    words.first().is_some_and(|first| first == "up").then_some(words)
}

#[test]
fn every_configuration_is_accepted() {
    let tables = files(&root().join("deploy"));
    let tables = tables.iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "toml"));
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for (path, text) in tables {
        // What is in a comment is to be true, too, once it is none any more.
        let shown = text.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => rest,
            _ => line,
        });
        let shown: Vec<&str> = shown.collect();
        let uncommented = shown.join("\n").replacen("[http]\nlisten = \"127.0.0.1:7070\"\n", "", 1);
        let copy = folder.path().join("tradewind.toml");
        for text in [text, &uncommented] {
            fs::write(&copy, text).unwrap();
            let output = run(&["config", "check", copy.to_str().unwrap()]);
            assert!(output.status.success(), "{}: {}\n{text}", path.display(), said(&output));
        }
        checked += 1;
    }
    assert_eq!(checked, 3);
}

#[test]
fn every_command_is_understood() {
    let mut found = BTreeSet::new();
    for (path, text) in files(&root().join("deploy")) {
        for words in text.lines().filter_map(command) {
            // With this at its end a command is read, and not carried out.
            let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
            let output = run(&args);
            assert!(output.status.success(), "{}: {words:?}: {}", path.display(), said(&output));
            found.insert(words.join(" "));
        }
    }
    let expected = [
        "cluster drain --wait 2m",
        "status",
        "up",
        "up --config /etc/tradewind/tradewind.toml",
        "up --config /etc/tradewind/tradewind.toml --data /var/lib/tradewind",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
    assert!(!run(&["up", "--konfig", "x", "--help"]).status.success(), "this test sees nothing");
}

#[test]
fn every_variable_is_read() {
    let help = [&["up", "--help"][..], &["cluster", "drain", "--help"], &["status", "--help"]];
    let known: String = help.iter().map(|args| String::from_utf8(run(args).stdout).unwrap()).collect();
    let mut found = BTreeSet::new();
    for (path, text) in files(&root().join("deploy")) {
        for rest in text.split("TRADEWIND_").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            // That one the build reads, see docs/console.md.
            if !name.is_empty() && name != "CONSOLE" {
                assert!(known.contains(&format!("[env: TRADEWIND_{name}=")), "{}: {name}", path.display());
                found.insert(name);
            }
        }
    }
    assert_eq!(found, ["ADVERTISE", "DATA", "NODE"].map(str::to_owned).into());
}

#[test]
fn probes_ask_for_what_is_served() {
    let manifest = fs::read_to_string(root().join("deploy/kubernetes/stateful-set.yaml")).unwrap();
    let paths: Vec<&str> = manifest.lines().filter_map(|line| line.trim().strip_prefix("path: ")).collect();
    assert_eq!(paths.len(), 3, "startup, liveness, readiness");
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    for path in paths {
        node.get(path);
    }
}

#[test]
fn versions_are_those_of_the_workspace() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let stated = |key: &str| {
        let line = workspace.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        line.unwrap().trim_end_matches('"').to_owned()
    };
    let (version, rust) = (stated("version"), stated("rust-version"));
    let image = fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    assert!(image.contains(&format!("FROM rust:{rust}-")), "{rust}");
    for (file, text) in [
        ("Dockerfile", format!("--tag tradewind:{version}")),
        ("compose/compose.yaml", format!("image: tradewind:{version}\n")),
        ("kubernetes/kustomization.yaml", format!("newTag: {version}\n")),
    ] {
        let there = fs::read_to_string(root().join("deploy").join(file)).unwrap();
        assert!(there.contains(&text), "{file}: {text}");
    }
}
