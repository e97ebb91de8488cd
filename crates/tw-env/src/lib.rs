//! The seams between Tradewind and the machine: [`Clock`], [`Random`] and [`Disk`].
//!
//! Shells reach the machine only through an [`Env`]; a simulation hands them another one. The real
//! implementations are in [`real`], the simulated disk in [`sim`]. Nothing here knows what is stored.

mod clock;
mod disk;
mod live;
mod random;
pub mod real;
pub mod sim;

pub use clock::Clock;
pub use disk::{Disk, File, OpenMode};
pub use live::Live;
pub use random::Random;

use std::sync::Arc;

/// Everything that a component needs of the machine.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Files.
    pub disk: Arc<dyn Disk>,
}

impl Env {
    /// The machine itself.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(real::SystemClock::new()),
            random: Arc::new(real::OsRandom),
            disk: Arc::new(real::OsDisk),
        }
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}
