//! Requests to other regions: HTTP/2 over a connection of the links, one for each region, kept as long as it holds.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyDataStream, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{HOP, Reply, Unanswered};
use tw_region::service::Links;
use tw_types::RegionId;

/// How often a region is asked for a sign of life while it says nothing, and how long it may take for that.
const ALIVE: Duration = Duration::from_secs(1);

/// A connection, once there is one. Whoever needs it first makes it, and the others wait for that.
type Slot = Arc<tokio::sync::Mutex<Option<SendRequest<Full<Bytes>>>>>;

/// The connections.
#[derive(Default)]
pub(crate) struct Wire(Mutex<HashMap<RegionId, Slot>>);

impl Wire {
    /// Sends a request.
    ///
    /// # Errors
    /// [`Unanswered`], which says whether it may have been carried out.
    pub(crate) async fn send(
        &self,
        links: &Links,
        region: RegionId,
        mut request: Request<Bytes>,
    ) -> Result<Response<Reply>, Unanswered> {
        let unsent = |cause: String| Unanswered { was_sent: false, cause };
        let uri = at(request.uri()).ok_or_else(|| unsent("it cannot be addressed".to_owned()))?;
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOP, HeaderValue::from_static("1"));
        let mut sender = self.sender(links, region).await.map_err(unsent)?;
        sender
            .ready()
            .await
            .map_err(|error| unsent(format!("region {region}: {}", tw_types::chain(&error))))?;
        let answer = sender.send_request(request.map(Full::new)).await.map_err(|error| Unanswered {
            was_sent: true,
            cause: format!("region {region}: {}", tw_types::chain(&error)),
        })?;
        Ok(answer.map(|body| -> Reply {
            BodyDataStream::new(body).map(|piece| piece.map_err(std::io::Error::other)).boxed()
        }))
    }

    async fn sender(&self, links: &Links, region: RegionId) -> Result<SendRequest<Full<Bytes>>, String> {
        let slot = self.0.lock().entry(region).or_default().clone();
        let mut known = slot.lock().await;
        if let Some(sender) = known.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = links.connect(region).await.map_err(|error| tw_types::chain(&error))?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE);
        let begun = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            begun.map_err(|error| format!("region {region}: {}", tw_types::chain(&error)))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%region, %error, "a connection for requests has ended");
            }
        });
        *known = Some(sender.clone());
        Ok(sender)
    }
}

/// The same place, by a name that every server knows as its own.
fn at(uri: &Uri) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static("localhost"));
    parts.path_and_query = uri.path_and_query().cloned().or_else(|| Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}
