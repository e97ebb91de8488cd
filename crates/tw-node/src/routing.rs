//! Which region serves a user: the plan, and the answers.
//!
//! `tw_plan::routing` ranks; this tells it what the links have heard. The configuration says where regions are and what they can serve, the same in every region; it
//! is generation 1. What part of its users each one keeps is changed in one region, the home of `$routing` ([`change`]), and stored there as an
//! event ([`history`]), which comes to all others ([`plans`]). `docs/adr/0028-the-routing-plan-has-a-home.md` says why it is so.

mod answer;
mod change;
mod history;
mod latency;
mod load;
mod plans;

pub(crate) use answer::{Further, Known, route};
pub(crate) use change::change;
pub(crate) use latency::note;
pub(crate) use plans::{Plans, define, run, show};

use serde::{Deserialize, Serialize};
use tw_plan::routing::{Place, Plan, Region, WEIGHT_MAX};
use tw_types::RegionId;

/// Which region serves a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingOptions {
    /// By how much another region's round trip must be shorter before a user leaves its region for it, in milliseconds: 0 to 1,000. Default 20.
    pub stick_ms: u32,
    /// The region in which changes of the plan are decided first, the same in the configuration of each; it can be moved as the home of the stream
    /// `$routing`. Say it before you add a region with a lower number. Default: the lowest of `regions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<RegionId>,
    /// The regions that serve users, this one among them; the same in the configuration of each. Default: none, and nobody is told where to go.
    pub regions: Vec<RoutingRegion>,
}

/// A region that serves users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingRegion {
    /// Its number.
    pub id: RegionId,
    /// Where clients reach it: `http://` or `https://`, a host, and a port if it is not the usual one.
    pub url: String,
    /// Where it is, as `{ lat = 50.1, lon = 8.7 }` in degrees. Default: nobody knows, and users are spread over such regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// How many requests it can serve a second; say it of all regions, or of none. Default: nobody knows, and no region is ever full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_per_s: Option<u32>,
    /// How many of the users that prefer it it keeps by generation 1 of the plan, in thousandths: 0 to 1,000. Default 1,000.
    #[serde(default = "all")]
    pub weight: u32,
    /// Whether nobody is sent there by generation 1 of the plan. Default `false`.
    #[serde(default)]
    pub drained: bool,
}

fn all() -> u32 {
    WEIGHT_MAX
}

impl Default for RoutingOptions {
    fn default() -> Self {
        let tw_plan::routing::Options { stick_ms, .. } = tw_plan::routing::Options::default();
        Self { stick_ms, home: None, regions: Vec::new() }
    }
}

/// Why regions cannot be routed to as they are configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRouting {
    #[error(transparent)]
    Plan(#[from] tw_plan::Error),
    #[error(
        "`url` of region {region} is `{url}`: it must be http:// or https://, a host, and a port or none, without a path"
    )]
    Url { region: RegionId, url: String },
    #[error(
        "this installation is no region, and nobody is sent elsewhere: leave `regions` out, or give it an `id` in [region]"
    )]
    NoRegion,
    #[error("region {0} is not among `regions`, which is this one: name it, too")]
    NotThis(RegionId),
    #[error("`home` is region {0}, which is not among `regions`: use one of them")]
    NoHome(RegionId),
    #[error("region {0} has no `capacity_per_s`, and another one has: say it of all regions, or of none")]
    NotAll(RegionId),
}

impl RoutingOptions {
    /// The plan that the configuration says; None if no regions are named. `here` is this region.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn plan(&self, here: RegionId) -> Result<Option<Plan>, InvalidRouting> {
        self.ranking().check()?;
        if self.regions.is_empty() {
            return Ok(None);
        }
        if here == RegionId(0) {
            return Err(InvalidRouting::NoRegion);
        }
        if self.regions.iter().all(|region| region.id != here) {
            return Err(InvalidRouting::NotThis(here));
        }
        if let Some(home) = self.home.filter(|home| self.regions.iter().all(|region| region.id != *home)) {
            return Err(InvalidRouting::NoHome(home));
        }
        let without = self.regions.iter().find(|region| region.capacity_per_s.is_none());
        if let Some(region) = without.filter(|_| self.has_capacities()) {
            return Err(InvalidRouting::NotAll(region.id));
        }
        let regions: Result<Vec<Region>, InvalidRouting> =
            self.regions.iter().map(RoutingRegion::region).collect();
        Ok(Some(Plan::first(regions?)?))
    }

    /// Whether it is known how much regions can serve.
    pub(crate) fn has_capacities(&self) -> bool {
        self.regions.iter().any(|region| region.capacity_per_s.is_some())
    }

    /// Where changes of the plan are decided first; None if no regions are named.
    fn first_home(&self) -> Option<RegionId> {
        self.home.or_else(|| self.regions.iter().map(|region| region.id).min())
    }

    /// The options of a ranking.
    pub(crate) fn ranking(&self) -> tw_plan::routing::Options {
        tw_plan::routing::Options { stick_ms: self.stick_ms, ..tw_plan::routing::Options::default() }
    }

    /// Where clients reach a region.
    pub(crate) fn url(&self, region: RegionId) -> String {
        let found = self.regions.iter().find(|one| one.id == region);
        found.map(|one| one.url.trim_end_matches('/').to_owned()).unwrap_or_default()
    }
}

impl RoutingRegion {
    fn region(&self) -> Result<Region, InvalidRouting> {
        let wrong = || InvalidRouting::Url { region: self.id, url: self.url.clone() };
        let uri: http::Uri = self.url.parse().map_err(|_| wrong())?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority =
            uri.authority().filter(|_| is_bare && matches!(uri.scheme_str(), Some("http" | "https")));
        Ok(Region {
            id: self.id,
            weight: self.weight,
            drained: self.drained,
            // Where nobody tells how much regions can serve, all are taken for equal, and nobody is turned away.
            capacity_per_s: self.capacity_per_s.unwrap_or(1),
            place: self.place,
            addresses: vec![authority.ok_or_else(wrong)?.to_string()],
            given: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, here: u16) -> Result<Option<Plan>, String> {
        let options: RoutingOptions = toml::from_str(text).map_err(|error| error.to_string())?;
        options.plan(RegionId(here)).map_err(|error| tw_types::chain(&error))
    }

    #[test]
    fn a_plan_is_what_the_configuration_says_or_the_rule_that_it_breaks() {
        assert_eq!(read("", 0), Ok(None));
        let two = "[[regions]]\nid = 1\nurl = 'http://eu.example:7070'\nplace = { lat = 50.1, lon = 8.7 }\n\
                   [[regions]]\nid = 2\nurl = 'https://us.example/'\nweight = 500\n";
        let plan = read(two, 2).unwrap().unwrap();
        assert_eq!((plan.generation(), plan.regions().len()), (1, 2));
        assert_eq!(
            plan.region(RegionId(2)).map(|region| (region.weight, region.addresses.clone())),
            Some((500, vec!["us.example".into()]))
        );
        let refused = |text: &str, here, part: &str| {
            let error = read(text, here).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        refused(two, 0, "no region");
        refused(two, 3, "region 3 is not among");
        let with = |more: &str| two.replacen("[[regions]]", &format!("{more}[[regions]]"), 1);
        assert_eq!(toml::from_str::<RoutingOptions>(two).unwrap().first_home(), Some(RegionId(1)));
        read(&with("home = 2\n"), 1).unwrap();
        refused(&with("home = 3\n"), 1, "not among `regions`");
        refused(
            &two.replacen("id = 1", "id = 1\ncapacity_per_s = 10", 1),
            1,
            "region 2 has no `capacity_per_s`",
        );
        refused(&two.replace("id =", "capacity_per_s = 0\nid ="), 1, "1 request/s or more");
        refused("stick_ms = 2000", 1, "0 to 1000 ms");
        refused("[[regions]]\nid = 1\nurl = 'eu.example'\n", 1, "http://");
        refused("[[regions]]\nid = 1\nurl = 'http://eu.example/there'\n", 1, "without a path");
        refused(
            "[[regions]]\nid = 1\nurl = 'http://a'\n[[regions]]\nid = 1\nurl = 'http://b'\n",
            1,
            "list it once",
        );
        refused("[[regions]]\nid = 1\nurl = 'http://a'\ndrained = true\n", 1, "nobody may serve");
        refused("[[regions]]\nid = 1\nurl = 'http://a'\nplace = { lat = 91, lon = 0 }\n", 1, "latitude");
    }
}
