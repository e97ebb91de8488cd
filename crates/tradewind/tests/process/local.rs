//! A whole cluster on one machine, from one command: real Kafka, real etcd, real nodes.

use crate::support::{first_line, said, tradewind};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;
use tw_testing::{ETCD_VARIABLE, JAVA_VARIABLE, KAFKA_LIBRARIES_VARIABLE, eventually};

/// The programs of Kafka and etcd in folders, as their distributions have them.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        let programs = Self(tempfile::tempdir().unwrap());
        let java = std::env::var(JAVA_VARIABLE).unwrap_or_else(|_| "java".to_owned());
        let libraries = std::env::var(KAFKA_LIBRARIES_VARIABLE).expect(KAFKA_LIBRARIES_VARIABLE);
        let bin = programs.0.path().join("kafka/bin");
        fs::create_dir_all(&bin).unwrap();
        for (name, class) in
            [("kafka-server-start.sh", "kafka.Kafka"), ("kafka-storage.sh", "kafka.tools.StorageTool")]
        {
            let script = format!(
                "#!/bin/sh\nexec {java} $KAFKA_HEAP_OPTS -XX:TieredStopAtLevel=1 -cp '{libraries}/*' {class} \"$@\"\n"
            );
            fs::write(bin.join(name), script).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let etcd = std::env::var_os(ETCD_VARIABLE).map_or_else(|| PathBuf::from("etcd"), PathBuf::from);
        fs::create_dir(programs.0.path().join("etcd")).unwrap();
        // A program that is found by its name alone is in PATH already.
        if etcd.is_absolute() {
            symlink(etcd, programs.0.path().join("etcd/etcd")).unwrap();
        }
        programs
    }

    fn path(&self) -> OsString {
        let own = [self.0.path().join("etcd")];
        let rest = std::env::var_os("PATH").unwrap();
        std::env::join_paths(own.into_iter().chain(std::env::split_paths(&rest))).unwrap()
    }
}

/// A cluster that runs; ended in order when it is dropped, and its servers with it.
struct Local {
    child: Child,
    told: Value,
}

impl Local {
    fn start(programs: &Programs, data: &Path) -> Self {
        let mut child = tradewind()
            .args(["cluster", "local", "--port", "0", "-o", "json", "--data"])
            .arg(data)
            .env("PATH", programs.path())
            .env("KAFKA_HOME", programs.0.path().join("kafka"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = first_line(&mut child);
        Self { child, told }
    }

    /// The nodes' addresses and processes.
    fn nodes(&self) -> Vec<(String, u64)> {
        let nodes = self.told["nodes"].as_array().unwrap().iter();
        nodes.map(|node| (node["url"].as_str().unwrap().to_owned(), node["pid"].as_u64().unwrap())).collect()
    }

    /// Sends SIGINT to the command, and to nobody else, and waits for its end.
    fn end(mut self) -> ExitStatus {
        kill("-INT", self.child.id().into());
        eventually(|| self.child.try_wait().unwrap(), || "the cluster does not end".to_owned())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            kill("-TERM", self.child.id().into());
            let _ended = self.child.wait();
        }
    }
}

fn kill(signal: &str, pid: u64) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn ask(url: &str, args: &[&str]) -> Option<String> {
    let output = tradewind().args(args).args(["--url", url]).stdin(Stdio::null()).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

fn ok(url: &str, args: &[&str]) -> String {
    let output = tradewind().args(args).args(["--url", url]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// How many events there are, as a node answers.
fn events(url: &str) -> Option<String> {
    ask(url, &["sql", "SELECT count(*) AS n FROM events.orders", "-o", "csv"])
}

fn processes(data: &Path) -> Vec<u64> {
    let folders = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let pids = folders.filter_map(|folder| fs::read_to_string(folder.join("pid")).ok()?.parse().ok());
    pids.filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect()
}

#[test]
fn a_local_cluster_survives_a_killed_node_ends_in_order_and_goes_on() {
    let (programs, folder) = (Programs::new(), tempfile::tempdir().unwrap());
    let data = folder.path().join("cluster");
    let cluster = Local::start(&programs, &data);
    let nodes = cluster.nodes();
    assert_eq!(nodes.len(), 3);
    assert_eq!(processes(&data).len(), 5, "three nodes, Kafka, etcd");
    ok(&nodes[0].0, &["stream", "create", "orders", "--partitions", "6"]);
    ok(&nodes[1].0, &["append", "orders", r#"{"id": 1}"#, r#"{"id": 2}"#]);
    for (url, _) in &nodes {
        eventually(|| events(url).filter(|n| n == "n\n2\n"), || format!("{:?}", events(url)));
    }
    // Another one on the same folder is refused, and disturbs nobody.
    let mut second = tradewind();
    second.args(["cluster", "local", "--data"]).arg(&data).env("PATH", programs.path());
    let second = second.env("KAFKA_HOME", programs.0.path().join("kafka")).output().unwrap();
    assert_eq!(second.status.code(), Some(4), "{}", said(&second));
    assert!(said(&second).contains("runs on"), "{}", said(&second));
    // A node that is killed comes back by itself, at the same address.
    let (url, pid) = &nodes[2];
    kill("-KILL", *pid);
    ok(&nodes[0].0, &["append", "orders", r#"{"id": 3}"#]);
    eventually(|| events(url).filter(|n| n == "n\n3\n"), || format!("{url}: {:?}", events(url)));
    assert_eq!(cluster.end().code(), Some(0));
    assert_eq!(processes(&data), Vec::<u64>::new(), "nothing is left running");
    let again = Local::start(&programs, &data);
    for (url, _) in again.nodes() {
        eventually(|| events(&url).filter(|n| n == "n\n3\n"), || format!("{url}: {:?}", events(&url)));
    }
    assert_eq!(again.end().code(), Some(0));
}

#[test]
fn what_is_missing_for_a_local_cluster_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let local = |args: &[&str]| {
        let mut command = tradewind();
        command.args(["cluster", "local"]).args(args).env_remove("KAFKA_HOME").env("PATH", folder.path());
        command.current_dir(folder.path()).output().unwrap()
    };
    for (args, expected) in [
        (&[][..], ["KAFKA_HOME", "--kafka 127.0.0.1:9092"]),
        (&["--kafka", "127.0.0.1:1"], ["`etcd` in PATH", "--etcd http://127.0.0.1:2379"]),
    ] {
        let output = local(args);
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        for text in expected {
            assert!(said(&output).contains(text), "{}", said(&output));
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made in vain");
}

#[test]
fn a_server_that_does_not_start_is_told_with_the_end_of_its_log() {
    let (programs, folder) = (Programs::new(), tempfile::tempdir().unwrap());
    let etcd = programs.0.path().join("etcd/etcd");
    let _not_there = fs::remove_file(&etcd);
    fs::write(&etcd, "#!/bin/sh\necho the disk is made of cheese\nexit 7\n").unwrap();
    fs::set_permissions(&etcd, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = tradewind();
    command.args(["cluster", "local"]).current_dir(folder.path()).env("PATH", programs.path());
    let output = command.env("KAFKA_HOME", programs.0.path().join("kafka")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("etcd has ended with exit code 7"), "{}", said(&output));
    assert!(said(&output).contains("the disk is made of cheese"), "{}", said(&output));
}
