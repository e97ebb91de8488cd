//! The links of a region, running: who listens and who connects, what is sent and what is appended.
//!
//! ```text
//!  another region ──▶ dial ──frames──▶ receiver ──▶ event store      (what it accepted comes here)
//!  another region ◀── listen ◀──────── sender ◀──── log              (what is accepted here goes there)
//! ```
//!
//! A region connects to each peer that it is configured with, and pulls; it lets itself be pulled by every region that has a certificate of the same
//! authority. What is decided is decided in [`crate::link`]. Nothing of a peer is stored: what was received of it is in the log.

mod dial;
mod evictions;
mod heard;
mod homes;
mod listen;
mod options;
mod own;
mod pace;
mod pipe;
mod reached;
mod receiver;
mod requests;
mod restore;
mod sender;
mod status;
mod streams;
mod trails;

pub use evictions::{Evicted, Eviction, EvictionError};
pub use heard::Heard;
pub use homes::{
    AT_RISK_STREAM, Agreed, Answer, Arbiter, Entered, Failover, FailoverStream, Given, HomeError, HomeState,
    Homes, Look, NoAnswer,
};
pub use options::{InvalidOption, Options, PeerOptions};
pub use requests::{Connection, Door};
pub use restore::{GoOnError, RestorePeer, RestoreState, is_restoring};
pub use status::{LinkState, PartitionState, PeerState, State};

use crate::link::inbound;
use crate::seen::History;
use crate::tls;
use pace::Pace;
use parking_lot::Mutex;
use receiver::{Event, Receiver};
use status::Board;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tw_env::Env;
use tw_log::store::EventStore;
use tw_merge::Seen;
use tw_trace::Traces;
use tw_types::{Epoch, RegionId, StreamId};

/// How many frames may wait for the receiver.
const QUEUE_FRAMES_MAX: usize = 256;

/// Why the links of a region cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option that is not accepted.
    #[error(transparent)]
    Option(#[from] InvalidOption),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// They are of another region.
    #[error(
        "the certificates in `{folder}` are of region {there}, and this is region {here}: issue some for region {here}, or correct `id`"
    )]
    OtherRegion {
        /// Where they are.
        folder: String,
        /// Whose they are.
        there: RegionId,
        /// Whose they should be.
        here: RegionId,
    },
    /// The log is of another region, or cannot be read.
    #[error(transparent)]
    Log(#[from] tw_log::Error),
    /// The event store failed.
    #[error(transparent)]
    Store(#[from] tw_log::store::Error),
    /// What the log has cannot be gone on with.
    #[error(transparent)]
    Inbound(#[from] inbound::Error),
    /// The address cannot be listened on.
    #[error("cannot listen for links on `{address}`: use another address, or end who listens there")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A region cannot be asked.
    #[error("region {region} is not reached: {reason}")]
    Unreached {
        /// The region.
        region: RegionId,
        /// Why not.
        reason: String,
    },
    /// The links have ended.
    #[error("the links of this region have ended: see the log of the node for the reason")]
    Ended,
}

/// A region's incarnation, and the streams that are exchanged with it.
pub(crate) type Exchanged = (Epoch, BTreeSet<StreamId>);

/// What all parts of the links share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) events: EventStore,
    pub(crate) history: Arc<History>,
    pub(crate) credentials: tls::Live,
    /// Which installation this is: drawn once, with the log.
    pub(crate) installation: u128,
    /// Up to when everything of others is here.
    pub(crate) seen: watch::Sender<Seen>,
    /// Rises when what is replicated changes: connections begin anew then.
    pub(crate) generation: watch::Sender<u64>,
    pub(crate) board: Mutex<Board>,
    pub(crate) homes: Arc<Homes>,
    pub(crate) evictions: evictions::Evictions,
    pub(crate) restore: restore::Restore,
    /// Who answers the requests of other regions.
    pub(crate) door: OnceLock<Door>,
    /// Where it is recorded that events which belong to a trace have come.
    pub(crate) traces: OnceLock<Arc<Traces>>,
    /// How many bytes per second are sent to each region that pulls; 0: as many as the line takes.
    send_limit: watch::Sender<u64>,
    /// The same of each such region.
    paces: Mutex<BTreeMap<RegionId, Arc<Pace>>>,
    /// Of each region to which there was a connection its incarnation, and the streams that come from it: for who relays it.
    pub(crate) exchanged: watch::Sender<BTreeMap<RegionId, Exchanged>>,
}

/// The links of a region. They end when this is dropped; [`Links::stop`] waits until they have.
pub struct Links {
    shared: Arc<Shared>,
    address: SocketAddr,
    queue: mpsc::Sender<Event>,
    ending: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Links {
    /// Listens, connects to the peers, and replicates every stream that is in all regions, now and later. The log must have the
    /// streams of [`crate::define`]. `installation` must be another one for each copy of the log;
    /// `arbiter` is who regions ask who is the home of a stream, if they do. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error`], but [`Error::Ended`].
    pub async fn start(
        events: EventStore,
        env: Env,
        installation: u128,
        options: Options,
        arbiter: Option<Arc<dyn Arbiter>>,
    ) -> Result<Self, Error> {
        options.check()?;
        let credentials = tls::Live::open(&options.certificates, options.tls())?;
        let (here, there) = (options.id, credentials.current().region());
        if here != there {
            let folder = options.certificates.display().to_string();
            return Err(Error::OtherRegion { folder, there, here });
        }
        let listener = TcpListener::bind(&options.listen).await;
        let refused = |source| Error::Listen { address: options.listen.clone(), source };
        let listener = listener.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let history = Arc::new(History::open(events.log().clone(), here).await?);
        let board = Mutex::new(Board::new(&options));
        let is_new = history.last() == Seen::new();
        let restore = restore::Restore::new(is_restoring(events.log().as_ref())?, is_new);
        let homes = Homes::start(events.clone(), env.clone(), arbiter, restore.watch()).await?;
        let homes = Arc::new(homes);
        let peers = options.peers.iter().map(|peer| peer.id);
        let evictions = evictions::Evictions::open(&events, &env, peers).await?;
        let (seen, generation) = (watch::Sender::new(Seen::new()), watch::Sender::new(0));
        let send_limit = watch::Sender::new(options.send_bytes_per_second_max);
        let shared = Arc::new(Shared {
            options,
            env,
            events,
            history,
            credentials,
            installation,
            seen,
            generation,
            board,
            homes,
            evictions,
            restore,
            door: OnceLock::new(),
            traces: OnceLock::new(),
            send_limit,
            paces: Mutex::default(),
            exchanged: watch::Sender::default(),
        });
        let (queue, inputs) = mpsc::channel(QUEUE_FRAMES_MAX);
        let replicated = streams::replicated(&shared);
        let receiver = Receiver::start(shared.clone()).await?;
        let ending = watch::Sender::new(false);
        let mut tasks = vec![
            spawn(&ending, receiver.run(inputs)),
            tokio::spawn(listen::run(shared.clone(), listener, queue.clone(), ending.subscribe())),
            spawn(&ending, restore::run(shared.clone(), queue.clone())),
            spawn(&ending, streams::watch(shared.clone(), replicated, queue.clone())),
            spawn(&ending, reload(shared.clone())),
            spawn(&ending, evictions::run(shared.clone(), queue.clone())),
            spawn(&ending, shared.homes.clone().run()),
            spawn(&ending, shared.homes.clone().watch(shared.seen.subscribe())),
        ];
        for peer in shared.options.peers.clone() {
            tasks.push(spawn(&ending, dial::run(shared.clone(), peer, queue.clone())));
        }
        tracing::info!(region = %here, %address, peers = shared.options.peers.len(), "links of the region are up");
        Ok(Self { shared, address, queue, ending, tasks: Mutex::new(tasks) })
    }

    /// The homes of streams.
    pub fn homes(&self) -> &Arc<Homes> {
        &self.shared.homes
    }

    /// Limits from now on what is sent to each region, in bytes per second over all its connections together; 0: as much as the line takes.
    pub fn limit_sending(&self, bytes_per_second: u64) {
        self.shared.send_limit.send_if_modified(|limit| {
            let has_changed = *limit != bytes_per_second;
            *limit = bytes_per_second;
            has_changed
        });
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the links are now.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn state(&self) -> Result<State, Error> {
        Ok(status::state(&self.shared, self.inbound().await?))
    }

    /// What the receiving end shows, after everything that it was told before.
    async fn inbound(&self) -> Result<inbound::Status, Error> {
        let (reply, status) = oneshot::channel();
        self.queue.send(Event::State(reply)).await.map_err(|_| Error::Ended)?;
        status.await.map_err(|_| Error::Ended)
    }

    /// Tries everything of a region again that is parked.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn retry(&self, peer: RegionId) -> Result<(), Error> {
        self.queue.send(Event::Retry { peer }).await.map_err(|_| Error::Ended)
    }

    /// Ends all connections. When it returns, nothing of the links holds the log any more. What was being appended may be in it or not.
    pub async fn stop(&self) {
        self.ending.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if task.await.is_err_and(|error| error.is_panic()) {
                tracing::error!("a task of the links has panicked");
            }
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.tasks.lock().iter().for_each(JoinHandle::abort);
    }
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Runs something until it ends or the links do.
fn spawn(ending: &watch::Sender<bool>, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let mut ends = ending.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            () = task => {}
            _ = ends.wait_for(|ends| *ends) => {}
        }
    })
}

impl Shared {
    pub(crate) fn now_ms(&self) -> u64 {
        self.env.clock.now_ms()
    }

    /// The limit of what is sent to a region, of all its connections together.
    pub(crate) fn pace(&self, to: RegionId) -> Arc<Pace> {
        let new = || Arc::new(Pace::new(self.send_limit.subscribe()));
        self.paces.lock().entry(to).or_insert_with(new).clone()
    }

    /// How many bytes per second are sent to each region now; None: as many as the line takes.
    pub(crate) fn send_limit(&self) -> Option<u64> {
        Some(*self.send_limit.borrow()).filter(|limit| *limit > 0)
    }
}

/// Looks now and then whether there are new certificates, and warns before those that there are expire.
async fn reload(shared: Arc<Shared>) {
    const WARN_MS: u64 = 30 * 24 * 3_600_000;
    let mut ticks = tokio::time::interval(shared.options.reload_every());
    let mut is_warned = false;
    loop {
        ticks.tick().await;
        match shared.credentials.reload() {
            Ok(tls::Reload::Changed) => {
                is_warned = false;
                tracing::info!("there are new certificates: new connections of the region use them");
            }
            Ok(tls::Reload::Unchanged) => {}
            Err(error) => tracing::warn!(%error, "the certificates that are there now are not used"),
        }
        let left_ms = shared.credentials.current().expires_at_ms().saturating_sub(shared.now_ms());
        if left_ms < WARN_MS && !is_warned {
            is_warned = true;
            tracing::warn!(days = left_ms / 86_400_000, folder = %shared.options.certificates.display(),
                "the certificate of this region expires soon: issue another one into its folder");
        }
    }
}
