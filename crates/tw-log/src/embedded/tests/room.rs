//! Full disks, failing disks, and limits.

use super::model::Number;
use super::rig::{FOLDER, Rig, small};
use crate::{Error, NewStream};
use std::io;
use std::path::Path;
use tw_env::Disk;
use tw_env::sim::{Fault, Sim};
use tw_types::{Column, Compression, Offset, PartitionId, Schema, StreamDef, StreamName, StreamPartition};

fn first(def: &StreamDef) -> StreamPartition {
    StreamPartition::new(def.id, PartitionId(0))
}

fn put(rig: &mut Rig, at: StreamPartition, number: u64) -> crate::Result<Offset> {
    let ack = rig.append(vec![(at, Number::batch(&[Number(number)], Compression::None), None)]);
    rig.commit();
    ack.wait().map(|placed| placed[0].base_offset)
}

/// Appends until there is no room; returns how many events there are.
fn fill(rig: &mut Rig, at: StreamPartition) -> u64 {
    for number in 0.. {
        rig.prepare();
        match put(rig, at, number) {
            Ok(offset) => assert_eq!(offset, Offset(number)),
            Err(Error::DiskFull { folder }) => {
                assert_eq!(folder, Path::new(FOLDER));
                return number;
            }
            Err(other) => panic!("{other}"),
        }
    }
    0
}

#[test]
fn a_full_disk_refuses_appends_serves_reads_and_goes_on_once_there_is_room() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let def = rig.create_plain("full", 1);
    sim.disk.set_capacity(5 * (64 << 10));
    let count = fill(&mut rig, first(&def));
    assert!(count > 100);
    assert_eq!(rig.read_all(first(&def)).unwrap().len() as u64, count);
    for _ in 0..10 {
        rig.prepare();
        assert!(matches!(put(&mut rig, first(&def), 1), Err(Error::DiskFull { .. })));
        assert!(matches!(rig.shared.refusal(), Some(Error::DiskFull { .. })));
    }
    sim.disk.set_capacity(8 * (64 << 10));
    rig.prepare();
    // Nobody has to try first: a node that takes no requests while it is full must hear of it.
    assert!(rig.shared.refusal().is_none());
    assert_eq!(put(&mut rig, first(&def), 7).unwrap(), Offset(count));
}

#[test]
fn a_trim_is_let_through_on_a_full_disk_and_makes_room() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let def = rig.create_plain("full", 1);
    sim.disk.set_capacity(5 * (64 << 10));
    let count = fill(&mut rig, first(&def));
    let outcome = rig.trim(first(&def), Offset(count / 2));
    rig.commit();
    outcome.wait().unwrap();
    rig.tidy();
    rig.prepare();
    assert_eq!(put(&mut rig, first(&def), 7).unwrap(), Offset(count));
    drop(rig);
    sim.disk.power_loss();
    let rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(rig.shared.partition(first(&def)).unwrap().bounds().start, Offset(count / 2));
}

#[test]
fn a_full_disk_can_be_reopened_again_and_again() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let def = rig.create_plain("full", 1);
    sim.disk.set_capacity(4 * (64 << 10));
    let count = fill(&mut rig, first(&def));
    for _ in 0..40 {
        drop(rig);
        sim.disk.power_loss();
        rig = Rig::open(&sim, &small()).unwrap();
        assert_eq!(rig.shared.partition(first(&def)).unwrap().bounds().end, Offset(count));
    }
}

#[test]
fn a_new_log_on_a_full_disk_is_refused_and_leaves_nothing_behind() {
    let sim = Sim::new(1);
    sim.disk.set_capacity(10_000);
    assert!(matches!(Rig::open(&sim, &small()), Err(Error::DiskFull { .. })));
    assert_eq!(sim.disk.used_bytes(), 0);
    sim.disk.set_capacity(u64::MAX);
    Rig::open(&sim, &small()).unwrap();
}

/// LOG-1: after a failed sync nobody is told that anything is stored, reads go on, and a restart finds all that was
/// acknowledged.
#[test]
fn log_1_after_a_failed_sync_nothing_more_is_accepted() {
    let sim = Sim::new(3);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let def = rig.create_plain("stops", 1);
    put(&mut rig, first(&def), 1).unwrap();
    sim.disk.fault_at(sim.disk.operations() + 1, Fault::Fail(io::ErrorKind::Other));
    assert!(matches!(put(&mut rig, first(&def), 2), Err(Error::Unknown(_))));
    assert!(matches!(put(&mut rig, first(&def), 3), Err(Error::Stopped(_))));
    let trim = rig.trim(first(&def), Offset(1));
    rig.commit();
    assert!(matches!(trim.wait(), Err(Error::Stopped(_))));
    assert!(matches!(rig.shared.permits.try_reserve(10), Err(Error::Stopped(_))));
    assert_eq!(rig.read_all(first(&def)).unwrap().len(), 1);
    sim.disk.power_loss();
    let rig = Rig::open(&sim, &small()).unwrap();
    assert!(!rig.read_all(first(&def)).unwrap().is_empty());
}

#[test]
fn a_failed_write_stops_the_log() {
    let sim = Sim::new(3);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let def = rig.create_plain("stops", 1);
    sim.disk.fault_at(sim.disk.operations(), Fault::Fail(io::ErrorKind::Other));
    assert!(matches!(put(&mut rig, first(&def), 2), Err(Error::Unknown(_))));
    assert!(matches!(put(&mut rig, first(&def), 3), Err(Error::Stopped(_))));
}

#[test]
fn a_segment_that_cannot_be_prepared_is_prepared_later() {
    let sim = Sim::new(3);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let def = rig.create_plain("spares", 1);
    for skip in 0..8 {
        // Whichever step of making a spare fails: the next try succeeds, and nothing is left of the first.
        while rig.shared.spares.take().is_ok() {}
        let files = sim.disk.list(Path::new(FOLDER)).unwrap().len();
        sim.disk.fault_at(sim.disk.operations() + skip, Fault::Fail(io::ErrorKind::Other));
        if !rig.shared.spares.make(&rig.shared.maker()) {
            assert_eq!(sim.disk.list(Path::new(FOLDER)).unwrap().len(), files, "after step {skip}");
        }
        sim.disk.clear_faults();
        rig.prepare();
    }
    for number in 0..400 {
        rig.prepare();
        put(&mut rig, first(&def), number).unwrap();
    }
    assert_eq!(rig.read_all(first(&def)).unwrap().len(), 400);
}

#[test]
fn bytes_under_way_are_bounded() {
    let sim = Sim::new(1);
    let options = super::super::Options { in_flight_bytes_max: 32 << 10, ..small() };
    let mut rig = Rig::open(&sim, &options).unwrap();
    let def = rig.create_plain("bounded", 1);
    let too_large = rig.shared.permits.try_reserve(40 << 10);
    assert!(matches!(too_large, Err(Error::TooLarge { bytes: 40_960, bytes_max: 32_768 })));
    let batch = || Number::batch(&[Number(13)], Compression::None);
    let mut acks = Vec::new();
    let busy = loop {
        match rig.shared.permits.try_reserve(batch().bytes()) {
            Ok(permit) => {
                let part =
                    crate::Append { at: first(&def), batch: batch(), expected_end: None, foreign: None };
                acks.push(rig.shared.append(permit, vec![part]));
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(busy, Error::Busy));
    assert_eq!(acks.len(), (32 << 10) / batch().bytes());
    rig.commit();
    for ack in acks {
        ack.wait().unwrap();
    }
    rig.shared.permits.try_reserve(batch().bytes()).unwrap();
}

/// A definition is an event like others: one that no segment could hold is refused, and does no harm.
#[test]
fn a_definition_over_the_limit_of_an_append_is_refused() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let wide = |name: &str, columns: usize| {
        let column = |n| Column {
            name: format!("a_column_with_a_long_name_{n}"),
            ty: tw_types::ColumnType::Text,
            nullable: true,
            class: tw_types::DataClass::default(),
            merge: None,
        };
        let schema = Schema { columns: (0..columns).map(column).collect(), ..Schema::default() };
        NewStream { schema: Some(schema), ..NewStream::plain(StreamName::new(name).unwrap(), 1) }
    };
    rig.prepare();
    let refused = rig.create(wide("wide", 2_000)).unwrap_err();
    assert!(matches!(&refused, Error::InvalidStream { name, .. } if name.as_str() == "wide"), "{refused}");
    assert!(refused.to_string().contains("over the limit of 32768 bytes"), "{refused}");
    // Many that are large, waiting together, do not make one frame of all.
    let outcomes: Vec<_> =
        (0..8).map(|n| rig.define(crate::Definition::Create(wide(&format!("some-{n}"), 200)))).collect();
    for outcome in outcomes {
        rig.prepare();
        assert!(rig.writer.commit_next());
        outcome.wait().unwrap();
    }
    drop(rig);
    sim.disk.power_loss();
    let rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(rig.shared.streams.read().iter().count(), 9);
}

#[test]
fn a_folder_is_open_once() {
    let sim = Sim::new(1);
    let rig = Rig::open(&sim, &small()).unwrap();
    assert!(matches!(Rig::open(&sim, &small()), Err(Error::Locked(folder)) if folder == Path::new(FOLDER)));
    drop(rig);
    Rig::open(&sim, &small()).unwrap();
}

#[test]
fn a_log_of_another_region_is_not_opened() {
    let sim = Sim::new(1);
    drop(Rig::open(&sim, &small()).unwrap());
    let other = super::super::Options { region: tw_types::RegionId(4), ..small() };
    assert!(matches!(Rig::open(&sim, &other), Err(Error::OtherRegion { .. })));
    Rig::open(&sim, &small()).unwrap();
}
