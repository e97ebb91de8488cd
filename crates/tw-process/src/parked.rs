//! Parked events: the stream `$parked`, what is derived from it, and what people can do.

mod api;
mod event;
mod index;
mod service;
mod writer;

pub(crate) use api::Source;
pub use api::{Parked, ParkedDetail, ParkedEvent, ParkedFilter, ParkedPage};
#[cfg(test)]
pub(crate) use event::Change;
pub(crate) use event::{Fact, How, What};
pub use event::{InvalidParkedId, PARKED_STREAM, ParkedId};
pub(crate) use index::{Decision, Index, Said, ViewKey};
pub(crate) use service::{Desk, Retired};
pub use writer::{LogWriter, ParkedWriter};
