//! The web console: its shell for whoever asks for a page, and the files that the shell loads.
//!
//! It comes after the routes, which it never hides: what the interface serves stays as it is, and so does what it says of paths
//! that there are not, unless a browser asks for a page. The files are those of `tw-console`; nothing is read from a disk.

use crate::endpoints::Outcome;
use crate::options::Options;
use http::request::Parts;

/// Answers a request that no route takes, if it is for the console.
#[cfg(feature = "console")]
pub(crate) fn answer(options: &Options, head: &Parts) -> Option<Outcome> {
    serve::answer(options, head)
}

/// There is no console in this build.
#[cfg(not(feature = "console"))]
pub(crate) fn answer(_: &Options, _: &Parts) -> Option<Outcome> {
    None
}

#[cfg(feature = "console")]
mod serve;
