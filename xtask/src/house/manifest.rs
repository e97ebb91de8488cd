//! The rules for `Cargo.toml` files.

use super::Finding;
use std::path::Path;

/// What holds for the manifest of every crate of the workspace.
pub(super) fn check(path: &Path, text: &str) -> Vec<Finding> {
    let finding = |message: String| Finding { path: path.to_owned(), line: 1, rule: "manifest", message };
    let Ok(manifest) = text.parse::<toml::Table>() else { return vec![finding("this is not TOML".into())] };
    // The root, and workspaces of their own such as `fuzz`, inherit nothing.
    let Some(package) = manifest.get("package").filter(|_| !manifest.contains_key("workspace")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let own = package.get("name").and_then(toml::Value::as_str);
    if own != folder {
        found.push(finding("a crate has the name of its folder".into()));
    }
    if manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&toml::Value::Boolean(true)) {
        found.push(finding("add `[lints] workspace = true`: the lints are the same everywhere".into()));
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(kind).and_then(toml::Value::as_table).into_iter().flatten();
        // A crate may name itself, by path, to switch a feature on for its own tests.
        for (name, value) in dependencies.filter(|(name, _)| Some(name.as_str()) != own) {
            if value.get("workspace") != Some(&toml::Value::Boolean(true)) {
                found.push(finding(format!(
                    "`{name}` in [{kind}]: put its version into the root manifest, and `workspace = true` here"
                )));
            }
        }
    }
    found
}
