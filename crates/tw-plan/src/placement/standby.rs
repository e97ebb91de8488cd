//! Standbys: who keeps a unit's state warm.
//!
//! A standby stays one as long as it can. A node that gave a unit away becomes its first standby, because its state is warm.
//! What is missing is chosen by hash, so that the standbys of one node's units are spread over all others: each of them
//! takes its part when the node fails, and stays near its bound.

use super::table::{Host, Table};

/// How far from its share a node's standbys may be, in bounds of its load.
const BOUNDS: u64 = 2;

/// Chooses the standbys of every unit; says how many were exchanged for better ones.
pub(super) fn choose(table: &mut Table<'_>) -> u32 {
    let open = table.hosts.iter().filter(|host| host.is_open()).count();
    let count = (table.options.standbys as usize).min(open.saturating_sub(1));
    let mut pairs = Pairs::new(table, count);
    keep(table, &mut pairs, count);
    add(table, &mut pairs, count);
    if count == 0 {
        return 0;
    }
    let mut budget = table.options.standby_moves_max;
    separate(table, &mut pairs, &mut budget);
    even_out(table, &mut pairs, &mut budget);
    table.options.standby_moves_max - budget
}

/// How much load would go from each node to each other one if it failed.
struct Pairs {
    loads: Vec<u64>,
    hosts: usize,
    capacity: u64,
    /// The weight of all standbys.
    total: f64,
    epsilon: u64,
}

impl Pairs {
    fn new(table: &Table<'_>, count: usize) -> Self {
        let weight: u64 = table.items.iter().map(|item| item.weight).sum();
        Self {
            loads: vec![0; table.hosts.len() * table.hosts.len()],
            hosts: table.hosts.len(),
            capacity: table.hosts.iter().map(|host| host.capacity).sum(),
            total: weight as f64 * count as f64,
            epsilon: u64::from(table.options.epsilon_permille),
        }
    }

    /// Whether `to` may keep this much more of `owner`'s load warm: no more than its part among the survivors.
    fn fits(&self, table: &Table<'_>, owner: usize, to: usize, weight: u64) -> bool {
        let survivors = u128::from(self.capacity - table.hosts[owner].capacity).max(1);
        let part = u128::from(table.hosts[owner].load) * u128::from(table.hosts[to].capacity);
        let bound = (part * u128::from(1_000 + self.epsilon)).div_ceil(survivors * 1_000);
        u128::from(self.loads[owner * self.hosts + to] + weight) <= bound
    }

    /// The share of the standbys that a node should have, by weight.
    fn share(&self, host: &Host<'_>) -> f64 {
        self.total * host.capacity as f64 / self.capacity.max(1) as f64
    }

    fn add(&mut self, table: &mut Table<'_>, unit: usize, to: usize) {
        let weight = table.items[unit].weight;
        table.hosts[to].standby_load += weight;
        if let Some(owner) = table.items[unit].owner {
            self.loads[owner * self.hosts + to] += weight;
        }
    }

    fn remove(&mut self, table: &mut Table<'_>, unit: usize, from: usize) {
        let weight = table.items[unit].weight;
        table.hosts[from].standby_load -= weight;
        if let Some(owner) = table.items[unit].owner {
            self.loads[owner * self.hosts + from] -= weight;
        }
    }
}

/// Keeps who is one already; a former owner comes first.
fn keep(table: &mut Table<'_>, pairs: &mut Pairs, count: usize) {
    for unit in 0..table.items.len() {
        let item = &table.items[unit];
        let former = item.from.filter(|from| table.hosts[*from].is_open());
        let mut kept: Vec<usize> = Vec::with_capacity(count);
        for place in former.into_iter().chain(item.standbys.iter().copied()) {
            if Some(place) != item.owner && !kept.contains(&place) && kept.len() < count {
                kept.push(place);
            }
        }
        for place in &kept {
            pairs.add(table, unit, *place);
        }
        table.items[unit].standbys = kept;
    }
}

/// Adds what is missing, the heaviest units first.
fn add(table: &mut Table<'_>, pairs: &mut Pairs, count: usize) {
    let mut short: Vec<usize> =
        (0..table.items.len()).filter(|unit| table.items[*unit].standbys.len() < count).collect();
    short.sort_by_key(|unit| (std::cmp::Reverse(table.items[*unit].weight), *unit));
    for unit in short {
        while table.items[unit].standbys.len() < count {
            let apart = has_apart(table, unit);
            let Some(to) = best(table, pairs, unit, apart) else { break };
            table.items[unit].standbys.push(to);
            pairs.add(table, unit, to);
        }
    }
}

/// Whether a node may become a standby of a unit: another node than its owner and its standbys.
fn is_free(table: &Table<'_>, unit: usize, place: usize) -> bool {
    let item = &table.items[unit];
    table.hosts[place].is_open() && item.owner != Some(place) && !item.standbys.contains(&place)
}

/// Whether a node is in another fault domain than the unit's owner; one without a domain is alone in its own.
fn is_apart(table: &Table<'_>, unit: usize, place: usize) -> bool {
    let domain = |place: usize| table.hosts[place].node.domain.as_deref();
    let owner = table.items[unit].owner;
    owner.is_none_or(|owner| owner != place && (domain(owner).is_none() || domain(owner) != domain(place)))
}

/// Whether the unit needs a standby in another domain, and there is one that could be it.
fn has_apart(table: &Table<'_>, unit: usize) -> bool {
    let standbys = &table.items[unit].standbys;
    !standbys.iter().any(|place| is_apart(table, unit, *place))
        && (0..table.hosts.len()).any(|place| is_free(table, unit, place) && is_apart(table, unit, place))
}

/// The best new standby of a unit.
fn best(table: &Table<'_>, pairs: &Pairs, unit: usize, apart: bool) -> Option<usize> {
    let weight = table.items[unit].weight;
    let owner = table.items[unit].owner?;
    let may = |place: usize| is_free(table, unit, place) && (!apart || is_apart(table, unit, place));
    let has_room = |host: &Host<'_>| (host.standby_load + weight) as f64 <= pairs.share(host).ceil();
    table
        .first_choice(unit, |place, host| {
            may(place) && has_room(host) && pairs.fits(table, owner, place, weight)
        })
        .or_else(|| {
            table.first_choice(unit, |place, _| may(place) && pairs.fits(table, owner, place, weight))
        })
        .or_else(|| table.first_choice(unit, |place, host| may(place) && has_room(host)))
        .or_else(|| table.first_choice(unit, |place, _| may(place)))
}

/// Gives units whose standbys are all in their owner's domain one in another.
fn separate(table: &mut Table<'_>, pairs: &mut Pairs, budget: &mut u32) {
    for unit in 0..table.items.len() {
        if !has_apart(table, unit) {
            continue;
        }
        let Some(to) = best(table, pairs, unit, true) else { continue };
        if *budget == 0 {
            table.postponed = true;
            return;
        }
        *budget -= 1;
        let last = table.items[unit].standbys.pop();
        if let Some(last) = last {
            pairs.remove(table, unit, last);
        }
        table.items[unit].standbys.push(to);
        pairs.add(table, unit, to);
    }
}

/// Moves standbys from the node that has the most of them to the one that has the fewest, while either is out of bounds.
fn even_out(table: &mut Table<'_>, pairs: &mut Pairs, budget: &mut u32) {
    let slack = (BOUNDS * pairs.epsilon) as f64 / 1_000.0;
    let mut warm: Vec<Vec<usize>> = vec![Vec::new(); table.hosts.len()];
    for (unit, item) in table.items.iter().enumerate() {
        item.standbys.iter().for_each(|place| warm[*place].push(unit));
    }
    loop {
        let fullness = |place: usize| {
            let host = &table.hosts[place];
            host.standby_load as f64 / pairs.share(host).max(f64::MIN_POSITIVE)
        };
        let open = || (0..table.hosts.len()).filter(|place| table.hosts[*place].is_open());
        let order = |a: &usize, b: &usize| fullness(*a).total_cmp(&fullness(*b));
        let (Some(from), Some(to)) = (open().max_by(order), open().min_by(order)) else { return };
        if fullness(from) <= 1.0 + slack && fullness(to) >= 1.0 - slack {
            return;
        }
        let Some(unit) = exchange(table, pairs, &warm[from], from, to) else { return };
        if *budget == 0 {
            table.postponed = true;
            return;
        }
        *budget -= 1;
        pairs.remove(table, unit, from);
        for place in &mut table.items[unit].standbys {
            if *place == from {
                *place = to;
            }
        }
        pairs.add(table, unit, to);
        warm[from].retain(|other| *other != unit);
        warm[to].push(unit);
    }
}

/// The unit whose standby moves from `from` to `to`: both end closer to their shares, and no unit loses its only standby in
/// another domain.
fn exchange(table: &Table<'_>, pairs: &Pairs, warm: &[usize], from: usize, to: usize) -> Option<usize> {
    let fullness =
        |place: usize, load: u64| load as f64 / pairs.share(&table.hosts[place]).max(f64::MIN_POSITIVE);
    let (full, poor) = (table.hosts[from].standby_load, table.hosts[to].standby_load);
    let may = |unit: usize| {
        let weight = table.items[unit].weight;
        let better = fullness(to, poor + weight) < fullness(from, full);
        better && is_free(table, unit, to) && (!is_apart(table, unit, from) || is_apart(table, unit, to))
    };
    let spread = |unit: usize| {
        let owner = table.items[unit].owner;
        owner.is_some_and(|owner| pairs.fits(table, owner, to, table.items[unit].weight))
    };
    let ranked = warm.iter().filter(|unit| may(**unit)).map(|unit| (!spread(*unit), *unit));
    let order = |a: &(bool, usize), b: &(bool, usize)| {
        a.0.cmp(&b.0).then(table.dislike(a.1, to).total_cmp(&table.dislike(b.1, to))).then(a.1.cmp(&b.1))
    };
    ranked.min_by(order).map(|(_, unit)| unit)
}
