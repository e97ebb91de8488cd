//! Changes of a plan that move load, made only if the load has a place; and what the loss of a region would mean.

use super::market::{Settled, check, settle};
use super::plan::guarded;
use super::{Admission, Fill, Observed, Options, Plan, Sampled, WEIGHT_MAX};
use crate::Error;
use tw_types::RegionId;

/// What a change is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// What is known of the regions.
    pub observed: &'a Observed,
    /// Users that stand for the whole load of all regions; at most [`super::SAMPLE_MAX`].
    pub sample: &'a [Sampled],
    /// The options in force.
    pub options: &'a Options,
    /// The time, as for [`super::rank`].
    pub now_ms: u64,
}

/// What it would mean to lose a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The region.
    pub lost: RegionId,
    /// What would have no place in the others, in thousandths of a request a second; 0: they can do without it.
    pub beyond_milli_per_s: u64,
    /// What the others would get. Empty if there are none.
    pub fills: Vec<Fill>,
}

/// Gives `permille` thousandths of the users that prefer `from` to `to`: exactly those move that `to` gets.
///
/// The load of `to` stays below its capacity less the headroom, and so does that of all others after what does not fit went on. What was beyond that
/// before may stay as it is.
///
/// # Errors
/// [`Error::RouteFull`], [`Error::RouteBeyond`]: with the largest step that is possible. [`Error::RouteTarget`]: `to` is drained or
/// looks down. [`Error::RouteStep`], [`Error::RouteUnknown`], [`Error::Option`], [`Error::RouteLimit`], and those of [`super::succeed`].
pub fn shift(
    plan: &Plan,
    from: RegionId,
    to: RegionId,
    permille: u32,
    present: &Present<'_>,
) -> Result<Plan, Error> {
    check(present.options, present.sample)?;
    let giver = plan.region(from).ok_or(Error::RouteUnknown { region: from })?;
    target(plan, to, present)?;
    if !(1..=giver.weight).contains(&permille) {
        return Err(Error::RouteStep { permille, max: giver.weight });
    }
    let step = |permille: u32| plan.with(from, |region| region.give(to, permille));
    checked(plan, permille, Some(to), present, step)
}

/// Lets `permille` thousandths of the users that prefer `region` go on to the regions that are next for them; once it keeps nobody, it is
/// drained. A step of more than what is left drains it.
///
/// # Errors
/// Those of [`shift`], except [`Error::RouteFull`] and [`Error::RouteTarget`]. [`Error::RouteEmpty`]: it is the last one.
pub fn drain(plan: &Plan, region: RegionId, permille: u32, present: &Present<'_>) -> Result<Plan, Error> {
    check(present.options, present.sample)?;
    if !(1..=WEIGHT_MAX).contains(&permille) {
        return Err(Error::RouteStep { permille, max: WEIGHT_MAX });
    }
    let step = |permille: u32| {
        plan.with(region, |region| {
            region.weight = region.weight.saturating_sub(permille);
            region.drained |= region.weight == 0;
        })
    };
    checked(plan, permille, None, present, step)
}

/// Lets `region` keep `weight` thousandths of the users that prefer it, and ends its drain. Users that it had given away come back when the
/// weight leaves no room for them, the last first.
///
/// # Errors
/// Those of [`shift`], when the weight rises; those of [`drain`], when it falls.
pub fn weigh(plan: &Plan, region: RegionId, weight: u32, present: &Present<'_>) -> Result<Plan, Error> {
    check(present.options, present.sample)?;
    let before = plan.region(region).ok_or(Error::RouteUnknown { region })?;
    let from = if before.drained { 0 } else { before.weight };
    if weight > WEIGHT_MAX || (weight == before.weight && !before.drained) {
        return Err(Error::RouteStep { permille: weight.abs_diff(from), max: WEIGHT_MAX - from });
    }
    let rises = weight > from;
    if rises {
        up(region, present)?;
    }
    let step = |permille: u32| {
        plan.with(region, |region| {
            region.keep(if rises { from + permille } else { from.saturating_sub(permille) });
            region.drained = false;
        })
    };
    checked(plan, weight.abs_diff(from), rises.then_some(region), present, step)
}

/// What the loss of each region that is not drained would mean.
///
/// # Errors
/// [`Error::Option`], [`Error::RouteLimit`].
pub fn headroom(plan: &Plan, present: &Present<'_>) -> Result<Vec<Loss>, Error> {
    check(present.options, present.sample)?;
    let open = || plan.regions().iter().filter(|region| !region.drained);
    let is_up = |id: RegionId| present.observed.is_up(id);
    let all_down = !open().any(|region| is_up(region.id));
    let loss = |lost: RegionId| {
        let without = plan.with(lost, |region| region.drained = true);
        let left = open().any(|region| region.id != lost && (all_down || is_up(region.id)));
        match without {
            Ok(without) if left => {
                let settled = settle(&without, present, present.options.full_permille, &Admission::default());
                let fills = settled.fills.into_iter().filter(|fill| fill.region != lost).collect();
                Loss { lost, beyond_milli_per_s: settled.beyond_milli_per_s, fills }
            }
            _ => {
                let rates = present.sample.iter().map(|one| one.rate_milli_per_s);
                let beyond_milli_per_s = rates.fold(0, u64::saturating_add);
                Loss { lost, beyond_milli_per_s, fills: Vec::new() }
            }
        }
    };
    Ok(open().map(|region| loss(region.id)).collect())
}

/// Refuses a region that can take no load.
fn target(plan: &Plan, to: RegionId, present: &Present<'_>) -> Result<(), Error> {
    let region = plan.region(to).ok_or(Error::RouteUnknown { region: to })?;
    if region.drained {
        return Err(Error::RouteTarget { region: to, state: "is drained" });
    }
    up(to, present)
}

/// Refuses a region that looks down: what it would get once it is up is not known.
fn up(region: RegionId, present: &Present<'_>) -> Result<(), Error> {
    if !present.observed.is_up(region) {
        return Err(Error::RouteTarget { region, state: "looks down" });
    }
    Ok(())
}

/// Makes a step if the load has a place after it; otherwise says how large a step would be possible. `strict` must have room for everybody
/// whose first choice it is.
fn checked(
    plan: &Plan,
    permille: u32,
    strict: Option<RegionId>,
    present: &Present<'_>,
    step: impl Fn(u32) -> Result<Plan, Error>,
) -> Result<Plan, Error> {
    let next = guarded(plan, step(permille)?, present.observed)?;
    let settle =
        |plan: &Plan| settle(plan, present, present.options.headroom_permille, &Admission::default());
    let before = settle(plan);
    let fits = |settled: &Settled| {
        let over = strict
            .and_then(|region| settled.fill(region))
            .filter(|fill| fill.wanted_milli_per_s > fill.limit_milli_per_s);
        let beyond = settled.beyond_milli_per_s > before.beyond_milli_per_s;
        (over.copied(), beyond || homeless(settled) > homeless(&before))
    };
    let settled = settle(&next);
    let (over, beyond) = fits(&settled);
    if over.is_none() && !beyond {
        return Ok(next);
    }
    // The larger the step, the more is moved: the largest one that fits is found by halving.
    let (mut fits_permille, mut too_large) = (0, permille);
    while too_large - fits_permille > 1 {
        let middle = fits_permille + (too_large - fits_permille) / 2;
        match fits(&settle(&step(middle)?)) {
            (None, false) => fits_permille = middle,
            _ => too_large = middle,
        }
    }
    Err(match over {
        Some(fill) => Error::RouteFull {
            region: fill.region,
            wanted_per_s: fill.wanted_milli_per_s.div_ceil(1_000),
            limit_per_s: fill.limit_milli_per_s / 1_000,
            fits_permille,
        },
        None => {
            let beyond_per_s = homeless(&settled).div_ceil(1_000);
            Error::RouteBeyond { beyond_per_s, fits_permille }
        }
    })
}

/// What has no place that a plan means for it. Users who come back to the region that drains, because there is no room elsewhere, are not
/// moved.
fn homeless(settled: &Settled) -> u64 {
    settled.beyond_milli_per_s.saturating_add(settled.unwelcome_milli_per_s)
}
