//! The connections between nodes: HTTP like everybody's, kept and used again.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyDataStream, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;
use tw_api::parts::{Reply, Unanswered};
use tw_types::NodeId;

/// How long connecting to another node may take.
const CONNECT: Duration = Duration::from_secs(1);
/// After how long at rest a connection is closed: before the other side does.
const IDLE: Duration = Duration::from_secs(10);

/// A client of the other nodes.
pub(crate) struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
        // Whether a request may be sent twice is decided by who knows what it says.
        builder.retry_canceled_requests(false);
        Self { client: builder.build(connector) }
    }

    /// Sends a request to the node at `address`.
    pub(crate) async fn send(
        &self,
        node: &NodeId,
        address: &str,
        request: Request<Bytes>,
    ) -> Result<Response<Reply>, Unanswered> {
        let unsent = |cause: String| Unanswered { was_sent: false, cause };
        let authority: Authority = address.parse().map_err(|_| {
            unsent(format!("node `{node}` is registered at `{address}`, which is no address"))
        })?;
        let (mut head, body) = request.into_parts();
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority);
        parts.path_and_query =
            head.uri.path_and_query().cloned().or_else(|| Some(PathAndQuery::from_static("/")));
        head.uri = Uri::from_parts(parts).map_err(|error| unsent(error.to_string()))?;
        let sent = self.client.request(Request::from_parts(head, Full::new(body))).await;
        let answer = sent.map_err(|error| Unanswered {
            was_sent: !error.is_connect(),
            cause: format!("node `{node}` at {address}: {}", crate::error::chain(&error)),
        })?;
        Ok(answer.map(|body| -> Reply {
            BodyDataStream::new(body).map(|piece| piece.map_err(std::io::Error::other)).boxed()
        }))
    }
}
