//! A region in this process: a log, an event store, links.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tw_env::Env;
use tw_log::store::{EventStore, Filter};
use tw_log::{EmbeddedLog, Log, NewStream};
use tw_region::link::inbound;
use tw_region::service::{Arbiter, LinkState, Links, Options, PeerOptions, State};
use tw_region::tls::Authority;
use tw_state::MemoryStore;
use tw_types::{
    Event, Offset, PartitionId, RegionId, Stored, StreamDef, StreamMode, StreamName, StreamOptions,
    StreamPartition,
};

/// Long enough for a busy machine; a test that works ends long before.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A region.
pub(crate) struct Region {
    pub(crate) events: EventStore,
    pub(crate) links: Links,
}

/// What regions have in common: certificates of one authority, and a folder.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    authority: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::init(&folder.path().join("ca"), "test", 30).unwrap();
        Self { folder, authority }
    }

    pub(crate) fn certificates(&self, id: u16) -> std::path::PathBuf {
        let into = self.folder.path().join(format!("certificates-{id}"));
        if !into.exists() {
            let (region, name) = (RegionId(id), format!("region-{id}"));
            self.authority.issue(region, &name, &["localhost".into()], 30, &into).unwrap();
        }
        into
    }

    pub(crate) fn data(&self, id: u16) -> std::path::PathBuf {
        self.folder.path().join(format!("data-{id}"))
    }

    /// Options with which tests do not take long.
    pub(crate) fn options(&self, id: u16, listen: &str, peers: &[(u16, String)]) -> Options {
        let peer = |(id, address): &(u16, String)| PeerOptions {
            id: RegionId(*id),
            address: address.clone(),
            via: None,
        };
        Options {
            id: RegionId(id),
            listen: listen.into(),
            certificates: self.certificates(id),
            peers: peers.iter().map(peer).collect(),
            heartbeat_ms: 20,
            silent_ms_max: 2_000,
            reconnect_ms_max: 200,
            inbound: inbound::Options { retry_ms: 20, ..inbound::Options::default() },
            ..Options::default()
        }
    }

    /// The same, of one of two regions that listen at these ports.
    pub(crate) fn options_of_two(&self, id: u16, ports: [u16; 2]) -> Options {
        let [here, there] = if id == 1 { ports } else { [ports[1], ports[0]] };
        self.options(id, &format!("127.0.0.1:{here}"), &[(3 - id, format!("127.0.0.1:{there}"))])
    }

    /// Starts a region on its folder.
    pub(crate) async fn start(&self, options: Options) -> Region {
        self.start_with(options, None).await
    }

    /// The same, with an arbiter.
    pub(crate) async fn start_with(&self, options: Options, arbiter: Option<Arc<dyn Arbiter>>) -> Region {
        let events = open(&self.data(options.id.0), options.id);
        let peers = options.peers.iter().map(|peer| peer.id);
        tw_region::define(events.log().as_ref(), peers).await.unwrap();
        let installation = u128::from(options.id.0);
        let links = Links::start(events.clone(), Env::real(), installation, options, arbiter).await.unwrap();
        Region { events, links }
    }

    /// So many regions, each linked with all others.
    pub(crate) async fn mesh(&self, count: u16) -> Vec<Region> {
        let ports: Vec<u16> = (0..count).map(|_| tw_testing::free_port()).collect();
        let address = |id: u16| format!("127.0.0.1:{}", ports[usize::from(id) - 1]);
        let mut regions = Vec::new();
        for id in 1..=count {
            let peers: Vec<(u16, String)> =
                (1..=count).filter(|peer| *peer != id).map(|peer| (peer, address(peer))).collect();
            regions.push(self.start(self.options(id, &address(id), &peers)).await);
        }
        regions
    }
}

pub(crate) fn log_options(region: RegionId) -> tw_log::Options {
    tw_log::Options { segment_bytes: 4 << 20, append_bytes_max: 2 << 20, region, ..Default::default() }
}

pub(crate) fn open(folder: &Path, region: RegionId) -> EventStore {
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(folder, log_options(region), Env::real()).unwrap());
    let (state, options) = (Arc::new(MemoryStore::new()), tw_log::store::Options::default());
    EventStore::open(log, state, Env::real(), options).unwrap()
}

pub(crate) fn active_active(name: &str, partitions: u32) -> NewStream {
    let options = StreamOptions { mode: StreamMode::ActiveActive, ..StreamOptions::default() };
    NewStream { options, ..NewStream::plain(StreamName::new(name).unwrap(), partitions) }
}

pub(crate) fn event(subject: &str, id: &str) -> Event {
    Event {
        id: id.into(),
        source: "/test".into(),
        ty: "test.happened".into(),
        subject: Some(subject.into()),
        ..Event::default()
    }
}

impl Region {
    pub(crate) async fn create(&self, stream: NewStream) -> Arc<StreamDef> {
        self.events.log().create_stream(stream).await.unwrap()
    }

    pub(crate) fn stream(&self, name: &str) -> Arc<StreamDef> {
        self.events.log().streams().get(name).unwrap().clone()
    }

    pub(crate) async fn append(&self, stream: &str, subject: &str, id: &str) {
        let mut write = self.events.write();
        write.push(&self.stream(stream), &event(subject, id).as_ref()).unwrap();
        self.events.append(write).await.unwrap();
    }

    /// Ends it, so that it can be started again.
    pub(crate) async fn stop(self) {
        self.links.stop().await;
    }

    /// Everything in a partition.
    pub(crate) async fn partition(&self, stream: &str, number: u32) -> Vec<Stored> {
        let at = StreamPartition::new(self.stream(stream).id, PartitionId(number));
        let (mut next, mut all) = (self.events.log().bounds(at).unwrap().start, Vec::new());
        while next < self.events.log().bounds(at).unwrap().end {
            let page = self.events.read(at, next, &Filter::default(), 10_000, 1 << 20).await.unwrap();
            all.extend(page.events);
            next = page.next;
        }
        all
    }

    /// Everything in a stream, by partition.
    pub(crate) async fn all(&self, stream: &str) -> Vec<Vec<Stored>> {
        let mut all = Vec::new();
        for number in 0..self.stream(stream).partitions {
            all.push(self.partition(stream, number).await);
        }
        all
    }

    /// How many events a stream has here.
    pub(crate) fn count(&self, stream: &str) -> u64 {
        let def = self.stream(stream);
        let end = |number| {
            let bounds = self.events.log().bounds(StreamPartition::new(def.id, PartitionId(number))).unwrap();
            bounds.end.0 - Offset::ZERO.0
        };
        (0..def.partitions).map(end).sum()
    }

    /// Waits until a stream has so many events here.
    pub(crate) async fn has(&self, stream: &str, count: u64) {
        let commits = self.events.log().commits();
        let reached = async {
            loop {
                let seen = commits.get();
                if self.count(stream) >= count {
                    return;
                }
                commits.over(seen).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            let state = self.links.state().await;
            panic!("{} of {count} events after {PATIENCE:?}: {state:#?}", self.count(stream));
        }
    }

    /// Waits until the state of the links is as wanted.
    pub(crate) async fn state_until(&self, what: &str, wanted: impl Fn(&State) -> bool) -> State {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        let reached = async {
            loop {
                let state = self.links.state().await.unwrap();
                if wanted(&state) {
                    return state;
                }
                looks.tick().await;
            }
        };
        match tokio::time::timeout(PATIENCE, reached).await {
            Ok(state) => state,
            Err(_) => panic!("not {what} after {PATIENCE:?}: {:#?}", self.links.state().await),
        }
    }

    /// The same, with one region.
    pub(crate) async fn in_sync_with(&self, peer: u16) -> State {
        let is = |state: &State| {
            state.peers.iter().any(|one| one.region == RegionId(peer) && one.link == LinkState::InSync)
        };
        self.state_until("in sync", is).await
    }

    pub(crate) async fn in_sync(&self) -> State {
        self.state_until("in sync", |state| state.peers.iter().all(|peer| peer.link == LinkState::InSync))
            .await
    }
}

/// Checks that regions have the same events of a stream, each once, those of each region in the order in which it accepted them.
pub(crate) async fn same_everywhere(regions: &[Region], stream: &str) {
    let mut first: Option<Vec<BTreeSet<(String, String)>>> = None;
    for region in regions {
        let mut sets = Vec::new();
        for events in region.all(stream).await {
            let mut set = BTreeSet::new();
            let mut last = std::collections::BTreeMap::new();
            for stored in &events {
                let key = (stored.origin.region, stored.origin.epoch);
                let before = last.insert(key, (stored.origin.sequence.0, stored.hlc));
                let (sequence, hlc) = before.unwrap_or_default();
                assert_eq!(stored.origin.sequence.0, sequence + 1, "REG-3: each once, and none left out");
                assert!(stored.hlc > hlc);
                assert!(set.insert((stored.origin.to_string(), stored.event.id.clone())), "REG-3: twice");
            }
            sets.push(set);
        }
        match &first {
            None => first = Some(sets),
            Some(first) => assert_eq!(first, &sets, "REG-1: regions differ"),
        }
    }
}
