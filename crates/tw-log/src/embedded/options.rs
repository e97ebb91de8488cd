//! What can be chosen about the embedded log.

use crate::Error;
use serde::{Deserialize, Serialize};
use tw_types::RegionId;

/// The options of the embedded log. All can be changed from one opening to the next, except `region`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The length of a segment file, in bytes: 64 KiB to 1 GiB, taken down to a multiple of 4 KiB. Segments
    /// that exist keep theirs.
    pub segment_bytes: u64,
    /// How many empty segments are kept ready: 1 to 64.
    pub spare_segments: u32,
    /// The largest append, in bytes: 4 KiB to half a segment.
    pub append_bytes_max: u64,
    /// How many bytes one commit (one sync) takes, unless a single append is larger: 4 KiB to a quarter of a segment.
    pub group_bytes_max: u64,
    /// Up to which size the small batches of one partition in one commit become one block, in bytes: 0 to 16 MiB.
    pub merge_bytes_max: u64,
    /// For how long a commit may be held back until as many appends have come as came before, in microseconds: 0 to
    /// 10,000. One lone appender never waits.
    pub gather_us_max: u64,
    /// How many bytes of appends may be under way: `append_bytes_max` to 4 GiB.
    pub in_flight_bytes_max: u64,
    /// How many bytes of the latest blocks of all partitions are kept in memory: 0 to 64 GiB.
    pub tail_bytes: u64,
    /// How many threads read older blocks from the disk: 1 to 64.
    pub reader_threads: u32,
    /// The most bytes that one read gives, and how far the disk reads ahead of it: 64 KiB to 64 MiB. (A single block
    /// may be larger.)
    pub read_bytes_max: u64,
    /// How many bytes of the indexes of older segments are kept in memory: 64 KiB to 4 GiB.
    pub index_cache_bytes: u64,
    /// How many files of older segments are kept open: 8 to 65,536.
    pub open_files_max: u32,
    /// How often retention and compaction look for work, in milliseconds: 10 to 3,600,000. They also look when a
    /// segment is full.
    pub clean_interval_ms: u64,
    /// A segment of which less than this share still lives is rewritten, in percent: 0 to 90; 0 is never.
    pub live_percent_min: u32,
    /// How much memory a compaction takes for the subjects that it has seen, in bytes: 64 KiB to 16 GiB.
    pub compact_bytes_max: u64,
    /// How long to wait before a failed preparation of a segment (no room, an error) is tried again, in milliseconds:
    /// 1 to 60,000.
    pub retry_ms: u64,
    /// The region whose log this is; a log belongs to one region for ever.
    pub region: RegionId,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * MIB,
            spare_segments: 2,
            append_bytes_max: 32 * MIB,
            group_bytes_max: MIB,
            merge_bytes_max: 64 * KIB,
            gather_us_max: 100,
            in_flight_bytes_max: 64 * MIB,
            tail_bytes: 64 * MIB,
            reader_threads: 2,
            read_bytes_max: 4 * MIB,
            index_cache_bytes: 32 * MIB,
            open_files_max: 256,
            clean_interval_ms: 10_000,
            live_percent_min: 30,
            compact_bytes_max: 128 * MIB,
            retry_ms: 500,
            region: RegionId(0),
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let half = self.segment_bytes / 2;
        let quarter = self.segment_bytes / 4;
        let checks = [
            ("segment_bytes", self.segment_bytes, 64 * KIB, GIB),
            ("spare_segments", self.spare_segments.into(), 1, 64),
            ("append_bytes_max", self.append_bytes_max, 4 * KIB, half),
            ("group_bytes_max", self.group_bytes_max, 4 * KIB, quarter),
            ("merge_bytes_max", self.merge_bytes_max, 0, 16 * MIB),
            ("gather_us_max", self.gather_us_max, 0, 10_000),
            ("in_flight_bytes_max", self.in_flight_bytes_max, self.append_bytes_max, 4 * GIB),
            ("tail_bytes", self.tail_bytes, 0, 64 * GIB),
            ("reader_threads", self.reader_threads.into(), 1, 64),
            ("read_bytes_max", self.read_bytes_max, 64 * KIB, 64 * MIB),
            ("index_cache_bytes", self.index_cache_bytes, 64 * KIB, 4 * GIB),
            ("open_files_max", self.open_files_max.into(), 8, 65_536),
            ("clean_interval_ms", self.clean_interval_ms, 10, 3_600_000),
            ("live_percent_min", self.live_percent_min.into(), 0, 90),
            ("compact_bytes_max", self.compact_bytes_max, 64 * KIB, 16 * GIB),
            ("retry_ms", self.retry_ms, 1, 60_000),
        ];
        for (option, value, min, max) in checks {
            if !(min..=max).contains(&value) {
                return Err(Error::InvalidOption { option, value, min, max });
            }
        }
        Ok(())
    }
}

impl Options {
    /// The length of a segment in whole pages.
    pub(crate) fn segment_len(&self) -> u64 {
        self.segment_bytes / super::layout::PAGE * super::layout::PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds_and_unknown_options_are_errors() {
        Options::default().check().unwrap();
        assert!(serde_json::from_str::<Options>(r#"{"segment_size":1}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"spare_segments":0}"#).unwrap();
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "option `spare_segments` of the log is 0, outside 1 to 64"
        );
    }
}
