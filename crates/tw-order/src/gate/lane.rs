//! Lanes: what waits, and for what.

use tw_types::Offset;
use xxhash_rust::xxh3::xxh3_128;

/// Names a lane: the events that wait for one another.
///
/// Events of one subject share a lane. The key is a hash (XXH3, 128 bits), so that it has a fixed size however long a
/// subject is; should two subjects ever collide, they merely wait for one another, and order still holds. Keys are
/// stored, so their values must never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey(u128);

impl LaneKey {
    /// The lane that the whole partition waits for: that of an event which clears all.
    pub const WALL: Self = Self(u128::MAX);

    /// The lane of an event. One without a subject has a lane of its own: nothing waits for it.
    pub fn of(subject: Option<&str>, offset: Offset) -> Self {
        subject.map_or_else(|| Self(u128::from(offset.0)), |subject| Self(xxh3_128(subject.as_bytes())))
    }

    /// From its stored form.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Its stored form, which sorts as the keys do.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// The state of a blocked lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// The first event that waits: the one that could not be processed, or that is next to be tried.
    pub head: Offset,
    /// How often processing it was tried.
    pub attempts: u32,
    /// What happens next.
    pub phase: Phase,
    /// Whether it was told that `head` is parked, and not yet what became of it.
    pub told: bool,
}

/// What a lane waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The time of the next attempt.
    Retrying {
        /// Wall-clock milliseconds since 1970; 0 is at once.
        due_ms: u64,
    },
    /// A decision of a person.
    Parked,
}

/// How much is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Blocked lanes, parked ones included.
    pub lanes: u64,
    /// Lanes that wait for a decision.
    pub parked: u64,
    /// Events that wait, heads of lanes included.
    pub waiting: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_earlier_versions_stored() {
        let hex = |key: LaneKey| key.to_bytes().map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(LaneKey::of(Some("order-7"), Offset(1))), "559a54927d0be7dff7ad37c0ce664fea");
        assert_eq!(hex(LaneKey::of(None, Offset(258))), "00000000000000000000000000000102");
        let key = LaneKey::of(Some("größe"), Offset(0));
        assert_eq!(LaneKey::from_bytes(key.to_bytes()), key);
    }
}
