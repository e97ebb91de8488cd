//! Options are accepted within their bounds, and refused with the rule that they break.

use super::*;

const TEXT: &str = r#"
zone = "tw.example"
service = "api.tw.example"
name_servers = [{ name = "ns1.tw.example", ipv4 = ["192.0.2.53"] }, { name = "ns.elsewhere.example" }]
contact = "host.master@example.com"
regions = [
    { id = 1, name = "eu", ipv4 = ["192.0.2.1"], ipv6 = ["2001:db8:1::1"] },
    { id = 2, name = "us", ipv4 = ["192.0.2.2"] },
]
networks = [{ cidr = "198.51.100.0/24", place = { lat = 50.1, lon = 8.7 } }]
"#;

fn options() -> Options {
    toml::from_str(TEXT).unwrap()
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Options), text: &str) {
    let mut options = options();
    change(&mut options);
    assert_eq!(options.check().unwrap_err().to_string(), text);
}

#[test]
fn options_with_their_defaults_are_accepted_and_written_as_they_are_read() {
    let options = options();
    options.check().unwrap();
    assert_eq!((options.ttl_s, options.negative_ttl_s, options.answers_max), (20, 60, 1));
    let json = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options);
}

#[test]
fn unknown_options_are_errors() {
    assert!(toml::from_str::<Options>(&format!("ttl = 3\n{TEXT}")).is_err());
    assert!(toml::from_str::<Options>(&TEXT.replace("lat = 50.1", "lat = 91.0")).is_err());
    let error = toml::from_str::<Options>(&TEXT.replace("198.51.100.0/24", "198.51.100.7/24")).unwrap_err();
    assert!(error.to_string().contains("`198.51.100.7/24` is no network"), "{error}");
}

#[test]
fn numbers_out_of_bounds_are_refused_with_the_bound() {
    refused(|it| it.ttl_s = 0, "option `ttl_s` is `0`: it must be 1 to 3600 s");
    refused(|it| it.ttl_s = 3_601, "option `ttl_s` is `3601`: it must be 1 to 3600 s");
    refused(|it| it.negative_ttl_s = 0, "option `negative_ttl_s` is `0`: it must be 1 to 10800 s");
    refused(|it| it.answers_max = 9, "option `answers_max` is `9`: it must be 1 to 8 regions");
    refused(
        |it| it.connections_per_network_max = 129,
        "option `connections_per_network_max` is `129`: it must be 1 to connections_max",
    );
    refused(|it| it.idle_ms_max = 99, "option `idle_ms_max` is `99`: it must be 100 to 600000 ms");
    refused(
        |it| it.answers_per_s_max = 0,
        "option `answers_per_s_max` is `0`: it must be 1 to 1000000 a second",
    );
    refused(|it| it.regions.clear(), "option `regions` is `0 of them`: name 1 to 64");
    refused(|it| it.name_servers.clear(), "option `name_servers` is `0 of them`: name 1 to 13");
}

#[test]
fn names_that_cannot_be_are_refused() {
    let rule = "it must be a host name of 1 to 200 bytes: labels of letters, digits, hyphens and underscores, with dots between them";
    for zone in ["", ".", "a..b", "tw example", "-a.example", "tw.\u{e4}.example"] {
        refused(|it| it.zone = zone.into(), &format!("option `zone` is `{zone}`: {rule}"));
    }
    refused(
        |it| it.service = "api.example".into(),
        "option `service` is `api.example`: it must be the zone or a name in it: let it end with the name of the zone",
    );
    for contact in ["hostmaster", "@example.com", "a@", "a b@example.com"] {
        refused(
            |it| it.contact = contact.into(),
            &format!(
                "option `contact` is `{contact}`: it must be a mail address, such as hostmaster@example.com"
            ),
        );
    }
    refused(
        |it| it.regions[0].name = "e.u".into(),
        "option `regions` is `e.u`: the name of a region is 1 to 63 letters, digits and hyphens, no hyphen first or last",
    );
}

#[test]
fn names_that_are_taken_are_refused() {
    let taken = "this name is in use: the zone, the service, name servers and regions each need their own";
    refused(|it| it.regions[1].name = "EU".into(), &format!("option `regions` is `EU.tw.example.`: {taken}"));
    refused(
        |it| it.regions[1].name = "ns1".into(),
        &format!("option `regions` is `ns1.tw.example.`: {taken}"),
    );
    refused(
        |it| it.regions[1].name = "api".into(),
        &format!("option `regions` is `api.tw.example.`: {taken}"),
    );
    refused(
        |it| it.regions[1].id = RegionId(1),
        "option `regions` is `1`: its number is there twice: list it once",
    );
    refused(
        |it| it.name_servers.push(it.name_servers[1].clone()),
        "option `name_servers` is `ns.elsewhere.example`: it is named twice: name it once",
    );
}

#[test]
fn addresses_that_nobody_reaches_are_refused() {
    refused(|it| it.regions[1].ipv4.clear(), "option `regions` is `us`: it has no address: say one");
    refused(
        |it| it.regions[1].ipv4 = vec![[0, 0, 0, 0].into()],
        "option `regions` is `0.0.0.0`: nobody can connect to it: name an address of one host",
    );
    refused(
        |it| it.regions[1].ipv4 = vec![[192, 0, 2, 9].into(); 17],
        "option `regions` is `us`: name at most 16 addresses of a family",
    );
    refused(
        |it| it.name_servers[0].ipv4.clear(),
        "option `name_servers` is `ns1.tw.example`: its name is in the zone: say its addresses",
    );
    refused(
        |it| it.name_servers[1].ipv4 = vec![[192, 0, 2, 9].into()],
        "option `name_servers` is `ns.elsewhere.example`: its name is not in the zone, which says nothing of it: leave its addresses out",
    );
}

#[test]
fn networks_that_say_too_much_or_come_twice_are_refused() {
    refused(
        |it| it.networks[0].cidr = "198.51.100.0/25".parse().unwrap(),
        "option `networks` is `198.51.100.0/25`: no more than 24 bits of IPv4 and 56 of IPv6 are used of a client's address: list the network around it",
    );
    refused(
        |it| it.networks.push(it.networks[0].clone()),
        "option `networks` is `198.51.100.0/24`: it is listed twice: list it once",
    );
}
