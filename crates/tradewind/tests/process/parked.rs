//! Events that a projection cannot process: parked, looked at, and decided about.

use crate::support::{Node, psql, said};
use serde_json::{Value, json};
use std::path::Path;
use tw_testing::{Postgres, eventually};

/// Soon parked, so that nobody waits for attempts that cannot succeed.
const CONFIG: &str = "[process.retry]\nattempts_max = 3\nretry_ms_min = 1\n";
const DEFINITIONS: &str = "CREATE STREAM orders (id bigint NOT NULL, customer text, total text);
    CREATE PROJECTION revenue AS SELECT customer, count(*) AS orders, sum(total::numeric)::text AS revenue
        FROM orders GROUP BY customer";
const QUESTION: &str = "SELECT customer, orders, revenue FROM revenue ORDER BY customer";

fn start(folder: &Path) -> Node {
    std::fs::write(folder.join("tradewind.toml"), CONFIG).unwrap();
    Node::start(folder)
}

fn append(node: &Node, orders: &[(u64, &str, &str)]) {
    let lines: String = orders
        .iter()
        .map(|(id, customer, total)| {
            json!({ "id": id, "customer": customer, "total": total }).to_string() + "\n"
        })
        .collect();
    let output =
        node.cli_with(&["append", "orders", "--type", "order.placed", "--subject-from", "id"], &lines);
    assert!(output.status.success(), "{}", said(&output));
}

fn row(customer: &str, orders: u64, revenue: &str) -> Value {
    json!({ "customer": customer, "orders": orders, "revenue": revenue })
}

fn listed(node: &Node) -> Vec<Value> {
    let listed: Value = serde_json::from_str(&node.ok(&["parked", "ls", "-o", "json"])).unwrap();
    listed.as_array().unwrap().clone()
}

/// The parked events of these subjects, and of no others.
fn parked(node: &Node, subjects: &[&str]) -> Vec<Value> {
    let look = || {
        let events = listed(node);
        let found: Vec<&str> = events.iter().map(|event| event["event_subject"].as_str().unwrap()).collect();
        (subjects.len() == found.len() && subjects.iter().all(|subject| found.contains(subject)))
            .then_some(events)
    };
    eventually(look, || format!("parked: {:?} instead of {subjects:?}", listed(node)))
}

/// How `tradewind parked` names an event.
fn id(event: &Value) -> String {
    let part = |name: &str| event[name].to_string().trim_matches('"').to_owned();
    [part("view"), part("stream"), part("partition"), part("offset")].join("/")
}

fn of_subject(events: &[Value], subject: &str) -> String {
    id(events.iter().find(|event| event["event_subject"] == subject).unwrap())
}

#[test]
fn pro_3_parked_events_hold_up_their_subjects_alone_until_somebody_decides_also_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    node.ok(&["sql", DEFINITIONS]);
    append(
        &node,
        &[(1, "a", "1.25"), (2, "a", "many"), (3, "b", "few"), (2, "b", "2"), (3, "b", "4"), (4, "b", "8")],
    );
    let events = parked(&node, &["2", "3"]);
    for event in &events {
        assert_eq!(
            (&event["view"], &event["attempts"], &event["state"]),
            (&json!("revenue"), &json!(3), &json!("parked"))
        );
    }
    let (many, few) = (of_subject(&events, "2"), of_subject(&events, "3"));
    node.eventually(QUESTION, &[row("a", 1, "1.25"), row("b", 1, "8")]);
    let waited = node.cli(&["projection", "wait", "revenue"]);
    assert!(String::from_utf8_lossy(&waited.stdout).contains("2 events are parked"), "{waited:?}");
    let shown: Value = serde_json::from_str(&node.ok(&["parked", "show", &many, "-o", "json"])).unwrap();
    assert_eq!((&shown["waiting"], &shown["event_type"]), (&json!(1), &json!("order.placed")));
    let why = shown["why"].as_str().unwrap();
    assert!(why.contains("numeric") && why.contains("`many`"), "{why}");

    node.kill();
    let node = start(folder.path());
    assert_eq!(parked(&node, &["2", "3"]), events);
    node.eventually(QUESTION, &[row("a", 1, "1.25"), row("b", 1, "8")]);
    // What waited behind it goes on; the event itself stays out.
    node.ok(&["parked", "drop", &many, "--yes"]);
    node.eventually(QUESTION, &[row("a", 1, "1.25"), row("b", 2, "10")]);
    assert_eq!(node.cli(&["parked", "show", &many]).status.code(), Some(3));
    // It fails again, and stays.
    node.ok(&["parked", "retry", &few]);
    let tried = || {
        let events = parked(&node, &["3"]);
        (events[0]["attempts"] == 4 && events[0]["state"] == "parked").then_some(())
    };
    eventually(tried, || format!("it is not tried again: {:?}", listed(&node)));

    node.kill();
    let node = start(folder.path());
    assert_eq!(id(&parked(&node, &["3"])[0]), few);
    // A definition that can process it needs no decision, and what was dropped stays out.
    let replace = "CREATE OR REPLACE PROJECTION revenue AS SELECT customer, count(*) AS orders,
        sum(CASE WHEN total = 'few' THEN 16 ELSE total::numeric END)::text AS revenue FROM orders GROUP BY customer";
    node.ok(&["sql", replace]);
    node.ok(&["projection", "wait", "revenue"]);
    parked(&node, &[]);
    let all = [row("a", 1, "1.25"), row("b", 4, "30")];
    node.eventually(QUESTION, &all);
    node.ok(&["projection", "rebuild", "revenue", "--wait"]);
    node.eventually(QUESTION, &all);
    node.kill();
    let node = start(folder.path());
    node.eventually(QUESTION, &all);
    parked(&node, &[]);
}

#[test]
fn pro_3_a_row_that_was_corrected_in_its_database_counts_once_the_parked_change_is_left_out() {
    let server = Postgres::start();
    psql(
        &server,
        "CREATE TABLE ratios (id int PRIMARY KEY, a int, b int); INSERT INTO ratios VALUES (1, 8, 2), (2, 9, 3)",
    );
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    let url = server.url("postgres");
    node.ok(&["sql", &format!("CREATE SOURCE shop FROM POSTGRES '{url}' TABLES (ratios)")]);
    node.ok(&[
        "sql",
        "CREATE PROJECTION total AS SELECT sum(a / b) AS total, count(*) AS n FROM shop.ratios",
    ]);
    let question = "SELECT total, n FROM total";
    let answer = |total, n| [json!({ "total": total, "n": n })];
    node.eventually(question, &answer(7, 2));
    psql(&server, "UPDATE ratios SET b = 0 WHERE id = 1");
    psql(&server, "UPDATE ratios SET b = 4 WHERE id = 1; INSERT INTO ratios VALUES (3, 5, 1)");
    let events = parked(&node, &["1"]);
    assert!(events[0]["why"].as_str().unwrap().contains("division by zero"), "{events:?}");
    // As if the row had not changed: a change that holds up others changes nothing.
    node.eventually(question, &answer(12, 3));
    node.ok(&["parked", "drop", &id(&events[0]), "--yes"]);
    node.eventually(question, &answer(10, 3));
    parked(&node, &[]);
}

#[test]
fn a_parked_event_that_is_not_there_is_named_as_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    node.ok(&["sql", DEFINITIONS]);
    for (args, code, text) in [
        (&["parked", "show", "revenue/orders/0/7"][..], 3, "`revenue/orders/0/7`"),
        (&["parked", "retry", "revenue/orders/0/7"][..], 3, "`revenue/orders/0/7`"),
        (&["parked", "drop", "revenue/orders/0/7", "--yes"][..], 3, "`revenue/orders/0/7`"),
        (&["parked", "show", "revenue/0/7"][..], 2, "view/stream/partition/offset"),
        (&["parked", "ls", "--view", "revenues"][..], 3, "`revenues`"),
    ] {
        let output = node.cli(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(text), "{args:?}: {}", said(&output));
    }
    assert_eq!(node.ok(&["parked", "ls"]), "no events are parked\n");
}

#[test]
fn all_parked_events_of_a_view_are_decided_about_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path());
    node.ok(&["sql", DEFINITIONS]);
    append(&node, &[(1, "a", "1.25"), (2, "a", "many"), (3, "b", "few"), (3, "b", "4")]);
    parked(&node, &["2", "3"]);
    let told = node.ok(&["parked", "retry", "--all", "revenue"]);
    assert!(told.starts_with("2 parked events of `revenue` are processed again"), "{told}");
    // They fail again, and stay.
    parked(&node, &["2", "3"]);
    let none = node.ok(&["parked", "drop", "--all", "revenue", "--reason", "another reason", "--yes"]);
    assert!(none.starts_with("no parked events of `revenue` were meant"), "{none}");
    node.ok(&["parked", "drop", "--all", "revenue", "--yes"]);
    assert!(parked(&node, &[]).is_empty());
    node.eventually(QUESTION, &[row("a", 1, "1.25"), row("b", 1, "4")]);
    assert_eq!(node.cli(&["parked", "retry"]).status.code(), Some(2));
    assert_eq!(node.cli(&["parked", "retry", "--all", "revenues"]).status.code(), Some(3));
}
