//! The language of a link between two regions, and the decisions of both of its ends; no I/O.
//!
//! A region R that wants the events of a region P connects to it and pulls. [`wire`] has the frames that the two exchange.
//! The shell around this reads and writes sockets and the log; nothing here does, and nothing here reads a clock.

pub mod bucket;
pub mod handshake;
pub mod inbound;
pub mod outbound;
#[cfg(test)]
mod testing;
pub mod wire;
#[cfg(test)]
mod world;
