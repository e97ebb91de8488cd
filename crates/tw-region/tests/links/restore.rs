//! A region that comes back from an older copy of its folder: it fetches back what it lost, and goes on under a new epoch.

use crate::contexts::contexts;
use crate::faults::copy;
use crate::region::{PATIENCE, Region, active_active, event, log_options, same_everywhere};
use crate::three::Three;
use std::collections::BTreeSet;
use std::time::Duration;
use tw_env::Env;
use tw_log::EmbeddedLog;
use tw_merge::Stamp;
use tw_region::service::{GoOnError, HomeError, LinkState, RestoreState};
use tw_types::{Epoch, RegionId};

impl Three {
    /// All three, with a stream of two partitions and one more.
    async fn begin(&self) -> [Region; 3] {
        let all = [self.start(1).await, self.start(2).await, self.start(3).await];
        for region in &all {
            region.create(active_active("orders", 2)).await;
            region.create(active_active("users", 1)).await;
        }
        all
    }

    /// Region 1 is stopped, and there is a `copy` of it that lacks the last five of its ten events. The other two have all.
    async fn with_a_copy() -> (Self, [Region; 2]) {
        let three = Self::new();
        let [first, second, third] = three.begin().await;
        write(&[&first], "before", 5).await;
        all_have(&[&second, &third], 5).await;
        first.stop().await;
        three.back_up(1, "copy");
        let first = three.start(1).await;
        write(&[&first], "lost", 5).await;
        all_have(&[&second, &third], 10).await;
        first.stop().await;
        (three, [second, third])
    }

    /// Keeps a copy of a region that is stopped.
    fn back_up(&self, id: u16, name: &str) {
        copy(&self.world.data(id), &self.world.folder.path().join(name));
    }

    /// Puts a copy in the place of a region that is stopped.
    fn put_back(&self, id: u16, name: &str) {
        std::fs::remove_dir_all(self.world.data(id)).unwrap();
        copy(&self.world.folder.path().join(name), &self.world.data(id));
    }
}

/// Every region writes some, to several subjects of both streams; `round` makes the events others than before.
async fn write(regions: &[&Region], round: &str, count: usize) {
    for region in regions {
        let me = region.events.log().region();
        for n in 0..count {
            let stream = if n % 5 == 0 { "users" } else { "orders" };
            region.append(stream, &format!("s{}", n % 7), &format!("{round}-{me}-{n}")).await;
        }
    }
}

/// How many events of both streams there are in a region.
fn count(region: &Region) -> u64 {
    region.count("orders") + region.count("users")
}

/// Waits until all regions have so many events.
async fn all_have(regions: &[&Region], wanted: u64) {
    for region in regions {
        let commits = region.events.log().commits();
        let reached = async {
            loop {
                let seen = commits.get();
                if count(region) >= wanted {
                    return;
                }
                commits.over(seen).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("{} of {wanted} events: {:#?}", count(region), region.links.state().await);
        }
    }
}

/// Waits until all regions have the same, what they tell each other of what they have seen included: then nothing more comes by itself.
async fn quiet(regions: &[&Region]) {
    let streams = ["orders", "users", "$seen.1", "$seen.2", "$seen.3"];
    let counts = |region: &&Region| streams.map(|stream| region.count(stream));
    let mut looks = tokio::time::interval(Duration::from_millis(2));
    let equal = async {
        while regions.iter().any(|region| counts(region) != counts(&regions[0])) {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, equal).await.unwrap();
}

async fn restored(region: &Region) {
    if tokio::time::timeout(PATIENCE, region.links.restored()).await.is_err() {
        panic!("not restored: {:#?}", region.links.state().await);
    }
}

/// Waits until a restore is as wanted.
async fn restoring_until(
    region: &Region,
    what: &str,
    wanted: impl Fn(&RestoreState) -> bool,
) -> RestoreState {
    let state = region.state_until(what, |state| state.restore.as_ref().is_some_and(&wanted)).await;
    state.restore.unwrap()
}

/// The ids of all events of both streams.
async fn ids(region: &Region) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for stream in ["orders", "users"] {
        for stored in region.all(stream).await.into_iter().flatten() {
            assert!(ids.insert(stored.event.id.clone()), "REG-3: `{}` is there twice", stored.event.id);
        }
    }
    ids
}

async fn same(regions: [Region; 3]) -> [Region; 3] {
    same_everywhere(&regions, "orders").await;
    same_everywhere(&regions, "users").await;
    let all = [ids(&regions[0]).await, ids(&regions[1]).await, ids(&regions[2]).await];
    assert!(all[0] == all[1] && all[1] == all[2]);
    regions
}

/// REG-1: every region finds the same context for every event; and what the restored one accepts in its new epoch knows of everything before
/// it, its own earlier epochs included, and has a later time.
async fn check_contexts(regions: &[Region; 3]) {
    let peers = [[2, 3], [1, 3], [1, 2]];
    // Of one partition: an origin is one of a partition.
    let first = contexts(&regions[0], &peers[0], "users").await;
    for (region, peers) in regions.iter().zip(&peers).skip(1) {
        assert_eq!(first, contexts(region, peers, "users").await, "REG-1: contexts differ");
    }
    let mut knew = 0;
    for partition in regions[0].all("users").await {
        let mut before: Vec<Stamp> = Vec::new();
        for stored in partition {
            let stamp = Stamp { hlc: stored.hlc, origin: stored.origin };
            if (stored.origin.region, stored.origin.epoch) == (RegionId(1), Epoch(2)) {
                for earlier in &before {
                    assert!(earlier.hlc < stamp.hlc, "{earlier} is not before {stamp}");
                    assert!(first[&stored.origin].knew(earlier), "{stamp} does not know of {earlier}");
                    knew += u64::from(earlier.origin.epoch == Epoch(1));
                }
            }
            before.push(stamp);
        }
    }
    assert!(knew > 50, "{knew}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_3_a_region_that_is_restored_has_everything_again_and_goes_on() {
    let three = Three::new();
    let [first, second, third] = three.begin().await;
    write(&[&first, &second, &third], "before", 20).await;
    all_have(&[&first, &second, &third], 60).await;
    first.stop().await;
    three.back_up(1, "copy");
    let first = three.start(1).await;
    write(&[&first, &second, &third], "lost", 30).await;
    all_have(&[&first, &second, &third], 150).await;
    first.stop().await;
    write(&[&second, &third], "away", 5).await;
    three.put_back(1, "copy");
    assert_eq!(three.raise(1), Epoch(2));
    let first = three.start(1).await;
    restored(&first).await;
    // What nobody lost is there at once, nothing has to be waited for any more.
    assert!(count(&first) >= 150, "{}", count(&first));
    assert_eq!(first.links.state().await.unwrap().restore, None);
    write(&[&first, &second, &third], "after", 20).await;
    all_have(&[&first, &second, &third], 220).await;
    let regions = same([first, second, third]).await;
    let epochs: BTreeSet<(u16, u32)> = regions[2]
        .all("orders")
        .await
        .iter()
        .flatten()
        .map(|stored| (stored.origin.region.0, stored.origin.epoch.0))
        .collect();
    assert_eq!(epochs, BTreeSet::from([(1, 1), (1, 2), (2, 1), (3, 1)]));
    quiet(&[&regions[0], &regions[1], &regions[2]]).await;
    check_contexts(&regions).await;
    for region in &regions {
        let state = region.in_sync().await;
        assert!(state.peers.iter().all(|peer| peer.error.is_none()), "{state:#?}");
    }
}

/// The region ends without a farewell, again and again, in the midst of fetching back; each time it goes on from what it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_3_a_restore_that_is_killed_goes_on_where_it_was() {
    let three = Three::new();
    let [first, second, third] = three.begin().await;
    write(&[&first], "before", 10).await;
    all_have(&[&second, &third], 10).await;
    first.stop().await;
    three.back_up(1, "copy");
    let first = three.start(1).await;
    // Answers depend on what is lost, and the other way round.
    for round in 0..40u64 {
        write(&[&first, &second, &third], &format!("r{round}"), 6).await;
        all_have(&[&first, &second, &third], 10 + 18 * (round + 1)).await;
    }
    first.stop().await;
    three.put_back(1, "copy");
    three.raise(1);
    let (mut ends, mut seen) = (0, BTreeSet::new());
    let first = loop {
        // Small steps, so that it can end between two of them.
        let mut options = three.options(1);
        options.inbound.append_bytes_max = 64 << 10;
        let first = three.world.start(options).await;
        if ends == 8 || !first.links.is_restoring() {
            break first;
        }
        let before = count(&first);
        let commits = first.events.log().commits();
        let more = async {
            let until = before + 20 + ends * 13;
            while count(&first) < until {
                commits.over(commits.get()).await;
            }
        };
        tokio::select! {
            () = more => {}
            () = first.links.restored() => {}
        }
        seen.insert(count(&first));
        ends += 1;
        kill(first, three.world.data(1)).await;
    };
    restored(&first).await;
    assert!(ends >= 2 && seen.len() >= 2, "it ended {ends} times, with {seen:?} events");
    all_have(&[&first, &second, &third], 730).await;
    write(&[&first, &second, &third], "after", 5).await;
    all_have(&[&first, &second, &third], 745).await;
    same([first, second, third]).await;
}

/// Ends a region without a word to anybody, and waits until what is left of its tasks has let go of the log.
async fn kill(region: Region, folder: std::path::PathBuf) {
    let id = region.events.log().region();
    let Region { events, links } = region;
    drop(links);
    drop(events);
    let gone = async {
        let mut looks = tokio::time::interval(Duration::from_millis(1));
        while let Err(tw_log::Error::Locked(_)) = EmbeddedLog::open(&folder, log_options(id), Env::real()) {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

/// What only one other region has comes from that one; and the region waits for it, says so, and takes nothing meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_waits_for_every_peer_says_so_and_accepts_nothing() {
    let three = Three::new();
    let [first, second, third] = three.begin().await;
    write(&[&first, &second, &third], "before", 10).await;
    all_have(&[&first, &second, &third], 30).await;
    // Nothing may be with the others that is of region 2 and not in the copy.
    quiet(&[&first, &second, &third]).await;
    first.stop().await;
    three.back_up(1, "copy");
    second.stop().await;
    let first = three.start(1).await;
    write(&[&first, &third], "only third has it", 10).await;
    all_have(&[&first, &third], 50).await;
    first.stop().await;
    third.stop().await;
    three.put_back(1, "copy");
    three.raise(1);
    let (first, second) = (three.start(1).await, three.start(2).await);
    let waits = |state: &RestoreState| {
        let of = |id: u16| state.peers.iter().find(|peer| peer.region == RegionId(id)).unwrap().clone();
        of(2).is_done && !of(3).is_done && of(3).reason.is_some()
    };
    let state = restoring_until(&first, "waiting for region 3", waits).await;
    assert_eq!((state.epoch, state.waits_for), (2, None));
    assert_eq!(
        first.links.go_on_without(&[RegionId(9)]),
        Err(GoOnError::NoPeer { region: RegionId(9), known: "2, 3".into() })
    );
    let mut write_some = first.events.write();
    write_some.push(&first.stream("orders"), &event("s", "not now").as_ref()).unwrap();
    let refused = first.events.append(write_some).await.unwrap_err();
    assert!(refused.to_string().contains("has everything that others have"), "{refused}");
    let home = first.links.homes().enter(&first.stream("orders"));
    assert!(matches!(home, Err(HomeError::Restoring { region: RegionId(1) })), "it knows of no home yet");
    let refused = second.state_until("refused", |state| state.peers[0].error.is_some()).await;
    assert!(refused.peers[0].error.as_deref().unwrap().contains("restoring"), "{refused:#?}");
    let third = three.start(3).await;
    restored(&first).await;
    assert_eq!(first.links.go_on_without(&[RegionId(3)]), Err(GoOnError::NotRestoring));
    all_have(&[&first, &second, &third], 50).await;
    write(&[&first, &second, &third], "after", 5).await;
    all_have(&[&first, &second, &third], 65).await;
    same([first, second, third]).await;
}

/// A region that is gone for good is left out: the others give back what they have of it, too, what only it had is lost. Should it come
/// back after all with more than the others have, it takes nothing more, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_goes_on_without_a_region_that_is_gone_and_takes_from_others_what_they_have_of_it() {
    let three = Three::new();
    let [first, second, third] = three.begin().await;
    write(&[&first, &second, &third], "before", 10).await;
    all_have(&[&first, &second, &third], 30).await;
    first.stop().await;
    three.back_up(1, "copy");
    let first = three.start(1).await;
    for round in 0..5u64 {
        write(&[&first, &second, &third], &format!("lost-{round}"), 6).await;
        all_have(&[&first, &second, &third], 30 + 18 * (round + 1)).await;
    }
    quiet(&[&first, &second, &third]).await;
    second.stop().await;
    write(&[&first], "only third has it", 10).await;
    all_have(&[&first, &third], 130).await;
    third.stop().await;
    first.stop().await;
    let second = three.start(2).await;
    three.put_back(1, "copy");
    three.raise(1);
    let first = three.start(1).await;
    let waits = |state: &RestoreState| {
        state.peers.iter().any(|peer| peer.region == RegionId(3) && peer.reason.is_some())
    };
    restoring_until(&first, "waiting for region 3", waits).await;
    first.links.go_on_without(&[RegionId(3)]).unwrap();
    let left_out = |state: &RestoreState| state.peers.iter().any(|peer| peer.is_left_out);
    let _it_may_be_over =
        tokio::time::timeout(Duration::from_millis(1), restoring_until(&first, "left out", left_out)).await;
    restored(&first).await;
    // Also what region 3 had accepted, which region 2 has.
    all_have(&[&first], 120).await;
    write(&[&first, &second], "after", 5).await;
    all_have(&[&first, &second], 130).await;
    assert_eq!(ids(&first).await, ids(&second).await);
    let before = count(&first);
    let third = three.start(3).await;
    let parked = |state: &tw_region::service::State| {
        let peer = state.peers.iter().find(|peer| peer.region == RegionId(1)).unwrap();
        peer.link == LinkState::Parked
            || peer.error.as_deref().is_some_and(|error| error.contains("older-copy"))
    };
    third.state_until("refused", parked).await;
    assert_eq!(count(&first), before);
}

/// An older copy that does not say so is refused as before; put back once more with a raised epoch it is taken, and nobody has to do anything
/// about the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_without_a_raised_epoch_is_refused_until_it_is_raised() {
    let (three, [second, third]) = Three::with_a_copy().await;
    three.put_back(1, "copy");
    let first = three.start(1).await;
    for region in [&second, &third] {
        let refused = |state: &tw_region::service::State| {
            let peer = state.peers.iter().find(|peer| peer.region == RegionId(1)).unwrap();
            // What it tells of what it sees by now is in the place of something that it had told before.
            let is = |error: &str| error.contains("older-copy") || error.contains("fork");
            peer.error.as_deref().is_some_and(|error| is(error) && error.contains("raise its epoch"))
        };
        region.state_until("refused", refused).await;
    }
    assert_eq!(count(&first), 5);
    first.stop().await;
    three.put_back(1, "copy");
    three.raise(1);
    let first = three.start(1).await;
    restored(&first).await;
    write(&[&first], "after", 5).await;
    all_have(&[&first, &second, &third], 15).await;
    same([first, second, third]).await;
}

/// The same copy is put back twice: the second time its epoch is that of the first one. It says so, and begins yet another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_comes_in_an_epoch_that_is_in_use_is_not_taken_and_says_so() {
    let (three, [second, third]) = Three::with_a_copy().await;
    for epoch in [2u64, 3] {
        three.put_back(1, "copy");
        assert_eq!(three.raise(1), Epoch(2));
        if epoch == 3 {
            let first = three.start(1).await;
            let in_use = |state: &RestoreState| {
                state.peers.iter().all(|peer| {
                    peer.reason
                        .as_deref()
                        .is_some_and(|reason| reason.contains("epoch 2") && reason.contains("once more"))
                })
            };
            restoring_until(&first, "in use", in_use).await;
            first.stop().await;
            assert_eq!(three.raise(1), Epoch(3));
        }
        let first = three.start(1).await;
        restored(&first).await;
        write(&[&first], &format!("epoch-{epoch}"), 5).await;
        all_have(&[&first, &second, &third], 5 * epoch + 5).await;
        first.stop().await;
    }
    let first = three.start(1).await;
    assert!(!first.links.is_restoring(), "it is over for good");
    write(&[&first, &second, &third], "after", 5).await;
    all_have(&[&first, &second, &third], 35).await;
    same([first, second, third]).await;
}

/// A copy has accepted something before its epoch was raised: what it lost is not what it wrote in its place, and that cannot be mended here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_has_written_before_its_epoch_was_raised_is_told_to_be_put_back_anew() {
    let (three, [second, third]) = Three::with_a_copy().await;
    three.put_back(1, "copy");
    let first = three.start(1).await;
    write(&[&first], "in its place", 3).await;
    first.stop().await;
    three.raise(1);
    let first = three.start(1).await;
    let forked = |state: &RestoreState| {
        let is = |reason: &str| reason.contains("fork") && reason.contains("put the copy back once more");
        state.peers.iter().all(|peer| peer.reason.as_deref().is_some_and(is))
    };
    restoring_until(&first, "forked", forked).await;
    first.stop().await;
    three.put_back(1, "copy");
    three.raise(1);
    let first = three.start(1).await;
    restored(&first).await;
    all_have(&[&first, &second, &third], 10).await;
    same([first, second, third]).await;
}
