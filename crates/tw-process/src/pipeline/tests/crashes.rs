//! Random histories with failures of the store and crashes at every commit: exactly once afterwards.

use super::harness::Harness;
use crate::keys::Kind;
use crate::parked::What;
use crate::support::ledger::CLEAR;
use crate::support::world::Sample;
use crate::{Options, keys};
use proptest::prelude::*;
use tw_order::gate;

#[derive(Debug, Clone)]
enum Step {
    /// Events, and which of them are sick.
    Feed(Vec<(Sample, bool)>),
    Pass(u64),
    Heal(usize),
    Retry(usize),
    Drop(usize),
    /// A later commit fails, after it was carried out or without.
    Fail(u32, bool),
    Crash,
    LoseState,
}

fn sample() -> impl Strategy<Value = (Sample, bool)> {
    let subject = prop_oneof![1 => Just(None), 9 => (0u8..6).prop_map(Some)];
    (subject, prop::bool::weighted(0.02), prop::bool::weighted(0.15)).prop_map(|(subject, clears, sick)| {
        let ty = if clears { CLEAR } else { "step" };
        (Sample { subject: subject.filter(|_| !clears).map(|subject| format!("s{subject}")), ty }, sick)
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(sample(), 1..20).prop_map(Step::Feed),
        5 => (0u64..60).prop_map(Step::Pass),
        2 => any::<usize>().prop_map(Step::Heal),
        2 => any::<usize>().prop_map(Step::Retry),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => (0u32..4, any::<bool>()).prop_map(|(commits, carried_out)| Step::Fail(commits, carried_out)),
        2 => Just(Step::Crash),
        1 => Just(Step::LoseState),
    ]
}

/// A harness with what its history promises.
struct History {
    harness: Harness,
    events: u64,
}

impl History {
    fn new(lanes_max: usize) -> Self {
        let retry =
            gate::Options { attempts_max: 2, retry_ms_min: 10, retry_ms_max: 20, retrying_max: 3, lanes_max };
        let harness = Harness::with(Options { retry, failure_ms_min: 5, ..Options::default() });
        Self { harness, events: 0 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Feed(samples) => {
                for (index, (_, sick)) in samples.iter().enumerate() {
                    if *sick {
                        self.harness.sick(self.events + index as u64);
                    }
                }
                self.events += samples.len() as u64;
                let samples: Vec<_> = samples.iter().map(|(sample, _)| sample.clone()).collect();
                self.harness.append(&samples);
                self.harness.settle();
            }
            Step::Pass(ms) => self.harness.pass(*ms),
            Step::Heal(which) => {
                let sick = self.harness.health.sick.lock().iter().nth(which % 7).copied();
                if let Some((_, offset)) = sick {
                    self.harness.heal(offset.0);
                }
            }
            Step::Retry(which) => self.decide(*which, What::Retried),
            Step::Drop(which) => self.decide(*which, What::Dropped),
            Step::Fail(commits, carried_out) => self.harness.store.fail_after(*commits, *carried_out),
            Step::Crash => self.harness.reopen(),
            Step::LoseState => self.harness.lose_state(),
        }
        self.harness.health.check();
    }

    fn decide(&mut self, which: usize, what: What) {
        let told = self.harness.keys(Kind::Told);
        let key = told.get(which % told.len().max(1));
        if let Some(offset) = key.and_then(|key| keys::last_number(key)) {
            self.harness.decide(offset, what);
        }
    }

    /// Heals everything, lets people decide about what is parked, and checks the sum.
    fn finish(mut self) {
        self.harness.health.sick.lock().clear();
        for round in 0.. {
            assert!(round < 60, "it never comes to an end: {:?}", self.harness.report());
            self.harness.pass(30);
            let counts = self.harness.report().cursor.counts;
            if counts == gate::Counts::default() && self.harness.position() == self.events {
                break;
            }
            for _ in 0..3 {
                self.decide(round, What::Retried);
            }
        }
        self.harness.pass(10);
        self.harness.post();
        self.harness.health.check();
        let applied = self.harness.applied();
        let cleared = self.harness.last_clear().unwrap_or_default();
        for offset in 0..self.events {
            let is_applied = applied.contains(&offset);
            let is_dropped = self.harness.is_dropped(offset);
            assert!(
                is_applied != is_dropped || offset < cleared,
                "{offset}: applied {is_applied}, dropped {is_dropped}"
            );
        }
        for kind in [Kind::Retrying, Kind::Parked, Kind::Queue, Kind::Note, Kind::Told, Kind::Outbox] {
            assert_eq!(self.harness.keys(kind), Vec::<bytes::Bytes>::new(), "{kind:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(200)))]

    #[test]
    fn pro_1_pro_2_pro_3_random_histories_with_crashes_are_applied_exactly_once(
        lanes_max in 1usize..5,
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let mut history = History::new(lanes_max);
        for step in &steps {
            history.step(step);
        }
        history.finish();
    }
}

#[test]
fn pro_2_a_crash_at_any_commit_leaves_a_state_that_goes_on_exactly_once() {
    let sick = |index: usize| index % 11 == 3;
    let feed = |from: usize| {
        let sample = |index| (Sample::of(&format!("s{}", index % 5)), sick(index));
        Step::Feed((from..from + 13).map(sample).collect())
    };
    let mut steps = Vec::new();
    for round in 0..8 {
        steps.extend([
            feed(round * 13),
            Step::Pass(7),
            Step::Heal(round),
            Step::Pass(25),
            Step::Retry(round),
        ]);
    }
    steps.insert(20, Step::Feed(vec![(Sample { subject: None, ty: CLEAR }, true)]));
    let run = |fail: Option<(u32, bool)>, crash: bool| {
        let mut history = History::new(2);
        if let Some((commits, carried_out)) = fail {
            history.harness.store.fail_after(commits, carried_out);
        }
        for step in &steps {
            let before = history.harness.has_failed();
            history.step(step);
            if crash && history.harness.has_failed() && !before {
                history.harness.reopen();
            }
        }
        let commits = history.harness.commits();
        history.finish();
        commits as u32
    };
    let commits = run(None, false);
    assert!(commits > 30, "{commits}");
    for commit in 0..commits {
        for (carried_out, crash) in [(false, false), (false, true), (true, false), (true, true)] {
            run(Some((commit, carried_out)), crash);
        }
    }
}
