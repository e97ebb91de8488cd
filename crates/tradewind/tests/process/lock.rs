//! Commands under locks: one at a time, ended when the lock is lost, and free again when whoever held it is gone.

use crate::support::{Node, said, tradewind};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tw_testing::eventually;

/// Starts `tradewind lock run … -- sh -c SCRIPT`.
fn lock(url: &str, args: &[&str], script: &str) -> Child {
    tradewind()
        .args(["lock", "run", "--url", url])
        .args(args)
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn printed(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), said(&output))
}

fn locks(node: &Node) -> Vec<Value> {
    serde_json::from_str::<Value>(&node.ok(&["lock", "ls", "-o", "json"]))
        .unwrap()
        .as_array()
        .unwrap()
        .clone()
}

fn appears(file: &Path) {
    eventually(|| file.exists().then_some(()), || format!("`{}` does not appear", file.display()));
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_command_runs_under_its_locks_and_gives_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let script = "echo $TRADEWIND_LOCK_TOKEN $TRADEWIND_LOCK_TOKEN_B $TRADEWIND_LOCK_TOKEN_A_1; exit 7";
    let (code, out, _) = printed(lock(&node.url, &["b", "a/1"], script));
    let first: Vec<u64> = out.split_whitespace().map(|token| token.parse().unwrap()).collect();
    assert_eq!((code, first.len(), first[0]), (Some(7), 3, first[1]), "{out}");
    assert_eq!(locks(&node), Vec::<Value>::new(), "the locks are released");
    // Also by a signal, and over a restart the tokens rise.
    let folder_of_node = folder.path();
    assert!(node.signal("-TERM").success());
    let node = Node::start(folder_of_node);
    let (code, out, _) = printed(lock(&node.url, &["b"], "echo $TRADEWIND_LOCK_TOKEN; kill -9 $$"));
    assert_eq!(code, Some(128 + 9));
    let second: u64 = out.trim().parse().unwrap();
    assert!(second > first[0], "CLU-1: {second} after {}", first[0]);
    let (code, _, err) = printed(lock(&node.url, &["b", "--ttl", "1ms"], "true"));
    assert!(code == Some(4) && err.contains("`ttl_ms`"), "{err}");
}

#[test]
fn who_comes_second_waits_in_line_or_is_told_who_holds_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let (inside, go) = (folder.path().join("inside"), folder.path().join("go"));
    let script = format!("touch {}; until test -e {}; do sleep 0.05; done", inside.display(), go.display());
    let first = lock(&node.url, &["a", "--owner", "ann"], &script);
    appears(&inside);
    let (code, _, err) = printed(lock(&node.url, &["a"], "true"));
    assert!(code == Some(4) && err.contains("`ann` holds it"), "{err}");
    let second = lock(&node.url, &["a", "--owner", "bob", "--wait", "10m"], "echo in");
    let look = || (node.ok(&["lock", "ls", "a"]).contains("bob")).then_some(());
    eventually(look, || node.ok(&["lock", "ls"]));
    let listed = locks(&node);
    assert_eq!((&listed[0]["name"], &listed[0]["holder"]["owner"]), (&"a".into(), &"ann".into()));
    // One that is ended while it waits leaves the line, and a signal goes to the command.
    signal(&second, "-TERM");
    printed(second);
    eventually(
        || (locks(&node)[0]["waiting"] == serde_json::json!([])).then_some(()),
        || node.ok(&["lock", "ls"]),
    );
    signal(&first, "-TERM");
    assert_eq!(printed(first).0, Some(128 + 15));
    assert_eq!(locks(&node), Vec::<Value>::new());
}

#[test]
fn clu_1_a_command_whose_lock_is_lost_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    for (name, is_stubborn) in [("polite", false), ("stubborn", true)] {
        let inside = folder.path().join(name);
        let trap = if is_stubborn { "trap '' TERM; " } else { "" };
        // What the shell has started is ended as well.
        let script = format!("{trap}touch {}; while true; do sleep 0.05; done", inside.display());
        let holder = lock(&node.url, &[name, "--ttl", "3s", "--grace", "1s"], &script);
        appears(&inside);
        let session = locks(&node)[0]["holder"]["session"].as_str().unwrap().to_owned();
        node.ok(&["lock", "release", &session, "--yes"]);
        let (code, _, err) = printed(holder);
        assert!(code == Some(1) && err.contains("the locks were lost"), "{err}");
    }
    // Also when the node does not answer any more.
    let inside = folder.path().join("alone");
    let script = format!("touch {}; while true; do sleep 0.05; done", inside.display());
    let holder = lock(&node.url, &["alone", "--ttl", "3s", "--grace", "1s"], &script);
    appears(&inside);
    node.kill();
    let (code, _, err) = printed(holder);
    assert!(code == Some(1) && err.contains("could not be renewed in time"), "{err}");
}

#[test]
fn a_holder_that_is_killed_loses_its_lock_after_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let inside = folder.path().join("inside");
    let script = format!("touch {}; sleep 0.2", inside.display());
    let mut first = lock(&node.url, &["a", "--ttl", "2s", "--owner", "killed"], &script);
    appears(&inside);
    first.kill().unwrap();
    first.wait().unwrap();
    let (code, out, err) = printed(lock(&node.url, &["a", "--wait", "10m"], "echo in"));
    assert_eq!((code, out.as_str()), (Some(0), "in\n"), "{err}");
}
