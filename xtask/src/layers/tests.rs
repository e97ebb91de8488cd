//! Each rule is broken once, on small workspaces.

use super::check::check;
use super::graph::{Crate, Graph};
use super::rules::{Names, Rules};

const RULES: &str = r#"
[ground]
types = []
[cores]
order = ["types"]
[data]
log = ["types", "order"]
[trust]
policy = ["log"]
[tools]
testing = ["log"]
[rules]
may_use = { ground = ["ground"], cores = ["ground"], data = ["ground", "cores", "data"], trust = ["data"], tools = ["data"] }
for_tests_only = ["testing"]
pure = { groups = ["cores"], crates = ["types"], never = ["tokio"], disallow = ["Instant::now"] }
"#;

fn names(list: &str) -> Names {
    list.split_whitespace().map(str::to_owned).collect()
}

/// The workspace that `RULES` describe, all arrows used.
fn workspace() -> Graph {
    let mut graph = Graph::default();
    for (name, uses) in
        [("types", ""), ("order", "types"), ("log", "types order"), ("policy", "log"), ("testing", "log")]
    {
        let disallows = (name == "order").then(|| names("Instant::now"));
        graph.crates.insert(name.into(), Crate { uses: names(uses), disallows, ..Crate::default() });
        graph.links.insert(name.into(), names(uses));
    }
    graph
}

/// The first lines of all violations after `change`.
fn violations(change: impl FnOnce(&mut Graph)) -> Vec<String> {
    violations_of(RULES, change)
}

fn violations_of(rules: &str, change: impl FnOnce(&mut Graph)) -> Vec<String> {
    let mut graph = workspace();
    change(&mut graph);
    let found = check(&Rules::parse(rules).unwrap(), &graph);
    found.iter().map(|violation| violation.to_string().lines().next().unwrap().to_owned()).collect()
}

fn node<'g>(graph: &'g mut Graph, name: &str) -> &'g mut Crate {
    graph.crates.get_mut(name).unwrap()
}

#[test]
fn a_workspace_as_drawn_is_fine() {
    assert!(violations(|_| ()).is_empty());
}

#[test]
fn an_arrow_that_is_not_drawn_is_named() {
    let found = violations(|graph| node(graph, "log").uses = names("types policy"));
    assert_eq!(found, ["log → policy: this arrow is not drawn"]);
}

#[test]
fn a_drawn_arrow_that_breaks_its_groups_rule_is_named() {
    let found =
        violations_of(&RULES.replace(r#"log = ["types", "order"]"#, r#"log = ["policy"]"#), |graph| {
            node(graph, "log").uses = names("policy");
        });
    assert_eq!(found, ["log → policy: layers.toml draws an arrow from [data] to [trust]"]);
}

#[test]
fn a_crate_that_the_file_does_not_know_is_named() {
    let found = violations(|graph| _ = graph.crates.insert("new".into(), Crate::default()));
    assert_eq!(found, ["`new` is not in layers.toml"]);
}

#[test]
fn a_line_without_a_crate_is_named() {
    let found = violations(|graph| _ = graph.crates.remove("policy"));
    assert_eq!(found, ["`policy` does not exist"]);
}

#[test]
fn an_arrow_to_nowhere_is_named() {
    let found = violations_of(&RULES.replace(r#"policy = ["log"]"#, r#"policy = ["lgo"]"#), |graph| {
        node(graph, "policy").uses = names("");
    });
    assert_eq!(found, ["policy → lgo: layers.toml draws an arrow to a crate that it does not know"]);
}

#[test]
fn a_group_without_a_rule_is_named() {
    let found = violations_of(&format!("[attic]\n{RULES}"), |_| ());
    assert_eq!(found, ["layers.toml has a group [attic] without a rule"]);
}

#[test]
fn tests_may_use_more_than_is_drawn_but_nothing_above_their_group() {
    let found = violations(|graph| {
        node(graph, "log").tests_use = names("testing log");
        node(graph, "order").tests_use = names("testing log");
    });
    assert_eq!(found, ["tests of order → log: out of reach for [cores]"]);
}

#[test]
fn test_support_stays_out_of_products() {
    let found = violations(|graph| node(graph, "log").uses = names("testing"));
    assert_eq!(found, ["log → testing: only tests and tools may use `testing`"]);
}

#[test]
fn a_pure_crate_that_reaches_io_is_named_with_the_way() {
    let found = violations(|graph| {
        graph.links.insert("types".into(), names("futures"));
        graph.links.insert("futures".into(), names("tokio"));
    });
    assert_eq!(
        found,
        [
            "order → types → futures → tokio: a pure crate reaches I/O, time, threads or randomness",
            "types → futures → tokio: a pure crate reaches I/O, time, threads or randomness",
        ]
    );
}

#[test]
fn a_core_that_may_read_the_clock_is_named() {
    let found = violations(|graph| node(graph, "order").disallows = None);
    assert_eq!(found, ["the clippy.toml of `order` does not disallow `Instant::now`"]);
}
