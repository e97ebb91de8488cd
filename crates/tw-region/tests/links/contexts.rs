//! What the region of an event had seen is the same, whoever asks.

use crate::region::{Region, World, active_active};
use std::collections::BTreeMap;
use tw_merge::{Context, Stamp};
use tw_region::Contexts;
use tw_types::{Origin, RegionId};

/// The context of every event of a stream, as a region finds it.
pub(crate) async fn contexts(region: &Region, peers: &[u16], stream: &str) -> BTreeMap<Origin, Context> {
    let peers: Vec<RegionId> = peers.iter().map(|peer| RegionId(*peer)).collect();
    let contexts = Contexts::new(region.events.log().clone(), peers);
    let events = region.all(stream).await.into_iter().flatten();
    let stamps: Vec<Stamp> = events.map(|stored| Stamp { hlc: stored.hlc, origin: stored.origin }).collect();
    let found = tokio::task::spawn_blocking(move || {
        stamps.into_iter().map(|stamp| (stamp.origin, contexts.of(stamp).unwrap())).collect()
    });
    found.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reg_1_all_regions_find_the_same_context_for_each_event() {
    let world = World::new();
    let regions = world.mesh(3).await;
    for region in &regions {
        region.create(active_active("notes", 1)).await;
    }
    let writers = regions.iter().enumerate().map(|(number, region)| async move {
        for n in 0..150 {
            region.append("notes", &format!("note-{}", n % 7), &format!("{number}-{n}")).await;
        }
    });
    futures_util::future::join_all(writers).await;
    for region in &regions {
        region.has("notes", 450).await;
    }
    let peers = [[2, 3], [1, 3], [1, 2]];
    let first = contexts(&regions[0], &peers[0], "notes").await;
    assert_eq!(first.len(), 450);
    for (region, peers) in regions.iter().zip(&peers).skip(1) {
        assert_eq!(first, contexts(region, peers, "notes").await, "REG-1: contexts differ");
    }
    // In the log of its own region, an event stands behind exactly what it had seen, as far as cursors were stored with what they stand for.
    for (number, region) in regions.iter().enumerate() {
        let me = RegionId(number as u16 + 1);
        let mut before: BTreeMap<RegionId, Stamp> = BTreeMap::new();
        let mut knew = 0;
        for stored in region.partition("notes", 0).await {
            let stamp = Stamp { hlc: stored.hlc, origin: stored.origin };
            if stored.origin.region == me {
                let context = &first[&stored.origin];
                for last in before.values() {
                    assert!(
                        context.knew(last),
                        "{stamp} stands behind {last}, and its context says otherwise"
                    );
                    knew += 1;
                }
            }
            before.insert(stored.origin.region, stamp);
        }
        assert!(knew > 100, "the regions wrote at the same time");
    }
    // What one region tells ends: they do not tell each other of nothing but that.
    let count = |region: &Region| -> u64 { (1..=3).map(|id| region.count(&format!("$seen.{id}"))).sum() };
    for region in &regions {
        region.in_sync().await;
    }
    let counts: Vec<u64> = regions.iter().map(count).collect();
    assert!(counts.iter().all(|one| *one == counts[0] && *one < 1_500), "{counts:?}");
}
