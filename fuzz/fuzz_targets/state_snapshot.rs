//! State snapshots: whatever a depot gives is read or refused; with a right checksum, too.
//!
//! The first byte says what it is: a manifest or a chunk as it is, or the body of one, which gets its head.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_process::snapshot::format::{Manifest, read_chunk};

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let sealed = |magic: &[u8]| {
        let mut bytes = magic.to_vec();
        bytes.push(1);
        bytes.extend_from_slice(&crc32c::crc32c(rest).to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    };
    let chunk = if kind & 1 == 0 { rest.to_vec() } else { sealed(b"TWSC") };
    if let Ok(entries) = read_chunk(&chunk) {
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0), "the keys are not in ascending order");
    }
    let manifest = if kind & 1 == 0 { rest.to_vec() } else { sealed(b"TWSM") };
    if let Ok(manifest) = Manifest::decode(&manifest) {
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest), "it does not read back");
    }
});
