//! How a region comes back from an old copy of itself.

use super::region::Region;
use super::{Broken, World, partition};
use crate::Seen;
use crate::received::Received;
use crate::skew::{HlcBound, Options as SkewOptions};
use crate::stability::{Options as StabilityOptions, Stability};
use std::collections::BTreeMap;
use tw_types::{Epoch, Hlc, RegionId, Sequence};

/// What a backup has; logs only grow, so of them it is enough to know how long they were.
#[derive(Debug, Clone)]
pub(super) struct Backup {
    lengths: Vec<usize>,
    received: Vec<Received>,
    stable: Seen,
}

/// Epochs of a region in a partition, each with its end.
type Epochs = Vec<(Epoch, Sequence)>;

/// A region that was restored and does not accept anything yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Restoring {
    began_ms: u64,
    /// Once it has asked all others: per partition where its earlier epochs ended, and the highest timestamp among them.
    found: Option<(Vec<Epochs>, Hlc)>,
}

impl Region {
    pub(super) fn back_up(&mut self) {
        if !self.is_restoring() {
            let lengths = self.log.iter().map(Vec::len).collect();
            let stable = self.stability.stable().clone();
            self.backup = Some(Backup { lengths, received: self.received.clone(), stable });
        }
    }

    fn restore(&mut self, backup: &Backup, now_ms: u64) {
        self.epoch = Epoch(self.epoch.0 + 1);
        for (log, length) in self.log.iter_mut().zip(&backup.lengths) {
            log.truncate(*length);
        }
        self.received.clone_from(&backup.received);
        self.restoring = Some(Restoring { began_ms: now_ms, found: None });
        self.unlearn();
        for (part, log) in self.log.clone().iter().enumerate() {
            log.iter().for_each(|event| self.learn(part as u32, event));
        }
        self.begin_stability(&backup.stable);
        self.begin_delivery(true);
        // It was of a copy that is no more; so is every older one that had other regions' epochs.
        self.backup = None;
    }

    fn begin_stability(&mut self, stable: &Seen) {
        self.stability = Stability::new(self.id, self.epoch, StabilityOptions::default(), 0).unwrap();
        self.stability.restore(stable);
        for (region, epoch) in self.members.iter().filter(|(region, _)| **region != self.id) {
            self.stability.join(*region, *epoch, 0).unwrap();
        }
    }
}

impl World {
    /// A region falls back to its backup, unless another one is being restored.
    pub(super) fn restore(&mut self, id: RegionId) {
        if self.regions.values().any(Region::is_restoring) {
            return;
        }
        let one = self.regions.get_mut(&id).unwrap();
        let Some(backup) = one.backup.clone() else { return };
        one.restore(&backup, self.now_ms);
        self.restart_links(id, true);
        *self.met.entry("restore").or_default() += 1;
    }

    /// A restored region asks all others what they have of it, fetches that back, sees again what they rely on, and goes on.
    pub(super) fn go_on_restoring(&mut self, id: RegionId) -> Result<(), Broken> {
        let Some(restoring) = self.regions[&id].restoring.clone() else { return Ok(()) };
        let Some((ends, heard)) = restoring.found else {
            let is_cut = |((from, to), link): (&(RegionId, RegionId), &super::Link)| {
                (*from == id || *to == id) && !link.is_up
            };
            if !self.links.iter().any(is_cut) {
                self.ask_others(id)?;
            }
            return Ok(());
        };
        let relied_on: Vec<Seen> = self.regions.values().map(|one| one.stability.stable().clone()).collect();
        let one = self.regions.get_mut(&id).unwrap();
        let mut is_complete = true;
        for (part, ends) in ends.iter().enumerate() {
            let missing = one.received[part].announce(id, ends).map_err(|error| error.to_string())?;
            is_complete &= missing.is_none();
            if missing.is_some() && !one.holds((id, part as u32)) {
                continue;
            }
            one.delivery
                .heartbeat(id, partition(part as u32), ends, heard)
                .map_err(|error| error.to_string())?;
        }
        let seen = one.delivery.seen();
        let mut clock = HlcBound::restored(one.local_ms(restoring.began_ms), heard, &SkewOptions::default());
        let is_open = clock.opens_at_ms() <= one.local_ms(self.now_ms);
        if is_complete && is_open && relied_on.iter().all(|stable| seen.covers(stable)) {
            one.bounds.fill(clock.clock().last());
            one.clocks.fill(clock);
            (0..self.rules.partitions).for_each(|part| one.delivery.remove(id, partition(part)));
            one.delivery.local(one.last_written());
            one.restoring = None;
            *self.met.entry("restored").or_default() += 1;
        }
        Ok(())
    }

    fn ask_others(&mut self, id: RegionId) -> Result<(), Broken> {
        let new_epoch = self.regions[&id].epoch;
        let mut members = BTreeMap::new();
        for one in self.regions.values_mut() {
            members.insert(one.id, one.epoch);
            if one.id != id {
                one.members.insert(id, new_epoch);
                one.drop_held_of(id);
                one.stability.join(id, new_epoch, 0).map_err(|error| error.to_string())?;
            }
        }
        let ends = (0..self.rules.partitions as usize).map(|part| {
            let mut ends: BTreeMap<Epoch, Sequence> =
                (1..new_epoch.0).map(|epoch| (Epoch(epoch), Sequence(0))).collect();
            for (epoch, end) in self.regions.values().flat_map(|one| one.received[part].epochs(id)) {
                let known = ends.entry(epoch).or_default();
                *known = end.max(*known);
            }
            ends.into_iter().chain([(new_epoch, Sequence(0))]).collect()
        });
        let ends: Vec<Epochs> = ends.collect();
        // The last event that anybody has, or the latest promise that there is nothing more.
        let heard = self.regions.values().flat_map(|one| {
            let promised =
                (0..self.rules.partitions).filter_map(|part| one.delivery.known(id, partition(part)));
            let last = one.received.iter().map(|received| received.last_hlc(id));
            last.chain(promised).chain([one.stability.stable().of(id)])
        });
        let heard = heard.max();
        let one = self.regions.get_mut(&id).unwrap();
        one.members = members;
        one.begin_stability(&one.stability.stable().clone());
        one.restoring.as_mut().unwrap().found = Some((ends, heard.unwrap_or_default()));
        Ok(())
    }
}
