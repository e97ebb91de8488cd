//! The links of this installation with other regions, if it is one of several.

mod captured;
mod drain;
mod registry;
mod wire;

pub(crate) use captured::CaptureGate;
pub(crate) use drain::Drain;
pub use registry::ArbiterOptions;
pub(crate) use wire::Wire;

use crate::core::Core;
use crate::{Error, dns, routing};
use registry::Registry;
use std::sync::Arc;
use tw_api::Handle;
use tw_cluster::{EtcdCoordination, SystemTime};
use tw_region::service::{Arbiter, LinkState, Links, State};

/// Starts the links, if the configuration names a region.
pub(crate) async fn start(core: &Arc<Core>, installation: Option<u128>, server: Handle) -> Result<(), Error> {
    let options = core.options.holds().region.clone();
    let Some(installation) = installation.filter(|_| options.is_region()) else { return Ok(()) };
    let arbiter = core.options.holds().arbiter.clone();
    let arbiter: Option<Arc<dyn Arbiter>> = if arbiter.endpoints.is_empty() {
        None
    } else {
        let time = Arc::new(SystemTime::new(&core.env));
        let etcd = Arc::new(EtcdCoordination::new(time, &arbiter.etcd())?);
        Some(Arc::new(Registry::new(etcd, options.id, arbiter)))
    };
    // Before anybody is answered by it.
    routing::run(core).await;
    let links = Links::start(core.events.clone(), core.env.clone(), installation, options, arbiter).await?;
    links.answer_requests(Arc::new(move |stream, _region| {
        let server = server.clone();
        Box::pin(async move { server.serve(stream).await })
    }));
    links.record_to(core.traces.clone());
    // It is set once.
    let _there_were_none = core.regions.links.set(links);
    dns::start(core).await
}

/// What a person should look at: peers of which nothing is taken, and a clock that is wrong.
pub(crate) fn problems(state: &State) -> Vec<String> {
    let mut problems = Vec::new();
    if state.is_local_clock_suspect {
        problems.push(
            "the clocks of most other regions seem to be ahead: check the clock of this machine".to_owned(),
        );
    }
    if let Some(restore) = &state.restore {
        let waits = restore.peers.iter().filter(|peer| !peer.is_done && !peer.is_left_out);
        let waits: Vec<String> = waits.map(|peer| peer.region.to_string()).collect();
        problems.push(format!(
            "this region {}, and accepts nothing before it has everything that others have (waits for region {}): `tradewind region status` \
             says how far it is",
            if restore.is_new { "is new" } else { "comes back from an older copy" },
            waits.join(", ")
        ));
    }
    for one in &state.evicted {
        if one.region == state.region {
            problems.push(format!(
                "the others have evicted this region in epoch {}, and it accepts nothing that they would have: `tradewind region status` says what to do",
                one.epoch
            ));
        } else if !one.is_complete {
            let lacking: Vec<String> = one.lacking.iter().map(ToString::to_string).collect();
            problems.push(match lacking.as_slice() {
                [] => format!("region {} was evicted, and not everything is here that another region has of it: it is fetched", one.region),
                lacking => format!("region {} was evicted, and region {} has not heard of it: until then it is waited for", one.region, lacking.join(", ")),
            });
        }
    }
    for peer in state.peers.iter().filter(|peer| peer.address.is_some()) {
        let what = match peer.link {
            LinkState::InSync | LinkState::CatchingUp | LinkState::Evicted => continue,
            LinkState::Down => "there is no link",
            LinkState::Quarantined => "its clock is ahead, so that nothing is taken",
            LinkState::Parked => "nothing is taken of some partitions",
        };
        let why = peer.error.as_deref().unwrap_or("`tradewind region partitions` says more");
        problems.push(format!("region {}: {what}: {why}", peer.region));
    }
    problems
}
