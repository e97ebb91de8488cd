//! Whoever was in another region before waits until everything is here that was there.

use crate::region::{PATIENCE, Region, World, active_active};
use tw_region::Seen;
use tw_types::{Hlc, PartitionId, RegionId, StreamId, StreamPartition};

/// The last event that a region has accepted itself in a stream.
async fn last(region: &Region, stream: &str) -> Hlc {
    let (def, here) = (region.stream(stream), region.events.log().region());
    let mut last = Hlc::ZERO;
    for number in 0..def.partitions {
        let marks = region.events.received(StreamPartition::new(def.id, PartitionId(number))).await.unwrap();
        let own = marks.iter().filter(|mark| mark.origin.region == here).map(|mark| mark.hlc);
        last = own.fold(last, Hlc::max);
    }
    last
}

fn demand(region: u16, until: Hlc) -> Seen {
    [(RegionId(region), until)].into_iter().collect()
}

/// Waits until it is reached.
async fn reach(region: &Region, from: u16, until: Hlc, stream: StreamId) {
    let (demand, from) = (demand(from, until), [RegionId(from)]);
    let reached = tokio::time::timeout(PATIENCE / 2, region.links.reached(&demand, &from, &[stream])).await;
    match reached {
        Ok(outcome) => outcome.unwrap(),
        Err(_) => panic!("{} instead of {demand}", region.links.seen()),
    }
}

/// Heartbeats come so seldom that only what follows a commit can help; two of three partitions are never written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prj_2_the_last_event_of_a_region_is_reached_without_another_event_or_heartbeat() {
    let world = World::new();
    let ports: Vec<u16> = (0..2).map(|_| tw_testing::free_port()).collect();
    let mut regions = Vec::new();
    for id in 1..=2u16 {
        let address = |id: u16| format!("127.0.0.1:{}", ports[usize::from(id) - 1]);
        let rare = tw_region::service::Options {
            heartbeat_ms: 60_000,
            silent_ms_max: 600_000,
            ..world.options(id, &address(id), &[(3 - id, address(3 - id))])
        };
        regions.push(world.start(rare).await);
    }
    for region in &regions {
        region.create(active_active("orders", 3)).await;
    }
    let stream = regions[1].stream("orders").id;
    for number in 0..50u64 {
        regions[0].append("orders", "one subject", &number.to_string()).await;
        reach(&regions[1], 1, last(&regions[0], "orders").await, stream).await;
        assert!(regions[1].count("orders") > number, "PRJ-2: event {number} is not here");
    }
    // The entry of the one that is asked is met.
    reach(&regions[1], 2, Hlc::from_u64(u64::MAX), stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_exchanged_is_not_reached_before_it_is() {
    let world = World::new();
    let regions = world.mesh(2).await;
    for region in &regions {
        region.create(active_active("orders", 1)).await;
    }
    regions[0].create(active_active("new", 2)).await;
    regions[0].append("new", "s", "1").await;
    let until = last(&regions[0], "new").await;
    // Something later makes what was seen pass the event of the other stream.
    regions[0].append("orders", "s", "2").await;
    let later = last(&regions[0], "orders").await;
    assert!(later > until);
    let orders = regions[1].stream("orders").id;
    reach(&regions[1], 1, later, orders).await;
    assert!(regions[1].links.seen().of(RegionId(1)) >= until);
    let new = regions[1].create(active_active("new", 2)).await.id;
    reach(&regions[1], 1, until, new).await;
    assert_eq!(regions[1].count("new"), 1, "PRJ-2: it is reached before it is here");
    // One that the other region does not have never is, and is named.
    let only_here = regions[1].create(active_active("only-here", 1)).await.id;
    let lacking = regions[1].links.lacking(&[RegionId(1)], &[new, only_here]).await.unwrap();
    assert_eq!(lacking, Some((RegionId(1), only_here)));
    assert!(regions[1].links.is_linked(RegionId(1)) && !regions[1].links.is_linked(RegionId(9)));
}
