//! Captured events pass into streams that other regions have as those of clients do.

use crate::core::Core;
use crate::parts::NodeRegions;
use std::sync::{Arc, OnceLock, Weak};
use tw_api::parts::Regions as _;
use tw_capture::Gate;
use tw_types::StreamDef;

/// Shut until the node is composed: sources start before that.
#[derive(Debug, Default)]
pub(crate) struct CaptureGate(OnceLock<Weak<Core>>);

impl CaptureGate {
    /// Lets the node say who passes.
    pub(crate) fn open(&self, core: &Arc<Core>) {
        let _once = self.0.set(Arc::downgrade(core));
    }
}

impl Gate for CaptureGate {
    fn enter(&self, stream: &StreamDef) -> Result<Box<dyn Send>, String> {
        let core = self.0.get().and_then(Weak::upgrade);
        let core = core.ok_or("the node is starting, or about to end: the source tries again")?;
        match NodeRegions(core).enter(stream) {
            Ok(pass) => Ok(Box::new(pass)),
            Err(closed) => Err(closed.problem.detail().to_owned()),
        }
    }
}
