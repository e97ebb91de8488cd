//! Where clients are: the networks that somebody listed, and what an answer from them holds for.
//!
//! The longest prefix wins. A resolver that keeps an answer uses it for every client in its scope, so the scope must not
//! reach into a listed network that would have led to another place (RFC 7871, section 7.2.1: overlapping prefixes are
//! taken apart). Nothing here ranks regions.

use crate::options::Network;
use crate::subnet::Subnet;
use tw_plan::routing::Place;

/// The listed networks, by family.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks {
    v4: Table,
    v6: Table,
}

/// Networks of one family, in the order of their first addresses; of those with the same one, the larger comes first.
#[derive(Debug, Clone, Default)]
struct Table(Vec<Row>);

#[derive(Debug, Clone)]
struct Row {
    network: Subnet,
    place: Place,
    /// The smallest listed network around it.
    parent: Option<usize>,
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Located {
    /// Its place; None: its network is not listed.
    pub(crate) place: Option<Place>,
    /// How many first bits of its address say so: everybody with the same ones is at the same place.
    pub(crate) scope_bits: u8,
}

impl Networks {
    /// The networks; the first one that is listed twice is the error.
    pub(crate) fn new(listed: &[Network]) -> Result<Self, Subnet> {
        let (v6, v4): (Vec<&Network>, Vec<&Network>) =
            listed.iter().partition(|network| network.cidr.is_v6());
        Ok(Self { v4: Table::new(v4)?, v6: Table::new(v6)? })
    }

    /// Where the client is of whom these bits are known.
    pub(crate) fn locate(&self, client: &Subnet) -> Located {
        if client.is_v6() { self.v6.locate(client) } else { self.v4.locate(client) }
    }
}

impl Table {
    fn new(mut listed: Vec<&Network>) -> Result<Self, Subnet> {
        listed.sort_by_key(|network| (network.cidr.start(), network.cidr.prefix_bits()));
        if let Some([one, _]) = listed.array_windows().find(|[one, next]| one.cidr == next.cidr) {
            return Err(one.cidr);
        }
        let mut rows: Vec<Row> = Vec::with_capacity(listed.len());
        // Those around the present one, the smallest last.
        let mut around: Vec<(usize, Subnet)> = Vec::new();
        for Network { cidr, place } in listed {
            while around.pop_if(|(_, last)| !last.contains(cidr)).is_some() {}
            let parent = around.last().map(|(at, _)| *at);
            around.push((rows.len(), *cidr));
            rows.push(Row { network: *cidr, place: *place, parent });
        }
        Ok(Self(rows))
    }

    fn locate(&self, client: &Subnet) -> Located {
        let after = self.0.partition_point(|row| row.network.start() <= client.start());
        let before = after.checked_sub(1);
        let mut found = before;
        while let Some(row) = found.and_then(|at| self.0.get(at)) {
            if row.network.contains(client) {
                break;
            }
            found = row.parent;
        }
        let row = found.and_then(|at| self.0.get(at));
        let mut scope_bits = row.map_or(0, |row| row.network.prefix_bits());
        // Of all smaller networks in the one that was found, those next to the client share the most bits with it: a scope
        // that leaves them out leaves all of them out.
        let below = before.filter(|before| Some(*before) != found);
        for near in [below, Some(after)].into_iter().flatten().filter_map(|at| self.0.get(at)) {
            let apart_bits = client.common_bits(&near.network).saturating_add(1);
            scope_bits = scope_bits.max(apart_bits.min(near.network.prefix_bits()));
        }
        Located { place: row.map(|row| row.place), scope_bits }
    }
}

#[cfg(test)]
mod tests;
