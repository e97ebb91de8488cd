//! The part of a node that takes events: HTTP, the event store, the embedded log. There is nothing else on it: no source,
//! no projection, no statement.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{
    Action, Answer, Control, Extent, Lock, LockSession, Locks, Parked, ParkedEvent, ParkedFilter, ParkedId,
    Projection, Setting, SettingChange, Settings, Source, Sql, Statement, Status, Target,
};
use tw_api::{Code, Options, Parts, Problem, Server};
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{EmbeddedLog, Log, NewStream};
use tw_state::DiskStore;
use tw_types::{EventRef, ExpectedVersion, StreamDef, StreamName, Version};

const PARTITIONS: u32 = 4;
/// Writes of a history: so many events each, and so many under way.
const HISTORY_EVENTS: u64 = 1_000;
const HISTORY_DEPTH: usize = 16;

pub(crate) struct Node {
    server: Server,
    events: EventStore,
    stream: Arc<StreamDef>,
}

impl Node {
    /// A server on a free port of loopback, with a log and an index in `folder` and the stream `orders`.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let log = EmbeddedLog::open(folder.join("log"), tw_log::Options::default(), Env::real())?;
        let log: Arc<dyn Log> = Arc::new(log);
        let stream = log.create_stream(NewStream::plain(StreamName::new("orders")?, PARTITIONS)).await?;
        let state = Arc::new(DiskStore::open(&folder.join("state"), tw_state::Options::default())?);
        let events = EventStore::open(log, state, Env::real(), tw_log::store::Options::default())?;
        let traces = tw_trace::Traces::new(Env::real(), "bench", 0);
        let parts = Parts {
            events: events.clone(),
            sql: Arc::new(Nothing),
            control: Arc::new(Nothing),
            parked: Arc::new(Nothing),
            routes: Arc::new(tw_api::parts::Alone),
            cluster: None,
            regions: None,
            rights: None,
            claims: None,
            groups: None,
            locks: Arc::new(Nothing),
            settings: Arc::new(Nothing),
            traces: traces.clone(),
            trails: traces,
            meters: Arc::new(tw_api::parts::Unmeasured),
            metrics: PrometheusBuilder::new().install_recorder()?,
            env: Env::real(),
        };
        let options = Options { listen: "127.0.0.1:0".parse()?, ..Options::default() };
        Ok(Self { server: Server::start(options, parts).await?, events, stream })
    }

    /// Gives each of the clients' subjects a history of so many events.
    pub(crate) async fn fill(&self, subjects: u64, history: u64) -> anyhow::Result<()> {
        let total = subjects * history;
        let mut pending = FuturesOrdered::new();
        for first in (0..total).step_by(HISTORY_EVENTS as usize) {
            let mut write = self.events.write();
            write.dedup_by_id(false);
            for number in first..(first + HISTORY_EVENTS).min(total) {
                let (id, subject) = (format!("before-{number:x}"), subject(number % subjects));
                let event = EventRef {
                    id: &id,
                    source: "/shop/checkout",
                    ty: "com.example.order.placed",
                    subject: Some(&subject),
                    ..EventRef::default()
                };
                write.push(&self.stream, &event)?;
            }
            pending.push_back(self.events.submit(write).await?);
            if pending.len() >= HISTORY_DEPTH {
                pending.next().await.transpose()?;
            }
        }
        while pending.next().await.transpose()?.is_some() {}
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) async fn stop(self) {
        self.server.shutdown().await;
    }
}

/// A subject as the clients write it.
fn subject(number: u64) -> String {
    format!("order-{number:016x}")
}

/// What is not on this node: there is none of it, and it cannot be made.
struct Nothing;

fn none<T: Send + 'static>() -> BoxFuture<'static, Result<T, Problem>> {
    Box::pin(async { Err(Problem::new(Code::InvalidStatement, "this node only takes events")) })
}

impl Sql for Nothing {
    fn execute(&self, _: Statement) -> BoxFuture<'_, Result<Answer, Problem>> {
        none()
    }
}

impl Control for Nothing {
    fn admit(&self, _: &StreamDef, _: &EventRef<'_>) -> Result<(), Problem> {
        Ok(())
    }

    fn create_stream(&self, _: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>, Problem>> {
        none()
    }

    fn alter_stream(&self, _: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>, Problem>> {
        none()
    }

    fn drop_stream<'a>(&'a self, _: &'a StreamName) -> BoxFuture<'a, Result<(), Problem>> {
        none()
    }

    fn source<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Source, Problem>> {
        none()
    }

    fn sources(&self) -> BoxFuture<'_, Result<Vec<Source>, Problem>> {
        none()
    }

    fn projections(&self, _: Extent) -> BoxFuture<'_, Result<Vec<Projection>, Problem>> {
        none()
    }

    fn act<'a>(&'a self, _: Target<'a>, _: Action) -> BoxFuture<'a, Result<String, Problem>> {
        none()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>> {
        none()
    }

    fn ready(&self) -> Result<(), Problem> {
        Ok(())
    }
}

impl Parked for Nothing {
    fn list(&self, _: ParkedFilter) -> BoxFuture<'_, Result<Vec<ParkedEvent>, Problem>> {
        none()
    }

    fn show<'a>(&'a self, _: &'a ParkedId) -> BoxFuture<'a, Result<ParkedEvent, Problem>> {
        none()
    }

    fn retry<'a>(&'a self, _: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>> {
        none()
    }

    fn skip<'a>(&'a self, _: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>> {
        none()
    }
}

impl Locks for Nothing {
    fn open<'a>(
        &'a self,
        _: &'a str,
        _: &'a [String],
        _: Duration,
        _: Duration,
    ) -> BoxFuture<'a, Result<LockSession, Problem>> {
        none()
    }

    fn take<'a>(
        &'a self,
        _: &'a str,
        _: &'a [String],
        _: Duration,
    ) -> BoxFuture<'a, Result<LockSession, Problem>> {
        none()
    }

    fn renew<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<LockSession, Problem>> {
        none()
    }

    fn close<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Problem>> {
        none()
    }

    fn release<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), Problem>> {
        none()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Lock>, Problem>> {
        none()
    }

    fn show<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Lock, Problem>> {
        none()
    }
}

impl Settings for Nothing {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Setting>, Problem>> {
        none()
    }

    fn show<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Setting, Problem>> {
        none()
    }

    fn set<'a>(
        &'a self,
        _: &'a str,
        _: Option<Value>,
        _: ExpectedVersion,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Setting, Problem>> {
        none()
    }

    fn rollback<'a>(
        &'a self,
        _: &'a str,
        _: Version,
        _: ExpectedVersion,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Setting, Problem>> {
        none()
    }

    fn history<'a>(&'a self, _: &'a str, _: usize) -> BoxFuture<'a, Result<Vec<SettingChange>, Problem>> {
        none()
    }
}
