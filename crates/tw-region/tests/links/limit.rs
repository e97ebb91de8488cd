//! A line that is limited: slower, and not taken for a dead one.

use crate::region::{Region, World, active_active, event, same_everywhere};
use std::time::{Duration, Instant};
use tw_region::link::inbound;
use tw_region::service::{LinkState, Options};
use tw_types::Data;

const BYTES_PER_SECOND: u64 = 150_000;
const EVENTS: u64 = 300;

/// Appends an event that compresses badly.
async fn append(region: &Region, n: u64) {
    let mut state = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut digits = String::new();
    while digits.len() < 2_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        digits.push_str(&format!("{:08x}", state >> 32));
    }
    let data = Data::Json(format!("\"{digits}\"").into_bytes());
    let mut write = region.events.write();
    let one = tw_types::Event { data, ..event(&format!("s{n}"), &n.to_string()) };
    write.push(&region.stream("orders"), &one.as_ref()).unwrap();
    region.events.append(write).await.unwrap();
}

/// Windows are small, so that what is sent of one partition before something earlier of another one would stop everything; and silence of less than a
/// second would end the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_line_takes_as_long_as_it_must_and_stays_up_and_says_so() {
    let world = World::new();
    let ports = [tw_testing::free_port(), tw_testing::free_port()];
    let options = |id: u16| {
        let options = world.options_of_two(id, ports);
        let inbound = inbound::Options { window_bytes_max: 64 << 10, ..options.inbound.clone() };
        let send_bytes_per_second_max = if id == 1 { BYTES_PER_SECOND } else { 0 };
        Options { inbound, send_bytes_per_second_max, silent_ms_max: 900, ..options }
    };
    let regions = [world.start(options(1)).await, world.start(options(2)).await];
    for region in &regions {
        region.create(active_active("orders", 3)).await;
    }
    let begin = regions[0].in_sync().await;
    regions[1].in_sync().await;
    assert!(!begin.peers[0].is_send_limited);
    let (start, before) = (Instant::now(), begin.peers[0].sent_bytes);
    let writes = async {
        for n in 0..EVENTS {
            append(&regions[0], n).await;
        }
        regions[0].state_until("limited", |state| state.peers[0].is_send_limited).await
    };
    let looks = async {
        // The other side hears of the first region all the time.
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while regions[1].count("orders") < EVENTS {
            ticks.tick().await;
            let state = regions[1].links.state().await.unwrap();
            assert!(state.peers[0].link != LinkState::Down, "{state:#?}");
            assert!(state.peers[0].error.is_none(), "{state:#?}");
        }
    };
    let (limited, _) = tokio::join!(writes, looks);
    assert_eq!(limited.peers[0].link, LinkState::InSync, "what comes from the other side is not limited");
    regions[1].has("orders", EVENTS).await;
    let (took, sent) =
        (start.elapsed(), regions[0].links.state().await.unwrap().peers[0].sent_bytes - before);
    let must = (sent - BYTES_PER_SECOND / 10) as f64 / BYTES_PER_SECOND as f64;
    assert!(took.as_secs_f64() >= must && sent > 300_000, "{sent} bytes in {took:?}");
    let regions = regions.into_iter().collect::<Vec<_>>();
    same_everywhere(&regions, "orders").await;
    regions[0].state_until("not limited any more", |state| !state.peers[0].is_send_limited).await;
    // The limit goes, and comes again, while something waits for it.
    const MANY: u64 = 10 * EVENTS;
    for n in EVENTS..MANY {
        append(&regions[0], n).await;
    }
    regions[0].state_until("limited again", |state| state.peers[0].is_send_limited).await;
    let (start, rest) = (Instant::now(), MANY - regions[1].count("orders"));
    regions[0].links.limit_sending(0);
    regions[1].has("orders", MANY).await;
    let (took, at_the_limit) = (start.elapsed(), Duration::from_millis(rest * 1_000_000 / BYTES_PER_SECOND));
    assert!(took < at_the_limit / 2, "{rest} events in {took:?}: they take {at_the_limit:?} at the limit");
    regions[0].state_until("not limited at all", |state| !state.peers[0].is_send_limited).await;
    regions[0].links.limit_sending(BYTES_PER_SECOND);
    for n in MANY..MANY + EVENTS {
        append(&regions[0], n).await;
    }
    regions[0].state_until("limited once more", |state| state.peers[0].is_send_limited).await;
    regions[1].has("orders", MANY + EVENTS).await;
    same_everywhere(&regions, "orders").await;
}
