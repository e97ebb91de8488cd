//! Alarms: every metric that a rule names exists, and the documentation says of every rule what it means.

use crate::support::Node;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What Prometheus says itself: of a target, and of its rules.
const OF_PROMETHEUS: [&str; 1] = ["up"];

/// A rule: its name, its expression, and how long that holds before the alarm rings.
type Rule = (String, String, Option<String>);

fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..")
}

fn rules() -> Vec<Rule> {
    let text = fs::read_to_string(root().join("deploy/alarms.yaml")).unwrap();
    let of = |rule: &str, key: &str| {
        rule.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")).map(str::to_owned))
    };
    let rules = text.split("- alert: ").skip(1).map(|rule| {
        let name = rule.lines().next().unwrap().to_owned();
        (name, of(rule, "expr").unwrap(), of(rule, "for"))
    });
    rules.collect()
}

/// The names of metrics in an expression: words that are neither called, nor labels, nor parts of the language.
fn metrics(expression: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    let (mut rest, mut in_braces, mut is_list) = (expression, false, false);
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            match first {
                '{' => in_braces = true,
                '}' => in_braces = false,
                '[' => rest = &rest[rest.find(']').unwrap()..],
                '"' => rest = &rest[1 + rest[1..].find('"').unwrap()..],
                ')' => is_list = false,
                _ => {}
            }
            rest = &rest[1..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        let is_called = after.trim_start().starts_with('(') && !matches!(word, "and" | "or" | "unless");
        match word {
            // The labels that follow are in parentheses.
            "by" => is_list = true,
            "and" | "or" | "unless" => {}
            _ if in_braces || is_list || is_called || first.is_ascii_digit() => {}
            // An aggregation with its labels first.
            _ if after.trim_start().starts_with("by") => {}
            _ => {
                found.insert(word.to_owned());
            }
        }
        rest = after;
    }
    found
}

/// What the code describes.
fn described(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            described(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for kind in ["gauge", "counter", "histogram"] {
                let call = format!("describe_{kind}!(");
                let calls = text.split(&call).skip(1);
                let names = calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_metric_of_an_alarm_is_described_in_the_code() {
    let mut known: BTreeSet<String> = OF_PROMETHEUS.map(str::to_owned).into();
    for of in ["tw-api/src", "tw-node/src"] {
        described(&root().join("crates").join(of), &mut known);
    }
    let rules = rules();
    assert_eq!(rules.len(), 23);
    for (name, expression, _) in &rules {
        let named = metrics(expression);
        assert!(!named.is_empty(), "{name}: {expression}");
        for metric in named {
            assert!(known.contains(&metric), "{name}: nothing is measured as `{metric}`");
        }
    }
}

#[test]
fn names_are_found_in_any_expression() {
    let check = |expression, expected: &[&str]| {
        assert_eq!(
            metrics(expression),
            expected.iter().map(|name| (*name).to_owned()).collect(),
            "{expression}"
        );
    };
    check("a_b > 1e9", &["a_b"]);
    check("max by (job) (a) != min by (job, instance) (b{c=~\"d|e\"}) and f == 0", &["a", "b", "f"]);
    check("sum by (x) (rate(a{route=\"POST /{y}\"}[5m])) / predict_linear(b[6h], 86400) < 0", &["a", "b"]);
}

#[test]
fn routes_of_alarms_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let interface = Node::start(folder.path()).get("/v1/openapi.json");
    let mut routes = 0;
    for (name, expression, _) in rules() {
        for route in expression.split("route=\"").skip(1) {
            let (_, path) = route.split('"').next().unwrap().split_once(' ').unwrap();
            assert!(interface.contains(&format!("\"{path}\":{{")), "{name}: {path}");
            routes += 1;
        }
    }
    assert_eq!(routes, 1);
}

#[test]
fn every_alarm_is_documented_as_it_is() {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let documented: Vec<&str> = page.split("\n### Tradewind").skip(1).collect();
    let rules = rules();
    assert_eq!(documented.len(), rules.len());
    for ((name, expression, time), section) in rules.iter().zip(documented) {
        let (heading, text) = section.split_once('\n').unwrap();
        assert_eq!(format!("Tradewind{heading}"), *name, "in the order of the rules");
        let time = time.as_ref().map(|time| format!(", for {time}")).unwrap_or_default();
        assert!(text.contains(&format!("\n`{expression}`{time}")), "{name}: {text}");
        assert!(text.contains("\n*Do:* "), "{name}: {text}");
    }
}
