//! What is in one simulated file: as programs see it, and as the disk holds it.

use super::SimRandom;
use std::collections::{BTreeMap, BTreeSet};

/// The unit that a disk writes whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;
/// How many unsynced versions of one sector are remembered, of which any may survive.
const VERSIONS_MAX: usize = 4;

type Sector = [u8; SECTOR];

/// The two faces of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// What reads see: the page cache.
    cached: Vec<u8>,
    /// What is on the disk for certain.
    durable: Vec<u8>,
    /// What was written to each sector since the last sync, oldest version first.
    dirty: BTreeMap<usize, Vec<Sector>>,
    /// The lengths that the file had since the last sync.
    lengths: Vec<usize>,
    /// The sectors that take room.
    allocated: BTreeSet<usize>,
}

/// How much of what is unsynced survives.
#[derive(Clone, Copy)]
enum Survival {
    Nothing,
    Everything,
    /// Each sector on its own, so many times of eight.
    Each(u64),
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.cached.len()
    }

    /// The bytes that it takes on the disk.
    pub(super) fn allocated_bytes(&self) -> u64 {
        (self.allocated.len() * SECTOR) as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: usize) -> usize {
        let rest = self.cached.get(position..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        n
    }

    /// Writes as many of `bytes` as there is room for; returns how many.
    pub(super) fn write(&mut self, bytes: &[u8], position: usize, room_bytes: u64) -> usize {
        let mut room = room_bytes / SECTOR as u64;
        let mut taken = 0;
        while taken < bytes.len() {
            let at = position + taken;
            let sector = at / SECTOR;
            if !self.allocated.contains(&sector) {
                if room == 0 {
                    break;
                }
                room -= 1;
                self.allocated.insert(sector);
            }
            let n = (SECTOR - at % SECTOR).min(bytes.len() - taken);
            if self.cached.len() < at + n {
                self.cached.resize(at + n, 0);
                self.lengths.push(at + n);
            }
            if let (Some(to), Some(from)) = (self.cached.get_mut(at..at + n), bytes.get(taken..taken + n)) {
                to.copy_from_slice(from);
            }
            self.remember(sector);
            taken += n;
        }
        taken
    }

    fn remember(&mut self, sector: usize) {
        let now = sector_of(&self.cached, sector);
        let versions = self.dirty.entry(sector).or_default();
        if versions.len() == VERSIONS_MAX {
            versions.remove(VERSIONS_MAX / 2);
        }
        versions.push(now);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.cached.resize(len, 0);
        self.lengths.push(len);
        self.allocated.retain(|sector| sector * SECTOR < len);
        self.dirty.retain(|sector, _| sector * SECTOR < len);
    }

    pub(super) fn sync(&mut self) {
        if !self.lengths.is_empty() {
            self.durable.resize(self.cached.len(), 0);
            self.lengths.clear();
        }
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if let Some(last) = versions.last() {
                put_sector(&mut self.durable, sector, last);
            }
        }
    }

    /// A sync that fails: some pages reach the disk, all count as clean, and of the others some are read anew from it.
    pub(super) fn fail_sync(&mut self, random: &SimRandom) {
        let forget = random.chance(1, 2);
        if random.chance(1, 2) {
            self.durable.resize(self.cached.len(), 0);
        }
        self.lengths.clear();
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if random.chance(1, 2) {
                let version = random.below(versions.len() as u64) as usize;
                if let Some(survivor) = versions.get(version) {
                    put_sector(&mut self.durable, sector, survivor);
                }
            }
            if forget && random.chance(1, 2) {
                let on_disk = sector_of(&self.durable, sector);
                put_sector(&mut self.cached, sector, &on_disk);
            }
        }
    }

    /// Reduces the file to what survives a power loss.
    pub(super) fn lose_power(&mut self, random: &SimRandom) {
        let survival = match random.below(6) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 => Survival::Each(7),
            3 => Survival::Each(1),
            _ => Survival::Each(4),
        };
        let survives = |random: &SimRandom| match survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Each(of_eight) => random.chance(of_eight, 8),
        };
        for len in std::mem::take(&mut self.lengths) {
            if survives(random) {
                self.durable.resize(len, 0);
            }
        }
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if survives(random) {
                // Mostly the last version, but an earlier one may have been written back and the later ones not.
                let back = random.below(8).saturating_sub(5) as usize;
                let version = versions.len().saturating_sub(1 + back);
                if let Some(survivor) = versions.get(version) {
                    put_sector(&mut self.durable, sector, survivor);
                }
            }
        }
        self.cached = self.durable.clone();
        let len = self.durable.len();
        self.allocated.retain(|sector| sector * SECTOR < len);
    }

    /// Changes a byte on the disk and in the cache.
    pub(super) fn rot(&mut self, position: usize, flip: u8) {
        for face in [&mut self.cached, &mut self.durable] {
            if let Some(byte) = face.get_mut(position) {
                *byte ^= flip;
            }
        }
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> Sector {
    let mut out = [0; SECTOR];
    let rest = bytes.get(sector * SECTOR..).unwrap_or_default();
    for (to, from) in out.iter_mut().zip(rest) {
        *to = *from;
    }
    out
}

/// Writes a sector as far as the file reaches.
fn put_sector(bytes: &mut [u8], sector: usize, content: &Sector) {
    let rest = bytes.get_mut(sector * SECTOR..).unwrap_or_default();
    for (to, from) in rest.iter_mut().zip(content) {
        *to = *from;
    }
}
