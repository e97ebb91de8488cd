//! What a member of a group of Kafka has: any bytes are read or refused, and what is read is in the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_wire::kafka::assignment::read;

fuzz_target!(|input: &[u8]| {
    let Ok(topics) = read(input) else { return };
    // A topic takes six bytes and its name, a partition four; before them are the version and how many topics there are.
    let held: usize = topics.iter().map(|(name, partitions)| 6 + name.len() + 4 * partitions.len()).sum();
    assert!(input.is_empty() || 6 + held <= input.len());
});
