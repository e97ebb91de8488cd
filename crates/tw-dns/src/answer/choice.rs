//! Which regions a client is told, and for which other clients that holds.

use crate::regions::Known;
use crate::subnet::Subnet;
use crate::zone::{Addresses, Family, Zone};
use tw_plan::routing::{Admission, Ranked, User, WEIGHT_MAX, rank};

/// The regions for a client.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    /// Their addresses, the first choice first.
    pub(super) regions: Vec<&'a Addresses>,
    /// How many first bits of a client's address this depends on: all clients with the same ones get the same.
    pub(super) scope_bits: u8,
}

/// Chooses for a client the first regions of its ranking that have addresses of a family. None: of no region of the ranking an address
/// is known, so that nothing can be answered.
pub(super) fn choose<'a>(
    zone: &'a Zone,
    known: &Known,
    client: &Subnet,
    family: Family,
) -> Option<Choice<'a>> {
    let located = zone.networks.locate(client);
    let user = User { key: client.to_string(), place: located.place, ..User::default() };
    let ranking = rank(&known.plan, &known.observed, &user, &known.options, known.now_ms);
    let mut named: Vec<(&Ranked, &Addresses)> = Vec::with_capacity(ranking.regions.len());
    named.extend(ranking.regions.iter().filter_map(|ranked| Some((ranked, zone.region(ranked.region)?))));
    if named.is_empty() {
        return None;
    }
    // A region without such addresses is passed over: who can reach others only by this family is served, too.
    named.retain(|(_, addresses)| addresses.has(family));
    let scope_bits = if depends_on_draws(known) || depends_on_ties(&named, zone.answers_max) {
        located.scope_bits.max(client.prefix_bits())
    } else {
        located.scope_bits
    };
    let regions = named.iter().take(zone.answers_max).map(|(_, addresses)| *addresses).collect();
    Some(Choice { regions, scope_bits })
}

/// Whether the hash of the client's network may decide that a region does not keep it. It may say so where it does not decide: then resolvers ask more
/// often than they had to, and get the same.
fn depends_on_draws(known: &Known) -> bool {
    known.observed.admission != Admission::default()
        || known.plan.regions().iter().any(|region| region.weight != WEIGHT_MAX)
}

/// Whether the hash of the client's network decides between regions that are as far from it.
fn depends_on_ties(named: &[(&Ranked, &Addresses)], answers_max: usize) -> bool {
    let mut pairs = named.array_windows().take(answers_max);
    pairs.any(|[(one, _), (next, _)]| one.latency.rtt_ms == next.latency.rtt_ms)
}
