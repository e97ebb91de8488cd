//! Who may write a stream that other regions have, too.

use std::fmt;
use tw_types::StreamDef;

/// Lets writes to streams of several regions pass, as long as this one may write them.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Lets a write pass that is about to begin. It is under way until what is returned is dropped.
    ///
    /// # Errors
    /// Why it may not be written here now, with the remedy. The source tries again later.
    fn enter(&self, stream: &StreamDef) -> Result<Box<dyn Send>, String>;
}

/// For a log of which there are no other regions: every write passes.
#[derive(Debug, Clone, Copy)]
pub struct Ungated;

impl Gate for Ungated {
    fn enter(&self, _: &StreamDef) -> Result<Box<dyn Send>, String> {
        Ok(Box::new(()))
    }
}
