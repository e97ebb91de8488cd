//! Places are those of the longest prefix, and a scope never reaches into a network that leads elsewhere.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn listed(networks: &[(&str, f64)]) -> Vec<Network> {
    let place = |lat| Place::new(lat, 0.0).unwrap();
    networks.iter().map(|(cidr, lat)| Network { cidr: cidr.parse().unwrap(), place: place(*lat) }).collect()
}

#[track_caller]
fn check(networks: &[(&str, f64)], client: &str, place: Option<f64>, scope_bits: u8) {
    let networks = Networks::new(&listed(networks)).unwrap();
    let found = networks.locate(&client.parse().unwrap());
    assert_eq!((found.place.map(|place| place.lat()), found.scope_bits), (place, scope_bits));
}

#[test]
fn the_longest_prefix_wins_and_is_the_scope() {
    let networks = [("10.0.0.0/8", 1.0), ("10.1.0.0/16", 2.0), ("10.1.2.0/24", 3.0), ("2001:db8::/32", 4.0)];
    check(&networks, "10.1.2.0/24", Some(3.0), 24);
    check(&networks, "2001:db8:1::/48", Some(4.0), 32);
    check(&[], "192.0.2.0/24", None, 0);
    check(&networks[..1], "10.9.9.0/24", Some(1.0), 8);
}

#[test]
fn a_scope_leaves_out_smaller_networks_that_lead_elsewhere() {
    let networks = [("10.0.0.0/8", 1.0), ("10.1.0.0/16", 2.0), ("10.1.2.0/24", 3.0)];
    // 10.1.3.0 differs from 10.1.2.0 in the last of 24 bits, 10.1.128.0 in the 17th, 10.128.0.0 in the 9th.
    check(&networks, "10.1.3.0/24", Some(2.0), 24);
    check(&networks, "10.1.128.0/24", Some(2.0), 17);
    check(&networks, "10.128.0.0/24", Some(1.0), 9);
    check(&networks, "11.0.0.0/24", None, 8);
    check(&networks, "192.0.2.0/24", None, 1);
}

#[test]
fn a_client_that_says_little_is_told_that_more_would_help() {
    let networks = [("10.0.0.0/8", 1.0), ("10.1.0.0/16", 2.0)];
    check(&networks, "10.0.0.0/9", Some(1.0), 16);
    check(&networks, "10.0.0.0/12", Some(1.0), 16);
    check(&networks, "10.128.0.0/9", Some(1.0), 9);
}

#[test]
fn a_network_that_is_listed_twice_is_named() {
    let twice = listed(&[("10.0.0.0/8", 1.0), ("::/0", 2.0), ("10.0.0.0/8", 3.0)]);
    assert_eq!(Networks::new(&twice).unwrap_err().to_string(), "10.0.0.0/8");
}

/// The networks that are listed, and all clients: those of 10.0.0.0/16 by their /24. Few bits, so that much overlaps.
fn client(third: u8) -> Subnet {
    Subnet::new(Ipv4Addr::new(10, 0, third, 0).into(), 24).unwrap()
}

fn place_of(listed: &[Network], client: &Subnet) -> Option<Place> {
    let around = listed.iter().filter(|network| network.cidr.contains(client));
    around.max_by_key(|network| network.cidr.prefix_bits()).map(|network| network.place)
}

/// Whether all clients with these first bits are where this client is.
fn holds(listed: &[Network], of: &Subnet, scope_bits: u8) -> bool {
    let scope = of.shortened(scope_bits);
    let mut all = (0..=255).map(client).filter(|client| scope.contains(client));
    all.all(|client| place_of(listed, &client) == place_of(listed, of))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tw_testing::cases(400), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_is_in_the_scope_is_at_the_same_place(
        networks in prop::collection::btree_map((any::<u8>(), 14_u8..=24), -90..90_i32, 0..12),
    ) {
        let mut listed: Vec<Network> = Vec::new();
        for ((third, prefix_bits), lat) in networks {
            let cidr = client(third).shortened(prefix_bits);
            if listed.iter().all(|other| other.cidr != cidr) {
                listed.push(Network { cidr, place: Place::new(lat.into(), 0.0).unwrap() });
            }
        }
        let table = Networks::new(&listed).unwrap();
        for client in (0..=255).map(client) {
            let found = table.locate(&client);
            prop_assert_eq!(found.place, place_of(&listed, &client));
            prop_assert!(found.scope_bits <= 24 && holds(&listed, &client, found.scope_bits));
        }
    }
}

/// The check above can fail: the prefix that matched alone is too short a scope where networks overlap.
#[test]
fn the_prefix_that_matched_would_reach_into_other_networks() {
    let listed = listed(&[("10.0.0.0/16", 1.0), ("10.0.7.0/24", 2.0)]);
    assert!(!holds(&listed, &client(6), 16));
    assert!(holds(&listed, &client(6), Networks::new(&listed).unwrap().locate(&client(6)).scope_bits));
}
