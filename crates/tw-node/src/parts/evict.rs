//! Regions that are evicted, behind the interface.

use super::NodeRegions;
use tw_api::parts::{EvictRequest, EvictedView, EvictionView, HasOfEvicted};
use tw_api::{Code, Problem};
use tw_region::service::{Evicted, Eviction, EvictionError};
use tw_types::{Merge, RegionId, StreamDef};

impl NodeRegions {
    pub(super) async fn evict_one(
        &self,
        region: u16,
        request: EvictRequest,
    ) -> Result<EvictionView, Problem> {
        let EvictRequest { force, dry_run } = request;
        let evicted = self.links()?.evict(RegionId(region), force, dry_run).await;
        let Eviction { region, epoch, silent_ms, silent_ms_min, has, homes, refused, is_done } =
            evicted.map_err(problem)?;
        let streams = self.0.log.streams();
        let named = |wanted: &dyn Fn(&StreamDef) -> bool| {
            streams.iter().filter(|def| wanted(def)).map(|def| def.name.to_string()).collect()
        };
        let has = has.into_iter().map(|(region, until_ms)| HasOfEvicted { region: region.0, until_ms });
        Ok(EvictionView {
            region: region.0,
            epoch: epoch.0,
            silent_ms,
            silent_ms_min,
            has: has.collect(),
            homes,
            merged: named(&|def| def.merges()),
            reserves: named(&|def| def.has_merge(&Merge::Reserve)),
            refused,
            done: is_done,
        })
    }
}

/// A region that is evicted, as it is shown.
pub(super) fn evicted(one: Evicted) -> EvictedView {
    EvictedView {
        region: one.region.0,
        epoch: one.epoch.0,
        by: one.by.0,
        at_ms: one.at_ms,
        lacking: one.lacking.into_iter().map(|region| region.0).collect(),
        complete: one.is_complete,
    }
}

fn problem(error: EvictionError) -> Problem {
    let code = match &error {
        EvictionError::NoRegion { .. } => Code::NoRegion,
        EvictionError::NotOpen { .. } => Code::NotReady,
        EvictionError::NotSilent { .. }
        | EvictionError::Minority { .. }
        | EvictionError::AnotherIsOut { .. }
        | EvictionError::Homes { .. } => Code::WrongState,
        EvictionError::Failed(_) => Code::Internal,
    };
    Problem::new(code, tw_types::chain(&error))
}
