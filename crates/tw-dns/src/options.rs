//! What can be configured, with its bounds.

use crate::subnet::Subnet;
use crate::zone::Zone;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tw_plan::routing::{Place, REGIONS_MAX};
use tw_types::RegionId;

/// How many networks may be listed.
const NETWORKS_MAX: usize = 65_536;
/// How many name servers a zone may have. More do not fit into the answers that the root's servers are known for.
const NAME_SERVERS_MAX: usize = 13;
/// How many addresses of a family a region or a name server may have.
const ADDRESSES_MAX: usize = 16;

/// The options of the responder. Names are host names with or without a dot at the end, of 200 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The address and port to listen on, for UDP and TCP; port 0 takes a free one. Default `127.0.0.1:7053`. Resolvers ask port 53.
    /// `[::]` takes IPv4, too. On a machine with several addresses name the one that resolvers ask: otherwise an answer may leave by
    /// another one, and is not taken.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// The zone that is answered for, such as `tw.example`.
    pub zone: String,
    /// The name by which clients reach the region that is best for them: the zone or a name in it, such as `api.tw.example`.
    pub service: String,
    /// The name servers of the zone, the same as in the parent zone: 1 to 13. The first one is the primary of the SOA record.
    pub name_servers: Vec<NameServer>,
    /// The mail address of whoever keeps the zone, such as `hostmaster@example.com`. Everybody can read it.
    pub contact: String,
    /// How long the addresses of regions may be kept, in seconds: that long do clients go on asking for a region that is down. 1 to
    /// 3,600. Default 20.
    #[serde(default = "ttl_s")]
    pub ttl_s: u32,
    /// How long it may be kept that a name or a type does not exist, in seconds: 1 to 10,800 (the most that RFC 2308 advises).
    /// Default 60.
    #[serde(default = "negative_ttl_s")]
    pub negative_ttl_s: u32,
    /// The addresses of how many regions are in an answer for the service, the best one first: 1 to 8. Default 1. With more,
    /// clients choose among them.
    #[serde(default = "answers_max")]
    pub answers_max: u32,
    /// How many connections over TCP may be open; further ones wait. 1 to 10,000. Default 128.
    #[serde(default = "connections_max")]
    pub connections_max: u32,
    /// How many connections a network of clients (24 bits of IPv4, 56 of IPv6) may have open; further ones are closed. 1 to
    /// `connections_max`. Default 16.
    #[serde(default = "connections_per_network_max")]
    pub connections_per_network_max: u32,
    /// How long a connection may take for the next whole query, or for taking an answer, in milliseconds: 100 to 600,000.
    /// Default 10,000.
    #[serde(default = "idle_ms_max")]
    pub idle_ms_max: u32,
    /// How many answers over UDP a network of clients (24 bits of IPv4, 56 of IPv6) may get a second: 1 to 1,000,000. Default 200.
    /// Beyond that, every second query is told to come again over TCP, and the others get no answer: so nobody can
    /// be flooded with answers to queries that another one sent in their name.
    #[serde(default = "answers_per_s_max")]
    pub answers_per_s_max: u32,
    /// The regions and their addresses: 1 to 64.
    pub regions: Vec<RegionAddresses>,
    /// Where clients are, by network; the longest prefix wins. At most 65,536, each once. Default: nobody knows where anybody is, and
    /// clients are spread over the regions by their networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
}

/// A name server of the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameServer {
    /// Its host name.
    pub name: String,
    /// Its IPv4 addresses, if its name is in the zone; the same as in the parent zone. At most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses, likewise. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<Ipv6Addr>,
}

/// A region and its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionAddresses {
    /// Its number.
    pub id: RegionId,
    /// What it is called in the zone: letters, digits and hyphens, 63 at most. `eu` in the zone `tw.example` is `eu.tw.example`.
    pub name: String,
    /// Its IPv4 addresses, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses, at most 16. Default: none; it has an address of one family at least.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<Ipv6Addr>,
}

/// A network of clients, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its addresses, such as `198.51.100.0/24` or `2001:db8::/32`: at most 24 bits of IPv4, 56 of IPv6.
    pub cidr: Subnet,
    /// Where it is, as `{ lat = 50.1, lon = 8.7 }` in degrees.
    pub place: Place,
}

/// An option that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}` is `{value}`: {rule}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// The refused value.
    pub value: String,
    /// The rule, and the remedy.
    pub rule: &'static str,
}

impl InvalidOption {
    pub(crate) fn new(option: &'static str, value: impl ToString, rule: &'static str) -> Self {
        Self { option, value: value.to_string(), rule }
    }
}

fn listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7053)
}

fn ttl_s() -> u32 {
    20
}

fn negative_ttl_s() -> u32 {
    60
}

fn answers_max() -> u32 {
    1
}

fn connections_max() -> u32 {
    128
}

fn connections_per_network_max() -> u32 {
    16
}

fn idle_ms_max() -> u32 {
    10_000
}

fn answers_per_s_max() -> u32 {
    200
}

impl Options {
    /// Checks every bound, and that there is a zone of it.
    ///
    /// # Errors
    /// The first option that is not accepted.
    pub fn check(&self) -> Result<(), InvalidOption> {
        Zone::new(self).map(|_| ())
    }

    /// Checks what can be seen without making the zone.
    pub(crate) fn check_bounds(&self) -> Result<(), InvalidOption> {
        for (option, value, min, max, rule) in [
            ("ttl_s", self.ttl_s, 1, 3_600, "it must be 1 to 3600 s"),
            ("negative_ttl_s", self.negative_ttl_s, 1, 10_800, "it must be 1 to 10800 s"),
            ("answers_max", self.answers_max, 1, 8, "it must be 1 to 8 regions"),
            ("connections_max", self.connections_max, 1, 10_000, "it must be 1 to 10000 connections"),
            (
                "connections_per_network_max",
                self.connections_per_network_max,
                1,
                self.connections_max,
                "it must be 1 to connections_max",
            ),
            ("idle_ms_max", self.idle_ms_max, 100, 600_000, "it must be 100 to 600000 ms"),
            ("answers_per_s_max", self.answers_per_s_max, 1, 1_000_000, "it must be 1 to 1000000 a second"),
        ] {
            if !(min..=max).contains(&value) {
                return Err(InvalidOption::new(option, value, rule));
            }
        }
        for (option, count, max, rule) in [
            ("name_servers", self.name_servers.len(), NAME_SERVERS_MAX, "name 1 to 13"),
            ("regions", self.regions.len(), REGIONS_MAX, "name 1 to 64"),
        ] {
            if !(1..=max).contains(&count) {
                return Err(InvalidOption::new(option, format!("{count} of them"), rule));
            }
        }
        if self.networks.len() > NETWORKS_MAX {
            let value = format!("{} of them", self.networks.len());
            return Err(InvalidOption::new("networks", value, "list at most 65536: put neighbours together"));
        }
        self.check_addresses()?;
        match self.networks.iter().find(|network| network.cidr.capped() != network.cidr) {
            Some(network) => {
                let rule = "no more than 24 bits of IPv4 and 56 of IPv6 are used of a client's address: list the network around it";
                Err(InvalidOption::new("networks", network.cidr, rule))
            }
            None => Ok(()),
        }
    }

    fn check_addresses(&self) -> Result<(), InvalidOption> {
        let name_servers =
            self.name_servers.iter().map(|one| ("name_servers", &one.name, &one.ipv4, &one.ipv6));
        let regions = self.regions.iter().map(|one| ("regions", &one.name, &one.ipv4, &one.ipv6));
        for (option, name, ipv4, ipv6) in name_servers.chain(regions) {
            if ipv4.len() > ADDRESSES_MAX || ipv6.len() > ADDRESSES_MAX {
                return Err(InvalidOption::new(option, name, "name at most 16 addresses of a family"));
            }
            let all = ipv4.iter().copied().map(IpAddr::V4).chain(ipv6.iter().copied().map(IpAddr::V6));
            if let Some(address) = all.into_iter().find(|ip| ip.is_unspecified() || ip.is_multicast()) {
                return Err(InvalidOption::new(
                    option,
                    address,
                    "nobody can connect to it: name an address of one host",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn idle_max(&self) -> Duration {
        Duration::from_millis(self.idle_ms_max.into())
    }
}

#[cfg(test)]
mod tests;
