//! Signs of life: another node's interface, asked for its health.
//!
//! Any answer is one, but for that it does not reach the log, if this node does: then others can do what that one cannot. While nobody
//! reaches the log, nobody could do better, and everything stays where it is.

use super::PROTOCOL;
use super::wire::Wire;
use crate::core::Core;
use futures_util::future::BoxFuture;
use http::Uri;
use std::sync::{Arc, Weak};
use tw_api::parts::LOG_SILENT;
use tw_cluster::{Prober, Registration, Sign};

/// Asks nodes where they are registered.
pub(crate) struct Probes {
    wire: Wire,
    core: Weak<Core>,
}

impl Probes {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { wire: Wire::new(), core: Arc::downgrade(core) }
    }

    fn reaches_log(&self) -> bool {
        self.core.upgrade().is_some_and(|core| core.log_silent_ms().is_none())
    }
}

impl Prober for Probes {
    fn probe<'a>(&'a self, registration: &'a Registration) -> BoxFuture<'a, Sign> {
        Box::pin(async move {
            let Some(address) = registration.addresses.get(PROTOCOL) else { return Sign::Silent };
            match self.wire.probe(address, Uri::from_static("/healthz")).await {
                Ok(headers) if headers.contains_key(LOG_SILENT) && self.reaches_log() => Sign::Silent,
                Ok(_) => Sign::Alive,
                Err(sign) => sign,
            }
        })
    }
}
