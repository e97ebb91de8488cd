//! What running nodes find broken of the promises of the cluster, by themselves.

use crate::cluster::append;
use crate::support::Cluster;
use serde_json::Value;
use tw_testing::eventually;

/// What a node has to say of promises that are broken: of `$cluster`, the data of each event.
fn told(cluster: &Cluster) -> Vec<Value> {
    let shown = cluster.node(0).ok(&["replay", "$cluster", "-o", "ndjson"]);
    let events = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let broken = events.filter(|event| event["type"] == "tradewind.invariant.broken");
    broken.map(|event| event["data"].clone()).collect()
}

/// Two installations on one Kafka, by mistake: each thinks that it is alone.
#[test]
fn clu_1_a_second_installation_on_the_same_kafka_is_found_and_told() {
    let mut cluster = Cluster::start(2);
    cluster.node(0).ok(&["sql", "CREATE STREAM orders WITH (partitions = 2)"]);
    append(cluster.node(0), 0..20);
    assert_eq!((cluster.broken(), told(&cluster)), (vec![], vec![]));
    cluster.breaks_promises = true;
    let (_folder, stranger) = cluster.start_stranger();
    append(&stranger, 20..40);
    let is_told = || {
        let mut names: Vec<String> =
            told(&cluster).iter().map(|told| told["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        (names == ["orders/0", "orders/1"]).then_some(())
    };
    eventually(is_told, || format!("{:?}", told(&cluster)));
    for told in told(&cluster) {
        assert_eq!(told["invariant"], "CLU-1", "{told}");
        let what = told["what"].as_str().unwrap();
        assert!(what.ends_with("its log has events since that somebody else has written"), "{what}");
    }
    let measured = cluster.broken();
    assert!(measured.iter().all(|line| line.contains("CLU-1")) && !measured.is_empty(), "{measured:?}");
    // The owner says so, too, and what to do.
    let found = (0..2).filter_map(|number| {
        let status: Value =
            serde_json::from_slice(&cluster.node(number).cli(&["status", "-o", "json"]).stdout).unwrap();
        let problems = status["problems"].as_array().unwrap().clone();
        problems.into_iter().find(|problem| problem["code"] == "invariant_broken")
    });
    let found: Vec<Value> = found.collect();
    assert!(!found.is_empty());
    for problem in &found {
        assert_eq!(problem["about"]["kind"], "partition", "{problem}");
        assert!(problem["about"]["name"].as_str().unwrap().starts_with("orders/"), "{problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with("CLU-1: node `n"), "{problem}");
    }
}
