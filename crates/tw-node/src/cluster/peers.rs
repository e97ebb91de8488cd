//! The views of other nodes, for queries here.

use super::{Balance, Ways};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request, Uri};
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{Routes as _, Way};
use tw_plan::placement::Unit;
use tw_project::{Candidate, Error, Heard, PeerAnswer, Peers, Place};
use tw_types::{NodeId, StreamPartition};

/// The other nodes, as the engine of queries asks them.
pub(crate) struct NodePeers {
    pub(crate) ways: Arc<Ways>,
    pub(crate) balance: Arc<Balance>,
}

impl Peers for NodePeers {
    fn place(&self, at: StreamPartition) -> Place {
        match self.ways.partition(at) {
            Way::Here => Place::Here,
            Way::Node(node) => Place::Node(node),
            Way::Nobody => Place::Nowhere,
        }
    }

    fn standbys(&self, at: StreamPartition) -> Vec<Place> {
        self.ways.standbys(&Unit::from(at))
    }

    fn choose(&self, candidates: &[Candidate], about: Option<&str>) -> usize {
        self.balance.choose(candidates, about)
    }

    fn heard(&self, asked: &Candidate, choices: usize, heard: Heard) {
        self.balance.heard(asked, choices, heard);
    }

    fn read<'a>(
        &'a self,
        node: &'a NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<PeerAnswer, Error>> {
        Box::pin(async move {
            let failed =
                |source: Box<dyn std::error::Error + Send + Sync>| Error::Peer { node: node.clone(), source };
            let mut asked = Request::new(request);
            *asked.method_mut() = Method::POST;
            *asked.uri_mut() = Uri::from_static("/v1/cluster/read");
            let answer = tokio::time::timeout(timeout, self.ways.send(node, asked)).await;
            let answer =
                answer.map_err(|elapsed| failed(elapsed.into()))?.map_err(|error| failed(error.into()))?;
            if !answer.status().is_success() {
                return Err(failed(format!("it answered {}", answer.status()).into()));
            }
            let node = node.clone();
            let pieces = answer.into_body().map(move |piece| {
                piece.map_err(|error| Error::Peer { node: node.clone(), source: error.into() })
            });
            Ok(pieces.boxed())
        })
    }
}
