//! A server over a log in memory, with small but real parts behind it, and clients that speak to it over TCP.

pub(crate) mod client;
mod control;
pub(crate) mod floor;
pub(crate) mod groups;
mod locks;
mod parked;
pub(crate) mod regions;
mod settings;
mod sql;

use client::{Call, Client};
use http::Method;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tw_api::parts::ParkedEvent;
use tw_api::{Options, Parts, Server};
use tw_env::Env;
use tw_log::store::{self, EventStore};
use tw_log::{Log, MemoryLog, NewStream};
use tw_state::MemoryStore;
use tw_types::{StreamDef, StreamName};

/// The options that tests start from: a free port, and short waits.
pub(crate) fn options() -> Options {
    Options { listen: "127.0.0.1:0".parse().unwrap(), request_timeout_ms: 10_000, ..Options::default() }
}

/// All tests of this program share one recorder, as a process does.
fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap())
        .clone()
}

/// The event store on `log`, with its index in memory.
fn store(log: Arc<dyn Log>) -> EventStore {
    EventStore::open(log, Arc::new(MemoryStore::new()), Env::real(), store::Options::default()).unwrap()
}

/// A running server and what is behind it.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) control: Arc<control::Registry>,
    pub(crate) parts: Parts,
    client: Client,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Env::real()));
        Self::over(options, log, |_| {}).await
    }

    /// A server over `log`, whose parts `change` can replace.
    pub(crate) async fn over(options: Options, log: Arc<dyn Log>, change: impl FnOnce(&mut Parts)) -> Self {
        let control = Arc::new(control::Registry::new(log.clone()));
        let traces = tw_trace::Traces::new(Env::real(), "this node", 100);
        let mut parts = Parts {
            events: store(log.clone()),
            sql: Arc::new(sql::Queries::new(log.clone(), control.clone())),
            control: control.clone(),
            parked: Arc::new(parked::Shelf::default()),
            routes: Arc::new(tw_api::parts::Alone),
            cluster: None,
            regions: None,
            rights: None,
            claims: None,
            groups: None,
            locks: Arc::new(locks::Table::default()),
            settings: Arc::new(settings::Panel::default()),
            traces: traces.clone(),
            trails: traces,
            meters: Arc::new(tw_api::parts::Unmeasured),
            metrics: metrics(),
            env: Env::real(),
        };
        change(&mut parts);
        let server = Server::start(options, parts.clone()).await.unwrap();
        let client = Client::new(server.address());
        Self { server, log, control, parts, client }
    }

    /// A second server on the same parts: what a client meets after a restart.
    pub(crate) async fn restart(self, options: Options) -> Self {
        let Self { server, log, control, parts, .. } = self;
        let address = server.address();
        server.shutdown().await;
        let server = Server::start(Options { listen: address, ..options }, parts.clone()).await.unwrap();
        let client = Client::new(server.address());
        Self { server, log, control, parts, client }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        self.client.call(method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// Defines a stream of plain JSON.
    pub(crate) async fn stream(&self, name: &str, partitions: u32) -> Arc<StreamDef> {
        let name = StreamName::new(name).unwrap();
        self.log.create_stream(NewStream::plain(name, partitions)).await.unwrap()
    }

    /// Appends `count` small events without a subject, whose ids are `prefix` and a number from 0.
    pub(crate) async fn fill(&self, stream: &str, prefix: &str, count: usize) {
        let lines: String = (0..count).map(|n| event(&format!("{prefix}{n}"), "") + "\n").collect();
        let reply = self
            .post(&format!("/v1/streams/{stream}/events"))
            .header("content-type", "application/x-ndjson")
            .body(lines)
            .send()
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Parks an event, as a worker does.
    pub(crate) fn park(parts: &mut Parts, events: Vec<ParkedEvent>) {
        parts.parked = Arc::new(parked::Shelf::with(events));
    }
}

/// An event in JSON; `members` are further members, each behind a comma.
pub(crate) fn event(id: &str, members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"order.placed"{members}}}"#)
}

/// Held by tests that count stalled connections: they share the metrics of the process.
pub(crate) static STALLS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How many connections were closed because their clients took nothing.
pub(crate) async fn stalls(world: &World) -> u64 {
    let metrics = world.get("/metrics").send().await;
    let name = "tradewind_http_connections_stalled_total ";
    metrics.text().lines().find_map(|line| line.strip_prefix(name)).map_or(0, |count| count.parse().unwrap())
}
