//! A zone with three regions, and queries to it.
//!
//! Queries are put together by hand, byte by byte; answers are read by the library.

use crate::answer::{Code, Transport, answer};
use crate::options::{Network, Options};
use crate::regions::Known;
use crate::subnet::Subnet;
use crate::zone::Zone;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, RecordType};
use std::net::IpAddr;
use tw_plan::routing::{Observed, Plan};
use tw_types::RegionId;

/// Who asks if nobody else does.
const RESOLVER: &str = "192.88.99.53";

pub(super) struct World {
    options: Options,
    zone: Zone,
    pub(super) known: Option<Known>,
    clock_ms: u64,
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn options() -> Options {
    toml::from_str(
        r#"
zone = "tw.example"
service = "api.tw.example"
name_servers = [{ name = "ns1.tw.example", ipv4 = ["192.0.2.53"] }, { name = "ns.elsewhere.example" }]
contact = "host.master@example.com"
regions = [
    { id = 1, name = "eu", ipv4 = ["192.0.2.1"], ipv6 = ["2001:db8:1::1"] },
    { id = 2, name = "us", ipv4 = ["192.0.2.2"] },
    { id = 3, name = "sg", ipv4 = ["192.0.2.3"], ipv6 = ["2001:db8:3::1"] },
]
networks = [
    { cidr = "198.51.100.0/22", place = { lat = 52.5, lon = 13.4 } },
    { cidr = "203.0.113.0/24", place = { lat = 40.7, lon = -74.0 } },
    { cidr = "203.0.112.0/24", place = { lat = 35.7, lon = 139.7 } },
    { cidr = "2001:db8:f::/48", place = { lat = 13.8, lon = 100.5 } },
]
"#,
    )
    .unwrap()
}

/// Frankfurt, Virginia and Singapore.
pub(super) fn plan(weights: [u32; 3], drained: [bool; 3]) -> Plan {
    let places = [(50.1, 8.7), (38.9, -77.4), (1.3, 103.8)];
    let regions: Vec<serde_json::Value> = (0..3)
        .map(|at| {
            serde_json::json!({
                "id": at + 1, "weight": weights[at], "drained": drained[at], "capacity_per_s": 1,
                "place": { "lat": places[at].0, "lon": places[at].1 }, "addresses": ["region.example"],
            })
        })
        .collect();
    serde_json::from_value(serde_json::json!({ "generation": 7, "regions": regions })).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let (options, observed) = (options(), Observed::default());
        let (plan, ranking) = (plan([1_000; 3], [false; 3]), tw_plan::routing::Options::default());
        let known = Some(Known { plan, observed, options: ranking, now_ms: 1_000 });
        Self { zone: Zone::new(&options).unwrap(), options, known, clock_ms: 0 }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options);
        self.zone = Zone::new(&self.options).unwrap();
    }

    pub(super) fn list(&mut self, networks: Vec<Network>) {
        self.change(|options| options.networks = networks);
    }

    pub(super) fn known(&mut self) -> &mut Known {
        self.known.as_mut().unwrap()
    }

    pub(super) fn tell(&mut self, region: u16, up: bool) {
        self.clock_ms += 1;
        let at_ms = self.clock_ms;
        self.known().observed.tell(RegionId(region), up, at_ms);
    }

    pub(super) fn weigh(&mut self, region: usize, weight: u32) {
        let mut weights = [1_000; 3];
        weights[region - 1] = weight;
        self.known().plan = plan(weights, [false; 3]);
    }

    pub(super) fn drain(&mut self, region: usize) {
        let mut drained = [false; 3];
        drained[region - 1] = true;
        self.known().plan = plan([1_000; 3], drained);
    }

    pub(super) fn bytes(&self, from: &str, transport: Transport, bytes: &[u8]) -> Option<Answered> {
        let answered = answer(&self.zone, self.known.as_ref(), transport, ip(from), bytes)?;
        let message = Message::from_vec(&answered.bytes).unwrap();
        // The library calls two codes by one number.
        assert_eq!(u16::from(message.metadata.response_code), u16::from(answered.code.to_wire()));
        assert_eq!(message.metadata.truncation, answered.is_truncated);
        Some(Answered { code: answered.code, bytes: answered.bytes, message })
    }

    pub(super) fn ask_from(&self, from: &str, transport: Transport, query: &Bytes) -> Answered {
        self.bytes(from, transport, &query.0).unwrap()
    }

    pub(super) fn ask(&self, query: &Bytes) -> Answered {
        self.ask_from(RESOLVER, Transport::Udp, query)
    }

    /// The IPv4 addresses of the service for clients of a network.
    pub(super) fn service(&self, subnet: &str) -> Vec<String> {
        let query = query("api.tw.example.", RecordType::A).edns(1_232).subnet(subnet);
        self.ask(&query).addresses().iter().map(ToString::to_string).collect()
    }
}

/// An answer, read.
#[derive(Debug)]
pub(super) struct Answered {
    code: Code,
    pub(super) bytes: Vec<u8>,
    pub(super) message: Message,
}

impl Answered {
    pub(super) fn code(&self) -> Code {
        self.code
    }

    pub(super) fn answers(&self) -> Vec<String> {
        self.message.answers.iter().map(ToString::to_string).collect()
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let address = |data: &RData| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        };
        self.message.answers.iter().filter_map(|record| address(&record.data)).collect()
    }

    pub(super) fn scope(&self) -> Option<u8> {
        match self.message.edns.as_ref()?.option(EdnsCode::Subnet)? {
            EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
            other => panic!("{other:?}"),
        }
    }
}

/// The bytes of a query.
#[derive(Debug, Clone)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// A query without EDNS, with the identity 0x1234.
pub(super) fn query(name: &str, kind: RecordType) -> Bytes {
    let mut bytes = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(u16::from(kind).to_be_bytes());
    bytes.extend([0, 1]);
    Bytes(bytes)
}

impl Bytes {
    /// With EDNS, as the last record.
    pub(super) fn edns(mut self, answer_bytes_max: u16) -> Self {
        self.0[11] += 1;
        self.0.extend([0, 0, 41]);
        self.0.extend(answer_bytes_max.to_be_bytes());
        self.0.extend([0, 0, 0x80, 0, 0, 0]);
        self
    }

    /// With an option of EDNS; the first and only one.
    pub(super) fn option(mut self, code: u16, data: &[u8]) -> Self {
        let at = self.0.len() - 2;
        self.0[at..].copy_from_slice(&(data.len() as u16 + 4).to_be_bytes());
        self.0.extend(code.to_be_bytes());
        self.0.extend((data.len() as u16).to_be_bytes());
        self.0.extend(data);
        self
    }

    /// With the subnet of a client.
    pub(super) fn subnet(self, subnet: &str) -> Self {
        let subnet: Subnet = subnet.parse().unwrap();
        let octets = match subnet.address() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let mut data = vec![0, if subnet.is_v6() { 2 } else { 1 }, subnet.prefix_bits(), 0];
        data.extend(octets.iter().take(subnet.prefix_bits().div_ceil(8).into()));
        self.option(8, &data)
    }

    /// With other bytes at a place.
    pub(super) fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }
}
