//! The bounds of waiting for a region, and what is refused.

use serde::{Deserialize, Serialize};
use tw_types::{Epoch, RegionId};

/// How long and how much the others keep for a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How long a region may say nothing before its eviction is proposed, in milliseconds: 1,000 to 2,592,000,000 (30 days).
    /// Default 86,400,000, a day: being cut off is what regions are made for.
    pub silent_ms_max: u64,
    /// How much may be kept only because one region has not seen it, in bytes: 1 MiB to 2^50. Default 256 GiB.
    pub retained_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { silent_ms_max: 86_400_000, retained_bytes_max: 256 << 30 }
    }
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option is outside its bounds.
    #[error("option `{option}` is {value}, outside {bounds}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// What is allowed, with the unit.
        bounds: &'static str,
    },
    /// It was evicted in this epoch or a later one.
    #[error(
        "region `{region}` was evicted in epoch {epoch}: seed it anew and let it join under a later epoch"
    )]
    Evicted {
        /// The region.
        region: RegionId,
        /// The epoch that it came with.
        epoch: Epoch,
    },
    /// It does not take part.
    #[error("region `{region}` is not a member: let it join first")]
    Unknown {
        /// The region.
        region: RegionId,
    },
    /// It takes part under another epoch.
    #[error(
        "region `{region}` came with epoch {epoch} and is a member with {known}: let it join under its new epoch first"
    )]
    OldEpoch {
        /// The region.
        region: RegionId,
        /// The epoch that it came with.
        epoch: Epoch,
        /// The epoch that it is a member with.
        known: Epoch,
    },
    /// What it has seen is less than what is stable.
    #[error(
        "region `{region}` has not seen all that others rely on: seed it anew from a snapshot made after it had joined"
    )]
    SeenLess {
        /// The region.
        region: RegionId,
    },
    /// More members than there may be.
    #[error("region `{region}` is one more than the {max} that may take part: evict or drain one first")]
    Regions {
        /// The region.
        region: RegionId,
        /// The bound.
        max: usize,
    },
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::Option`]: the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let (silent, bytes) = (self.silent_ms_max, self.retained_bytes_max);
        if !(1_000..=2_592_000_000).contains(&silent) {
            let bounds = "1000 to 2592000000 ms";
            return Err(Error::Option { option: "silent_ms_max", value: silent, bounds });
        }
        if !(1 << 20..=1 << 50).contains(&bytes) {
            let bounds = "1048576 to 1125899906842624 bytes";
            return Err(Error::Option { option: "retained_bytes_max", value: bytes, bounds });
        }
        Ok(())
    }
}
