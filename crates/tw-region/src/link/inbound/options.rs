//! How much the receiving end holds, and how often it tries again.

use super::super::wire::FRAME_BYTES_MAX;
use serde::{Deserialize, Serialize};
use tw_merge::skew;

/// The options of the receiving end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How many bytes of blocks are held of one region, or are on their way: 64 KiB to 16 GiB. One block more may be held. Default 64 MiB.
    pub window_bytes_max: u64,
    /// How many bytes of blocks are appended at once, 64 KiB to 1 GiB; what belongs together is appended together even if it is more.
    /// Default 16 MiB.
    pub append_bytes_max: u64,
    /// How long to wait before what failed is tried again, in milliseconds: 10 to 600,000. Default 1,000.
    pub retry_ms: u64,
    /// How far clocks may differ.
    pub skew: skew::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window_bytes_max: 64 << 20,
            append_bytes_max: 16 << 20,
            retry_ms: 1_000,
            skew: skew::Options::default(),
        }
    }
}

/// An option outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// One of links.
    #[error("option `{option}` is {value}, outside {bounds}")]
    Link {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// What is allowed, with the unit.
        bounds: &'static str,
    },
    /// One of clocks.
    #[error(transparent)]
    Skew(#[from] skew::Error),
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first option that is outside its bounds.
    pub fn check(&self) -> Result<(), OptionsError> {
        const KIB_64: u64 = 64 << 10;
        let bounds: [(&'static str, u64, u64, u64, &'static str); 3] = [
            ("window_bytes_max", self.window_bytes_max, KIB_64, 16 << 30, "64 KiB to 16 GiB"),
            ("append_bytes_max", self.append_bytes_max, KIB_64, 1 << 30, "64 KiB to 1 GiB"),
            ("retry_ms", self.retry_ms, 10, 600_000, "10 to 600000 ms"),
        ];
        for (option, value, min, max, bounds) in bounds {
            if !(min..=max).contains(&value) {
                return Err(OptionsError::Link { option, value, bounds });
            }
        }
        Ok(self.skew.check()?)
    }

    /// The most bytes that are held of one region.
    pub const fn held_bytes_max(&self) -> u64 {
        self.window_bytes_max + FRAME_BYTES_MAX as u64
    }
}
