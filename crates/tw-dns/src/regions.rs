//! What is known of the regions, as the shell tells it.

use std::sync::Arc;
use tw_plan::routing::{Observed, Options, Plan};

/// What is known of the regions at a moment.
#[derive(Debug, Clone)]
pub struct Known {
    /// The plan in force. Its generation is the serial number of the zone.
    pub plan: Plan,
    /// Who is up.
    pub observed: Observed,
    /// The options of a ranking, checked.
    pub options: Options,
    /// The time of the clock that the ages in `observed` are of, in milliseconds.
    pub now_ms: u64,
}

/// Where the responder gets to know of the regions.
///
/// It is asked once for each query that gets an answer of the zone, from the task that reads the socket: it must neither
/// block nor take long. Whoever implements it keeps what it knows ready, and renews it a few times a second.
pub trait Regions: Send + Sync + 'static {
    /// What is known now; None: there is no plan, and the zone cannot be served.
    fn known(&self) -> Option<Arc<Known>>;
}
