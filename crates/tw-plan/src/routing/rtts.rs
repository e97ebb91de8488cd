//! How long regions are away from networks, as clients have measured it.
//!
//! Clients of one network (/24 of IPv4, /48 of IPv6) are taken for one. Of a network and a region the median of the last few measurements counts, so that one that
//! is off, or made up, moves nobody. So many pairs are kept, and of more than that the ones go of which nothing was heard for longest.

use super::Measured;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use tw_types::RegionId;

/// How many pairs of a network and a region are kept: about 10 MB.
pub const RTTS_MAX: usize = 65_536;
/// The longest round trip that is believed, in milliseconds.
pub const RTT_MS_MAX: u32 = 10_000;
/// Of how many measurements the median is taken.
const LAST: usize = 5;

/// The network of an address, as far as it is told apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// The first 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// The first 48 bits of an IPv6 address.
    V6([u8; 6]),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [one, two, three, _] = address.octets();
                Self::V4([one, two, three])
            }
            IpAddr::V6(address) => {
                let [one, two, three, four, five, six, ..] = address.octets();
                Self::V6([one, two, three, four, five, six])
            }
        }
    }
}

/// What was measured last between a network and a region.
#[derive(Debug, Clone, Default)]
struct Recent {
    rtts_ms: VecDeque<u32>,
    at_ms: u64,
    /// Its place in the order.
    turn: u64,
}

/// What clients have measured.
#[derive(Debug, Clone, Default)]
pub struct Rtts {
    pairs: BTreeMap<(Network, RegionId), Recent>,
    /// The pairs in the order in which something was heard of them.
    order: BTreeMap<u64, (Network, RegionId)>,
    turn: u64,
}

impl Rtts {
    /// Takes note of a measurement at `now_ms`. Those of the same pair that are older than `ms_max` do not count any more.
    pub fn note(&mut self, network: Network, region: RegionId, rtt_ms: u32, now_ms: u64, ms_max: u64) {
        let pair = (network, region);
        self.turn += 1;
        let recent = self.pairs.entry(pair).or_default();
        self.order.remove(&recent.turn);
        self.order.insert(self.turn, pair);
        if now_ms.saturating_sub(recent.at_ms) > ms_max {
            recent.rtts_ms.clear();
        }
        if recent.rtts_ms.len() == LAST {
            recent.rtts_ms.pop_front();
        }
        recent.rtts_ms.push_back(rtt_ms.min(RTT_MS_MAX));
        (recent.at_ms, recent.turn) = (now_ms, self.turn);
        if self.pairs.len() > RTTS_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.pairs.remove(&oldest);
        }
    }

    /// What is known of a network.
    pub fn of(&self, network: Network) -> BTreeMap<RegionId, Measured> {
        let all = (network, RegionId(0))..=(network, RegionId(u16::MAX));
        let measured = |((_, region), recent): (&(Network, RegionId), &Recent)| {
            let mut sorted: Vec<u32> = recent.rtts_ms.iter().copied().collect();
            sorted.sort_unstable();
            let rtt_ms = sorted.get(sorted.len() / 2).copied()?;
            Some((*region, Measured { rtt_ms, at_ms: recent.at_ms }))
        };
        self.pairs.range(all).filter_map(measured).collect()
    }

    /// How many pairs are kept.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn network(text: &str) -> Network {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn the_median_of_the_last_measurements_of_a_network_counts() {
        let mut rtts = Rtts::default();
        let here = network("198.51.100.7");
        for (at, rtt_ms) in [20, 22, 900, 21, 23, 24].into_iter().enumerate() {
            rtts.note(here, RegionId(2), rtt_ms, 1_000 + at as u64, HOUR_MS);
        }
        rtts.note(here, RegionId(1), 80_000, 5_000, HOUR_MS);
        let of = rtts.of(network("198.51.100.250"));
        assert_eq!(of[&RegionId(2)], Measured { rtt_ms: 23, at_ms: 1_005 });
        assert_eq!(of[&RegionId(1)].rtt_ms, RTT_MS_MAX);
        assert!(rtts.of(network("198.51.101.7")).is_empty());
        // What is too old is forgotten when there is something new.
        rtts.note(here, RegionId(2), 5, 2 * HOUR_MS, HOUR_MS);
        assert_eq!(rtts.of(here)[&RegionId(2)], Measured { rtt_ms: 5, at_ms: 2 * HOUR_MS });
    }

    #[test]
    fn networks_are_told_apart_as_far_as_they_should_be() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:ffff::"));
        assert_ne!(network("2001:db8:1::"), network("2001:db8:2::"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.9"));
    }

    #[test]
    fn no_more_is_kept_than_is_allowed_and_the_oldest_goes_first() {
        let mut rtts = Rtts::default();
        let of = |number: usize| Network::V4([(number >> 16) as u8, (number >> 8) as u8, number as u8]);
        let (first, second) = (of(0), of(1));
        for number in 0..RTTS_MAX {
            rtts.note(of(number), RegionId(1), 10, number as u64, HOUR_MS);
        }
        rtts.note(first, RegionId(1), 11, HOUR_MS, HOUR_MS);
        rtts.note(of(RTTS_MAX), RegionId(1), 10, HOUR_MS, HOUR_MS);
        assert_eq!((rtts.len(), rtts.order.len()), (RTTS_MAX, RTTS_MAX));
        assert!(!rtts.of(first).is_empty() && rtts.of(second).is_empty());
    }
}
