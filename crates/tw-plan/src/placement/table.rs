//! The working table of one plan: nodes and units by number, their loads and bounds, and what has moved so far.

use super::{
    Assignment, BACKGROUND_PERMILLE_MAX, Load, Move, NODES_MAX, Node, Options, Place, Plan, Planned, Reason,
    UNITS_MAX,
};
use crate::Error;
use crate::hash::{dislike, hash_of, mix};
use std::collections::BTreeMap;
use tw_types::NodeId;

/// How full a node may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cap {
    /// Its share, rounded down.
    Share,
    /// Its share, rounded up.
    Even,
    /// What it is brought to when it was out of bounds.
    Settled,
    /// Its bound.
    Bound,
}

/// A live node.
#[derive(Debug)]
pub(super) struct Host<'a> {
    pub(super) node: &'a Node,
    pub(super) hash: u64,
    /// What is left of its capacity beside its background load; 0 if it may own nothing.
    pub(super) capacity: u64,
    /// Whether it has told its load: otherwise nothing is moved for balance.
    pub(super) reports: bool,
    pub(super) units: Vec<usize>,
    pub(super) load: u64,
    pub(super) standby_load: u64,
    /// Its share of the whole load, as a number to compare by.
    pub(super) share: f64,
    /// Limits of its load: the share rounded down and up, and the bounds around it.
    pub(super) share_min: u64,
    pub(super) share_max: u64,
    pub(super) settled_min: u64,
    pub(super) settled_max: u64,
    pub(super) bound_min: u64,
    pub(super) bound_max: u64,
    pub(super) urgent_min: u64,
    pub(super) urgent_max: u64,
}

impl<'a> Host<'a> {
    /// Without units and bounds yet.
    fn new(node: &'a Node, open: bool) -> Self {
        let background = node.background_permille.unwrap_or(0).min(BACKGROUND_PERMILLE_MAX);
        // In thousandths of what was told, so that nothing is lost to rounding.
        let free = u64::from(node.capacity) * u64::from(1_000 - background);
        Self {
            node,
            hash: hash_of(node.id.as_str()),
            capacity: if open { free } else { 0 },
            reports: node.background_permille.is_some(),
            units: Vec::new(),
            load: 0,
            standby_load: 0,
            share: 0.0,
            share_min: 0,
            share_max: 0,
            settled_min: 0,
            settled_max: 0,
            bound_min: 0,
            bound_max: 0,
            urgent_min: 0,
            urgent_max: 0,
        }
    }

    /// Whether it may own units.
    pub(super) fn is_open(&self) -> bool {
        self.capacity > 0
    }

    /// Whether units are moved to and from it for balance.
    pub(super) fn is_balanced(&self) -> bool {
        self.is_open() && self.reports
    }

    pub(super) fn max(&self, cap: Cap) -> u64 {
        match cap {
            Cap::Share => self.share_min,
            Cap::Even => self.share_max,
            Cap::Settled => self.settled_max,
            Cap::Bound => self.bound_max,
        }
    }

    pub(super) fn fits(&self, weight: u64, cap: Cap) -> bool {
        self.load + weight <= self.max(cap)
    }

    /// Its load in shares, if it were `load`.
    pub(super) fn fullness_of(&self, load: u64) -> f64 {
        load as f64 / self.share.max(f64::MIN_POSITIVE)
    }

    pub(super) fn fullness(&self) -> f64 {
        self.fullness_of(self.load)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_balanced() && self.load > self.bound_max
    }

    pub(super) fn is_under(&self) -> bool {
        self.is_balanced() && self.load < self.bound_min
    }
}

/// A unit.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) load: &'a Load,
    pub(super) hash: u64,
    pub(super) weight: u64,
    pub(super) before: Option<&'a Assignment>,
    pub(super) owner: Option<usize>,
    /// Its owner in the current plan, if alive.
    pub(super) from: Option<usize>,
    /// Its standbys, those of the current plan at first, as far as they may be ones.
    pub(super) standbys: Vec<usize>,
    pub(super) moved: Option<(Reason, bool)>,
}

impl<'a> Item<'a> {
    /// Without an owner yet; `mean` is its weight if it was not measured.
    fn new(load: &'a Load, mean: u64) -> Self {
        Self {
            load,
            // Away from the hash of a node with the same name.
            hash: mix(hash_of(load.unit.as_str()), 1),
            weight: load.weight.map_or(mean, |weight| u64::from(weight.max(1))),
            before: None,
            owner: None,
            from: None,
            standbys: Vec::new(),
            moved: None,
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) options: &'a Options,
    pub(super) now_ms: u64,
    pub(super) hosts: Vec<Host<'a>>,
    pub(super) items: Vec<Item<'a>>,
    /// How many moves are left.
    pub(super) budget: u32,
    pub(super) postponed: bool,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        nodes: &'a [Node],
        loads: &'a [Load],
        current: &'a Plan,
        options: &'a Options,
        now_ms: u64,
    ) -> Result<Self, Error> {
        for (what, count, max) in [("nodes", nodes.len(), NODES_MAX), ("units", loads.len(), UNITS_MAX)] {
            if count > max {
                return Err(Error::TooMany { what, count, max });
            }
        }
        let mut table = Self {
            options,
            now_ms,
            hosts: hosts(nodes)?,
            items: items(loads)?,
            budget: options.moves_max,
            postponed: false,
        };
        table.set_bounds();
        table.take_over(current);
        Ok(table)
    }

    fn set_bounds(&mut self) {
        let options = self.options;
        let total: u128 = self.items.iter().map(|item| u128::from(item.weight)).sum();
        let capacity: u128 = self.hosts.iter().map(|host| u128::from(host.capacity)).sum();
        let capacity = capacity.max(1);
        for host in &mut self.hosts {
            let share = total * u128::from(host.capacity);
            let up =
                |permille: u32| (share * (1_000 + u128::from(permille))).div_ceil(capacity * 1_000) as u64;
            let down = |permille: u32| {
                (share * (1_000 - u128::from(permille.min(1_000))) / (capacity * 1_000)) as u64
            };
            host.share = share as f64 / capacity as f64;
            (host.share_min, host.share_max) = (down(0), up(0));
            (host.settled_min, host.settled_max) =
                (down(options.settle_permille), up(options.settle_permille));
            (host.bound_min, host.bound_max) = (down(options.epsilon_permille), up(options.epsilon_permille));
            (host.urgent_min, host.urgent_max) = (down(options.urgent_permille), up(options.urgent_permille));
        }
    }

    fn take_over(&mut self, current: &'a Plan) {
        let places: BTreeMap<&NodeId, usize> =
            self.hosts.iter().enumerate().map(|(place, host)| (&host.node.id, place)).collect();
        for (unit, item) in self.items.iter_mut().enumerate() {
            let Some(before) = current.get(&item.load.unit) else { continue };
            let standbys = before.standbys.iter().filter_map(|node| places.get(node).copied());
            item.standbys = standbys.filter(|place| self.hosts[*place].is_open()).collect();
            item.before = Some(before);
            // A node that may own nothing, and does not drain, is as good as gone.
            item.from = places.get(&before.owner).copied();
            item.owner = item.from.filter(|from| self.hosts[*from].node.capacity > 0);
            if let Some(owner) = item.owner {
                self.hosts[owner].load += item.weight;
                self.hosts[owner].units.push(unit);
            }
        }
    }

    /// Gives a unit to a node.
    pub(super) fn give(&mut self, unit: usize, to: usize, reason: Reason) {
        let item = &mut self.items[unit];
        if let Some(owner) = item.owner.replace(to) {
            let owner = &mut self.hosts[owner];
            owner.load -= item.weight;
            owner.units.retain(|other| *other != unit);
        }
        item.moved = Some((reason, item.standbys.contains(&to)));
        self.hosts[to].load += item.weight;
        self.hosts[to].units.push(unit);
    }

    /// Gives a unit to a node at the expense of the budget; `false` if there is nothing left of it.
    pub(super) fn spend(&mut self, unit: usize, to: usize, reason: Reason) -> bool {
        self.postponed |= self.budget == 0;
        if self.budget > 0 {
            self.budget -= 1;
            self.give(unit, to, reason);
            return true;
        }
        false
    }

    /// How little a unit likes a node: the smallest is its first choice.
    pub(super) fn dislike(&self, unit: usize, host: usize) -> f64 {
        let host = &self.hosts[host];
        dislike(self.items[unit].hash, host.hash, host.capacity)
    }

    /// The unit's first choice among the open nodes for which `takes` holds.
    pub(super) fn first_choice(
        &self,
        unit: usize,
        takes: impl Fn(usize, &Host<'_>) -> bool,
    ) -> Option<usize> {
        let open =
            self.hosts.iter().enumerate().filter(|(place, host)| host.is_open() && takes(*place, host));
        let draws = open.map(|(place, _)| (self.dislike(unit, place), place));
        draws.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place)
    }

    /// The first of the unit's standbys for which `takes` holds.
    pub(super) fn warm_choice(&self, unit: usize, takes: impl Fn(&Host<'_>) -> bool) -> Option<usize> {
        let item = &self.items[unit];
        let others = item.standbys.iter().copied().filter(|place| item.owner != Some(*place));
        others.into_iter().find(|place| takes(&self.hosts[*place]))
    }

    /// Whether a unit may be moved for balance. One that got its owner just now stays, so that the next plan from the same
    /// input is the same; in an emergency only that counts.
    pub(super) fn may_move(&self, unit: usize, urgent: bool) -> bool {
        let item = &self.items[unit];
        let is_new = |before: &Assignment| before.since_ms == self.now_ms;
        let is_cooling = |before: &Assignment| {
            before.moves > 0 && self.now_ms.abs_diff(before.since_ms) < self.options.cooldown_ms
        };
        let stays = |before: &Assignment| is_new(before) || (is_cooling(before) && !urgent);
        item.load.weight.is_some() && item.moved.is_none() && !item.before.is_some_and(stays)
    }

    /// The plan that the table amounts to.
    pub(super) fn finish(self, current: &Plan, standby_moves: u32) -> Planned {
        let mut plan =
            Plan { version: current.version + 1, made_ms: self.now_ms, assignments: BTreeMap::new() };
        let mut moves = Vec::new();
        let id = |place: usize| self.hosts[place].node.id.clone();
        for item in &self.items {
            let (Some(owner), unit) = (item.owner, &item.load.unit) else { continue };
            let standbys = item.standbys.iter().map(|place| id(*place)).collect();
            let (since_version, since_ms) = (plan.version, self.now_ms);
            let taken = Assignment { owner: id(owner), standbys, since_version, since_ms, moves: 0 };
            let assignment = match (item.before, item.moved) {
                (None, _) => taken,
                (Some(before), None) => Assignment { standbys: taken.standbys, ..before.clone() },
                (Some(before), Some(_)) => Assignment { moves: before.moves.saturating_add(1), ..taken },
            };
            if let Some((reason, warm)) = item.moved {
                let from = item.before.map(|before| before.owner.clone());
                moves.push(Move { unit: unit.clone(), from, to: id(owner), reason, warm });
            }
            plan.assignments.insert(unit.clone(), assignment);
        }
        if plan.assignments == current.assignments {
            (plan.version, plan.made_ms) = (current.version, current.made_ms);
        }
        let place = |host: &Host<'_>| Place {
            node: host.node.id.clone(),
            units: host.units.len() as u32,
            load: host.load,
            share: host.share_min,
            bound: host.bound_max,
            standby_load: host.standby_load,
        };
        let places = self.hosts.iter().map(place).collect();
        Planned { plan, moves, standby_moves, postponed: self.postponed, places }
    }
}

fn hosts(nodes: &[Node]) -> Result<Vec<Host<'_>>, Error> {
    let mut sorted: Vec<&Node> = nodes.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some([one, _]) = sorted.array_windows().find(|[one, next]| one.id == next.id) {
        return Err(Error::Twice { name: one.id.to_string() });
    }
    if sorted.iter().all(|node| node.capacity == 0) {
        return Err(Error::NoNodes);
    }
    // When all nodes drain, units stay with them: there is no better place.
    let all_drain = sorted.iter().all(|node| node.drains || node.capacity == 0);
    Ok(sorted.into_iter().map(|node| Host::new(node, !node.drains || all_drain)).collect())
}

fn items(loads: &[Load]) -> Result<Vec<Item<'_>>, Error> {
    let mut sorted: Vec<&Load> = loads.iter().collect();
    sorted.sort_by(|a, b| a.unit.cmp(&b.unit));
    if let Some([one, _]) = sorted.array_windows().find(|[one, next]| one.unit == next.unit) {
        return Err(Error::Twice { name: one.unit.to_string() });
    }
    let known = || loads.iter().filter_map(|load| load.weight).map(|weight| u64::from(weight.max(1)));
    let mean = (known().sum::<u64>() / known().count().max(1) as u64).max(1);
    Ok(sorted.into_iter().map(|load| Item::new(load, mean)).collect())
}
