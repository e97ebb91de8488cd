//! The comparison: `(rules, graph) -> violations`.

use super::graph::{Crate, Graph};
use super::rules::Rules;
use std::fmt;

/// A broken rule: what is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    what: String,
    remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.what, self.remedy)
    }
}

fn violation(what: impl Into<String>, remedy: impl Into<String>) -> Violation {
    Violation { what: what.into(), remedy: remedy.into() }
}

/// Every rule that is broken, in a stable order.
pub(super) fn check(rules: &Rules, graph: &Graph) -> Vec<Violation> {
    let mut found = file_and_workspace_agree(rules, graph);
    found.extend(lines_follow_groups(rules));
    for (name, node) in &graph.crates {
        found.extend(arrows_are_drawn(rules, name, node));
        found.extend(tests_stay_in_reach(rules, name, node));
        found.extend(pure_crates_are_pure(rules, graph, name, node));
    }
    found
}

fn file_and_workspace_agree(rules: &Rules, graph: &Graph) -> Vec<Violation> {
    let missing = graph.crates.keys().filter(|name| rules.group(name).is_none()).map(|name| {
        violation(
            format!("`{name}` is not in layers.toml"),
            format!(
                "add the line `{name} = [the workspace crates that it may use]` to the table of its group"
            ),
        )
    });
    let gone =
        rules.lines().filter(|(_, name, _)| !graph.crates.contains_key(*name)).map(|(group, name, _)| {
            violation(
                format!("`{name}` does not exist"),
                format!("remove its line from [{group}] of layers.toml"),
            )
        });
    missing.chain(gone).collect()
}

/// The lines of the file themselves keep to `may_use`, and lead somewhere.
fn lines_follow_groups(rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    for group in rules.groups.keys().filter(|group| !rules.general.may_use.contains_key(*group)) {
        found.push(violation(
            format!("layers.toml has a group [{group}] without a rule"),
            format!("say in [rules] which groups it may use: `may_use.{group} = […]`"),
        ));
    }
    for (group, name, uses) in rules.lines() {
        for used in uses {
            match rules.group(used) {
                None => found.push(violation(
                    format!("{name} → {used}: layers.toml draws an arrow to a crate that it does not know"),
                    format!("correct the name, or remove it from the line of `{name}`"),
                )),
                Some(to) if !rules.may_use(group, to) => found.push(violation(
                    format!("{name} → {used}: layers.toml draws an arrow from [{group}] to [{to}]"),
                    format!(
                        "rule `may_use.{group}` has no \"{to}\": hand over a value of a ground crate instead"
                    ),
                )),
                Some(_) => {}
            }
        }
    }
    found
}

fn arrows_are_drawn(rules: &Rules, name: &str, node: &Crate) -> Vec<Violation> {
    let Some((group, _, drawn)) = rules.lines().find(|(_, line, _)| *line == name) else { return Vec::new() };
    let mut found = Vec::new();
    for used in &node.uses {
        if rules.general.for_tests_only.contains(used) && group != "tools" {
            found.push(violation(
                format!("{name} → {used}: only tests and tools may use `{used}`"),
                "rule `for_tests_only`: make it a dev-dependency",
            ));
        } else if !drawn.contains(used) {
            found.push(violation(
                format!("{name} → {used}: this arrow is not drawn"),
                format!("[{group}] of layers.toml lets `{name}` use {}", list(drawn)),
            ));
        }
    }
    found
}

fn tests_stay_in_reach(rules: &Rules, name: &str, node: &Crate) -> Vec<Violation> {
    let Some(group) = rules.group(name) else { return Vec::new() };
    let in_reach = |used: &str| {
        rules.general.for_tests_only.contains(used)
            || rules.group(used).is_none_or(|to| rules.may_use(group, to))
    };
    let beyond = node.tests_use.iter().filter(|used| !in_reach(used));
    beyond
        .map(|used| {
            violation(
                format!("tests of {name} → {used}: out of reach for [{group}]"),
                format!(
                    "rule `may_use.{group}` holds for dev-dependencies too: move the test to the upper crate"
                ),
            )
        })
        .collect()
}

fn pure_crates_are_pure(rules: &Rules, graph: &Graph, name: &str, node: &Crate) -> Vec<Violation> {
    let pure = &rules.general.pure;
    let of_pure_group = rules.group(name).is_some_and(|group| pure.groups.contains(group));
    let mut found = Vec::new();
    if of_pure_group || pure.crates.contains(name) {
        found.extend(graph.way(name, &pure.never).map(|way| {
            violation(
                format!("{}: a pure crate reaches I/O, time, threads or randomness", way.join(" → ")),
                "rule `pure.never`: leave that to a shell, and hand its result to the core",
            )
        }));
    }
    if of_pure_group {
        let disallows = node.disallows.clone().unwrap_or_default();
        let open: Vec<_> = pure.disallow.difference(&disallows).map(|path| format!("`{path}`")).collect();
        if !open.is_empty() {
            found.push(violation(
                format!("the clippy.toml of `{name}` does not disallow {}", open.join(", ")),
                "rule `pure.disallow`: add them to its `disallowed-methods` and `disallowed-types`",
            ));
        }
    }
    found
}

fn list(names: &super::rules::Names) -> String {
    if names.is_empty() {
        return "no workspace crate".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
