//! A DNS message, as anybody on the Internet can send it: it gets one answer that its sender can read and that is not longer than allowed, or
//! none if it is no query.
//!
//! The first byte says over what it comes and who is up. The others are taken as a message, and also as the options of EDNS in a query for
//! the service, because hardly a mutation would get that far.
#![no_main]

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::serialize::binary::DecodeError;
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use tw_dns::{Known, Options, Subnet, Transport, Zone, answer, cut_short};
use tw_plan::routing::{self, Observed, Plan};
use tw_types::RegionId;

const OPTIONS: &str = r#"{
    "zone": "tw.example", "service": "api.tw.example", "contact": "hostmaster@example.com", "answers_max": 2,
    "name_servers": [{ "name": "ns1.tw.example", "ipv4": ["192.0.2.53"] }],
    "regions": [
        { "id": 1, "name": "eu", "ipv4": ["192.0.2.1"], "ipv6": ["2001:db8:1::1"] },
        { "id": 2, "name": "us", "ipv4": ["192.0.2.2"] }
    ],
    "networks": [
        { "cidr": "10.0.0.0/8", "place": { "lat": 50.0, "lon": 8.0 } },
        { "cidr": "10.9.0.0/16", "place": { "lat": 40.0, "lon": -74.0 } },
        { "cidr": "2001:db8::/32", "place": { "lat": 1.0, "lon": 103.0 } }
    ]
}"#;

const PLAN: &str = r#"{ "generation": 7, "regions": [
    { "id": 1, "weight": 900, "capacity_per_s": 1, "place": { "lat": 50.1, "lon": 8.7 }, "addresses": ["a"] },
    { "id": 2, "weight": 1000, "capacity_per_s": 1, "place": { "lat": 38.9, "lon": -77.4 }, "addresses": ["b"] }
] }"#;

/// The header and the question of a query for the service, with one additional record, up to that record's class.
const QUERY: &[u8] = b"\x12\x34\0\0\0\x01\0\0\0\0\0\x01\x03api\x02tw\x07example\0\0\x01\0\x01\0\0\x29";

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let options: Options = serde_json::from_str(OPTIONS).expect("options");
    Zone::new(&options).expect("a zone")
});

fuzz_target!(|input: &[u8]| {
    let Some((world, bytes)) = input.split_first() else { return };
    let plan: Plan = serde_json::from_str(PLAN).expect("a plan");
    let mut observed = Observed::default();
    observed.tell(RegionId(1), world & 1 == 0, 1);
    observed.tell(RegionId(2), world & 2 == 0, 1);
    let known = Known { plan, observed, options: routing::Options::default(), now_ms: 1 };
    let known = (world & 4 == 0).then_some(&known);
    let transport = if world & 8 == 0 { Transport::Udp } else { Transport::Tcp };
    check(known, transport, bytes);
    let Ok(length) = u16::try_from(bytes.len()) else { return };
    let mut query = QUERY.to_vec();
    query.extend([4, 0xd0, 0, 0, 0, 0]);
    query.extend(length.to_be_bytes());
    query.extend_from_slice(bytes);
    if let Some(message) = check(known, transport, &query)
        && known.is_some()
        && message.metadata.response_code == ResponseCode::NoError
    {
        assert!(!message.answers.is_empty(), "the service has no address");
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(network) = text.parse::<Subnet>()
    {
        assert_eq!(network.to_string().parse().as_ref(), Ok(&network), "{text}");
    }
});

/// The answer to a message, if it gets one that the library can read.
fn check(known: Option<&Known>, transport: Transport, bytes: &[u8]) -> Option<Message> {
    let from = IpAddr::V4(Ipv4Addr::new(10, 9, 8, 7));
    let is_query = bytes.len() >= 12 && bytes[2] & 0x80 == 0;
    if let Some(told) = cut_short(bytes) {
        assert!(is_query && told.bytes.len() <= bytes.len(), "it amplifies");
    }
    let answered = answer(&ZONE, known, transport, from, bytes);
    assert_eq!(answered.is_some(), is_query);
    let answered = answered?;
    assert!(answered.bytes.len() <= 1_232, "it is longer than any answer of this zone");
    assert_eq!(answered.bytes[..2], bytes[..2], "it answers another query");
    let message = match Message::from_vec(&answered.bytes) {
        // A client that names no family gets it back: the library cannot read that, clients can.
        Err(DecodeError::UnknownAddressFamily(0)) => return None,
        read => read.expect("an answer can be read"),
    };
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert_eq!(message.metadata.truncation, answered.is_truncated);
    Some(message)
}
