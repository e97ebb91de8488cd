//! Clocks that are not to be believed, and clocks that go on after a restart.
//!
//! A hybrid timestamp from elsewhere moves this region's clock ([`HlcClock::observe`]). So one sender whose clock is hours
//! ahead would take all others along; [`Skew`] leaves what it sends where it is until local time has come near, and the others go on.
//! [`HlcBound`] is the other half: what was handed out before a crash is never handed out again, although it was not stored with
//! each event. Nothing here reads a clock; a local clock that jumps moves no timestamp backwards, it only makes
//! senders wait.
//!
//! Source: Kulkarni et al., *Logical Physical Clocks and Consistent Snapshots in Globally Distributed Databases*, 2014,
//! section 5 (bounding the drift by not accepting timestamps that are too far ahead).

mod bound;
#[cfg(test)]
mod tests;

pub use bound::{HlcBound, NotReserved};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_types::{Hlc, HlcClock, RegionId};

/// How far clocks may differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How far a timestamp may be ahead of local time, in milliseconds: 1 to 60,000. Default 500.
    pub skew_ms_max: u64,
    /// How far ahead timestamps are reserved, in milliseconds: 10 to 60,000. One small write each half of it; after a restart the
    /// clock is ahead by as much at most. Default 500.
    pub reserve_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { skew_ms_max: 500, reserve_ms: 500 }
    }
}

/// An option that is outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}` is {value}, outside {bounds}")]
pub struct Error {
    /// The option's name.
    pub option: &'static str,
    /// The refused value.
    pub value: u64,
    /// What is allowed, with the unit.
    pub bounds: &'static str,
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let (skew, reserve) = (self.skew_ms_max, self.reserve_ms);
        if !(1..=60_000).contains(&skew) {
            return Err(Error { option: "skew_ms_max", value: skew, bounds: "1 to 60000 ms" });
        }
        if !(10..=60_000).contains(&reserve) {
            return Err(Error { option: "reserve_ms", value: reserve, bounds: "10 to 60000 ms" });
        }
        Ok(())
    }
}

/// Whether something from elsewhere may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may; the clock has learned of it.
    Take,
    /// Its region is in quarantine: nothing of it is taken until then, by the local clock, in milliseconds.
    Wait {
        /// When to offer it again.
        retry_at_ms: u64,
    },
}

/// Why and since when nothing of a region is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// The timestamp that was too far ahead.
    pub hlc: Hlc,
    /// When it came, by the local clock, in milliseconds.
    pub since_ms: u64,
    /// When it is near enough, by the local clock, in milliseconds.
    pub retry_at_ms: u64,
}

/// Which regions' timestamps are not to be believed now.
#[derive(Debug, Clone)]
pub struct Skew {
    skew_ms_max: u64,
    quarantined: BTreeMap<RegionId, Quarantine>,
    count: u64,
}

impl Skew {
    /// Nobody is in quarantine yet.
    ///
    /// # Errors
    /// An option that is outside its bounds.
    pub fn new(options: &Options) -> Result<Self, Error> {
        options.check()?;
        Ok(Self { skew_ms_max: options.skew_ms_max, quarantined: BTreeMap::new(), count: 0 })
    }

    /// Judges a block or heartbeat of `region` whose last timestamp is `last`. If it may be taken, `clock` has observed it:
    /// whatever is accepted here from now on is later. A region that made one timestamp too far ahead waits as a whole, because its
    /// later events must not overtake that one.
    pub fn judge(&mut self, region: RegionId, last: Hlc, clock: &mut HlcClock, now_ms: u64) -> Verdict {
        if let Some(quarantine) = self.quarantined.get(&region) {
            if now_ms < quarantine.retry_at_ms {
                return Verdict::Wait { retry_at_ms: quarantine.retry_at_ms };
            }
            self.quarantined.remove(&region);
        }
        // The region's own bound decides, not the clock's: they may have been configured apart.
        let retry_at_ms = last.millis().saturating_sub(self.skew_ms_max);
        if now_ms >= retry_at_ms && clock.observe(last, now_ms).is_ok() {
            return Verdict::Take;
        }
        let retry_at_ms = retry_at_ms.max(now_ms.saturating_add(1));
        self.quarantined.insert(region, Quarantine { hlc: last, since_ms: now_ms, retry_at_ms });
        self.count = self.count.saturating_add(1);
        Verdict::Wait { retry_at_ms }
    }

    /// Who is in quarantine, in the order of the regions' numbers.
    pub fn quarantined(&self) -> impl Iterator<Item = (RegionId, &Quarantine)> {
        self.quarantined.iter().map(|(region, quarantine)| (*region, quarantine))
    }

    /// How often a region came into quarantine.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Ends a quarantine before its time, when an operator has put the region's clock right and taken back what it wrote: the next
    /// timestamp is judged anew.
    pub fn release(&mut self, region: RegionId) {
        self.quarantined.remove(&region);
    }

    /// Whether it is more likely the local clock that is behind: more than half of the `others` (regions with a link to this one)
    /// are in quarantine, and there are at least two of them.
    pub fn is_local_clock_suspect(&self, others: usize) -> bool {
        self.quarantined.len() >= 2 && 2 * self.quarantined.len() > others
    }
}
