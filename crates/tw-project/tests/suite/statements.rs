//! Texts that are no statements, and statements that are larger than any.

use crate::documentation::examples;
use crate::support::Node;
use expect_test::expect;
use proptest::prelude::*;
use tw_project::{Statement, parse, parse_all};

/// What statements are made of, and what confuses their readers.
const WORDS: [&str; 64] = [
    "CREATE",
    "STREAM",
    "SOURCE",
    "PROJECTION",
    "OR",
    "REPLACE",
    "IF",
    "NOT",
    "EXISTS",
    "FROM",
    "POSTGRES",
    "TABLES",
    "WITH",
    "AS",
    "SELECT",
    "WHERE",
    "GROUP",
    "BY",
    "HAVING",
    "ORDER",
    "LIMIT",
    "DROP",
    "ALTER",
    "SET",
    "ADD",
    "COLUMN",
    "SHOW",
    "DESCRIBE",
    "EXPLAIN",
    "PAUSE",
    "CASE",
    "WHEN",
    "END",
    "IN",
    "BETWEEN",
    "AND",
    "IS",
    "NULL",
    "count",
    "a",
    "shop.\"x\"",
    "$1",
    "$",
    "'text'",
    "'",
    "\"",
    "E'\\",
    "U&'\\",
    "$$",
    "/*",
    "--",
    "\n",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    "::",
    "->>",
    "1e9",
    "'postgres://u:p@h/d'",
    "ü",
    "\0",
];

/// Reads a text, whatever it is.
fn read(sql: &str) {
    match parse_all(sql) {
        Ok(statements) => {
            for statement in statements {
                if let Statement::CreateProjection { query, .. } = statement {
                    // It is read again whenever the catalogue is.
                    assert!(matches!(parse(&query), Ok(Statement::Query(_))), "{sql:?}: {query:?}");
                }
            }
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            let lines = sql.split('\n').count() as u64;
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{sql:?}: {error:?}");
        }
    }
}

/// An example of the documentation with some of its characters taken out, doubled, or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0usize..6, prop::sample::select(&WORDS[..]), 0u8..3);
    (prop::sample::select(examples()), prop::collection::vec(edit, 1..5)).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (place, length, word, kind) in edits {
            let from = place.index(chars.len() + 1);
            let to = (from + length).min(chars.len());
            let instead: Vec<char> = match kind {
                0 => Vec::new(),
                1 => chars[from..to].repeat(2),
                _ => word.chars().collect(),
            };
            chars.splice(from..to, instead);
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn any_row_of_words_is_read_or_refused(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..24)) {
        read(&words.join(" "));
    }

    #[test]
    fn an_example_with_mistakes_is_read_or_refused(text in mutated()) {
        read(&text);
    }
}

#[test]
fn a_statement_as_large_as_it_may_be_does_not_exhaust_the_stack() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (a integer, t text, b boolean) WITH (partitions = 1)");
    for many in [90, 20_000] {
        let chain = |first: &str, next: &str| format!("{first}{}", next.repeat(many));
        for sql in [
            format!("SELECT {} FROM s", chain("a", " + a")),
            format!("SELECT {} FROM s", chain("t", " || t")),
            format!("SELECT a FROM s WHERE {}", chain("b", " AND b")),
            format!("SELECT a FROM s WHERE {}", chain("a = 0", " OR a = 1")),
            format!("SELECT {}a FROM s", "- ".repeat(many)),
            format!("SELECT a FROM s WHERE {}b", "NOT ".repeat(many)),
            format!("SELECT {} FROM s", chain("a", "::int")),
            format!("SELECT {} FROM s", chain("b", " IS NULL")),
            format!("SELECT {} FROM s", chain("b", " IN (true)")),
            format!("SELECT {} FROM s", chain("a", " COLLATE \"C\"")),
            format!("SELECT {} FROM s", chain("_time", " AT TIME ZONE 'UTC'")),
            format!("SELECT {}a{} FROM s", "(".repeat(many), ")".repeat(many)),
            format!("SELECT {}a{} FROM s", "abs(".repeat(many), ")".repeat(many)),
            chain("SELECT a FROM s", " UNION ALL SELECT a FROM s"),
            format!("SELECT count(*) FROM {}", chain("s", ", s")),
            format!("SELECT {}a FROM s{}", "a FROM (SELECT ".repeat(many), ") t".repeat(many)),
            format!("SELECT coalesce({}) FROM s", chain("a", ", a")),
            format!("SELECT a IN ({}) FROM s", chain("1", ", 1")),
            format!("SELECT CASE {} END FROM s", chain("", " WHEN b THEN a")),
        ] {
            // It is carried out or refused; either is an answer.
            let _answer = node.try_run(&sql);
        }
    }
    assert_eq!(node.query("SELECT count(*) FROM s"), "[0]");
    let conditions = vec!["a = 1"; 200].join(" OR ");
    assert_eq!(node.query(&format!("SELECT count(*) FROM s WHERE {conditions}")), "[0]");
}

#[test]
fn a_statement_beyond_its_bounds_is_refused_with_the_bound() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (a integer)");
    let all: Vec<String> = [
        format!("SELECT a{} FROM s", " + a".repeat(101)),
        format!("SELECT a{} FROM s", " + a".repeat(1_001)),
        format!("SELECT concat(a{}) FROM s", ", a".repeat(100)),
        format!("SELECT 1 FROM s{}", ", s".repeat(100)),
        format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100)),
        format!("SELECT '{}'", "x".repeat(1 << 20)),
    ]
    .iter()
    .map(|sql| node.refused(sql))
    .collect();
    expect![[r#"
        more than 100 expressions within one another (line 1, column 8)
        the statement has 1001 operators, more than 1000
        concat() has 101 arguments, more than 100 (line 1, column 8)
        FROM names 101 tables, more than 100 (line 1, column 1)
        the statement is nested too deeply
        the statement has 1048585 bytes, more than 1048576"#]]
    .assert_eq(&all.join("\n"));
}
