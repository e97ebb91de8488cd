//! Answering other nodes, whatever they ask.

use crate::support::Node;
use crate::support::node::options;
use bytes::Bytes;
use expect_test::expect;
use futures_util::StreamExt as _;
use proptest::prelude::*;

fn node() -> Node {
    let options = tw_project::Options { holds_max: 2, ..options() };
    Node::with_members(1, |_, _| 0, options)
}

fn hold(timeout_ms: u64) -> Bytes {
    let json = format!(r#"{{"version":1,"timeout_ms":{timeout_ms},"token":"tw1","ask":{{"hold":[]}}}}"#);
    Bytes::from(json)
}

/// The whole answer, as far as it can be shown.
fn answer(node: &Node, request: &Bytes) -> String {
    let answer = node.members[0].engine.serve(request.clone()).collect::<Vec<_>>();
    node.runtime.block_on(answer).concat().escape_ascii().to_string()
}

#[test]
fn a_held_moment_ends_with_its_answer_or_its_deadline() {
    let node = node();
    let engine = &node.members[0].engine;
    node.runtime.block_on(async {
        let mut dropped = engine.serve(hold(600_000));
        let mut ended = engine.serve(hold(50));
        assert!(dropped.next().await.is_some() && ended.next().await.is_some());
        assert_eq!(engine.held_moments(), 2);
        let refused = engine.serve(hold(50)).collect::<Vec<_>>().await.concat();
        expect![[r#"P\x00\x00\x00\x05{\"not_readable\":{\"reason\":\"2 queries of other nodes are under way: try again\"}}"#]]
            .assert_eq(&refused.escape_ascii().to_string());
        // The deadline comes.
        assert!(ended.next().await.is_some() && ended.next().await.is_none());
        assert_eq!(engine.held_moments(), 1);
        drop(dropped);
        assert_eq!(engine.held_moments(), 0);
    });
}

#[test]
fn what_cannot_be_answered_is_told() {
    let node = node();
    let read = |view: &str| {
        let read = format!(r#"{{"read":{{{view},"get":{{"rows":{{}}}}}}}}"#);
        Bytes::from(format!(r#"{{"version":1,"timeout_ms":1000,"token":"tw1","ask":{read}}}"#))
    };
    let view = r#""view":{"name":"projection/p","stream":77,"definition":1,"partitions":[0]}"#;
    expect![[r#"\x0b\x00\x00\x00\x05\"not_here\""#]].assert_eq(&answer(&node, &read(view)));
    let held = format!(r#""held":5,{view}"#);
    expect![[r#"\x07\x00\x00\x00\x05\"gone\""#]].assert_eq(&answer(&node, &read(&held)));
    assert!(answer(&node, &Bytes::from_static(b"GET /")).contains("this is no request of a node"));
}

#[test]
fn any_request_is_answered_or_refused() {
    let mut node = node();
    node.run("CREATE STREAM things (kind text, x integer) WITH (partitions = 2)");
    node.run("CREATE PROJECTION plain AS SELECT kind, x FROM things");
    node.run("CREATE PROJECTION totals AS SELECT kind, array_agg(x) AS all FROM things GROUP BY kind");
    for number in 0..20 {
        let json = format!(r#"{{"kind":"k{}","x":{number}}}"#, number % 3);
        node.append("things", "thing", Some(&number.to_string()), &json);
    }
    node.query("SELECT * FROM plain");
    let views: Vec<(u64, u32, String)> = node.members[0]
        .engine
        .views()
        .into_iter()
        .map(|view| {
            use tw_process::View as _;
            let view = view.unwrap().view;
            (view.definition(), view.stream().0, view.name().to_owned())
        })
        .collect();
    let requests: Vec<Vec<u8>> = views
        .iter()
        .map(|(definition, stream, name)| {
            let get = if name.ends_with("plain") {
                r#"{"rows":{"subject":"3","columns":[1],"filter":{"all":[{"eq":[1,"0306"]},{"not_null":0}]},"rows_max":2}}"#
            } else {
                r#"{"groups":{"start":"306b310000","one":true,"aggregates":[0]}}"#
            };
            format!(
                r#"{{"version":1,"timeout_ms":1000,"token":"tw1","ask":{{"read":{{"view":{{"name":"{name}","stream":{stream},"definition":{definition},"partitions":[0,1]}},"get":{get}}}}}}}"#
            )
            .into_bytes()
        })
        .collect();
    for request in &requests {
        let whole = answer(&node, &Bytes::from(request.clone()));
        assert!(whole.ends_with("\\x01\\x00\\x00\\x00\\x04"), "{whole}");
    }
    let change = (0..requests.len(), any::<proptest::sample::Index>(), any::<u8>());
    proptest!(ProptestConfig::with_cases(tw_testing::cases(500)), |((which, at, byte) in change)| {
        let mut request = requests[which].clone();
        let at = at.index(request.len());
        request[at] = byte;
        let whole = answer(&node, &Bytes::from(request));
        let failed = whole.contains("\\x00\\x05");
        prop_assert!(failed || whole.ends_with("\\x01\\x00\\x00\\x00\\x04"), "{}", whole);
    });
}
