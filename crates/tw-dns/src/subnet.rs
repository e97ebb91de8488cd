//! Networks: the first bits of an IP address.
//!
//! Of a client's address, no more is ever used than such a network. Nothing here knows what it is used for.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// How many bits of an IPv4 address are used at most (RFC 7871, section 11.1, advises so).
pub const V4_PREFIX_BITS_MAX: u8 = 24;
/// How many bits of an IPv6 address are used at most (RFC 7871, section 11.1, advises so).
pub const V6_PREFIX_BITS_MAX: u8 = 56;

/// A network: an address family, and the first bits that its addresses have in common. As text it is `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    is_v6: bool,
    /// The bits, from the highest on; all beyond the prefix are 0. IPv4 takes the highest 32.
    bits: u128,
    prefix_bits: u8,
}

/// A text that names no network that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no network: say an address and the length of its prefix, such as 192.0.2.0/24 or 2001:db8::/32, with 0 in all bits beyond it"
)]
pub struct NotANetwork(pub String);

impl Subnet {
    /// The network of this many first bits of an address. None: an address of this family has fewer bits.
    pub fn new(address: IpAddr, prefix_bits: u8) -> Option<Self> {
        let (is_v6, bits, bits_max) = match address {
            IpAddr::V4(address) => (false, u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (true, address.to_bits(), 128),
        };
        (prefix_bits <= bits_max).then_some(Self { is_v6, bits: bits & mask(prefix_bits), prefix_bits })
    }

    /// The network by which whoever has this address is told apart: at most [`V4_PREFIX_BITS_MAX`] or
    /// [`V6_PREFIX_BITS_MAX`] bits of it. An IPv4 address that is written as one of IPv6 is one of IPv4.
    pub fn of(address: IpAddr) -> Self {
        let (is_v6, bits) = match address.to_canonical() {
            IpAddr::V4(address) => (false, u128::from(address.to_bits()) << 96),
            IpAddr::V6(address) => (true, address.to_bits()),
        };
        Self { is_v6, bits, prefix_bits: 128 }.capped()
    }

    /// This network, or the larger one that has no more bits than may be used.
    pub fn capped(self) -> Self {
        self.shortened(self.prefix_bits_max())
    }

    /// The network of at most this many first bits.
    pub fn shortened(self, prefix_bits: u8) -> Self {
        let prefix_bits = self.prefix_bits.min(prefix_bits);
        Self { bits: self.bits & mask(prefix_bits), prefix_bits, ..self }
    }

    /// How many bits of an address of this family are used at most.
    pub fn prefix_bits_max(&self) -> u8 {
        if self.is_v6 { V6_PREFIX_BITS_MAX } else { V4_PREFIX_BITS_MAX }
    }

    /// How many bits its addresses have in common.
    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    /// Whether it is one of IPv6.
    pub fn is_v6(&self) -> bool {
        self.is_v6
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        if self.is_v6 {
            return Ipv6Addr::from_bits(self.bits).into();
        }
        Ipv4Addr::from_bits((self.bits >> 96) as u32).into()
    }

    /// Whether each address of the other one is one of this.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_v6 == other.is_v6
            && self.prefix_bits <= other.prefix_bits
            && (self.bits ^ other.bits) & mask(self.prefix_bits) == 0
    }

    /// How many first bits both first addresses have in common, of one family: 0 to 128.
    pub(crate) fn common_bits(&self, other: &Self) -> u8 {
        (self.bits ^ other.bits).leading_zeros() as u8
    }

    /// What networks of one family are sorted by: their first address.
    pub(crate) fn start(&self) -> u128 {
        self.bits
    }
}

/// Ones in the first bits.
fn mask(prefix_bits: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(prefix_bits.into())).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.prefix_bits)
    }
}

impl FromStr for Subnet {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let read = || {
            let (address, prefix_bits) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let network = Self::new(address, prefix_bits.parse().ok()?)?;
            (network.address() == address).then_some(network)
        };
        read().ok_or_else(|| NotANetwork(text.to_owned()))
    }
}

impl TryFrom<String> for Subnet {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(network: Subnet) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_as_they_are_written() {
        for text in ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.1/32", "::/0", "2001:db8::/32", "2001:db8::1/128"]
        {
            assert_eq!(network(text).to_string(), text);
        }
        for text in ["192.0.2.1/24", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0", "192.0.2.0/", "/8", "a/8"]
        {
            let error = text.parse::<Subnet>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no network: ")), "{error}");
        }
    }

    #[test]
    fn of_an_address_no_more_is_used_than_may_be() {
        let of = |address: &str| Subnet::of(address.parse().unwrap()).to_string();
        assert_eq!(of("198.51.100.77"), "198.51.100.0/24");
        assert_eq!(of("::ffff:198.51.100.77"), "198.51.100.0/24");
        assert_eq!(of("2001:db8:1:2ff:4::5"), "2001:db8:1:200::/56");
        assert_eq!(network("198.51.100.77/32").capped().to_string(), "198.51.100.0/24");
        assert_eq!(network("198.51.0.0/16").capped().to_string(), "198.51.0.0/16");
    }

    #[test]
    fn a_network_contains_what_begins_like_it() {
        let (wide, narrow) = (network("198.51.0.0/16"), network("198.51.100.0/24"));
        assert!(wide.contains(&narrow) && wide.contains(&wide) && !narrow.contains(&wide));
        assert!(!network("::/0").contains(&wide) && network("0.0.0.0/0").contains(&wide));
        assert_eq!(narrow.common_bits(&network("198.51.101.0/24")), 23);
    }
}
