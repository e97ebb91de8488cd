//! A server, a log, a source between them, and ways to wait for it.

use crate::model::Model;
use crate::store::{each_event, open_log, open_store_on};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tw_capture::{Handle, Lsn, Options, Place, SnapshotPhase, Status, Ungated};
use tw_env::Env;
use tw_log::Log;
use tw_log::faulty::FaultyLog;
use tw_log::store::EventStore;
use tw_testing::{Postgres, PostgresBuilder};
use tw_types::Stored;

/// How long a server has to answer.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A server and a log that outlive any number of sources between them.
pub(crate) struct World {
    pub(crate) server: Postgres,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: EventStore,
    /// The log again, to tell it to fail.
    pub(crate) faults: Arc<FaultyLog>,
    pub(crate) runtime: Runtime,
    scratch: TempDir,
    client: Option<Client>,
}

impl World {
    /// A server with default settings.
    pub(crate) fn new() -> Self {
        Self::with(Postgres::builder())
    }

    pub(crate) fn with(builder: PostgresBuilder) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let faults = Arc::new(FaultyLog::new(Arc::new(open_log(&data))));
        let store = open_store_on(&data, faults.clone());
        Self {
            server: builder.start(),
            log: store.log().clone(),
            store,
            faults,
            runtime,
            scratch: folder,
            client: None,
        }
    }

    /// Options for a source `shop` of these tables, with heartbeats that suit a test.
    pub(crate) fn options(&self, tables: &[&str]) -> Options {
        let tables = tables.iter().map(|table| (*table).to_owned()).collect();
        let mut options = Options::new("shop", self.server.url("postgres"), tables);
        options.heartbeat_ms = 100;
        options.retry_ms_max = 200;
        options
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            store: self.store.clone(),
            env: Env::real(),
            scratch: self.scratch.path().join("scratch"),
            gate: Arc::new(Ungated),
        }
    }

    /// Options as [`World::options`], for streams of one partition, where the order of all events shows.
    pub(crate) fn ordered(&self, tables: &[&str]) -> Options {
        Options { partitions: 1, ..self.options(tables) }
    }

    /// Starts a source with these options.
    pub(crate) fn start(&self, options: Options) -> Handle {
        tw_capture::start(options, self.place()).unwrap()
    }

    /// Starts a source of these tables.
    pub(crate) fn capture(&self, tables: &[&str]) -> Handle {
        tw_capture::start(self.options(tables), self.place()).unwrap()
    }

    /// Another connection, as superuser.
    pub(crate) fn connect(&self) -> Client {
        let url = self.server.url("postgres");
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(async move {
                let _ended_with_the_server = connection.await;
            });
            client
        })
    }

    /// Runs statements; several are one transaction, unless they say otherwise.
    pub(crate) fn sql(&mut self, sql: &str) {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) fn try_sql(&mut self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect(),
        };
        let outcome = self.runtime.block_on(client.batch_execute(sql));
        self.client = Some(client);
        outcome
    }

    /// The rows of a query, as text.
    pub(crate) fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect(),
        };
        let settings = "SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'; \
                        SET extra_float_digits = 1; SET bytea_output = 'hex'; SET search_path = pg_catalog";
        self.runtime.block_on(client.batch_execute(settings)).unwrap();
        let messages = self.runtime.block_on(client.simple_query(sql)).unwrap();
        self.runtime.block_on(client.batch_execute("RESET ALL")).unwrap();
        self.client = Some(client);
        messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect()
    }

    /// The one value of a query.
    pub(crate) fn value(&mut self, sql: &str) -> String {
        self.rows(sql).swap_remove(0).swap_remove(0).unwrap()
    }

    /// Waits until the one value of a query is this.
    pub(crate) fn until(&mut self, sql: &str, wanted: &str) {
        let look = || (self.value(sql) == wanted).then_some(());
        tw_testing::eventually(look, || format!("{sql} is not {wanted}"));
    }

    /// Waits until everything that is committed now is in the log, and all snapshots are done.
    pub(crate) fn catch_up(&mut self, source: &Handle) -> Status {
        let now: Lsn = self.value("SELECT pg_current_wal_insert_lsn()").parse().unwrap();
        eventually(source, |status| {
            status.confirmed >= now && status.tables.iter().all(|table| table.snapshot == SnapshotPhase::Done)
        })
    }

    /// All events of a stream, partition by partition.
    pub(crate) fn events(&self, stream: &str) -> Vec<Stored> {
        let mut events = Vec::new();
        self.runtime.block_on(each_event(self.log.as_ref(), stream, |stored| events.push(stored)));
        events
    }

    /// The events of a stream as `type subject`, those of one partition in their order.
    pub(crate) fn told(&self, stream: &str) -> Vec<String> {
        let told =
            |stored: Stored| format!("{} {}", stored.event.ty, stored.event.subject.unwrap_or_default());
        self.events(stream).into_iter().map(told).collect()
    }

    /// The data of a stream's events.
    pub(crate) fn data(&self, stream: &str) -> Vec<serde_json::Value> {
        let data = |stored: Stored| serde_json::from_slice(stored.event.data.bytes()).unwrap();
        self.events(stream).into_iter().map(data).collect()
    }

    /// What the stream of a table makes of it.
    pub(crate) fn model(&self, stream: &str) -> Model {
        let def = self.log.streams().get(stream).unwrap().clone();
        Model::of(&def, &self.events(stream))
    }

    /// Checks that a stream, replayed, gives the table, and that it holds no event twice.
    pub(crate) fn assert_same(&mut self, stream: &str, table: &str) {
        let columns = self.model(stream).columns.join(", ");
        let mut rows = self.rows(&format!("SELECT {columns} FROM {table}"));
        rows.sort();
        let replayed = self.model(stream).rows();
        if rows != replayed {
            let missing: Vec<_> = rows.iter().filter(|row| !replayed.contains(row)).take(5).collect();
            let too_many: Vec<_> = replayed.iter().filter(|row| !rows.contains(row)).take(5).collect();
            panic!(
                "{stream} differs from {table}: {} rows instead of {}; missing {missing:?}; too many {too_many:?}",
                replayed.len(),
                rows.len()
            );
        }
    }
}

/// Waits until the status is as wanted.
pub(crate) fn eventually(source: &Handle, wanted: impl Fn(&Status) -> bool) -> Status {
    let look = || Some(source.status()).filter(|status| wanted(status));
    tw_testing::eventually(look, || format!("{:#?}", source.status()))
}
