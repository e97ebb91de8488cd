//! A region that is gone is evicted: nobody waits for it any more, it is refused when it comes back, and it is seeded.

use crate::region::{Region, active_active, event, same_everywhere};
use crate::three::Three;
use std::time::Duration;
use tw_region::Contexts;
use tw_region::service::{EvictionError, LinkState, Options, PeerState, State};
use tw_types::{Epoch, Hlc, PartitionId, RegionId, StreamPartition};

impl Three {
    async fn begin_in_sync(&self) -> [Region; 3] {
        let all = [self.start(1).await, self.start(2).await, self.start(3).await];
        for region in &all {
            region.create(active_active("orders", 2)).await;
        }
        for region in &all {
            region.in_sync().await;
        }
        all
    }

    /// Begins a new log of a region that is stopped, as `tradewind region seed` does.
    fn seed(&self, id: u16) {
        std::fs::remove_dir_all(self.world.data(id)).unwrap();
        drop(crate::region::open(&self.world.data(id), RegionId(id)));
        self.raise(id);
    }
}

async fn write(regions: &[&Region], round: &str, count: usize) {
    for region in regions {
        let of = region.events.log().region();
        for number in 0..count {
            region.append("orders", &format!("s{number}"), &format!("{round}-{of}-{number}")).await;
        }
    }
}

fn peer(state: &State, id: u16) -> &PeerState {
    state.peers.iter().find(|peer| peer.region == RegionId(id)).unwrap()
}

fn is_complete(state: &State, id: u16) -> bool {
    peer(state, id).link == LinkState::Evicted
        && state.evicted.iter().any(|one| one.region == RegionId(id) && one.is_complete)
}

/// Evicts a region as soon as that is not refused any more.
async fn evicted(by: &Region, id: u16) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let done = async {
        loop {
            looks.tick().await;
            match by.links.evict(RegionId(id), false, false).await {
                Ok(eviction) => return assert!(eviction.is_done),
                Err(EvictionError::NotSilent { .. } | EvictionError::Minority { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(crate::region::PATIENCE, done).await.unwrap();
}

/// Up to when every region knows of what one of them has accepted, as region 1 finds it.
async fn stable_of(first: &Region, of: u16) -> Hlc {
    let contexts = Contexts::new(first.events.log().clone(), [2, 3].map(RegionId));
    let at = StreamPartition::new(first.stream("orders").id, PartitionId(0));
    let found = tokio::task::spawn_blocking(move || {
        let (here, _) = contexts.here(at).unwrap();
        contexts.stable(&here).unwrap().of(RegionId(of))
    });
    found.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_1_a_region_that_is_gone_is_evicted_refused_and_seeded() {
    let three = Three::new();
    let [first, second, third] = three.begin_in_sync().await;
    write(&[&first, &second, &third], "before", 5).await;
    for region in [&first, &second, &third] {
        region.has("orders", 15).await;
    }
    let early = first.links.evict(RegionId(3), false, true).await.unwrap();
    assert!(early.refused.as_deref().is_some_and(|why| why.contains("evict_after_ms")), "{early:?}");
    assert!(!early.is_done && early.epoch == Epoch(1));
    third.stop().await;
    write(&[&first, &second], "without", 5).await;
    for region in [&first, &second] {
        // Its own: what the other one writes may depend on a last event that only that one has of the third.
        region.has("orders", 20).await;
    }
    let before = stable_of(&first, 2).await;
    evicted(&first, 3).await;
    for region in [&first, &second] {
        region.state_until("evicted", |state| is_complete(state, 3)).await;
        region.has("orders", 25).await;
    }
    // One that is evicted already stays so, whoever says it.
    assert!(second.links.evict(RegionId(3), false, false).await.unwrap().is_done);
    // What the others have written since is stable.
    write(&[&first, &second], "evicted", 1).await;
    for region in [&first, &second] {
        region.has("orders", 27).await;
    }
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let forgets = async {
        while stable_of(&first, 2).await <= before {
            write(&[&first, &second], "more", 1).await;
            looks.tick().await;
        }
    };
    tokio::time::timeout(crate::region::PATIENCE, forgets).await.unwrap();
    // It comes back, is told, and accepts nothing, also after a start.
    let third = three.start(3).await;
    let told =
        third.state_until("told", |state| state.evicted.iter().any(|one| one.region == RegionId(3))).await;
    assert!(third.links.evicted_here().is_some_and(|why| why.contains("seed --epoch 2")));
    assert!(peer(&told, 1).error.is_some() || peer(&told, 2).error.is_some(), "{told:#?}");
    third.stop().await;
    let third = three.start(3).await;
    let mut held = third.events.write();
    held.push(&third.stream("orders"), &event("s", "late").as_ref()).unwrap();
    third.events.append(held).await.unwrap_err();
    third.stop().await;
    three.seed(3);
    let third = three.start(3).await;
    third.create(active_active("orders", 2)).await;
    third.state_until("seeded", |state| state.restore.is_none()).await;
    for region in [&first, &second] {
        region.state_until("a member again", |state| state.evicted.is_empty()).await;
    }
    write(&[&first, &second, &third], "after", 5).await;
    let all = [first, second, third];
    let count = all[0].count("orders").max(all[2].count("orders"));
    for region in &all {
        region.in_sync().await;
        region.has("orders", count).await;
    }
    let end = all.iter().map(|region| region.count("orders")).max().unwrap();
    for region in &all {
        region.has("orders", end).await;
    }
    same_everywhere(&all, "orders").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_2_what_only_one_region_has_of_an_evicted_one_is_fetched_from_there() {
    let three = Three::new();
    let [first, second, third] = three.begin_in_sync().await;
    first.stop().await;
    write(&[&third], "seen-by-two", 6).await;
    second.has("orders", 6).await;
    third.stop().await;
    // Depends on what region 1 cannot get from region 3 any more.
    write(&[&second], "depends", 3).await;
    let first = three.start(1).await;
    evicted(&second, 3).await;
    first.has("orders", 9).await;
    first.state_until("complete", |state| is_complete(state, 3)).await;
    second.state_until("complete", |state| is_complete(state, 3)).await;
    same_everywhere(&[first, second], "orders").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_fetched_of_an_evicted_region_begins_with_the_streams_that_are_there() {
    let three = Three::new();
    let [first, second, third] = three.begin_in_sync().await;
    first.stop().await;
    write(&[&third], "early", 4).await;
    second.has("orders", 4).await;
    write(&[&second], "knows-early", 3).await;
    third.has("orders", 7).await;
    for region in [&second, &third] {
        region.create(active_active("players", 1)).await;
    }
    for region in [&second, &third] {
        region.in_sync_with(if region.events.log().region() == RegionId(2) { 3 } else { 2 }).await;
    }
    third.append("players", "ann", "ann").await;
    third.append("orders", "s0", "late").await;
    second.has("orders", 8).await;
    second.has("players", 1).await;
    third.stop().await;
    let first = three.start(1).await;
    assert!(second.links.evict(RegionId(3), true, false).await.unwrap().is_done);
    first.has("orders", 7).await;
    assert_eq!(first.count("orders"), 7);
    first.create(active_active("players", 1)).await;
    for region in [&first, &second] {
        region.has("players", 1).await;
        region.has("orders", 8).await;
        region.state_until("evicted", |state| is_complete(state, 3)).await;
    }
    let both = [first, second];
    for stream in ["orders", "players"] {
        same_everywhere(&both, stream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_2_what_is_given_back_to_a_seed_begins_with_the_streams_that_it_has() {
    let three = Three::new();
    let [first, second, third] = three.begin_in_sync().await;
    write(&[&third], "early", 4).await;
    first.has("orders", 4).await;
    // The stream comes after what region 3 had accepted, as its definition would, and then something of region 3 is in it.
    write(&[&first], "knows-early", 3).await;
    for region in [&first, &second, &third] {
        region.has("orders", 7).await;
        region.create(active_active("players", 1)).await;
    }
    for region in [&first, &second, &third] {
        region.in_sync().await;
    }
    third.append("players", "ann", "ann").await;
    first.has("players", 1).await;
    second.has("players", 1).await;
    third.append("orders", "s0", "late").await;
    first.has("orders", 8).await;
    first.append("orders", "s1", "knows-late").await;
    second.has("orders", 9).await;
    third.stop().await;
    assert!(first.links.evict(RegionId(3), true, false).await.unwrap().is_done);
    for region in [&first, &second] {
        region.state_until("evicted", |state| is_complete(state, 3)).await;
    }
    three.seed(3);
    let third = three.start(3).await;
    third.create(active_active("orders", 2)).await;
    // What a definition may depend on is there, and nothing that is later than what has no place yet.
    third.has("orders", 7).await;
    let waits = |state: &State| {
        let peers = state.restore.iter().flat_map(|restore| &restore.peers);
        peers.filter_map(|peer| peer.reason.as_deref()).any(|reason| reason.contains("`players`"))
    };
    third.state_until("told what it lacks", waits).await;
    assert_eq!(third.count("orders"), 7, "REG-2: an effect is there before its cause");
    third.create(active_active("players", 1)).await;
    third.state_until("seeded", |state| state.restore.is_none()).await;
    assert_eq!((third.count("players"), third.count("orders")), (1, 9));
    for region in [&first, &second] {
        region.state_until("a member again", |state| state.evicted.is_empty()).await;
    }
    third.append("players", "bob", "bob").await;
    let all = [first, second, third];
    for region in &all {
        region.has("players", 2).await;
        region.in_sync().await;
    }
    for stream in ["orders", "players"] {
        same_everywhere(&all, stream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reaches_no_majority_evicts_nobody_unless_forced_and_a_copy_with_more_does_not_go_on() {
    let three = Three::new();
    let [first, second, third] = three.begin_in_sync().await;
    write(&[&first, &second, &third], "before", 3).await;
    for region in [&first, &second, &third] {
        region.has("orders", 9).await;
    }
    second.stop().await;
    first.state_until("cut off", |state| peer(state, 2).link == LinkState::Down).await;
    third.stop().await;
    first.state_until("alone", |state| peer(state, 3).link == LinkState::Down).await;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let refused = async {
        loop {
            looks.tick().await;
            let refused = first.links.evict(RegionId(3), false, false).await.unwrap_err();
            if matches!(refused, EvictionError::Minority { reached: 1, members: 3 }) {
                return;
            }
        }
    };
    tokio::time::timeout(crate::region::PATIENCE, refused).await.unwrap();
    let unknown = first.links.evict(RegionId(9), true, false).await.unwrap_err();
    assert!(matches!(unknown, EvictionError::NoRegion { .. }), "{unknown}");
    // Region 3 goes on alone, and is evicted meanwhile.
    let second = three.start(2).await;
    second.in_sync_with(1).await;
    assert!(first.links.evict(RegionId(3), true, false).await.unwrap().is_done);
    for region in [&first, &second] {
        region.state_until("evicted", |state| is_complete(state, 3)).await;
    }
    // Where nobody reaches it, or it would be told.
    let alone = three.world.options(3, &format!("127.0.0.1:{}", tw_testing::free_port()), &[]);
    let third = three.world.start(alone).await;
    write(&[&third], "alone", 4).await;
    third.stop().await;
    three.raise(3);
    let third = three.start(3).await;
    let waits = |state: &State| {
        let waits = state.restore.as_ref().and_then(|restore| restore.waits_for.as_deref());
        waits.is_some_and(|waits| waits.contains("tradewind region seed --epoch 3"))
    };
    third.state_until("told that it has more", waits).await;
    assert_eq!(first.count("orders"), 9, "nothing of it has come");
    third.stop().await;
    three.seed(3);
    let third = three.start(3).await;
    third.create(active_active("orders", 2)).await;
    third.state_until("seeded", |state| state.restore.is_none()).await;
    write(&[&third], "after", 2).await;
    let all = [first, second, third];
    for region in &all {
        region.has("orders", 11).await;
    }
    same_everywhere(&all, "orders").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_region_is_evicted_by_itself_where_that_is_wanted() {
    let three = Three::new();
    let options = |id| Options { evicts_silent: true, ..three.options(id) };
    let first = three.world.start(options(1)).await;
    let second = three.start(2).await;
    let third = three.start(3).await;
    for region in [&first, &second, &third] {
        region.create(active_active("orders", 2)).await;
        region.in_sync().await;
    }
    assert!(first.links.state().await.unwrap().evicted.is_empty());
    third.stop().await;
    second.state_until("evicted", |state| is_complete(state, 3)).await;
    first.state_until("evicted", |state| is_complete(state, 3)).await;
}
