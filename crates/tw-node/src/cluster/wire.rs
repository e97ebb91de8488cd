//! The connections between nodes: HTTP like everybody's, kept and used again.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyDataStream, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;
use tw_api::parts::{Reply, Unanswered};
use tw_cluster::Sign;
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
        let (mut head, body) = request.into_parts();
        head.uri = at(address, &head.uri).ok_or_else(|| Unanswered {
            was_sent: false,
            cause: format!("node `{node}` is registered at `{address}`, which is no address"),
        })?;
        let sent = self.client.request(Request::from_parts(head, Full::new(body))).await;
        let answer = sent.map_err(|error| Unanswered {
            was_sent: !error.is_connect(),
            cause: format!("node `{node}` at {address}: {}", tw_types::chain(&error)),
        })?;
        Ok(answer.map(|body| -> Reply {
            BodyDataStream::new(body).map(|piece| piece.map_err(std::io::Error::other)).boxed()
        }))
    }

    /// Asks whoever is at `address` for a sign of life.
    ///
    /// # Errors
    /// What came instead of an answer.
    pub(crate) async fn probe(&self, address: &str, path: Uri) -> Result<HeaderMap, Sign> {
        let uri = at(address, &path).ok_or(Sign::Silent)?;
        match self.client.get(uri).await {
            Ok(answer) => Ok(answer.into_parts().0.headers),
            Err(error) if is_refused(&error) => Err(Sign::Refused),
            Err(_) => Err(Sign::Silent),
        }
    }
}

/// The place of a node's interface.
fn at(address: &str, path: &Uri) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(address.parse().ok()?);
    parts.path_and_query = path.path_and_query().cloned().or_else(|| Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

/// Whether the machine says that nobody is there, or not any more.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind;
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return error.is_incomplete_message() || error.is_canceled();
        }
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            )
        })
    })
}
