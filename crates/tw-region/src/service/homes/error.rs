//! Why a stream with a home is not written or moved here.

use crate::service::LinkState;
use tw_types::RegionId;

/// See the module's text.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another region is the home.
    #[error(
        "stream `{stream}` is written in region {home} (term {term}): send the write there, or have that region move the home here"
    )]
    Elsewhere {
        /// The stream.
        stream: String,
        /// Its home.
        home: RegionId,
        /// The term of the home.
        term: u64,
    },
    /// This region is to be the home, or is about to give it away.
    #[error(
        "the home of stream `{stream}` is on its way to region {home}, and nobody takes writes until it has everything: ask again in a moment"
    )]
    OnItsWay {
        /// The stream.
        stream: String,
        /// Where it goes.
        home: RegionId,
    },
    /// What the log says of homes is not read yet.
    #[error(
        "where stream `{stream}` is written is not known yet, because this node has just started: ask again in a moment"
    )]
    Starting {
        /// The stream.
        stream: String,
    },
    /// This region does not know yet what it had said of homes.
    #[error(
        "region {region} has not everything yet that others have: until it has, it is the home of nothing; ask again later"
    )]
    Restoring {
        /// This region.
        region: RegionId,
    },
    /// The stream has no home.
    #[error(
        "stream `{stream}` has no home: only a stream that was created with the mode `home-region` has one, and this one is `{mode}`"
    )]
    NoHome {
        /// The stream.
        stream: String,
        /// Its mode.
        mode: &'static str,
    },
    /// There is no such stream.
    #[error("there is no stream `{stream}`: `tradewind region homes` lists those that have a home")]
    NoStream {
        /// Its name.
        stream: String,
    },
    /// There is no link with the region.
    #[error("there is no link with region {region}: name one of {known}")]
    NoRegion {
        /// The region.
        region: RegionId,
        /// Those with which there is one.
        known: String,
    },
    /// The new home could not take writes.
    #[error(
        "region {to} is {}, so that nobody would take writes of `{stream}` until it has caught up: mend that link first, or name another region",
        link.as_str()
    )]
    NotReady {
        /// The stream.
        stream: String,
        /// Where it was to go.
        to: RegionId,
        /// How the link with that region is.
        link: LinkState,
    },
    /// A region is taken for lost that is there.
    #[error(
        "region {from} is connected, so nothing need be lost: have it give its streams away, with `tradewind region move` on its side"
    )]
    IsThere {
        /// The region.
        from: RegionId,
    },
    /// What cannot be known here.
    #[error(
        "region {from} may be cut off and still take writes, which cannot be seen from here: stop it, or make sure that no writer reaches it, and confirm that with `--is-stopped`; what it has accepted that is not here is told as at risk when it comes back"
    )]
    Unconfirmed {
        /// The region.
        from: RegionId,
    },
    /// There is nothing to take.
    #[error("region {from} is the home of no stream{}", if streams.is_empty() { String::new() } else { format!(" among {}", streams.join(", ")) })]
    Nothing {
        /// The region.
        from: RegionId,
        /// Which streams were named, if any.
        streams: Vec<String>,
    },
    /// Who is the home is agreed on elsewhere, and that gave no answer, or another one.
    #[error("{0}: try again in a moment; `tradewind region homes` shows what is known here")]
    NoAnswer(String),
    /// The links have ended, or the log cannot be read or written.
    #[error("{0}")]
    Failed(String),
}
