//! Bounded memory: more blocked subjects, and more changes, than may be kept.

use crate::machine::{Machine, options};
use crate::start;
use crate::world::{self, Sample};
use std::path::Path;
use tw_order::gate;
use tw_process::Options;
use tw_types::{Offset, PartitionId};

/// Subjects, the first event of each of which cannot be processed.
const SUBJECTS: u64 = 40_000;

/// Blocks all subjects, and says how much memory the process had at most, in KiB.
pub fn child(folder: &Path) {
    let retry = gate::Options { attempts_max: 1, lanes_max: 500, retrying_max: 500, ..options().retry };
    let options =
        Options { retry, pending_bytes_max: 1 << 20, read_bytes_max: 1 << 16, turn_ms_max: 50, ..options() };
    let machine = Machine::open(folder, 1, options);
    for first in (0..2 * SUBJECTS).step_by(1_000) {
        let samples: Vec<_> =
            (first..first + 1_000).map(|n| Sample::of(&format!("subject {}", n % SUBJECTS))).collect();
        world::append(machine.log.as_ref(), &machine.stream, 0, &samples);
    }
    let sick = (0..SUBJECTS).map(|offset| (PartitionId(0), Offset(offset)));
    machine.health.sick.lock().extend(sick);
    machine.add();
    machine.catch_up();
    let status = machine.handle.status_of("v").unwrap();
    assert_eq!((status.partitions[0].parked, status.partitions[0].waiting), (SUBJECTS, 2 * SUBJECTS));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("{}", peak.trim().trim_end_matches(" kB"));
}

pub fn memory_is_bounded_however_many_subjects_are_blocked() {
    let folder = tempfile::tempdir().unwrap();
    let child = start(&["memory", folder.path().to_str().unwrap()]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let peak_kib: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    println!("test memory_is_bounded_however_many_subjects_are_blocked ... ok ({peak_kib} KiB)");
    assert!(peak_kib < 80 << 10, "{peak_kib} KiB");
}
