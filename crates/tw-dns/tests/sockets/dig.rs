//! What `dig` gets.

use crate::world::{World, known};
use std::process::Command;
use tw_testing::dig_program;

/// What `dig` prints, asking the server.
fn dig(world: &World, args: &[&str]) -> String {
    let mut command = Command::new(dig_program());
    command.arg(format!("@{}", world.address.ip())).args(["-p", &world.address.port().to_string()]);
    // No configuration of whoever runs the test, no second try that would be counted.
    let said =
        command.env("HOME", "/nonexistent").args(["+tries=1", "+time=30", "+norecurse"]).args(args).output();
    let said = said.unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "dig {args:?}: {text}");
    text
}

/// The addresses that the service has for a network.
fn service(world: &World, subnet: &str) -> Vec<String> {
    let said = dig(world, &["+short", &format!("+subnet={subnet}"), "api.tw.example", "A"]);
    said.lines().map(str::to_owned).collect()
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn dig_is_sent_to_the_nearest_region_by_the_subnet_that_it_names() {
    let world = World::new();
    assert_eq!(service(&world, "198.51.100.0/24"), ["192.0.2.1"]);
    assert_eq!(service(&world, "203.0.113.0/24"), ["192.0.2.2"]);
    assert_eq!(service(&world, "2001:db8:f::/48"), ["192.0.2.3"]);
    let said = dig(&world, &["+subnet=198.51.100.0/24", "api.tw.example", "A"]);
    contains(&said, &["status: NOERROR", "flags: qr aa;", "CLIENT-SUBNET: 198.51.100.0/24/22", "udp: 1232"]);
    contains(&said, &["api.tw.example.\t\t20\tIN\tA\t192.0.2.1"]);
    let nobody = dig(&world, &["+subnet=0", "api.tw.example", "A"]);
    contains(&nobody, &["status: NOERROR", "/0/0\n"]);
    assert!(!dig(&world, &["api.tw.example"]).contains("CLIENT-SUBNET"));
}

#[test]
fn a_region_that_is_down_leaves_the_answers_and_all_of_them_do_not() {
    let world = World::new();
    world.down(&[1]);
    assert_eq!(service(&world, "198.51.100.0/24"), ["192.0.2.2"]);
    contains(&dig(&world, &["+short", "eu.tw.example", "AAAA"]), &["2001:db8:1::1"]);
    world.down(&[1, 2]);
    assert_eq!(service(&world, "198.51.100.0/24"), ["192.0.2.3"]);
    world.down(&[1, 2, 3]);
    assert_eq!(service(&world, "198.51.100.0/24"), ["192.0.2.1"]);
    world.down(&[]);
    assert_eq!(service(&world, "198.51.100.0/24"), ["192.0.2.1"]);
}

#[test]
fn without_a_plan_dig_is_told_to_ask_another_server() {
    let world = World::new();
    world.tell(None);
    contains(&dig(&world, &["api.tw.example"]), &["status: SERVFAIL"]);
    world.tell(Some(known()));
    contains(&dig(&world, &["api.tw.example"]), &["status: NOERROR"]);
    assert_eq!((world.counters().servfail, world.counters().noerror), (1, 1));
}

#[test]
fn the_records_of_the_zone_are_as_dig_expects_them() {
    let world = World::new();
    let soa = "tw.example.\t\t60\tIN\tSOA\tns1.tw.example. hostmaster.example.com. 1 3600 600 604800 60";
    contains(&dig(&world, &["tw.example", "SOA"]), &[soa]);
    let ns = dig(&world, &["tw.example", "NS"]);
    contains(
        &ns,
        &["tw.example.\t\t3600\tIN\tNS\tns1.tw.example.", "ns1.tw.example.\t\t3600\tIN\tA\t192.0.2.53"],
    );
    contains(&dig(&world, &["nothing.tw.example"]), &["status: NXDOMAIN", "ANSWER: 0, AUTHORITY: 1", soa]);
    contains(&dig(&world, &["us.tw.example", "AAAA"]), &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", soa]);
    contains(&dig(&world, &["+notcp", "api.tw.example", "ANY"]), &["HINFO\t\"RFC8482\" \"\""]);
    contains(&dig(&world, &["ApI.tW.eXample"]), &[";ApI.tW.eXample.", "ApI.tW.eXample.\t\t20"]);
}

#[test]
fn what_is_not_offered_is_refused_so_that_dig_says_it() {
    let world = World::new();
    contains(&dig(&world, &["elsewhere.example"]), &["status: REFUSED"]);
    contains(&dig(&world, &["version.bind", "CH", "TXT"]), &["status: REFUSED"]);
    contains(&dig(&world, &["tw.example", "AXFR"]), &["Transfer failed"]);
    contains(&dig(&world, &["+opcode=notify", "tw.example", "SOA"]), &["status: NOTIMP"]);
    contains(&dig(&world, &["+edns=1", "+noednsneg", "api.tw.example"]), &["status: BADVERS", "version: 0"]);
    // Option 8 with a prefix of 24 bits, of which there are only 8.
    contains(&dig(&world, &["+ednsopt=8:00011800c6", "api.tw.example"]), &["status: FORMERR"]);
    let counters = world.counters();
    assert_eq!((counters.refused, counters.notimp, counters.badvers, counters.formerr), (3, 1, 1, 1));
}

#[test]
fn an_answer_that_is_too_long_for_a_datagram_comes_over_tcp() {
    let world = World::with(|options| {
        options.answers_max = 3;
        for region in &mut options.regions {
            region.ipv6 =
                (1..=16).map(|host| [0x2001, 0xdb8, region.id.0, 0, 0, 0, 0, host].into()).collect();
        }
    });
    let whole = dig(&world, &["api.tw.example", "AAAA"]);
    contains(&whole, &["Truncated, retrying in TCP mode", "ANSWER: 48", "(TCP)"]);
    contains(&dig(&world, &["+ignore", "api.tw.example", "AAAA"]), &["flags: qr aa tc;", "ANSWER: 0"]);
    let counters = world.counters();
    assert_eq!((counters.truncated, counters.connections), (2, 1));
}

#[test]
fn one_connection_serves_many_queries() {
    let world = World::new();
    let said =
        dig(&world, &["+tcp", "+keepopen", "+short", "eu.tw.example", "us.tw.example", "sg.tw.example"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!((world.counters().connections, world.counters().noerror), (1, 3));
}
