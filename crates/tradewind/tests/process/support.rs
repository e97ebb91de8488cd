//! A node as a process of its own, and the command line client beside it.

mod cluster;

pub(crate) use cluster::{Cluster, Lines};

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use tw_testing::{Postgres, eventually};

/// The program.
pub(crate) fn tradewind() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    for name in ["URL", "CONFIG", "DATA", "LISTEN", "LOG", "NODE", "ADVERTISE"] {
        command.env_remove(format!("TRADEWIND_{name}"));
    }
    command
}

/// Runs the program to its end in an empty folder.
pub(crate) fn run(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    tradewind().args(args).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap()
}

/// What a command printed on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a process says first, as JSON: where it serves.
pub(crate) fn first_line(child: &mut Child) -> Value {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).expect("it says where it serves")
}

/// Carries out definitions (`CREATE STREAM …`, `CREATE PROJECTION …`) in the first of some regions, and waits until the others have them.
pub(crate) fn define_in_all(nodes: &[&Node], statements: &[&str]) {
    for statement in statements {
        nodes[0].ok(&["sql", statement]);
        let words: Vec<String> = statement.split(' ').take(3).map(str::to_lowercase).collect();
        for node in &nodes[1..] {
            let is_there = || node.cli(&[&words[1], "show", &words[2]]).status.success().then_some(());
            eventually(is_there, || node.get("/v1/status"));
        }
    }
}

/// Carries out statements in a database.
pub(crate) fn psql(server: &Postgres, sql: &str) {
    let output = Command::new(server.install().program("psql"))
        .args(["-v", "ON_ERROR_STOP=1", "-q", "-c", sql, &server.url("postgres")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A node that runs; killed when it is dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) url: String,
}

impl Node {
    /// Starts a node on `folder` and waits until it serves.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_on(folder, 0)
    }

    /// The same on a port.
    pub(crate) fn start_on(folder: &Path, port: u16) -> Self {
        let mut child = tradewind()
            .args(["up", "--listen", &format!("127.0.0.1:{port}"), "-o", "json", "--log", "warn", "--data"])
            .arg(folder.join("data"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = first_line(&mut child);
        Self { url: said["url"].as_str().unwrap().to_owned(), child }
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, such as `-TERM`, and waits for the end.
    pub(crate) fn signal(mut self, signal: &str) -> ExitStatus {
        self.send(signal);
        eventually(|| self.child.try_wait().unwrap(), || "the node does not end".to_owned())
    }

    /// Sends a signal, such as `-STOP`.
    pub(crate) fn send(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill {signal}");
    }

    /// Runs a command of the client against this node.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.cli_with(args, "")
    }

    /// The same with this standard input.
    pub(crate) fn cli_with(&self, args: &[&str], input: &str) -> Output {
        let mut child = tradewind()
            .args(args)
            .args(["--url", &self.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Whoever does not read closes the pipe.
        let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The rows of a query, each as JSON.
    pub(crate) fn rows(&self, sql: &str, token: Option<&str>) -> Vec<Value> {
        let mut args = vec!["sql", sql, "-o", "ndjson"];
        args.extend(token.iter().flat_map(|token| ["--token", token]));
        self.ok(&args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What the node measures, as Prometheus reads it.
    pub(crate) fn metrics(&self) -> String {
        self.get("/metrics")
    }

    /// Whether anybody listens where it does.
    pub(crate) fn answers(&self) -> bool {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).is_ok()
    }

    /// What it answers with 200 to a GET.
    pub(crate) fn get(&self, path: &str) -> String {
        let answer = self.answer_to(path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer
    }

    /// What it answers to a GET, whatever that is.
    pub(crate) fn answer_to(&self, path: &str) -> String {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks until the rows of a query are these.
    pub(crate) fn eventually(&self, sql: &str, expected: &[Value]) {
        let look = || (self.rows(sql, None) == expected).then_some(());
        eventually(look, || format!("{sql}: {:?} instead of {expected:?}", self.rows(sql, None)));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _over = self.child.kill();
        let _reaped = self.child.wait();
    }
}
