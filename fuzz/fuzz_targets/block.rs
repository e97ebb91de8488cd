//! A block: any bytes are read or refused, and what is read can be iterated, filtered, written again, and taken to another place.
//!
//! Magic, length and checksums are set right first, because no mutation would ever guess them; so no seeds are needed.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use std::ops::Range;
use tw_types::{Compression, StoredRef, Version};
use tw_wire::{Block, HEADER_BYTES};

fuzz_target!(|input: &[u8]| {
    let as_it_is = Bytes::copy_from_slice(input);
    if let Ok(block) = Block::read(&as_it_is) {
        check(&block);
    }
    if input.len() < HEADER_BYTES {
        return;
    }
    let mut bytes = input.to_vec();
    set(&mut bytes, 0, u32::from_le_bytes(*b"TWB1"));
    set(&mut bytes, 12, input.len() as u32);
    let body = crc32c::crc32c(&bytes[HEADER_BYTES..]);
    set(&mut bytes, 8, body);
    let header = crc32c::crc32c(&bytes[8..HEADER_BYTES]);
    set(&mut bytes, 4, header);
    let bytes = Bytes::from(bytes);
    if let Ok(block) = Block::read(&bytes) {
        assert_eq!(block.to_bytes(), bytes);
        check(&block);
    }
});

fn set(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn check(block: &Block) {
    let Ok(records) = block.records() else { return };
    let Ok(records) = records.iter().map(|records| records.collect::<Result<Vec<_>, _>>()) else { return };
    let Ok(records) = records else { return };
    assert_eq!(records.len(), block.header().count as usize);
    assert!(records.iter().all(|record| record.offset <= block.header().last_offset()));
    let last_delta = block.header().last_delta;
    for offsets in [0..u32::MAX, 0..last_delta, last_delta / 3..last_delta / 2 + 1, last_delta..1] {
        check_runs(block, &records, offsets);
    }
    // Every other record, written again, is read as it was.
    let keep = |offset: u64| offset.is_multiple_of(2);
    if let Ok(Some(rest)) = block.retain(Compression::Lz4, |record| keep(record.offset.0)) {
        let rest = Block::read(&rest.to_bytes()).expect("what was written is read");
        let rest_records = rest.records().expect("it can be decompressed");
        let again: Vec<_> = rest_records
            .iter()
            .expect("it can be iterated")
            .map(|record| record.expect("it is whole"))
            .collect();
        let kept: Vec<_> = records.into_iter().filter(|record| keep(record.offset.0)).collect();
        assert_eq!(again, kept);
    }
}

/// What another region takes of it is what it has, with the same origins and times.
fn check_runs(block: &Block, records: &[StoredRef<'_>], offsets: Range<u32>) {
    let base = block.header().base_offset.0;
    let mut taken = records.iter().filter(|record| offsets.contains(&((record.offset.0 - base) as u32)));
    for run in block.runs(offsets.clone(), Compression::Lz4).expect("what can be iterated can be taken") {
        let records = run.batch.records().expect("it can be decompressed");
        for (n, record) in (0..).zip(records.iter().expect("it can be iterated")) {
            let (record, stored) = (record.expect("it is whole"), taken.next().expect("it was there"));
            assert_eq!((&record.event, record.version), (&stored.event, Version::NONE));
            let sequence = run.origin.sequence.0 + n;
            assert_eq!((sequence, run.first_hlc.plus(n)), (stored.origin.sequence.0, stored.hlc));
        }
    }
    assert!(taken.next().is_none(), "an event is missing");
}
