//! Three regions of which any is stopped, started and begun anew.

use crate::region::{Region, World, log_options};
use tw_env::Env;
use tw_log::EmbeddedLog;
use tw_region::service::Options;
use tw_types::{Epoch, RegionId};

/// Three regions that know each other's addresses from the start.
pub(crate) struct Three {
    pub(crate) world: World,
    pub(crate) ports: Vec<u16>,
}

impl Three {
    pub(crate) fn new() -> Self {
        Self { world: World::new(), ports: (0..3).map(|_| tw_testing::free_port()).collect() }
    }

    pub(crate) fn options(&self, id: u16) -> Options {
        let address = |id: u16| format!("127.0.0.1:{}", self.ports[usize::from(id) - 1]);
        let peers: Vec<(u16, String)> =
            (1..=3).filter(|peer| *peer != id).map(|peer| (peer, address(peer))).collect();
        // A day is too long for tests.
        Options { evict_after_ms: 1_000, ..self.world.options(id, &address(id), &peers) }
    }

    pub(crate) async fn start(&self, id: u16) -> Region {
        self.world.start(self.options(id)).await
    }

    /// Begins another epoch of the log of a region that is stopped.
    pub(crate) fn raise(&self, id: u16) -> Epoch {
        let options = log_options(RegionId(id));
        EmbeddedLog::raise_epoch(self.world.data(id), &options, &Env::real()).unwrap()
    }
}
