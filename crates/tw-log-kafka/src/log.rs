//! The engine: opening, closing, and the trait.

use crate::client;
use crate::client::Isolation;
use crate::definitions::{Definitions, Followed, Order};
use crate::probe::Probe;
use crate::queue::Request;
use crate::reader::Reader;
use crate::session::Session;
use crate::shared::Shared;
use crate::watch::{Refresh, Watch};
use crate::writer::Writer;
use crate::{Options, security, topics};
use parking_lot::Mutex;
use rdkafka::admin::AdminClient;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tw_env::Env;
use tw_log::{
    Ack, Append, Bounds, BoxFuture, CONFIG_PARTITION, Definition, Error, Log, NewStream, Permit, Result,
    Signal, Streams, check_append, check_trim,
};
use tw_types::{Offset, RegionId, StreamDef, StreamName, StreamPartition};
use tw_wire::Block;

/// How long to wait before a writer's name is taken once more.
const AGAIN: Duration = Duration::from_millis(50);

/// The log on Apache Kafka.
///
/// One topic per stream, one record per event, one transaction per group of appends, in the name of one writer. Offsets are
/// the platform's own and have no gaps; they are in the records, and Kafka's own offsets, which count its markers too, are
/// found from them. Needs Kafka 4.0 or 4.1; of later ones see ADR 0009.
///
/// Dropping it closes it. It takes nothing more, writes what it has taken, and tries no transaction a second time. That waits
/// for what is under way: when brokers do not answer, each request takes up to `request_ms_max` until it is given up, and a
/// transaction up to twice `transaction_ms_max`.
pub struct KafkaLog {
    shared: Arc<Shared>,
    orders: Option<mpsc::Sender<Order>>,
    refreshes: Option<mpsc::Sender<Refresh>>,
    threads: Vec<JoinHandle<()>>,
}

impl KafkaLog {
    /// Opens the log in the name of `options.writer`, and shuts out whoever had the name before; makes it when it is new.
    /// Blocks the thread.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::InvalidText`], [`Error::Unavailable`]; [`Error::Fenced`] when another process takes the name meanwhile.
    pub fn open(options: Options, env: Env) -> Result<Self> {
        options.check()?;
        security::check_files(&options)?;
        let shared = Arc::new(Shared::new(options, env));
        let admin = admin(&shared.options)?;
        let followed = Mutex::new(Followed::new());
        let definitions = Arc::new(Definitions {
            shared: shared.clone(),
            admin,
            followed,
            is_behind: AtomicBool::new(false),
        });
        let config = shared.partition(CONFIG_PARTITION)?;
        let def = shared.streams().get("$config")?.clone();
        definitions.create(&config.topic, 1, topics::settings(&def))?;
        definitions.create(&topics::of_writers(&shared.options), 1, topics::settings_of_writers())?;
        let claim = format!("{:016x}", shared.env.random.next_u64());
        let session = begin(&shared.options, &claim, shared.options.request_ms_max)?;
        let (orders, taken) = mpsc::channel();
        let (refreshes, asked) = mpsc::channel();
        let mut log = Self {
            shared: shared.clone(),
            orders: Some(orders),
            refreshes: Some(refreshes),
            threads: Vec::new(),
        };
        for number in 0..shared.options.reader_threads {
            let (reader, jobs) = (Reader::new(shared.clone())?, shared.readers.add());
            log.spawn(&format!("kafka-read-{number}"), move || reader.run(jobs))?;
        }
        let probe = Probe::new(&shared.options, Isolation::Committed)?;
        if !probe.load_all(&[config], |_| true)?.unsettled.is_empty() {
            return Err(probe.unsettled());
        }
        definitions.follow()?;
        definitions.put_right()?;
        let (shown, own): (Vec<_>, Vec<_>) = shared.all().into_iter().partition(|p| p.is_foreign);
        if !probe.load_all(&own, |_| true)?.unsettled.is_empty() {
            return Err(probe.unsettled());
        }
        // A topic of others may be gone.
        probe.load(&shown)?;
        shared.observe();
        let writer = Writer { shared: shared.clone(), session, probe, is_broken: false };
        log.spawn("kafka-write", move || writer.run())?;
        log.settle()?;
        let watch = Watch::new(&shared.options, definitions.clone())?;
        log.spawn("kafka-watch", move || watch.run(&asked))?;
        log.spawn("kafka-define", move || definitions.run(taken))?;
        Ok(log)
    }

    /// What the threads of the log share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Writes down where partitions end of which nothing in them says it, so that all processes count on from the same
    /// offset.
    fn settle(&self) -> Result<()> {
        let guessed = self.shared.all().into_iter().filter(|partition| partition.is_guess());
        let outcomes: Vec<_> = guessed
            .map(|partition| {
                let (reply, outcome) = oneshot::channel();
                self.shared.queue.push(Request::Empty { at: partition.at, expected_end: None, reply });
                outcome
            })
            .collect();
        for outcome in outcomes {
            pollster::block_on(outcome).unwrap_or_else(|_| Err(self.shared.gone()))?;
        }
        Ok(())
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        self.threads.push(self.shared.spawn(name, work)?);
        Ok(())
    }

    fn define(&self, definition: Definition) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        let (reply, outcome) = oneshot::channel();
        let sent = self.order(Order::Define(definition, reply));
        Box::pin(async move {
            sent?;
            outcome.await.unwrap_or_else(|_| Err(self.shared.gone()))
        })
    }

    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().ok_or(Error::Closed)?;
        orders.send(order).map_err(|_| self.shared.gone())
    }

    /// Refuses to change a partition of a topic that the log only shows.
    fn check_own(&self, at: StreamPartition) -> Result<()> {
        let streams = self.shared.streams();
        let Some((def, topic)) =
            streams.by_id(at.stream).ok().and_then(|def| Some((def, def.options.topic.as_ref()?)))
        else {
            return Ok(());
        };
        let reason = format!("it shows the topic `{topic}`, which others write: use another stream");
        Err(Error::InvalidStream { name: def.name.clone(), reason })
    }
}

fn admin(options: &Options) -> Result<AdminClient<client::Quiet>> {
    use rdkafka::config::FromClientConfigAndContext;
    let admin = AdminClient::from_config_and_context(&client::admin(options), client::Quiet::default());
    admin.map_err(|cause| client::unavailable(options, "make a client", cause))
}

/// Takes the name `options.writer`, in several attempts: a process that has the name and has just lost a connection may
/// begin anew in between, and a broker may be away.
fn begin(options: &Options, claim: &str, limit_ms: u64) -> Result<Session> {
    let deadline = Instant::now() + Duration::from_millis(limit_ms);
    loop {
        match Session::begin(options, claim.to_owned()) {
            Ok(session) => return Ok(session),
            Err(cause) if Instant::now() < deadline => {
                tracing::debug!(writer = options.writer, %cause, "a writer is taken once more");
                std::thread::sleep(AGAIN);
            }
            Err(cause) if client::is_fenced(&cause) => {
                return Err(Error::Fenced { writer: options.writer.clone() });
            }
            Err(cause) => return Err(client::unavailable(options, "take a writer", cause)),
        }
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.shared.stop(Error::Closed);
        (self.orders, self.refreshes) = (None, None);
        self.shared.readers.close();
        for thread in self.threads.drain(..) {
            let _panics_are_caught_inside = thread.join();
        }
    }
}

impl Log for KafkaLog {
    fn region(&self) -> RegionId {
        self.shared.options.region
    }

    fn streams(&self) -> Arc<Streams> {
        self.shared.streams()
    }

    fn definitions(&self) -> Arc<Signal> {
        self.shared.definitions.clone()
    }

    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        self.define(Definition::Create(stream))
    }

    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        self.define(Definition::Alter(changed))
    }

    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<()>> {
        let dropped = self.define(Definition::Drop(name.clone()));
        Box::pin(async { dropped.await.map(drop) })
    }

    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Permit>> {
        Box::pin(self.shared.permits.reserve(bytes))
    }

    fn try_reserve(&self, bytes: usize) -> Result<Permit> {
        self.shared.permits.try_reserve(bytes)
    }

    fn append(&self, permit: Permit, parts: Vec<Append>) -> Ack {
        if parts.is_empty() {
            return Ack::ready(Ok(Vec::new()));
        }
        let bytes: usize = parts.iter().map(|part| part.batch.bytes()).sum();
        let checked = self.shared.permits.check(bytes).and_then(|()| {
            parts.iter().try_for_each(|part| {
                check_append(part.at, &part.batch)?;
                self.check_own(part.at)?;
                check_local(part)?;
                check_writable(part)
            })
        });
        if let Err(error) = checked {
            return Ack::ready(Err(error));
        }
        let (sender, ack) = Ack::channel();
        self.shared.queue.push(Request::Append { parts, bytes: bytes as u64, permit, ack: sender });
        ack
    }

    fn refusal(&self) -> Option<Error> {
        self.shared.queue.closed()
    }

    fn read(&self, at: StreamPartition, from: Offset, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>>> {
        Box::pin(self.shared.read(at, from, bytes_max))
    }

    fn bounds(&self, at: StreamPartition) -> Result<Bounds> {
        Ok(self.shared.partition(at)?.bounds())
    }

    fn end_signal(&self, at: StreamPartition) -> Result<Arc<Signal>> {
        Ok(self.shared.partition(at)?.end.clone())
    }

    fn commits(&self) -> Arc<Signal> {
        self.shared.commits.clone()
    }

    fn trim(&self, at: StreamPartition, before: Offset) -> BoxFuture<'_, Result<()>> {
        let (reply, outcome) = oneshot::channel();
        let sent = self
            .shared
            .partition(at)
            .and_then(|_| check_trim(at))
            .and_then(|()| self.check_own(at))
            .and_then(|()| self.order(Order::Trim(at, before, reply)));
        Box::pin(async move {
            sent?;
            outcome.await.unwrap_or_else(|_| Err(self.shared.gone()))
        })
    }

    fn refresh<'a>(&'a self, at: &'a [StreamPartition]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (reply, outcome) = oneshot::channel();
            let refreshes = self.refreshes.as_ref().ok_or(Error::Closed)?;
            refreshes.send(Refresh { at: at.to_vec(), reply }).map_err(|_| self.shared.gone())?;
            outcome.await.unwrap_or_else(|_| Err(self.shared.gone()))
        })
    }

    /// A zombie keeps its own view of the log: its reads go on, its appends fail with [`Error::Fenced`] from the next one on.
    fn fence<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<()>> {
        let (shared, writer) = (self.shared.clone(), writer.to_owned());
        Box::pin(async move {
            let (reply, outcome) = oneshot::channel();
            let work = move || {
                let _nobody_listens = reply.send(fence(&shared, &writer));
            };
            self.shared.spawn("kafka-fence", work)?;
            outcome.await.unwrap_or_else(|_| Err(self.shared.gone()))
        })
    }
}

/// See [`Log::fence`]. Blocks the thread.
fn fence(shared: &Shared, writer: &str) -> Result<()> {
    let claim = format!("{} {:016x}", shared.options.writer, shared.env.random.next_u64());
    let options = Options { writer: writer.to_owned(), ..shared.options.clone() };
    options.check()?;
    begin(&options, &claim, options.outage_ms_max).map(drop)
}

/// Refuses events of other regions: sequences are found in the last record of a partition, which would not be one of this region's.
fn check_local(part: &Append) -> Result<()> {
    match part.foreign {
        Some(_) => Err(Error::NoRegions { engine: "a log on Kafka" }),
        None => Ok(()),
    }
}

/// Refuses what a record of Kafka cannot say.
fn check_writable(part: &Append) -> Result<()> {
    if part.batch.fits_kafka() {
        return Ok(());
    }
    Err(tw_wire::Error::Malformed("an extension has no name that Kafka takes").into())
}
