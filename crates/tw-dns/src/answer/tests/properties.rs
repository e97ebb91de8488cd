//! What holds for every message, every client and every state of the regions.

use super::world::{World, plan, query};
use super::*;
use crate::options::Network;
use proptest::prelude::*;
use std::net::Ipv4Addr;
use tw_plan::routing::Place;

/// How long a message may be, in bytes: long enough for everything that is read.
const MESSAGE_BYTES_MAX: usize = 120;

/// A network of 10.0.0.0/16, by its third byte.
fn client(third: u8) -> Subnet {
    Subnet::new(Ipv4Addr::new(10, 0, third, 0).into(), 24).unwrap()
}

fn listed() -> impl Strategy<Value = Vec<Network>> {
    let network = ((any::<u8>(), 16_u8..=24), (-60..60_i32, -180..180_i32));
    prop::collection::vec(network, 0..8).prop_map(|all| {
        let mut listed: Vec<Network> = Vec::new();
        for ((third, prefix_bits), (lat, lon)) in all {
            let cidr = client(third).shortened(prefix_bits);
            if listed.iter().all(|other| other.cidr != cidr) {
                listed.push(Network { cidr, place: Place::new(lat.into(), lon.into()).unwrap() });
            }
        }
        listed
    })
}

/// Weights, of which most are whole.
fn weights() -> impl Strategy<Value = [u32; 3]> {
    prop_oneof![3 => Just([1_000; 3]), 1 => prop::array::uniform3(1..=1_000_u32)]
}

fn ask(world: &World, kind: RecordType, client: &Subnet) -> (Vec<IpAddr>, u8) {
    let query = query("api.tw.example.", kind).edns(1_232).subnet(&client.to_string());
    let answered = world.ask(&query);
    assert_eq!(answered.code(), Code::NoError);
    (answered.addresses(), answered.scope().unwrap())
}

/// The first client in the scope of another one that does not get the same.
fn differs(world: &World, kind: RecordType, of: &Subnet, scope_bits: u8) -> Option<Subnet> {
    let (expected, scope) = (ask(world, kind, of).0, of.shortened(scope_bits));
    let mut all = (0..=255).map(client).filter(|client| scope.contains(client));
    all.find(|client| ask(world, kind, client).0 != expected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tw_testing::cases(60), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_is_in_the_scope_of_an_answer_gets_the_same(
        networks in listed(), weights in weights(), down in any::<[bool; 3]>(), thirds in any::<[u8; 4]>(),
        answers_max in 1..=3_u32, is_v6 in any::<bool>(),
    ) {
        let kind = if is_v6 { RecordType::AAAA } else { RecordType::A };
        let mut world = World::new();
        world.list(networks);
        world.change(|options| options.answers_max = answers_max);
        world.known().plan = plan(weights, [false; 3]);
        for (region, down) in (1..).zip(down) {
            world.tell(region, !down);
        }
        for client in thirds.map(client) {
            let (addresses, scope_bits) = ask(&world, kind, &client);
            // All regions have addresses of IPv4, and one at least is always answered.
            prop_assert!((is_v6 || !addresses.is_empty()) && scope_bits <= 24);
            prop_assert_eq!(differs(&world, kind, &client, scope_bits), None);
        }
    }
}

/// The check above can fail: with the prefix that matched, as the weights share the network out.
#[test]
fn a_scope_that_is_too_short_is_found() {
    let (mut world, a) = (World::new(), RecordType::A);
    let place = Place::new(50.0, 8.0).unwrap();
    world.list(vec![Network { cidr: client(0).shortened(16), place }]);
    world.weigh(1, 500);
    assert!(differs(&world, a, &client(3), 16).is_some());
    assert_eq!(differs(&world, a, &client(3), ask(&world, a, &client(3)).1), None);
    world.weigh(1, 1_000);
    assert_eq!((ask(&world, a, &client(3)).1, differs(&world, a, &client(3), 16)), (16, None));
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec![
        query("api.tw.example.", RecordType::A).edns(1_232).subnet("198.51.100.0/24").0,
        query("tw.example.", RecordType::NS).edns(512).0,
        query("eu.tw.example.", RecordType::ANY).0,
    ]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let mutated = (good, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut bytes, changes, cut, cuts)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cuts {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    );
    prop_oneof![4 => mutated, 1 => prop::collection::vec(any::<u8>(), 0..MESSAGE_BYTES_MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tw_testing::cases(4_000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_gets_one_answer_that_fits_or_none(bytes in message(), is_tcp in any::<bool>()) {
        let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
        let is_query = bytes.len() >= 12 && bytes[2] & 0x80 == 0;
        // `bytes` checks that it can be read, and that it says what it is said to say.
        let answered = World::new().bytes("192.0.2.9", transport, &bytes);
        prop_assert_eq!(answered.is_some(), is_query);
        if let Some(answered) = answered {
            prop_assert_eq!(&answered.bytes[..2], &bytes[..2]);
            prop_assert!(answered.bytes[2] & 0x80 != 0 && answered.bytes.len() <= 1_232);
        }
        if let Some(told) = cut_short(&bytes) {
            prop_assert!(told.bytes.len() <= bytes.len());
        }
    }
}
