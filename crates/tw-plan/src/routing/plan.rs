//! The plan: which regions there are, and what part of its users each one keeps. It changes by generations.

use super::{Observed, Region};
use crate::Error;
use serde::{Deserialize, Serialize};
use tw_types::RegionId;

/// How many regions a plan may have.
pub const REGIONS_MAX: usize = 64;

/// The highest generation: numbers up to here are exact in every JSON reader.
const GENERATION_MAX: u64 = 1 << 53;

/// A routing plan: never without a region that may serve. Immutable; [`succeed`] makes the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Plan {
    generation: u64,
    /// In the order of their ids.
    regions: Vec<Region>,
}

/// What a plan is as data. Whoever stores it adds the number of the format.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    generation: u64,
    regions: Vec<Region>,
}

/// A plan that somebody wants to put into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The generation that it was made from.
    pub parent: u64,
    /// All its regions, in any order.
    pub regions: Vec<Region>,
}

impl Plan {
    /// The first plan, generation 1.
    ///
    /// # Errors
    /// [`Error::RouteLimit`], [`Error::RouteRegion`], [`Error::RouteUnknown`], [`Error::RouteEmpty`]: there is no such plan.
    pub fn first(regions: Vec<Region>) -> Result<Self, Error> {
        Self::new(1, regions)
    }

    /// The plan that a generation was, put together again from what is stored of it.
    ///
    /// # Errors
    /// Those of [`Plan::first`], and [`Error::StoredPlan`] for a generation that there cannot be.
    pub fn stored(generation: u64, regions: Vec<Region>) -> Result<Self, Error> {
        Self::new(generation, regions)
    }

    fn new(generation: u64, mut regions: Vec<Region>) -> Result<Self, Error> {
        if !(1..=GENERATION_MAX).contains(&generation) {
            return Err(Error::StoredPlan { rule: "its generation is not 1 to 2^53" });
        }
        if regions.len() > REGIONS_MAX {
            return Err(Error::RouteLimit { what: "regions", count: regions.len(), max: REGIONS_MAX });
        }
        regions.sort_by_key(|region| region.id);
        if let Some([one, _]) = regions.array_windows().find(|[one, next]| one.id == next.id) {
            return Err(Error::RouteRegion { region: one.id, rule: "list it once" });
        }
        regions.iter().try_for_each(Region::check)?;
        let plan = Self { generation, regions };
        let mut targets = plan.regions.iter().flat_map(|region| &region.given).filter_map(|given| given.to);
        if let Some(region) = targets.find(|target| plan.region(*target).is_none()) {
            return Err(Error::RouteUnknown { region });
        }
        if plan.serving().next().is_none() {
            return Err(Error::RouteEmpty);
        }
        Ok(plan)
    }

    /// 1 for the first, then one more for each.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The generation that was in force when it was made; 0 for the first.
    pub fn parent(&self) -> u64 {
        self.generation - 1
    }

    /// All regions, in the order of their ids.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// A region by its id.
    pub fn region(&self, id: RegionId) -> Option<&Region> {
        self.regions.get(self.place(id)?)
    }

    /// The regions that users may prefer.
    pub fn serving(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter().filter(|region| region.serves())
    }

    /// Where a region is in the list.
    pub(super) fn place(&self, id: RegionId) -> Option<usize> {
        self.regions.binary_search_by_key(&id, |region| region.id).ok()
    }

    /// What a change of one region amounts to.
    pub(super) fn with(&self, id: RegionId, change: impl FnOnce(&mut Region)) -> Result<Self, Error> {
        let mut regions = self.regions.clone();
        let region = self.place(id).and_then(|place| regions.get_mut(place));
        change(region.ok_or(Error::RouteUnknown { region: id })?);
        Self::new(self.generation + 1, regions)
    }
}

impl TryFrom<Fields> for Plan {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self, Error> {
        Self::new(fields.generation, fields.regions)
    }
}

impl From<Plan> for Fields {
    fn from(plan: Plan) -> Self {
        Self { generation: plan.generation, regions: plan.regions }
    }
}

/// The plan that follows the one in force, if the proposal was made from that one. It is not compared with the load: [`super::shift`],
/// [`super::drain`] and [`super::weigh`] are.
///
/// # Errors
/// [`Error::RouteOvertaken`]: another plan came into force meanwhile. [`Error::RouteAllDown`]: by the plan in force users can be served, by
/// the proposed one they cannot. And those of [`Plan::first`]. The plan in force stays.
pub fn succeed(current: &Plan, proposed: Proposal, observed: &Observed) -> Result<Plan, Error> {
    if proposed.parent != current.generation {
        return Err(Error::RouteOvertaken { parent: proposed.parent, current: current.generation });
    }
    guarded(current, Plan::new(current.generation + 1, proposed.regions)?, observed)
}

/// Lets the next plan pass unless it takes away the last region that is up.
pub(super) fn guarded(current: &Plan, next: Plan, observed: &Observed) -> Result<Plan, Error> {
    let up = |region: &&Region| observed.is_up(region.id);
    match current.serving().find(up) {
        Some(region) if !next.serving().any(|region| up(&region)) => {
            Err(Error::RouteAllDown { up: region.id })
        }
        // When all look down already, that is no reason to refuse the change that may help.
        _ => Ok(next),
    }
}

/// A new plan with the regions of an earlier one.
///
/// # Errors
/// Those of [`succeed`].
pub fn roll_back(current: &Plan, earlier: &Plan, observed: &Observed) -> Result<Plan, Error> {
    let proposed = Proposal { parent: current.generation, regions: earlier.regions.clone() };
    succeed(current, proposed, observed)
}
