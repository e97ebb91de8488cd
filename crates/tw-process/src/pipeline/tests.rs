//! One pipeline, driven turn by turn.

mod crashes;
mod dropping;
mod harness;
mod parking;

use crate::progress::Standing;
use crate::support::world::Sample;
use harness::{Harness, samples};
use std::time::Duration;

#[test]
fn events_are_visible_once_the_partition_is_idle() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a", "b", "a"]));
    harness.settle();
    assert_eq!(harness.position(), 3);
    assert_eq!(harness.applied(), [0, 1, 2].into());
    harness.append(&samples(&["c"]));
    harness.settle();
    assert_eq!(harness.position(), 3, "the last commit was just now");
    harness.pass(2);
    assert_eq!(harness.position(), 4);
}

#[test]
fn pro_2_state_and_offset_are_one_commit() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a", "b"]));
    harness.settle();
    let commits = harness.commits();
    harness.append(&samples(&["a", "c"]));
    harness.pass(2);
    assert_eq!((harness.commits(), harness.position()), (commits + 1, 4));
}

#[test]
fn commits_that_take_long_are_put_off_within_bounds() {
    let after = |commit_ms| {
        super::commit::age_max(Duration::from_millis(500), Duration::from_millis(commit_ms)).as_millis()
    };
    assert_eq!([0, 25, 50, 100, 10_000].map(after), [500, 500, 1_000, 2_000, 2_000]);
}

#[test]
fn a_thousand_small_blocks_and_a_large_one_are_read_through() {
    let mut harness = Harness::new();
    for index in 0..1_000 {
        harness.append(&[Sample::of(&format!("s{}", index % 7))]);
    }
    let many: Vec<_> = (0..50_000).map(|index| Sample::of(&format!("s{}", index % 7))).collect();
    harness.append(&many);
    harness.settle();
    harness.pass(2);
    assert_eq!(harness.position(), 51_000);
    assert_eq!(harness.applied().len(), 51_000);
    harness.health.check();
}

#[test]
fn trimmed_input_stops_the_pipeline_and_says_so() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a", "b"]));
    harness.settle();
    harness.hold(true);
    harness.append(&samples(&["c", "d", "e"]));
    harness.trim(4);
    harness.hold(false);
    let report = harness.report();
    assert_eq!(report.standing, Standing::Stopped);
    assert_eq!(
        report.failure.as_deref(),
        Some(
            "events from offset 2 on to before 4 were removed before they were processed: rebuild the view, or remove it"
        )
    );
}

#[test]
fn a_fresh_view_starts_where_a_trimmed_stream_does() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a", "b", "c"]));
    harness.trim(2);
    harness.settle();
    assert_eq!((harness.position(), harness.applied()), (3, [2].into()));
    assert_eq!(harness.report().cursor.start.0, 2);
}

#[test]
fn a_dropped_stream_stops_the_pipeline() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a"]));
    harness.settle();
    harness.drop_stream();
    harness.reopen();
    assert_eq!(harness.report().standing, Standing::Stopped);
    assert!(harness.report().failure.unwrap().contains("it may have been dropped"));
}

#[test]
fn a_failing_store_is_opened_again_from_what_was_committed() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a", "b"]));
    harness.settle();
    harness.store.fail_after(0, false);
    harness.append(&samples(&["a"]));
    harness.pass(2);
    let report = harness.report();
    assert_eq!((report.standing, report.cursor.position.0), (Standing::Waiting, 2));
    assert!(report.failure.unwrap().contains("the disk is on fire"));
    harness.pass(100);
    assert_eq!((harness.report().standing, harness.position()), (Standing::Running, 3));
    harness.health.check();
}

#[test]
fn a_pipeline_goes_on_once_the_servers_of_the_log_are_back() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a"]));
    harness.settle();
    harness.log.refuse_reads(true);
    harness.append(&samples(&["b"]));
    harness.pass(2_000);
    let report = harness.report();
    assert_eq!((report.standing, report.cursor.position.0), (Standing::Waiting, 1));
    let failure = report.failure.unwrap();
    assert!(failure.contains("the servers of the log at `127.0.0.1:1` cannot give events now"), "{failure}");
    harness.log.refuse_reads(false);
    harness.pass(60_000);
    assert_eq!((harness.report().standing, harness.position()), (Standing::Running, 2));
    harness.health.check();
}

#[test]
fn a_held_pipeline_commits_and_then_rests() {
    let mut harness = Harness::new();
    harness.append(&samples(&["a"]));
    harness.settle();
    harness.append(&samples(&["b"]));
    harness.settle();
    assert_eq!(harness.position(), 1);
    harness.hold(true);
    assert_eq!(harness.position(), 2);
    harness.append(&samples(&["c"]));
    harness.pass(1_000);
    assert_eq!(harness.position(), 2);
    harness.hold(false);
    assert_eq!(harness.position(), 3);
}
