//! Which partition an event goes to: as Apache Kafka's default partitioner decides for its key.

use tw_types::PartitionId;

/// MurmurHash2 with 32 bits and Kafka's seed (Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2`).
///
/// ```
/// assert_eq!(tw_order::murmur2(b"foobar"), -790332482i32 as u32);
/// ```
pub fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

/// The partition of `key` among `partitions`, of which there is at least one.
pub fn partition_of(key: &str, partitions: u32) -> PartitionId {
    PartitionId((murmur2(key.as_bytes()) & 0x7fff_ffff) % partitions.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own test, `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_gives_what_kafka_gives() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn partitions_are_within_range() {
        for partitions in [0, 1, 3, 1024] {
            for key in ["", "a", "21", "größe"] {
                assert!(partition_of(key, partitions).0 < partitions.max(1));
            }
        }
        // Kafka: toPositive(murmur2("foobar")) % 10.
        assert_eq!(partition_of("foobar", 10), PartitionId(((-790_332_482i32 & 0x7fff_ffff) % 10) as u32));
    }
}
