//! What is wrong with what a core was handed.

use std::ops::RangeInclusive;
use tw_types::RegionId;

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option is outside its bounds.
    #[error("option `{option}` is {value}, outside {bounds}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// What is allowed, with the unit.
        bounds: &'static str,
    },
    /// There is no node that could own anything: the current plan holds.
    #[error("no node with a capacity is alive: the current plan stays until one joins")]
    NoNodes,
    /// The same node or unit was handed over twice.
    #[error("`{name}` is listed twice: list every node and every unit once")]
    Twice {
        /// The node or unit.
        name: String,
    },
    /// More than a core takes.
    #[error("{count} {what} are more than {max}: split the cluster")]
    TooMany {
        /// Nodes or units.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A text that cannot name a unit.
    #[error("`{name}` cannot name a unit: {rule}")]
    UnitName {
        /// The name, cut to 80 characters.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A stored plan that cannot be read.
    #[error("a stored plan is damaged: {rule}")]
    StoredPlan {
        /// What is wrong with it.
        rule: &'static str,
    },
    /// A stored plan of a format that this version does not know.
    #[error("a stored plan has format {format}, this version reads format 1: upgrade this node first")]
    StoredFormat {
        /// The unknown format.
        format: u32,
    },
    /// Numbers that are no place on Earth.
    #[error("`{place}` is no place: say latitude -90 to 90 and longitude -180 to 180, in degrees")]
    Place {
        /// Latitude and longitude, as they were said.
        place: String,
    },
    /// More than routing takes.
    #[error("{count} {what} are more than the {max} that routing takes: leave some out")]
    RouteLimit {
        /// Regions, or users of a sample.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A region that a routing plan cannot have as it is.
    #[error("region `{region}` cannot be in a routing plan as it is: {rule}")]
    RouteRegion {
        /// The region.
        region: RegionId,
        /// The rule that it breaks, and the remedy.
        rule: &'static str,
    },
    /// A routing plan by which nobody serves.
    #[error(
        "nobody may serve by this routing plan: leave one region at least that is not drained and has a weight above 0"
    )]
    RouteEmpty,
    /// A routing plan by which only regions serve that look down, while others are up.
    #[error(
        "every region that may serve by this routing plan looks down: keep region `{up}`, which is up, not drained and with a weight above 0"
    )]
    RouteAllDown {
        /// A region that serves by the plan in force.
        up: RegionId,
    },
    /// A routing plan that follows another one than the one in force.
    #[error(
        "this routing plan follows generation `{parent}`, generation {current} is in force: read that one and propose again"
    )]
    RouteOvertaken {
        /// The generation that it follows.
        parent: u64,
        /// The one in force.
        current: u64,
    },
    /// A region that the routing plan does not have.
    #[error("the routing plan has no region `{region}`: name one of its regions")]
    RouteUnknown {
        /// The region.
        region: RegionId,
    },
    /// A region that load cannot be shifted to.
    #[error("region `{region}` can take no load, it {state}: choose another one")]
    RouteTarget {
        /// The region.
        region: RegionId,
        /// Why it cannot.
        state: &'static str,
    },
    /// A step that is no step: of nothing, or of more than there is.
    #[error(
        "a step of `{permille}` thousandths is outside 1 to {max}, the weight that can be moved: ask for less"
    )]
    RouteStep {
        /// What was asked for.
        permille: u32,
        /// The most that can be moved.
        max: u32,
    },
    /// A region would get more than it may.
    #[error(
        "region `{region}` would get {wanted_per_s} requests/s and may get {limit_per_s}: move {fits_permille} thousandths at most, or raise its capacity"
    )]
    RouteFull {
        /// The region.
        region: RegionId,
        /// What it would get.
        wanted_per_s: u64,
        /// Its capacity, less the headroom.
        limit_per_s: u64,
        /// The largest step that can be made now.
        fits_permille: u32,
    },
    /// The regions together would get more than they may.
    #[error(
        "{beyond_per_s} requests/s would find no region with room: move {fits_permille} thousandths at most, or raise capacities"
    )]
    RouteBeyond {
        /// What would be beyond the capacities, less the headroom.
        beyond_per_s: u64,
        /// The largest step that can be made now.
        fits_permille: u32,
    },
}

/// One option, its value, what is allowed, and how that is said.
pub(crate) type Bound = (&'static str, u64, RangeInclusive<u64>, &'static str);

/// Checks options in order; the first that is outside its bounds is the error.
pub(crate) fn check<const N: usize>(bounds: [Bound; N]) -> Result<(), Error> {
    for (option, value, range, bounds) in bounds {
        if !range.contains(&value) {
            return Err(Error::Option { option, value, bounds });
        }
    }
    Ok(())
}
