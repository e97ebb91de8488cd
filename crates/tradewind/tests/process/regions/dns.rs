//! Users find their region by DNS: nodes as name servers of a zone, asked with `dig`.

use super::{World, refused};
use std::process::Command;
use tw_testing::{eventually, free_port};

/// The section for a name server on this port.
pub(super) fn config(port: u16) -> String {
    let regions: String =
        (1..=3).map(|id| format!("{{ id = {id}, name = \"r{id}\", ipv4 = [\"192.0.2.{id}\"] }}, ")).collect();
    format!(
        "[dns]\nlisten = \"127.0.0.1:{port}\"\nzone = \"tw.example\"\nservice = \"api.tw.example\"\ncontact = \"hostmaster@example.com\"\n\
         name_servers = [{{ name = \"ns.example.net\" }}]\nregions = [{regions}]\n\
         networks = [{{ cidr = \"198.51.100.0/24\", place = {{ lat = 35.7, lon = 139.7 }} }}, {{ cidr = \"203.0.113.0/24\", place = {{ lat = 48.9, lon = 2.4 }} }}]\n"
    )
}

/// The addresses that a name server gives for a name to a client in this network.
pub(super) fn dig(port: u16, name: &str, subnet: &str) -> String {
    let output = Command::new(tw_testing::dig_program())
        .args(["@127.0.0.1", "-p", &port.to_string(), name, "+short", "+norecurse", "+time=2", "+tries=1"])
        .arg(format!("+subnet={subnet}"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_name_leads_users_to_the_nearest_region_that_is_up() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut world = World::with(|region| config(ports[region]));
    let is = |region: usize, subnet: &str, address: &str| {
        let ask = || dig(ports[region], "api.tw.example", subnet);
        eventually(
            || (ask() == address).then_some(()),
            || format!("region {region} says {} to {subnet}", ask()),
        );
    };
    // Every region says the same: Tokyo is near to region 3, Paris to region 1.
    for region in 0..3 {
        is(region, "198.51.100.0/24", "192.0.2.3");
        is(region, "203.0.113.0/24", "192.0.2.1");
    }
    world.nodes[2].take().unwrap().kill();
    is(0, "198.51.100.0/24", "192.0.2.1");
    is(1, "198.51.100.0/24", "192.0.2.1");
    assert_eq!(
        dig(ports[1], "r3.tw.example", "0.0.0.0/0"),
        "192.0.2.3",
        "a region that is down has its name"
    );
    world.start(2);
    is(0, "198.51.100.0/24", "192.0.2.3");
    let counted =
        || world.node(0).metrics().contains("tradewind_dns_answers{code=\"noerror\"}").then_some(());
    eventually(counted, || world.node(0).metrics());
    // It ends with its node, and can be started again at once.
    world.nodes[0].take().unwrap().kill();
    world.start(0);
    is(0, "203.0.113.0/24", "192.0.2.1");
}

#[test]
fn a_zone_without_a_plan_or_without_addresses_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let start = |config: &str| refused(folder.path(), config);
    let zone = config(0);
    let said = start(&zone);
    assert!(said.contains("[dns]") && said.contains("[[routing.regions]]"), "{said}");
    let more = "[region]\nid = 4\n[[routing.regions]]\nid = 4\nurl = \"http://127.0.0.1:1\"\n";
    let said = start(&format!("{more}{zone}"));
    assert!(said.contains("region 4") && said.contains("no addresses"), "{said}");
    let said = start(&zone.replace("contact = \"hostmaster@example.com\"", "contact = \"nobody\""));
    assert!(said.contains("[dns]") && said.contains("contact"), "{said}");
}
