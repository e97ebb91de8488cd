//! Links between regions: what is sent, what is taken, and who may connect.
//!
//! `docs/adr/0018-how-regions-exchange-events.md` says how regions exchange events; `tw-merge` decides what may be taken and when.
//!
//! [`link`] has the language of a link and the decisions of both of its ends, [`tls`] says who may connect, and [`service`] is what runs:
//! it carries inputs and actions between those, the log and the network.

pub mod home;
pub mod link;
mod seen;
pub mod service;
pub mod tls;

pub use seen::SEEN_STREAM;
