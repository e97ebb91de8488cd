//! What there is to relay, and what is told of a region that is relayed.

use super::*;
use crate::link::wire::{Epochs, Relayed, RelayedLink};
use tw_merge::received::Mark;

fn mark(sequence: u64, at: Hlc) -> Mark {
    Mark { sequence: Sequence(sequence), hlc: at }
}

/// A heartbeat of a relay, which says this of its own link.
fn relayed(now_ms: u64, link: RelayedLink, silent_ms: Option<u64>) -> Heartbeat {
    let relayed = Some(Relayed { link, silent_ms });
    Heartbeat { now_ms, until: Hlc::ZERO, seen: Seen::new(), relayed, epochs: vec![] }
}

#[test]
fn what_is_being_appended_is_not_relayed_and_no_more_is_promised_than_was() {
    let mut end = End::connected();
    end.offer(A, 0, origin(A, 1), hlc(10), 100);
    end.beat(A, hlc(20), &[(0, 2)]);
    let before = end.inbound.relay(A, NOW_MS);
    assert_eq!((before.ends.len(), before.until), (0, hlc(9)));
    end.step(Input::Appended { batch: 1 });
    let after = end.inbound.relay(A, NOW_MS);
    assert_eq!(
        after.ends.into_iter().collect::<Vec<_>>(),
        [(at(0), vec![(EPOCH, mark(2, hlc(10).plus(1)))])]
    );
    assert_eq!(after.until, hlc(20), "what it said itself, whatever the time is");
    // What it has said to have is told, although it is not here.
    let mut heartbeat = relayed(NOW_MS, RelayedLink::Up, None);
    heartbeat.relayed = None;
    let sent = (EPOCH, Sequence(2));
    let epochs = vec![(EPOCH, Sequence(9))];
    heartbeat.epochs = vec![Epochs { stream: 0, partition: PartitionId(0), epochs: epochs.clone(), sent }];
    end.step(Input::Heartbeat { peer: A, heartbeat });
    let relay = end.inbound.relay(A, NOW_MS);
    assert_eq!((relay.announced.get(&at(0)), relay.ends[&at(0)][0].1.sequence), (Some(&epochs), Sequence(2)));
}

#[test]
fn a_link_is_as_good_as_the_worst_on_the_way_and_silence_adds_up() {
    let mut end = End::connected();
    assert_eq!(end.inbound.relay(A, NOW_MS).relayed.link, RelayedLink::Up);
    end.step(Input::Heartbeat { peer: A, heartbeat: relayed(NOW_MS + 30, RelayedLink::Up, Some(70)) });
    let relay = end.inbound.relay(A, NOW_MS + 5);
    assert_eq!(relay.relayed, Relayed { link: RelayedLink::Up, silent_ms: Some(75) });
    assert_eq!(relay.ahead_ms, 30, "by the clock of the region itself");
    let status = end.inbound.status(NOW_MS + 5);
    assert_eq!((status.peers[0].silent_ms, status.peers[0].relayed), (Some(75), Some(RelayedLink::Up)));
    end.step(Input::Heartbeat { peer: A, heartbeat: relayed(NOW_MS, RelayedLink::Quarantined, None) });
    assert_eq!(end.inbound.relay(A, NOW_MS).relayed.link, RelayedLink::Quarantined);
    assert_eq!(end.inbound.status(NOW_MS).peers[0].silent_ms, None, "nobody has heard it");
    end.step(Input::Heartbeat { peer: A, heartbeat: relayed(NOW_MS, RelayedLink::Up, Some(0)) });
    end.offer(A, 0, origin(B, 1), hlc(10), 100);
    assert_eq!(end.inbound.relay(A, NOW_MS).relayed.link, RelayedLink::Parked, "its own is worse");
    end.step(Input::Disconnected { peer: A });
    let relay = end.inbound.relay(A, NOW_MS);
    assert_eq!(relay.relayed, Relayed { link: RelayedLink::Down, silent_ms: None });
    assert_eq!(end.inbound.exchanged(A), None);
}

#[test]
fn the_words_for_links_stay_and_one_that_is_not_known_is_the_worst() {
    use RelayedLink::{Down, Parked, Quarantined, Up};
    let words = [Up, Parked, Quarantined, Down].map(|link| serde_json::to_string(&link).unwrap());
    assert_eq!(words, ["\"up\"", "\"parked\"", "\"quarantined\"", "\"down\""]);
    assert_eq!(serde_json::from_str::<RelayedLink>("\"asleep\"").unwrap(), Down);
    assert!(Up < Parked && Parked < Quarantined && Quarantined < Down);
}

#[test]
fn after_a_start_what_the_log_has_of_a_region_that_is_away_can_be_relayed() {
    let stored: Seen = [(A, hlc(8))].into_iter().collect();
    let later = Origin { epoch: Epoch(3), ..origin(A, 4) };
    let end = End::with(&[(0, later, hlc(8))], &stored);
    let relay = end.inbound.relay(A, NOW_MS);
    assert_eq!((relay.epoch, relay.until, relay.relayed.link), (Epoch(3), hlc(8), RelayedLink::Down));
    assert_eq!(relay.ends[&at(0)], [(Epoch(3), mark(4, hlc(8)))]);
    assert_eq!((relay.announced.len(), relay.told), (0, Seen::new()));
}
