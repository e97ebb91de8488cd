//! Two nodes that send each other requests, with room for one.

use super::{Options, World, event, fixed, options, send};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyDataStream, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tw_api::parts::{Pass, Reply, Routes, Unanswered, Way};
use tw_env::Env;
use tw_log::{Log, MemoryLog};
use tw_types::{NodeId, StreamPartition};

/// The way to the other of two nodes: it has the partitions whose numbers, divided by two, leave `rest`.
struct Other {
    rest: u32,
    address: Arc<OnceLock<SocketAddr>>,
    /// Both nodes have something for the other before either gets it.
    both: Arc<Barrier>,
}

impl Routes for Other {
    fn partition(&self, at: StreamPartition) -> Way {
        if at.partition.0 % 2 == self.rest { Way::Node(NodeId::new("other").unwrap()) } else { Way::Here }
    }

    fn source(&self, _: &str) -> Way {
        Way::Here
    }

    fn enter(&self, at: &[StreamPartition]) -> Option<Pass> {
        at.iter().all(|at| self.partition(*at) == Way::Here).then(Pass::free)
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn send<'a>(
        &'a self,
        _: &'a NodeId,
        mut request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Reply>, Unanswered>> {
        Box::pin(async move {
            self.both.wait().await;
            let address = self.address.get().unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            request.headers_mut().insert("host", address.to_string().parse().unwrap());
            request.headers_mut().insert("tradewind-hop", "1".parse().unwrap());
            let answer = sender.send_request(request.map(Full::new)).await.unwrap();
            Ok(answer.map(|body| -> Reply {
                BodyDataStream::new(body).map(|piece| piece.map_err(std::io::Error::other)).boxed()
            }))
        })
    }
}

/// A subject whose events are in a partition that leaves `rest`.
fn subject(world: &World, rest: u32) -> String {
    let stream = world.log.streams().get("orders").unwrap().clone();
    let subjects = (0..100).map(|n| format!("s{n}"));
    let mut fitting =
        subjects.filter(|subject| world.parts.events.partition_of(&stream, subject).0 % 2 == rest);
    fitting.next().unwrap()
}

#[tokio::test]
async fn nodes_that_are_full_of_requests_for_each_other_carry_them_out() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Env::real()));
    let both = Arc::new(Barrier::new(2));
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    for rest in [0, 1] {
        let address = Arc::new(OnceLock::new());
        let other = Other { rest, address: address.clone(), both: both.clone() };
        let options = Options { overload: fixed(1, 1, 1), requests_max: 1, ..options() };
        nodes.push(World::over(options, log.clone(), |parts| parts.routes = Arc::new(other)).await);
        addresses.push(address);
    }
    addresses[0].set(nodes[1].address()).unwrap();
    addresses[1].set(nodes[0].address()).unwrap();
    nodes[0].stream("orders", 4).await;
    // Appends to one partition of the other node, then reads of it.
    for _ in 0..3 {
        let append = |node: &World, rest: u32| {
            let path = format!("/v1/streams/orders/subjects/{}/events", subject(node, rest));
            send(node.post(&path).event(&event(&format!("{rest}"), "")))
        };
        let replies = [append(&nodes[0], 0), append(&nodes[1], 1)];
        for reply in replies {
            let reply = reply.await.unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let read = |node: &World, rest: u32| {
            send(node.get(&format!("/v1/streams/orders/subjects/{}/events", subject(node, rest))))
        };
        for reply in [read(&nodes[0], 0), read(&nodes[1], 1)] {
            let reply = reply.await.unwrap();
            assert_eq!((reply.status, &reply.json()["version"]), (200, &1.into()), "{}", reply.text());
        }
    }
}
