//! A node on a folder of its own, and the least of an HTTP client.

use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tw_env::Env;
use tw_node::{Config, Node};

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    _node: Node,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A node whose configuration `change` has changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.data = folder.path().join("data");
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        change(&mut config);
        let node = Node::start(config, Env::real()).await.unwrap();
        Self { address: node.address(), _node: node, _folder: folder }
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        // After an answer in HTTP/1.0 the connection ends, and its body is in one piece.
        let mut request = format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n{body}", body.len());
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, body: body.to_owned() }
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call(method, path, &[("content-type", "application/json")], body).await
    }

    /// The answer to a statement.
    pub(crate) async fn sql(&self, sql: &str) -> Answer {
        self.call("POST", "/v1/sql", &[("content-type", "text/plain")], sql).await
    }

    /// Carries out a statement that must succeed.
    pub(crate) async fn run(&self, sql: &str) {
        let answer = self.sql(sql).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
    }

    /// The rows of a query, as the answer has them.
    pub(crate) async fn rows(&self, sql: &str) -> Value {
        let answer = self.sql(sql).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
        answer.member("rows")
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// A member of the answer's object.
    pub(crate) fn member(&self, name: &str) -> Value {
        let value: Value = serde_json::from_str(&self.body).unwrap();
        value[name].clone()
    }

    /// The status, the code of the problem, and what it says.
    pub(crate) fn problem(&self) -> (u16, String, String) {
        let text = |name: &str| self.member(name).as_str().unwrap_or_default().to_owned();
        (self.status, text("code"), text("detail"))
    }
}
