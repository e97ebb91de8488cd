//! The server over real sockets: asked by `dig`, and by clients that do what `dig` does not.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod clients;
mod connections;
mod datagrams;
mod dig;
mod life;
mod world;
