//! The bounds of placement.

use crate::Error;
use crate::error::check;
use serde::{Deserialize, Serialize};

/// How even the load is kept, and how much is moved for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How far a node's load may be from its share before something moves, in thousandths of the share: 10 to 1,000. A node
    /// owns at most ⌈(1 + ε) · share⌉, and gets more when it owns less than ⌊(1 − ε) · share⌋. Default 100.
    pub epsilon_permille: u32,
    /// How close to its share a node is brought once it is out of bounds, in thousandths: 0 to `epsilon_permille`. The
    /// difference keeps small changes of load from moving something every time. Default 50.
    pub settle_permille: u32,
    /// Beyond this distance from its share, in thousandths, a node's units are moved although their cooldown is not over:
    /// `epsilon_permille` to 10,000. Default 250.
    pub urgent_permille: u32,
    /// How many units one plan may move: 0 to 100,000. Units whose owner is gone are moved anyway, and not counted.
    /// Default 128.
    pub moves_max: u32,
    /// How long a unit that was moved stays where it is, in milliseconds: 0 to 86,400,000. Default 60,000.
    pub cooldown_ms: u64,
    /// What a move must gain when the bound cannot be reached, in thousandths of the overloaded node's share: 1 to 1,000.
    /// Default 20.
    pub gain_permille_min: u32,
    /// How many nodes besides the owner keep a unit's state warm: 0 to 3. Default 1.
    pub standbys: u32,
    /// How many standbys one plan may exchange for better ones: 0 to 100,000. Missing ones are added anyway, and not
    /// counted. Default 128.
    pub standby_moves_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            epsilon_permille: 100,
            settle_permille: 50,
            urgent_permille: 250,
            moves_max: 128,
            cooldown_ms: 60_000,
            gain_permille_min: 20,
            standbys: 1,
            standby_moves_max: 128,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::Option`]: the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let epsilon = u64::from(self.epsilon_permille);
        check([
            ("epsilon_permille", epsilon, 10..=1_000, "10 to 1000 thousandths"),
            ("settle_permille", self.settle_permille.into(), 0..=epsilon, "0 to epsilon_permille"),
            (
                "urgent_permille",
                self.urgent_permille.into(),
                epsilon..=10_000,
                "epsilon_permille to 10000 thousandths",
            ),
            ("moves_max", self.moves_max.into(), 0..=100_000, "0 to 100000"),
            ("cooldown_ms", self.cooldown_ms, 0..=86_400_000, "0 to 86400000 ms"),
            ("gain_permille_min", self.gain_permille_min.into(), 1..=1_000, "1 to 1000 thousandths"),
            ("standbys", self.standbys.into(), 0..=3, "0 to 3"),
            ("standby_moves_max", self.standby_moves_max.into(), 0..=100_000, "0 to 100000"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_bounds_are_refused_with_the_bound() {
        Options::default().check().unwrap();
        let wrong = Options { settle_permille: 101, ..Options::default() };
        assert_eq!(
            wrong.check().unwrap_err().to_string(),
            "option `settle_permille` is 101, outside 0 to epsilon_permille"
        );
        assert!(serde_json::from_str::<Options>(r#"{"epsilon":1}"#).is_err());
    }
}
