//! A simulated machine: a disk that loses, tears and refuses, a clock that is set by hand, seeded randomness.
//!
//! One seed gives one run: what fails, which sectors survive a power loss, how short a short read is. A test that
//! prints its seed can be replayed.
//!
//! ```
//! use std::io::IoSlice;
//! use std::path::Path;
//! use tw_env::{OpenMode, sim::Sim};
//! let sim = Sim::new(7);
//! let disk = sim.env().disk;
//! let file = disk.open(Path::new("/data/a"), OpenMode::CreateNew)?;
//! file.write_all_at(&mut [IoSlice::new(b"kept")], 0)?;
//! file.sync()?;
//! disk.sync_dir(Path::new("/data"))?;
//! file.write_all_at(&mut [IoSlice::new(b"lost, or not")], 512)?;
//! sim.disk.power_loss();
//! let mut start = [0; 4];
//! disk.open(Path::new("/data/a"), OpenMode::Read)?.read_exact_at(&mut start, 0)?;
//! assert_eq!(&start, b"kept");
//! # Ok::<(), std::io::Error>(())
//! ```

mod clock;
mod content;
mod disk;
mod fault;
mod names;

pub use clock::{SimClock, SimRandom};
pub use disk::SimDisk;
pub use fault::{Fault, Operation, Rates};

use crate::Env;
use std::sync::Arc;

/// A simulated machine.
#[derive(Debug, Clone)]
pub struct Sim {
    /// Its disk.
    pub disk: Arc<SimDisk>,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// Its randomness.
    pub random: Arc<SimRandom>,
}

impl Sim {
    /// A machine with an empty disk, whose every choice follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            disk: Arc::new(SimDisk::new(seed)),
            clock: Arc::default(),
            random: Arc::new(SimRandom::new(seed ^ 0x5eed)),
        }
    }

    /// A copy of this machine as it is now, which goes its own way from here on. It has neither faults nor observers.
    pub fn fork(&self, seed: u64) -> Self {
        Self {
            disk: Arc::new(self.disk.fork(seed)),
            clock: Arc::new(self.clock.fork()),
            random: Arc::new(SimRandom::new(seed ^ 0x5eed)),
        }
    }

    /// The seams that lead to it.
    pub fn env(&self) -> Env {
        Env { clock: self.clock.clone(), random: self.random.clone(), disk: self.disk.clone() }
    }
}

#[cfg(test)]
mod tests;
