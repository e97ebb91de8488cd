//! Signs of life: another node's interface, asked for its health.

use super::PROTOCOL;
use super::wire::Wire;
use futures_util::future::BoxFuture;
use http::Uri;
use tw_cluster::{Prober, Registration, Sign};

/// Asks nodes where they are registered.
pub(crate) struct Probes(Wire);

impl Probes {
    pub(crate) fn new() -> Self {
        Self(Wire::new())
    }
}

impl Prober for Probes {
    fn probe<'a>(&'a self, registration: &'a Registration) -> BoxFuture<'a, Sign> {
        Box::pin(async move {
            match registration.addresses.get(PROTOCOL) {
                Some(address) => self.0.probe(address, Uri::from_static("/healthz")).await,
                None => Sign::Silent,
            }
        })
    }
}
