//! Asking another node: the one that runs a source how that is, those that have partitions how projections are there.

use super::{Cluster, Ways};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::Duration;
use tw_api::parts::{Routes as _, Way};
use tw_api::{Code, Problem};
use tw_types::NodeId;

/// How long another node may take to say how a source is.
const LOOK: Duration = Duration::from_secs(2);
/// How long another node may take to do something with a source: as long as its database may.
const ACT: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A source that another node runs.
pub(crate) struct RemoteSource<'c> {
    ways: &'c Ways,
    node: NodeId,
    name: &'c str,
}

impl Cluster {
    /// The source of this name, if another node runs it.
    pub(crate) fn remote_source<'c>(&'c self, name: &'c str) -> Option<RemoteSource<'c>> {
        let ways = self.ways()?;
        match ways.source(name) {
            Way::Node(node) => Some(RemoteSource { ways, node, name }),
            Way::Here | Way::Nobody => None,
        }
    }
}

impl RemoteSource<'_> {
    /// How it is.
    ///
    /// # Errors
    /// Why that node does not say.
    pub(crate) async fn look(&self) -> Result<tw_api::parts::Source, String> {
        let answer = self.ask(Method::GET, LOOK).await.map_err(|problem| problem.to_string())?;
        serde_json::from_value(answer).map_err(|error| error.to_string())
    }

    /// Removes it, and what it made in its database; says what was done.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn remove(&self) -> Result<String, Problem> {
        let answer = self.ask(Method::DELETE, ACT).await?;
        Ok(answer.get("message").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    async fn ask(&self, method: Method, limit: Duration) -> Result<Value, Problem> {
        let path = format!("/v1/sources/{}", utf8_percent_encode(self.name, NON_ALPHANUMERIC));
        let does = format!("runs source `{}`", self.name);
        ask(self.ways, &self.node, method, &path, &does, limit).await
    }
}

impl Ways {
    /// How the projections are on a node, of the partitions that it owns.
    ///
    /// # Errors
    /// Why that node does not say.
    pub(crate) async fn projections_of(
        &self,
        node: &NodeId,
    ) -> Result<Vec<tw_api::parts::Projection>, String> {
        let answer = ask(self, node, Method::GET, "/v1/projections", "has partitions", LOOK).await;
        let mut answer = answer.map_err(|problem| problem.to_string())?;
        let projections = answer.get_mut("projections").map(Value::take).unwrap_or_default();
        serde_json::from_value(projections).map_err(|error| error.to_string())
    }
}

/// Asks a node, which has a part in something, for it.
async fn ask(
    ways: &Ways,
    node: &NodeId,
    method: Method,
    path: &str,
    does: &str,
    limit: Duration,
) -> Result<Value, Problem> {
    let broken = |cause: String| Problem::new(Code::Timeout, format!("node `{node}`, which {does}, {cause}"));
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| broken("cannot be asked for it".into()))?;
    let asked = async {
        let answer =
            ways.send(node, request).await.map_err(|error| broken(format!("does not answer: {error}")))?;
        let (head, mut body) = answer.into_parts();
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| broken(format!("broke off: {error}")))?);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(broken("answers too much".into()));
            }
        }
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if head.status.is_success() {
            return Ok(value);
        }
        let text = |member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default();
        let code = Code::from_text(text("code")).unwrap_or(Code::Internal);
        Err(Problem::new(code, text("detail")))
    };
    tokio::time::timeout(limit, asked).await.map_err(|_| broken("did not answer in time".into()))?
}
