//! What the event store promises on any log, as tests: one function per promise, each panics when it is broken.
//!
//! [`event_store_conformance!`](crate::event_store_conformance) makes a test of each promise on a given log.
#![expect(clippy::unwrap_used, reason = "a broken promise panics: these are tests")]

mod duplicates;
mod elsewhere;
mod faults;
mod keys;
mod load;
mod reading;
mod recovery;
mod regions;
mod versions;

pub use duplicates::{
    a_flood_of_one_id_is_answered, a_write_may_need_more_ids_than_there_is_memory_for,
    an_id_is_compared_with_the_latest_1024_versions, duplicates_are_answered_with_the_first_event,
    ids_are_compared_when_memory_for_them_is_short, ids_with_the_same_hash_are_told_apart,
    without_dedup_every_event_is_stored,
};
pub use elsewhere::{
    a_place_in_time_is_found_while_events_are_removed,
    an_index_of_the_time_before_marks_begins_with_the_right_ones,
    own_events_are_counted_right_when_the_index_and_the_first_of_them_are_lost,
    reg_3_marks_are_those_of_the_log_under_load_with_failing_appends,
    reg_3_what_did_not_arrive_is_not_taken_for_arrived_because_others_wrote_as_much,
    reg_3_what_failed_on_its_way_comes_again_once,
};
pub use faults::{
    failed_appends_leave_no_trace, log_2_log_3_hold_under_load_with_failing_appends,
    what_depends_on_appends_in_flight_waits_for_them,
};
pub use keys::{
    a_key_is_forgotten_in_time, a_key_of_a_dropped_stream_is_free, a_key_used_for_other_content_is_refused,
    a_keyed_write_is_stored_again_once_its_key_has_expired, a_keyed_write_is_stored_once,
    a_keyed_write_that_was_cut_off_is_completed, a_keyed_write_whose_events_were_removed_says_so,
    a_large_keyed_write_of_duplicates_reads_each_block_once, a_part_of_duplicates_is_not_stored_later,
    a_write_to_a_dropped_stream_leaves_no_memory, keys_of_a_dropped_stream_leave_memory,
};
pub use load::{
    a_full_index_has_room_again_after_failed_appends, a_large_write_that_is_sent_again_reads_each_block_once,
};
pub use reading::{
    a_place_in_time_is_found, histories_come_in_pages, pages_show_what_the_filter_shows,
    trimmed_histories_start_at_what_is_left,
};
pub use recovery::{
    a_dropped_stream_starts_anew, appends_of_others_are_noticed, nothing_changes_when_the_index_is_lost,
    versions_go_on_after_a_restart, what_breaks_a_rule_is_refused,
};
pub use regions::{
    a_place_in_time_is_found_among_events_of_other_regions,
    events_of_another_region_and_of_this_one_are_stored_together,
    log_2_versions_are_dense_whoever_accepted_the_events, reg_3_runs_of_several_regions_are_stored_together,
    reg_3_what_is_here_already_is_refused, what_breaks_a_rule_of_regions_is_refused,
    what_other_regions_send_rises_in_time_and_may_be_large,
};
pub use versions::{
    log_2_pipelined_writes_keep_their_order, log_2_versions_are_dense_in_the_order_of_offsets,
    log_3_an_expected_version_is_the_current_one, log_3_one_of_many_writers_wins_each_version,
};

use super::{Appended, EventStore, Options, Result, Write};
use crate::{Log, NewStream};
use std::sync::Arc;
use tw_env::Env;
use tw_state::{MemoryStore, Store};
use tw_types::{Data, Event, StreamDef, StreamName};

/// Makes a test of every promise. `$log` is an expression for a new, empty log: an `Arc<dyn Log>`; `regions` behind it also of those for a
/// log that holds events of other regions.
#[macro_export]
macro_rules! event_store_conformance {
    ($log:expr, regions) => {
        $crate::event_store_conformance!($log);
        $crate::event_store_conformance_tests!($log =>
            a_place_in_time_is_found_among_events_of_other_regions
            a_place_in_time_is_found_while_events_are_removed
            an_index_of_the_time_before_marks_begins_with_the_right_ones
            events_of_another_region_and_of_this_one_are_stored_together
            log_2_versions_are_dense_whoever_accepted_the_events
            own_events_are_counted_right_when_the_index_and_the_first_of_them_are_lost
            reg_3_marks_are_those_of_the_log_under_load_with_failing_appends
            reg_3_runs_of_several_regions_are_stored_together
            reg_3_what_did_not_arrive_is_not_taken_for_arrived_because_others_wrote_as_much
            reg_3_what_failed_on_its_way_comes_again_once
            reg_3_what_is_here_already_is_refused
            what_breaks_a_rule_of_regions_is_refused
            what_other_regions_send_rises_in_time_and_may_be_large
        );
    };
    ($log:expr) => {
        $crate::event_store_conformance_tests!($log =>
            a_dropped_stream_starts_anew
            a_flood_of_one_id_is_answered
            a_full_index_has_room_again_after_failed_appends
            a_key_is_forgotten_in_time
            a_key_of_a_dropped_stream_is_free
            a_key_used_for_other_content_is_refused
            a_keyed_write_is_stored_again_once_its_key_has_expired
            a_keyed_write_is_stored_once
            a_keyed_write_that_was_cut_off_is_completed
            a_keyed_write_whose_events_were_removed_says_so
            a_large_keyed_write_of_duplicates_reads_each_block_once
            a_large_write_that_is_sent_again_reads_each_block_once
            a_part_of_duplicates_is_not_stored_later
            a_place_in_time_is_found
            a_write_may_need_more_ids_than_there_is_memory_for
            a_write_to_a_dropped_stream_leaves_no_memory
            an_id_is_compared_with_the_latest_1024_versions
            appends_of_others_are_noticed
            duplicates_are_answered_with_the_first_event
            failed_appends_leave_no_trace
            histories_come_in_pages
            ids_are_compared_when_memory_for_them_is_short
            ids_with_the_same_hash_are_told_apart
            keys_of_a_dropped_stream_leave_memory
            log_2_log_3_hold_under_load_with_failing_appends
            log_2_pipelined_writes_keep_their_order
            log_2_versions_are_dense_in_the_order_of_offsets
            log_3_an_expected_version_is_the_current_one
            log_3_one_of_many_writers_wins_each_version
            nothing_changes_when_the_index_is_lost
            pages_show_what_the_filter_shows
            trimmed_histories_start_at_what_is_left
            versions_go_on_after_a_restart
            what_breaks_a_rule_is_refused
            what_depends_on_appends_in_flight_waits_for_them
            without_dedup_every_event_is_stored
        );
    };
}

/// Makes a test of each named promise.
#[doc(hidden)]
#[macro_export]
macro_rules! event_store_conformance_tests {
    ($log:expr => $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                $crate::store::conformance::$promise($log).await;
            }
        )*
    };
}

/// A log, a place for the index, and a store on both.
struct World {
    log: Arc<dyn Log>,
    state: Arc<dyn Store>,
    env: Env,
    options: Options,
    store: Option<EventStore>,
}

impl World {
    fn new(log: Arc<dyn Log>) -> Self {
        // The index is stored when a test says so, and often.
        let options = Options { index_flush_ms: 3_600_000, ..Options::default() };
        Self { log, state: Arc::new(MemoryStore::new()), env: Env::real(), options, store: None }
    }

    fn store(&mut self) -> EventStore {
        let Self { log, state, env, options, store } = self;
        let open = || EventStore::open(log.clone(), state.clone(), env.clone(), options.clone()).unwrap();
        store.get_or_insert_with(open).clone()
    }

    /// Closes the store, so that the next one starts from the stored index. No clone may be left.
    fn restart(&mut self) {
        self.store = None;
    }

    /// Closes the store and throws the index away.
    fn lose_index(&mut self) {
        self.restart();
        self.state = Arc::new(MemoryStore::new());
    }

    /// Does what makes a stage of a test; a stage of another name is how things are already.
    fn enter(&mut self, stage: &str) {
        match stage {
            "stored" | "all stored" | "stored again" => self.store().flush().unwrap(),
            "restarted" => self.restart(),
            "index lost" => self.lose_index(),
            _ => {}
        }
    }

    async fn stream(&self, name: &str, partitions: u32) -> Arc<StreamDef> {
        let new = NewStream::plain(StreamName::new(name).unwrap(), partitions);
        self.log.create_stream(new).await.unwrap()
    }
}

/// An event about `subject` ("" for none).
fn event(subject: &str, id: &str) -> Event {
    Event {
        id: id.into(),
        source: "/test".into(),
        ty: "test.happened".into(),
        subject: (!subject.is_empty()).then(|| subject.into()),
        data: Data::Json(format!(r#"{{"id":"{id}"}}"#).into_bytes()),
        ..Event::default()
    }
}

/// A write of events, each a subject and an id.
fn write(store: &EventStore, stream: &Arc<StreamDef>, events: &[(&str, &str)]) -> Write {
    let mut write = store.write();
    for (subject, id) in events {
        write.push(stream, &event(subject, id).as_ref()).unwrap();
    }
    write
}

async fn append(store: &EventStore, stream: &Arc<StreamDef>, events: &[(&str, &str)]) -> Result<Appended> {
    store.append(write(store, stream, events)).await
}

/// The versions of a write's events.
fn versions(appended: &Appended) -> Vec<u64> {
    appended.events.iter().map(|event| event.version.0).collect()
}
