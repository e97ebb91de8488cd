//! The plan by which users are spread over regions, and how it is changed.

use crate::Problem;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The plan in effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RoutingView {
    /// Its generation: 1 is what the configuration says.
    #[schema(example = 3)]
    pub generation: u64,
    /// The region that answers.
    #[schema(example = 1)]
    pub answered_by: u16,
    /// The region in which changes are decided, as far as it is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    pub home: Option<u16>,
    /// The regions, by number.
    pub regions: Vec<PlannedRegion>,
    /// What the loss of each region would mean, as far as it is known how busy regions are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<RegionLoss>,
    /// What nobody has told, and therefore does not count.
    #[schema(example = json!(["capacity"]))]
    pub not_known: Vec<String>,
    /// The last generations, the one in effect first.
    pub history: Vec<RoutingGeneration>,
}

/// A region as the plan has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PlannedRegion {
    /// Its number.
    #[schema(example = 2)]
    pub region: u16,
    /// Where it serves clients.
    #[schema(example = "https://us.example:7070")]
    pub url: String,
    /// How many of the users that prefer it it keeps, in thousandths.
    #[schema(example = 900)]
    pub weight: u32,
    /// Whether nobody is sent there.
    pub drained: bool,
    /// Who gets the users that it does not keep; those who are in no part go on to the region that is next for them.
    pub given: Vec<GivenPart>,
    /// How many requests it can serve a second, if that is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 2_000)]
    pub capacity_per_s: Option<u32>,
    /// How many requests it serves a second now, if it has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 840)]
    pub load_per_s: Option<u64>,
    /// Whether it is up, as far as the region that answers knows.
    pub up: bool,
}

/// A part of a region's users that it does not keep.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct GivenPart {
    /// The region that serves them; absent: the one that is next for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    pub to: Option<u16>,
    /// How many, in thousandths.
    #[schema(example = 100)]
    pub permille: u32,
}

/// What it would mean to lose a region.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RegionLoss {
    /// The region.
    #[schema(example = 1)]
    pub region: u16,
    /// How many requests a second would find no region with room; 0: the others can do without it.
    #[schema(example = 0)]
    pub beyond_per_s: u64,
}

/// A generation of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RoutingGeneration {
    /// Its number.
    #[schema(example = 3)]
    pub generation: u64,
    /// What made it out of the one before.
    #[schema(example = "shift 100 of region 2 to region 3")]
    pub change: String,
    /// The region in which that was decided; absent of what the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    pub by: Option<u16>,
    /// When, in milliseconds since the Unix epoch; absent of what the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1_780_000_000_000u64)]
    pub at_ms: Option<u64>,
}

/// A step from one generation to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutingStep {
    /// A part of the users that prefer one region goes to another.
    Shift {
        /// Whose users.
        from: u16,
        /// Who gets them.
        to: u16,
        /// How many, in thousandths.
        permille: u32,
    },
    /// A part of the users that prefer a region goes on to the regions that are next for them.
    Drain {
        /// The region.
        region: u16,
        /// How many, in thousandths; all of them: nobody is sent there any more.
        permille: u32,
    },
    /// A region keeps so many of the users that prefer it, and is not drained.
    Weigh {
        /// The region.
        region: u16,
        /// How many, in thousandths.
        weight: u32,
    },
    /// The regions are as they were in an earlier generation.
    RollBack {
        /// That generation.
        to: u64,
    },
}

impl fmt::Display for RoutingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shift { from, to, permille } => {
                write!(f, "shift {permille} of region {from} to region {to}")
            }
            Self::Drain { region, permille: 1_000 } => write!(f, "drain region {region}"),
            Self::Drain { region, permille } => write!(f, "drain {permille} of region {region}"),
            Self::Weigh { region, weight } => write!(f, "weigh region {region} with {weight}"),
            Self::RollBack { to } => write!(f, "roll back to generation {to}"),
        }
    }
}

/// A change of the plan that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRouting {
    /// What is to be done.
    pub step: RoutingStep,
    /// Only if this generation is in effect.
    pub if_generation: Option<u64>,
    /// Whether it is only to be said what would be.
    pub dry_run: bool,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ChangedRouting {
    /// Whether it was done; otherwise it was only to be said.
    pub done: bool,
    /// The generation that is in effect then.
    #[schema(example = 4)]
    pub generation: u64,
    /// What was done, for a person.
    #[schema(example = "shift 100 of region 2 to region 3")]
    pub change: String,
    /// The regions as they are then.
    pub regions: Vec<PlannedRegion>,
}

/// How much a region serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RegionLoad {
    /// The region.
    #[schema(example = 2)]
    pub region: u16,
    /// In thousandths of a request a second, over the last seconds; absent just after its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 840_000)]
    pub served_milli_per_s: Option<u64>,
}

/// A part of users goes to another region.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShiftRequest {
    /// Whose users.
    pub(crate) from: u16,
    /// Who gets them.
    pub(crate) to: u16,
    /// How many of the users that prefer `from`, in thousandths.
    pub(crate) permille: u32,
    /// Only if this generation is in effect.
    pub(crate) if_generation: Option<u64>,
    /// Say only what would be.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// Users of a region go on to those that are next for them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainUsersRequest {
    /// The region.
    pub(crate) region: u16,
    /// How many, in thousandths. Default: all of them, and nobody is sent there any more.
    pub(crate) permille: Option<u32>,
    /// Only if this generation is in effect.
    pub(crate) if_generation: Option<u64>,
    /// Say only what would be.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// A region keeps so many users.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WeighRequest {
    /// The region.
    pub(crate) region: u16,
    /// How many of the users that prefer it it keeps, in thousandths.
    pub(crate) weight: u32,
    /// Only if this generation is in effect.
    pub(crate) if_generation: Option<u64>,
    /// Say only what would be.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// The regions are as they were.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollBackRequest {
    /// The generation that they are to be as in.
    pub(crate) to: u64,
    /// Only if this generation is in effect.
    pub(crate) if_generation: Option<u64>,
    /// Say only what would be.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

impl From<ShiftRequest> for ChangeRouting {
    fn from(request: ShiftRequest) -> Self {
        let ShiftRequest { from, to, permille, if_generation, dry_run } = request;
        Self { step: RoutingStep::Shift { from, to, permille }, if_generation, dry_run }
    }
}

impl From<DrainUsersRequest> for ChangeRouting {
    fn from(request: DrainUsersRequest) -> Self {
        let DrainUsersRequest { region, permille, if_generation, dry_run } = request;
        let permille = permille.unwrap_or(tw_plan::routing::WEIGHT_MAX);
        Self { step: RoutingStep::Drain { region, permille }, if_generation, dry_run }
    }
}

impl From<WeighRequest> for ChangeRouting {
    fn from(request: WeighRequest) -> Self {
        let WeighRequest { region, weight, if_generation, dry_run } = request;
        Self { step: RoutingStep::Weigh { region, weight }, if_generation, dry_run }
    }
}

impl From<RollBackRequest> for ChangeRouting {
    fn from(request: RollBackRequest) -> Self {
        let RollBackRequest { to, if_generation, dry_run } = request;
        Self { step: RoutingStep::RollBack { to }, if_generation, dry_run }
    }
}

impl ChangeRouting {
    /// That another change came before this one.
    ///
    /// # Errors
    /// `routing_overtaken`.
    pub fn check(&self, current: u64) -> Result<(), Problem> {
        match self.if_generation {
            Some(wanted) if wanted != current => Err(Problem::routing_overtaken(current, wanted)),
            _ => Ok(()),
        }
    }
}
