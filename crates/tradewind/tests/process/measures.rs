//! Numbers over time, kept by the node itself; and rows with what is measured of them.

use crate::support::Node;
use serde_json::{Value, json};
use std::path::Path;
use tw_testing::eventually;

/// Steps of a second, so that nobody waits for longer ones.
const CONFIG: &str = "[metrics]\ninterval_ms = 1000\n";
const SERIES: &str =
    "appended_events_per_second,stream_events_per_second/orders,projection_events_per_second/n";

fn start(folder: &Path, config: &str) -> Node {
    std::fs::write(folder.join("tradewind.toml"), config).unwrap();
    Node::start(folder)
}

/// What a GET answers, as JSON.
pub(crate) fn json_of(node: &Node, path: &str) -> Value {
    let answer = node.get(path);
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The most that each of the series ever was, in the last hour.
fn most(node: &Node) -> Vec<f64> {
    let told = json_of(node, &format!("/v1/metrics?series={SERIES}"));
    let of_one = |series: &Value| {
        let points = series["points"].as_array().unwrap();
        points.iter().map(|point| point[2].as_f64().unwrap()).fold(0.0, f64::max)
    };
    told["series"].as_array().unwrap().iter().map(of_one).collect()
}

#[test]
fn what_a_node_measures_is_told_over_time_also_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), CONFIG);
    node.ok(&[
        "sql",
        "CREATE STREAM orders (a int); CREATE PROJECTION n AS SELECT count(*) AS n FROM orders",
    ]);
    let lines = "{\"a\": 1}\n".repeat(50);
    let look = || {
        assert!(node.cli_with(&["append", "orders"], &lines).status.success());
        most(&node).iter().all(|most| *most > 0.0).then(|| most(&node))
    };
    let before = eventually(look, || format!("{:?}", most(&node)));
    let names = json_of(&node, "/v1/metrics");
    let names: Vec<&str> =
        names["series"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    for name in
        ["append_p99_ms", "log_bytes", "parked_events", "projection_lag_ms", "appended_bytes_per_second"]
    {
        assert!(names.contains(&name), "{names:?}");
    }
    let stream = json_of(&node, "/v1/streams/$metrics");
    assert_eq!(stream["options"]["retention_ms"], 90_000_000);
    // What is told now is in the log when the step after it is.
    let end = || json_of(&node, "/v1/streams/$metrics")["offsets"][0]["end"].as_u64().unwrap();
    let last = end();
    eventually(|| (end() > last + 1).then_some(()), || "nothing is appended".to_owned());
    node.kill();
    let node = start(folder.path(), CONFIG);
    let look = || most(&node).iter().zip(&before).all(|(now, before)| now >= before).then_some(());
    eventually(look, || format!("{:?} instead of {before:?}", most(&node)));
}

#[test]
fn metrics_that_are_switched_off_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), "[metrics]\ninterval_ms = 1000\nenabled = false\n");
    node.ok(&["stream", "create", "orders"]);
    let is_there = || node.cli(&["stream", "show", "$metrics"]).status.success().then_some(());
    // It is in no hurry: what it would have kept until now is one step at most, and there is none.
    assert_eq!(is_there(), None);
    node.ok(&["config", "set", "metrics.enabled", "true"]);
    eventually(is_there, || "nothing is kept after it was switched on".to_owned());
    assert!(node.answer_to("/v1/metrics?series=weather").contains("invalid_parameter"));
    assert!(node.answer_to("/v1/metrics?series=log_bytes&from=9999999999999").contains("invalid_parameter"));
}

#[test]
fn rows_of_streams_and_projections_have_what_is_measured_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&[
        "sql",
        "CREATE STREAM orders (a int); CREATE PROJECTION n AS SELECT count(*) AS n FROM orders",
    ]);
    let row = || json_of(&node, "/v1/streams?prefix=orders")["streams"][0].clone();
    assert_eq!((&row()["bytes"], &row()["last_event_at"]), (&json!(0), &json!(null)));
    let lines = "{\"a\": 1}\n".repeat(100);
    let look = || {
        assert!(node.cli_with(&["append", "orders"], &lines).status.success());
        let row = row();
        let is_busy = row["rate_events_per_second"].as_f64().unwrap() > 1.0;
        (is_busy && row["bytes"].as_u64().unwrap() > 100 && row["last_event_at"].is_string()).then_some(())
    };
    eventually(look, || row().to_string());
    let of_projection = || json_of(&node, "/v1/projections/n");
    let look = || {
        assert!(node.cli_with(&["append", "orders"], &lines).status.success());
        (of_projection()["rate_events_per_second"].as_f64().unwrap() > 1.0).then_some(())
    };
    eventually(look, || of_projection().to_string());
    assert_eq!(of_projection()["stream"], "orders");
    assert!(of_projection()["lag_ms"].is_u64() && of_projection()["state_bytes"].is_u64());
}
