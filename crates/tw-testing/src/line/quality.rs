//! How good a line is.

use std::time::Duration;

/// How good a line is, one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quality {
    /// How long each byte is under way at least.
    pub delay: Duration,
    /// Up to so much longer, evenly distributed, drawn for each chunk. Bytes do not overtake each other.
    pub jitter: Duration,
    /// How many bytes fit through in a second, of all connections together; 0: any number.
    pub bytes_per_second: u64,
}

impl Quality {
    /// A line whose ends are `round_trip` apart, half of it each way, without jitter and of any width.
    pub fn of_round_trip(round_trip: Duration) -> Self {
        Self { delay: round_trip / 2, ..Self::default() }
    }
}
