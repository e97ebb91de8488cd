//! Tests that need processes of their own: one that is killed while it works, and some whose memory is measured.
//!
//! Without a harness, because the program starts itself; an argument chooses among the tests. `processes kill FOLDER ROUND`, `processes export FOLDER`,
//! `processes memory FOLDER`.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    reason = "these are tests, and share a folder with others"
)]

mod exporting;
mod killed;
#[path = "../suite/support/ledger.rs"]
mod ledger;
mod machine;
mod memory;
#[path = "../suite/support/world.rs"]
mod world;

use std::path::Path;
use std::process::{Child, Command, Stdio};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    match (argument(1), argument(2), argument(3)) {
        (Some("kill"), Some(folder), Some(round)) => killed::child(Path::new(folder), round.parse().unwrap()),
        (Some("export"), Some(folder), _) => exporting::child(Path::new(folder)),
        (Some("memory"), Some(folder), _) => memory::child(Path::new(folder)),
        (filter, ..) => {
            let tests: [(&str, fn()); 3] = [
                (
                    "pro_1_pro_2_killed_16_times_while_it_stores_snapshots_each_that_is_seen_is_right",
                    exporting::pro_1_pro_2_killed_16_times_while_it_stores_snapshots_each_that_is_seen_is_right,
                ),
                (
                    "pro_1_pro_2_pro_3_killed_25_times_under_load_every_event_counts_once",
                    killed::pro_1_pro_2_pro_3_killed_25_times_under_load_every_event_counts_once,
                ),
                (
                    "memory_is_bounded_however_many_subjects_are_blocked",
                    memory::memory_is_bounded_however_many_subjects_are_blocked,
                ),
            ];
            let is_wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter));
            tests.iter().filter(|(name, _)| is_wanted(name)).for_each(|(_, test)| test());
        }
    }
}

/// Starts this program again.
fn start(arguments: &[&str]) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap()
}
