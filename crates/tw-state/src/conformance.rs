//! What every implementation of [`Store`] promises, as tests: one function per promise, each panics when it is broken.
//!
//! [`store_conformance!`](crate::store_conformance) makes a test of each promise, and
//! [`durable_store_conformance!`](crate::durable_store_conformance) of those that need a store that outlives its process.
#![expect(clippy::unwrap_used, reason = "a broken promise panics: these are tests")]

mod durable;
mod histories;
mod promises;

pub use durable::{
    a_store_that_is_open_is_locked, dropped_keyspaces_stay_dropped, random_histories_survive_reopening,
    reopening_shows_every_commit,
};
pub use histories::random_histories_match_a_map;
pub use promises::{
    a_batch_shows_in_all_keyspaces_at_once, a_dropped_keyspace_is_gone, a_refused_batch_changes_nothing,
    ingested_entries_replace_and_are_replaced, ingesting_out_of_order_is_refused,
    names_and_keys_outside_their_bounds_are_refused, ranges_respect_their_bounds_both_ways,
    snapshots_do_not_see_what_comes_later, the_last_change_of_a_key_counts,
};

use crate::{Keyspace, Range, Snapshot, Store};
use bytes::Bytes;

/// Where stores are opened, one after the other; a durable one shows what the one before it held.
pub trait Place {
    /// Opens the store.
    ///
    /// # Errors
    /// Those of the engine.
    fn open(&self) -> crate::Result<Box<dyn Store>>;
}

/// Makes a test of every promise. `$place` is an expression for a new, empty [`Place`](crate::conformance::Place).
#[macro_export]
macro_rules! store_conformance {
    ($place:expr) => {
        $crate::conformance_tests!($place =>
            a_batch_shows_in_all_keyspaces_at_once
            a_dropped_keyspace_is_gone
            a_refused_batch_changes_nothing
            ingested_entries_replace_and_are_replaced
            ingesting_out_of_order_is_refused
            names_and_keys_outside_their_bounds_are_refused
            random_histories_match_a_map
            ranges_respect_their_bounds_both_ways
            snapshots_do_not_see_what_comes_later
            the_last_change_of_a_key_counts
        );
    };
}

/// Makes a test of every promise of a store that outlives its process.
#[macro_export]
macro_rules! durable_store_conformance {
    ($place:expr) => {
        $crate::conformance_tests!($place =>
            a_store_that_is_open_is_locked
            dropped_keyspaces_stay_dropped
            random_histories_survive_reopening
            reopening_shows_every_commit
        );
    };
}

/// Makes a test of each named promise.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($place:expr => $($promise:ident)*) => {
        $(
            #[test]
            fn $promise() {
                $crate::conformance::$promise(&$place);
            }
        )*
    };
}

fn pairs(entries: impl Iterator<Item = crate::Result<(Bytes, Bytes)>>) -> Vec<(Bytes, Bytes)> {
    entries.collect::<crate::Result<_>>().unwrap()
}

fn all(snapshot: &dyn Snapshot, keyspace: Keyspace) -> Vec<(Bytes, Bytes)> {
    pairs(snapshot.range(keyspace, Range::all()))
}
