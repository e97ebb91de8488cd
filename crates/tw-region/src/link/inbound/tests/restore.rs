//! Events of this region itself that come back from others, and what is given back to another one.

use super::*;
use crate::link::wire::Epochs;

/// A region in epoch 2 that has one event of its first one, and is connected with both others and with one that stands in for it.
fn restoring() -> End {
    let mut end = End::with(&[(0, origin(ME, 1), hlc(10))], &Seen::new());
    end.inbound.begin_restore(Epoch(2)).unwrap();
    for peer in [A, B, ME] {
        end.connect(peer, 2);
    }
    for peer in [A, B] {
        end.beat(peer, Hlc::ZERO, &[(0, 0), (1, 0)]);
    }
    end
}

/// A block of two events with what its writer had seen.
fn block(end: &mut End, peer: RegionId, first: Origin, first_hlc: Hlc, seen: Seen) -> Vec<Action> {
    end.blocks += 1;
    let offer = Offer {
        block: BlockId(end.blocks),
        stream: 0,
        partition: PartitionId(0),
        first,
        count: 2,
        first_hlc,
        bytes: 100,
        next_hlc: Hlc::ZERO,
        seen: Some(seen),
    };
    end.step(Input::Block { peer, offer })
}

#[test]
fn reg_2_what_comes_back_waits_for_what_it_had_seen_and_the_others_for_what_comes_back() {
    let mut end = restoring();
    end.beat(ME, Hlc::ZERO, &[(0, 3), (1, 0)]);
    assert!(matches!(end.inbound.fetched(ME), Fetched::Coming { lacking: 2 }));
    // What was lost had seen A at 20; B has seen what was lost.
    let lost = block(&mut end, ME, origin(ME, 2), hlc(30), Seen::from_iter([(A, hlc(21))]));
    assert_eq!(appends(&lost), []);
    end.beat(ME, hlc(60), &[(0, 3), (1, 0)]);
    let effect = block(&mut end, B, origin(B, 1), hlc(50), Seen::from_iter([(ME, hlc(31))]));
    assert_eq!(appends(&effect), []);
    assert_eq!(appends(&end.beat(B, hlc(60), &[(0, 2), (1, 0)])), [], "B's waits for what was lost");
    let cause = block(&mut end, A, origin(A, 1), hlc(20), Seen::new());
    assert_eq!(appends(&cause), []);
    let actions = end.beat(A, hlc(60), &[(0, 2), (1, 0)]);
    assert_eq!(appends(&actions), [(1, vec![(3, 0, 2)])], "A's is first");
    let actions = end.step(Input::Appended { batch: 1 });
    assert_eq!(appends(&actions), [(2, vec![(1, 0, 2)])], "then what was lost");
    assert!(matches!(end.inbound.fetched(ME), Fetched::Coming { lacking: 2 }));
    let actions = end.step(Input::Appended { batch: 2 });
    assert_eq!(appends(&actions), [(3, vec![(2, 0, 2)])], "then B's");
    assert!(matches!(end.inbound.fetched(ME), Fetched::Whole { until, .. } if until == hlc(60)));
    assert_eq!(end.inbound.last_of(ME), hlc(31));
}

/// The control: without the gate, the same is appended as it comes.
#[test]
fn without_the_gate_what_comes_back_waits_for_nothing() {
    let mut end = restoring();
    end.inbound.break_on_purpose(true, false);
    end.beat(ME, Hlc::ZERO, &[(0, 3), (1, 0)]);
    let lost = block(&mut end, ME, origin(ME, 2), hlc(30), Seen::from_iter([(A, hlc(21))]));
    assert_eq!(appends(&lost), [(1, vec![(1, 0, 2)])]);
}

#[test]
fn a_stand_in_is_whole_only_with_the_promise_that_comes_after_its_last_block() {
    let mut end = restoring();
    // It has sent nothing yet of the two events that it has.
    let epochs = |sent: u64| {
        let of = |partition, last, sent| Epochs {
            stream: 0,
            partition: PartitionId(partition),
            epochs: vec![(EPOCH, Sequence(last))],
            sent: (EPOCH, Sequence(sent)),
        };
        vec![of(0, 3, sent), of(1, 0, 0)]
    };
    let beat = |until, epochs| {
        let seen = Seen::from_iter([(A, hlc(90))]);
        Input::Heartbeat {
            peer: ME,
            heartbeat: Heartbeat { now_ms: NOW_MS, until, seen, relayed: None, epochs },
        }
    };
    end.step(beat(hlc(29), epochs(1)));
    let lost = block(&mut end, ME, origin(ME, 2), hlc(30), Seen::new());
    assert_eq!(appends(&lost), []);
    let actions = end.step(beat(hlc(80), epochs(3)));
    let [(batch, _)] = appends(&actions)[..] else { panic!("{actions:?}") };
    end.step(Input::Appended { batch });
    let whole = end.inbound.fetched(ME);
    assert_eq!(whole, Fetched::Whole { until: hlc(80), seen: Seen::from_iter([(A, hlc(90))]) });
    // Another one has less of it, which is no reason to complain; afterwards nobody stands in any more.
    end.connect(ME, 2);
    assert!(matches!(end.inbound.fetched(ME), Fetched::Coming { .. }));
    end.beat(ME, hlc(20), &[(0, 1), (1, 0)]);
    assert!(matches!(end.inbound.fetched(ME), Fetched::Whole { until, .. } if until == hlc(20)));
    end.step(Input::Restored);
    let refused = end.connect(ME, 2);
    assert!(matches!(&refused[..], [Action::Close { peer: ME, .. }, ..]), "{refused:?}");
}

#[test]
fn an_epoch_that_is_in_use_is_told_with_what_to_do() {
    let mut end = restoring();
    let epochs = vec![Epochs {
        stream: 0,
        partition: PartitionId(0),
        epochs: vec![(EPOCH, Sequence(3)), (Epoch(2), Sequence(7))],
        sent: (EPOCH, Sequence(1)),
    }];
    let heartbeat = Heartbeat { now_ms: NOW_MS, until: Hlc::ZERO, seen: Seen::new(), relayed: None, epochs };
    end.step(Input::Heartbeat { peer: ME, heartbeat });
    let Fetched::Parked { reason } = end.inbound.fetched(ME) else { panic!("it is taken") };
    assert!(
        reason.contains("up to 7 in epoch 2") && reason.contains("raise its epoch once more"),
        "{reason}"
    );
}

/// What is told to a region that comes back is where its earlier epoch ends: nothing more of it may come later, but what is being appended.
#[test]
fn what_is_given_back_is_all_that_there_will_be() {
    let mut end = End::connected();
    end.offer(A, 0, origin(A, 1), hlc(10), 100);
    let actions = end.beat(A, hlc(40), &[(0, 2), (1, 0)]);
    let [(batch, _)] = appends(&actions)[..] else { panic!("{actions:?}") };
    // The next one waits at the gate, in the other partition.
    end.offer(A, 1, origin(A, 1), hlc(50), 100);
    let actions = end.step(Input::Yield { peer: A, epoch: Epoch(2) });
    assert_eq!(dropped(&actions), [2], "what waited is given back");
    assert!(!end.inbound.is_quiet(A), "the first one is on its way");
    end.step(Input::Appended { batch });
    assert!(end.inbound.is_quiet(A));
    assert_eq!((end.inbound.last_of(A), end.inbound.heard(A)), (hlc(11), hlc(40)));
    // A process of the copy before has no link any more; one of the new epoch has.
    let older = end.connect(A, 2);
    assert!(matches!(&older[..], [Action::Close { peer: A, .. }, ..]), "{older:?}");
    let late = end.offer(A, 1, origin(A, 1), hlc(50), 100);
    assert_eq!(dropped(&late), [3]);
}
