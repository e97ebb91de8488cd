//! Regions that end, links that are cut, copies, strangers.

use crate::region::{Region, World, active_active, same_everywhere};
use tw_region::service::LinkState;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_4_a_region_that_is_away_stops_nobody_and_catches_up() {
    let world = World::new();
    let ports = [tw_testing::free_port(), tw_testing::free_port()];
    let options = |id: u16| world.options_of_two(id, ports);
    let first = world.start(options(1)).await;
    let mut second = Some(world.start(options(2)).await);
    for region in [&first, second.as_ref().unwrap()] {
        region.create(active_active("orders", 2)).await;
    }
    for round in 0..3u64 {
        first.append("orders", "a", &format!("1-{round}-up")).await;
        let away = second.take().unwrap();
        away.append("orders", "b", &format!("2-{round}-up")).await;
        let Region { events, links } = away;
        links.stop().await;
        drop(links);
        // With what it has accepted and nobody has taken.
        drop(events);
        for n in 0..50 {
            first.append("orders", "a", &format!("1-{round}-{n}")).await;
        }
        first.state_until("down", |state| state.peers[0].link == LinkState::Down).await;
        let back = world.start(options(2)).await;
        back.has("orders", 52 * (round + 1)).await;
        first.has("orders", 52 * (round + 1)).await;
        second = Some(back);
    }
    same_everywhere(&[first, second.unwrap()], "orders").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_region_of_this_authority_or_not_the_one_that_was_meant_gets_nothing() {
    let (world, stranger) = (World::new(), World::new());
    let first = world.start(world.options(1, "127.0.0.1:0", &[])).await;
    let address = first.links.address().to_string();
    let second = stranger.start(stranger.options(2, "127.0.0.1:0", &[(1, address.clone())])).await;
    let third = world.start(world.options(3, "127.0.0.1:0", &[(4, address.clone())])).await;
    for region in [&first, &second, &third] {
        region.create(active_active("orders", 1)).await;
    }
    first.append("orders", "a", "1").await;
    let state = second.state_until("refused", |state| state.peers[0].error.is_some()).await;
    assert_eq!(state.peers[0].link, LinkState::Down);
    let state = third.state_until("refused", |state| state.peers[0].error.is_some()).await;
    let error = state.peers[0].error.clone().unwrap();
    assert!(error.contains("region 1") || error.contains("region `1`"), "{error}");
    assert_eq!((second.count("orders"), third.count("orders")), (0, 0));
}

/// An older copy of a region is started in its place: the others have more of it than it has itself, and take nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_a_region_is_noticed() {
    let world = World::new();
    let ports = [tw_testing::free_port(), tw_testing::free_port()];
    let options = |id: u16| world.options_of_two(id, ports);
    let first = world.start(options(1)).await;
    let second = world.start(options(2)).await;
    for region in [&first, &second] {
        region.create(active_active("orders", 1)).await;
    }
    first.append("orders", "a", "1").await;
    second.has("orders", 1).await;
    first.stop().await;
    let (data, backup) = (world.data(1), world.folder.path().join("backup"));
    copy(&data, &backup);
    let first = world.start(options(1)).await;
    first.append("orders", "a", "2").await;
    second.has("orders", 2).await;
    first.stop().await;
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    let first = world.start(options(1)).await;
    first.append("orders", "a", "another second").await;
    first.append("orders", "a", "third").await;
    let state = second
        .state_until("noticed", |state| {
            let peer = &state.peers[0];
            peer.error.as_deref().is_some_and(|error| error.contains("fork") || error.contains("older-copy"))
                || peer.partitions.iter().any(|one| one.parked.is_some())
        })
        .await;
    assert_eq!(second.count("orders"), 2, "{state:#?}");
}

pub(crate) fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}
