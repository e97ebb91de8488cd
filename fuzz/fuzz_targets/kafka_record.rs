//! A record of Kafka: any headers are read or refused, and what is read can be written and read again.
//!
//! The input is lines: the value, then one header a line, its name before `=`. The platform's own headers come first by
//! themselves, because few mutations would get past them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_types::{PartitionId, StoredRef};
use tw_wire::kafka::{Place, Record, read, write_headers};

const PARTITION: PartitionId = PartitionId(0);

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let value = lines.next().unwrap_or_default();
    let given: Vec<(&str, &[u8])> = lines
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b'=')?;
            Some((std::str::from_utf8(&line[..at]).ok()?, &line[at + 1..]))
        })
        .collect();
    check(&given, value);
    let own: [(&str, &[u8]); 3] = [("ce_twposition", b"0:7"), ("ce_twhlc", b"8.9"), ("ce_tworigin", b"1.2.3")];
    check(&[own.as_slice(), &given].concat(), value);
});

fn check(headers: &[(&str, &[u8])], value: &[u8]) {
    let Ok(Record::Event(place, event)) = read(PARTITION, headers.iter().copied(), Some(value)) else { return };
    let Place { offset, hlc, origin, version } = place;
    let stored = StoredRef { event, offset, hlc, origin, version: version.unwrap_or_default() };
    let mut written: Vec<(String, Vec<u8>)> = Vec::new();
    write_headers(PARTITION, &stored, version.is_some(), &mut |name, value| {
        written.push((name.to_owned(), value.to_vec()));
    });
    let written = written.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    assert_eq!(read(PARTITION, written, Some(value)), Ok(Record::Event(place, stored.event.clone())));
}
