//! The gate against a naive shell: random histories with failures, decisions, clearing events and crashes.

mod shell;

use super::*;
use proptest::prelude::*;
use shell::{Sample, Shell};

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Feed(Vec<Sample>),
    Pass(u64),
    Heal(usize),
    Retry(usize),
    Drop(usize),
    Trim(usize),
    Commit,
    Crash,
}

fn sample() -> impl Strategy<Value = Sample> {
    let subject = prop_oneof![1 => Just(None), 9 => (0u8..6).prop_map(Some)];
    (subject, prop::bool::weighted(0.2), prop::bool::weighted(0.02))
        .prop_map(|(subject, sick, clears)| Sample { subject, sick, clears })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(sample(), 1..12).prop_map(Step::Feed),
        4 => (0u64..400).prop_map(Step::Pass),
        2 => any::<usize>().prop_map(Step::Heal),
        2 => any::<usize>().prop_map(Step::Retry),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Trim),
        3 => Just(Step::Commit),
        1 => Just(Step::Crash),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    (1u32..5, 1usize..4, 1usize..4).prop_map(|(attempts_max, retrying_max, lanes_max)| Options {
        attempts_max,
        retry_ms_min: 50,
        retry_ms_max: 200,
        retrying_max,
        lanes_max,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(2_000)))]

    #[test]
    fn pro_1_pro_3_every_event_is_applied_once_in_order_or_dropped_by_decision(
        options in options(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut shell = Shell::new(options);
        for step in steps {
            match step {
                Step::Feed(samples) => shell.feed(&samples),
                Step::Pass(ms) => shell.pass(ms),
                Step::Heal(which) => shell.heal(which),
                Step::Retry(which) => shell.retry(which),
                Step::Drop(which) => shell.drop_event(which),
                Step::Trim(which) => shell.trim(which),
                Step::Commit => shell.commit(),
                Step::Crash => shell.crash(),
            }
            shell.check();
        }
        shell.heal_all();
        shell.check_nothing_forgotten();
    }
}

const A: LaneKey = LaneKey::from_bytes([1; 16]);
const B: LaneKey = LaneKey::from_bytes([2; 16]);

fn run(gate: &mut Gate, now_ms: u64, input: Input) -> Vec<Action> {
    let mut actions = Vec::new();
    gate.step(now_ms, input, &mut actions);
    actions
}

#[test]
fn pro_3_a_rejected_event_blocks_its_own_lane_only() {
    let mut gate = Gate::new(Options::default());
    assert!(gate.is_open());
    run(&mut gate, 0, Input::Rejected { key: A, offset: Offset(4) });
    let arrived = |key, offset| Input::Arrived { key, offset: Offset(offset), found: None };
    assert_eq!(run(&mut gate, 0, arrived(A, 5)), [Action::Queue { key: A, offset: Offset(5) }]);
    assert_eq!(run(&mut gate, 0, arrived(B, 6)), [Action::Apply { offset: Offset(6) }]);
    assert_eq!(gate.counts(), Counts { lanes: 1, parked: 0, waiting: 2 });
}

#[test]
fn pro_3_pauses_grow_and_the_last_attempt_parks() {
    let options = Options { attempts_max: 3, retry_ms_min: 100, ..Options::default() };
    let mut gate = Gate::new(options);
    let failed = Input::Failed { key: A, offset: Offset(4), lost: false };
    let tick = Input::Tick { limit: 9 };
    run(&mut gate, 1_000, Input::Rejected { key: A, offset: Offset(4) });
    assert_eq!(run(&mut gate, 1_099, tick), []);
    assert_eq!(run(&mut gate, 1_100, tick), [Action::Try { key: A, head: Offset(4) }]);
    assert_eq!(run(&mut gate, 1_100, tick), [], "it is being tried");
    run(&mut gate, 1_100, failed);
    assert_eq!(gate.due_ms(), Some(1_300));
    run(&mut gate, 1_300, tick);
    let parked = Action::Parked { key: A, offset: Offset(4), attempts: 3 };
    assert_eq!(run(&mut gate, 1_300, failed), [parked]);
    assert_eq!((gate.due_ms(), gate.counts().parked), (None, 1));
}

#[test]
fn pro_3_a_retry_by_a_person_is_one_attempt() {
    let mut gate = Gate::new(Options { attempts_max: 1, ..Options::default() });
    run(&mut gate, 0, Input::Rejected { key: A, offset: Offset(4) });
    run(&mut gate, 0, Input::Retry { key: A, offset: Offset(4), found: None });
    assert_eq!(run(&mut gate, 0, Input::Tick { limit: 1 }), [Action::Try { key: A, head: Offset(4) }]);
    let again = run(&mut gate, 0, Input::Failed { key: A, offset: Offset(4), lost: false });
    assert_eq!(again, [Action::Parked { key: A, offset: Offset(4), attempts: 2 }]);
    run(&mut gate, 0, Input::Retry { key: A, offset: Offset(4), found: None });
    run(&mut gate, 0, Input::Tick { limit: 1 });
    let applied = run(&mut gate, 0, Input::Applied { key: A, offset: Offset(4), next: None });
    assert!(applied.contains(&Action::Released { key: A, offset: Offset(4) }), "{applied:?}");
    assert!(gate.is_open());
}

#[test]
fn a_lane_that_left_memory_is_found_again_through_the_store() {
    let options = Options { attempts_max: 1, lanes_max: 1, ..Options::default() };
    let mut gate = Gate::new(options);
    for (key, offset) in [(A, 1), (B, 2)] {
        run(&mut gate, 0, Input::Rejected { key, offset: Offset(offset) });
    }
    run(&mut gate, 0, Input::Commit);
    run(&mut gate, 0, Input::Committed);
    assert_eq!((gate.lanes_in_memory(), gate.counts().lanes), (1, 2));
    let gone = if gate.lanes.contains_key(&A) { B } else { A };
    assert!(!gate.knows(gone));
    let head = if gone == A { Offset(1) } else { Offset(2) };
    let found = Some(Lane { head, attempts: 1, phase: Phase::Parked, told: true });
    let arrived = Input::Arrived { key: gone, offset: Offset(9), found };
    assert_eq!(run(&mut gate, 0, arrived), [Action::Queue { key: gone, offset: Offset(9) }]);
    // Dropped but not committed yet: what the store says of it is outdated.
    let drop = |offset, next| Input::Drop { key: gone, offset, found, queued: true, next };
    run(&mut gate, 0, drop(head, Some(Offset(9))));
    run(&mut gate, 0, drop(Offset(9), None));
    assert!(gate.knows(gone));
    let arrived = Input::Arrived { key: gone, offset: Offset(10), found };
    assert_eq!(run(&mut gate, 0, arrived), [Action::Apply { offset: Offset(10) }]);
}

#[test]
fn when_too_many_are_retried_a_further_one_is_parked_at_once() {
    let mut gate = Gate::new(Options { retrying_max: 1, ..Options::default() });
    run(&mut gate, 0, Input::Rejected { key: A, offset: Offset(1) });
    let second = run(&mut gate, 0, Input::Rejected { key: B, offset: Offset(2) });
    assert!(second.contains(&Action::Parked { key: B, offset: Offset(2), attempts: 1 }), "{second:?}");
    assert_eq!(gate.room(), 0);
}
