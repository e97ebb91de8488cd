//! Requests that another node has to carry out.

use crate::support::{World, event, options};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tw_api::Options;
use tw_api::parts::{Pass, Reply, Routes, Unanswered, Way};
use tw_env::Env;
use tw_log::MemoryLog;
use tw_types::{NodeId, StreamPartition};

/// Another node has everything until it was asked that many times; then nobody has. It never answers.
struct Silent {
    asks: AtomicUsize,
    was_sent: bool,
}

impl Routes for Silent {
    fn partition(&self, _: StreamPartition) -> Way {
        match self.asks.load(Ordering::SeqCst) {
            0 => Way::Nobody,
            _ => Way::Node(NodeId::new("other").unwrap()),
        }
    }

    fn source(&self, _: &str) -> Way {
        Way::Nobody
    }

    fn enter(&self, _: &[StreamPartition]) -> Option<Pass> {
        None
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn send<'a>(
        &'a self,
        _: &'a NodeId,
        _: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Reply>, Unanswered>> {
        self.asks.fetch_sub(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Err(Unanswered {
            was_sent: self.was_sent,
            cause: "the connection broke".to_owned(),
        })))
    }
}

/// The code of the answer to an append.
async fn append(was_sent: bool) -> String {
    let options = Options { request_timeout_ms: 300, ..options() };
    let log = Arc::new(MemoryLog::new(Env::real()));
    let routes = Arc::new(Silent { asks: AtomicUsize::new(2), was_sent });
    let world = World::over(options, log, |parts| parts.routes = routes.clone()).await;
    world.stream("orders", 1).await;
    let body = event("1", r#","subject":"a""#);
    let answer = world.post("/v1/streams/orders/events").event(&body).send().await;
    assert_eq!(routes.asks.load(Ordering::SeqCst), 0, "it was sent again");
    answer.code()
}

#[tokio::test]
async fn an_append_that_its_owner_may_have_stored_is_never_told_as_not_stored() {
    assert_eq!(append(true).await, "outcome_unknown");
    assert_eq!(append(false).await, "no_owner");
}
