//! The policies. Each chooses among `open`, the places of nodes that may be taken, of which there is at least one.

use super::seat::Seat;
use super::{Options, Policy};
use crate::hash::{dislike, hash_of, mix};
use std::cmp::Ordering;

pub(super) fn choose(
    options: &Options,
    seats: &mut [Seat],
    open: &[usize],
    subject: Option<&str>,
    random: u64,
    now_us: u64,
) -> Option<usize> {
    match (options.policy, subject) {
        (Policy::RoundRobin, _) => round_robin(seats, open),
        (Policy::LeastLoaded, _) => least_loaded(seats, open, random),
        (Policy::Adaptive, _) => adaptive(options, seats, open, random, now_us),
        (Policy::Sticky, Some(subject)) => sticky(options, seats, open, subject),
        (Policy::TwoChoices | Policy::Sticky, _) => {
            draw::<2>(seats, open, random).into_iter().flatten().min_by(|a, b| by_load(seats, *a, *b))
        }
    }
}

/// Smooth weighted round robin: every node earns its capacity, the richest one pays for the request.
fn round_robin(seats: &mut [Seat], open: &[usize]) -> Option<usize> {
    let mut total = 0;
    for place in open {
        let seat = &mut seats[*place];
        seat.credit += seat.capacity as i64;
        total += seat.capacity as i64;
    }
    // The first one among equals.
    let best = open.iter().copied().rev().max_by_key(|place| seats[*place].credit)?;
    seats[best].credit -= total;
    Some(best)
}

/// Compares nodes by what their load in requests of this sender would be with one more.
fn by_load(seats: &[Seat], a: usize, b: usize) -> Ordering {
    let (a, b) = (&seats[a], &seats[b]);
    let load = |one: &Seat, other: &Seat| (u128::from(one.in_flight) + 1) * u128::from(other.capacity);
    load(a, b).cmp(&load(b, a))
}

/// The least loaded node; among equals whichever comes first from a random place on, so that senders differ.
fn least_loaded(seats: &[Seat], open: &[usize], random: u64) -> Option<usize> {
    let start = ((u128::from(random) * open.len() as u128) >> 64) as usize;
    let (before, after) = open.split_at(start);
    after.iter().chain(before).copied().min_by(|a, b| by_load(seats, *a, *b))
}

/// Draws different nodes, with chances in proportion to their capacities; fewer if there are fewer.
fn draw<const N: usize>(seats: &[Seat], open: &[usize], random: u64) -> [Option<usize>; N] {
    let mut drawn = [None; N];
    let mut left: u64 = open.iter().map(|place| seats[*place].capacity).sum();
    for number in 0..N {
        if left == 0 {
            break;
        }
        let mut at = ((u128::from(mix(random, number as u64)) * u128::from(left)) >> 64) as u64;
        for place in open.iter().filter(|place| !drawn.contains(&Some(**place))).copied().collect::<Vec<_>>()
        {
            let capacity = seats[place].capacity;
            if at < capacity {
                drawn[number] = Some(place);
                left -= capacity;
                break;
            }
            at -= capacity;
        }
    }
    drawn
}

/// Of the nodes that are not full the one with the least to wait for: requests inside, times how long they take, for its
/// capacity. The least full one if all are.
fn adaptive(options: &Options, seats: &[Seat], open: &[usize], random: u64, now_us: u64) -> Option<usize> {
    let drawn = draw::<4>(seats, open, random).into_iter().flatten().take(options.adaptive_choices as usize);
    let drawn: Vec<usize> = drawn.collect();
    let reported = |place: usize| {
        let report = seats[place].fresh_report(options, now_us)?;
        let full = f64::from(report.in_flight) / seats[place].capacity as f64;
        Some((full, report))
    };
    let reports: Vec<_> = drawn.iter().filter_map(|place| Some((*place, reported(*place)?))).collect();
    let cost = |place: usize, in_flight: u32, latency_us: u64| {
        latency_us.max(1) as f64 * (f64::from(in_flight) + 1.0) / seats[place].capacity as f64
    };
    if reports.is_empty() {
        let own = |place: usize| cost(place, seats[place].in_flight, seats[place].latency_us);
        return drawn.into_iter().min_by(|a, b| own(*a).total_cmp(&own(*b)));
    }
    let mut all: Vec<f64> = open.iter().filter_map(|place| reported(*place)).map(|(full, _)| full).collect();
    all.sort_by(f64::total_cmp);
    let hot = all.get(all.len() * options.adaptive_cold_permille as usize / 1_000).copied();
    let is_cold = |full: f64| hot.is_none_or(|hot| full < hot) || all.first() == Some(&full);
    let costs = reports.iter().filter(|(_, (full, _))| is_cold(*full));
    let costs = costs.map(|(place, (_, report))| (cost(*place, report.in_flight, report.latency_us), *place));
    let least = costs.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place);
    least.or_else(|| reports.iter().min_by(|a, b| a.1.0.total_cmp(&b.1.0)).map(|(place, _)| *place))
}

/// Consistent hashing with bounded loads: the subject's first choice that is within its part of the requests in flight.
fn sticky(options: &Options, seats: &[Seat], open: &[usize], subject: &str) -> Option<usize> {
    let total: u128 = open.iter().map(|place| u128::from(seats[*place].in_flight)).sum::<u128>() + 1;
    let capacity: u128 = open.iter().map(|place| u128::from(seats[*place].capacity)).sum::<u128>().max(1);
    let factor = 1_000 + u128::from(options.sticky_epsilon_permille);
    let has_room = |place: &&usize| {
        let seat = &seats[**place];
        let part = (total * u128::from(seat.capacity) * factor).div_ceil(capacity * 1_000);
        u128::from(seat.in_flight) < part.max(u128::from(options.sticky_in_flight_min))
    };
    let subject = hash_of(subject);
    let draws = open.iter().filter(has_room).map(|place| {
        let seat = &seats[*place];
        (dislike(subject, seat.hash, seat.capacity), *place)
    });
    draws.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place).or_else(|| least_loaded(seats, open, 0))
}
