//! What was done for a request: here, on the other nodes of the cluster, and in the other regions.

use super::NodeRegions;
use super::asked::whole;
use crate::core::Core;
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tw_api::Problem;
use tw_api::parts::{Regions as _, Reply, Routes as _, SilentView, SpanView, TraceView, Trails, Unanswered};
use tw_trace::TraceId;
use tw_types::NodeId;

/// How long a node or a region may take to say what it has done.
const ASK: Duration = Duration::from_secs(2);

/// The traces of a node that knows others.
pub(crate) struct NodeTrails(pub(crate) Arc<Core>);

impl NodeTrails {
    async fn everywhere(&self, trace: TraceId) -> TraceView {
        let nodes = join_all(self.nodes().into_iter().map(|node| async move {
            let asked = async {
                let ways =
                    self.0.cluster.ways().ok_or_else(|| "this node has left the cluster".to_owned())?;
                read(ways.send(&node, request(trace)?).await).await
            };
            (format!("node {node}"), in_time(asked).await)
        }));
        let regions = join_all(self.regions().into_iter().map(|region| async move {
            let asked = async { read(NodeRegions(self.0.clone()).send(region, request(trace)?).await).await };
            (format!("region {region}"), in_time(asked).await)
        }));
        let (nodes, regions) = futures_util::future::join(nodes, regions).await;
        let mut view = TraceView { spans: self.here(trace), silent: Vec::new() };
        for (place, asked) in nodes.into_iter().chain(regions) {
            match asked {
                Ok(theirs) => view.spans.extend(theirs.spans),
                Err(reason) => view.silent.push(SilentView { place, reason }),
            }
        }
        view.spans.sort_by(|a, b| (a.start_ms, &a.place).cmp(&(b.start_ms, &b.place)));
        view
    }

    fn here(&self, trace: TraceId) -> Vec<SpanView> {
        self.0.traces.of(trace).into_iter().map(SpanView::from).collect()
    }

    /// The other nodes of the cluster.
    fn nodes(&self) -> Vec<NodeId> {
        let Some(owners) = self.0.cluster.owners() else { return Vec::new() };
        let others = owners.members().into_keys().filter_map(|name| NodeId::new(&name).ok());
        others.filter(|node| node != owners.node()).collect()
    }

    /// The other regions.
    fn regions(&self) -> Vec<u16> {
        self.0.options.holds().region.peers.iter().map(|peer| peer.id.0).collect()
    }
}

impl Trails for NodeTrails {
    fn of(&self, trace: TraceId, everywhere: bool) -> BoxFuture<'_, Result<TraceView, Problem>> {
        Box::pin(async move {
            if everywhere {
                return Ok(self.everywhere(trace).await);
            }
            Ok(TraceView { spans: self.here(trace), silent: Vec::new() })
        })
    }
}

fn request(trace: TraceId) -> Result<Request<Bytes>, String> {
    let request = Request::get(format!("/v1/traces/{trace}")).body(Bytes::new());
    request.map_err(|error| error.to_string())
}

async fn read(sent: Result<Response<Reply>, Unanswered>) -> Result<TraceView, String> {
    let (head, body) = sent.map_err(|unanswered| unanswered.to_string())?.into_parts();
    let body = whole(body).await?;
    if !head.status.is_success() {
        return Err(format!("it answered {}", head.status));
    }
    serde_json::from_slice(&body).map_err(|error| format!("its answer is not understood: {error}"))
}

async fn in_time(asked: impl Future<Output = Result<TraceView, String>>) -> Result<TraceView, String> {
    let late = |_| format!("it did not answer within {} s", ASK.as_secs());
    tokio::time::timeout(ASK, asked).await.map_err(late)?
}
