//! EDNS Client Subnet (RFC 7871): for which network a resolver asks.
//!
//! ```text
//! FAMILY (2 bytes) | SOURCE PREFIX-LENGTH (1) | SCOPE PREFIX-LENGTH (1, 0 in queries) | ADDRESS (as many bytes as SOURCE needs)
//! ```

use crate::subnet::Subnet;
use std::net::IpAddr;

/// The option of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientSubnet {
    family: u16,
    source_bits: u8,
    /// None: the client does not want to be looked for.
    network: Option<Subnet>,
    address: [u8; 16],
}

impl ClientSubnet {
    /// Reads the data of the option. None: it breaks a rule of RFC 7871, section 6 or 7.1.2.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let ([high, low, source_bits, scope_bits], prefix) = data.split_first_chunk()?;
        let (family, source_bits) = (u16::from_be_bytes([*high, *low]), *source_bits);
        if *scope_bits != 0 || prefix.len() != usize::from(source_bits.div_ceil(8)) {
            return None;
        }
        let mut address = [0; 16];
        address.get_mut(..prefix.len())?.copy_from_slice(prefix);
        let whole: IpAddr = match family {
            // Clients that know no family for "no address" say so.
            0 if source_bits == 0 => {
                return Some(Self { family, source_bits, network: None, address });
            }
            1 => <[u8; 4]>::try_from(address.get(..4)?).ok()?.into(),
            2 => address.into(),
            _ => return None,
        };
        let network = Subnet::new(whole, source_bits)?;
        if network.address() != whole {
            return None;
        }
        Some(Self { family, source_bits, network: (source_bits > 0).then_some(network), address })
    }

    /// The network of the client, of which no more is used than may be. None: the client does not want to be looked for.
    pub(crate) fn network(&self) -> Option<Subnet> {
        self.network.map(Subnet::capped)
    }

    /// The data of the option in the answer: as it was in the query, with the scope. An answer without an address holds for
    /// everybody.
    pub(crate) fn with_scope(&self, scope_bits: u8) -> Vec<u8> {
        let scope_bits = if self.source_bits == 0 { 0 } else { scope_bits };
        let mut data = self.family.to_be_bytes().to_vec();
        data.extend([self.source_bits, scope_bits]);
        data.extend(self.address.iter().take(self.source_bits.div_ceil(8).into()));
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &[u8], network: Option<&str>) {
        let read = ClientSubnet::read(data).unwrap();
        assert_eq!(read.network().map(|network| network.to_string()).as_deref(), network);
        let mut echoed = data.to_vec();
        echoed[3] = if data[2] == 0 { 0 } else { 20 };
        assert_eq!(read.with_scope(20), echoed);
    }

    #[test]
    fn a_subnet_is_read_and_sent_back_as_it_came_with_the_scope() {
        check(&[0, 1, 24, 0, 198, 51, 100], Some("198.51.100.0/24"));
        check(&[0, 1, 20, 0, 198, 51, 96], Some("198.51.96.0/20"));
        check(&[0, 1, 32, 0, 198, 51, 100, 7], Some("198.51.100.0/24"));
        check(&[0, 2, 32, 0, 0x20, 1, 0xd, 0xb8], Some("2001:db8::/32"));
        check(&[0, 2, 64, 0, 0x20, 1, 0xd, 0xb8, 0, 1, 2, 0xff], Some("2001:db8:1:200::/56"));
        check(&[0, 1, 0, 0], None);
        check(&[0, 0, 0, 0], None);
    }

    #[test]
    fn what_breaks_a_rule_is_no_subnet() {
        let wrong: [&[u8]; 9] = [
            &[],
            &[0, 1, 24],
            // Too few bytes, too many, bits beyond the prefix, a scope, a prefix that is too long, unknown families.
            &[0, 1, 24, 0, 198, 51],
            &[0, 1, 24, 0, 198, 51, 100, 0],
            &[0, 1, 20, 0, 198, 51, 100],
            &[0, 1, 24, 24, 198, 51, 100],
            &[0, 1, 33, 0, 198, 51, 100, 7, 0],
            &[0, 3, 8, 0, 1],
            &[0, 0, 8, 0, 1],
        ];
        for data in wrong {
            assert_eq!(ClientSubnet::read(data), None, "{data:?}");
        }
    }
}
