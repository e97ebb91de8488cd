//! The HTTP interface of a node, `/v1`.
//!
//! It translates, and nothing else: requests into calls of the [parts](Parts) behind it, their outcomes into answers.
//! It never decides about data, holds no state of its own but limits and counters, and a client that reads slowly, sends
//! slowly or goes away costs a bounded amount of memory and nobody else any time.
//!
//! A [`Server`] is started with [`Options`] and [`Parts`]. `docs/http-api.md` is the reference for users; the description
//! at `/v1/openapi.json` is generated from this code, and `docs/errors.md` explains every [`Code`].
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod body;
mod console;
mod cursor;
mod door;
mod endpoints;
mod forward;
mod headers;
mod openapi;
mod options;
pub mod parts;
mod problem;
mod proxy;
mod query;
mod route;
mod rows;
mod server;
mod service;
mod telemetry;
mod tokens;

pub use options::{InvalidOption, Options, OverloadOptions};
pub use parts::Parts;
pub use problem::{Code, DOCS_PATH, Problem};
pub use rows::row_texts;
pub use server::{Error, Handle, Server, Traffic};
