//! The conformance suite: what every engine behind [`Coordination`] must do, tested by the same code.
//!
//! An engine implements [`Engine`] in its tests and writes `tw_cluster::conformance!(engine)`; each check then is a test of
//! its own, named for its condition and outcome, with the id of the invariant where one is tested.

mod faults;
mod keys;
mod leases;
mod watches;

pub use faults::*;
pub use keys::*;
pub use leases::*;
pub use watches::*;

use crate::{
    Change, Coordination, Entry, Guard, Key, LeaseId, Outcome, Result, Revision, Transaction, Watch,
};
use std::sync::Arc;
use std::time::Duration;

/// How long anything may take before a check gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to the servers of an engine. An engine without servers lets nothing happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// They stop answering, and keep their connections.
    Pause,
    /// They go on.
    Resume,
    /// They end in order and start again, with their data.
    Restart,
    /// They are killed and start again, with their data.
    Kill,
}

/// An engine under test.
pub trait Engine: Send + Sync {
    /// Another client of the same key space, which is empty at first.
    fn connect(&self) -> Arc<dyn Coordination>;

    /// Does something to the servers, and returns when it is done.
    fn disturb(&self, disturbance: Disturbance);

    /// Lets simulated time pass; real time passes by itself, and nothing is done.
    fn pass(&self, time: Duration);
}

/// Makes a test of each check for the engine that the expression gives. Needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance {
    ($engine:expr) => {
        $crate::conformance!($engine;
            entries_read_back_with_their_revisions,
            older_revisions_can_be_read_until_they_are_compacted,
            a_range_holds_what_is_below_its_key_and_nothing_else,
            a_large_range_is_read_at_one_revision,
            a_transaction_happens_as_a_whole_or_not_at_all,
            guards_hold_for_what_they_name,
            a_failed_guard_tells_what_was_found,
            what_is_beyond_a_limit_is_refused,
            clu_1_of_many_who_compare_and_set_one_wins,
            clu_1_counters_lose_no_increment,
            clu_1_an_expired_lease_takes_its_keys_along,
            clu_1_a_lease_outlives_the_deadline_of_its_holder,
            clu_3_a_renewed_lease_keeps_its_keys_while_others_end,
            a_revoked_lease_takes_its_keys_along_at_one_revision,
            a_key_belongs_to_the_lease_that_wrote_it_last,
            nothing_is_written_under_a_lease_that_has_ended,
            a_watch_tells_every_change_once_and_in_order,
            a_watch_goes_on_from_an_older_revision,
            a_watch_sees_its_range_only,
            a_dropped_wait_loses_nothing,
            a_watch_from_a_compacted_revision_says_so,
            a_deletion_at_the_compacted_revision_is_not_passed_over,
            a_watch_survives_every_disturbance,
            a_watch_that_fell_behind_a_compaction_says_so,
            requests_find_back_after_every_disturbance,
            clu_1_compare_and_set_stays_exact_under_disturbance,
            a_lease_survives_a_restart
        );
    };
    ($engine:expr; $($check:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                $crate::conformance::$check(&$engine).await;
            }
        )+
    };
}

/// The value, or the error as a panic.
pub(crate) fn ok<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("unexpected error: {error} ({error:?})"))
}

/// What comes of it, within [`PATIENCE`].
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    let patience = tokio::time::timeout(PATIENCE, what).await;
    patience.unwrap_or_else(|_| panic!("it does not come about within {PATIENCE:?}"))
}

pub(crate) fn key<const N: usize>(segments: [&str; N]) -> Key {
    ok(Key::new(segments))
}

/// Writes a key, and returns the revision.
pub(crate) async fn put(on: &dyn Coordination, key: &Key, value: impl ToString) -> Revision {
    done(on, Transaction::new().put(key, value.to_string())).await
}

/// Commits what must happen.
pub(crate) async fn done(on: &dyn Coordination, transaction: Transaction) -> Revision {
    match ok(on.commit(transaction).await) {
        Outcome::Done(revision) => revision,
        failed @ Outcome::Failed { .. } => panic!("a guard does not hold: {failed:?}"),
    }
}

/// Writes a key under a lease.
pub(crate) async fn put_under(on: &dyn Coordination, lease: LeaseId, key: &Key, value: &str) -> Revision {
    done(on, Transaction::new().put_under(lease, key, value.to_owned())).await
}

/// What is stored under a key.
pub(crate) async fn get(on: &dyn Coordination, key: &Key) -> Option<Entry> {
    ok(on.read(key.alone(), None).await).entries.pop()
}

pub(crate) fn text(entry: &Entry) -> &str {
    std::str::from_utf8(&entry.value).unwrap_or_else(|error| panic!("{error}"))
}

/// `KEY=VALUE@REVISION`, or `-KEY@REVISION`.
pub(crate) fn line(change: &Change) -> String {
    match change {
        Change::Put(entry) => format!("{}={}@{}", entry.key, text(entry), entry.modified),
        Change::Delete { key, revision } => format!("-{key}@{revision}"),
    }
}

/// The next `count` changes or more, as lines.
pub(crate) async fn lines(watch: &mut dyn Watch, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        told.extend(ok(soon(watch.next()).await).changes.iter().map(line));
    }
    told
}

/// Adds one to a number in a key, however often that takes; returns how often a try was unknown.
pub(crate) async fn increment(on: &dyn Coordination, key: &Key, who: &str) -> Revision {
    loop {
        let found = get(on, key).await;
        let number: u64 = found.as_ref().map_or(0, |entry| {
            let (number, _) = text(entry).split_once(' ').unwrap_or_else(|| panic!("{entry:?}"));
            number.parse().unwrap_or_else(|error| panic!("{error}"))
        });
        let guard =
            found.map_or(Guard::Absent(key.clone()), |entry| Guard::Unchanged(key.clone(), entry.modified));
        let value = format!("{} {who}", number + 1);
        if let Some(revision) = ok(on.commit(Transaction::new().when(guard).put(key, value)).await).done() {
            return revision;
        }
    }
}
