//! Nodes of a cluster over one log, each of which keeps some partitions only. They ask each other without a network.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tw_env::Env;
use tw_log::{Log, MemoryLog};
use tw_process::{Assigned, Handle, LogWriter, Workers};
use tw_project::{Candidate, Catalog, Engine, Error, Follower, Heard, Options, PeerAnswer, Peers, Place};
use tw_state::{MemoryStore, Store};
use tw_types::{NodeId, PartitionId, StreamPartition};

/// Which member keeps a partition, of how many.
pub type Keeper = fn(StreamPartition, usize) -> usize;

/// Which members stand by for a partition, of how many; the one that keeps it is not meant.
pub type Standbys = fn(StreamPartition, usize) -> Vec<usize>;

/// How often somebody was asked for a partition, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub answered: usize,
    pub failed: usize,
    pub declined: usize,
    pub dropped: usize,
}

/// The members of a cluster, and what goes on between them.
pub struct Network {
    pub engines: RwLock<Vec<Engine>>,
    /// Where partitions are that are not where they were at first; None: nowhere.
    pub moved: Mutex<BTreeMap<StreamPartition, Option<usize>>>,
    /// Members that cannot be reached for so many requests.
    pub down: Mutex<BTreeMap<usize, usize>>,
    /// A member that is thought to have everything that the asking one has not, for so many looks.
    pub rumour: Mutex<Option<(usize, usize)>>,
    /// Members of an earlier version, which do not aggregate rows for others, and do not answer as standbys.
    pub old: Mutex<BTreeSet<usize>>,
    /// How many requests there were.
    pub requests: AtomicUsize,
    /// How many bytes were answered.
    pub bytes: AtomicUsize,
    /// After how many pieces answers break off.
    pub pieces_max: Mutex<Option<usize>>,
    /// Whether nothing more comes then, and the connection stays.
    pub stalls: Mutex<bool>,
    /// Members that take requests and do not answer.
    pub silent: Mutex<BTreeSet<usize>>,
    /// What was heard of members, each as an owner or as a standby; by members, of themselves too.
    pub heard: Mutex<BTreeMap<(usize, bool), Outcomes>>,
    /// Whether the same candidates are chosen again for what is about the same.
    pub sticky: AtomicBool,
    turns: AtomicUsize,
    keeper: Keeper,
    standbys: Standbys,
    members: usize,
}

impl Network {
    pub fn new(members: usize, keeper: Keeper, standbys: Standbys) -> Arc<Self> {
        Arc::new(Self {
            engines: RwLock::default(),
            moved: Mutex::default(),
            down: Mutex::default(),
            rumour: Mutex::default(),
            old: Mutex::default(),
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            pieces_max: Mutex::default(),
            stalls: Mutex::default(),
            silent: Mutex::default(),
            heard: Mutex::default(),
            sticky: AtomicBool::new(false),
            turns: AtomicUsize::new(0),
            keeper,
            standbys,
            members,
        })
    }
}

impl Network {
    /// Who keeps a partition now.
    pub fn keeper(&self, at: StreamPartition) -> Option<usize> {
        let moved = self.moved.lock().get(&at).copied();
        moved.unwrap_or_else(|| Some((self.keeper)(at, self.members)))
    }

    /// Who stands by for a partition now.
    pub fn standbys(&self, at: StreamPartition) -> Vec<usize> {
        let keeper = self.keeper(at);
        (self.standbys)(at, self.members).into_iter().filter(|member| Some(*member) != keeper).collect()
    }

    /// What was heard of a member.
    pub fn heard(&self, member: usize, owns: bool) -> Outcomes {
        self.heard.lock().get(&(member, owns)).copied().unwrap_or_default()
    }
}

pub fn node_id(member: usize) -> NodeId {
    NodeId::new(&format!("n{member}")).unwrap()
}

/// The network as one member sees it.
struct Link {
    network: Arc<Network>,
    me: usize,
}

impl Peers for Link {
    fn place(&self, at: StreamPartition) -> Place {
        let place = match self.network.keeper(at) {
            None => Place::Nowhere,
            Some(member) if member == self.me => Place::Here,
            Some(member) => Place::Node(node_id(member)),
        };
        let mut rumour = self.network.rumour.lock();
        if let Some((member, looks)) = rumour.as_mut().filter(|(_, looks)| *looks > 0)
            && *member != self.me
            && place != Place::Here
        {
            *looks -= 1;
            return Place::Node(node_id(*member));
        }
        place
    }

    fn standbys(&self, at: StreamPartition) -> Vec<Place> {
        let place = |member| if member == self.me { Place::Here } else { Place::Node(node_id(member)) };
        self.network.standbys(at).into_iter().map(place).collect()
    }

    fn choose(&self, candidates: &[Candidate], about: Option<&str>) -> usize {
        let turn = match about.filter(|_| self.network.sticky.load(Ordering::Relaxed)) {
            Some(about) => about.len(),
            None => self.network.turns.fetch_add(1, Ordering::Relaxed),
        };
        turn % candidates.len()
    }

    fn heard(&self, asked: &Candidate, choices: usize, heard: Heard) {
        let member = match &asked.place {
            Place::Here => self.me,
            Place::Node(node) => node.as_str()[1..].parse().unwrap(),
            Place::Nowhere => unreachable!(),
        };
        let mut all = self.network.heard.lock();
        let outcomes = all.entry((member, asked.owns)).or_default();
        *match heard {
            Heard::Answered(_) => &mut outcomes.answered,
            Heard::Failed(_) => &mut outcomes.failed,
            Heard::Declined => &mut outcomes.declined,
            Heard::Dropped => &mut outcomes.dropped,
        } += choices;
    }

    fn read<'a>(
        &'a self,
        node: &'a NodeId,
        request: Bytes,
        _: Duration,
    ) -> BoxFuture<'a, Result<PeerAnswer, Error>> {
        Box::pin(async move {
            self.network.requests.fetch_add(1, Ordering::Relaxed);
            let member: usize = node.as_str()[1..].parse().unwrap();
            let unreachable = |why: &str| Error::Peer { node: node.clone(), source: why.into() };
            if let Some(requests) = self.network.down.lock().get_mut(&member).filter(|left| **left > 0) {
                *requests -= 1;
                return Err(unreachable("it is down"));
            }
            if self.network.silent.lock().contains(&member) {
                return std::future::pending().await;
            }
            let request = if self.network.old.lock().contains(&member) {
                String::from_utf8(request.to_vec())
                    .unwrap()
                    .replace("\"partials\":", "\"unheard_of\":")
                    .replace("\"standby\":", "\"unheard_of\":")
                    .into()
            } else {
                request
            };
            let network = self.network.clone();
            let answer = self.network.engines.read()[member].serve(request);
            // A connection cuts bytes anywhere.
            let pieces = answer.flat_map(move |bytes| {
                network.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
                let sizes = if bytes.len() < 2_000 { 7 } else { 19_999 };
                let pieces: Vec<_> = (0..bytes.len())
                    .step_by(sizes)
                    .map(|at| Ok(bytes.slice(at..bytes.len().min(at + sizes))))
                    .collect();
                futures_util::stream::iter(pieces)
            });
            let pieces_max = *self.network.pieces_max.lock();
            Ok(match pieces_max {
                None => pieces.boxed(),
                Some(pieces_max) if *self.network.stalls.lock() => {
                    pieces.take(pieces_max).chain(futures_util::stream::pending()).boxed()
                }
                Some(pieces_max) => pieces.take(pieces_max).boxed(),
            })
        })
    }
}

/// A member of a cluster.
pub struct Member {
    pub engine: Engine,
    pub handle: Handle,
    follower: Follower,
    catalog: Catalog,
    running: BTreeMap<String, u64>,
    rests: bool,
    network: Arc<Network>,
    me: usize,
}

impl Member {
    /// The next member of a network.
    pub fn start(log: &Arc<MemoryLog>, network: &Arc<Network>, options: Options) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let parked = Arc::new(LogWriter::new(log.clone()));
        let workers = super::node::process_options();
        let handle = Workers::start(workers, log.clone(), store.clone(), parked, Env::real()).unwrap();
        let mut engines = network.engines.write();
        let me = engines.len();
        let link = Arc::new(Link { network: network.clone(), me });
        let views = Arc::new(handle.clone());
        let engine = Engine::joined(options, log.clone(), store, views, link).unwrap();
        engines.push(engine.clone());
        let (follower, catalog) = (Follower::new(log.clone()), Catalog::new(log.streams()));
        let mut member = Self {
            engine,
            handle,
            follower,
            catalog,
            running: BTreeMap::new(),
            rests: false,
            network: network.clone(),
            me,
        };
        member.follow();
        member
    }

    /// Lets its views rest, also those that are to come, or go on.
    pub fn rest(&mut self, rests: bool) {
        self.rests = rests;
        self.follow();
    }

    /// Lets the catalogue and the views follow `$config`.
    pub fn follow(&mut self) {
        pollster::block_on(self.follower.catch_up(&mut self.catalog)).unwrap();
        self.engine.set_catalog(self.catalog.clone());
        self.assign(&[]);
        super::node::drive(&self.engine, &self.handle, &mut self.running, self.rests);
    }

    /// Works on the partitions that it keeps, and on others.
    pub fn assign(&self, others: &[StreamPartition]) {
        let streams = self.catalog.streams();
        let partitions = streams.iter().flat_map(|stream| {
            (0..stream.partitions).map(|partition| StreamPartition::new(stream.id, PartitionId(partition)))
        });
        let is_mine = |at: &StreamPartition| {
            let stands_by = self.network.standbys(*at).contains(&self.me);
            self.network.keeper(*at) == Some(self.me) || stands_by || others.contains(at)
        };
        self.handle.assign(Assigned::Only(partitions.filter(is_mine).collect())).unwrap();
    }

    /// Lets go of all partitions, whatever it is to keep.
    pub fn let_go(&self) {
        self.handle.assign(Assigned::Only(BTreeSet::new())).unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.network.engines.write().clear();
        let _late = self.handle.shutdown();
    }
}
