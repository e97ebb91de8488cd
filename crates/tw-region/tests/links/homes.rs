//! Streams with a home: one region at a time takes writes, also while the home moves; what a new home did not know is listed.

use crate::region::{PATIENCE, Region, World, active_active, event, same_everywhere};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tw_log::NewStream;
use tw_log::store::EventStore;
use tw_region::service::{AT_RISK_STREAM, Arbiter, HomeError, Homes, LinkState};
use tw_testing::{Line, Quality, Way};
use tw_types::{ExpectedVersion, RegionId, StreamMode, StreamName, StreamOptions, Version};

pub(crate) fn with_home(name: &str, partitions: u32, home: u16) -> NewStream {
    let options = StreamOptions {
        mode: StreamMode::HomeRegion,
        home: Some(RegionId(home)),
        ..StreamOptions::default()
    };
    NewStream { options, ..NewStream::plain(StreamName::new(name).unwrap(), partitions) }
}

/// A line has a runtime of its own, which is not begun or ended within another.
fn line(server: u16) -> Line {
    std::thread::spawn(move || Line::open(server, Quality::default(), 1)).join().unwrap()
}

impl Drop for Lined {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        std::thread::spawn(move || drop(lines)).join().unwrap();
    }
}

/// Regions, and between each two of them a line of its own for each direction of pulling.
pub(crate) struct Lined {
    pub(crate) regions: Vec<Region>,
    lines: BTreeMap<(u16, u16), Line>,
}

impl Lined {
    async fn start(world: &World, count: u16) -> Self {
        Self::start_with(world, (0..count).map(|_| None).collect()).await
    }

    /// Each with its arbiter.
    pub(crate) async fn start_with(world: &World, arbiters: Vec<Option<Arc<dyn Arbiter>>>) -> Self {
        let count = arbiters.len() as u16;
        let ports: Vec<u16> = (0..count).map(|_| tw_testing::free_port()).collect();
        let port = |id: u16| ports[usize::from(id) - 1];
        let mut lines = BTreeMap::new();
        for (from, to) in (1..=count).flat_map(|from| (1..=count).map(move |to| (from, to))) {
            if from != to {
                lines.insert((from, to), line(port(to)));
            }
        }
        let mut regions = Vec::new();
        for (id, arbiter) in (1..=count).zip(arbiters) {
            let peers = (1..=count).filter(|peer| *peer != id);
            let peers: Vec<(u16, String)> =
                peers.map(|peer| (peer, format!("127.0.0.1:{}", lines[&(id, peer)].port()))).collect();
            let options = world.options(id, &format!("127.0.0.1:{}", port(id)), &peers);
            let options = tw_region::service::Options { silent_ms_max: 300, ..options };
            regions.push(world.start_with(options, arbiter).await);
        }
        Self { regions, lines }
    }

    /// Cuts one region off from all others.
    pub(crate) fn isolate(&self, id: u16) {
        for ((from, to), line) in &self.lines {
            if *from == id || *to == id {
                Way::BOTH.into_iter().for_each(|way| line.cut(way));
                line.drop_connections();
            }
        }
    }

    pub(crate) fn mend(&self) {
        self.lines.values().for_each(Line::mend);
    }

    pub(crate) fn region(&self, id: u16) -> &Region {
        &self.regions[usize::from(id) - 1]
    }

    pub(crate) async fn create(&self, stream: &NewStream) {
        for region in &self.regions {
            region.create(stream.clone()).await;
        }
        for region in &self.regions {
            region.in_sync().await;
        }
    }
}

/// Adds 1 to the counter of a subject, whose value is its version, where this region is its home.
pub(crate) async fn count(events: &EventStore, homes: &Homes, subject: &str) -> bool {
    let streams = events.log().streams();
    let def = streams.get("counters").unwrap();
    let Ok(_entered) = homes.enter(def) else { return false };
    let now = events.version(def.id, subject).await.unwrap();
    let mut write = events.write();
    let expected = if now == Version::NONE { ExpectedVersion::None } else { ExpectedVersion::Exact(now) };
    write.expect(def, subject, expected);
    write.push(def, &event(subject, &format!("{subject}-{}", now.0 + 1)).as_ref()).unwrap();
    events.append(write).await.is_ok()
}

pub(crate) async fn wait_for(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !is_so().await {
            looks.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "not {what} after {PATIENCE:?}");
}

/// Writers in all regions at once, while the home goes round: what each has read is what it expects, so the versions of a
/// subject are the same everywhere, and nothing was written twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_region_at_a_time_takes_writes_while_the_home_goes_round() {
    let world = World::new();
    let lined = Lined::start(&world, 3).await;
    lined.create(&with_home("counters", 2, 1)).await;
    let (done, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = Vec::new();
    for region in &lined.regions {
        let (events, homes) = (region.events.clone(), region.links.homes().clone());
        let (done, written) = (done.clone(), written.clone());
        writers.push(tokio::spawn(async move {
            for n in 0.. {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                if count(&events, &homes, ["a", "b", "c"][n % 3]).await {
                    written.fetch_add(1, Ordering::SeqCst);
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }));
    }
    for turn in 0..12u16 {
        let (from, to) = (turn % 3 + 1, (turn + 1) % 3 + 1);
        let before = written.load(Ordering::SeqCst);
        wait_for("written", async || written.load(Ordering::SeqCst) > before).await;
        let home = lined.region(from);
        home.state_until("linked", |state| {
            state.peers.iter().all(|peer| matches!(peer.link, LinkState::InSync | LinkState::CatchingUp))
        })
        .await;
        let given = home.links.give_away(&["counters".into()], RegionId(to), false).await.unwrap();
        assert_eq!(given[0].term, u64::from(turn) + 1);
        let new_home = lined.region(to).links.homes();
        wait_for("the home", async || new_home.list()[0].is_open).await;
    }
    done.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let written = written.load(Ordering::SeqCst);
    for region in &lined.regions {
        region.has("counters", written).await;
        for subject in ["a", "b", "c"] {
            let mut version = 0;
            for stored in region.all("counters").await.concat() {
                if stored.event.subject.as_deref() == Some(subject) {
                    version += 1;
                    assert_eq!(
                        stored.event.id,
                        format!("{subject}-{version}"),
                        "another one wrote in between"
                    );
                    assert_eq!(stored.version, Version(version));
                }
            }
        }
        assert_eq!(region.count(AT_RISK_STREAM), 0, "a planned move loses nothing");
    }
    same_everywhere(&lined.regions, "counters").await;
}

/// The home is cut off and writes on; another region takes over. When they meet again, the list of what was at risk is exactly what
/// the new home did not have, and everything is everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_isolated_home_accepts_is_listed_exactly_and_merged() {
    let world = World::new();
    let lined = Lined::start(&world, 3).await;
    lined.create(&with_home("counters", 2, 1)).await;
    let (one, two) = (lined.region(1), lined.region(2));
    for n in 0..20 {
        assert!(count(&one.events, one.links.homes(), ["a", "b"][n % 2]).await);
    }
    two.has("counters", 20).await;
    let refused = two.links.failover(RegionId(1), &[], true, false).await;
    assert!(matches!(refused, Err(HomeError::IsThere { .. })), "{refused:?}");
    lined.isolate(1);
    two.state_until("cut off", |state| state.peers[0].link == LinkState::Down).await;
    for n in 0..30 {
        assert!(count(&one.events, one.links.homes(), ["a", "b"][n % 2]).await, "it is the home");
    }
    let plan = two.links.failover(RegionId(1), &[], false, true).await.unwrap();
    assert!(!plan.is_done && plan.streams.len() == 1 && plan.streams[0].term == 1, "{plan:?}");
    assert!(plan.silent_ms.is_some(), "it was heard: {plan:?}");
    assert!(!count(&two.events, two.links.homes(), "a").await, "that was a plan");
    let refused = two.links.failover(RegionId(1), &[], false, false).await;
    assert!(matches!(refused, Err(HomeError::Unconfirmed { .. })), "{refused:?}");
    two.links.failover(RegionId(1), &[], true, false).await.unwrap();
    for n in 0..10 {
        assert!(count(&two.events, two.links.homes(), ["a", "b"][n % 2]).await, "it is the home now");
    }
    assert!(count(&one.events, one.links.homes(), "a").await, "it does not know yet");
    lined.mend();
    let homes = one.links.homes();
    wait_for("known", async || homes.list()[0].home == RegionId(2)).await;
    let refused = homes.enter(&one.stream("counters"));
    assert!(matches!(refused, Err(HomeError::Elsewhere { home: RegionId(2), term: 1, .. })), "{refused:?}");
    for region in &lined.regions {
        region.has("counters", 61).await;
        // Those that are at risk, and the ends of the lists of both others.
        region.has(AT_RISK_STREAM, 33).await;
        let (mut origins, mut tails) = (Vec::new(), Vec::new());
        for stored in region.partition(AT_RISK_STREAM, 0).await {
            let data: serde_json::Value = serde_json::from_slice(stored.event.data.bytes()).unwrap();
            match stored.event.ty.as_str() {
                "tradewind.event.at_risk" => origins.push(data["origin"].as_str().unwrap().to_owned()),
                _ => tails.push((data["region"].as_u64().unwrap(), data["events"].as_u64().unwrap())),
            }
        }
        tails.sort_unstable();
        assert_eq!(tails, [(1, 31), (3, 0)]);
        let mut expected = Vec::new();
        for partition in region.all("counters").await {
            let own = partition.into_iter().filter(|stored| stored.origin.region == RegionId(1));
            expected.extend(own.map(|stored| (stored.hlc, stored.origin.to_string())));
        }
        expected.sort();
        let mut expected: Vec<String> = expected.into_iter().skip(20).map(|(_, origin)| origin).collect();
        expected.sort();
        origins.sort();
        assert_eq!(origins, expected);
    }
    same_everywhere(&lined.regions, "counters").await;
    same_everywhere(&lined.regions, AT_RISK_STREAM).await;
    // Back again, without a loss.
    two.in_sync().await;
    two.links.give_away(&[], RegionId(1), false).await.unwrap();
    wait_for("the home", async || one.links.homes().list()[0].is_open).await;
    assert!(count(&one.events, one.links.homes(), "a").await);
    assert_eq!(one.count(AT_RISK_STREAM), 33);
}

/// What is known of homes is in the log: a node that is started again goes on with it, and lists nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_outlive_a_restart() {
    let world = World::new();
    let ports = [tw_testing::free_port(), tw_testing::free_port()];
    let options = |id: u16| world.options_of_two(id, ports);
    let first = world.start(options(1)).await;
    let second = world.start(options(2)).await;
    for region in [&first, &second] {
        region.create(with_home("counters", 1, 1)).await;
    }
    first.in_sync().await;
    assert!(count(&first.events, first.links.homes(), "a").await);
    second.has("counters", 1).await;
    first.links.stop().await;
    assert!(count(&first.events, first.links.homes(), "a").await, "at risk");
    second.state_until("cut off", |state| state.peers[0].link == LinkState::Down).await;
    second.links.failover(RegionId(1), &["counters".into()], true, false).await.unwrap();
    assert!(count(&second.events, second.links.homes(), "a").await);
    drop(first);
    let mut first = world.start(options(1)).await;
    second.has(AT_RISK_STREAM, 2).await;
    for round in 0..3 {
        first.stop().await;
        first = world.start(options(1)).await;
        let homes = first.links.homes();
        assert_eq!((homes.list()[0].home, first.count(AT_RISK_STREAM)), (RegionId(2), 2), "round {round}");
    }
    let second_again = second.links.homes().list();
    assert_eq!((second_again[0].home, second_again[0].is_open), (RegionId(2), true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_moved_is_refused_with_the_reason() {
    let world = World::new();
    let lined = Lined::start(&world, 2).await;
    lined.create(&with_home("counters", 1, 1)).await;
    lined.create(&active_active("everywhere", 1)).await;
    let (one, two) = (lined.region(1), lined.region(2));
    let named = |name: &str| vec![name.to_owned()];
    let moved = async |region: &Region, name: &str, to: u16| {
        region.links.give_away(&named(name), RegionId(to), true).await.unwrap_err()
    };
    assert!(matches!(moved(two, "counters", 1).await, HomeError::Elsewhere { home: RegionId(1), .. }));
    assert!(matches!(moved(one, "everywhere", 2).await, HomeError::NoHome { mode: "active-active", .. }));
    assert!(matches!(moved(one, "nothing", 2).await, HomeError::NoStream { .. }));
    assert!(matches!(moved(one, "counters", 9).await, HomeError::NoRegion { .. }));
    lined.isolate(2);
    one.state_until("cut off", |state| state.peers[0].link == LinkState::Down).await;
    assert!(matches!(moved(one, "counters", 2).await, HomeError::NotReady { .. }));
    assert!(one.links.homes().list()[0].is_open, "it is still the home");
    let nothing = one.links.failover(RegionId(2), &[], true, false).await.unwrap_err();
    assert!(matches!(nothing, HomeError::Nothing { .. }), "{nothing}");
}
