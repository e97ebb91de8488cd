//! Links between regions: what is sent, what is taken, and who may connect.
//!
//! `docs/adr/0018-how-regions-exchange-events.md` says how regions exchange events; `tw-merge` decides what may be taken and when.

pub mod link;
pub mod tls;
