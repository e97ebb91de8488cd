//! How long planning takes: a first plan, one without a change, one after a node joined, one after a node left, and one after
//! all loads changed. Build with `--release`. Arguments: nodes (60), units (4096), rounds (21).
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement is no core"
)]

use std::time::{Duration, Instant};
use tw_plan::placement::{Load, Node, Options, Plan, Planned, Unit, plan};
use tw_types::NodeId;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let (nodes, units) = (arguments.next().unwrap_or(60), arguments.next().unwrap_or(4_096));
    let rounds = arguments.next().unwrap_or(21);
    let node = |number: usize| Node {
        id: NodeId::new(&format!("node-{number}")).unwrap(),
        capacity: 4_000,
        background_permille: Some((number * 7 % 100) as u16),
        domain: Some(["a", "b", "c"][number % 3].into()),
        drains: false,
    };
    let loads = |shift: usize| -> Vec<Load> {
        // By Zipf's law, so that there is much to do.
        let weight = |number: usize| 1_000_000 / ((number * 2_654_435_761 + shift) % units + 20) as u32;
        let unit = |number| Unit::new(&format!("{}/{number}", number % 7)).unwrap();
        (0..units).map(|number| Load { unit: unit(number), weight: Some(weight(number)) }).collect()
    };
    let all: Vec<Node> = (0..=nodes).map(node).collect();
    let (calm, shifted, options) = (loads(0), loads(units / 3), Options::default());
    let few = &all[..nodes];
    let start = plan(few, &calm, &Plan::default(), &options, 0).unwrap().plan;
    println!(
        "{nodes} nodes, {units} units by Zipf's law, a budget of {} moves, {rounds} rounds",
        options.moves_max
    );
    for (name, nodes, loads, current) in [
        ("first plan", few, &calm, &Plan::default()),
        ("nothing changed", few, &calm, &start),
        ("a node joined", &all[..], &calm, &start),
        ("a node left", &all[1..nodes], &calm, &start),
        ("all loads changed", few, &shifted, &start),
    ] {
        let mut times: Vec<(Duration, Planned)> = (0..rounds)
            .map(|_| {
                let begin = Instant::now();
                let planned = plan(nodes, loads, current, &options, 3_600_000).unwrap();
                (begin.elapsed(), planned)
            })
            .collect();
        times.sort_by_key(|(time, _)| *time);
        let (median, planned) = &times[rounds / 2];
        let slowest = times[rounds - 1].0;
        let moves = planned.moves.len();
        println!("{name:<18} median {median:>9.2?}   slowest {slowest:>9.2?}   {moves} moves");
    }
}
