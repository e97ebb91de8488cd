//! Requests that another node has to carry out.

use crate::support::{World, client, event, options};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tw_api::Options;
use tw_api::parts::{Pass, Reply, Routes, Unanswered, Way};
use tw_env::Env;
use tw_log::{Log as _, MemoryLog};
use tw_types::{NodeId, PartitionId, StreamPartition};

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

/// Partition 0 is here. Another node has the others and cannot take anything, until it was asked that many times; then they are
/// here, too.
struct Refusing(AtomicUsize);

impl Routes for Refusing {
    fn partition(&self, at: StreamPartition) -> Way {
        match (at.partition.0, self.0.load(Ordering::SeqCst)) {
            (0, _) | (_, 0) => Way::Here,
            _ => Way::Node(NodeId::new("other").unwrap()),
        }
    }

    fn source(&self, _: &str) -> Way {
        Way::Nobody
    }

    fn enter(&self, _: &[StreamPartition]) -> Option<Pass> {
        Some(Pass::free())
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn send<'a>(
        &'a self,
        _: &'a NodeId,
        _: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Reply>, Unanswered>> {
        self.0.fetch_sub(1, Ordering::SeqCst);
        let body: Reply = Box::pin(stream::empty());
        let refusal = Response::builder().status(503).header("retry-after", "1").body(body).unwrap();
        Box::pin(std::future::ready(Ok(refusal)))
    }
}

/// Appends events of these subjects to two partitions; the answer, and how many events partition 0 has then.
async fn spread(asks: usize, subjects: std::ops::Range<u32>) -> (client::Reply, u64) {
    let options = Options { request_timeout_ms: 300, ..options() };
    let log = Arc::new(MemoryLog::new(Env::real()));
    let routes = Arc::new(Refusing(AtomicUsize::new(asks)));
    let world = World::over(options, log.clone(), |parts| parts.routes = routes.clone()).await;
    world.stream("orders", 2).await;
    let events: Vec<_> = subjects.map(|n| event(&n.to_string(), &format!(r#","subject":"s{n}""#))).collect();
    let request = world.post("/v1/streams/orders/events");
    let request = request.header("content-type", "application/cloudevents-batch+json");
    let answer = request.body(format!("[{}]", events.join(","))).send().await;
    let stream = log.streams().get("orders").unwrap().id;
    let stored = log.bounds(StreamPartition::new(stream, PartitionId(0))).unwrap().end.0;
    (answer, stored)
}

#[tokio::test]
async fn an_append_of_which_a_part_is_stored_goes_on_when_another_owner_cannot_take_its_own() {
    let (answer, stored) = spread(2, 0..16).await;
    assert_eq!((answer.status, answer.json()["events"].as_array().unwrap().len()), (200, 16));
    assert!((1..16).contains(&stored), "the events are in both partitions: {stored}");
}

#[tokio::test]
async fn an_append_of_which_a_part_is_stored_is_never_told_as_not_stored() {
    let (answer, stored) = spread(usize::MAX, 0..16).await;
    assert_eq!(answer.code(), "outcome_unknown");
    let expected = "a part of the events is stored, those for partition 1 are not: send all of them again with the same ids";
    assert_eq!((answer.detail().as_str(), stored > 0), (expected, true));
}

#[tokio::test]
async fn an_append_of_which_nothing_is_stored_is_refused_as_its_owner_refuses_it() {
    let mut refused = 0;
    for subject in 0..8 {
        let (answer, stored) = spread(usize::MAX, subject..subject + 1).await;
        match stored {
            0 => assert_eq!((answer.status, answer.header("retry-after")), (503, "1")),
            _ => assert_eq!(answer.status, 200),
        }
        refused += u32::from(stored == 0);
    }
    assert!((1..8).contains(&refused), "{refused} of 8 subjects are at the other node");
}
