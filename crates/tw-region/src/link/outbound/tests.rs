//! What is sent in which order, and what is promised.

use super::*;
use crate::link::handshake::AgreedStream;
use crate::link::wire::RelayedLink;
use tw_types::{PartitionId, StreamId};

const ME: RegionId = RegionId(1);
const EPOCH: Epoch = Epoch(1);
const NEXT: Epoch = Epoch(2);

fn at(partition: u32) -> StreamPartition {
    StreamPartition::new(StreamId(7), PartitionId(partition))
}

fn hlc(number: u64) -> Hlc {
    Hlc::from_u64(number)
}

fn mark(sequence: u64, at: u64) -> Mark {
    Mark { sequence: Sequence(sequence), hlc: hlc(at) }
}

/// A block of `count` events.
fn block(epoch: Epoch, sequence: u64, count: u64, first: u64) -> Found {
    let origin = Origin { region: ME, epoch, sequence: Sequence(sequence) };
    Found { token: first, first: origin, count, first_hlc: hlc(first), bytes: 100 }
}

/// The sending end with a log of some blocks; looks are answered at once.
struct End {
    outbound: Outbound,
    log: BTreeMap<StreamPartition, Vec<Found>>,
    history: SeenHistory,
    answers: bool,
}

impl End {
    fn new(blocks: &[(u32, Found)], ends: &[(u32, Ends)]) -> Self {
        let (kind, mode) = ("events".to_owned(), "active-active".to_owned());
        let stream = LocalStream {
            id: StreamId(7),
            name: "orders".to_owned(),
            partitions: 3,
            kind,
            mode,
            schema_hash: 0,
        };
        let streams = [(4, AgreedStream { id: StreamId(7), name: "orders".to_owned(), partitions: 3 })];
        let (name, streams) = ("there".to_owned(), streams.into_iter().collect());
        let agreed = Agreed {
            protocol: 1,
            peer: RegionId(2),
            name,
            epoch: EPOCH,
            stands_in: false,
            streams,
            notes: vec![],
        };
        let ends = ends.iter().map(|(part, ends)| (at(*part), ends.clone())).collect();
        let mut log: BTreeMap<StreamPartition, Vec<Found>> = BTreeMap::new();
        blocks.iter().for_each(|(part, found)| log.entry(at(*part)).or_default().push(*found));
        let outbound = Outbound::start(ME, EPOCH, &[stream], &agreed, ends);
        Self { outbound, log, history: SeenHistory::new(10, true), answers: true }
    }

    /// What is done about it, looks and their answers included.
    fn step(&mut self, input: Input) -> Vec<Action> {
        let (mut inputs, mut done) = (vec![input], Vec::new());
        while let Some(input) = inputs.pop() {
            let mut actions = Vec::new();
            self.outbound.step(input, &self.history, &mut actions);
            for action in actions {
                match action {
                    Action::Look { at, look, epoch, after } if self.answers => {
                        let last =
                            |one: &Found| (one.first.epoch, Sequence(one.first.sequence.0 + one.count - 1));
                        let found = self
                            .log
                            .get(&at)
                            .and_then(|log| log.iter().find(|one| last(one) > (epoch, after)));
                        inputs.push(Input::Found { at, look, found: found.copied(), named_hlc: None });
                    }
                    other => done.push(other),
                }
            }
        }
        done
    }

    fn pull(&mut self, entries: &[(u32, Epoch, Mark)]) -> Vec<Action> {
        let entry = |(part, epoch, mark): &(u32, Epoch, Mark)| Pulled {
            stream: "orders".to_owned(),
            partition: PartitionId(*part),
            region: ME,
            epoch: *epoch,
            after: mark.sequence,
            after_hlc: mark.hlc,
        };
        self.step(Input::Pull(Pull { entries: entries.iter().map(entry).collect() }))
    }

    fn beat(&mut self, until: u64) -> Vec<Action> {
        self.step(Input::Beat { now_ms: 0, until: hlc(until), seen: Seen::new() })
    }
}

/// First and next timestamp of what is sent.
fn sent(actions: &[Action]) -> Vec<(u64, u64)> {
    let sends = actions.iter().filter_map(|action| match action {
        Action::Send { found, next_hlc, .. } => Some((found.first_hlc.as_u64(), next_hlc.as_u64())),
        _ => None,
    });
    sends.collect()
}

fn passed(actions: &[Action]) -> Vec<(u32, u64, u64, u64)> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Passed(one) => Some((one.epoch.0, one.first.0, one.last.0, one.hlc.as_u64())),
        _ => None,
    });
    frames.collect()
}

/// Until, and of each partition what was sent.
fn beats(actions: &[Action]) -> Vec<(u64, Vec<(u32, u64)>)> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Heartbeat(one) => Some(one),
        _ => None,
    });
    let sent = |one: &Epochs| (one.partition.0, one.sent.1.0);
    frames.map(|one| (one.until.as_u64(), one.epochs.iter().map(sent).collect())).collect()
}

fn refused(actions: &[Action]) -> Option<&str> {
    actions.iter().find_map(|action| match action {
        Action::Refuse(refuse) => Some(refuse.code.as_str()),
        _ => None,
    })
}

#[test]
fn blocks_of_all_partitions_are_sent_in_the_order_of_their_timestamps_within_the_credit() {
    let blocks = [
        (0, block(EPOCH, 1, 2, 10)),
        (0, block(EPOCH, 3, 1, 40)),
        (1, block(EPOCH, 1, 1, 20)),
        (1, block(EPOCH, 2, 1, 30)),
    ];
    let ends = [(0, vec![(EPOCH, mark(3, 40))]), (1, vec![(EPOCH, mark(2, 30))])];
    let mut end = End::new(&blocks, &ends);
    let none = Mark::default();
    let actions = end.pull(&[(0, EPOCH, none), (1, EPOCH, none), (2, EPOCH, none)]);
    assert_eq!(beats(&actions), [(0, vec![(0, 0), (1, 0), (2, 0)])], "all are named before the first block");
    assert_eq!(sent(&actions), []);
    assert_eq!(sent(&end.step(Input::Credit(150))), [(10, 40), (20, 30)], "the last one may use up more");
    assert_eq!(beats(&end.beat(100)), [(29, vec![(0, 2), (1, 1)])], "not beyond what waits for credit");
    assert_eq!(sent(&end.step(Input::Credit(50))), [], "none is left yet");
    assert_eq!(sent(&end.step(Input::Credit(1))), [(30, 0)]);
    assert_eq!(sent(&end.step(Input::Credit(100))), [(40, 0)]);
    assert_eq!(beats(&end.beat(100)), [(100, vec![(0, 3), (1, 2)])]);
    assert_eq!(beats(&end.beat(110)), [(110, vec![])], "nothing has changed");
}

#[test]
fn what_is_given_back_ends_before_what_has_no_place_on_the_other_side() {
    let blocks = [(0, block(EPOCH, 1, 2, 10)), (0, block(EPOCH, 3, 1, 40)), (1, block(EPOCH, 1, 1, 20))];
    let ends = [(0, vec![(EPOCH, mark(3, 40))]), (1, vec![(EPOCH, mark(1, 20))])];
    let mut end = End::new(&blocks, &ends);
    end.outbound = end.outbound.gives_back(Some(hlc(30)));
    end.pull(&[(0, EPOCH, Mark::default()), (1, EPOCH, Mark::default())]);
    // That nothing follows before 40 would say that everything before that was sent.
    assert_eq!(sent(&end.step(Input::Credit(1_000))), [(10, 0), (20, 0)]);
    assert_eq!(beats(&end.beat(100)), [(29, vec![(0, 2), (1, 1)])]);
    assert_eq!(sent(&end.step(Input::Credit(1_000))), []);
}

#[test]
fn nothing_is_sent_or_promised_while_it_is_unknown_what_comes_first() {
    let mut end = End::new(&[(0, block(EPOCH, 1, 1, 10))], &[(0, vec![(EPOCH, mark(1, 10))])]);
    end.step(Input::Credit(1_000));
    end.answers = false;
    let actions = end.pull(&[(0, EPOCH, Mark::default())]);
    let Some(Action::Look { at, look, .. }) = actions.first().cloned() else { panic!("{actions:?}") };
    assert_eq!(beats(&end.beat(50)), [(0, vec![])]);
    let found = |look, found| Input::Found { at, look, found, named_hlc: None };
    let actions = end.step(found(look, Some(block(EPOCH, 1, 1, 10))));
    assert_eq!(sent(&actions), [], "what follows it is not known");
    let Some(Action::Look { look, .. }) = actions.first().cloned() else { panic!("{actions:?}") };
    // It grows while the look says that there is nothing more: it is looked for again.
    assert_eq!(end.step(Input::Grew { at, ends: vec![(EPOCH, mark(2, 30))], block: None }), []);
    let actions = end.step(found(look, None));
    let Some(Action::Look { look, .. }) = actions.first().cloned() else { panic!("{actions:?}") };
    assert_eq!(sent(&end.step(found(look - 1, None))), [], "an answer to an earlier look");
    assert_eq!(sent(&end.step(found(look, Some(block(EPOCH, 2, 1, 30))))), [(10, 30)]);
}

#[test]
fn what_was_just_accepted_is_sent_without_a_look() {
    let mut end = End::new(&[], &[]);
    end.pull(&[(0, EPOCH, Mark::default()), (1, EPOCH, Mark::default())]);
    end.step(Input::Credit(101));
    end.answers = false;
    let grew = |part, sequence, first| Input::Grew {
        at: at(part),
        ends: vec![(EPOCH, mark(sequence, first))],
        block: Some(block(EPOCH, sequence, 1, first)),
    };
    let actions = end.step(grew(0, 1, 10));
    assert_eq!((sent(&actions), actions.len()), (vec![(10, 0)], 1));
    assert_eq!(sent(&end.step(grew(0, 2, 20))), [(20, 0)]);
    // Without credit two are remembered, and what comes after them is looked for when they are sent.
    let actions: Vec<Action> =
        (3..6).flat_map(|sequence| end.step(grew(1, sequence - 2, sequence * 10))).collect();
    assert_eq!(actions, []);
    assert_eq!(beats(&end.beat(90)), [(29, vec![(0, 2), (1, 0)])]);
    let actions = end.step(Input::Credit(1_000));
    assert_eq!(sent(&actions), [(30, 40)]);
    let look = |action: &Action| matches!(action, Action::Look { after: Sequence(2), .. });
    assert_eq!(actions.iter().filter(|action| look(action)).count(), 1);
    // One that does not follow what is known is looked for, too.
    let actions = end.step(grew(0, 4, 80));
    assert!(matches!(actions[..], [Action::Look { after: Sequence(2), .. }]), "{actions:?}");
}

#[test]
fn what_others_have_accepted_is_not_looked_through() {
    let mut end = End::new(&[(0, block(EPOCH, 1, 2, 10))], &[(0, vec![(EPOCH, mark(2, 20))])]);
    end.step(Input::Credit(1_000));
    end.pull(&[(0, EPOCH, Mark::default())]);
    end.answers = false;
    let grew =
        |sequence, first| Input::Grew { at: at(0), ends: vec![(EPOCH, mark(sequence, first))], block: None };
    assert_eq!(end.step(grew(2, 20)), []);
    // An own event is looked for, until it is found.
    for _ in 0..2 {
        let actions = end.step(grew(3, 30));
        let [Action::Look { at, look, after: Sequence(2), .. }] = actions[..] else { panic!("{actions:?}") };
        assert_eq!(end.step(Input::Found { at, look, found: None, named_hlc: None }), []);
    }
}

#[test]
fn what_is_gone_is_passed_also_from_epoch_to_epoch_and_at_the_end() {
    let ends = vec![(EPOCH, mark(5, 50)), (NEXT, mark(9, 99))];
    let mut end = End::new(&[(0, block(EPOCH, 3, 1, 30)), (0, block(NEXT, 4, 2, 80))], &[(0, ends)]);
    end.step(Input::Credit(1_000));
    let mut actions = end.pull(&[(0, EPOCH, mark(1, 10))]);
    actions.extend(end.beat(200));
    assert_eq!(passed(&actions), [(1, 2, 2, 29), (1, 4, 5, 50), (2, 1, 3, 79), (2, 6, 9, 99)]);
    assert_eq!(sent(&actions), [(30, 80), (80, 0)]);
    assert_eq!(beats(&actions).last(), Some(&(200, vec![(0, 9)])));
}

#[test]
fn a_pull_that_comes_again_goes_back_and_takes_back_the_promise() {
    let blocks = [(0, block(EPOCH, 1, 1, 10)), (0, block(EPOCH, 2, 1, 20))];
    let mut end = End::new(&blocks, &[(0, vec![(EPOCH, mark(2, 20))])]);
    end.step(Input::Credit(150));
    assert_eq!(sent(&end.pull(&[(0, EPOCH, Mark::default())])), [(10, 20), (20, 0)]);
    assert_eq!(beats(&end.beat(50)), [(50, vec![(0, 2)])]);
    let actions = end.pull(&[(0, EPOCH, mark(1, 10))]);
    assert_eq!((sent(&actions), beats(&actions)), (vec![], vec![(0, vec![(0, 1)])]));
    assert_eq!(beats(&end.beat(60)), [(19, vec![])]);
}

#[test]
fn whoever_has_more_or_other_events_is_refused() {
    let new = || End::new(&[(0, block(EPOCH, 1, 4, 10))], &[(0, vec![(EPOCH, mark(4, 13))])]);
    assert_eq!(refused(&new().pull(&[(0, EPOCH, mark(5, 20))])), Some("older-copy"));
    assert_eq!(refused(&new().pull(&[(0, EPOCH, mark(4, 12))])), Some("fork"));
    assert_eq!(refused(&new().pull(&[(0, EPOCH, mark(4, 13))])), None);
    assert_eq!(refused(&new().pull(&[(9, EPOCH, mark(0, 0))])), Some("not-agreed"));
    // Whether an event in the middle is the same, only the log knows.
    let mut end = new();
    end.answers = false;
    let actions = end.pull(&[(0, EPOCH, mark(2, 9))]);
    let Some(Action::Look { at, look, .. }) = actions.first().cloned() else { panic!("{actions:?}") };
    let found = Some(block(EPOCH, 1, 4, 10));
    let actions = end.step(Input::Found { at, look, found, named_hlc: Some(hlc(11)) });
    assert_eq!(refused(&actions), Some("fork"));
    assert_eq!(end.step(Input::Credit(100)), [], "after that there is nothing more to do");
}

#[test]
fn what_was_seen_goes_with_the_first_block_for_which_it_is_so() {
    let blocks = [10, 20, 30].map(|first| (0, block(EPOCH, first / 10, 1, first)));
    let mut end = End::new(&blocks, &[(0, vec![(EPOCH, mark(3, 30))])]);
    let seen = |until| Seen::from_iter([(RegionId(2), hlc(until))]);
    end.history.push(hlc(15), seen(14));
    end.step(Input::Credit(1_000));
    let actions = end.pull(&[(0, EPOCH, Mark::default())]);
    let told = actions.iter().filter_map(|action| match action {
        Action::Send { seen, .. } => Some(seen.clone()),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [None, Some(seen(14)), None]);
}

#[test]
fn a_history_that_forgot_says_more_than_was_the_case_but_nothing_that_cannot_be() {
    let seen = |until| Seen::from_iter([(RegionId(2), hlc(until))]);
    let mut history = SeenHistory::new(2, true);
    assert_eq!(history.at(hlc(100)), Seen::new());
    history.push(hlc(10), seen(9));
    history.push(hlc(20), seen(19));
    history.push(hlc(20), seen(18));
    assert_eq!([5, 10, 11, 20, 21].map(|at| history.at(hlc(at)).of(RegionId(2)).as_u64()), [0, 0, 9, 9, 19]);
    history.push(hlc(30), seen(29));
    assert_eq!([5, 20, 21, 31].map(|at| history.at(hlc(at)).of(RegionId(2)).as_u64()), [4, 19, 19, 29]);
}

/// A relay that has three of the five events that its region has said to have.
#[test]
fn a_relay_tells_what_was_announced_to_it_and_passes_only_what_is_gone_in_its_log() {
    let ends = [(0, vec![(EPOCH, mark(3, 30))])];
    let mut end = End::new(&[(0, block(EPOCH, 1, 1, 10)), (0, block(EPOCH, 3, 1, 30))], &ends);
    end.outbound = end.outbound.relays();
    end.step(Input::Credit(1_000));
    let relayed = Relayed { link: RelayedLink::Up, silent_ms: Some(3) };
    let announced = vec![(at(0), vec![(EPOCH, Sequence(5)), (NEXT, Sequence(0))])];
    end.step(Input::Upstream { relayed, announced });
    let mut actions = end.pull(&[(0, EPOCH, Mark::default())]);
    actions.extend(end.beat(40));
    assert_eq!((sent(&actions), passed(&actions)), (vec![(10, 30), (30, 0)], vec![(1, 2, 2, 29)]));
    let last = actions.iter().rev().find_map(|action| match action {
        Action::Heartbeat(heartbeat) => Some(heartbeat.clone()),
        _ => None,
    });
    let last = last.unwrap();
    assert_eq!((last.until, last.relayed), (hlc(40), Some(relayed)));
    let epochs = vec![(EPOCH, Sequence(5)), (NEXT, Sequence(0))];
    assert_eq!((&last.epochs[0].epochs, last.epochs[0].sent), (&epochs, (EPOCH, Sequence(3))));
    // The rest of the epoch comes, and then the next one.
    end.log.get_mut(&at(0)).unwrap().extend([block(EPOCH, 4, 2, 50), block(NEXT, 1, 1, 60)]);
    let ends = vec![(EPOCH, mark(5, 51)), (NEXT, mark(1, 60))];
    let mut actions = end.step(Input::Grew { at: at(0), ends, block: None });
    actions.extend(end.beat(70));
    assert_eq!((sent(&actions), passed(&actions)), (vec![(50, 60), (60, 0)], vec![]));
    assert_eq!(beats(&actions), [(70, vec![(0, 1)])]);
}

#[test]
fn whoever_has_more_than_a_relay_is_not_refused_and_who_has_something_else_is() {
    let new = || {
        let mut end = End::new(&[(0, block(EPOCH, 1, 4, 10))], &[(0, vec![(EPOCH, mark(4, 13))])]);
        end.outbound = end.outbound.relays();
        end
    };
    let mut end = new();
    let actions = end.pull(&[(0, EPOCH, mark(6, 40))]);
    assert_eq!((refused(&actions), sent(&actions)), (None, vec![]));
    assert_eq!(beats(&end.beat(20)).last().unwrap().0, 20, "what it knows of is promised");
    // The time of what is gone is not the same each time that it is told.
    assert_eq!(refused(&new().pull(&[(0, EPOCH, mark(4, 12))])), None);
    let actions = new().pull(&[(0, EPOCH, mark(2, 13))]);
    assert_eq!(refused(&actions), Some("fork"));
    let is_about_relays = |action: &Action| matches!(action, Action::Refuse(refuse) if refuse.remedy.contains("the region that is relayed"));
    assert!(actions.iter().any(is_about_relays));
}
