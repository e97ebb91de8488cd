//! An authoritative DNS responder for one zone: it sends whoever asks to the region that is best for them.
//!
//! It is a door, like `tw-api`: it reads a query, asks `tw_plan::routing` for the order of the regions, and writes the
//! answer. What is known of the regions comes from the shell, through [`Regions`]. It never decides who is up, never
//! resolves anything for anybody (no recursion, no forwarding), holds no state but limits and counters, and never writes
//! into a log what anybody asked for.
//!
//! [`answer()`] makes an answer of the bytes of a query, without a socket; a [`Server`] carries bytes between it and the
//! network. The wire format of messages is that of `hickory-proto`; its server is not used, because it sets no limit to
//! connections and to work, answers some messages that are answers themselves, and logs each query. `docs/dns.md` is for
//! users.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod answer;
mod counters;
mod limit;
mod networks;
mod options;
mod query;
mod regions;
mod server;
mod subnet;
mod zone;

pub use answer::{Answer, Code, Transport, answer, cut_short};
pub use counters::Counters;
pub use options::{InvalidOption, NameServer, Network, Options, RegionAddresses};
pub use regions::{Known, Regions};
pub use server::{Error, Server};
pub use subnet::{NotANetwork, Subnet, V4_PREFIX_BITS_MAX, V6_PREFIX_BITS_MAX};
pub use zone::Zone;
