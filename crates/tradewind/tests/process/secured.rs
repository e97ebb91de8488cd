//! A node whose Kafka and etcd take encrypted connections alone, from whom they know.

use crate::support::{Node, said, tradewind};
use serde_json::json;
use std::fs;
use tw_testing::{Authority, Etcd, Kafka, eventually, free_port};

#[test]
fn a_cluster_runs_over_encrypted_connections_and_a_wrong_password_is_told() {
    let authority = Authority::new();
    let (broker, own) = (authority.issue("broker"), authority.issue("node-1"));
    let port = free_port();
    let setting = |name: &str| format!("listener.name.users.{name}");
    let kafka = Kafka::builder()
        .listener("USERS", "SASL_SSL", port)
        .setting(&setting("ssl.keystore.type"), "PEM")
        .setting(&setting("ssl.keystore.location"), &broker.both.display().to_string())
        .setting(&setting("sasl.enabled.mechanisms"), "SCRAM-SHA-512")
        .setting(
            &setting("scram-sha-512.sasl.jaas.config"),
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        )
        .start();
    kafka.add_scram_user("tradewind", "right");
    let etcd = Etcd::start_secured(&authority);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("kafka-password");
    let ca = authority.file();
    let (ca, certificate, key) = (ca.display(), own.certificate.display(), own.key.display());
    let config = format!(
        "[cluster]\nenabled = true\nnode = \"n0\"\n\
         [kafka]\nservers = \"127.0.0.1:{port}\"\nrequest_ms_max = 3000\n\
         [kafka.tls]\nenabled = true\nca = \"{ca}\"\n\
         [kafka.sasl]\nmechanism = \"SCRAM-SHA-512\"\nuser = \"tradewind\"\npassword_file = \"kafka-password\"\n\
         [etcd]\nendpoints = [\"{}\"]\n\
         [etcd.tls]\nca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n",
        etcd.endpoint()
    );
    fs::write(folder.path().join("tradewind.toml"), &config).unwrap();
    fs::write(&password, "wrong\n").unwrap();
    let refused =
        tradewind().args(["up", "--listen", "127.0.0.1:0"]).current_dir(folder.path()).output().unwrap();
    assert!(!refused.status.success() && !said(&refused).contains("wrong\n"), "{}", said(&refused));
    fs::write(&password, "right\n").unwrap();
    fs::write(folder.path().join("tradewind.toml"), config.replace("request_ms_max = 3000\n", "")).unwrap();
    let node = Node::start(folder.path());
    node.ok(&[
        "sql",
        "CREATE STREAM orders (id bigint); CREATE PROJECTION n AS SELECT count(*) AS n FROM orders",
    ]);
    let appended = || {
        let output = node.cli(&["append", "orders", "{\"id\": 7}", "--idempotency-key", "first"]);
        output.status.success().then_some(())
    };
    eventually(appended, || said(&node.cli(&["cluster", "status"])));
    node.eventually("SELECT n FROM n", &[json!({ "n": 1 })]);
    // What is configured is shown, and no password with it.
    let shown = node.ok(&["config", "get", "-o", "json"]);
    assert!(shown.contains("kafka.sasl.password_file") && !shown.contains("right"), "{shown}");
}
