//! How many answers a network of clients gets over UDP: one token bucket each.
//!
//! Anybody can send a query in the name of somebody else, who then gets the answer. So each network gets a bounded number a
//! second. Beyond that, every second query is answered with *truncated*, which is no longer than the query and leads
//! honest clients to TCP, where nobody can pretend (response rate limiting, as in BIND and NSD). Pure: time is an
//! argument.

use crate::subnet::Subnet;
use std::collections::HashMap;

/// How many networks are remembered. What a network is remembered for takes about 100 bytes.
const NETWORKS_MAX: usize = 65_536;

/// What becomes of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It is answered.
    Answer,
    /// It is told to come again over TCP.
    Truncate,
    /// It gets no answer.
    Drop,
}

/// The buckets of all networks.
///
/// They are in two maps, each of half the size. When the younger one is full it becomes the older one, whose networks are
/// forgotten, that is, get a full bucket again. A network that keeps asking is always in the younger one: a flood from many networks does not
/// make its bucket full.
#[derive(Debug)]
pub(crate) struct Limiter {
    answers_per_s_max: u64,
    half: usize,
    young: HashMap<Subnet, Bucket>,
    old: HashMap<Subnet, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of answers that may be given at once.
    milli: u64,
    at_ms: u64,
    /// Whether the next one beyond the limit gets no answer.
    drops_next: bool,
}

impl Limiter {
    pub(crate) fn new(answers_per_s_max: u32) -> Self {
        Self::with_room(answers_per_s_max, NETWORKS_MAX)
    }

    fn with_room(answers_per_s_max: u32, networks_max: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { answers_per_s_max: answers_per_s_max.into(), half: networks_max / 2, young, old }
    }

    /// Decides about a query of a network, at a time that never goes back, in milliseconds.
    pub(crate) fn take(&mut self, network: Subnet, now_ms: u64) -> Pass {
        // A bucket holds the answers of a second.
        let full = self.answers_per_s_max.saturating_mul(1_000);
        let known = self.young.get(&network).or_else(|| self.old.get(&network)).copied();
        let mut bucket = known.unwrap_or(Bucket { milli: full, at_ms: now_ms, drops_next: false });
        let gained = now_ms.saturating_sub(bucket.at_ms).saturating_mul(self.answers_per_s_max);
        bucket.milli = bucket.milli.saturating_add(gained).min(full);
        bucket.at_ms = now_ms;
        let pass = match bucket.milli.checked_sub(1_000) {
            Some(left) => {
                bucket.milli = left;
                Pass::Answer
            }
            None => {
                bucket.drops_next = !bucket.drops_next;
                if bucket.drops_next { Pass::Truncate } else { Pass::Drop }
            }
        };
        if self.young.len() >= self.half && !self.young.contains_key(&network) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(network, bucket);
        pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn network(number: u32) -> Subnet {
        Subnet::of(Ipv4Addr::from_bits(number << 8).into())
    }

    fn answers(limiter: &mut Limiter, of: Subnet, queries: u32, now_ms: u64) -> usize {
        (0..queries).filter(|_| limiter.take(of, now_ms) == Pass::Answer).count()
    }

    #[test]
    fn a_network_gets_its_answers_and_of_the_rest_every_second_is_truncated() {
        let mut limiter = Limiter::new(3);
        let passes: Vec<Pass> = (0..7).map(|_| limiter.take(network(1), 0)).collect();
        let (answer, truncate, drop) = (Pass::Answer, Pass::Truncate, Pass::Drop);
        assert_eq!(passes, [answer, answer, answer, truncate, drop, truncate, drop]);
        assert_eq!(answers(&mut limiter, network(2), 5, 0), 3, "another network has a bucket of its own");
    }

    #[test]
    fn answers_come_back_with_time_up_to_those_of_a_second() {
        let mut limiter = Limiter::new(10);
        assert_eq!(answers(&mut limiter, network(1), 20, 0), 10);
        assert_eq!(answers(&mut limiter, network(1), 20, 99), 0);
        assert_eq!(answers(&mut limiter, network(1), 20, 300), 3);
        assert_eq!(answers(&mut limiter, network(1), 20, 3_600_000), 10);
    }

    #[test]
    fn a_flood_from_many_networks_takes_bounded_memory_and_frees_nobody_who_keeps_asking() {
        let mut limiter = Limiter::with_room(2, 64);
        let mut given = 0;
        for other in 0..10_000 {
            given += answers(&mut limiter, network(7), 1, 0);
            limiter.take(network(1_000 + other), 0);
            assert!(limiter.young.len() + limiter.old.len() <= 64);
        }
        assert_eq!(given, 2);
    }
}
