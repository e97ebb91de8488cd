//! Regions that do not reach each other: what one accepts comes to the other by way of a third one.

use crate::contexts::contexts;
use crate::region::{PATIENCE, Region, World, active_active, log_options, same_everywhere};
use std::time::Duration;
use tw_env::Env;
use tw_log::EmbeddedLog;
use tw_region::service::{LinkState, Options, PeerOptions, PeerState, State};
use tw_types::{Epoch, RegionId};

/// Regions, each of which connects to some of the others.
struct Net {
    world: World,
    ports: Vec<u16>,
    /// By region: to whom it connects.
    lines: Vec<Vec<u16>>,
}

impl Net {
    /// Of regions in a row, of which each connects to its neighbours.
    fn chain(count: u16) -> Self {
        let lines = (1..=count).map(|id| (1..=count).filter(|peer| peer.abs_diff(id) == 1).collect());
        Self::new(lines.collect())
    }

    /// Of a first region to which all others connect.
    fn hub(count: u16) -> Self {
        let lines = (1..=count).map(|id| if id == 1 { (2..=count).collect() } else { vec![1] });
        Self::new(lines.collect())
    }

    fn new(lines: Vec<Vec<u16>>) -> Self {
        let ports = lines.iter().map(|_| tw_testing::free_port()).collect();
        Self { world: World::new(), ports, lines }
    }

    fn address(&self, id: u16) -> String {
        format!("127.0.0.1:{}", self.ports[usize::from(id) - 1])
    }

    /// Whoever is not among the lines of a region comes by way of the nearest of those by number.
    fn options(&self, id: u16) -> Options {
        let lines = &self.lines[usize::from(id) - 1];
        let count = u16::try_from(self.ports.len()).unwrap();
        let peer = |peer: u16| {
            let via = lines.iter().min_by_key(|line| line.abs_diff(peer)).filter(|_| !lines.contains(&peer));
            let address = if via.is_none() { self.address(peer) } else { String::new() };
            PeerOptions { id: RegionId(peer), address, via: via.map(|via| RegionId(*via)) }
        };
        let peers = (1..=count).filter(|peer| *peer != id).map(peer).collect();
        Options { peers, relays: true, ..self.world.options(id, &self.address(id), &[]) }
    }

    async fn start(&self, id: u16) -> Region {
        self.world.start(self.options(id)).await
    }

    /// All of them, with a stream of two partitions and one more.
    async fn begin(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        for id in 1..=u16::try_from(self.ports.len()).unwrap() {
            regions.push(self.start(id).await);
        }
        for region in &regions {
            region.create(active_active("orders", 2)).await;
            region.create(active_active("answers", 2)).await;
        }
        regions
    }
}

/// What a region says of another one.
fn of(state: &State, peer: u16) -> &PeerState {
    state.peers.iter().find(|one| one.region == RegionId(peer)).unwrap()
}

async fn write(regions: &[Region], round: &str, count: usize) {
    let writers = regions.iter().enumerate().map(|(number, region)| async move {
        for n in 0..count {
            region.append("orders", &format!("s{}", n % 7), &format!("{round}-{number}-{n}")).await;
        }
    });
    futures_util::future::join_all(writers).await;
}

/// Everybody writes, while the one in the middle ends and begins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_3_a_chain_has_every_event_once_through_restarts_of_the_relay() {
    let net = Net::chain(3);
    let mut regions = net.begin().await;
    let mut wanted = 0;
    for round in 0..4 {
        write(&regions, &format!("up-{round}"), 20).await;
        let relay = regions.remove(1);
        // With what it has not passed on, and what it has not taken.
        relay.stop().await;
        write(&regions, &format!("down-{round}"), 20).await;
        let down = |state: &State| [2, 1].iter().all(|id| of(state, *id).link == LinkState::Down);
        let state = regions[1].state_until("down", down).await;
        assert_eq!((of(&state, 1).via, of(&state, 2).via), (Some(RegionId(2)), None));
        regions.insert(1, net.start(2).await);
        wanted += 100;
    }
    for region in &regions {
        region.has("orders", wanted).await;
    }
    same_everywhere(&regions, "orders").await;
    let peers = [[2, 3], [1, 3], [1, 2]];
    let first = contexts(&regions[0], &peers[0], "orders").await;
    for (region, peers) in regions.iter().zip(&peers).skip(1) {
        assert_eq!(first, contexts(region, peers, "orders").await, "REG-1: contexts differ");
    }
    for region in &regions {
        let state = region.in_sync().await;
        assert!(state.peers.iter().all(|peer| peer.error.is_none() && peer.notes.is_empty()), "{state:#?}");
    }
    let state = regions[2].in_sync().await;
    assert_eq!(of(&state, 1).address, of(&state, 2).address, "where it connects to");
    assert_eq!((of(&state, 1).name.clone(), of(&state, 2).name.clone()), (None, Some("region-2".into())));
}

/// Region 1 asks, region 2 answers. The fourth has the answers over fewer steps than the questions, and the first has answers of the fourth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_2_in_a_chain_of_four_an_answer_is_nowhere_before_its_question() {
    let net = Net::chain(4);
    let regions = net.begin().await;
    let asks = async {
        for n in 0..100 {
            regions[0].append("orders", &format!("q{n}"), &format!("{n}")).await;
        }
    };
    let answers = |who: usize| {
        let regions = &regions;
        async move {
            for n in 0..100u64 {
                regions[who].has("orders", n + 1).await;
                regions[who].append("answers", &format!("a{who}-{n}"), &format!("{who}-{n}")).await;
            }
        }
    };
    let looks = |who: usize| {
        let regions = &regions;
        async move {
            for n in 0..200 {
                regions[who].has("answers", n + 1).await;
                let (answers, questions) = (regions[who].count("answers"), regions[who].count("orders"));
                assert!(2 * questions >= answers, "REG-2: {answers} answers to {questions} questions");
            }
        }
    };
    tokio::join!(asks, answers(1), answers(3), looks(0), looks(2), looks(3));
    for region in &regions {
        region.has("orders", 100).await;
        region.has("answers", 200).await;
    }
    same_everywhere(&regions, "orders").await;
    same_everywhere(&regions, "answers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_1_a_hub_brings_what_each_of_its_regions_accepts_to_all_others() {
    let net = Net::hub(4);
    let regions = net.begin().await;
    write(&regions, "all", 60).await;
    for region in &regions {
        region.has("orders", 240).await;
    }
    same_everywhere(&regions, "orders").await;
    for region in &regions {
        region.in_sync().await;
    }
}

/// Without the relay, what the second region has seen of the first one never comes, and what depends on it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_without_a_relay_nothing_of_a_region_that_is_not_reached_comes() {
    let net = Net::chain(3);
    let mut regions = net.begin().await;
    regions.pop().unwrap().stop().await;
    let unreached = format!("127.0.0.1:{}", tw_testing::free_port());
    let mut options = net.options(3);
    options.peers[0] = PeerOptions { id: RegionId(1), address: unreached, via: None };
    let third = net.world.start(options).await;
    regions[0].append("orders", "s", "cause").await;
    regions[1].has("orders", 1).await;
    regions[1].append("orders", "s", "effect").await;
    let waits = |state: &State| {
        let mut partitions = of(state, 2).partitions.iter();
        partitions.any(|one| one.waits_for.as_deref().is_some_and(|what| what.starts_with("region 1")))
    };
    third.state_until("waiting for region 1", waits).await;
    assert_eq!(third.count("orders"), 0);
    // The option alone changes that; what is here is what it goes on from.
    third.stop().await;
    let third = net.start(3).await;
    third.has("orders", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_to_relay_or_cannot_says_so_with_the_remedy() {
    let net = Net::chain(3);
    let relays = |relays| Options { relays, ..net.options(2) };
    let first = net.start(1).await;
    let third = net.start(3).await;
    let refused = |text: &'static str| {
        move |state: &State| {
            let peer = of(state, 1);
            peer.link == LinkState::Down && peer.error.as_deref().is_some_and(|error| error.contains(text))
        }
    };
    let begin = third.state_until("unreached", refused("by way of region 2: cannot connect")).await;
    assert_eq!(of(&begin, 1).via, Some(RegionId(2)));
    let second = net.world.start(relays(false)).await;
    third.state_until("refused", refused("set `relays = true`")).await;
    assert_eq!(of(&third.in_sync_with(2).await, 2).link, LinkState::InSync, "the other link stands");
    second.stop().await;
    let mut knows_nobody = relays(true);
    knows_nobody.peers.retain(|peer| peer.id != RegionId(1));
    let second = net.world.start(knows_nobody).await;
    third.state_until("not taken", refused("name that region among its `peers`")).await;
    second.stop().await;
    // Both would have it from each other only.
    let mut circle = relays(true);
    circle.peers[0] = PeerOptions { id: RegionId(1), address: String::new(), via: Some(RegionId(3)) };
    let second = net.world.start(circle).await;
    third.state_until("a circle", refused("`via` of a third one")).await;
    // Requests need a line of their own.
    let error = third.links.connect(RegionId(1)).await.err().unwrap().to_string();
    assert!(error.contains("by way of region 2") && error.contains("`address`"), "{error}");
    drop((first, second));
}

/// The relay is there, and the region behind it is not: its link is down all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_its_relay_does_not_reach_is_down_and_what_is_told_of_it_is_its_own() {
    let net = Net::chain(3);
    let mut regions = net.begin().await;
    write(&regions, "some", 10).await;
    for region in &regions {
        region.has("orders", 30).await;
    }
    let third = regions.remove(2);
    third.in_sync().await;
    // What a region has of others is told as it said so, not as its relay does.
    let told = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        loop {
            looks.tick().await;
            let heard = third.links.heard().await.unwrap();
            let first = heard.iter().find(|one| one.region == RegionId(1)).unwrap();
            if first.is_connected && first.told.as_ref().is_some_and(|told| told.of(RegionId(3)).millis() > 0)
            {
                assert_eq!(first.told.as_ref().unwrap().of(RegionId(1)).millis(), 0, "of others only");
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    regions.remove(0).stop().await;
    let down = |state: &State| {
        let (first, second) = (of(state, 1), of(state, 2));
        let error = first.error.as_deref().unwrap_or_default();
        first.link == LinkState::Down
            && error.contains("region 2, which relays region 1, has no link to it")
            && second.link == LinkState::InSync
    };
    third.state_until("down behind the relay", down).await;
    assert!(
        third.links.heard().await.unwrap().iter().any(|one| one.region == RegionId(1) && !one.is_connected)
    );
}

/// A relay that begins while a region is away has of it what it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relay_has_of_a_region_that_is_away_comes_from_it() {
    let net = Net::chain(3);
    let mut regions = net.begin().await;
    write(&regions, "all", 10).await;
    for region in &regions {
        region.has("orders", 30).await;
    }
    regions.pop().unwrap().stop().await;
    write(&regions, "without the third", 10).await;
    regions[1].has("orders", 50).await;
    for region in regions {
        region.stop().await;
    }
    let regions = [net.start(2).await, net.start(3).await];
    regions[1].has("orders", 50).await;
    same_everywhere(&regions, "orders").await;
    // What comes of it later begins with what it said before.
    let first = net.start(1).await;
    first.append("orders", "s", "again").await;
    regions[1].has("orders", 51).await;
}

/// The region at one end is put back from an older copy: it has everything again from its neighbour, and what it accepts in its new epoch comes to the other
/// end, which was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_3_a_region_that_is_restored_comes_through_its_relay_under_its_new_epoch() {
    let net = Net::chain(3);
    let mut regions = net.begin().await;
    write(&regions, "before", 10).await;
    for region in &regions {
        region.has("orders", 30).await;
    }
    let first = regions.remove(0);
    first.stop().await;
    let (data, copy) = (net.world.data(1), net.world.folder.path().join("copy"));
    crate::faults::copy(&data, &copy);
    let first = net.start(1).await;
    let all = [first];
    write(&all, "lost", 10).await;
    regions[0].has("orders", 40).await;
    let [first] = all;
    first.stop().await;
    let third = regions.remove(1);
    third.has("orders", 40).await;
    third.stop().await;
    std::fs::remove_dir_all(&data).unwrap();
    crate::faults::copy(&copy, &data);
    assert_eq!(EmbeddedLog::raise_epoch(&data, &log_options(RegionId(1)), &Env::real()).unwrap(), Epoch(2));
    // It waits for what the third one had accepted and it had seen, which comes by way of the second.
    let (first, third) = (net.start(1).await, net.start(3).await);
    tokio::time::timeout(PATIENCE, first.links.restored()).await.unwrap();
    regions.insert(0, first);
    regions.push(third);
    write(&regions, "after", 10).await;
    for region in &regions {
        region.has("orders", 70).await;
    }
    same_everywhere(&regions, "orders").await;
    let events = regions[2].all("orders").await;
    assert!(events.iter().flatten().any(|stored| stored.origin.epoch == Epoch(2)));
    for region in &regions {
        region.in_sync().await;
    }
}

/// Claims and what is in them are events like others: a home goes from one end of a chain to the other, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_moves_over_a_relay_behind_the_last_write() {
    let net = Net::chain(3);
    let regions = net.begin().await;
    for region in &regions {
        region.create(crate::homes::with_home("counters", 2, 1)).await;
    }
    for n in 0..20 {
        regions[0].append("counters", &format!("s{}", n % 3), &format!("{n}")).await;
    }
    regions[0].in_sync_with(3).await;
    let given = regions[0].links.give_away(&["counters".into()], RegionId(3), false).await.unwrap();
    assert_eq!((given[0].to, given[0].term), (RegionId(3), 1));
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let opened = async {
        while !regions[2].links.homes().list()[0].is_open {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap();
    assert_eq!(regions[2].count("counters"), 20, "it has what the one before had");
    assert!(regions[2].links.homes().enter(&regions[2].stream("counters")).is_ok());
    assert!(regions[0].links.homes().enter(&regions[0].stream("counters")).is_err());
}

/// Heartbeats come so seldom that only what follows an append can help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_relayed_comes_without_a_heartbeat() {
    let net = Net::chain(3);
    let mut regions = Vec::new();
    for id in 1..=3 {
        let rare = Options { heartbeat_ms: 60_000, silent_ms_max: 600_000, ..net.options(id) };
        regions.push(net.world.start(rare).await);
    }
    for region in &regions {
        region.create(active_active("orders", 3)).await;
    }
    for number in 0..50u64 {
        regions[0].append("orders", "one subject", &number.to_string()).await;
        regions[2].has("orders", number + 1).await;
    }
}
