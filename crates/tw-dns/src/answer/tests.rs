//! Queries and their answers, without sockets.

mod messages;
mod properties;
mod world;

use super::*;
use tw_plan::routing::{Present, Sampled, User, admission};
use world::{World, ip, query};

#[test]
fn a_client_is_sent_to_the_nearest_region_by_the_subnet_of_its_query() {
    let world = World::new();
    assert_eq!(world.service("198.51.100.0/24"), ["192.0.2.1"]);
    assert_eq!(world.service("203.0.113.0/24"), ["192.0.2.2"]);
    assert_eq!(world.service("2001:db8:f::/48"), ["192.0.2.3"]);
}

#[test]
fn a_query_without_a_subnet_is_answered_for_the_resolver() {
    let world = World::new();
    for (from, region) in [("198.51.100.9", "192.0.2.1"), ("::ffff:203.0.113.9", "192.0.2.2")] {
        let plain = query("api.tw.example.", RecordType::A);
        assert_eq!(world.ask_from(from, Transport::Udp, &plain).addresses(), [ip(region)]);
        let nobody = plain.edns(1_232).subnet("0.0.0.0/0");
        let answered = world.ask_from(from, Transport::Udp, &nobody);
        assert_eq!((answered.addresses(), answered.scope()), (vec![ip(region)], Some(0)));
    }
}

#[test]
fn the_scope_is_what_the_answer_depended_on() {
    let world = World::new();
    let scope = |name: &str, kind, subnet: &str| {
        let query = query(name, kind).edns(1_232).subnet(subnet);
        world.ask(&query).scope()
    };
    let a = RecordType::A;
    // 203.0.112.0/23 has two places: the networks are told apart by their 24th bit.
    assert_eq!(scope("api.tw.example.", a, "198.51.100.0/24"), Some(22));
    assert_eq!(scope("api.tw.example.", a, "198.51.100.7/32"), Some(22));
    assert_eq!(scope("api.tw.example.", a, "203.0.113.0/24"), Some(24));
    // Nobody knows where it is, so the hash of its network decides.
    assert_eq!(scope("api.tw.example.", a, "192.88.99.0/24"), Some(24));
    assert_eq!(scope("api.tw.example.", a, "192.88.0.0/16"), Some(16));
    // These are the same for everybody.
    assert_eq!(scope("eu.tw.example.", a, "198.51.100.0/24"), Some(0));
    assert_eq!(scope("tw.example.", RecordType::NS, "198.51.100.0/24"), Some(0));
    assert_eq!(scope("nothing.tw.example.", a, "198.51.100.0/24"), Some(0));
    assert_eq!(scope("elsewhere.example.", a, "198.51.100.0/24"), None);
    let plain = world.ask(&query("api.tw.example.", a).edns(1_232));
    assert_eq!(plain.scope(), None, "whoever sends no subnet gets none");
}

#[test]
fn weights_that_share_a_network_out_make_the_scope_that_network() {
    let mut world = World::new();
    world.weigh(1, 500);
    let query = query("api.tw.example.", RecordType::A).edns(1_232).subnet("198.51.100.0/24");
    assert_eq!(world.ask(&query).scope(), Some(24));
}

#[test]
fn a_full_region_turns_networks_away_and_the_scope_is_the_network() {
    let mut world = World::new();
    let known = world.known();
    let near = tw_plan::routing::Place::new(52.5, 13.4).unwrap();
    let sample: Vec<Sampled> = (0..100)
        .map(|number| Sampled {
            user: User { key: format!("10.0.{number}.0/24"), place: Some(near), ..User::default() },
            rate_milli_per_s: 20,
        })
        .collect();
    let present =
        Present { observed: &known.observed, options: &known.options, sample: &sample, now_ms: 1_000 };
    known.observed.admission = admission(&known.plan, &present).unwrap().admission;
    let query = query("api.tw.example.", RecordType::A).edns(1_232).subnet("198.51.100.0/24");
    assert_eq!(world.ask(&query).scope(), Some(24));
    let service = |number: u8| world.service(&format!("198.51.{}.0/24", 100 + number % 4));
    assert!((0..4).any(|number| service(number) != ["192.0.2.1"]), "a region has room for half of this");
}

#[test]
fn a_region_that_is_down_leaves_the_answers_and_comes_back() {
    let mut world = World::new();
    world.tell(1, false);
    assert_eq!(world.service("198.51.100.0/24"), ["192.0.2.2"]);
    world.tell(1, true);
    assert_eq!(world.service("198.51.100.0/24"), ["192.0.2.1"]);
}

#[test]
fn when_all_look_down_the_answer_is_as_if_none_were() {
    let mut world = World::new();
    (1..=3).for_each(|region| world.tell(region, false));
    assert_eq!(world.service("198.51.100.0/24"), ["192.0.2.1"]);
}

#[test]
fn a_drained_region_gets_nobody_but_keeps_its_own_name() {
    let mut world = World::new();
    world.drain(1);
    assert_eq!(world.service("198.51.100.0/24"), ["192.0.2.2"]);
    world.tell(1, false);
    let own = world.ask(&query("eu.tw.example.", RecordType::AAAA));
    assert_eq!((own.code(), own.addresses()), (Code::NoError, vec![ip("2001:db8:1::1")]));
}

#[test]
fn an_answer_has_as_many_regions_as_the_options_say_the_best_first() {
    let mut world = World::new();
    world.change(|options| options.answers_max = 2);
    assert_eq!(world.service("198.51.100.0/24"), ["192.0.2.1", "192.0.2.2"]);
    world.change(|options| options.answers_max = 8);
    assert_eq!(world.service("203.0.113.0/24"), ["192.0.2.2", "192.0.2.1", "192.0.2.3"]);
}

#[test]
fn a_region_without_addresses_of_a_family_is_passed_over() {
    let world = World::new();
    let ask = |kind| world.ask(&query("api.tw.example.", kind).edns(1_232).subnet("203.0.113.0/24"));
    assert_eq!(ask(RecordType::A).addresses(), [ip("192.0.2.2")]);
    assert_eq!(ask(RecordType::AAAA).addresses(), [ip("2001:db8:1::1")]);
}

#[test]
fn without_a_plan_the_zone_is_not_served() {
    let mut world = World::new();
    world.known = None;
    for (name, kind) in [
        ("api.tw.example.", RecordType::A),
        ("tw.example.", RecordType::SOA),
        ("eu.tw.example.", RecordType::A),
        ("nothing.tw.example.", RecordType::A),
    ] {
        let answered = world.ask(&query(name, kind));
        assert_eq!((answered.code(), answered.message.answers.len()), (Code::ServFail, 0));
    }
    assert_eq!(world.ask(&query("elsewhere.example.", RecordType::A)).code(), Code::Refused);
}

#[test]
fn a_plan_of_regions_without_addresses_here_is_not_served_from() {
    let mut world = World::new();
    world.change(|options| {
        options.regions.truncate(1);
        options.regions[0].id = tw_types::RegionId(9);
    });
    assert_eq!(world.ask(&query("api.tw.example.", RecordType::A)).code(), Code::ServFail);
    assert_eq!(world.ask(&query("eu.tw.example.", RecordType::A)).code(), Code::NoError);
}

#[test]
fn the_zone_has_its_records_and_its_serial_is_the_generation_of_the_plan() {
    let world = World::new();
    let soa = world.ask(&query("tw.example.", RecordType::SOA));
    assert_eq!(
        soa.answers(),
        ["tw.example. 60 IN SOA ns1.tw.example. host\\.master.example.com. 7 3600 600 604800 60"]
    );
    assert!(soa.message.metadata.authoritative && !soa.message.metadata.recursion_available);
    let ns = world.ask(&query("tw.example.", RecordType::NS));
    assert_eq!(
        ns.answers(),
        ["tw.example. 3600 IN NS ns1.tw.example.", "tw.example. 3600 IN NS ns.elsewhere.example."]
    );
    let glue: Vec<String> = ns.message.additionals.iter().map(ToString::to_string).collect();
    assert_eq!(glue, ["ns1.tw.example. 3600 IN A 192.0.2.53"]);
    let eu = world.ask(&query("eu.tw.example.", RecordType::A));
    assert_eq!(eu.answers(), ["eu.tw.example. 20 IN A 192.0.2.1"]);
}

#[test]
fn what_does_not_exist_is_denied_with_the_zones_soa() {
    let world = World::new();
    for (name, kind, code) in [
        ("nothing.tw.example.", RecordType::A, Code::NxDomain),
        ("deep.eu.tw.example.", RecordType::A, Code::NxDomain),
        ("us.tw.example.", RecordType::AAAA, Code::NoError),
        ("api.tw.example.", RecordType::MX, Code::NoError),
        ("tw.example.", RecordType::A, Code::NoError),
    ] {
        let answered = world.ask(&query(name, kind));
        assert_eq!((answered.code(), answered.message.answers.len()), (code, 0), "{name}");
        let authority: Vec<String> = answered.message.authorities.iter().map(ToString::to_string).collect();
        assert_eq!(authority.len(), 1, "{name}");
        assert!(authority[0].starts_with("tw.example. 60 IN SOA ns1.tw.example. "), "{authority:?}");
    }
}

#[test]
fn a_name_between_names_exists_and_has_nothing() {
    let mut world = World::new();
    world.change(|options| options.service = "api.inner.tw.example".into());
    let ask = |name| world.ask(&query(name, RecordType::ANY));
    assert_eq!(
        (ask("inner.tw.example.").code(), ask("inner.tw.example.").answers().len()),
        (Code::NoError, 0)
    );
    assert_eq!(ask("outer.tw.example.").code(), Code::NxDomain);
}

#[test]
fn the_zone_itself_can_be_the_service() {
    let mut world = World::new();
    world.change(|options| options.service = "tw.example.".into());
    let a = query("tw.example.", RecordType::A).edns(1_232).subnet("203.0.113.0/24");
    assert_eq!(world.ask(&a).addresses(), [ip("192.0.2.2")]);
    assert_eq!(world.ask(&query("tw.example.", RecordType::SOA)).answers().len(), 1);
}

#[test]
fn a_query_for_everything_is_answered_with_why_not() {
    let answered = World::new().ask(&query("api.tw.example.", RecordType::ANY));
    assert_eq!(answered.answers(), ["api.tw.example. 3600 IN HINFO RFC8482 "]);
}
