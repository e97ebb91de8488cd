//! The zone: which names there are, and what they have, made of the options once.
//!
//! Nothing here reads a query or knows who is up.

use crate::networks::Networks;
use crate::options::{InvalidOption, NameServer, Options};
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use tw_types::RegionId;

/// How long a name of the options may be, in bytes: with the name of a region before it, it stays within the 255 of RFC 1035.
const NAME_BYTES_MAX: usize = 200;
/// How long a label may be, in bytes (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// How long what changes with the configuration only may be kept, in seconds.
pub(crate) const FIXED_TTL_S: u32 = 3_600;
/// When secondaries ask for a new version, when they try again, and when they give up, in seconds. Nobody transfers this zone, but a
/// SOA record has these fields.
const REFRESH_S: i32 = 3_600;
const RETRY_S: i32 = 600;
const EXPIRE_S: i32 = 604_800;

/// A zone, ready to be asked.
#[derive(Debug, Clone)]
pub struct Zone {
    apex: Name,
    contact: Name,
    name_servers: Vec<Name>,
    names: BTreeMap<LowerName, Node>,
    regions: BTreeMap<RegionId, Addresses>,
    pub(crate) networks: Networks,
    pub(crate) ttl_s: u32,
    negative_ttl_s: u32,
    pub(crate) answers_max: usize,
}

/// What a name has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// It is the zone's own name.
    pub(crate) is_apex: bool,
    /// It leads to the region that is best.
    pub(crate) is_service: bool,
    /// Its addresses, which are always the same, and how long they may be kept, in seconds.
    pub(crate) addresses: Option<(Addresses, u32)>,
}

/// Addresses of a host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    ipv4: Vec<Ipv4Addr>,
    ipv6: Vec<Ipv6Addr>,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Zone {
    /// The zone of these options.
    ///
    /// # Errors
    /// The first option that is not accepted.
    pub fn new(options: &Options) -> Result<Self, InvalidOption> {
        options.check_bounds()?;
        let apex = host("zone", &options.zone)?;
        let service = host("service", &options.service)?;
        if !apex.zone_of(&service) {
            let rule = "it must be the zone or a name in it: let it end with the name of the zone";
            return Err(InvalidOption::new("service", &options.service, rule));
        }
        let mut zone = Self {
            contact: contact(&options.contact)?,
            name_servers: Vec::new(),
            names: BTreeMap::new(),
            regions: BTreeMap::new(),
            networks: Networks::new(&options.networks)
                .map_err(|cidr| InvalidOption::new("networks", cidr, "it is listed twice: list it once"))?,
            ttl_s: options.ttl_s,
            negative_ttl_s: options.negative_ttl_s,
            answers_max: options.answers_max as usize,
            apex,
        };
        zone.node(&zone.apex.clone()).is_apex = true;
        zone.node(&service).is_service = true;
        options.name_servers.iter().try_for_each(|server| zone.add_name_server(server))?;
        zone.add_regions(options)?;
        Ok(zone)
    }

    fn add_name_server(&mut self, server: &NameServer) -> Result<(), InvalidOption> {
        let refused = |rule| Err(InvalidOption::new("name_servers", &server.name, rule));
        let name = host("name_servers", &server.name)?;
        if self.name_servers.contains(&name) {
            return refused("it is named twice: name it once");
        }
        let addresses = Addresses { ipv4: server.ipv4.clone(), ipv6: server.ipv6.clone() };
        match (self.apex.zone_of(&name), addresses.is_empty()) {
            (true, true) => return refused("its name is in the zone: say its addresses"),
            (false, false) => {
                return refused(
                    "its name is not in the zone, which says nothing of it: leave its addresses out",
                );
            }
            (true, false) => self.own("name_servers", &name, addresses, FIXED_TTL_S)?,
            (false, true) => {}
        }
        self.name_servers.push(name);
        Ok(())
    }

    fn add_regions(&mut self, options: &Options) -> Result<(), InvalidOption> {
        for region in &options.regions {
            if !is_label(&region.name) || region.name.contains('_') {
                let rule =
                    "the name of a region is 1 to 63 letters, digits and hyphens, no hyphen first or last";
                return Err(InvalidOption::new("regions", &region.name, rule));
            }
            let name = self.apex.prepend_label(region.name.as_bytes()).map_err(|_| {
                InvalidOption::new(
                    "regions",
                    &region.name,
                    "with the zone it is longer than a name may be: shorten it",
                )
            })?;
            let addresses = Addresses { ipv4: region.ipv4.clone(), ipv6: region.ipv6.clone() };
            if addresses.is_empty() {
                return Err(InvalidOption::new("regions", &region.name, "it has no address: say one"));
            }
            if self.regions.insert(region.id, addresses.clone()).is_some() {
                return Err(InvalidOption::new(
                    "regions",
                    region.id,
                    "its number is there twice: list it once",
                ));
            }
            self.own("regions", &name, addresses, self.ttl_s)?;
        }
        Ok(())
    }

    /// Gives addresses to a name that has nothing yet.
    fn own(
        &mut self,
        option: &'static str,
        name: &Name,
        addresses: Addresses,
        ttl_s: u32,
    ) -> Result<(), InvalidOption> {
        let node = self.node(name);
        if node.is_apex || node.is_service || node.addresses.is_some() {
            let rule =
                "this name is in use: the zone, the service, name servers and regions each need their own";
            return Err(InvalidOption::new(option, name, rule));
        }
        node.addresses = Some((addresses, ttl_s));
        Ok(())
    }

    /// The node of a name in the zone. The names between it and the zone exist from then on, too, with nothing (RFC 8020).
    fn node(&mut self, name: &Name) -> &mut Node {
        let mut above = name.base_name();
        while self.apex.zone_of(&above) && !above.is_root() {
            self.names.entry(LowerName::new(&above)).or_default();
            above = above.base_name();
        }
        self.names.entry(LowerName::new(name)).or_default()
    }

    /// Whether a name is the zone's, or in it.
    pub(crate) fn covers(&self, name: &Name) -> bool {
        self.apex.zone_of(name)
    }

    /// What a name has; None: it does not exist.
    pub(crate) fn find(&self, name: &Name) -> Option<&Node> {
        self.names.get(&LowerName::new(name))
    }

    /// The addresses of a region; None: it is not in the options.
    pub(crate) fn region(&self, id: RegionId) -> Option<&Addresses> {
        self.regions.get(&id)
    }

    /// The SOA record of this generation of the plan. Serial numbers have 32 bits, and go round (RFC 1982). It may be kept as long as a
    /// negative answer (RFC 2308, section 3).
    pub(crate) fn soa(&self, generation: u64) -> Record {
        let primary = self.name_servers.first().cloned().unwrap_or_else(|| self.apex.clone());
        let (contact, serial) = (self.contact.clone(), generation as u32);
        let soa = SOA::new(primary, contact, serial, REFRESH_S, RETRY_S, EXPIRE_S, self.negative_ttl_s);
        Record::from_rdata(self.apex.clone(), self.negative_ttl_s, RData::SOA(soa))
    }

    /// The NS records.
    pub(crate) fn ns(&self) -> impl Iterator<Item = Record> {
        let record =
            |name: &Name| Record::from_rdata(self.apex.clone(), FIXED_TTL_S, RData::NS(NS(name.clone())));
        self.name_servers.iter().map(record)
    }

    /// The addresses of name servers in the zone.
    pub(crate) fn glue(&self) -> impl Iterator<Item = Record> {
        let found =
            self.name_servers.iter().filter_map(|name| Some((name, self.find(name)?.addresses.as_ref()?)));
        found.flat_map(|(name, (addresses, ttl_s))| {
            [Family::V4, Family::V6].into_iter().flat_map(|family| addresses.records(name, *ttl_s, family))
        })
    }
}

impl Addresses {
    fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty()
    }

    /// Whether there is one of a family.
    pub(crate) fn has(&self, family: Family) -> bool {
        match family {
            Family::V4 => !self.ipv4.is_empty(),
            Family::V6 => !self.ipv6.is_empty(),
        }
    }

    /// The records of a family, for a name.
    pub(crate) fn records(&self, name: &Name, ttl_s: u32, family: Family) -> Vec<Record> {
        let record = |data| Record::from_rdata(name.clone(), ttl_s, data);
        match family {
            Family::V4 => self.ipv4.iter().map(|ip| record(RData::A(A(*ip)))).collect(),
            Family::V6 => self.ipv6.iter().map(|ip| record(RData::AAAA(AAAA(*ip)))).collect(),
        }
    }
}

/// A host name of the options.
fn host(option: &'static str, text: &str) -> Result<Name, InvalidOption> {
    let rule = "it must be a host name of 1 to 200 bytes: labels of letters, digits, hyphens and underscores, with dots between them";
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.len() > NAME_BYTES_MAX || !bare.split('.').all(is_label) {
        return Err(InvalidOption::new(option, text, rule));
    }
    let name = Name::from_labels(bare.split('.').map(str::as_bytes));
    name.map_err(|_| InvalidOption::new(option, text, rule))
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A mail address as a name: what is before the `@` is its first label (RFC 1035, section 8).
fn contact(text: &str) -> Result<Name, InvalidOption> {
    let rule = "it must be a mail address, such as hostmaster@example.com";
    let refused = || InvalidOption::new("contact", text, rule);
    let (local, domain) = text.rsplit_once('@').ok_or_else(refused)?;
    let is_local =
        (1..=LABEL_BYTES_MAX).contains(&local.len()) && local.bytes().all(|byte| byte.is_ascii_graphic());
    let domain = host("contact", domain).map_err(|_| refused())?;
    let name = Name::from_labels(std::iter::once(local.as_bytes()).chain(domain.iter()));
    name.ok().filter(|_| is_local).ok_or_else(refused)
}
