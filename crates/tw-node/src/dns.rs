//! Users find their region by DNS, if this region is a name server: `tw-dns` answers, this tells it of the plan and of who is up.
//!
//! What it is told is what the links heard last; nothing of an answer waits for them. Nothing here decides.

use crate::Error;
use crate::core::Core;
use crate::routing;
use parking_lot::RwLock;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tw_dns::{Known, Regions, Server};
use tw_region::Seen;

/// How often it is looked at who is up.
const LOOK: Duration = Duration::from_millis(250);

/// What answers are made of.
#[derive(Default)]
struct Latest(RwLock<Option<Arc<Known>>>);

impl Regions for Latest {
    fn known(&self) -> Option<Arc<Known>> {
        self.0.read().clone()
    }
}

/// Starts the responder, if one is configured. The links run.
///
/// # Errors
/// It cannot listen.
pub(crate) async fn start(core: &Arc<Core>) -> Result<(), Error> {
    let Some(options) = core.options.holds().dns.clone() else { return Ok(()) };
    let latest = Arc::new(Latest::default());
    *latest.0.write() = look(core).await;
    let server = Server::start(options, latest.clone()).await?;
    tracing::info!(address = %server.address(), "answering queries of DNS");
    *core.regions.dns.lock() = Some(server);
    tokio::spawn(renew(Arc::downgrade(core), latest));
    Ok(())
}

/// Keeps what answers are made of fresh, for as long as the node runs.
async fn renew(core: Weak<Core>, latest: Arc<Latest>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(core) = core.upgrade().filter(|core| !core.is_closing()) else { return };
        // Without an answer of the links, what was known last goes on to count.
        if let Some(known) = look(&core).await {
            *latest.0.write() = Some(known);
        }
    }
}

/// What is known now.
async fn look(core: &Core) -> Option<Arc<Known>> {
    let (holds, here) = (core.options.holds(), core.log.region());
    let plan = core.regions.plans.now()?.plan.clone();
    let heard = core.regions.links.get()?.heard().await.ok()?;
    let now_ms = core.env.clock.now_ms();
    let admission = core.regions.plans.loads.admission();
    let observed = routing::Known { here, seen: Seen::new(), heard, admission, now_ms }.observed();
    Some(Arc::new(Known { plan, observed, options: holds.routing.ranking(), now_ms }))
}
