//! The interface end to end: a listening server, and real clients.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod admin;
mod append;
mod conditions;
#[cfg(feature = "console")]
mod console;
mod documents;
mod forward;
mod groups;
mod history;
mod limits;
mod live;
mod locks;
mod malformed;
mod overload;
mod proxy;
mod read;
mod routing;
mod security;
mod settings;
mod shutdown;
mod sql;
mod streams;
mod support;
mod topics;
