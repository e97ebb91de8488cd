//! The answer for one user: the regions in order, and why the others are out.

use super::order::{Order, Standing};
use super::{Health, Latency, Observed, Options, Plan, Reached, User};
use tw_types::RegionId;

/// The regions for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    /// The generation of the plan that says so.
    pub generation: u64,
    /// Those that may serve the user, the first choice first. Never empty.
    pub regions: Vec<Ranked>,
    /// The others.
    pub out: Vec<Excluded>,
    /// All regions looked down, so the plan is used as if all were up: what was observed cannot be right, or it does not matter.
    pub fail_static: bool,
    /// What had to be given up because otherwise no region was left.
    pub gave_up: Option<GaveUp>,
}

/// A region that may serve the user, with what its rank is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// The region.
    pub region: RegionId,
    /// How far it is.
    pub latency: Latency,
    /// Why it is where it is.
    pub reached: Reached,
    /// How far it is behind with the user's data, in milliseconds, if it has said so.
    pub lag_ms: Option<u32>,
    /// What is known of its health.
    pub health: Health,
}

/// A region that does not serve the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excluded {
    /// The region.
    pub region: RegionId,
    /// Why.
    pub out: Out,
}

/// Why a region does not serve a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// The plan says that nobody is sent there.
    Drained,
    /// It looks down.
    Down,
    /// It has not said how far it is behind with the user's data.
    StaleUnknown,
    /// It is further behind with the user's data than the user allows.
    Stale {
        /// By how much, in milliseconds.
        by_ms: u32,
    },
    /// There is no room for this user.
    Full,
}

/// What a ranking had to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaveUp {
    /// No region with room has the user's data as fresh as was asked for: the least stale comes first. The region can still wait for
    /// the data before it answers.
    Freshness,
    /// No region has room: the first choice is asked all the same, and refuses what it cannot do.
    Room,
    /// Both: no region has room, and none has the data as fresh.
    Both,
}

/// Ranks the regions for a user. The same arguments give the same answer on every machine.
///
/// `now_ms` is the time of the clock that the ages in `observed` and `user` are of, in milliseconds. The options are taken as they are;
/// whoever loads them has checked them.
pub fn rank(plan: &Plan, observed: &Observed, user: &User, options: &Options, now_ms: u64) -> Ranking {
    let Order { fresh, stale, down, drained, fail_static, drawer } =
        Order::new(plan, observed, user, options, now_ms);
    let has_room = |one: &Standing<'_>| observed.admission.admits(drawer, one.region.id);
    let (fresh, fresh_full): (Vec<_>, Vec<_>) = fresh.into_iter().partition(has_room);
    let (stale, stale_full): (Vec<_>, Vec<_>) = stale.into_iter().partition(has_room);
    let mut groups = vec![
        (None, fresh),
        (Some(GaveUp::Freshness), stale),
        (Some(GaveUp::Room), fresh_full),
        (Some(GaveUp::Both), stale_full),
    ];
    let first = groups.iter().position(|(_, group)| !group.is_empty()).unwrap_or_default();
    let (gave_up, best) = groups.remove(first);
    let mut out = Vec::new();
    let mut exclude = |group: &[Standing<'_>], why: &dyn Fn(&Standing<'_>) -> Out| {
        out.extend(group.iter().map(|one| Excluded { region: one.region.id, out: why(one) }));
    };
    for (given_up, group) in &groups {
        match given_up {
            Some(GaveUp::Freshness) => exclude(group, &|one| staleness(one, user)),
            _ => exclude(group, &|_| Out::Full),
        }
    }
    exclude(&down, &|_| Out::Down);
    exclude(&drained, &|_| Out::Drained);
    let regions = best.iter().map(ranked).collect();
    Ranking { generation: plan.generation(), regions, out, fail_static, gave_up }
}

fn staleness(one: &Standing<'_>, user: &User) -> Out {
    match one.lag_ms {
        Some(lag_ms) => Out::Stale { by_ms: lag_ms.saturating_sub(user.lag_ms_max.unwrap_or_default()) },
        None => Out::StaleUnknown,
    }
}

fn ranked(one: &Standing<'_>) -> Ranked {
    Ranked {
        region: one.region.id,
        latency: one.latency,
        reached: one.reached,
        lag_ms: one.lag_ms,
        health: one.health,
    }
}
