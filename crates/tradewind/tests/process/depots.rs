//! Depots: nodes that begin with what others have stored, in a folder and in a bucket; a bucket that cannot be used.

use crate::cluster::{DEFINITIONS, append};
use crate::support::{Cluster, Node, first_line, tradewind};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tw_testing::{S3Proxy, eventually};

#[test]
fn pro_2_a_node_without_state_begins_with_what_was_stored_in_the_depot() {
    let folder = tempfile::tempdir().unwrap();
    a_node_without_state_begins_with_what_is_in(&format!(
        "[depot]\nplace = \"{}\"\n",
        folder.path().display()
    ));
}

#[test]
fn pro_2_a_node_without_state_begins_with_what_another_one_stored_in_a_bucket() {
    let server = S3Proxy::start();
    server.create_bucket("snapshots");
    let keys = format!("credentials_file = \"{}\"\n", server.keys().display());
    a_node_without_state_begins_with_what_is_in(&(server.depot("snapshots/test") + &keys));
    assert!(server.bucket_folder("snapshots").join("test/views").is_dir(), "nothing is in the bucket");
}

/// A depot, as a table of the configuration.
fn a_node_without_state_begins_with_what_is_in(depot: &str) {
    let options =
        format!("cooldown_ms = 0\n\n{depot}\n[snapshots]\nevents_max = 1000\ninterval_ms_max = 1000\n");
    let mut cluster = Cluster::start_with(2, &options);
    cluster.node(0).ok(&["sql", DEFINITIONS]);
    let token = append(cluster.node(0), 0..210)["token"].as_str().unwrap().to_owned();
    let measured = |node: &Node, name: &str| {
        let metrics = node.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse::<f64>().unwrap())
    };
    for number in 0..2 {
        let stored = || (measured(cluster.node(number), "tradewind_snapshot_stored") > 0.0).then_some(());
        eventually(stored, || format!("n{number} stores nothing"));
    }
    cluster.kill(1);
    std::fs::remove_dir_all(cluster.data(1).join("state")).unwrap();
    cluster.start_again(1);
    let restored = || (measured(cluster.node(1), "tradewind_snapshot_restored") > 0.0).then_some(());
    eventually(restored, || "n1 replays the log instead".to_owned());
    let sql = "SELECT sum(orders) AS orders, sum(kinds) AS kinds FROM revenue";
    let seen = cluster.node(1).rows(sql, Some(&token)).swap_remove(0).to_string();
    assert!(seen.contains("210") && seen.contains("70"), "{seen}");
    assert_eq!(measured(cluster.node(1), "tradewind_snapshot_refused"), 0.0);
}

/// A command that starts a node which has all its keys from the environment.
fn up(folder: &Path, depot: &str, keys: [&str; 2]) -> Command {
    std::fs::write(folder.join("tradewind.toml"), depot).unwrap();
    let mut command = tradewind();
    command.args(["up", "--listen", "127.0.0.1:0", "-o", "json", "--log", "info"]).current_dir(folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    command.envs(names.into_iter().zip(keys)).env("AWS_EC2_METADATA_DISABLED", "true");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The first line on standard error that contains one of these.
fn line_with(child: &mut Child, wanted: &[&str]) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines
        .find(|line| wanted.iter().any(|wanted| line.contains(wanted)))
        .expect("it says nothing of the depot")
}

#[test]
fn a_node_says_at_its_start_whether_its_bucket_can_be_used_and_serves_anyway() {
    let (server, folder) = (S3Proxy::start(), TempDir::new().unwrap());
    server.create_bucket("there");
    let right = [S3Proxy::KEY, S3Proxy::SECRET];
    for (bucket, keys, expected) in [
        ("there", right, "snapshots of state are kept in a depot place=\"s3://there\""),
        (
            "missing",
            right,
            "error=\"depot `s3://missing` is not there: create its bucket, or name another one in `place`\"",
        ),
        (
            "there",
            [S3Proxy::KEY, "x"],
            "error=\"depot `s3://there` refuses this with `SignatureDoesNotMatch`: ",
        ),
    ] {
        let mut child = up(folder.path(), &server.depot(bucket), keys).spawn().unwrap();
        assert!(first_line(&mut child)["url"].as_str().unwrap().starts_with("http://"));
        let said = line_with(&mut child, &["are kept in a depot", "while the depot fails"]);
        assert!(said.contains(expected), "{said}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let refused = up(folder.path(), &server.depot("there"), ["", ""]).output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("depot `s3://there` has no keys: set `AWS_ACCESS_KEY_ID`"), "{said}");
}
