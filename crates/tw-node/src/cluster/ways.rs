//! Who takes a request, and how it gets there.

use super::gates::Gates;
use super::wire::Wire;
use super::{Cluster, PROTOCOL, Subject};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use std::sync::{Arc, Weak};
use tw_api::parts::{HOP, Pass, Reply, Routes, Unanswered, Way};
use tw_cluster::Owner;
use tw_plan::placement::Unit;
use tw_project::Place;
use tw_types::{NodeId, StreamPartition};

/// The routes of a node that is one of many.
pub(crate) struct Ways {
    cluster: Weak<Cluster>,
    wire: Wire,
}

impl Ways {
    pub(crate) fn new(cluster: Weak<Cluster>) -> Self {
        Self { cluster, wire: Wire::new() }
    }

    fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.upgrade()
    }

    /// Who else keeps the state of a unit.
    pub(crate) fn standbys(&self, unit: &Unit) -> Vec<Place> {
        let Some(cluster) = self.cluster() else { return Vec::new() };
        let Some(owners) = cluster.owners() else { return Vec::new() };
        let place = |node: NodeId| if node == *owners.node() { Place::Here } else { Place::Node(node) };
        owners.standbys(unit).into_iter().map(place).collect()
    }

    fn of(&self, unit: &Unit) -> Way {
        let cluster = self.cluster();
        match cluster.as_ref().and_then(|cluster| cluster.owners()).map(|owners| owners.owner(unit)) {
            Some(Owner::Here(_)) => Way::Here,
            Some(Owner::Node(node)) => Way::Node(node),
            Some(Owner::Nobody) | None => Way::Nobody,
        }
    }
}

impl Routes for Ways {
    fn partition(&self, at: StreamPartition) -> Way {
        self.of(&Unit::from(at))
    }

    fn source(&self, name: &str) -> Way {
        Subject::source(name).map_or(Way::Here, |unit| self.of(&unit))
    }

    fn enter(&self, at: &[StreamPartition]) -> Option<Pass> {
        // The lease first: a gate is open until somebody has noticed that it ended.
        let is_here = at.iter().all(|at| self.partition(*at) == Way::Here);
        is_here.then(|| Gates::enter(&self.cluster()?.host()?.gates, at)).flatten()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        match self.cluster().and_then(|cluster| Some(cluster.owners()?.changes())) {
            Some(mut changes) => Box::pin(async move {
                let _ended = changes.changed().await;
            }),
            None => Box::pin(std::future::pending()),
        }
    }

    fn send<'a>(
        &'a self,
        node: &'a NodeId,
        mut request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Reply>, Unanswered>> {
        request.headers_mut().insert(HOP, HeaderValue::from_static("1"));
        Box::pin(async move {
            let address = self.cluster().and_then(|cluster| cluster.owners()?.address(node, PROTOCOL));
            let Some(address) = address else {
                let cause = format!("node `{node}` is not registered any more");
                return Err(Unanswered { was_sent: false, cause });
            };
            self.wire.send(node, &address, request).await
        })
    }
}
