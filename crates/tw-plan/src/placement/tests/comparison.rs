//! The README's table: this placement next to three simpler ones, on the same nodes and loads.

use super::{loads, nodes};
use crate::hash::{dislike, hash_of, mix};
use crate::placement::{Load, Node, Options, Plan, plan};
use crate::sim::{Random, table, with_table};
use expect_test::expect_file;

const NODES: usize = 10;
const UNITS: usize = 900;
const EPSILON: f64 = 0.1;
const SHIFTS: usize = 20;

/// For each unit the number of its owner among the nodes by name.
type Owners = Vec<usize>;

/// A way to place units: it sees the nodes and the loads, and remembers what it wants.
trait Placer {
    fn place(&mut self, nodes: &[Node], loads: &[Load]) -> Owners;
}

fn number(node: &Node) -> usize {
    node.id.as_str()[1..].parse().unwrap()
}

struct Modulo;

impl Placer for Modulo {
    fn place(&mut self, nodes: &[Node], loads: &[Load]) -> Owners {
        let owner = |load: &Load| number(&nodes[(hash_of(load.unit.as_str()) % nodes.len() as u64) as usize]);
        loads.iter().map(owner).collect()
    }
}

struct Rendezvous;

impl Placer for Rendezvous {
    fn place(&mut self, nodes: &[Node], loads: &[Load]) -> Owners {
        let draw = |load: &Load, node: &Node| {
            dislike(mix(hash_of(load.unit.as_str()), 1), hash_of(node.id.as_str()), 1)
        };
        let best = |load: &Load| {
            nodes.iter().min_by(|a, b| draw(load, a).total_cmp(&draw(load, b))).map(number).unwrap()
        };
        loads.iter().map(best).collect()
    }
}

/// Consistent hashing with bounded loads as in the paper: every unit goes clockwise to the first node with room, from
/// scratch each time. 100 places on the ring for each node.
struct BoundedRing;

impl Placer for BoundedRing {
    fn place(&mut self, nodes: &[Node], loads: &[Load]) -> Owners {
        let places = |node: &Node| {
            let (id, number) = (hash_of(node.id.as_str()), number(node));
            (0..100u64).map(move |place| (mix(id, place), number))
        };
        let mut ring: Vec<(u64, usize)> = nodes.iter().flat_map(places).collect();
        ring.sort_unstable();
        let total: f64 = loads.iter().filter_map(|load| load.weight).map(f64::from).sum();
        let bound = (total * (1.0 + EPSILON) / nodes.len() as f64).ceil();
        let mut full = [0.0; NODES + 1];
        let mut owners = vec![0; loads.len()];
        let mut order: Vec<usize> = (0..loads.len()).collect();
        order.sort_by_key(|unit| hash_of(loads[*unit].unit.as_str()));
        for unit in order {
            let weight = f64::from(loads[unit].weight.unwrap());
            let at = ring.partition_point(|(place, _)| *place < hash_of(loads[unit].unit.as_str()));
            let mut clockwise = ring[at..].iter().chain(&ring[..at]).map(|(_, node)| *node);
            let first = clockwise.clone().next().unwrap();
            owners[unit] = clockwise.find(|node| full[*node] + weight <= bound).unwrap_or(first);
            full[owners[unit]] += weight;
        }
        owners
    }
}

#[derive(Default)]
struct ThisOne(Plan, u64);

impl Placer for ThisOne {
    fn place(&mut self, nodes: &[Node], loads: &[Load]) -> Owners {
        self.1 += 120_000;
        loop {
            let planned = plan(nodes, loads, &self.0, &Options::default(), self.1).unwrap();
            self.0 = planned.plan;
            if !planned.postponed {
                break;
            }
        }
        let owner = |load: &Load| self.0.owner(&load.unit).unwrap().as_str()[1..].parse().unwrap();
        loads.iter().map(owner).collect()
    }
}

fn moved(before: &Owners, after: &Owners) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

/// The highest load of a node, in shares.
fn peak(nodes: &[Node], loads: &[Load], owners: &Owners) -> f64 {
    let mut full = [0.0; NODES + 1];
    for (load, owner) in loads.iter().zip(owners) {
        full[*owner] += f64::from(load.weight.unwrap());
    }
    let total: f64 = full.iter().sum();
    full.iter().fold(0.0, |max: f64, load| max.max(*load)) * nodes.len() as f64 / total
}

/// Weights by Zipf's law, the ranks spread over the units in an order that `seed` decides.
fn zipf(seed: u64) -> Vec<Load> {
    let mut units: Vec<usize> = (0..UNITS).collect();
    let mut random = Random::new(seed);
    for last in (1..UNITS).rev() {
        units.swap(last, random.below(last + 1));
    }
    let mut weights = vec![0; UNITS];
    units.iter().enumerate().for_each(|(rank, unit)| weights[*unit] = (100_000 / (rank + 10)) as u32);
    loads(weights)
}

/// Every shift, a tenth of the units trade their loads with others.
fn shift(loads: &mut [Load], random: &mut Random) {
    for _ in 0..UNITS / 20 {
        let (a, b) = (random.below(UNITS), random.below(UNITS));
        let weight = loads[a].weight;
        loads[a].weight = loads[b].weight;
        loads[b].weight = weight;
    }
}

fn row(name: &str, mut placer: impl Placer, load: &mut [Load], shifts: usize) -> Vec<String> {
    let all = nodes(NODES + 1);
    let mut owners = placer.place(&all[..NODES], load);
    let start = peak(&all[..NODES], load, &owners);
    let mut cells = vec![name.to_owned(), format!("{start:.2}")];
    let mut change = |nodes: &[Node], load: &[Load]| {
        let next = placer.place(nodes, load);
        let moves = moved(&owners, &next);
        owners = next;
        (moves, peak(nodes, load, &owners))
    };
    for nodes in [&all[..], &all[1..]] {
        let (moves, peak) = change(nodes, load);
        cells.extend([format!("{moves}"), format!("{peak:.2}")]);
    }
    let (mut moves, mut worst, mut random) = (0, 0.0f64, Random::new(7));
    for _ in 0..shifts {
        shift(load, &mut random);
        let (more, peak) = change(&all[1..], load);
        moves += more;
        worst = worst.max(peak);
    }
    let shifted = [format!("{:.1}", moves as f64 / SHIFTS as f64), format!("{worst:.2}")];
    cells.extend(if shifts > 0 { shifted } else { ["".into(), "".into()] });
    cells
}

#[test]
fn the_table_in_the_readme_is_what_the_simulation_gives() {
    let header = ["load, placement", "peak", "join: moves", "peak", "leave: moves", "peak"];
    let header = header.into_iter().chain(["a shift: moves", "worst peak"]).map(String::from).collect();
    let mut rows: Vec<Vec<String>> = vec![header];
    for (name, load, shifts) in
        [("uniform", loads([1_000; UNITS]), 0), ("Zipf", zipf(1), 0), ("shifting", zipf(2), SHIFTS)]
    {
        let label = |placement: &str| format!("{name}, {placement}");
        rows.push(row(&label("modulo"), Modulo, &mut load.clone(), shifts));
        rows.push(row(&label("rendezvous"), Rendezvous, &mut load.clone(), shifts));
        rows.push(row(&label("bounded ring, from scratch"), BoundedRing, &mut load.clone(), shifts));
        rows.push(row(&label("**this one**"), ThisOne::default(), &mut load.clone(), shifts));
    }
    let readme = expect_file!["../README.md"];
    readme.assert_eq(&with_table(include_str!("../README.md"), &table(&rows)));
}
